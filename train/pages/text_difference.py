"""Where a text differs from another, in pieces that people can read: by words, and by letters inside of a word."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from train.scoring.edit_distance import edit_distance, edits

if TYPE_CHECKING:
    from collections.abc import Iterator

Kind = Literal["same", "said", "missing"]

_PIECE = re.compile(
    r"\\[A-Za-z]+"  # a command of LaTeX
    # what is written without blanks between words is looked at letter by letter
    r"|[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]"
    r"|\d+(?:\.\d+)?|[^\W\d_\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]+"
    r"|\s+|.",
    re.DOTALL,
)
LONGEST = 20_000
"""Characters of two texts together that are compared; longer ones are shown as they are."""
_ALIKE = 0.6
"""Words of which so many letters are the same are one word, misspelt."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A run of characters."""

    kind: Kind
    """`same`: in both; `said`: only in the first text; `missing`: only in the second."""
    text: str


def differences(said: str, true: str) -> list[Piece]:
    """Return how what was said differs from what is true, in order.

    The pieces that are not `missing` are the first text, and those that are not `said` are the second. Texts that are
    too long to compare are one piece each.
    """
    if said == true:
        return [Piece("same", said)] if said else []
    if len(said) + len(true) > LONGEST:
        return list(_changed(said, true))
    return list(_joined(_by_pieces(_PIECE.findall(said), _PIECE.findall(true))))


def _by_pieces(said: list[str], true: list[str]) -> Iterator[Piece]:
    for edit in edits(said, true):
        ours, theirs = said[edit.of_one], true[edit.of_other]
        if edit.kind == "equal":
            yield Piece("same", "".join(ours))
        elif len(ours) == len(theirs):
            for one, other in zip(ours, theirs, strict=True):
                yield from _by_letters(one, other)
        else:
            yield Piece("said", "".join(ours))
            yield Piece("missing", "".join(theirs))


def _by_letters(said: str, true: str) -> Iterator[Piece]:
    """Yield the letters that differ between two words that are alike; other words are different as wholes."""
    longer = max(len(said), len(true))
    if longer < 3 or edit_distance(said, true) > (1 - _ALIKE) * longer:
        yield Piece("said", said)
        yield Piece("missing", true)
        return
    for edit in edits(said, true):
        if edit.kind == "equal":
            yield Piece("same", said[edit.of_one])
        else:
            yield Piece("said", said[edit.of_one])
            yield Piece("missing", true[edit.of_other])


def _joined(pieces: Iterator[Piece]) -> Iterator[Piece]:
    """Yield between two runs that are the same one piece of what was said, and one of what is missing.

    A blank between two changed words is part of the change, or the eye has to put the words together again.
    """
    said = missing = blank = ""
    for piece in pieces:
        if piece.kind == "said":
            said, missing, blank = said + blank + piece.text, missing + blank, ""
        elif piece.kind == "missing":
            said, missing, blank = said + blank, missing + blank + piece.text, ""
        elif (said or missing) and not blank and piece.text.isspace():
            blank = piece.text
        elif piece.text:
            yield from _changed(said, missing)
            yield Piece("same", blank + piece.text)
            said = missing = blank = ""
    yield from _changed(said, missing)
    if blank:
        yield Piece("same", blank)


def _changed(said: str, missing: str) -> Iterator[Piece]:
    if said:
        yield Piece("said", said)
    if missing:
        yield Piece("missing", missing)
