"""transformers' Trainer, fed by a schedule: what it says it does differently is all that it does differently.

batches        come from the schedule; the whole training is one epoch to the Trainer, which counts steps
waiting        for a batch is measured, and so are rows, tokens and memory
loss           is the mean over the answers' tokens of a step, over all its batches and processes
a loss that    is no number stops the training before it reaches the weights, and names the rows
checkpoints    are moved to `last` and `best` when they are whole
evaluation     is the loss over all answers' tokens of a split
"""

from __future__ import annotations

import math
import time
import warnings
from typing import TYPE_CHECKING, Any

import torch
from transformers import Trainer, TrainerCallback
from transformers.trainer_callback import PrinterCallback

from pipeline.workspace import read_json, write_json
from train.example import TrainError
from train.models.load import quiet
from train.runs.pace import Pace
from train.runs.planned_batches import loader
from train.runs.run_folder import STATE
from train.runs.split_loss import split_loss

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from torch import Tensor
    from transformers import TrainingArguments

    from train.example import RowRef
    from train.runs.planned_batches import Batch, PlannedBatches
    from train.runs.rejected_rows import Rejected
    from train.runs.run_folder import RunFolder
    from train.runs.schedule import Schedule

ADAPTER = "adapter_config.json"
NAMED = 8
"""Rows that a message names."""


class RunTrainer(Trainer):
    """Trains by a schedule."""

    def __init__(
        self,
        *,
        model: Any,
        args: TrainingArguments,
        processor: Any,
        folder: RunFolder,
        schedule: Schedule,
        batches: PlannedBatches,
        evaluated: PlannedBatches | None,
        workers: int,
        note: Callable[[int, dict[str, Any]], None],
        reject: Callable[[int, list[Rejected]], None],
        base_model: dict[str, Any],
        stopping: Callable[[], bool],
        going_on: Path | None,
        callbacks: list[TrainerCallback],
    ) -> None:
        """Put a training together.

        Args:
            model: With what learns set to learn.
            args: As `training_arguments` makes them.
            processor: Saved beside the model.
            folder: Where checkpoints go.
            schedule: What is learnt from, and when.
            batches: Of this process, the schedule's.
            evaluated: Of this process, those of the split that is evaluated on.
            workers: Processes that make batches.
            note: Called on every process with a step and what was measured.
            reject: Called on the process that it happened on, with a step and rows that failed at it.
            base_model: What the config of adapters says of the model that they are for.
            stopping: Tells whether this process was asked to stop.
            going_on: The checkpoint from which the training goes on, if it does.
            callbacks: Further ones.
        """
        self.stopping, self.going_on, self.base_model = stopping, going_on, base_model
        self.processor = processor
        self.folder, self.schedule, self.batches, self.evaluated = folder, schedule, batches, evaluated
        self.workers, self._note, self._reject = workers, note, reject
        self._rows_of_step: list[list[RowRef]] = []
        self._losses: list[Tensor] = []
        super().__init__(
            model=model,
            args=args,
            # not the processor: the Trainer would write its tokenizer's special tokens into the model's config
            processing_class=None,
            train_dataset=batches,
            eval_dataset=evaluated,
            callbacks=[_Steps(self), *callbacks],
        )
        self.remove_callback(PrinterCallback)
        self.pace = Pace(self.args.device, self._summed)
        # some classes say that they do not, for the sake of older ways of computing it; `prove_loss` has looked
        self.model_accepts_loss_kwargs = True

    # batches

    def get_train_dataloader(self) -> Any:
        """Return this process's batches; nobody else cuts them up once more."""
        return loader(
            self.batches,
            workers=self.workers,
            pin=self.args.dataloader_pin_memory and self.args.device.type == "cuda",
            ahead=self.args.dataloader_prefetch_factor,
        )

    def get_batch_samples(
        self, epoch_iterator: Iterator[Batch], num_batches: int, device: torch.device
    ) -> tuple[list[dict[str, Any]], Tensor | int | None]:
        """Take the batches of a step, and measure how long they were waited for."""
        taken: list[dict[str, Any]] = []
        self._rows_of_step.clear()
        for _ in range(num_batches):
            began = time.perf_counter()
            batch = next(epoch_iterator, None)
            self.pace.waited(began)
            if batch is None:
                break
            if batch.error is not None:
                raise batch.error
            if batch.failed:
                self._reject(self.state.global_step + 1, batch.failed)
            self.pace.add(batch)
            self._rows_of_step.append(batch.rows)
            taken.append(batch.inputs)
        return taken, self._get_num_items_in_batch(taken, device)

    def _get_num_items_in_batch(self, batch_samples: list[Any], device: torch.device) -> Tensor | int | None:
        """Count the answers' tokens of a step on all processes; a step whose every row failed has one to divide by."""
        count = super()._get_num_items_in_batch(batch_samples, device)
        return count.clamp(min=1) if isinstance(count, torch.Tensor) else count

    # steps

    def training_step(self, model: Any, inputs: dict[str, Any], num_items_in_batch: Any = None) -> Tensor:
        """Learn from a batch, and remember its loss until the step ends."""
        loss: Tensor = super().training_step(model, inputs, num_items_in_batch)
        self._losses.append(loss)
        return loss

    def _get_grad_norm(self, model: Any, grad_norm: Any = None) -> Any:
        """Return the norm of the gradients, and stop where it or a loss is no number: nothing is learnt from it."""
        norm = super()._get_grad_norm(model, grad_norm=grad_norm)
        measured = [*self._losses, *([torch.as_tensor(norm).to(self.args.device)] if norm is not None else [])]
        finite = torch.stack([one.float().reshape(()) for one in measured]).isfinite().tolist()
        rows = [row for one, right in zip(self._rows_of_step, finite, strict=False) if not right for row in one]
        self._losses.clear()
        if not all(finite):
            what = "the loss" if rows else "the gradients"
            blamed = rows or [row for one in self._rows_of_step for row in one]
            named = ", ".join(map(str, blamed[:NAMED]))
            named += f" and {len(blamed) - NAMED} more" if len(blamed) > NAMED else ""
            step = self.state.global_step + 1
            raise TrainError(
                f"{what} of step {step} is no number, and nothing was learnt from it; its rows: {named}",
                hint="look at these rows; else a smaller learning_rate, a longer warm-up, or `precision: fp32`",
            )
        return norm

    # what is measured

    def begin(self, tokens: int) -> None:
        """Begin to measure, behind so many tokens."""
        self.pace.begin(tokens)
        if self.going_on is not None:
            self.go_on(self.going_on)

    def stops(self) -> bool:
        """Tell whether any process was asked to stop: then all save and stop, behind the same step."""
        if self.args.world_size == 1:
            return self.stopping()
        return int(self._summed(torch.tensor([int(self.stopping())], device=self.args.device))) > 0

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add how fast the training is to what the Trainer measures."""
        if "train_runtime" in logs:
            # what the Trainer sums up in the end, with its own notion of rows
            return
        if "loss" in logs:
            logs |= self.pace.take()
        super().log(logs, start_time)
        self._note(self.state.global_step, logs)

    def _summed(self, counted: Tensor) -> Tensor:
        """Return the sum over all processes."""
        found: Tensor = self.accelerator.reduce(counted, reduction="sum")
        return found

    # evaluation

    def evaluate(
        self,
        eval_dataset: Any = None,  # noqa: ARG002
        ignore_keys: list[str] | None = None,  # noqa: ARG002
        metric_key_prefix: str = "eval",
    ) -> dict[str, float]:
        """Return the loss over the answers' tokens of the split that is evaluated on."""
        assert self.evaluated is not None, "a training without such a split is told never to evaluate"
        began = time.perf_counter()
        model = self._wrap_model(self.model, training=False)
        with self.compute_loss_context_manager():
            total, failed = split_loss(
                model, self.evaluated, workers=self.workers, device=self.args.device, prepared=self._prepare_inputs
            )
        if failed:
            self._reject(self.state.global_step, failed)
        loss, tokens, samples = self._summed(total).tolist()
        if not tokens:
            raise TrainError(
                "no row of the split that is evaluated on can be decoded", hint="rejected.jsonl names them"
            )
        seconds = time.perf_counter() - began
        metrics = {
            f"{metric_key_prefix}_loss": loss / tokens,
            f"{metric_key_prefix}_perplexity": math.exp(min(loss / tokens, 700.0)),
            f"{metric_key_prefix}_runtime": seconds,
            f"{metric_key_prefix}_samples_per_second": samples / seconds,
        }
        self.log(metrics)
        self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        self.pace.leave_out(began)
        return metrics

    def _determine_best_metric(self, metrics: dict[str, float], trial: Any) -> bool:
        """Tell whether these are the best weights so far; they are then saved."""
        better = bool(super()._determine_best_metric(metrics, trial))
        if better:
            self.control.should_save = True
        return better

    # checkpoints

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        """Write a checkpoint, and move it to its place when it is whole."""
        began, step = time.perf_counter(), self.state.global_step
        self.state.num_input_tokens_seen = self.pace.tokens_so_far()
        with quiet():
            super()._save_checkpoint(model, trial)
        saved = self.folder.saving / f"checkpoint-{step}"
        # what the next line of metrics.jsonl is the mean of, in part
        begun = {"loss": float(self._tr_loss), "steps": step - self._globalstep_last_logged}
        write_json(saved / _begun(self.args.process_index), begun)
        self.accelerator.wait_for_everyone()
        if self.args.should_save:
            self._complete(saved)
            self.folder.keep(saved, best=self.state.best_global_step == step)
        self.accelerator.wait_for_everyone()
        self.pace.leave_out(began)

    def _complete(self, saved: Path) -> None:
        """Put the processor beside the model; let nothing tell of this machine, and adapters of their model."""
        self.processor.save_pretrained(saved)
        for name in ("README.md", "training_args.bin"):
            (saved / name).unlink(missing_ok=True)
        # the Trainer notes where it wrote the best one; here that is always `best`
        self.state.best_model_checkpoint = None
        write_json(saved / STATE, {**read_json(saved / STATE), "best_model_checkpoint": None})
        told = read_json(saved / ADAPTER)
        if isinstance(told, dict):
            write_json(saved / ADAPTER, told | self.base_model)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        """Load adapters; a whole model was loaded from the checkpoint in the first place."""
        if self.is_fsdp_enabled or hasattr(self.model, "peft_config"):
            with warnings.catch_warnings():
                # of peft (0.21), which asks the model by a name that transformers (5.23) warns of
                warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning)
                super()._load_from_checkpoint(resume_from_checkpoint, model)

    def go_on(self, checkpoint: Path) -> None:
        """Take up the line of metrics.jsonl that was begun when the checkpoint was saved."""
        begun = read_json(checkpoint / _begun(self.args.process_index))
        if isinstance(begun, dict):
            self._tr_loss += begun["loss"]
            self._globalstep_last_logged -= begun["steps"]


class _Steps(TrainerCallback):
    """What happens between steps."""

    def __init__(self, trainer: RunTrainer) -> None:
        self.trainer = trainer

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ARG002
        """Take over how often to log, evaluate and save from the settings, not from the checkpoint."""
        state.compute_steps(args, state.max_steps)
        self.trainer.begin(int(state.num_input_tokens_seen))

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ARG002
        """Say how many epochs are done: to the Trainer, the training is one."""
        state.epoch = self.trainer.schedule.epochs_after(state.global_step)
        if self.trainer.stops():
            control.should_save = control.should_training_stop = True


def _begun(process: int) -> str:
    """Return the file of a checkpoint that holds what a process has of the next line."""
    return f"begun_line_{process}.json"
