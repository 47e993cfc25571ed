"""Two evaluations side by side: before and after a training."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from train.example import TrainError
from train.scoring.scores import METRICS, in_words, metric_of, title_of

if TYPE_CHECKING:
    from train.scoring.scores import Scores, TaskSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """One number of both evaluations."""

    name: str
    before: float | None
    after: float | None

    @property
    def difference(self) -> float | None:
        """After less before."""
        return None if self.before is None or self.after is None else self.after - self.before

    @property
    def verdict(self) -> str:
        """`better`, `worse`, `same`, or nothing where one of them is missing."""
        if self.difference is None:
            return ""
        if not self.difference:
            return "same"
        return "better" if (self.difference > 0) == (metric_of(self.name).better == "higher") else "worse"


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Both evaluations' numbers, what was odd in each, and how single rows fared."""

    task: TaskSpec
    rows: tuple[int, int]
    """Texts of each evaluation."""
    table: list[Compared]
    counts: dict[str, tuple[int, int]]
    fared: dict[str, int] = field(default_factory=dict)
    """Rows of both that became `better`, `worse` or stayed the `same` by the task's main number; `unread` where one of
    them could not be read."""
    notes: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "task": self.task.kind,
            "rows": {"before": self.rows[0], "after": self.rows[1]},
            "values": {
                one.name: {
                    "before": one.before,
                    "after": one.after,
                    "difference": one.difference,
                    "verdict": one.verdict,
                }
                for one in self.table
            },
            "counts": {name: {"before": pair[0], "after": pair[1]} for name, pair in self.counts.items()},
            "rows_fared": self.fared,
            "notes": self.notes,
        }

    def lines(self) -> list[tuple[str, str, str, str, str]]:
        """Return the table in words: what, before, after, difference, verdict."""
        found = [
            (
                title_of(one.name),
                in_words(one.name, one.before),
                in_words(one.name, one.after),
                in_words(one.name, one.difference, signed=True),
                one.verdict,
            )
            for one in self.table
        ]
        for name, (before, after) in self.counts.items():
            found.append((name.replace("_", " "), f"{before:,}", f"{after:,}", f"{after - before:+,}", ""))
        return found

    def as_text(self) -> str:
        """Return a table for a terminal or a log."""
        heads = ("", "before", "after", "difference", "")
        lines = [heads, ("texts", f"{self.rows[0]:,}", f"{self.rows[1]:,}", "", ""), *self.lines()]
        wide = [max(len(line[place]) for line in lines) for place in range(len(heads))]
        shown = [
            "  ".join(
                [line[0].ljust(wide[0]), *(line[place].rjust(wide[place]) for place in (1, 2, 3)), line[4]]
            ).rstrip()
            for line in lines
        ]
        if self.fared:
            shown += ["", "rows: " + ", ".join(f"{count:,} {name}" for name, count in self.fared.items())]
        return "\n".join([*shown, *(f"note: {note}" for note in self.notes)]) + "\n"


def compare(before: Scores, after: Scores) -> Comparison:
    """Return two evaluations side by side.

    Raises:
        TrainError: they are of different tasks.
    """
    if before.task != after.task:
        raise TrainError(
            f"scores of {before.task} cannot be compared with scores of {after.task}",
            hint="evaluate both with the same task",
        )
    names = [
        name
        for metric in METRICS
        for name in dict.fromkeys([*before.values, *after.values])
        if name.partition("/")[0] == metric
    ]
    table = [Compared(name=name, before=before.values.get(name), after=after.values.get(name)) for name in names]
    counts = {
        name: (before.counts.get(name, 0), after.counts.get(name, 0))
        for name in dict.fromkeys([*before.counts, *after.counts])
    }
    notes = list(dict.fromkeys([*before.notes, *after.notes]))
    ours = {one.row: one.values for one in before.per_row}
    theirs = {one.row: one.values for one in after.per_row}
    both = [row for row in ours if row in theirs]
    if len(both) < max(before.rows, after.rows) and before.per_row and after.per_row:
        notes.insert(0, f"only {len(both):,} rows are in both, so the numbers are of different rows")
    fared = dict.fromkeys(("better", "worse", "same", "unread"), 0)
    for row in both:
        one = Compared(name=after.main, before=ours[row].get(after.main), after=theirs[row].get(after.main))
        fared[one.verdict or "unread"] += 1
    fared = {name: count for name, count in fared.items() if count}
    return Comparison(
        task=after.task, rows=(before.rows, after.rows), table=table, counts=counts, fared=fared, notes=notes
    )
