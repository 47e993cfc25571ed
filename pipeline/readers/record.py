"""What a reader yields: raw records in batches, each with the line it starts on, and the ones that cannot be read."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pipeline.printable import escaped

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

BATCH_ROWS = 1_000
"""Records in one batch at the most; a batch of large records is cut earlier, by bytes."""
BATCH_BYTES = 4 << 20
"""Raw bytes after which a batch is cut."""
MAX_RECORD_BYTES = 64 << 20
"""Raw bytes of one record at the most; a longer one becomes a `BadRecord` with code `read.too_large`."""
EXCERPT_CHARACTERS = 200
"""How much of a bad record is kept for people."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """A piece of an annotation file that begins and ends between two records."""

    start: int
    """Bytes before it."""
    end: int
    """Bytes up to its end."""
    first_line: int
    """The 1-based line it starts on."""
    last: bool
    """Whether it ends with the file."""
    sha256: str
    """The hash of its bytes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Runs:
    """How lines that each tell of one frame are joined; `RunsSpec` of the recipe says what each key means."""

    frame: str
    same: tuple[str, ...]
    video: str | None
    step: int
    fps: float | None
    max_frames: int | None


class PartsDoNotMeetError(Exception):
    """A part does not end between two records: where the file was cut was guessed wrong, and it must be read whole."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ReadOptions:
    """How to read one annotation file; what is None or empty is detected, or refused when in doubt."""

    format: str | None = None
    """json, jsonl, csv, tsv or parquet; None: by content and ending."""
    encoding: str | None = None
    """A Python codec name; None: UTF-8 or a byte order mark, else a clear refusal that names candidates."""
    delimiter: str | None = None
    """CSV: one character; None: detected."""
    quote: str | None = '"'
    """CSV: the quote character; None: no quoting."""
    escape: str | None = None
    """CSV: the escape character; None: quotes are doubled."""
    header: bool | tuple[str, ...] = True
    """CSV: True: the first row names the columns; a tuple: these are the names and the first row is data."""
    records: str | None = None
    """JSON: dotted path to the array or keyed object of the records, e.g. `data.annotations`; None: the top level."""
    key: str | None = None
    """JSON keyed object: the column that receives each record's key; None: it must be an array or a lone object."""
    runs: Runs | None = None
    """Lines that tell of one frame each are joined into records; None: each line is one."""
    part: Part | None = None
    """The piece of the file to read, one of `cut_into_parts`; None: all of it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Batch:
    """Raw records in file order."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    """One dict a record. Values are str, int, float, bool, None, bytes, list or dict; from CSV and TSV always str."""
    lines: list[int] = field(default_factory=list)
    """For each record the 1-based line it starts on; for Parquet the 1-based row number."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BadRecord:
    """A record that cannot be read; it counts as a row in, and becomes a reject."""

    line: int
    """The 1-based line (Parquet: row) where it starts."""
    code: str
    """A stable code, e.g. `read.json`, `read.ragged`, `read.encoding`."""
    message: str
    """What is wrong, for people."""
    excerpt: str = ""
    """The first 200 characters of the raw record, printable."""
    unread: int = 0
    """Bytes that it stands for when it stands for all of a file behind it."""


@dataclass(kw_only=True, slots=True)  # not frozen: that costs a third of the time a short record takes to read
class Record:
    """One readable record inside the readers, before it is put into a batch."""

    line: int
    """The 1-based line it starts on."""
    row: dict[str, Any]
    """Its values."""
    size: int
    """Its raw bytes, by which batches are cut."""


def excerpt_of(raw: bytes | str) -> str:
    """Return the first characters of a raw record with everything unprintable escaped."""
    # Four bytes are the most that one character takes.
    head = raw[: EXCERPT_CHARACTERS * 4].decode("utf-8", "backslashreplace") if isinstance(raw, bytes) else raw
    return escaped(head[:EXCERPT_CHARACTERS])[:EXCERPT_CHARACTERS]


def too_large(line: int, head: bytes) -> BadRecord:
    """Return the bad record for one that is longer than `MAX_RECORD_BYTES`."""
    message = f"the record is longer than {MAX_RECORD_BYTES >> 20} MiB"
    return BadRecord(line=line, code="read.too_large", message=message, excerpt=excerpt_of(head))


def batched(records: Iterable[Record | BadRecord]) -> Iterator[Batch | BadRecord]:
    """Collect records into batches.

    A bad record is passed on as soon as it is met, thus before the batch of the good ones around it; lines tell the
    order in the file.
    """
    batch, size = Batch(), 0
    for record in records:
        if isinstance(record, BadRecord):
            yield record
            continue
        batch.rows.append(record.row)
        batch.lines.append(record.line)
        size += record.size
        if len(batch.rows) == BATCH_ROWS or size >= BATCH_BYTES:
            yield batch
            batch, size = Batch(), 0
    if batch.rows:
        yield batch
