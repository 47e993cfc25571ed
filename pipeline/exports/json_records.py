"""Rows as JSON records of a file: an array, or a line each; written one at a time, and read back one at a time."""

from __future__ import annotations

import os
from abc import abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import orjson

from pipeline.exports.extra_columns import extra_columns
from pipeline.exports.writer import SplitWriter, Written

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from pipeline.exports.losses import Losses
    from pipeline.exports.place import Place
    from pipeline.rows.canonical import CanonicalRow

_BEGIN, _BETWEEN, _END = b"[\n", b",\n", b"\n]\n"


class RecordsWriter(SplitWriter):
    """Writes a record a row into one file, `<stem>.json` as an array or `<stem>.jsonl`."""

    ending: Literal["json", "jsonl"] = "jsonl"

    def __init__(self, place: Place, losses: Losses) -> None:
        self.place, self.losses = place, losses
        self._name = f"{place.stem}.{self.ending}"
        self._file = (place.folder / self._name).open("wb")
        self._rows = 0
        self._kinds: set[Literal["image", "video"]] = set()

    @abstractmethod
    def record(self, row: CanonicalRow) -> dict[str, Any]:
        """Return the record of a row; its media are put by the way.

        Raises:
            RowRejected: the format cannot hold it.
        """

    def add(self, row: CanonicalRow) -> None:
        """Write the record of a row."""
        line = orjson.dumps(self.record(row))
        if self.ending == "jsonl":
            self._file.write(line + b"\n")
        else:
            self._file.write((_BETWEEN if self._rows else _BEGIN) + line)
        self._rows += 1
        self._kinds |= {medium.kind for medium in (*row.images, *row.videos)}

    def finish(self) -> Written:
        """End the file, with all of it on the disk; of no rows there is none."""
        if self.ending == "json":
            self._file.write(_END)
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        if not self._rows:
            (self.place.folder / self._name).unlink()
        return Written(
            config=self.place.config,
            split=self.place.split,
            files=(self._name,) if self._rows else (),
            rows=self._rows,
            kinds=tuple(sorted(self._kinds)),
        )

    def abandon(self) -> None:
        """Close the file."""
        self._file.close()


class RecordsWithColumns(RecordsWriter):
    """Writes a record a row, which may have the other columns of its row as well."""

    title: ClassVar[str]
    """What the format is called."""
    own: ClassVar[tuple[str, ...]] = ()
    """The keys that the format reads itself, which no column can have."""

    def __init__(self, place: Place, losses: Losses) -> None:
        super().__init__(place, losses)
        self._extras = extra_columns(place, self.title, self.own)


def records_of(path: Path) -> Iterator[tuple[int, Any]]:
    """Yield the records of a file that `RecordsWriter` wrote, each with its line.

    Raises:
        ValueError: it is none, or a line of it is no JSON; says which.
    """
    is_array = path.suffix == ".json"
    with path.open("rb") as file:
        last: bytes | None = None
        for number, line in enumerate(file, 1):
            text = line.rstrip(b"\n")
            if is_array and number == 1:
                if text != b"[":
                    raise ValueError(f"{path.name} line 1: no array begins here")
                last = text
                continue
            if is_array and text == b"]":
                last = text
                continue
            last = text
            try:
                record = orjson.loads(text.removesuffix(b",") if is_array else text)
            except orjson.JSONDecodeError as error:
                raise ValueError(f"{path.name} line {number}: is no JSON: {error}") from None
            yield number, record
        if is_array and last != b"]":
            raise ValueError(f"{path.name}: the array does not end")


def problems_of_records(folder: Path, written: list[Written], problem_of: Callable[[Any], str | None]) -> list[str]:
    """Return what is wrong with the records of all files: `problem_of` says it of one; and whether rows are missing."""
    problems = []
    for one in written:
        count = 0
        try:
            for name in one.files:
                for line, record in records_of(folder / name):
                    count += 1
                    if (said := problem_of(record)) is not None:
                        problems.append(f"{name} line {line}: {said}")
        except (OSError, ValueError) as error:
            problems.append(str(error))
            continue
        if count != one.rows:
            problems.append(f"{one.config}/{one.split} holds {count:,} rows, and {one.rows:,} were written")
    return problems
