"""What an export could not carry over: whole rows, and parts of rows, counted and each with examples."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pipeline.printable import escaped

if TYPE_CHECKING:
    from pipeline.rows.canonical import CanonicalRow

MOST_EXAMPLES = 5
"""Examples kept of each loss."""
MOST_KINDS = 1_000
"""Different losses that are told apart; sentences may hold names of columns, of which there are not more."""


@dataclass(frozen=True, slots=True)
class Example:
    """A row of which something was lost."""

    shard: str
    row: int
    """0-based, in the shard."""
    said: str = ""
    """What was lost of it, shortened; may be empty."""

    def __str__(self) -> str:
        return f"{escaped(self.shard)} row {self.row}" + (f": {self.said}" if self.said else "")


@dataclass(slots=True)
class Loss:
    """One kind of loss."""

    code: str
    """Stable, for programs: `export.several_images` …"""
    sentence: str
    """What is lost and why, for people; the same for all rows."""
    whole_rows: bool
    """Whether the rows were left out, and not just a part of them."""
    rows: int = 0
    """Rows that lost something this way."""
    examples: list[Example] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "code": self.code,
            "sentence": self.sentence,
            "whole_rows": self.whole_rows,
            "rows": self.rows,
            "examples": [{"shard": one.shard, "row": one.row, "said": one.said} for one in self.examples],
        }


class Losses:
    """The losses of an export to one format, over all its splits."""

    def __init__(self) -> None:
        self._kinds: dict[tuple[str, str, bool], Loss] = {}
        self._last: dict[tuple[str, str, bool], tuple[str, int]] = {}
        self.rejected = 0
        """Rows that were left out."""

    def note(self, code: str, sentence: str, row: CanonicalRow, said: str = "") -> None:
        """Say that a part of a row is not carried over; said of one row several times, it counts once."""
        self._count(code, sentence, row.shard, row.row, said, whole_rows=False)

    def reject(self, code: str, sentence: str, shard: str, row: int, said: str = "") -> None:
        """Say that a row is left out."""
        self.rejected += 1
        self._count(code, sentence, shard, row, said, whole_rows=True)

    def _count(self, code: str, sentence: str, shard: str, row: int, said: str, *, whole_rows: bool) -> None:
        key = (code, sentence, whole_rows)
        if key not in self._kinds and len(self._kinds) >= MOST_KINDS:
            key = (code, "and more of this kind", whole_rows)
        loss = self._kinds.setdefault(key, Loss(*key))
        if self._last.get(key) == (shard, row):
            return
        self._last[key] = (shard, row)
        loss.rows += 1
        if len(loss.examples) < MOST_EXAMPLES:
            loss.examples.append(Example(shard, row, escaped(" ".join(said.split())[:200])))

    @property
    def found(self) -> list[Loss]:
        """The losses, whole rows first, and those of most rows before others."""
        return sorted(self._kinds.values(), key=lambda loss: (not loss.whole_rows, -loss.rows, loss.code))

    def to_json(self) -> list[dict[str, Any]]:
        """Return plain values."""
        return [loss.to_json() for loss in self.found]
