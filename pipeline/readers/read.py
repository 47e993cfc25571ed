"""The door to the readers: tell what a file is, and read it.

    format     how it is told when `format` is not declared
    parquet    the bytes PAR1 at the start
    csv, tsv   the ending .csv, or .tsv and .tab
    json       it starts with `[`, or with an object that is alone in the file or spans lines
    jsonl      it starts with an object that fills the first line, and more follows or the ending says so

What `format: webdataset` and `format: folder` are for is declared, and read from a listing of it.

JSON is told by its content and not by its ending, because `.json` often holds JSON Lines and `.jsonl` an array. The
codes of bad records:

    read.json           not one JSON value, or one that JSON does not have (NaN), or the rest of a broken file
    read.not_object     a JSON value that is no object
    read.duplicate_key  one key with two values
    read.key_conflict   a keyed object's key and the column for it disagree
    read.trailing       something behind the end of the document
    read.csv            text behind a closing quote and the like
    read.unterminated   a quote that is never closed
    read.ragged         another number of cells than the header has columns
    read.nul            a NUL byte in a CSV row
    read.frame          a line that is to tell of one frame of a video, and does not, or not in order
    read.parquet        a value that Python cannot hold
    read.integer        a member of a WebDataset shard that is to be a whole number, and is none
    read.name           a file name that is not valid Unicode, or holds a control character
    read.encoding       bytes that do not fit the encoding
    read.too_large      longer than `MAX_RECORD_BYTES`
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import orjson

from pipeline.errors import SourceError
from pipeline.readers.csv_rows import read_csv, read_tsv
from pipeline.readers.json_array import read_json
from pipeline.readers.json_cursor import BrokenTextError, Cursor
from pipeline.readers.json_lines import read_json_lines
from pipeline.readers.listing import read_listing
from pipeline.readers.parquet_rows import read_parquet
from pipeline.readers.record import BadRecord, Batch, batched
from pipeline.readers.runs import joined
from pipeline.readers.text import BLOCK_BYTES, raw_blocks, utf8_blocks

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pipeline.readers.record import ReadOptions

READERS = {
    "json": read_json,
    "jsonl": read_json_lines,
    "csv": read_csv,
    "tsv": read_tsv,
    "parquet": read_parquet,
    "webdataset": read_listing,
    "folder": read_listing,
}
"""Each format and the function that reads it."""

_TABLE_ENDINGS = {".csv": "csv", ".tsv": "tsv", ".tab": "tsv"}
_LINES_ENDINGS = {".jsonl", ".ndjson", ".jsonlines"}
_PACKED = {
    b"\x1f\x8b": "gzip",
    b"\x28\xb5\x2f\xfd": "Zstandard",
    b"PK\x03\x04": "ZIP (or a spreadsheet)",
    b"BZh": "bzip2",
    b"\xfd7zXZ": "xz",
}


def read(path: Path, options: ReadOptions) -> Iterator[Batch | BadRecord]:
    """Yield the records of one annotation file in batches, and each record that cannot be read.

    Memory does not grow with the file. Raises SourceError, on the first `next` or further on, when the file as a whole
    cannot be used; a bad record never raises.
    """
    kind = detect_format(path, options)
    given = {"records": options.records, "key": options.key}
    unfit = [f"`{name}: {value}`" for name, value in given.items() if value is not None]
    if unfit and kind != "json":
        raise SourceError(
            f"{path}: {' and '.join(unfit)} is given, but the file is {kind}",
            allowed="`records` and `key` for a JSON document",
            hint="leave it out, or correct `format`",
        )
    records = READERS[kind](path, options)
    yield from batched(records if options.runs is None else joined(records, options.runs))


def detect_format(path: Path, options: ReadOptions) -> str:
    """Return the name of a file's format, one of `READERS`; raise SourceError when it is none or in doubt."""
    if options.format is not None:
        if options.format not in READERS:
            raise SourceError(
                f"{path}: unknown format {options.format!r}", allowed=", ".join(READERS), hint="correct `format`"
            )
        return options.format
    start = next(raw_blocks(path), b"")
    ending = path.suffix.lower()
    if start.startswith(b"PAR1") or (not start and ending == ".parquet"):
        return "parquet"
    for magic, name in _PACKED.items():
        if start.startswith(magic):
            raise SourceError(f"{path}: is packed with {name}", allowed=", ".join(READERS), hint="unpack it first")
    if not start and ending in _LINES_ENDINGS:
        return "jsonl"
    sample = _sample(path, replace(options, part=None))  # of the file: a part may look like something else
    if ending in _TABLE_ENDINGS:
        if _holds_json(sample):
            raise SourceError(
                f"{path}: is called {ending} but looks like JSON",
                allowed=", ".join(READERS),
                hint="say what it is with `format`",
            )
        return _TABLE_ENDINGS[ending]
    if sample.startswith(b"{"):
        return "json" if options.records or options.key else _object_format(sample, ending)
    if sample.startswith(b"[") and ending in _LINES_ENDINGS and _lines_of_objects(sample):
        return "jsonl"
    if sample.startswith(b"[") or ending == ".json":
        return "json"
    if ending in _LINES_ENDINGS:
        return "jsonl"
    raise SourceError(
        f"{path}: neither its ending {ending!r} nor its content tells its format",
        allowed=", ".join(READERS),
        hint="say what it is with `format`",
    )


def _sample(path: Path, options: ReadOptions) -> bytes:
    """Return the first text of a file, without leading white space: a block, or a little more."""
    sample = b""
    for block in utf8_blocks(path, options):
        sample = (sample + block).lstrip(b" \t\r\n")
        if len(sample) >= BLOCK_BYTES // 2:
            break
    return sample


def _holds_json(sample: bytes) -> bool:
    """Return whether the first line is a JSON object or array, or opens one."""
    line = sample.partition(b"\n")[0].strip()
    return line in (b"{", b"[") or (line.startswith((b"{", b"[")) and _is_json(line.removesuffix(b",")))


def _lines_of_objects(sample: bytes) -> bool:
    """Tell whether the lines behind the first are objects without commas between them, as no array can hold."""
    lines = sample.split(b"\n")[1:3]
    return len(lines) == 2 and all(line.strip().startswith(b"{") and _is_json(line.strip()) for line in lines)


def _object_format(sample: bytes, ending: str) -> str:
    """Return json or jsonl for text that starts with an object."""
    line, _, rest = sample.partition(b"\n")
    by_ending = "jsonl" if ending in _LINES_ENDINGS else "json"
    if _is_json(line):
        return "jsonl" if rest.strip() else by_ending
    try:
        first = Cursor([sample]).take(alone=True).raw
    except BrokenTextError:
        first = b""
    if b"\n" in first and _is_json(first):
        return "json"
    # The first line is bad; the second may tell.
    if _is_json(rest.partition(b"\n")[0].strip() or b"-") and rest.lstrip().startswith(b"{"):
        return "jsonl"
    return by_ending


def _is_json(text: bytes) -> bool:
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError:
        return False
    return True
