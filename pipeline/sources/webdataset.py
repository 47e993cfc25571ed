"""WebDataset: tars in which the members of one name, up to its first dot, are one sample.

    0001.jpg, 0001.json, 0001.txt        one sample, `0001`, with the fields jpg, json and txt
    a/0001.left.png                      of the sample `a/0001`, the field `left.png`

What a field becomes in the record, by its last ending:

    txt text transcript                          its text
    cls cls2 class count index inx id            an integer
    json jsn                                     its value; the keys of an object under `json` become the record's own
    any other                                    the path of the member below the source, `NAME.tar/0001.jpg`

These are the endings that the webdataset library decodes without an option; nothing is unpickled. A member without
ending belongs to no sample. Samples stand in the order of their first members.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import orjson

from pipeline.errors import SourceError
from pipeline.printable import escaped
from pipeline.readers.record import MAX_RECORD_BYTES
from pipeline.sources.listing import bad_line, record_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

KEY = "__key__"
"""The column of a sample's name, as `datasets` calls it."""
_TEXTS = frozenset({"txt", "text", "transcript"})
_INTEGERS = frozenset({"cls", "cls2", "class", "count", "index", "inx", "id"})
_JSON = frozenset({"json", "jsn"})
_MERGED = "json"


_BRACES = re.compile(r"\{(?:(?P<first>[0-9]{1,18})\.\.(?P<last>[0-9]{1,18})|(?P<words>[^{}]*,[^{}]*))\}", re.ASCII)
MAX_SHARDS = 100_000
"""Shards that one pattern with braces may stand for."""


class _BadSampleError(Exception):
    """Why a sample is no record."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, message


def shard_patterns(patterns: Iterable[str]) -> list[str]:
    """Return patterns with braces written out, as WebDataset has them: `{000000..000002}` and `{a,b}`.

    Raises:
        SourceError: they stand for more names than a source may have.
    """
    found: list[str] = []
    for pattern in patterns:
        waiting = [pattern]
        while waiting:
            text = waiting.pop()
            braces = _BRACES.search(text)
            if braces is None:
                found.append(text)
            else:
                waiting += [text[: braces.start()] + item + text[braces.end() :] for item in reversed(_items(braces))]
            if len(found) + len(waiting) > MAX_SHARDS:
                raise SourceError(
                    f"the pattern {pattern!r} stands for more than {MAX_SHARDS:,} files",
                    allowed=f"up to {MAX_SHARDS:,} shards",
                    hint="write `*` in place of the braces",
                )
    return found


def _items(braces: re.Match[str]) -> list[str]:
    first, last, words = braces.group("first", "last", "words")
    if words is not None:
        return words.split(",")
    width = max(len(first), len(last)) if "0" in (first[0], last[0]) else 0
    numbers = range(int(first), min(int(last), int(first) + MAX_SHARDS) + 1)
    return [str(number).zfill(width) for number in numbers]


def field_of(name: str) -> tuple[str, str] | None:
    """Return the sample and the field of a member, or None when it belongs to no sample."""
    folder, slash, base = name.rpartition("/")
    stem, _, field = base.partition(".")
    return (f"{folder}{slash}{stem}", field.lower()) if stem and field else None


def samples_listed(
    shard: str, names: Iterable[str], read: Callable[[str], bytes | None]
) -> tuple[int, Iterator[bytes]]:
    """Return how many members belong to no sample, and a line of a listing for each sample.

    `shard` is the tar's path below the source, `names` are its members in order; `read` gives the bytes of one, or None
    when there are more than a record may have.
    """
    samples: dict[str, dict[str, str]] = {}
    lost = 0
    for name in names:
        found = field_of(name)
        if found is None:
            lost += 1
        else:
            samples.setdefault(found[0], {})[found[1]] = name
    return lost, (_line(shard, key, fields, read) for key, fields in samples.items())


def _line(shard: str, key: str, fields: dict[str, str], read: Callable[[str], bytes | None]) -> bytes:
    values: dict[str, Any] = {KEY: key}
    more: list[bytes] = []
    try:
        for field, name in fields.items():
            kind = field.rpartition(".")[2]
            if kind not in _TEXTS | _INTEGERS | _JSON:
                values[field] = f"{shard}/{name}"
                continue
            data = read(name)
            if data is None:
                message = f"{escaped(name)!r} is longer than {MAX_RECORD_BYTES >> 20} MiB"
                raise _BadSampleError("read.too_large", message)
            if kind in _JSON:
                more.append(_json(field, name, data))
            else:
                values[field] = _text(name, data) if kind in _TEXTS else _integer(name, data)
    except _BadSampleError as error:
        return bad_line(error.code, error.message)
    return record_line(values, more=b",".join(piece for piece in more if piece))


def _text(name: str, data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise _BadSampleError(
            "read.encoding", f"{escaped(name)!r} is not UTF-8: byte 0x{data[error.start]:02x} at {error.start}"
        ) from None


def _integer(name: str, data: bytes) -> int:
    text = data.strip()
    if not text.removeprefix(b"-").isdigit() or len(text) > 19:
        raise _BadSampleError("read.integer", f"{escaped(name)!r} holds {escaped(repr(data[:60]))}, and no integer")
    return int(text)


def _json(field: str, name: str, data: bytes) -> bytes:
    """Return keys and values of an object, or the field and its value, as JSON on one line."""
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise _BadSampleError("read.json", f"{escaped(name)!r} is not JSON: {error}") from None
    # outside of strings, where no line may end, a line's end is white space
    raw = data.replace(b"\r", b" ").replace(b"\n", b" ").strip()
    if field == _MERGED and isinstance(value, dict):
        return raw[1:-1].strip()
    return orjson.dumps(field) + b":" + raw
