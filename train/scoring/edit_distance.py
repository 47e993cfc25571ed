"""The door to rapidfuzz: how many edits lie between two texts, and which."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, cast

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence


def edit_distance(one: Sequence[Hashable], other: Sequence[Hashable]) -> int:
    """Return the least number of insertions, deletions and replacements of one item (Levenshtein 1966)."""
    from rapidfuzz.distance import Levenshtein

    return int(Levenshtein.distance(one, other))


def character_error_rate(prediction: str, truth: str) -> float:
    """Return the edits from prediction to truth as a share of the truth's characters; it can be more than 1.

    Where the truth is empty it is 0 for an empty prediction and 1 for any other: there is nothing to divide by.
    """
    if not truth:
        return float(bool(prediction))
    return edit_distance(prediction, truth) / len(truth)


Kind = Literal["equal", "replace", "delete", "insert"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """A run of items that are the same, or that became others."""

    kind: Kind
    """`delete`: only in the first; `insert`: only in the second."""
    of_one: slice
    of_other: slice


def edits(one: Sequence[Hashable], other: Sequence[Hashable]) -> list[Edit]:
    """Return how the first becomes the second, with the fewest edits, in order and without gaps."""
    from rapidfuzz.distance import Levenshtein

    return [
        Edit(
            kind=cast("Kind", code.tag),
            of_one=slice(code.src_start, code.src_end),
            of_other=slice(code.dest_start, code.dest_end),
        )
        for code in Levenshtein.opcodes(one, other)
    ]
