"""How well records fit a dialect: what share of them it reads, and how much of what it reads only it would write."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pipeline.dialects.dialect import Likeness
from pipeline.errors import RowRejected

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

SURE, LIKELY, MAYBE, HARDLY = 0.97, 0.8, 0.6, 0.35
"""How strongly a record speaks for a dialect: only it writes so; it does by habit; others do as well; others rather."""


def fit_of(
    records: list[dict[str, Any]],
    read: Callable[[dict[str, Any]], dict[str, Any]],
    strength: Callable[[dict[str, Any]], float],
    doubts: Callable[[list[dict[str, Any]]], Iterable[str]],
) -> Likeness:
    """Return the likeness of records.

    `strength` says of one record, 0 to 1, how much it speaks for the dialect if it can be read; 0: it does not look
    like it at all. `doubts` says of those that can be read what could mean something else.
    """
    total = 0.0
    fitting: list[dict[str, Any]] = []
    strange: list[int] = []
    refused: list[tuple[int, RowRejected]] = []
    for number, record in enumerate(records, 1):
        strong = strength(record)
        if not strong:
            strange.append(number)
            continue
        try:
            read(record)
        except RowRejected as error:
            refused.append((number, error))
        else:
            total += strong
            fitting.append(record)
    if not fitting:
        return Likeness(score=0)
    found = []
    if strange:
        found.append(
            f"{len(strange)} of {len(records)} records look different, the first of them is record {strange[0]}."
        )
    if refused:
        number, why = refused[0]
        found.append(f"{len(refused)} of {len(records)} records do not fit; record {number}: {why.message}.")
    return Likeness(score=total / len(records), doubts=(*found, *doubts(fitting)))


def says_any(records: Iterable[dict[str, Any]], *columns: str) -> str:
    """Return the first of some columns that any record says something in, or nothing."""
    records = list(records)
    return next((column for column in columns if any(record.get(column) for record in records)), "")


def audio_doubts(records: list[dict[str, Any]]) -> list[str]:
    """Return the doubt about sound, which canonical records do not have."""
    column = says_any(records, "audios", "audio")
    return [f"{column!r} names sound, which stays a column of its own; `<audio>` stays in the texts."] if column else []


def turn_keys(value: Any) -> set[str]:
    """Return the keys of the first turn in a column of turns, empty for anything else."""
    first = value[0] if isinstance(value, list) and value else None
    return set(first) if isinstance(first, dict) else set()


def has_parts(value: Any) -> bool:
    """Tell whether the content of any turn is a list of parts."""
    return isinstance(value, list) and any(
        isinstance(turn, dict) and isinstance(turn.get("content"), list) for turn in value
    )
