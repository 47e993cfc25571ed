"""How fast a training is behind its first steps: by the clock, and by what it used of the processors."""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import measure
from training_models import WARM_UP

from train.metrics_file import read_metrics

LOOK_SECONDS = 0.01


@dataclass(frozen=True)
class Training(measure.Case):
    """A training to measure."""

    run: Path = Path()
    """Its folder, in which metrics.jsonl is."""


@dataclass(frozen=True)
class Speed:
    """How fast a training was behind its first lines."""

    rows: float
    """A second."""
    own_seconds: float
    """Of processors, a row, that the training process itself used."""
    workers_seconds: float
    """Likewise its workers."""
    tokens: float
    """Of a row."""
    waiting: float
    """Share of the time in which the model waited for a batch."""
    memory_mb: float
    """The most that was in use: of the GPU, or of the training process."""
    all_mb: float
    """The most that all its processes had of the machine's memory."""
    beside: float
    """Seconds of the process that are not those of steps."""


class Clock(threading.Thread):
    """Notes how much of the processors a training has used whenever it writes a line of its metrics."""

    def __init__(self, metrics: Path) -> None:
        super().__init__()
        self.metrics, self.done = metrics, threading.Event()
        self.used: dict[int, tuple[float, float]] = {}
        """Number of lines -> seconds of the training process, and of its workers."""

    def run(self) -> None:
        """Look until the training is done."""
        while not self.done.wait(LOOK_SECONDS):
            with suppress(OSError, ValueError):
                lines = self.metrics.read_bytes().count(b"\n")
                (training,) = _children(os.getpid())
                if lines not in self.used:
                    self.used[lines] = _processor_seconds(training), sum(map(_processor_seconds, _children(training)))


def _children(process: int) -> list[int]:
    return [int(one) for one in Path(f"/proc/{process}/task/{process}/children").read_text().split()]


def _processor_seconds(process: int) -> float:
    # behind the name, which may hold anything: the 14th and 15th fields of all
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Line:
    """What one line of metrics.jsonl stands for."""

    step: int
    seconds: float
    rows: float
    tokens: float
    waited: float


def lines_of(metrics: Path) -> tuple[list[Line], float]:
    """Return the lines of a training, and the most bytes that it says it had in use."""
    found, before, most = [], 0.0, 0.0
    for line in read_metrics(metrics):
        value: Any = line.values
        seconds = (value["tokens"] - before) / value["tokens_per_second"]
        rows, waited = value["samples_per_second"] * seconds, value["wait_share"] * seconds
        found.append(Line(line.step, seconds, rows, value["tokens"] - before, waited))
        before, most = value["tokens"], max(most, value["peak_memory"])
    return found, most


def measured(case: Training) -> Speed:
    """Run a training, and return how fast its steps behind the first ones were."""
    clock = Clock(case.run / "metrics.jsonl")
    clock.start()
    try:
        done = measure.run(case.command)
    finally:
        clock.done.set()
        clock.join()
    lines, memory = lines_of(clock.metrics)
    warm = [line for line in lines if line.step > WARM_UP]
    assert warm, f"{case.name} has no more than {WARM_UP} steps: give it more rows"
    seconds, rows, tokens = (sum(getattr(line, name) for line in warm) for name in ("seconds", "rows", "tokens"))
    # a line that was written while nobody looked is counted with the next
    first, last = min(number for number in clock.used if number >= WARM_UP), max(clock.used)
    looked_at = sum(line.rows for line in lines[first:last])
    own, workers = (end - start for start, end in zip(clock.used[first], clock.used[last], strict=True))
    return Speed(
        rows=rows / seconds,
        own_seconds=own / looked_at,
        workers_seconds=workers / looked_at,
        tokens=tokens / rows,
        waiting=sum(line.waited for line in warm) / seconds,
        memory_mb=memory / 1e6,
        all_mb=done.all_mb,
        beside=done.seconds - sum(line.seconds for line in lines),
    )
