"""Who is told what a training measures, beside metrics.jsonl: TensorBoard, SwanLab, and whoever watches it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from transformers import TrainerCallback

from train.example import TrainError

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import ExitStack
    from pathlib import Path

    from train.runs.run_folder import RunFolder
    from train.settings import Settings


class TensorBoardEvents(TrainerCallback):
    """Events for TensorBoard; those of steps that are trained once more are withdrawn."""

    def __init__(self, folder: Path, *, after_step: int, stack: ExitStack) -> None:
        """Begin a file of events.

        Raises:
            TrainError: tensorboard is not installed.
        """
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise TrainError(
                "tensorboard is not installed", hint="pip install 'shardwright[train]', or write `report_to: []`"
            ) from None
        self._writer = SummaryWriter(log_dir=str(folder), purge_step=after_step + 1 if after_step else None)
        stack.callback(self._writer.close)

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any) -> None:  # noqa: ARG002
        """Write what was measured."""
        for name, value in (logs or {}).items():
            if isinstance(value, int | float):
                self._writer.add_scalar(_title(name), value, state.global_step)
        self._writer.flush()


class SwanLabRecords(TrainerCallback):
    """Records for SwanLab, in the run's folder; nothing is sent, since a training uses no network."""

    def __init__(self, folder: Path, settings: Settings, name: str, stack: ExitStack) -> None:
        """Begin a record.

        Raises:
            TrainError: swanlab is not installed.
        """
        try:
            import swanlab
        except ImportError:
            raise TrainError(
                "swanlab is not installed", hint="pip install 'shardwright[swanlab]', or leave it out of `report_to`"
            ) from None
        self._swanlab = swanlab
        folder.mkdir(parents=True, exist_ok=True)
        swanlab.init(
            project=settings.project or name,
            name=name,
            config=settings.model_dump(mode="json", by_alias=True),
            log_dir=str(folder),
            mode="offline",
        )
        stack.callback(swanlab.finish)

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any) -> None:  # noqa: ARG002
        """Record what was measured."""
        if state.is_world_process_zero and logs:
            numbers = {name: value for name, value in logs.items() if isinstance(value, int | float)}
            self._swanlab.log({_title(name): value for name, value in numbers.items()}, step=state.global_step)


def _title(name: str) -> str:
    """Return the chart of a number: those of evaluations and of training are apart."""
    return f"eval/{name.removeprefix('eval_')}" if name.startswith("eval_") else f"train/{name}"


class Progress(TrainerCallback):
    """What is seen of a training while it goes on: how far it is, and what was measured."""

    def __init__(self, advance: Callable[[int], object], say: Callable[[str], None]) -> None:
        self._advance, self._say = advance, say
        self._done = 0

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ARG002
        """Show the steps that were done before."""
        self._done = state.global_step
        self._advance(self._done)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ARG002
        """Show a step."""
        self._advance(state.global_step - self._done)
        self._done = state.global_step

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any) -> None:  # noqa: ARG002
        """Say what was measured."""
        if state.is_world_process_zero and logs:
            self._say(line_of(state.global_step, state.max_steps, logs))


def line_of(step: int, steps: int, logs: dict[str, Any]) -> str:
    """Return what was measured as one line for people."""
    shown = [
        ("epoch", "epoch {:.2f}"),
        ("loss", "loss {:.4f}"),
        ("eval_loss", "loss on the evaluated rows {:.4f}"),
        ("learning_rate", "lr {:.2e}"),
        ("samples_per_second", "{:.1f} rows/s"),
        ("tokens_per_second", "{:,.0f} tokens/s"),
        ("wait_share", "waiting {:.1%}"),
    ]
    parts = [form.format(logs[name]) for name, form in shown if isinstance(logs.get(name), int | float)]
    return f"step {step:,} of {steps:,}  " + "  ".join(parts)


def reporters(
    folder: RunFolder, settings: Settings, *, name: str, after_step: int, main: bool, stack: ExitStack
) -> list[TrainerCallback]:
    """Return those that the settings ask for; only the main process reports."""
    if not main:
        return []
    found: list[TrainerCallback] = []
    if "tensorboard" in settings.report_to:
        found.append(TensorBoardEvents(folder.tensorboard, after_step=after_step, stack=stack))
    if "swanlab" in settings.report_to:
        found.append(SwanLabRecords(folder.swanlab, settings, name, stack))
    return found
