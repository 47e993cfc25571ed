r"""CSV and TSV: one row a record, every value a str, streaming.

A row starts on a line and may span several when a quoted cell holds line ends: `\n`, `\r\n` or a lone `\r`. Blank
lines are no records; a row of empty cells is one. A bad row is rejected and reading goes on with the line after the
last one it took. A quote that is never closed may take thousands of good rows along: then each line of it is a reject.
"""

from __future__ import annotations

import csv
from collections import Counter
from itertools import islice
from typing import TYPE_CHECKING

from pipeline.errors import SourceError
from pipeline.readers.csv_dialect import SAMPLE_ROWS, dialect_of
from pipeline.readers.lines import LongLine, csv_lines
from pipeline.readers.record import EXCERPT_CHARACTERS, MAX_RECORD_BYTES, BadRecord, Record, excerpt_of, too_large
from pipeline.readers.text import utf8_blocks

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pipeline.readers.record import ReadOptions

# Physical lines looked at for the delimiter: enough for the sample's rows with some line ends in their cells.
_SAMPLE_LINES = SAMPLE_ROWS * 10


def read_csv(path: Path, options: ReadOptions) -> Iterator[Record | BadRecord]:
    """Yield each row of a CSV file, whose delimiter is declared or detected."""
    return _read(path, options, default_delimiter=None)


def read_tsv(path: Path, options: ReadOptions) -> Iterator[Record | BadRecord]:
    """Yield each row of a file whose delimiter is a tab unless another is declared."""
    return _read(path, options, default_delimiter="\t")


class _TooLargeError(Exception):
    """A row has taken more bytes than a record may have."""


class _Lines:
    """Feeds lines to the csv reader and remembers what the row now being read is made of."""

    def __init__(self, lines: Iterator[bytes]) -> None:
        self._lines = lines
        self.read = 0
        self.ended = False
        self.begin_row()

    def begin_row(self) -> int:
        """Forget the row before, and return the line the next one starts on."""
        self.first_line = self.read + 1
        self.head = b""
        self.size = 0
        self.problem: tuple[str, str] | None = None
        return self.first_line

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line = next(self._lines, None)
        if line is None:
            self.ended = True
            raise StopIteration
        self.read += 1
        self.size += len(line)
        if len(self.head) < EXCERPT_CHARACTERS * 4:
            self.head += line[: EXCERPT_CHARACTERS * 4]
        if isinstance(line, LongLine) or self.size > MAX_RECORD_BYTES:
            raise _TooLargeError
        if b"\0" in line:
            self.problem = self.problem or ("read.nul", f"a NUL byte on line {self.read}")
        try:
            return line.decode()
        except UnicodeDecodeError as error:
            message = f"byte 0x{line[error.start]:02x} on line {self.read} is not valid text"
            self.problem = self.problem or ("read.encoding", message)
            return line.decode("utf-8", "replace")  # only so that the csv reader finds the end of the row

    def bad_row(self, code: str, message: str) -> BadRecord:
        """Return the row as a bad record; bytes that are no text explain more than what the csv reader made of them."""
        code, message = self.problem or (code, message)
        return BadRecord(line=self.first_line, code=code, message=message, excerpt=excerpt_of(self.head))

    def lost(self, code: str) -> Iterator[BadRecord]:
        """Yield the lines behind the first that a row without an end has taken: each may have been a row of its own."""
        message = f"lost in the row that starts on line {self.first_line} and has no end"
        for line in range(self.first_line + 1, self.read + 1):
            yield BadRecord(line=line, code=code, message=message)


def _read(path: Path, options: ReadOptions, *, default_delimiter: str | None) -> Iterator[Record | BadRecord]:
    # Global to the process, because the csv module has it so; `_Lines` keeps rows below it.
    csv.field_size_limit(MAX_RECORD_BYTES)
    raw_lines = csv_lines(utf8_blocks(path, options))
    ahead = _sample(raw_lines)
    dialect = dialect_of(path, options, default_delimiter, [line.decode("utf-8", "replace") for line in ahead])
    lines = _Lines(_chained(ahead, raw_lines))
    rows = _rows(lines, dialect.reader(lines))
    header = _header(path, options, rows)
    for row in rows:
        if isinstance(row, BadRecord):
            yield row
            continue
        line, cells, size = row
        if len(cells) == len(header):
            yield Record(line=line, row=dict(zip(header, cells, strict=True)), size=size)
        else:
            yield lines.bad_row("read.ragged", f"{len(cells)} cells where the header has {len(header)} columns")


def _sample(raw_lines: Iterator[bytes]) -> list[bytes]:
    """Return the first lines, no more of them than one record may have bytes."""
    ahead: list[bytes] = []
    size = 0
    for line in islice(raw_lines, _SAMPLE_LINES):
        ahead.append(line)
        size += len(line)
        if size > MAX_RECORD_BYTES // 8:
            break
    return ahead


def _chained(ahead: list[bytes], rest: Iterator[bytes]) -> Iterator[bytes]:
    yield from ahead
    ahead.clear()
    yield from rest


def _rows(lines: _Lines, reader: Iterator[list[str]]) -> Iterator[tuple[int, list[str], int] | BadRecord]:
    """Yield line, cells and bytes of each row that is not blank."""
    while True:
        line = lines.begin_row()
        try:
            cells = next(reader)
        except StopIteration:
            return
        except _TooLargeError:
            yield too_large(line, lines.head)
            yield from lines.lost("read.too_large")
        except csv.Error as error:
            if not lines.ended:
                yield lines.bad_row("read.csv", str(error))
                continue
            yield lines.bad_row(
                "read.unterminated", f"a quote is opened and not closed up to the last line, {lines.read}"
            )
            yield from lines.lost("read.unterminated")
            return
        else:
            if lines.problem:
                yield lines.bad_row(*lines.problem)
            elif cells:
                yield line, cells, lines.size


def _header(path: Path, options: ReadOptions, rows: Iterator[tuple[int, list[str], int] | BadRecord]) -> list[str]:
    """Return the column names, declared or from the first row; raise SourceError when they cannot be used."""
    hint = "name the columns with `header: [..]`"
    if isinstance(options.header, tuple):
        names = list(options.header)
    elif options.header:
        first = next(rows, None)
        if first is None:
            raise SourceError(f"{path}: is empty", allowed="a header row", hint=hint)
        if isinstance(first, BadRecord):
            raise SourceError(f"{path}: the header row cannot be read: {first.message}", hint=hint)
        names = first[1]
    else:
        raise SourceError(f"{path}: `header: false` leaves the columns without names", hint=hint)
    wrong = [f"column {number} has no name" for number, name in enumerate(names, start=1) if not name.strip()]
    wrong += [f"{count} columns are called {name!r}" for name, count in Counter(names).items() if name and count > 1]
    if wrong:
        raise SourceError(f"{path}: {', '.join(wrong)}", allowed="a name of its own for each column", hint=hint)
    return names
