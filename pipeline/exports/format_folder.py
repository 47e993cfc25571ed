"""The folder of an export to one format: written beside its place, proved, and then put there."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipeline.errors import ProblemsFound, RowRejected, UsageError
from pipeline.exports.losses import Losses
from pipeline.printable import escaped
from pipeline.workspace import TEMPORARY, disk_errors, read_json, write_json

if TYPE_CHECKING:
    from pathlib import Path

    from pipeline.exports.place import Place
    from pipeline.exports.writer import Format, SplitWriter, Written
    from pipeline.rows.canonical import CanonicalRow

RECORD = "losses.json"
"""The file that tells what was lost, and that the folder is an export, and of what."""
_OURS = "shardwright"
_SHOWN_PROBLEMS = 20


@dataclass(frozen=True, kw_only=True)
class Exported:
    """What became of an export to one format."""

    format: Format
    folder: Path
    written: tuple[Written, ...]
    losses: Losses
    copied: int
    """Media that could not be linked and were copied, over all formats."""

    @property
    def rows(self) -> int:
        """Rows that were written."""
        return sum(one.rows for one in self.written)

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "format": self.format.name,
            "folder": str(self.folder),
            "rows": self.rows,
            "left_out": self.losses.rejected,
            "splits": [
                {"config": one.config, "split": one.split, "rows": one.rows, "files": list(one.files)}
                for one in self.written
            ],
            "rule": self.format.rule,
            "losses": self.losses.to_json(),
            "media_copied": self.copied,
        }


def check_place(place: Path, name: str) -> None:
    """Refuse to write over what is no export of this dataset.

    Raises:
        UsageError: something else is there.
    """
    if not place.exists() and not place.is_symlink():
        return
    record = read_json(place / RECORD) if place.is_dir() and not place.is_symlink() else None
    hint = "move it away, or choose another folder with --out"
    if not isinstance(record, dict) or record.get("exported_by") != _OURS:
        raise UsageError(f"{place} is there already, and no export of ours", hint=hint)
    if record.get("dataset") != name:
        what = f"{place} is an export of {escaped(str(record.get('dataset')))!r}, and not of {name!r}"
        raise UsageError(what, hint=hint)


class FormatFolder:
    """An export to one format, under way in a folder of its own."""

    def __init__(self, target: Format, out: Path) -> None:
        self.format = target
        self.place = out / target.name
        """Where it will be."""
        self.folder = out / f"{TEMPORARY}{secrets.token_hex(4)}-{target.name}"
        """Where it is written."""
        self.losses = Losses()
        self._written: list[Written] = []
        self._writer: SplitWriter | None = None
        with disk_errors(self.folder):
            self.folder.mkdir()

    def begin(self, place: Place) -> None:
        """Begin a split."""
        self._writer = self.format.begin(place, self.losses)

    def add(self, row: CanonicalRow) -> bool:
        """Write a row; says whether it could be carried over."""
        assert self._writer is not None
        try:
            self._writer.add(row)
        except RowRejected as error:
            if error.code.startswith("export."):
                self.losses.reject(error.code, error.message, row.shard, row.row)
            else:
                self.losses.reject(error.code, "a medium that cannot be used", row.shard, row.row, error.message)
            return False
        return True

    def finish(self) -> None:
        """End the split."""
        assert self._writer is not None
        self._written.append(self._writer.finish())
        self._writer = None

    def abandon(self) -> None:
        """Let go of a split that was not ended."""
        if self._writer is not None:
            self._writer.abandon()
            self._writer = None

    @property
    def is_empty(self) -> bool:
        """Whether no row could be carried over, so that nothing is written."""
        return not any(one.rows for one in self._written)

    def conclude(self, name: str, revision: str) -> None:
        """Write what is about all splits, and prove it.

        Raises:
            ProblemsFound: the target's rule does not hold.
        """
        what = f"{self.format.name}: "
        with disk_errors(self.folder):
            self.format.conclude(self.folder, self._written)
            problems = self.format.check(self.folder, self._written)
        if problems:
            more = [f"  and {len(problems) - _SHOWN_PROBLEMS:,} more"] if len(problems) > _SHOWN_PROBLEMS else []
            lines = [f"  {escaped(problem)}" for problem in problems[:_SHOWN_PROBLEMS]]
            raise ProblemsFound("\n".join([f"{what}what was written breaks the rule of its target:", *lines, *more]))
        record = {
            "exported_by": _OURS,
            "format": self.format.name,
            "dataset": name,
            "revision": revision,
            "rows": sum(one.rows for one in self._written),
            "left_out": self.losses.rejected,
            "rule": self.format.rule,
            "losses": self.losses.to_json(),
        }
        write_json(self.folder / RECORD, record)

    def result(self, copied: int) -> Exported:
        """Return what became of it; `copied` media were not linked."""
        return Exported(
            format=self.format,
            folder=self.place,
            written=tuple(self._written),
            losses=self.losses,
            copied=copied,
        )
