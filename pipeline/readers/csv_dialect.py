"""How a CSV file separates its cells: declared, or detected on its first rows when only one answer fits."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipeline.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from pipeline.readers.record import ReadOptions

CANDIDATES = (",", ";", "\t", "|")
SAMPLE_ROWS = 20
"""Rows after the header that a delimiter must fit when several could be meant."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CsvDialect:
    """The three characters that give a CSV file its shape."""

    delimiter: str
    """Stands between cells."""
    quote: str | None
    """Stands around cells; None: nothing does."""
    escape: str | None
    """Stands before a character that is meant literally; None: quotes are doubled instead."""

    def reader(self, lines: Iterable[str]) -> Any:
        """Return a strict csv reader: text behind a closing quote is an error there, and so is a missing one."""
        return csv.reader(
            lines,
            delimiter=self.delimiter,
            quotechar=self.quote,
            quoting=csv.QUOTE_NONE if self.quote is None else csv.QUOTE_MINIMAL,
            escapechar=self.escape,
            doublequote=self.escape is None,
            strict=True,
        )


def dialect_of(path: Path, options: ReadOptions, default: str | None, sample: list[str]) -> CsvDialect:
    """Return the dialect of a file from its options and its first lines.

    Without a declared delimiter: the one candidate that stands in the first row outside quotes; of several, the one
    that cuts all rows of the sample into as many cells as the first (or as the declared header has). A first row
    without any is a single column. Raises SourceError when that leaves a doubt, and for impossible characters.
    """
    delimiter = options.delimiter if options.delimiter is not None else default
    _check_characters(path, delimiter, options)
    if delimiter is None:
        delimiter = _detected(path, options, sample)
    return CsvDialect(delimiter=delimiter, quote=options.quote, escape=options.escape)


def _check_characters(path: Path, delimiter: str | None, options: ReadOptions) -> None:
    named = {"delimiter": delimiter, "quote": options.quote, "escape": options.escape}
    given = {name: value for name, value in named.items() if value is not None}
    for name, value in given.items():
        if len(value) != 1 or value in "\r\n\0":
            raise SourceError(
                f"{path}: `{name}: {value!r}`", allowed="one character that is no line end", hint=f"correct `{name}`"
            )
    if len(set(given.values())) < len(given):
        shown = ", ".join(f"{name} {value!r}" for name, value in given.items())
        raise SourceError(f"{path}: one character in two roles: {shown}", allowed="different characters", hint="")


def _detected(path: Path, options: ReadOptions, sample: list[str]) -> str:
    widths: dict[str, list[int]] = {}
    for candidate in CANDIDATES:
        if candidate in (options.quote, options.escape):
            continue
        found = _widths(CsvDialect(delimiter=candidate, quote=options.quote, escape=options.escape), sample)
        if found and found[0] > 1:
            widths[candidate] = found
    if not widths:
        return CANDIDATES[0]
    if len(widths) > 1:
        columns = len(options.header) if isinstance(options.header, tuple) else None
        fitting = [c for c, found in widths.items() if set(found) == {columns or found[0]}]
        if len(fitting) != 1:
            counts = ", ".join(f"{c!r} gives {found[0]} columns" for c, found in widths.items())
            raise SourceError(
                f"{path}: the delimiter is in doubt: in the first row {counts}",
                allowed="one character",
                hint="say which with `delimiter`",
            )
        return fitting[0]
    return next(iter(widths))


def _widths(dialect: CsvDialect, sample: list[str]) -> list[int]:
    """Count the cells of the first rows, blank ones left out, up to the first that does not parse."""
    found: list[int] = []
    try:
        for row in dialect.reader(sample):
            if row:
                found.append(len(row))
            if len(found) > SAMPLE_ROWS:
                break
    except csv.Error:
        # The sample may end inside a quoted cell, or the file may be bad there: its reader will say so.
        pass
    return found
