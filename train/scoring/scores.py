"""What goes into scoring and what comes out: a task, texts with what is true of them, and scores of all and of each."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, get_args

from train.example import TrainError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from train.example import RowRef

Kind = Literal["caption", "latex", "scores", "choices", "short_answer"]
Shown = Literal["percent", "points", "number"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """What a number is, and how it is read."""

    title: str
    better: Literal["higher", "lower"]
    shown: Shown
    """`percent`: a share of 1, shown as 41.2 %; `points`: 0 to 100 as sacrebleu prints it; `number`: as it is."""
    says: str
    """What it is, in one sentence."""


METRICS = {
    "loss": Metric(
        title="loss", better="lower", shown="number", says="mean cross-entropy of an answer's token, in nats"
    ),
    "perplexity": Metric(title="perplexity", better="lower", shown="number", says="e to the power of the loss"),
    "exact_match": Metric(
        title="exact match", better="higher", shown="percent", says="texts that are the true one after normalisation"
    ),
    "bleu": Metric(
        title="BLEU", better="higher", shown="points", says="corpus BLEU as sacrebleu computes it, 0 to 100"
    ),
    "chrf": Metric(
        title="chrF", better="higher", shown="points", says="corpus chrF2 as sacrebleu computes it, 0 to 100"
    ),
    "cer": Metric(
        title="CER", better="lower", shown="percent", says="character edits, as a share of the true texts' characters"
    ),
    "accuracy": Metric(title="accuracy", better="higher", shown="percent", says="answers that are right"),
    "all_right": Metric(
        title="all right", better="higher", shown="percent", says="texts whose every number is the true one"
    ),
    "mae": Metric(
        title="MAE",
        better="lower",
        shown="number",
        says="mean distance of the numbers that could be read from the true",
    ),
    "spearman": Metric(
        title="Spearman", better="higher", shown="number", says="rank correlation of the numbers that could be read"
    ),
    "circular_accuracy": Metric(
        title="circular accuracy",
        better="higher",
        shown="percent",
        says="questions that are right in every order of their options",
    ),
    "vqa_accuracy": Metric(
        title="VQA accuracy",
        better="higher",
        shown="percent",
        says="min(1, people who said it / 3), over all sets of people with one left out",
    ),
}
"""By the name of the number; a part's name follows behind a slash (`mae/visual quality`)."""

MAIN: dict[Kind, str] = {
    "caption": "chrf",
    "latex": "cer",
    "scores": "mae",
    "choices": "accuracy",
    "short_answer": "vqa_accuracy",
}
"""The number by which rows of a task are put in order."""


def metric_of(name: str) -> Metric:
    """Return what a number of a report is, by its name with or without a part."""
    return METRICS[name.partition("/")[0]]


def title_of(name: str) -> str:
    """Return what a number is called in a table, by its name with or without a part."""
    part = name.partition("/")[2]
    return f"{metric_of(name).title}, {part}" if part else metric_of(name).title


def in_words(name: str, value: float | None, *, signed: bool = False) -> str:
    """Return a number of a report as people read it; a dash where there is none."""
    if value is None:
        return "-"
    sign = "+" if signed else ""
    match metric_of(name).shown:
        case "percent":
            return f"{100 * value:{sign}.1f} %"
        case "points":
            return f"{value:{sign}.2f}"
        case _:
            return f"{value:{sign}.4g}"


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskSpec:
    """What texts of a task are, and how they are scored.

    Raises:
        TrainError: the task cannot be scored so.
    """

    kind: Kind
    language: str = "en"
    """ISO 639 code of the texts of `caption`; decides how BLEU cuts words."""
    names: tuple[str, ...] = ()
    """The numbers of `scores`, in order; empty: a text is a plain list of numbers."""
    allowed: tuple[float, float] | None = None
    """The least and the largest number that `scores` may have; a text with another one was not understood."""
    circular: bool = False
    """Whether `choices` of one `group` are one question in several orders of its options."""

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise TrainError(f"{self.kind!r} is no task that can be scored", allowed=", ".join(get_args(Kind)))
        if self.language.casefold() in _COUNTRIES:
            right = _COUNTRIES[self.language.casefold()]
            raise TrainError(f"{self.language!r} is no language", hint=f"use its ISO 639 code, {right!r}")
        folded = [name.casefold() for name in self.names]
        if not all(name.strip() for name in self.names) or len(set(folded)) < len(folded):
            raise TrainError(f"the numbers' names {list(self.names)} are empty or stand twice")
        if self.allowed is not None and not self.allowed[0] <= self.allowed[1]:
            raise TrainError(f"no number is from {self.allowed[0]} to {self.allowed[1]}", hint="least first")


_COUNTRIES = {"cn": "zh", "jp": "ja", "kr": "ko"}
"""Codes of countries that are often written where a language is asked for; BLEU would cut their words like English."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredRow:
    """A generated text, and what is true."""

    row: RowRef
    prediction: str
    truth: str = ""
    """The true text; for `choices` a letter or an option's text."""
    answers: tuple[str, ...] = ()
    """What people answered, for `short_answer`; without any the truth is the one answer."""
    options: Mapping[str, str] = field(default_factory=dict)
    """Letter -> text, for `choices`."""
    group: str = ""
    """Which question it is, for `choices` that come in several orders."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RowScores:
    """The scores of one text."""

    row: RowRef
    values: dict[str, float | None]
    """None: the text could not be read."""
    note: str = ""
    """What could not be read of it, and why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What scoring a task gives: numbers over all texts, counts of what was odd, and each text's own numbers."""

    values: dict[str, float | None]
    per_row: list[RowScores]
    counts: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """Scores of all texts of a task."""

    task: TaskSpec
    rows: int
    values: dict[str, float | None]
    """By names of `METRICS`; None: it cannot be computed, and a note says why."""
    counts: dict[str, int]
    """What was odd, and how often: `empty_predictions`, `empty_truths`, `unread` and the like; zeros are left out."""
    notes: list[str]
    """How the numbers were made (a signature of BLEU), and what is missing."""
    per_row: list[RowScores]

    @property
    def main(self) -> str:
        """The name of the number by which rows are put in order."""
        return MAIN[self.task.kind]

    def as_json(self, *, rows: bool = True) -> dict[str, Any]:
        """Return plain values; `scores_from_json` makes them scores again."""
        task = {
            "kind": self.task.kind,
            "language": self.task.language,
            "names": list(self.task.names),
            "allowed": list(self.task.allowed) if self.task.allowed else None,
            "circular": self.task.circular,
        }
        found: dict[str, Any] = {
            "task": task,
            "rows": self.rows,
            "values": self.values,
            "counts": self.counts,
            "notes": self.notes,
        }
        if rows:
            found["per_row"] = [
                {**row_as_json(one.row), "values": one.values, **({"note": one.note} if one.note else {})}
                for one in self.per_row
            ]
        return found


def row_as_json(row: RowRef) -> dict[str, Any]:
    """Return which row it is, as plain values; the id is left out where there is none."""
    return {"number": row.number, "shard": row.shard, "row": row.row, **({"id": row.id} if row.id else {})}


def scores_from_json(value: dict[str, Any]) -> Scores:
    """Return scores that `as_json` wrote.

    Raises:
        TrainError: the value is of another making.
    """
    from train.example import RowRef

    try:
        task = value["task"]
        spec = TaskSpec(
            kind=task["kind"],
            language=task["language"],
            names=tuple(task["names"]),
            allowed=tuple(task["allowed"]) if task["allowed"] else None,
            circular=task["circular"],
        )
        per_row = [
            RowScores(
                row=RowRef(number=one["number"], shard=one["shard"], row=one["row"], id=one.get("id", "")),
                values=dict(one["values"]),
                note=one.get("note", ""),
            )
            for one in value.get("per_row", [])
        ]
        return Scores(
            task=spec,
            rows=value["rows"],
            values=dict(value["values"]),
            counts=dict(value["counts"]),
            notes=list(value["notes"]),
            per_row=per_row,
        )
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise TrainError(f"these are no scores of an evaluation: {error!r}", hint="evaluate again") from None


def mean(values: list[float]) -> float | None:
    """Return the mean, or None of nothing."""
    return math.fsum(values) / len(values) if values else None


def finite(value: float | None) -> float | None:
    """Return a number, or None for what JSON has no word for: not a number, infinite."""
    return value if value is not None and math.isfinite(value) else None
