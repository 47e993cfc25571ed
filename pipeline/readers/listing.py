"""Rows of a listing, which the download stage wrote for what has no annotation file: see `sources/listing.py`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.readers.json_lines import read_json_lines
from pipeline.readers.record import BadRecord, Record

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pipeline.readers.record import ReadOptions


def read_listing(path: Path, options: ReadOptions) -> Iterator[Record | BadRecord]:
    """Yield each record, or why it is none; its line is its number in the listing."""
    for record in read_json_lines(path, options):
        if isinstance(record, BadRecord):
            yield record
        elif "bad" in record.row:
            code, message = record.row["bad"]
            yield BadRecord(line=record.line, code=code, message=message)
        else:
            yield Record(line=record.line, row=record.row["row"], size=record.size)
