r"""JSON Lines: one object a line, streaming.

Lines end in `\n` or `\r\n`; U+2028, U+0085 and a lone `\r` end no line. Blank lines are no records. A line that is
one or more complete objects one after another gives them all; any other bad line is one bad record, whatever stands in
it, and reading goes on with the next line.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pipeline.readers.json_cursor import BrokenTextError, Cursor
from pipeline.readers.json_value import read_record
from pipeline.readers.lines import LongLine, newline_lines
from pipeline.readers.record import BadRecord, Record, too_large
from pipeline.readers.text import utf8_blocks

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pipeline.readers.record import ReadOptions

_JSON_SPACE = b" \t\r"
_BETWEEN_OBJECTS = re.compile(rb"\}[ \t\r]*+\{")


def read_json_lines(path: Path, options: ReadOptions) -> Iterator[Record | BadRecord]:
    """Yield each line's record, or what is wrong with it."""
    first = options.part.first_line if options.part is not None else 1
    for number, line in enumerate(newline_lines(utf8_blocks(path, options)), start=first):
        text = line.strip(_JSON_SPACE)
        if isinstance(line, LongLine):
            yield too_large(number, line)
        elif text:
            record = read_record(text, number)
            if isinstance(record, BadRecord) and _BETWEEN_OBJECTS.search(text):
                yield from _several(text, number) or [record]
            else:
                yield record


def _several(text: bytes, number: int) -> list[Record | BadRecord]:
    """Return the records of a line that holds nothing but complete objects; nothing when that is not so."""
    records: list[Record | BadRecord] = []
    cursor = Cursor([text])
    try:
        while head := cursor.peek():
            record = read_record(cursor.take(alone=True).raw, number) if head == b"{" else None
            if not isinstance(record, Record):
                return []
            records.append(record)
    except BrokenTextError:
        return []
    return records
