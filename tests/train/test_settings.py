"""What a training's configuration may say: all mistakes at once with their lines, and the use cases' trainings."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import BaseModel

from pipeline.document import parse_document
from pipeline.errors import RecipeError
from pipeline.load_recipe import load_recipe
from train import settings as spec
from train.families.registry import families
from train.models.methods import KINDS
from train.read_settings import check_settings, read_settings
from train.runs.option_names import OWNED, lora_options, training_arguments

if TYPE_CHECKING:
    from train.settings import Settings

ROOT = Path(__file__).parents[2]
CONFIGS = sorted((ROOT / "train" / "configs").glob("*.yaml"))

UNKNOWN = "TrainingArguments has no such field"
WRONG = """\
model: a/b
methd: lora
epochs: 1
steps: 3
lora: {rank: 8, use_dora: true}
data:
  dataset: x
  conversation: [{user: [{vido: v}]}]
  eval: test
batching: {tokens: 100, samples: 3}
arguments:
  lr_schedulr_type: cosine
  bf16: true
  gradient_accumulation_steps: 4
stages:
  - {name: one, method: projector, arguments: {weight_decai: 0}}
  - {name: one}
"""


def settings_from(text: str) -> tuple[Settings | None, list[str]]:
    """Return what a text says, and its mistakes."""
    found, mistakes = check_settings(parse_document(text, file="t.yaml"))
    return found, [str(mistake) for mistake in mistakes]


def test_every_mistake_is_told_at_once(tmp_path: Path) -> None:
    """Each mistake comes with its line and the nearest valid key, whatever else is wrong."""
    (tmp_path / "t.yaml").write_text(WRONG, encoding="utf-8")
    with pytest.raises(RecipeError) as error:
        read_settings(tmp_path / "t.yaml")
    told = [str(mistake).removeprefix(f"{tmp_path}/") for mistake in error.value.mistakes]
    for line in (
        "t.yaml:2: methd: unknown key (did you mean 'method'?)",
        "t.yaml:5: lora.rank: LoraConfig has no such option (write `r`)",
        "t.yaml:5: lora.use_dora: the method decides it (write `method: dora`)",
        "t.yaml:8: data.conversation[0].user[0].vido: unknown key (did you mean 'video'?)",
        f"t.yaml:12: arguments.lr_schedulr_type: {UNKNOWN} (did you mean 'lr_scheduler_type'?)",
        "t.yaml:13: arguments.bf16: this follows from something else (write `precision`)",
        f"t.yaml:16: stages[0].arguments.weight_decai: {UNKNOWN} (did you mean 'weight_decay'?)",
    ):
        assert line in told
    assert any(line.startswith("t.yaml:10: batching: a batch is limited by its") for line in told)
    assert any(line.startswith("t.yaml:14: arguments.gradient_accumulation_steps:") for line in told)


HEAD = "model: a/b\ndata: {dataset: x, eval: test}\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("epochs: 1\nsteps: 2", "as long as `epochs` or `steps`"),
        ("method: full\nlora: {r: 2}", "has no adapters"),
        ("global_batch_size: 8\naccumulation: 2", "it follows from `global_batch_size`"),
        ("global_batch_size: 8\nbatching: {tokens: 99}", "the rows of a step differ"),
        ("method: full\nvision_cache: true", "makes something else each time"),
        ("over: fewer_frames", "write `max_tokens`"),
        ("stages: [{name: a, method: lora}, {name: b}]", "only the last stage can have adapters"),
        ("stages: [{name: a, method: full}, {name: A}]", "two stages have the same name"),
        ("batching: {samples: 2, pack: true}", "`pack` goes with `tokens`"),
        ("batching: {tokens: 20, by_length: true}", "with `tokens` it is always so"),
        ("learning_rate: 0", "more than 0"),
        ("precision: fp8", "auto or fp32 or bf16 or pure_bf16"),
        ("report_to: [wandb]", "tensorboard or swanlab"),
        ("method: lor", "lora or dora or qlora or full or frozen-vision or projector"),
        ("rejects: {max_share: 2}", "at most 1"),
    ],
)
def test_what_cannot_be_meant_is_refused(text: str, said: str) -> None:
    """Keys that contradict each other, and values that nothing can be made of, are mistakes."""
    found, mistakes = settings_from(f"{HEAD}{text}\n")
    assert found is None
    assert any(said in mistake for mistake in mistakes), mistakes


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ("{dataset: x, frames: {count: 3, per_second: 1}}", "by `count` or by `per_second`"),
        ("{dataset: x, frames: {count: 3, at_most: 9}}", "go with `per_second`"),
        ("{dataset: x, frames: {count: 3, multiple_of: 2}}", "write 4"),
        ("{dataset: x, frames: {per_second: 2, start: 4, end: 4}}", "is not behind"),
        ("{dataset: x, frames: {per_second: 2, centre: 4, end: 4}}", "without `start` and `end`"),
        ("{dataset: x, recipe: y}", "not from both"),
        ("{dataset: x, schema: y, conversation: [{user: a}]}", "not by both"),
        ("{dataset: x, eval_rows: 3}", "`eval_rows` goes with `eval`"),
        ("{dataset: x, conversation: []}", "is no conversation"),
    ],
)
def test_what_cannot_be_meant_of_the_rows_is_refused(data: str, said: str) -> None:
    """The same for the rows, and what is seen of their media."""
    found, mistakes = settings_from(f"model: a/b\ndata: {data}\n")
    assert found is None
    assert any(said in mistake for mistake in mistakes), mistakes


def test_nothing_says_which_rows(tmp_path: Path) -> None:
    """A file of its own names its rows; the command can, and a recipe trains on its own dataset."""
    (tmp_path / "t.yaml").write_text("model: a/b\n", encoding="utf-8")
    with pytest.raises(RecipeError, match="nothing says which rows"):
        read_settings(tmp_path / "t.yaml")
    assert read_settings(tmp_path / "t.yaml", elsewhere=True).model == "a/b"


def test_stages_say_what_differs() -> None:
    """A stage has what is said for all, but for what it says itself."""
    text = (
        "global_batch_size: 128\nlearning_rate: 2e-5\nstages:\n- {name: a, method: projector, global_batch_size: 256}\n"
    )
    found, mistakes = settings_from(f"{HEAD}{text}- {{name: b, method: full, data: {{dataset: y}}}}\n")
    assert found is not None, mistakes
    first, second = found.resolved()
    assert (first.method, first.global_batch_size, first.learning_rate) == ("projector", 256, 2e-5)
    assert (second.method, second.global_batch_size, second.data.dataset) == ("full", 128, "y")
    assert first.data.eval == "test"
    assert not first.stages


def test_names_of_options_are_those_of_the_libraries() -> None:
    """What is read out of the source of transformers and peft is what they have, and what is ours is still there."""
    import dataclasses

    from peft import LoraConfig
    from transformers import TrainingArguments

    arguments, lora = training_arguments(), lora_options()
    assert arguments is not None
    assert lora is not None
    assert arguments == {field.name for field in dataclasses.fields(TrainingArguments)}
    assert lora <= {field.name for field in dataclasses.fields(LoraConfig)}
    assert set(OWNED) <= arguments
    assert spec.MethodKind.__args__ == KINDS  # type: ignore[attr-defined]


def test_mistakes_of_a_recipe_stand_beside_its_own(tmp_path: Path) -> None:
    """What a recipe says under `train` is checked with the rest of it, with its own lines."""
    recipe = "name: demo\nsources: {a: {path: nowhere}}\nconfigs: {default: {splits: {train: {files: x}}}}\n"
    path = tmp_path / "demo.yaml"
    path.write_text(f"{recipe}train:\n  model: a/b\n  metod: lora\n  data: {{dataset: x}}\n", encoding="utf-8")
    with pytest.raises(RecipeError) as error:
        load_recipe(path)
    assert "demo.yaml:6: train.metod: unknown key (did you mean 'method'?)" in str(error.value)
    path.write_text(f"{recipe}train: gone.yaml\n", encoding="utf-8")
    with pytest.raises(RecipeError, match="train: there is no file 'gone"):
        load_recipe(path)


def test_the_page_names_every_key() -> None:
    """docs/train.md has a row for every key that a configuration may have."""
    text = (ROOT / "docs" / "train.md").read_text(encoding="utf-8")
    for model in vars(spec).values():
        if isinstance(model, type) and issubclass(model, BaseModel) and model.__module__ == spec.__name__:
            for name, field in model.model_fields.items():
                assert f"`{field.alias or name}`" in text, f"{model.__name__}.{name} is missing in docs/train.md"
    named = set(re.findall(r"^\| `(\w+)` \| .* \| write ", text, re.MULTILINE))
    assert named <= set(OWNED)


FIGURES: dict[str, dict[str, Any]] = {
    "video_feedback": {
        "model": "HuggingFaceTB/SmolVLM2-2.2B-Instruct",
        "method": "frozen-vision",
        "epochs": 1.0,
        "batching.samples": 2,
        "learning_rate": 1e-4,
        "arguments": {"optim": "paged_adamw_8bit", "weight_decay": 0.01, "warmup_steps": 50},
        "log_every": 25,
        "save_every": 250,
        "precision": "pure_bf16",
        "report_to": ["tensorboard"],
    },
    "video_feedback_lora": {"method": "lora", "lora": {"r": 8, "alpha": 8, "dropout": 0.1, "init": "gaussian"}},
    "video_feedback_qlora": {"method": "qlora", "lora": {"r": 8, "alpha": 8, "dropout": 0.1, "init": "gaussian"}},
    "latex_ocr": {
        "model": "Qwen/Qwen2-VL-2B-Instruct",
        "method": "lora",
        "lora": {"r": 64, "alpha": 16, "dropout": 0.05},
        "epochs": 2.0,
        "batching.samples": 4,
        "accumulation": 4,
        "learning_rate": 1e-4,
        "max_tokens": 8192,
        "save_every": 100,
        "log_every": 10,
        "gradient_checkpointing": True,
        "report_to": ["swanlab"],
        "data.rows": 996,
    },
    "latex_ocr_swift": {
        "model": "Qwen/Qwen2-VL-7B-Instruct",
        "method": "lora",
        "epochs": 2.0,
        "batching.samples": 4,
        "evaluate_every": 1000,
        "save_every": 1000,
        "report_to": ["tensorboard"],
        "processor.image": {"size": {"longest_edge": 602112}},
    },
    "clot_oogiri": {
        "method": "qlora",
        "epochs": 1.0,
        "batching.samples": 8,
        "accumulation": 2,
        "workers": 4,
        "max_tokens": 8192,
        "learning_rate": 2e-5,
    },
}
"""What the use cases' trainings were, by file."""


@pytest.mark.parametrize("path", CONFIGS, ids=[path.stem for path in CONFIGS])
def test_configs_load(path: Path) -> None:
    """Every file of train/configs is right, and names a recipe that is here."""
    settings = read_settings(path)
    for stage in settings.resolved():
        assert stage.data.recipe is not None
        recipe = load_recipe(path.parent / stage.data.recipe)
        config = stage.data.config or next(iter(recipe.configs))
        splits = recipe.configs[config].splits
        assert stage.data.train in splits
        assert stage.data.eval is None or stage.data.eval in splits
    names = {family.name for family in families()}
    assert settings.family is None or settings.family in names


@pytest.mark.parametrize("name", FIGURES)
def test_configs_have_the_figures_of_the_articles(name: str) -> None:
    """What is known of batches, rates, ranks, epochs and steps is what the files say."""
    settings = read_settings(ROOT / "train" / "configs" / f"{name}.yaml")
    for key, expected in FIGURES[name].items():
        value: Any = settings
        for part in key.split("."):
            value = getattr(value, part)
        assert value == expected, key


def test_two_stages_with_the_global_batch_sizes_of_better_synth() -> None:
    """The projector learns first with 256 rows a step at 1e-3, then the rest with 128 at 2e-5, both by a cosine."""
    settings = read_settings(ROOT / "train" / "configs" / "better_synth.yaml")
    first, second = settings.resolved()
    assert (first.method, first.global_batch_size, first.learning_rate, first.batching.samples) == (
        *("projector", 256, 1e-3),
        4,
    )
    assert (second.method, second.global_batch_size, second.learning_rate, second.batching.samples) == (
        *("frozen-vision", 128, 2e-5),
        4,
    )
    for stage in (first, second):
        assert (stage.max_tokens, stage.workers, stage.save_every, stage.log_every) == (2048, 4, 100, 1)
        assert stage.arguments == {"lr_scheduler_type": "cosine", "warmup_steps": 0.03, "weight_decay": 0.0}
