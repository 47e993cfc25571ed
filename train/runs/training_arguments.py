"""transformers' TrainingArguments out of settings: what follows from them, and what is passed through."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from pipeline.printable import escaped
from train.example import TrainError
from train.models.methods import ADAPTERS
from train.runs.option_names import OWNED

if TYPE_CHECKING:
    from pathlib import Path

    from train.settings import Settings

PARTS_OF_A_RUN = 10
"""Into so many parts a run is cut by evaluations and checkpoints where nothing else is said."""


def training_arguments(
    settings: Settings,
    *,
    saving: Path,
    steps: int,
    accumulation: int,
    bf16: bool,
    cpu: bool,
    evaluates: bool,
) -> Any:
    """Return TrainingArguments.

    Args:
        settings: Of the run, or of one of its stages.
        saving: The folder in which checkpoints are written.
        steps: Of the optimizer, in all.
        accumulation: Batches of a process that make a step.
        bf16: Compute in bfloat16.
        cpu: Train without a GPU although there may be one.
        evaluates: Is there a split to evaluate on?

    Raises:
        TrainError: transformers refuses what is passed through; says what it says.
    """
    from transformers import TrainingArguments

    every = max(1, math.ceil(steps / PARTS_OF_A_RUN))
    passed = dict(settings.arguments)
    if cpu:
        passed.setdefault("dataloader_pin_memory", False)
    # adapters are used in every batch; a projector is not, where a batch has no media
    passed.setdefault("ddp_find_unused_parameters", settings.method not in ADAPTERS)
    try:
        arguments = TrainingArguments(
            output_dir=str(saving),
            # one epoch to the Trainer; the schedule knows of the real ones
            num_train_epochs=1,
            per_device_train_batch_size=1,
            per_device_eval_batch_size=1,
            gradient_accumulation_steps=accumulation,
            learning_rate=settings.learning_rate,
            bf16=bf16,
            use_cpu=cpu,
            seed=settings.seed,
            logging_strategy="steps",
            logging_steps=settings.log_every,
            logging_first_step=True,
            logging_nan_inf_filter=False,
            eval_strategy="steps" if evaluates else "no",
            eval_steps=(settings.evaluate_every or every) if evaluates else None,
            metric_for_best_model="loss" if evaluates else None,
            greater_is_better=False if evaluates else None,
            save_strategy="steps",
            save_steps=settings.save_every or every,
            dataloader_num_workers=0,
            remove_unused_columns=False,
            label_names=["labels"],
            disable_tqdm=True,
            report_to="none",
            **passed,
        )
        _ = arguments.device
    except (ValueError, TypeError, ImportError, NotImplementedError) as error:
        said = escaped(" ".join(str(error).split()))[:500]
        allowed = ", ".join(settings.arguments) or "none is given"
        raise TrainError(
            f"transformers refuses the arguments of the training: {said}", allowed=f"given: {allowed}"
        ) from None
    assert not OWNED.keys() & settings.arguments.keys(), "checked with the settings"
    # several GPUs are for several processes; the Trainer would cut our batches up for threads
    arguments._n_gpu = min(1, arguments.n_gpu)  # noqa: SLF001
    return arguments
