"""What a stage reports, and how progress is shown: bars on a terminal, plain lines in a log, nothing for programs."""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(kw_only=True)
class StageReport:
    """What one stage did."""

    stage: str
    rows_in: int = 0
    rows_out: int = 0
    rejected: dict[str, int] = field(default_factory=dict)
    """Reason -> rows."""
    media: int = 0
    """Media looked at or written."""
    bytes: int = 0
    """Bytes read or written."""
    seconds: float = 0.0
    skipped: bool = False
    """Nothing had changed, so nothing was done."""
    notes: list[str] = field(default_factory=list)
    """What a person should know."""
    table: list[str] = field(default_factory=list)
    """Lines that are shown when nothing is built beyond this stage."""

    def as_json(self) -> dict[str, Any]:
        """Return the report as plain values."""
        return dict(vars(self))


class Progress(Protocol):
    """Shows how far a stage is."""

    def advance(self, amount: int = 1) -> None:
        """Say that so many more are done."""
        ...


class Display(Protocol):
    """Opens one progress a stage."""

    def stage(self, name: str, total: int | None, unit: str) -> Any:
        """Return a context manager that gives a Progress."""
        ...


class _Silent:
    def advance(self, amount: int = 1) -> None:
        """Show nothing."""


class Quiet:
    """Shows nothing: for programs and tests."""

    @contextmanager
    def stage(self, name: str, total: int | None, unit: str) -> Iterator[Progress]:  # noqa: ARG002
        """Give a progress that shows nothing."""
        yield _Silent()


class _LogProgress:
    """A line at most every ten seconds."""

    INTERVAL = 10.0

    def __init__(self, name: str, total: int | None, unit: str) -> None:
        self.name, self.total, self.unit = name, total, unit
        self.done = 0
        self.last = time.monotonic()

    def advance(self, amount: int = 1) -> None:
        self.done += amount
        now = time.monotonic()
        if now - self.last >= self.INTERVAL:
            self.last = now
            of = f" of {self.total:,}" if self.total else ""
            print(f"{self.name}: {self.done:,}{of} {self.unit}", file=sys.stderr, flush=True)  # noqa: T201


class Log:
    """Plain lines on standard error, for a log file."""

    @contextmanager
    def stage(self, name: str, total: int | None, unit: str) -> Iterator[Progress]:
        """Give a progress that prints a line now and then."""
        yield _LogProgress(name, total, unit)


class Bars:
    """A bar a stage on a terminal's standard error."""

    @contextmanager
    def stage(self, name: str, total: int | None, unit: str) -> Iterator[Progress]:
        """Give a progress that draws a bar and removes it at the end."""
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
        from rich.progress import Progress as RichProgress

        with RichProgress(
            TextColumn("{task.description:<9}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn(unit),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
        ) as bars:
            task = bars.add_task(name, total=total)

            class _Bar:
                def advance(self, amount: int = 1) -> None:
                    bars.advance(task, amount)

            yield _Bar()


def display_for(*, quiet: bool) -> Display:
    """Choose: nothing when quiet, bars on a terminal, else lines."""
    if quiet:
        return Quiet()
    return Bars() if sys.stderr.isatty() else Log()
