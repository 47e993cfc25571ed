"""One JSON record, parsed exactly.

orjson does the work, but it turns integers beyond 64 bit into floats and keeps the last of duplicate keys without a
word. Both leave a trace that costs little to look for:

    an integer beyond 64 bit    becomes a float of at least 2**63
    a duplicate key             takes a colon away: each colon of the text is either behind a key or inside a string, so
                                colons in the text = keys + colons in keys and values, unless something was dropped

A record with such a trace is parsed again by the standard library, which tells what it was.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any

import orjson

from pipeline.readers.record import BadRecord, Record, excerpt_of

MAX_DEPTH = 128
"""Objects and arrays inside each other at the most, the record itself included."""

_FIRST_INEXACT = float(1 << 63)
# More than any text has colons: a value that must be looked at again never comes out equal.
_LOOK_AGAIN = 1 << 62
# Four digits are left, so that an escape in front of them stays the same.
_LONG_NUMBER = re.compile(rb"([0-9]{4})[0-9]{296,}")
_NOT_A_NUMBER = re.compile(r"-?(?:NaN|Inf(?:inity)?|nan|inf)\b")


class BadValueError(Exception):
    """A JSON text that is not a record; carries a stable code and a message for people."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def read_record(raw: bytes, line: int) -> Record | BadRecord:
    """Return the record in a JSON text that starts on `line`, or what is wrong with it."""
    try:
        return Record(line=line, row=parse_record(raw, line), size=len(raw))
    except BadValueError as bad:
        return BadRecord(line=line, code=bad.code, message=bad.message, excerpt=excerpt_of(raw))


def parse_record(raw: bytes, line: int = 1) -> dict[str, Any]:
    """Return the object that a UTF-8 JSON text holds, with every integer exact.

    Raises BadValueError with code read.json, read.encoding, read.not_object or read.duplicate_key; `line` is where the
    text starts in its file, for the message.
    """
    try:
        value: Any = orjson.loads(raw)
        exact = True
    except orjson.JSONDecodeError as error:
        value = _without_long_numbers(raw)
        exact = False
        if value is None:
            raise _explained(raw, line, error) from None
    if type(value) is not dict:
        raise BadValueError("read.not_object", f"a record must be a JSON object, not {json_type(value)}")
    record: dict[str, Any] = value
    exact = _colons(record, MAX_DEPTH) == raw.count(b":") and exact
    # A colon written as an escape is in the value but not in the text.
    if not exact or (b"\\" in raw and b"\\u003" in raw):
        record = _parse_again(raw)
    return record


def json_type(value: Any) -> str:
    """Return what JSON calls a value, with its article."""
    if value is None:
        return "null"
    names = {dict: "an object", list: "an array", str: "a string", bool: "a boolean"}
    return names.get(type(value), "a number")


def _colons(value: dict[str, Any] | list[Any], depth: int) -> int:
    """Count the keys, and the colons in keys and strings; a number that may be inexact spoils the count."""
    if depth == 0:
        raise BadValueError("read.json", f"nested deeper than {MAX_DEPTH} levels")
    count = 0
    values: Any = value
    if type(value) is dict:
        count = len(value)
        for key in value:
            if ":" in key:
                count += key.count(":")
        values = value.values()
    for item in values:
        kind = type(item)
        if kind is str:
            if ":" in item:
                count += item.count(":")
        elif kind is dict or kind is list:
            count += _colons(item, depth - 1)
        elif kind is float and not -_FIRST_INEXACT < item < _FIRST_INEXACT:
            count += _LOOK_AGAIN
    return count


def _without_long_numbers(raw: bytes) -> Any:
    """Return the value of a text whose only fault are numbers too long for a float, those cut; None if it has others.

    An integer of 309 digits and more is infinite to orjson.
    """
    shorter = _LONG_NUMBER.sub(rb"\1", raw)
    if len(shorter) == len(raw):
        return None
    try:
        return orjson.loads(shorter)
    except orjson.JSONDecodeError:
        return None


def _parse_again(raw: bytes) -> dict[str, Any]:
    """Parse with the standard library what orjson has accepted (but for long numbers), and see what it does not say."""
    try:
        value: dict[str, Any] = json.loads(
            raw.decode(), object_pairs_hook=_without_duplicates, parse_int=_exact_int, parse_float=_finite
        )
    except json.JSONDecodeError as error:  # a long number with a zero in front
        raise BadValueError("read.json", f"{error.msg} (column {error.pos + 1})") from None
    except RecursionError:  # only in a value that orjson has dropped for a duplicate key
        raise BadValueError("read.json", f"nested deeper than {MAX_DEPTH} levels") from None
    return value


def _exact_int(digits: str) -> int:
    try:
        return int(digits)
    except ValueError:  # Python refuses thousands of digits, whose conversion takes quadratic time
        raise BadValueError("read.json", f"an integer of {len(digits)} digits") from None


def _finite(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise BadValueError("read.json", f"{digits[:20]}.. is infinity as a float")
    return number


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) == len(pairs):
        return members
    seen: dict[str, str] = {}
    for key, value in pairs:
        # As text, because Python calls 1, 1.0 and True equal.
        text = json.dumps(value, sort_keys=True)
        if seen.setdefault(key, text) != text:
            first, second = excerpt_of(seen[key])[:40], excerpt_of(text)[:40]
            raise BadValueError("read.duplicate_key", f"key {key!r} stands twice, with {first} and with {second}")
    return members


def _explained(raw: bytes, line: int, error: orjson.JSONDecodeError) -> BadValueError:
    try:
        text = raw.decode()
    except UnicodeDecodeError as invalid:
        place = line + raw.count(b"\n", 0, invalid.start)
        return BadValueError("read.encoding", f"byte 0x{raw[invalid.start]:02x} on line {place} is not valid text")
    number = _NOT_A_NUMBER.match(text, max(0, error.pos - 1)) or _NOT_A_NUMBER.match(text, error.pos)
    if number:
        return BadValueError("read.json", f"{number[0]} is not a JSON number (line {line + error.lineno - 1})")
    reason = error.msg
    if "surrogate" in reason:
        reason = "half of a surrogate pair in a string"
    return BadValueError("read.json", f"{reason} (line {line + error.lineno - 1}, column {error.colno})")
