"""Annotation files of text: whatever the bytes, rows and bad records stand where they say, and agree with the stdlib.

An input:

    byte 0     how the file is called and declared: one of `SHAPES`
    byte 1     bits 0-4: the encoding, one of `ENCODINGS`; bits 5-6: the block size of the second reading; bit 7: the
               content is UTF-8 and is written in that encoding before it is read
    the rest   the content
"""

from __future__ import annotations

import atexit
import csv
import io
import json
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from unittest import mock

from pipeline.errors import SourceError
from pipeline.readers import text
from pipeline.readers.json_value import MAX_DEPTH
from pipeline.readers.read import read
from pipeline.readers.record import Batch, ReadOptions

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]

SHAPES: tuple[tuple[str, dict[str, Any]], ...] = (
    (".json", {}),
    (".jsonl", {}),
    (".csv", {}),
    (".tsv", {}),
    ("", {}),
    (".json", {"format": "json"}),
    (".jsonl", {"format": "jsonl"}),
    (".json", {"format": "json", "key": "k"}),
    (".json", {"format": "json", "records": "a"}),
    (".json", {"format": "json", "records": "a.b", "key": "k"}),
    (".csv", {"format": "csv", "delimiter": ","}),
    (".csv", {"format": "csv", "delimiter": ";", "quote": "'"}),
    (".csv", {"format": "csv", "delimiter": ",", "escape": "\\"}),
    (".csv", {"format": "csv", "delimiter": "|", "quote": None, "header": ("a", "b")}),
    (".csv", {"format": "csv", "header": ("a", "b")}),
    (".csv", {"format": "csv", "delimiter": "é", "quote": "'", "escape": "\\"}),
    (".tsv", {"format": "tsv"}),
)
ENCODINGS = (
    None,
    "utf-8",
    "utf-8-sig",
    "utf-16",
    "utf-16-le",
    "utf-16-be",
    "utf-32",
    "utf-32-le",
    "cp1252",
    "latin-1",
    "gb18030",
    "gbk",
    "shift_jis",
    "cp932",
    "big5",
    "euc_kr",
    "iso2022_jp",
    "hz",
    "utf-7",
    "cp437",
)
BLOCKS = (4, 5, 64, 997)  # four bytes hold any byte order mark, which the first block must
DICTIONARY = (
    *(b"{", b"}", b"[", b"]", b",", b":", b'""', b'\\"', b'{"a":', b'{"k":', b"},", b"[{", b"}]"),
    *(b"null", b"true", b"NaN", b"Infinity"),
    *(b"\\u003a", b"\\ud800", b"\\u0000", b"-0.0", b"1e999", b"18446744073709551616", b"9223372036854775808"),
    *(b"\r\n", b"\r", b"\n", b"\0", b'"a","b"\n', b'""', b"';'", b"\\\n", b"},\n{", b'\n  },\n  {\n    "a": '),
    *(b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff", b"\xff\xfe\0\0", b"\xe2\x80\xa8"),
    *(b"\xc3\xa9", b"\xed\xa0\x80", b"\x1b$B"),
)
GENERATED = (
    (5, 1, b'[\n  {\n    "a": 1\n  },\n  {\n    "a": [2, {"b": "},\\n{"}]\n  }\n]\n'),
    (6, 1, b'{"a": 1}\r\n\r\n{"a": 1.0} {"a": true}\n{"a": 1, "a": 2}\n[1]\n{"a": 123456789012345678901234567890}\n'),
    (7, 1, b'{"x": {"a": 1}, "y": {"k": "y"}, "z": {"k": 3}, "w": 5}'),
    (8, 1, b'{"info": [1, {"a": 2}], "a": [{"b": 1}, {"b": 2}], "more": null}'),
    (9, 1, b'{"a": {"b": {"x": {"c": "1:2"}}}}'),
    (5, 1, b'[{"a": 1}, {"a": NaN}, {"a": 1e999}, 5, {"a": "\\ud800"}, {"a": 1,}, {"a": 3}]'),
    (11, 1, b"a;b\n1;'x\ny'\n;''\n1;2;3\n"),
    (15, 1, "aéb\n'x\\'y'é2\n".encode()),
    (10, 0x80 | 4, "a,b\né,深\n".encode()),
    (6, 0x80 | 10, '{"a": "深い"}\n'.encode()),
    (13, 1, b'1|2\r3|4\r\n5|"\n'),
)

_FOLDER = Path(tempfile.mkdtemp(prefix="fuzz-readers-"))
atexit.register(shutil.rmtree, _FOLDER, ignore_errors=True)


class Found(NamedTuple):
    """What a reading of a file gives."""

    rows: list[dict[str, Any]]
    lines: list[int]
    bad: list[tuple[int, str]]


def seeds() -> Iterator[tuple[str, bytes]]:
    """Yield a name and an input for each real annotation file and for some made ones."""
    by_ending = {".json": 5, ".jsonl": 6, ".ndjson": 6, ".csv": 10, ".tsv": 16}
    for path in sorted((ROOT / "tests" / "data" / "annotations").rglob("*")):
        if path.suffix in by_ending and path.stat().st_size < 6_000:
            content = path.read_bytes()
            yield f"{path.parent.name}-{path.name}", bytes([by_ending[path.suffix], 1]) + content
            yield f"{path.parent.name}-{path.name}-detected", bytes([4 if path.suffix != ".csv" else 2, 0]) + content
    for number, (shape, how, content) in enumerate(GENERATED):
        yield f"made-{number}", bytes([shape, how]) + content


def check(data: bytes) -> None:
    """Read the content twice, in blocks of two sizes, and hold what comes out against an oracle."""
    if len(data) < 2:
        return
    ending, declared = SHAPES[data[0] % len(SHAPES)]
    encoding = ENCODINGS[(data[1] & 31) % len(ENCODINGS)]
    content = data[2:]
    if data[1] & 0x80:
        content = content.decode("utf-8", "ignore").encode(encoding or "utf-8", "ignore")
    options = ReadOptions(encoding=encoding, **declared)
    path = _FOLDER / f"file{ending}"
    path.write_bytes(content)
    try:
        found = _read(path, options)
    except SourceError as error:
        assert str(error).strip()
        found = None
    utf8 = _utf8(path, options)
    if found is not None:
        assert utf8 is not None, "a file was read whose text cannot be decoded"
        _check_shape(found, utf8, csv_lines=options.format in ("csv", "tsv") or ending in (".csv", ".tsv"))
    if utf8 is None:
        return
    _check_text(content, options, utf8)
    if options.format is not None and (encoding is not None or _decoded(content, "utf-8") is not None):
        _check_blocks(path, options, found, BLOCKS[(data[1] >> 5) & 3])
    if options.format == "jsonl":
        _check_json_lines(found, utf8)
    elif options.format == "json":
        _check_json(found, utf8, options)
    elif options.format == "csv" and options.delimiter is not None:
        _check_csv(found, utf8, options)
    if found is not None:
        _check_written_again(found.rows)


def _read(path: Path, options: ReadOptions) -> Found:
    found = Found([], [], [])
    for part in read(path, options):
        if isinstance(part, Batch):
            assert len(part.rows) == len(part.lines) > 0
            found.rows.extend(part.rows)
            found.lines.extend(part.lines)
        else:
            assert part.code.startswith("read.")
            assert part.message
            assert len(part.excerpt) <= 200
            assert part.excerpt.isprintable()
            found.bad.append((part.line, part.code))
    return found


def _utf8(path: Path, options: ReadOptions) -> bytes | None:
    try:
        return b"".join(text.utf8_blocks(path, options))
    except SourceError:
        return None


def _decoded(content: bytes, codec: str) -> str | None:
    try:
        return content.decode(codec)
    except UnicodeError:
        return None


def _check_shape(found: Found, utf8: bytes, *, csv_lines: bool) -> None:
    """Lines ascend and lie within the file; keys and values are of the kinds that are promised."""
    last = utf8.count(b"\n") + (utf8.count(b"\r") if csv_lines else 0) + 1
    bad_lines = [line for line, _ in found.bad]
    assert found.lines == sorted(found.lines), "lines of records do not ascend"
    assert bad_lines == sorted(bad_lines), "lines of bad records do not ascend"
    assert all(1 <= line <= last for line in [*found.lines, *bad_lines]), "a line that the file does not have"
    for row in found.rows:
        _check_value(row)


def _check_value(value: Any) -> None:
    kind = type(value)
    assert kind in (dict, list, str, int, float, bool, type(None)), kind
    if kind is dict:
        for key, item in value.items():
            assert type(key) is str
            _check_value(item)
    elif kind is list:
        for item in value:
            _check_value(item)
    elif kind is float:
        assert value - value == 0, "infinity or not a number"
    elif kind is str:
        value.encode()  # no half of a surrogate pair


def _check_text(content: bytes, options: ReadOptions, utf8: bytes) -> None:
    """Text that the codec decodes arrives as that text, without its byte order mark."""
    whole = _decoded(content, options.encoding or "utf-8")
    if whole is not None and not content.startswith((b"\xff\xfe", b"\xfe\xff", b"\0\0\xfe\xff")):
        texts = (whole, whole.removeprefix("\ufeff"))
        assert utf8 in [each.encode("utf-8", "surrogatepass") for each in texts], "another text than the codec's"


def _check_blocks(path: Path, options: ReadOptions, found: Found | None, block_bytes: int) -> None:
    """The borders of the blocks that a file is read in do not show."""
    with mock.patch.object(text, "BLOCK_BYTES", block_bytes):
        try:
            again = _read(path, options)
        except SourceError:
            again = None
    assert repr(again) == repr(found), f"blocks of {block_bytes} bytes give something else: {again} for {found}"


# JSON, as the standard library sees it -----------------------------------


class _Refused:
    """Stands for a value that JSON does not have, or that a float or a dict cannot hold."""


_BAD = _Refused()


def _pairs(pairs: list[tuple[str, Any]]) -> Any:
    if any(value is _BAD for _, value in pairs):
        return _BAD
    members: dict[str, Any] = {}
    for key, value in pairs:
        if key in members and json.dumps(members[key], sort_keys=True) != json.dumps(value, sort_keys=True):
            return _BAD
        members[key] = value
    return members


def _float(digits: str) -> Any:
    number = float(digits)
    return number if number - number == 0 else _BAD


def _int(digits: str) -> Any:
    return int(digits) if len(digits.lstrip("-")) <= 4300 else _BAD


_DECODER = json.JSONDecoder(object_pairs_hook=_pairs, parse_constant=lambda _: _BAD, parse_float=_float, parse_int=_int)


def _is_record(value: Any) -> bool:
    """Tell whether a value is an object, and holds nothing that makes a bad record of it."""
    pending = [(value, 1)]
    while pending:
        item, depth = pending.pop()
        if item is _BAD:
            return False
        if isinstance(item, dict | list):
            if depth > MAX_DEPTH:
                return False
            pending.extend((inner, depth + 1) for inner in (item.values() if isinstance(item, dict) else item))
        strings = item if isinstance(item, dict) else (item,) if isinstance(item, str) else ()
        if any("\ud800" <= character <= "\udfff" for string in strings for character in string):
            return False
    return isinstance(value, dict)


class _NoOpinion(Exception):
    """The standard library cannot read this text either, so that nothing is expected of it."""


def _space(printed: str, at: int) -> int:
    while at < len(printed) and printed[at] in " \t\r\n":
        at += 1
    return at


def _value(printed: str, at: int) -> tuple[Any, int]:
    try:
        return _DECODER.raw_decode(printed, at)
    except (ValueError, RecursionError) as error:
        raise _NoOpinion from error


def _objects(printed: str) -> list[tuple[int, Any]]:
    """Return line and value of values that stand one after another."""
    found, at = [], _space(printed, 0)
    while at < len(printed):
        value, end = _value(printed, at)
        found.append((printed.count("\n", 0, at) + 1, value))
        at = _space(printed, end)
    return found


def _members(printed: str, at: int) -> tuple[list[tuple[str, int, Any]], int]:
    """Return key, place and value of each member of the array or object at a place, and where it ends."""
    keyed, closer = printed[at] == "{", "}" if printed[at] == "{" else "]"
    found: list[tuple[str, int, Any]] = []
    at = _space(printed, at + 1)
    while printed[at : at + 1] != closer:
        key = ""
        if keyed:
            key, at = _value(printed, at)
            at = _space(printed, at)
            if not isinstance(key, str) or printed[at : at + 1] != ":" or not key.isascii():
                raise _NoOpinion
            at = _space(printed, at + 1)
        value, end = _value(printed, at)
        found.append((key, at, value))
        at = _space(printed, end)
        if printed[at : at + 1] == ",":
            at = _space(printed, at + 1)
            if printed[at : at + 1] == closer:
                raise _NoOpinion
        elif printed[at : at + 1] != closer:
            raise _NoOpinion
    return found, at + 1


def _expected_json(printed: str, options: ReadOptions) -> Found:
    """Return what a JSON document should give; raise _NoOpinion for a broken or doubtful one."""
    at = _space(printed, 0)
    _, end = _value(printed, at)
    if printed[at : at + 1] not in ("{", "["):
        raise _NoOpinion
    if options.records is None and options.key is None and printed[at] == "{":
        return _split(_objects(printed))
    if _space(printed, end) != len(printed):
        raise _NoOpinion
    for step in (options.records or "").split(".") if options.records else ():
        if printed[at] != "{":
            raise _NoOpinion
        places = [place for key, place, _ in _members(printed, at)[0] if key == step]
        if len(places) != 1 or printed[places[0]] not in "{[":
            raise _NoOpinion
        (at,) = places
    if (printed[at] == "{") != (options.key is not None):
        raise _NoOpinion
    values = []
    for key, place, value in _members(printed, at)[0]:
        record = value
        if options.key is not None and isinstance(value, dict) and _is_record(value):
            record = value if options.key in value else {options.key: key, **value}
            record = record if record[options.key] == key else _BAD
        values.append((printed.count("\n", 0, place) + 1, record))
    return _split(values)


def _split(values: list[tuple[int, Any]]) -> Found:
    found = Found([], [], [])
    for line, value in values:
        if _is_record(value):
            found.rows.append(value)
            found.lines.append(line)
        else:
            found.bad.append((line, ""))
    return found


def _same(found: Found, expected: Found) -> None:
    assert repr(found.rows) == repr(expected.rows), f"rows {found.rows} where {expected.rows} stand"
    assert found.lines == expected.lines, f"lines {found.lines} where rows stand on {expected.lines}"
    assert [line for line, _ in found.bad] == [line for line, _ in expected.bad], f"{found.bad} for {expected.bad}"


def _check_json_lines(found: Found | None, utf8: bytes) -> None:
    """Each line that is not blank gives its objects, or one bad record."""
    assert found is not None, "JSON Lines are never refused once they are decoded"
    expected = Found([], [], [])
    for number, line in enumerate(utf8.split(b"\n"), start=1):
        if not line.strip(b" \t\r"):
            continue
        printed = _decoded(line, "utf-8")
        try:
            values = _objects(printed) if printed is not None else []
        except _NoOpinion:
            values = []
        if values and all(_is_record(value) for _, value in values):
            expected.rows.extend(value for _, value in values)
            expected.lines.extend([number] * len(values))
        else:
            expected.bad.append((number, ""))
    _same(found, expected)


def _check_json(found: Found | None, utf8: bytes, options: ReadOptions) -> None:
    """A valid document gives what the standard library reads; a broken one makes up no record."""
    printed = _decoded(utf8, "utf-8")
    try:
        if printed is None:
            raise _NoOpinion
        expected = _expected_json(printed, options)
    except _NoOpinion:
        if found is not None:
            _check_nothing_made_up(found, utf8.decode("utf-8", "replace"), options)
        return
    if found is None:
        lone = options.records is None and options.key is None and printed.lstrip(" \t\r\n").startswith("{")
        assert lone, "a valid document was refused"
        return
    _same(found, expected)


def _check_nothing_made_up(found: Found, printed: str, options: ReadOptions) -> None:
    starts = [0]
    for content in printed.split("\n"):
        starts.append(starts[-1] + len(content) + 1)
    seen: dict[int, set[str]] = {}
    for row, line in zip(found.rows, found.lines, strict=True):
        if line not in seen:
            seen[line] = set()
            for at in range(starts[line - 1], starts[line]):
                if printed[at : at + 1] == "{":
                    try:
                        seen[line].add(repr(_DECODER.raw_decode(printed, at)[0]))
                    except (ValueError, RecursionError):
                        continue
        without = {key: value for key, value in row.items() if key != options.key}
        assert repr(row) in seen[line] or repr(without) in seen[line], f"{row} does not stand on line {line}"


# CSV, as the standard library sees it -----------------------------------


def _check_csv(found: Found | None, utf8: bytes, options: ReadOptions) -> None:
    """A file that the csv module reads strictly gives the same cells on the same lines."""
    printed = _decoded(utf8, "utf-8")
    if printed is None or "\0" in printed or found is None or options.delimiter is None:
        return
    reader = csv.reader(
        io.StringIO(printed, newline=""),
        delimiter=options.delimiter,
        quotechar=options.quote,
        quoting=csv.QUOTE_NONE if options.quote is None else csv.QUOTE_MINIMAL,
        escapechar=options.escape,
        doublequote=options.escape is None,
        strict=True,
    )
    table: list[tuple[int, list[str]]] = []
    try:
        while True:
            line = reader.line_num + 1
            cells = next(reader)
            if cells:
                table.append((line, cells))
    except StopIteration:
        pass
    except csv.Error:
        return
    header = list(options.header) if isinstance(options.header, tuple) else table.pop(0)[1]
    expected = Found([], [], [])
    for line, cells in table:
        if len(cells) == len(header):
            expected.rows.append(dict(zip(header, cells, strict=True)))
            expected.lines.append(line)
        else:
            expected.bad.append((line, ""))
    _same(found, expected)


# One way and another -----------------------------------


def _check_written_again(rows: list[dict[str, Any]]) -> None:
    """Rows that were read, written as JSON Lines and as a printed array, are read back with every value as it was."""
    if not rows:
        return
    lines, array = _FOLDER / "again.jsonl", _FOLDER / "again.json"
    lines.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    array.write_text(json.dumps(rows, indent=1), encoding="utf-8")
    for path, kind in ((lines, "jsonl"), (array, "json")):
        again = _read(path, ReadOptions(format=kind))
        assert again.bad == []
        assert repr(again.rows) == repr(rows), f"{again.rows} as {kind} for {rows}"
