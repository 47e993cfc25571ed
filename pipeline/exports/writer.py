"""What a format of an export is: how canonical rows are written as somebody else's trainer reads them.

An export goes over the rows of a dataset once, split by split, and hands each row to every format that was asked for:

    writer = format.begin(place, losses)        one for each config and split
    writer.add(row)                             rows come one at a time; memory does not grow with them
    written = writer.finish()
    format.conclude(folder, [written, …])       files about all of them, such as a registry
    format.check(folder, [written, …])          the target's own rule, on what is on the disk now

A row that the format cannot hold raises RowRejected in `add`, before anything of it is written; it is left out, counted
and named. What a row loses while the rest of it is carried over goes to `losses`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

if TYPE_CHECKING:
    from pathlib import Path

    from pipeline.exports.losses import Losses
    from pipeline.exports.place import Place
    from pipeline.rows.canonical import CanonicalRow


@dataclass(frozen=True, kw_only=True, slots=True)
class Written:
    """What was written of one split."""

    config: str
    split: str
    files: tuple[str, ...]
    """The annotation files or archives, as POSIX paths below the format's folder; media are not among them."""
    rows: int
    kinds: tuple[Literal["image", "video"], ...] = ()
    """The kinds of media that its rows hold."""


def missing_rows(one: Written, found: int) -> list[str]:
    """Say that other rows are in the files of a split than were written, if it is so."""
    if found == one.rows:
        return []
    return [f"{', '.join(one.files)} of {one.config}/{one.split}: {found:,} rows, and {one.rows:,} were written"]


class SplitWriter(ABC):
    """Writes the rows of one config and split."""

    @abstractmethod
    def add(self, row: CanonicalRow) -> None:
        """Write a row.

        Raises:
            RowRejected: the format cannot hold it; nothing of it was written but, at most, its media.
        """

    @abstractmethod
    def finish(self) -> Written:
        """Close the files and say what was written."""

    def abandon(self) -> None:  # noqa: B027  (most have nothing open but what the garbage collector closes)
        """Close the files after an error; what was written is thrown away by the caller."""


class Format(ABC):
    """A format to export to."""

    name: ClassVar[str]
    """As the command line says it, e.g. `llava`: the same as the dialect's name."""
    title: ClassVar[str]
    """As people say it, e.g. `LLaVA JSON`."""
    source: ClassVar[str]
    """Where the format is described: a project and its document."""
    rule: ClassVar[str]
    """What `check` proves, in one sentence for people."""
    usage: ClassVar[str] = ""
    """How the target is told of the export, for people; `{folder}` stands for the format's folder."""
    needs_conversation: ClassVar[bool] = True
    """Whether rows need turns. If not, rows of a dataset without a conversation have no turns: their values are in
    `extras` and their media in `loose`."""

    @abstractmethod
    def begin(self, place: Place, losses: Losses) -> SplitWriter:
        """Return the writer of one config and split."""

    def conclude(self, folder: Path, written: list[Written]) -> None:  # noqa: B027  (most need none)
        """Write the files that are about all splits, such as a registry, into the format's folder."""

    @abstractmethod
    def check(self, folder: Path, written: list[Written]) -> list[str]:
        """Return what breaks the target's own rule in the written files, a sentence each; none: it holds.

        It reads the files anew, row by row, and trusts nothing that was known while they were written.
        """
