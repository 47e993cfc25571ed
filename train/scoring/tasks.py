"""Scoring generated texts against true ones, by task."""

from __future__ import annotations

from typing import TYPE_CHECKING

from train.scoring import captions, choices, formulas, number_scores, short_answers
from train.scoring.scores import METRICS, Outcome, Scores, finite

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from train.scoring.scores import Kind, ScoredRow, TaskSpec

_TASKS: dict[Kind, Callable[[TaskSpec, Sequence[ScoredRow]], Outcome]] = {
    "caption": captions.score,
    "latex": formulas.score,
    "scores": number_scores.score,
    "choices": choices.score,
    "short_answer": short_answers.score,
}


def evaluate_texts(
    task: TaskSpec, rows: Iterable[ScoredRow], *, loss: float | None = None, perplexity: float | None = None
) -> Scores:
    """Score the texts of a task, all together and one by one.

    What was computed on the way (mean cross-entropy in nats, and e to its power) is put into the same report. Nothing
    that can be said of texts is an error: what is odd is counted, and what cannot be computed is None with a note.
    """
    kept = list(rows)
    outcome = _TASKS[task.kind](task, kept) if kept else Outcome(values={}, per_row=[], notes=["there are no texts"])
    handed = {name: value for name, value in (("loss", loss), ("perplexity", perplexity)) if value is not None}
    notes = [f"{name} is {value}" for name, value in handed.items() if finite(value) is None]
    values = {name: finite(value) for name, value in {**handed, **outcome.values}.items()}
    counts = {
        "empty_predictions": sum(not row.prediction.strip() for row in kept),
        "empty_truths": sum(not row.truth.strip() and not row.answers for row in kept),
        **outcome.counts,
    }
    order = list(METRICS)
    return Scores(
        task=task,
        rows=len(kept),
        values=dict(sorted(values.items(), key=lambda item: order.index(item[0].partition("/")[0]))),
        counts={name: count for name, count in counts.items() if count},
        notes=notes + outcome.notes,
        per_row=outcome.per_row,
    )
