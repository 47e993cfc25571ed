"""metrics.jsonl: what a training measured, a line each time it did.

    {"step": 10, "epoch": 0.5, "loss": 2.71, "learning_rate": 0.0001, "grad_norm": 1.3, "tokens": 40960, …}
    {"step": 10, "epoch": 0.5, "eval_loss": 2.5}
    {"step": 11, "epoch": 0.55, "loss": null, "not_finite": {"loss": "nan"}}

A run that goes on behind step 10 cuts away all lines of later steps first, so that its file becomes that of a run which
was never interrupted, but for what depends on the clock (`TIMES`). JSON has no word for what is no finite number: the
value is null then, and `not_finite` says what it was.
"""

from __future__ import annotations

import math
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from train.example import TrainError
from train.line_file import LineFile, opened, read_lines

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

FIELDS = {
    "step": "optimizer steps done",
    "epoch": "passes over the training rows, with a fraction",
    "loss": "mean cross-entropy of a trained token since the last line, in nats",
    "learning_rate": "of the first group of parameters, at this step",
    "grad_norm": "norm of all gradients before they were clipped",
    "tokens": "tokens the model has seen since the training began, media included, padding not",
    "samples_per_second": "rows a second since the last line",
    "tokens_per_second": "tokens a second since the last line",
    "wait_share": "share of the time since the last line in which the model waited for data, 0 to 1",
    "peak_memory": "most bytes so far: of the GPU, or of the process",
}
"""What a line of training says; lines of an evaluation say `step`, `epoch` and numbers that begin with `eval_`."""
TIMES = ("samples_per_second", "tokens_per_second", "wait_share", "runtime", "steps_per_second", "peak_memory")
"""What depends on the clock or the machine, and differs between two runs of one training; also behind `eval_`."""
EVALUATION = "eval_"
_NOT_FINITE = "not_finite"


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A line."""

    step: int
    values: dict[str, float | None]
    """By name, without the step; None: it was no finite number, or there was none."""
    not_finite: dict[str, str] = field(default_factory=dict)
    """By name: `nan`, `inf` or `-inf`."""

    def without_times(self) -> Measured:
        """Return the line without what depends on the clock."""
        kept = {name: value for name, value in self.values.items() if name.removeprefix(EVALUATION) not in TIMES}
        not_finite = {name: what for name, what in self.not_finite.items() if name in kept}
        return Measured(step=self.step, values=kept, not_finite=not_finite)


class MetricsFile:
    """The file of a run that goes on."""

    def __init__(self, lines: LineFile) -> None:
        self._lines = lines

    def add(self, step: int, values: Mapping[str, Any]) -> None:
        """Add a line: numbers (of Python, NumPy or a tensor of one) by name; it is on its way to the disk at once.

        Raises:
            WorkspaceError: the disk is full, or gone.
        """
        if "step" in values or _NOT_FINITE in values:
            raise ValueError("`step` and `not_finite` are no names of measured numbers")
        line: dict[str, Any] = {"step": int(step)}
        not_finite = {}
        for name, value in values.items():
            number = _plain(value)
            if number is not None and not math.isfinite(number):
                not_finite[name] = str(float(number))
                number = None
            line[name] = number
        if not_finite:
            line[_NOT_FINITE] = not_finite
        self._lines.append(line)


@contextmanager
def metrics_file(path: Path, *, after_step: int = 0) -> Iterator[MetricsFile]:
    """Open the file of a run that goes on behind a step (0: from the start); lines of later steps are cut away.

    Raises:
        WorkspaceError: the folder cannot be written.
    """

    def is_before(line: dict[str, Any]) -> bool:
        step = line.get("step")
        return isinstance(step, int) and after_step > 0 and step <= after_step

    with opened(path, is_before) as lines:
        yield MetricsFile(lines)


def read_metrics(path: Path) -> list[Measured]:
    """Return the lines of a run; none, where there is no file. A last line that is not yet whole is left out.

    Raises:
        TrainError: a line is not one of ours; says which.
        WorkspaceError: the file cannot be read.
    """
    found = []
    for line in read_lines(path):
        value = line.value or {}
        step, not_finite = value.pop("step", None), value.pop(_NOT_FINITE, {})
        if not isinstance(step, int) or not isinstance(not_finite, dict) or not all(map(_is_number, value.values())):
            raise TrainError(
                f"{path}:{line.number}: this is no line of a training's metrics",
                allowed='{"step": 1, "loss": 2.5, …}, values numbers or null',
                hint="take the line out, or let the run go on from a checkpoint before it",
            )
        found.append(Measured(step=step, values=value, not_finite=not_finite))
    return found


def series(lines: Iterable[Measured], name: str) -> list[tuple[int, float]]:
    """Return the steps at which a number was measured, and the number; what was not finite is left out."""
    return [(line.step, value) for line in lines if (value := line.values.get(name)) is not None]


def _is_number(value: object) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))


def _plain(value: Any) -> float | int | None:
    """Return a number as Python has it."""
    if value is None or isinstance(value, int | float):
        # NumPy's float64 is a float; its name would change nothing in JSON, but a bool would become `true`
        return int(value) if isinstance(value, bool) else value
    number = value.item()
    assert isinstance(number, int | float), value
    return number
