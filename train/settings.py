"""What a training's configuration may say: every key of its YAML, with a line on each. `read_settings.py` checks it."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from pipeline.document import shown
from pipeline.model_check import Strict

MAX_COUNT = 2**31 - 1
"""Rows of a batch, steps, tokens, pixels: more of anything is a slip of the hand."""
Count = Annotated[int, Field(ge=1, le=MAX_COUNT)]
Seconds = Annotated[float, Field(ge=0, le=1e9)]

MethodKind = Literal["lora", "dora", "qlora", "full", "frozen-vision", "projector"]


def _as_float(value: Any) -> Any:
    return float(value) if type(value) is int and abs(value) < 2**53 else value


class FramesSpec(Strict):
    """Which frames of a video the model is shown: `count`, or `per_second`; of all of it, or of a part."""

    count: Count | None = None
    """So many, in the middles of as many equal parts; fewer where the video has fewer."""
    per_second: Annotated[float, Field(gt=0, le=1000)] | None = None
    """Or so many a second, from the start on."""
    at_least: Count = 1
    """With `per_second`: fewest frames, as far as there are any."""
    at_most: Count | None = None
    """With `per_second`: most frames; more become that many, evenly spread."""
    multiple_of: Count = 1
    """Frames that the model joins to one patch of time, 2 for Qwen's models."""
    start: Seconds | None = None
    """Seconds at which the part begins that is looked at."""
    end: Seconds | None = None
    """Seconds at which it ends."""
    centre: Seconds | None = None
    """Instead of both: so many seconds in the middle of the video."""

    @field_validator("per_second", "start", "end", "centre", mode="before")
    @classmethod
    def _numbers(cls, value: Any) -> Any:
        return _as_float(value)

    @model_validator(mode="after")
    def _meant(self) -> Self:
        if (self.count is None) == (self.per_second is None):
            raise ValueError("frames are sampled by `count` or by `per_second`, and by one of them")
        if self.count is not None and (self.at_least != 1 or self.at_most is not None):
            raise ValueError("`at_least` and `at_most` go with `per_second`")
        if self.at_most is not None and self.at_most < self.at_least:
            raise ValueError(f"`at_most` is {self.at_most}, less than `at_least` {self.at_least}")
        for name in ("count", "at_most"):
            value = getattr(self, name)
            if value is not None and value % self.multiple_of:
                near = value + -value % self.multiple_of
                raise ValueError(f"`{name}` {value} is no multiple of `multiple_of` {self.multiple_of}; write {near}")
        if self.centre is not None and (not self.centre or self.start is not None or self.end is not None):
            raise ValueError("`centre` is a number of seconds above 0, without `start` and `end` beside it")
        if self.start is not None and self.end is not None and self.start >= self.end:
            raise ValueError(f"`end` {self.end:g} is not behind `start` {self.start:g}")
        return self


class DataSpec(Strict):
    """Which rows are learnt from, and how a row becomes a conversation with media."""

    dataset: str | None = Field(default=None, min_length=1)
    """A dataset folder (relative to this file), or one of a hub: `huggingface:owner/name[@revision]`, modelscope:…"""
    recipe: str | None = Field(default=None, min_length=1)
    """Or a recipe (relative to this file), whose dataset is built if it is not there yet."""
    config: str | None = None
    """The dataset's config; may be left out where it has only one."""
    train: str = "train"
    """The split that is learnt from."""
    eval: str | None = None
    """The split whose loss says which checkpoint is best; left out: none, and the last is all there is."""
    rows: Count | None = None
    """Learn from so many rows only, drawn with the seed."""
    eval_rows: Count | None = None
    """Evaluate on so many rows only, drawn with the seed."""
    table: str | None = Field(default=None, alias="schema", min_length=1)
    """The schema that says how a row becomes a conversation: `schemas/NAME.yaml`, or a path ending in .yaml; left out:
    that of the recipe, else a column that holds conversations."""
    conversation: Any = None
    """Or the conversation itself, as a schema has it: a list of turns, or a column that holds messages."""
    id: str | None = None
    """The column that names a row in messages and records."""
    shuffle_window: Count = 64
    """Row groups that are shuffled among each other; the rows of an epoch are read from so many places of the disk."""
    frames: FramesSpec = Field(default_factory=lambda: FramesSpec(count=8))
    """Which frames of a video the model is shown."""
    longest_side: Count | None = None
    """Pixels: larger images and frames are decoded smaller; the processor's own resizing comes after it."""

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if self.dataset is not None and self.recipe is not None:
            raise ValueError("the rows come from a `dataset` or from a `recipe`, not from both")
        if self.table is not None and self.conversation is not None:
            raise ValueError("a row becomes a conversation by a `schema` or by `conversation`, not by both")
        if self.eval_rows is not None and self.eval is None:
            raise ValueError("`eval_rows` goes with `eval`")
        return self


class BatchingSpec(Strict):
    """What a device is given at once: so many rows (`samples`), or rows up to so many `tokens`."""

    samples: Count | None = None
    """Rows."""
    tokens: Count | None = None
    """Tokens, padding counted; with `pack`, those of a packed row."""
    pack: bool = False
    """Rows lie behind each other in one long row without padding; proved not to see each other."""
    by_length: bool = False
    """With `samples`: rows of like length go together, which saves padding."""
    multiple: Count = 1
    """The padded length is a multiple of this; 8 suits tensor cores."""
    window: Count = 1024
    """So many rows of the shuffled order are put together among themselves."""

    @model_validator(mode="after")
    def _one_limit(self) -> Self:
        if (self.samples is None) == (self.tokens is None):
            raise ValueError("a batch is limited by its `samples` or by its `tokens`, and by one of them")
        if self.pack and self.tokens is None:
            raise ValueError("`pack` goes with `tokens`, the length of a packed row")
        if self.by_length and self.samples is None:
            raise ValueError("`by_length` goes with `samples`; with `tokens` it is always so")
        return self


class EvaluateSpec(Strict):
    """What is asked of the trained model in the end: texts are generated for the rows of `data.eval` and scored."""

    task: Literal["caption", "latex", "scores", "choices", "short_answer"]
    """What the texts are; docs/train.md says how each is scored."""
    language: str = "en"
    """caption: the ISO 639 code of the texts."""
    names: list[str] = Field(default_factory=list)
    """scores: what the numbers of a text are called, in order."""
    allowed: Annotated[list[float], Field(min_length=2, max_length=2)] | None = None
    """scores: the least and the largest number."""
    circular: bool = False
    """choices: rows with the same id are one question in several orders of its options."""
    options: str | list[str] | None = None
    """choices: the column of a row's options, or those of each letter; left out: `options`, `choices`, or A, B, …"""
    answers: str | None = None
    """short_answer: the column of what people answered; left out: `answers`, else the true answer."""
    rows: Count | None = None
    """So many rows only, drawn with the seed."""
    max_new_tokens: Count = 256
    """Tokens of an answer at the most."""
    before: bool = True
    """Ask the model before the training too, and show both side by side."""

    @field_validator("allowed", mode="before")
    @classmethod
    def _numbers(cls, value: Any) -> Any:
        return [_as_float(item) for item in value] if isinstance(value, list) else value


class RejectsSpec(Strict):
    """How much may be left out."""

    max_share: float = Field(default=0.05, ge=0, le=1)
    """More unusable rows than this share stop the run before its first step, with the table of reasons."""

    @field_validator("max_share", mode="before")
    @classmethod
    def _number(cls, value: Any) -> Any:
        return _as_float(value)


class ProcessorSpec(Strict):
    """Options of a model's processor, by their names in its processor_config.json."""

    image: dict[str, Any] = Field(default_factory=dict)
    """Of the image processor, e.g. `{size: {longest_edge: 602112}}` for Qwen's models, which count pixels."""
    video: dict[str, Any] = Field(default_factory=dict)
    """Of the video processor."""


class StageSettings(Strict):
    """What a stage of a training can say for itself; see `Settings.stages`."""

    method: MethodKind = "lora"
    """What learns: adapters (`lora`, `dora`, `qlora`), all (`full`), all but the vision tower, or the projector."""
    lora: dict[str, Any] = Field(default_factory=dict)
    """Options of peft's LoraConfig by their names there (`r`, `target_modules`, …), or `alpha`, `dropout`, `init`."""
    data: DataSpec = Field(default_factory=DataSpec)
    """Which rows are learnt from."""
    max_tokens: Count | None = None
    """Tokens that a row may have, media counted; left out: as many as the model has positions for."""
    over: Literal["reject", "stop", "fewer_frames"] = "reject"
    """Longer rows are left out by name, stop the run by name, or are shown with fewer frames until they fit."""
    undecodable: Literal["stop", "skip"] = "stop"
    """A row whose media cannot be decoded stops the run by name, or is skipped and counted."""
    rejects: RejectsSpec = Field(default_factory=RejectsSpec)
    """How much may be left out."""
    batching: BatchingSpec = Field(default_factory=lambda: BatchingSpec(samples=1))
    """What a device is given at once."""
    global_batch_size: Count | None = None
    """Rows of a step over all devices, with `batching.samples`; how many batches are accumulated follows from it."""
    accumulation: Count | None = None
    """Or the batches that each device accumulates for a step, which goes with `batching.tokens` too."""
    epochs: Annotated[float, Field(gt=0, le=100_000)] | None = None
    """How often the rows are gone through; left out, with `steps` left out too: 1."""
    steps: Count | None = None
    """Or steps of the optimizer."""
    learning_rate: Annotated[float, Field(gt=0, le=100)] = 1e-4
    """The highest learning rate; `arguments` say how it changes (`lr_scheduler_type`, `warmup_steps`)."""
    evaluate_every: Count | None = None
    """Steps between two evaluations on `data.eval`; left out: after each tenth of the run."""
    save_every: Count | None = None
    """Steps between two checkpoints; left out: after each tenth of the run. A better one is always saved."""
    log_every: Count = 10
    """Steps between two lines of metrics.jsonl."""
    gradient_checkpointing: bool = False
    """Compute activations a second time in place of keeping them: less memory, about a third more time."""
    liger: bool = False
    """Fused kernels of liger-kernel (`pip install 'shardwright[liger]'`), on GPUs."""
    vision_cache: bool = False
    """Keep what a frozen vision tower makes of each row, for the next epochs."""
    arguments: dict[str, Any] = Field(default_factory=dict)
    """Any field of transformers' TrainingArguments that does not follow from the keys above."""

    @field_validator("epochs", "learning_rate", mode="before")
    @classmethod
    def _numbers(cls, value: Any) -> Any:
        return _as_float(value)


class NamedStage(StageSettings):
    """One stage of a training: what is given here goes before what is said for all."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,60}$")]
    """The stage's folder in the run's."""


class Settings(StageSettings):
    """A whole training."""

    model: str = Field(min_length=1)
    """A folder with a model (relative to this file), or `owner/name` on Hugging Face, or `modelscope:owner/name`."""
    revision: str | None = None
    """A branch, tag or commit; left out: the main branch. The run's record says which commit it was."""
    family: str | None = None
    """How the model sees media, where its `model_type` does not say it: `smolvlm`, `qwen2_vl`, …"""
    processor: ProcessorSpec = Field(default_factory=ProcessorSpec)
    """How the model's processor resizes media, where it is to be otherwise than the model brings it."""
    attention: Literal["sdpa", "eager", "flash_attention_2", "flex_attention"] = "sdpa"
    """How attention is computed."""
    precision: Literal["auto", "fp32", "bf16", "pure_bf16"] = "auto"
    """`bf16`: computed in it, with what learns kept in fp32; `pure_bf16`: kept in it too, which halves the memory and
    loses small steps; `auto`: bf16 where the device computes in it, else fp32."""
    seed: Annotated[int, Field(ge=0, le=2**32 - 1)] = 42
    """Decides the order of the rows, new adapters, and dropout."""
    workers: Annotated[int, Field(ge=0, le=1024)] | None = None
    """Processes that decode and encode for one device; left out: as many as its share of the processors, less one."""
    frame_cache: Literal["jpeg", "png"] | None = None
    """Keep chosen frames of videos in the cache folder for later epochs and runs, as small pictures or exact ones."""
    report_to: list[Literal["tensorboard", "swanlab"]] = Field(default_factory=lambda: ["tensorboard"])  # type: ignore[arg-type]
    """Where curves go beside metrics.jsonl. SwanLab writes into the run's folder, to be synced afterwards."""
    project: str | None = None
    """The project's name in SwanLab; left out: the run's."""
    evaluate: EvaluateSpec | None = None
    """What is asked of the trained model in the end."""
    stages: list[NamedStage] = Field(default_factory=list)
    """Trainings one after the other, each from the weights of the one before: the projector first, then the rest."""

    @field_validator("report_to", mode="before")
    @classmethod
    def _list(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        names = [stage.name.casefold() for stage in self.stages]
        if len(set(names)) < len(names):
            raise ValueError(f"two stages have the same name: {shown([stage.name for stage in self.stages])}")
        return self

    def resolved(self) -> list[Settings]:
        """Return the settings of each stage, whole; one without a name where there are no stages."""
        if not self.stages:
            return [self]
        common = {name: getattr(self, name) for name in self.model_fields_set - {"stages"}}
        return [
            Settings.model_construct(
                _fields_set=self.model_fields_set | stage.model_fields_set - {"name"},
                **{
                    **{name: getattr(self, name) for name in Settings.model_fields if name != "stages"},
                    **common,
                    **{name: getattr(stage, name) for name in stage.model_fields_set - {"name"}},
                    "stages": [],
                },
            )
            for stage in self.stages
        ]
