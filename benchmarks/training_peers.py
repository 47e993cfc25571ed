"""Trainings as usually written, to be measured beside ours: transformers' Trainer as it is, and TRL's SFTTrainer.

    python benchmarks/training_peers.py plain|trl ROWS MODEL KIND METHOD SAMPLES WORKERS DEVICE RUN

ROWS is a JSON Lines file with paths of media and texts. What is measured is written to RUN/metrics.jsonl, by the names
that Shardwright's own runs have. The plain loop decodes and encodes in its collator, row by row, and fills up with
padding; it learns from all tokens but the media's. TRL gets its images decoded by `datasets`.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from pathlib import Path
from typing import Any

from training_models import FRAMES, QUESTION

from train.torchvision_ops import ensure_torchvision

ensure_torchvision()

import torch  # noqa: E402
from transformers import AutoModelForImageTextToText, AutoProcessor, Trainer, TrainingArguments  # noqa: E402
from transformers.image_utils import load_image  # noqa: E402
from transformers.utils import logging  # noqa: E402
from transformers.video_utils import load_video  # noqa: E402

from train.families.family import Family  # noqa: E402, TC001
from train.families.registry import family_for  # noqa: E402

logging.set_verbosity_error()
logging.disable_progress_bar()


class Timed:
    """Writes down how fast a Trainer is, and how long it waits for its batches."""

    run: Path

    def begin(self, run: Path) -> None:
        """Begin to count."""
        self.run = run
        run.mkdir(parents=True, exist_ok=True)
        self.started, self.waited, self.samples, self.tokens, self.all_tokens = time.perf_counter(), 0.0, 0, 0, 0

    def get_batch_samples(self, *given: Any, **named: Any) -> Any:
        """Take the batches of a step, and count them and the time it took."""
        began = time.perf_counter()
        found = super().get_batch_samples(*given, **named)  # type: ignore[misc]
        self.waited += time.perf_counter() - began
        for inputs in found[0]:
            self.samples += len(inputs["input_ids"])
            self.tokens += int(inputs["attention_mask"].sum())
        return found

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:  # noqa: ARG002
        """Write a line of metrics as ours has it."""
        if "loss" not in logs:
            return
        seconds, step = time.perf_counter() - self.started, self.state.global_step  # type: ignore[attr-defined]
        self.all_tokens += self.tokens
        line = {
            "step": step,
            "loss": logs["loss"],
            "tokens": self.all_tokens,
            "wait_share": self.waited / seconds,
            "samples_per_second": self.samples / seconds,
            "tokens_per_second": self.tokens / seconds,
            "peak_memory": torch.cuda.max_memory_allocated()
            if torch.cuda.is_available()
            else 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
        }
        with (self.run / "metrics.jsonl").open("a") as file:
            file.write(json.dumps(line) + "\n")
        self.started, self.waited, self.samples, self.tokens = time.perf_counter(), 0.0, 0, 0


class PlainTrainer(Timed, Trainer):
    """transformers' Trainer."""


def loaded(folder: str, method: str, device: str) -> tuple[Any, Any, Family]:
    """Return a model that learns, in the precision that our trainings have, with its processor and its family."""
    half = device == "cuda" and method == "lora"
    model = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.bfloat16 if half else torch.float32)
    family = family_for(model.config.model_type)
    if method == "lora":
        from peft import LoraConfig, get_peft_model

        model = get_peft_model(model, LoraConfig(target_modules=family.lora_targets, task_type="CAUSAL_LM"))
    elif method == "frozen-vision":
        for name, parameter in model.named_parameters():
            inside = name.startswith(f"{family.vision}.") and not name.startswith(family.projector)
            parameter.requires_grad_(not inside)
    return model, AutoProcessor.from_pretrained(folder), family


def arguments(kind: type, run: Path, samples: int, workers: int, device: str, **more: Any) -> Any:
    return kind(
        output_dir=str(run / "out"),
        num_train_epochs=1,
        per_device_train_batch_size=samples,
        learning_rate=1e-4,
        bf16=device == "cuda",
        use_cpu=device == "cpu",
        logging_steps=1,
        save_strategy="no",
        dataloader_num_workers=workers,
        dataloader_pin_memory=False,
        remove_unused_columns=False,
        report_to="none",
        disable_tqdm=True,
        **more,
    )


def lines_of(rows: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in rows.read_text().splitlines()]


def turns(row: dict[str, Any], asked: dict[str, Any]) -> list[dict[str, Any]]:
    told = [{"type": "text", "text": row["text"]}]
    question = {"type": "text", "text": QUESTION}
    return [{"role": "user", "content": [asked, question]}, {"role": "assistant", "content": told}]


def plain(rows: Path, kind: str, trainer: type, parts: tuple[Any, Any, Family], **common: Any) -> None:
    """Train as is usual for SmolVLM2 and videos; Qwen's pixels have no frames to be filled up."""
    model, processor, _ = parts
    media = [model.config.image_token_id, getattr(model.config, "video_token_id", None)]

    def collated(examples: list[dict[str, Any]]) -> dict[str, Any]:
        found = []
        for row in examples:
            asked, named = {"type": kind, "path": str(rows.parent / row[kind])}, {}
            if kind == "video":
                frames, told = load_video(asked["path"], num_frames=FRAMES, backend="pyav")
                asked = {"type": "video", "video": frames}
                named = {"processor_kwargs": {"do_sample_frames": False, "video_metadata": [told]}}
            else:
                # not by its path: torchvision's own decoder is not there everywhere
                asked = {"type": "image", "image": load_image(asked["path"])}
            talk = turns(row, asked)
            found.append(
                processor.apply_chat_template(talk, tokenize=True, return_dict=True, return_tensors="pt", **named)
            )
        batch = {}
        fills = {"input_ids": processor.tokenizer.pad_token_id, "attention_mask": 0, "mm_token_type_ids": 0}
        for name, fill in fills.items():
            if name in found[0]:
                own = [one[name][0] for one in found]
                batch[name] = torch.nn.utils.rnn.pad_sequence(own, batch_first=True, padding_value=fill)
        batch["labels"] = batch["input_ids"].masked_fill(batch["attention_mask"] == 0, -100)
        for token in media:
            batch["labels"][batch["input_ids"] == token] = -100
        for name in found[0].keys() - batch.keys():
            own = [one[name] for one in found]
            batch[name] = beside(own) if own[0].ndim > 3 else torch.cat(own)
        return batch

    learning = trainer(
        model=model,
        args=arguments(TrainingArguments, **common),
        train_dataset=lines_of(rows),
        data_collator=collated,
    )
    learning.begin(common["run"])
    learning.train()


def beside(media: list[torch.Tensor]) -> torch.Tensor:
    """Return [1, tiles, …] of several rows beside each other, filled up with zeros to the most and the largest."""
    most = [max(one.shape[side] for one in media) for side in range(1, media[0].ndim)]
    out = torch.zeros(len(media), *most, dtype=media[0].dtype)
    for place, one in enumerate(media):
        out[(place, *(slice(0, size) for size in one.shape[1:]))] = one[0]
    return out


def with_trl(rows: Path, parts: tuple[Any, Any, Family], **common: Any) -> None:
    """Train with TRL, which takes images only."""
    from datasets import Dataset, Features, Image, List, Value
    from trl import SFTConfig, SFTTrainer

    model, processor, family = parts
    # TRL knows the released templates, and else wants one that marks what the assistant says
    processor.chat_template = family.chat_template(processor)

    class TimedSFTTrainer(Timed, SFTTrainer):
        """TRL's trainer."""

    lines = lines_of(rows)
    message = {"role": Value("string"), "content": Value("string")}
    features = Features({"images": List(Image()), "messages": List(message)})
    columns = {
        "images": [[str(rows.parent / row["image"])] for row in lines],
        "messages": [
            [{"role": "user", "content": QUESTION}, {"role": "assistant", "content": row["text"]}] for row in lines
        ],
    }
    learning = TimedSFTTrainer(
        model=model,
        args=arguments(SFTConfig, **common, assistant_only_loss=True, max_length=None, gradient_checkpointing=False),
        train_dataset=Dataset.from_dict(columns, features=features),
        processing_class=processor,
    )
    learning.begin(common["run"])
    learning.train()


def main() -> None:
    loop, rows, folder, kind, method, samples, workers, device, run = sys.argv[1:]
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    common = {"run": Path(run), "samples": int(samples), "workers": int(workers), "device": device}
    parts = loaded(folder, method, device)
    if loop == "trl":
        with_trl(Path(rows), parts, **common)
    else:
        plain(Path(rows), kind, PlainTrainer, parts, **common)


if __name__ == "__main__":
    main()
