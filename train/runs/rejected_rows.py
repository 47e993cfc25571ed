"""rejected.jsonl: rows that a training did not learn from, which, when, and why.

    {"split": "train", "number": 3, "shard": "clips/train-00000-of-00001.parquet", "row": 3, "id": "a7",
     "when": "before", "code": "train.too_long", "reason": "9,120 tokens, and 8,192 are allowed"}

`when` is `before` for rows that were left out before the first step, and the step at which a row failed later.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipeline.printable import escaped
from train.example import RowRef, TrainError
from train.line_file import LineFile, opened, read_lines
from train.scoring.scores import row_as_json

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

BEFORE = "before"
NAMED = 5
"""Rows that a message names for each reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected:
    """A row that is not learnt from."""

    row: RowRef
    code: str
    """What is wrong, in a word that does not change."""
    message: str
    split: str = "train"

    def as_json(self, when: int | str = BEFORE) -> dict[str, Any]:
        """Return plain values."""
        told = {"when": when, "code": self.code, "reason": self.message}
        return {"split": self.split, **row_as_json(self.row), **told}


def rejected_file(path: Path, *, after_step: int | None) -> AbstractContextManager[LineFile]:
    """Open the file of a run that goes on behind a step, or (None) begins anew; what came later is cut away.

    Raises:
        WorkspaceError: the folder cannot be written.
    """

    def is_before(value: dict[str, Any]) -> bool:
        when = value.get("when")
        return after_step is not None and (when == BEFORE or (isinstance(when, int) and when <= after_step))

    return opened(path, is_before)


def read_rejected(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the lines of a run; a last one that is not yet whole is left out."""
    for line in read_lines(path):
        if line.value is not None:
            yield line.value


def check_rejected(rejected: Sequence[Rejected], rows: int, max_share: float, *, stopping: str = "") -> None:
    """Stop where more rows cannot be used than the settings allow, or where one has a code that stops a run.

    Raises:
        TrainError: with the reasons, how many rows each costs, and the first of them by name.
    """
    stops = [one for one in rejected if one.code == stopping]
    if stops:
        raise TrainError(
            f"{_rows(len(stops))} cannot be used, and the settings say to stop:\n{told(stops)}",
            hint="raise max_tokens, show fewer frames or smaller images, or write `over: reject`",
        )
    if rows and len(rejected) / rows > max_share:
        raise TrainError(
            f"{len(rejected):,} of {_rows(rows)} cannot be used ({len(rejected) / rows:.1%}):\n{told(rejected)}",
            allowed=f"{max_share:.1%} (rejects.max_share)",
            hint="mend the rows or the settings, or allow a larger share in `rejects: {max_share: …}`",
        )
    if rows and len(rejected) == rows:
        raise TrainError(f"none of {_rows(rows)} can be used:\n{told(rejected)}")


def stop_if_asked(undecodable: str, failed: Sequence[Rejected]) -> None:
    """Stop where a row failed, and the settings say to (`undecodable: stop`).

    Raises:
        TrainError: names the first of the rows.
    """
    if failed and undecodable == "stop":
        first = failed[0]
        raise TrainError(
            f"{first.row} of the split {first.split!r} cannot be decoded: {first.message} ({first.code})",
            hint="mend or remove the row, or write `undecodable: skip`, which leaves such rows out and counts them",
        )


def told(rejected: Sequence[Rejected]) -> str:
    """Return a table of reasons, with the first rows of each by name."""
    lines = []
    for code, count in Counter(one.code for one in rejected).most_common():
        lines.append(f"  {count:>9,}  {code}")
        same = [one for one in rejected if one.code == code]
        lines += [f"{'':>13}{one.row}: {escaped(one.message)}" for one in same[:NAMED]]
        if count > NAMED:
            lines.append(f"{'':>13}and {_rows(count - NAMED)} more; rejected.jsonl names them all")
    return "\n".join(lines)


def _rows(count: int) -> str:
    return f"{count:,} row{'s' if count != 1 else ''}"
