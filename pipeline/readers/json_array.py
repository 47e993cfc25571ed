"""JSON that is one document: an array of records, a keyed object, either of them at a path inside, or a lone object.

    [{...}, {...}]                                  an array: each element is a record
    {"data": {"annotations": [{...}]}}              with `records: data.annotations`
    {"id1": {...}, "id2": {...}}                    a keyed object, with `key: COLUMN`; records of equal keys all come
    {"id": 1, "text": "..."}                        a lone object: one record
    {...} {...}                                     several objects one after another: a record each

Records are cut out of the text one by one, so memory does not grow with the file. A bad element is rejected and
reading goes on behind it when brackets and quotes allow it, or at the next place that looks as the borders between
records did so far (only if those hold a line end, which no string can). Otherwise one bad record stands for the rest of
the file.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import orjson

from pipeline.errors import SourceError
from pipeline.readers.json_cursor import BrokenTextError, Cursor, NoEndError, Piece
from pipeline.readers.json_value import BadValueError, parse_record, read_record
from pipeline.readers.record import (
    MAX_RECORD_BYTES,
    BadRecord,
    PartsDoNotMeetError,
    Record,
    excerpt_of,
    too_large,
)
from pipeline.readers.text import utf8_blocks

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pipeline.readers.record import Part, ReadOptions

_MAX_NAMES = 10
"""Names listed in one message at the most."""
_MAX_KEY_BYTES = 1 << 16
_BORDER_REACH = 1024
"""Bytes within which the first key of the next record must end to be learnt."""
_NEXT_RECORD = re.compile(rb',[ \t\r\n]*+(\{[ \t\r\n]*+"[^"\\]*+"[ \t\r\n]*+:)')
_KEY = re.compile(rb'"(?:[^"\\]++|\\.)*+"', re.DOTALL)
_SPACE = b" \t\r\n"


def read_json(path: Path, options: ReadOptions) -> Iterator[Record | BadRecord]:
    """Yield each record of a JSON document.

    Raises SourceError for a file that is empty, no JSON or in doubt, and for a `records` path that leads nowhere.
    """
    cursor = Cursor(utf8_blocks(path, options))
    if options.part is not None:
        yield from _part(cursor, options.part)
        return
    first = cursor.peek()
    if not first:
        raise SourceError(f"{path}: is empty", allowed="a JSON array or object", hint="leave the file out")
    if first not in (b"{", b"["):
        raise SourceError(
            f"{path}: is not JSON: it starts with {excerpt_of(cursor.data[cursor.at : cursor.at + 20])!r}",
            allowed="a JSON array or object",
            hint="say what it is with `format`",
        )
    try:
        if options.records is not None:
            yield from _at_path(path, options, cursor)
        elif first == b"{" and options.key is None:
            yield from _lone_objects(path, options, cursor)
        else:
            yield from _collection(path, options, cursor)
        yield from _trailing(cursor)
    except BrokenTextError as broken:
        unread = cursor.rest()
        message = f"{broken.reason}; from here on the file could not be read: {unread:,} bytes"
        excerpt = excerpt_of(broken.raw)
        yield BadRecord(line=broken.line, code="read.json", message=message, excerpt=excerpt, unread=unread)


def border_of_array(path: Path, options: ReadOptions) -> tuple[bytes, int] | None:
    """Return what stands between the first two records of an array, and how many bytes of that are not the second's.

    None: the file is something else than an array of several records.
    """
    cursor = Cursor(utf8_blocks(path, options))
    if options.records is not None or options.key is not None or cursor.peek() != b"[":
        return None
    cursor.advance(cursor.at + 1)
    cursor.peek()
    try:
        border = _Border.behind(cursor, cursor.take(), None)
    except BrokenTextError:
        return None
    return (border.text, border.to_next) if border is not None else None


def _part(cursor: Cursor, part: Part) -> Iterator[Record | BadRecord]:
    """Yield the records of a part of an array.

    A part but the last is only right when it ends behind a comma between two records. When all do, all begin right too.
    """
    cursor.line = part.first_line
    try:
        yield from _elements(cursor, part)
        if part.last:
            yield from _trailing(cursor)
    except BrokenTextError as broken:
        raise PartsDoNotMeetError from broken


# One array or keyed object -----------------------------------


def _collection(path: Path, options: ReadOptions, cursor: Cursor) -> Iterator[Record | BadRecord]:
    """Yield the records of the array or keyed object the cursor is at, and leave the cursor behind it."""
    where = f"`records: {options.records}`" if options.records else "the file"
    opening = cursor.peek()
    if opening == b"[":
        if options.key is not None:
            raise SourceError(
                f"{path}: `key: {options.key}` is given, but {where} holds an array",
                allowed="`key` for an object of objects",
                hint="leave `key` out",
            )
        yield from _elements(cursor)
    elif opening == b"{":
        if options.key is None:
            raise SourceError(
                f"{path}: {where} holds an object",
                allowed="an array, or an object of records with `key`",
                hint="say `key: COLUMN` to read its values as records, or a longer `records` path",
            )
        yield from _keyed(cursor, options.key)
    else:
        raise SourceError(
            f"{path}: {where} holds neither an array nor an object",
            allowed="an array of objects",
            hint="correct `records`",
        )


def _elements(cursor: Cursor, part: Part | None = None) -> Iterator[Record | BadRecord]:
    border: _Border | None = None
    if part is None or part.start == 0:
        cursor.peek()
        cursor.advance(cursor.at + 1)
        if cursor.peek() == b"]":
            cursor.advance(cursor.at + 1)
            return
    while True:
        if not cursor.peek() and part is not None and not part.last:
            return
        if border is not None and border.worth_trying():
            read = 0
            for quick in _between_borders(cursor, border):
                read += 1
                yield quick
            border.tried(read)
        piece = None
        try:
            # A lost quote may seem to make a record of all that follows: nothing is dropped before that is known.
            piece = cursor.take(drop=border is None or not border.leads_on)
        except BrokenTextError as broken:
            if part is not None:
                raise  # what may be a wrong cut is not mended
            if border is not None and border.skip_to(cursor):
                raw = excerpt_of(broken.raw)
                yield BadRecord(line=broken.line, code="read.json", message=broken.reason, excerpt=raw)
                continue
            if not isinstance(broken, NoEndError):
                raise
        if piece is None:
            piece = cursor.take()
        record = _record_of(piece)
        if isinstance(record, Record):
            if border is not None and border.text in piece.raw:
                border.nested = True
            border = _Border.behind(cursor, piece, border)
        elif border is not None and record.code == "read.json" and border.indented and border.text in piece.raw:
            # Brackets match, but a lost quote may have swallowed good records: their own indentation betrays them.
            if part is not None:
                raise PartsDoNotMeetError
            after, line = cursor.at, cursor.line
            cursor.at -= len(piece.raw)
            cursor.line = piece.line
            if border.skip_to(cursor):
                yield record
                continue
            cursor.at, cursor.line = after, line
        yield record
        if not _goes_on(cursor, b"]"):
            if part is not None and not part.last:
                raise PartsDoNotMeetError
            return


@dataclass(kw_only=True, slots=True)
class _Border:
    """What stood between two records: from the white space before `}` to the first key of the next one.

    Pretty-printed or not, the borders of a file are usually all alike, and a literal search finds the next one faster
    than a scan of quotes and brackets. It is only a guess where a record ends: that the text up to there parses as an
    object proves it, as an object is never the beginning of a longer one.
    """

    text: bytes
    to_brace: int
    """Bytes up to and including the `}`."""
    to_next: int
    """Bytes up to the `{` of the next record."""
    lines: int
    """Line ends between those two."""
    reach: int
    """How far to look: a few times the length of the last record."""
    misses: int = 0
    nested: bool = False
    """Whether it was also seen inside a record, so that it proves nothing in a bad one."""

    @property
    def has_line_end(self) -> bool:
        return b"\n" in self.text

    @property
    def leads_on(self) -> bool:
        """Whether reading can go on at the next one behind a bad record."""
        return self.has_line_end and not self.nested

    @property
    def indented(self) -> bool:
        return b"\n" in self.text[: self.to_brace]

    @classmethod
    def behind(cls, cursor: Cursor, piece: Piece, former: _Border | None) -> _Border | None:
        """Return the border behind a record just taken; the former one when it is the same or cannot be seen."""
        reach = 4 * len(piece.raw) + 4096
        while len(cursor.data) - cursor.at < _BORDER_REACH and cursor.more():
            pass
        found = _NEXT_RECORD.match(cursor.data, cursor.at, cursor.at + _BORDER_REACH)
        if not found:
            return former
        body = piece.raw.rstrip(_SPACE)
        before = body[len(body[:-1].rstrip(_SPACE)) : -1]
        text = before + piece.raw[len(body) - 1 :] + found[0]
        if former is not None and former.text == text:
            former.reach = reach
            return former
        to_brace = len(before) + 1
        to_next = len(text) - len(found[1])
        lines = text.count(b"\n", to_brace, to_next)
        misses = former.misses if former else 0
        return cls(text=text, to_brace=to_brace, to_next=to_next, lines=lines, reach=reach, misses=misses)

    def worth_trying(self) -> bool:
        # A file whose borders differ pays for a few vain searches, then for one in 64 records.
        if self.misses <= 8:
            return True
        self.misses += 1
        return self.misses % 64 == 0

    def tried(self, records_read: int) -> None:
        self.misses = 0 if records_read else self.misses + 1

    def skip_to(self, cursor: Cursor) -> bool:
        """Move the cursor to the next record behind such a border; return False when there is none near enough."""
        while self.leads_on:
            found = cursor.data.find(self.text, cursor.at)
            if found >= 0:
                cursor.advance(found + self.to_next)
                return True
            if len(cursor.data) - cursor.at > MAX_RECORD_BYTES or not cursor.more():
                break
        return False


def _between_borders(cursor: Cursor, border: _Border) -> Iterator[Record]:
    """Yield records as long as each ends at the next border; leave the cursor at the first that does not."""
    while True:
        found = cursor.data.find(border.text, cursor.at, cursor.at + border.reach)
        if found < 0:
            return
        raw = cursor.data[cursor.at : found + border.to_brace]
        try:
            row = parse_record(raw)
        except BadValueError:
            return  # the exact way decides what is wrong, and where it ends
        yield Record(line=cursor.line, row=row, size=len(raw))
        cursor.line += raw.count(b"\n") + border.lines
        cursor.at = found + border.to_next


def _keyed(cursor: Cursor, column: str) -> Iterator[Record | BadRecord]:
    for key in _members(cursor):
        record = _record_of(cursor.take())
        if isinstance(record, BadRecord):
            yield record
        elif column not in record.row:
            yield replace(record, row={column: key, **record.row})
        elif record.row[column] == key:
            yield record
        else:
            message = f"its key is {key!r}, but its {column!r} is {excerpt_of(repr(record.row[column]))[:80]}"
            yield BadRecord(line=record.line, code="read.key_conflict", message=message)


# A document with the records somewhere inside -----------------------------------


def _at_path(path: Path, options: ReadOptions, cursor: Cursor) -> Iterator[Record | BadRecord]:
    """Yield the records at `options.records`, and read the document to its end."""
    assert options.records is not None
    found = False
    try:
        for record in _descend(path, options, cursor, options.records.split(".")):
            found = True
            if record is not None:
                yield record
    except BrokenTextError as broken:
        if found:
            raise
        raise SourceError(
            f"{path}: is not valid JSON before `records: {options.records}`: line {broken.line}: {broken.reason}",
            hint="repair the file or fetch it again",
        ) from broken


def _descend(path: Path, options: ReadOptions, cursor: Cursor, steps: list[str]) -> Iterator[Record | BadRecord | None]:
    """Go down one member a step; yields None once when the records are reached, so that the caller knows."""
    if not steps:
        # Whether it can be used is decided before the first record.
        collection = _collection(path, options, cursor)
        first = next(collection, None)
        yield first
        yield from collection
        return
    opening = cursor.peek()
    if not opening:
        raise BrokenTextError("the file ends where a value is expected", cursor.line, b"")
    if opening != b"{":
        raise SourceError(
            f"{path}: no `records: {options.records}`: {steps[0]!r} is looked for in a value that is no object",
            allowed="keys of objects, joined by dots",
            hint="correct `records`",
        )
    names: list[str] = []
    reached = False
    for key in _members(cursor):
        if key != steps[0]:
            if len(names) < _MAX_NAMES:
                names.append(key)
            cursor.take(limit=0)
        elif reached:
            yield BadRecord(
                line=cursor.line, code="read.duplicate_key", message=f"key {key!r} stands twice; the second is not read"
            )
            cursor.take(limit=0)
        else:
            reached = True
            yield from _descend(path, options, cursor, steps[1:])
    if not reached:
        raise SourceError(
            f"{path}: no `records: {options.records}`: there is no key {steps[0]!r}",
            allowed=", ".join(repr(name) for name in names) or "the object is empty",
            hint="correct `records`",
        )


def _members(cursor: Cursor) -> Iterator[str]:
    """Yield each key of the object the cursor is at; whoever asks reads the value before asking again."""
    cursor.advance(cursor.at + 1)
    if cursor.peek() == b"}":
        cursor.advance(cursor.at + 1)
        return
    while True:
        yield _key(cursor)
        if not _goes_on(cursor, b"}"):
            return


def _key(cursor: Cursor) -> str:
    """Read a key and its colon."""
    line = cursor.line
    if cursor.peek() != b'"':
        raise BrokenTextError("a key in double quotes is expected", line, cursor.data[cursor.at : cursor.at + 200])
    # A key is short: load enough to see all of it.
    while True:
        closing = _KEY.match(cursor.data, cursor.at)
        if closing or len(cursor.data) - cursor.at > _MAX_KEY_BYTES or not cursor.more():
            break
    try:
        key = orjson.loads(closing[0]) if closing else None
    except orjson.JSONDecodeError:
        key = None
    if closing is None or not isinstance(key, str):
        raise BrokenTextError("a key that cannot be read", line, cursor.data[cursor.at : cursor.at + 200])
    cursor.advance(closing.end())
    if cursor.peek() != b":":
        raise BrokenTextError("a ':' is expected behind a key", cursor.line, cursor.data[cursor.at : cursor.at + 200])
    cursor.advance(cursor.at + 1)
    cursor.peek()
    return key


# A lone object, or several -----------------------------------


def _lone_objects(path: Path, options: ReadOptions, cursor: Cursor) -> Iterator[Record | BadRecord]:
    piece = cursor.take(alone=True)
    if piece.too_large:
        raise SourceError(
            f"{path}: holds one object of more than a record may have",
            allowed=f"an array; or {_choices(_arrays_of(path, options))}",
            hint="say which with `records` or `key`",
        )
    record = _record_of(piece)
    if isinstance(record, Record) and cursor.peek() != b"{":
        _refuse_doubt(path, record.row)
    yield record
    while cursor.peek() == b"{":
        yield _record_of(cursor.take(alone=True))


def _refuse_doubt(path: Path, row: dict[str, Any]) -> None:
    """Raise SourceError when an object may just as well hold records as be one."""
    arrays = _arrays_in(row)
    if row and all(isinstance(value, dict) for value in row.values()):
        what = "holds an object whose values are all objects"
    elif arrays:
        what = "holds an object with arrays of objects"
    else:
        return
    raise SourceError(
        f"{path}: {what}: the records are in doubt",
        allowed=_choices(arrays),
        hint="say `records` or `key`; if the object is one record, say `format: jsonl` and write it on one line",
    )


def _arrays_in(row: dict[str, Any]) -> list[str]:
    """Return the paths of arrays of objects, two levels deep."""
    paths = []
    for key, value in row.items():
        inner = {f"{key}.{name}": item for name, item in value.items()} if isinstance(value, dict) else {key: value}
        for name, item in inner.items():
            if isinstance(item, list) and item and all(isinstance(element, dict) for element in item):
                paths.append(name)
    return paths


def _arrays_of(path: Path, options: ReadOptions) -> list[str]:
    """Return the keys that hold arrays in an object that is too large to be loaded."""
    cursor = Cursor(utf8_blocks(path, options))
    cursor.peek()
    names: list[str] = []
    try:
        for key in _members(cursor):
            if cursor.peek() == b"[" and len(names) <= _MAX_NAMES:
                names.append(key)
            cursor.take(limit=0)
    except BrokenTextError:
        pass  # what was seen so far is good enough for a message
    return names


def _choices(arrays: list[str]) -> str:
    named = " or ".join(f"`records: {name}`" for name in arrays[:_MAX_NAMES])
    return f"{named or '`records: PATH`'} for an array inside, `key: COLUMN` for an object of records"


# Shared by all of them -----------------------------------


def _record_of(piece: Piece) -> Record | BadRecord:
    if piece.too_large:
        return too_large(piece.line, piece.raw)
    if not piece.raw.strip():
        return BadRecord(line=piece.line, code="read.json", message="no value before a comma or closing bracket")
    return read_record(piece.raw, piece.line)


def _goes_on(cursor: Cursor, closer: bytes) -> bool:
    """Pass over the comma behind a member and return True, or over the closing bracket and return False."""
    found = cursor.peek()
    if found not in (b",", closer):
        what = f"{found.decode(errors='replace')!r} stands" if found else "the file ends"
        reason = f"{what} where a ',' or '{closer.decode()}' is expected"
        raise BrokenTextError(reason, cursor.line, cursor.data[cursor.at : cursor.at + 200])
    cursor.advance(cursor.at + 1)
    cursor.peek()
    return found == b","


def _trailing(cursor: Cursor) -> Iterator[BadRecord]:
    """Yield one bad record when anything but white space follows."""
    if cursor.peek():
        excerpt = excerpt_of(cursor.data[cursor.at : cursor.at + 800])
        line, unread = cursor.line, cursor.rest()
        message = f"the document has ended, but the file goes on; what follows is not read: {unread:,} bytes"
        yield BadRecord(line=line, code="read.trailing", message=message, excerpt=excerpt, unread=unread)
