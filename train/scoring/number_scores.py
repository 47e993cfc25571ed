"""Scores that are written in words, like the five of VideoFeedback: accuracy, mean absolute error, rank correlation."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from train.scoring.numbers_in_text import Read, listed, numbers_in
from train.scoring.rank_correlation import spearman
from train.scoring.scores import Outcome, RowScores, mean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from train.scoring.scores import ScoredRow, TaskSpec


def score(task: TaskSpec, rows: Sequence[ScoredRow]) -> Outcome:
    """Score texts of numbers.

    Accuracy counts every true number, so one that was not said is wrong. MAE and Spearman's rho are of the numbers that
    could be read, and `unread_numbers` says how many could not. Over all names each is the mean of the names' own.
    A true text that cannot be read is counted and named; its row has nothing to be compared with.
    """
    counts: Counter[str] = Counter()
    pairs: dict[str, list[tuple[float | None, float]]] = {name: [] for name in task.names}
    per_row, whole = [], []
    for row in rows:
        truth, said = read_pair(task, row)
        missing = [name for name in truth.values if name not in said.values]
        counts["unread_truths"] += bool(truth.problems) or not truth.values
        counts["unread"] += bool(missing)
        counts["unread_numbers"] += len(missing)
        for name, true in truth.values.items():
            pairs.setdefault(name, []).append((said.values.get(name), true))
        right = [said.values.get(name) == true for name, true in truth.values.items()]
        if right:
            whole.append(float(all(right) and not truth.problems))
        distances = [abs(said.values[name] - true) for name, true in truth.values.items() if name in said.values]
        notes = [f"truth: {problem}" for problem in truth.problems or ([] if truth.values else ["no number"])]
        values = {"accuracy": mean([float(one) for one in right]), "mae": None if missing else mean(distances)}
        per_row.append(RowScores(row=row.row, values=values, note="; ".join([*notes, *said.problems])))
    values, notes = _of_names(pairs)
    if not whole:
        notes.append("no true text has numbers to compare with")
    return Outcome(values={**values, "all_right": mean(whole)}, per_row=per_row, counts=dict(counts), notes=notes)


def read_pair(task: TaskSpec, row: ScoredRow) -> tuple[Read, Read]:
    """Return what the truth of a row says and what its prediction says."""
    # a plain list says itself how many numbers it has
    places = 0 if task.names else len(listed(row.truth))
    truth = numbers_in(row.truth, task.names, task.allowed, of_list=places)
    return truth, numbers_in(row.prediction, task.names, task.allowed, of_list=places)


def _of_names(pairs: dict[str, list[tuple[float | None, float]]]) -> tuple[dict[str, float | None], list[str]]:
    """Return the numbers of each name and of all, and what cannot be computed."""
    each: dict[str, dict[str, float | None]] = {"accuracy": {}, "mae": {}, "spearman": {}}
    notes = []
    for name, found in pairs.items():
        each["accuracy"][name] = mean([float(said == true) for said, true in found])
        read = [(said, true) for said, true in found if said is not None]
        each["mae"][name] = mean([abs(said - true) for said, true in read])
        rho = spearman([said for said, _ in read], [true for _, true in read])
        each["spearman"][name] = rho
        if rho is None:
            notes.append(f"Spearman of {name}: no order to compare, {len(read)} numbers were read")
    values: dict[str, float | None] = {}
    for metric, by_name in each.items():
        known = [value for value in by_name.values() if value is not None]
        values[metric] = mean(known)
        if len(by_name) > 1:
            values |= {f"{metric}/{name}": value for name, value in by_name.items()}
    return values, notes
