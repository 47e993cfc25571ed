"""What the tests of the readers ask of a file: its rows, their lines, and its bad records."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from pipeline.readers.read import read
from pipeline.readers.record import BadRecord, Batch, ReadOptions

if TYPE_CHECKING:
    from pathlib import Path


class Outcome(NamedTuple):
    """All that a small file gives."""

    rows: list[dict[str, Any]]
    lines: list[int]
    bad: list[BadRecord]

    @property
    def codes(self) -> list[tuple[int, str]]:
        """Line and code of each bad record."""
        return [(bad.line, bad.code) for bad in self.bad]


def outcome(path: Path, **options: Any) -> Outcome:
    """Read a file to its end."""
    found = Outcome([], [], [])
    for part in read(path, ReadOptions(**options)):
        if isinstance(part, Batch):
            assert len(part.rows) == len(part.lines)
            found.rows.extend(part.rows)
            found.lines.extend(part.lines)
        else:
            found.bad.append(part)
    return found


def outcome_of(path: Path, data: bytes, **options: Any) -> Outcome:
    """Write bytes to a file and read it."""
    path.write_bytes(data)
    return outcome(path, **options)
