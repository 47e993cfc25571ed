"""The records of an annotation file, for a look at them: as the build reads them, through a dialect if there is one."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.dialects.dialect import CANONICAL
from pipeline.errors import RowRejected
from pipeline.media.inline import inline_bytes
from pipeline.network.urls import looks_like_url
from pipeline.new.endings import LONGEST, kind_of_bytes
from pipeline.readers.read import detect_format, read
from pipeline.readers.record import BadRecord, Batch, ReadOptions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from pipeline.new.column_look import TableLook
    from pipeline.new.endings import Kind
    from pipeline.new.media_match import Paths
    from pipeline.new.reading import Reading

SAMPLE_ROWS = 500
"""Records by which a file is recognised."""
MAX_ROWS = 1_000_000
"""Records that are looked at in all."""
MAX_COLUMNS = 2_000
"""More columns than a table has: keys are data then."""
MAX_PATHS = 1_000_000
"""Different paths of a column that are remembered."""
PREVIEWED = 2
"""Records that are shown."""
SAMPLE_CHARACTERS = 64 << 20
"""Characters and bytes of the records by which a file is recognised."""


@dataclass
class MediaLook:
    """What a column names as media."""

    paths: Paths = field(default_factory=dict)
    """What has no scheme."""
    remote: Paths = field(default_factory=dict)
    """URLs."""
    urls: int = 0
    inline: int = 0
    """Media inside the annotations."""
    inline_kind: Kind | None = None
    listed: bool = False
    """Whether any row has a list of them."""
    blank: int = 0
    """Rows that name none."""
    remembered: int = 0
    """Different paths and URLs."""

    @property
    def any(self) -> bool:
        """Tell whether any row names a medium."""
        return bool(self.paths or self.urls or self.inline)

    @property
    def texts(self) -> list[str]:
        """All paths and URLs."""
        return [text for paths in (self.paths, self.remote) for named in paths.values() for text in named]

    @property
    def example_url(self) -> str:
        """The first URL."""
        return next((url for named in self.remote.values() for url in named), "")

    def see(self, value: Any, file: str) -> None:
        """Look at what one row of an annotation file has."""
        items = value if isinstance(value, list) else [value]
        self.listed = self.listed or isinstance(value, list)
        items = [item for item in items if item is not None and item != ""]
        if not items:
            self.blank += 1
        for item in items:
            self._see_one(item, file)

    def _see_one(self, item: Any, file: str) -> None:
        try:
            data = inline_bytes(item)
        except RowRejected:
            return
        if data is not None:
            self.inline += 1
            self.inline_kind = self.inline_kind or kind_of_bytes(data[:16])
            return
        path = item.get("path") if isinstance(item, dict) else item
        if not isinstance(path, str):
            return
        known = self.paths
        if looks_like_url(path):
            self.urls += 1
            known = self.remote
        named = known.setdefault(file, {})
        if path in named:
            named[path] += 1
        elif len(path) <= 4 * LONGEST and self.remembered < MAX_PATHS:
            named[path] = 1
            self.remembered += 1


@dataclass
class FileLook:
    """What was seen of the rows of a file, or of several that are read alike."""

    table: TableLook
    """All columns but those of media."""
    media: dict[str, MediaLook] = field(default_factory=dict)
    """By the column that names them."""
    rows: int = 0
    """Records, those that cannot be read too."""
    rejected: Counter[str] = field(default_factory=Counter)
    """Reason -> records that cannot be read, or do not fit the dialect."""
    example: str = ""
    """What is wrong with the first of them."""
    first: list[dict[str, Any]] = field(default_factory=list)
    order: dict[str, None] = field(default_factory=dict)
    """All columns, as they come."""
    whole: bool = True
    """Whether all records were looked at."""
    labels: set[str] = field(default_factory=set)
    """Classes, which folders are called like."""
    class_names: dict[str, list[str]] = field(default_factory=dict)
    """Columns of numbers that stand for classes, as a Parquet file of `datasets` says it."""


def reads_untyped(path: Path, options: ReadOptions) -> bool:
    """Tell whether a file is of a format without types."""
    return detect_format(path, options) in ("csv", "tsv")


def class_names_of(path: Path) -> dict[str, list[str]]:
    """Return the classes that numbers of a Parquet file stand for, by column; what `datasets` wrote into its footer."""
    try:
        written = (pq.read_schema(path).metadata or {}).get(b"huggingface", b"{}")
        features = json.loads(written).get("info", {}).get("features", {})
        found = {name: kind["names"] for name, kind in features.items() if kind.get("_type") == "ClassLabel"}
    except (pa.ArrowException, OSError, ValueError, TypeError, AttributeError, KeyError, RecursionError):
        return {}
    return {name: names for name, names in found.items() if _are_names(names)}


def _are_names(names: Any) -> bool:
    if not isinstance(names, list) or not names:
        return False
    return all(isinstance(name, str) for name in names) and len(set(names)) == len(names)


def first_records(path: Path, options: ReadOptions) -> tuple[list[dict[str, Any]], int]:
    """Return the first records of a file, and how many beside them cannot be read.

    Raises:
        SourceError: the file cannot be read at all.
    """
    found: list[dict[str, Any]] = []
    bad = size = 0
    for part in read(path, options):
        if isinstance(part, BadRecord):
            bad += 1
        for record in part.rows[: SAMPLE_ROWS - len(found)] if isinstance(part, Batch) else ():
            found.append(record)
            size += _size(record)
        if len(found) + bad >= SAMPLE_ROWS or size > SAMPLE_CHARACTERS:
            break
    return found, bad


def _size(record: dict[str, Any]) -> int:
    """Return about how many characters and bytes a record holds."""
    waiting: list[Any] = [record]
    size = 0
    while waiting:
        value = waiting.pop()
        if isinstance(value, str | bytes):
            size += len(value)
        elif isinstance(value, dict):
            waiting += value.values()
        elif isinstance(value, list):
            size += len(value)
            waiting += value
    return size


def look_at(path: Path, file: str, options: ReadOptions, look: FileLook, reading: Reading) -> None:
    """Look at all records of a file that is understood in this way."""
    table, dialect = look.table, reading.dialect
    columns = [*CANONICAL[1:]] if dialect is not None else [column.raw for column in reading.media]
    skipped = {*CANONICAL} if dialect is not None else {column.raw for column in reading.media if not column.keep_raw}
    for _, record in _rows(path, options, look, dialect.read if dialect is not None else None):
        if look.rows > MAX_ROWS:
            look.whole = False
            break
        for column in columns:
            look.media.setdefault(column, MediaLook()).see(record.get(column), file)
        table.see({name: value for name, value in record.items() if name not in skipped})
        if len(look.first) < PREVIEWED:
            look.first.append(record)
        if reading.label:
            look.labels.add(record[reading.label].rpartition("/")[2])
        if not record.keys() <= look.order.keys():
            look.order |= dict.fromkeys(record)
        if len(table.columns) > MAX_COLUMNS:
            look.whole = False
            break


def _rows(
    path: Path, options: ReadOptions, look: FileLook, through: Callable[[dict[str, Any]], dict[str, Any]] | None
) -> Iterator[tuple[int, dict[str, Any]]]:
    for part in read(path, options):
        if isinstance(part, BadRecord):
            look.rows += 1
            look.rejected[part.code] += 1
            look.example = look.example or f"line {part.line}: {part.message}"
            continue
        for line, record in zip(part.lines, part.rows, strict=True):
            look.rows += 1
            try:
                yield line, through(record) if through is not None else record
            except RowRejected as error:
                look.rejected[error.code] += 1
                look.example = look.example or f"line {line}: {error.message}"
