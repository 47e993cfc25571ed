"""The plan of a training, as it is printed before the first step, and as plain values."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from train.runs.rejected_rows import told

if TYPE_CHECKING:
    from pathlib import Path

    from train.models.parts import Count
    from train.runs.machine import Machine, Precision
    from train.runs.schedule import Schedule
    from train.runs.stage_data import SplitRows
    from train.settings import Settings


@dataclass(frozen=True, kw_only=True)
class TrainingPlan:
    """Everything that is decided before the first step."""

    title: str
    """Of the run, and of its stage if it has several."""
    settings: Settings
    folder: Path
    machine: Machine
    precision: Precision
    family: str
    dataset: dict[str, Any]
    rows: SplitRows
    evaluated: SplitRows | None
    max_tokens: int | None
    schedule: Schedule
    evaluate_every: int | None
    save_every: int
    parameters: dict[str, Count]
    memory: dict[str, int]
    """Bytes by what they are for."""
    workers: int
    begun_at: int = 0
    """Steps that were done before."""
    notes: list[str] = field(default_factory=list)

    @property
    def global_batch(self) -> str:
        """Rows of a step, or about how many where they differ."""
        how = self.settings.batching
        each = self.schedule.ranks * self.schedule.accumulation
        if how.samples is not None:
            return f"{how.samples * each:,} rows"
        rows = self.schedule.samples / max(1, self.schedule.steps)
        return f"about {rows:,.1f} rows, up to {how.tokens or 0:,} tokens a batch"

    def as_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "title": self.title,
            "folder": str(self.folder),
            "device": self.machine.name,
            "processes": self.machine.ranks,
            "precision": self.precision.name,
            "model": self.settings.model,
            "family": self.family,
            "method": self.settings.method,
            "dataset": self.dataset,
            "rows": _row_counts(self.rows),
            "evaluated": _row_counts(self.evaluated) if self.evaluated is not None else None,
            "max_tokens": self.max_tokens,
            "tokens": self.schedule.tokens,
            "padding": self.schedule.padding,
            "steps": self.schedule.steps,
            "epochs": self.schedule.epochs_after(self.schedule.steps),
            "batches": self.schedule.micro_steps * self.schedule.ranks,
            "accumulation": self.schedule.accumulation,
            "global_batch": self.global_batch,
            "parameters": {
                part: {"learning": count.trainable, "all": count.all} for part, count in self.parameters.items()
            },
            "memory": self.memory,
            "begun_at": self.begun_at,
            "notes": self.notes,
        }

    def __str__(self) -> str:
        """Return the plan for people."""
        settings = self.settings
        processes = f"{self.machine.ranks} process{'es' if self.machine.ranks != 1 else ''}"
        workers = f"{self.workers} worker{'s' if self.workers != 1 else ''} each"
        model = f"{settings.model} ({self.family}), {settings.method}, {self.precision.name} on {self.machine.name}"
        lines = [
            f"{self.title}: {model}, {processes}, {workers}",
            "",
            *_table(
                [
                    ("rows", self._rows()),
                    ("tokens", self._tokens()),
                    ("batches", self._batches()),
                    ("steps", self._steps()),
                    ("learns", self._learns()),
                    ("memory", self._memory()),
                    ("folder", str(self.folder)),
                ]
            ),
        ]
        for rows in (self.rows, self.evaluated):
            if rows is not None and rows.measured.rejected:
                lines += ["", f"left out of {rows.name}, by reason:", told(rows.measured.rejected)]
        return "\n".join([*lines, *(f"note: {note}" for note in self.notes)])

    def _rows(self) -> str:
        parts = []
        for rows, what in ((self.rows, "learnt from"), (self.evaluated, "evaluated on")):
            if rows is not None:
                of = f" of {len(rows.wanted):,}" if len(rows.usable) < len(rows.wanted) else ""
                left = len(rows.wanted) - len(rows.usable)
                share = f" ({left / len(rows.wanted):.1%} left out)" if left else ""
                parts.append(f"{len(rows.usable):,}{of} {what} ({rows.name}){share}")
        return "; ".join(parts)

    def _tokens(self) -> str:
        lengths, schedule = self.rows.lengths[self.rows.usable], self.schedule
        allowed = f" of {self.max_tokens:,} allowed" if self.max_tokens is not None else ""
        return (
            f"{int(lengths.sum()):,} an epoch, {schedule.tokens:,} in all; {lengths.mean():,.0f} a row, the longest "
            f"{int(lengths.max()):,}{allowed}"
        )

    def _batches(self) -> str:
        how, schedule = self.settings.batching, self.schedule
        each = (
            f"{how.samples:,} rows"
            if how.samples is not None
            else f"{'packed, ' if how.pack else ''}{how.tokens:,} tokens"
        )
        left = sum(len(plan.left_out) for plan in schedule.plans)
        unshared = f"; {left:,} rows that the processes cannot share are left out" if left else ""
        return (
            f"{schedule.micro_steps * schedule.ranks:,} of {each}, {schedule.padding:.1%} of it padding; a step is "
            f"{schedule.ranks} x {schedule.accumulation} of them: {self.global_batch}{unshared}"
        )

    def _steps(self) -> str:
        schedule = self.schedule
        text = f"{schedule.steps:,} for {schedule.epochs_after(schedule.steps):.4g} epochs"
        text += f"; a checkpoint every {self.save_every:,}"
        text += f", an evaluation every {self.evaluate_every:,}" if self.evaluate_every else ""
        return f"{text}; {self.begun_at:,} are done" if self.begun_at else text

    def _learns(self) -> str:
        learning = sum(count.trainable for count in self.parameters.values())
        everything = sum(count.all for count in self.parameters.values())
        parts = [f"{part} {count.trainable:,}" for part, count in self.parameters.items() if count.trainable]
        return f"{learning:,} of {everything:,} parameters ({learning / everything:.2%}): {', '.join(parts)}"

    def _memory(self) -> str:
        whole = sum(self.memory.values())
        parts = [f"{name} {in_bytes(size)}" for name, size in self.memory.items() if size]
        return f"about {in_bytes(whole)}: {', '.join(parts)}" if parts else "not estimated"


def in_bytes(size: float) -> str:
    """Return bytes in words."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= factor:
            return f"{size / factor:,.1f} {unit}"
    return f"{size:,.0f} bytes"


def _row_counts(rows: SplitRows) -> dict[str, Any]:
    return {
        "split": rows.name,
        "rows": len(rows.wanted),
        "used": len(rows.usable),
        "left_out": len(rows.measured.rejected),
    }


def _table(rows: list[tuple[str, str]]) -> list[str]:
    return [f"{name:<9}{text}" for name, text in rows]
