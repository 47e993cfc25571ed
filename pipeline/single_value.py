"""Single values: a raw one to a plain type, a text to what `parse` says; exactly, or with a reason why not."""

from __future__ import annotations

import json
import math
import re
import struct
from typing import TYPE_CHECKING, Any

from pipeline.errors import RowRejected

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipeline.recipe_spec import FieldSpec

INTEGER = re.compile(r"(?:0|-?[1-9][0-9]*)\Z")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?\Z")
_LARGEST_FLOAT32 = 3.4028235677973366e38
"""From here on a number is rounded to infinity: halfway between the largest float32 and the next one."""
_PLUS = re.compile(r"\+[^+-]")
_DIGITS = re.compile(r"-?[0-9]+\Z")
_DECIMAL = re.compile(r"-?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?\Z")
_MAX_DIGITS = 4_000
"""Python itself reads no text of more than 4,300 digits."""
PYTHON_TYPES: dict[str, type] = {"string": str, "bool": bool, "binary": bytes}
_KINDS = {
    str: "a text",
    int: "an integer",
    float: "a float",
    bool: "a bool",
    bytes: "bytes",
    list: "a list",
    dict: "a mapping",
    type(None): "null",
}
BLANKS = " \t\r\n"
"""What may stand around a number; Python's own `strip` takes control characters too."""
_WORDS = {"true": True, "false": False}


def shown(value: Any) -> str:
    """Write a value for a message: as Python would, cut to 80 characters."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # an integer of more than 4,300 digits; lists a thousand deep
        text = f"a number of {value.bit_length():,} bits" if isinstance(value, int) else f"a {type(value).__name__}"
    return text if len(text) <= 80 else f"{text[:77]}…"


def kind_of(value: Any) -> str:
    """Say in words what a value is: a text, an integer, null."""
    return _KINDS.get(type(value), f"a {type(value).__name__}")


def overflows(values: Sequence[float | None]) -> bool:
    """Tell whether any of these numbers becomes infinite as a float32."""
    return any(value is not None and abs(value) >= _LARGEST_FLOAT32 and math.isfinite(value) for value in values)


def type_error(name: str, value: Any, wanted: str) -> RowRejected:
    """Say that a value is of another type than wanted."""
    return RowRejected("schema.type", f"{name} is {shown(value)}, {kind_of(value)}, not {wanted}")


def scalar_value(value: Any, dtype: str, name: str, *, untyped: bool) -> Any:
    """Bring a value to a plain type; None for a blank cell of a format without types. Raises RowRejected."""
    if dtype == "string":
        if not isinstance(value, str):
            raise type_error(name, value, "a text")
        try:
            value.encode()
        except UnicodeEncodeError:
            raise RowRejected("schema.text", f"{name} holds half of a surrogate pair, which is no character") from None
        return value
    if untyped and isinstance(value, str) and dtype != "binary":
        value = _from_untyped(value, dtype, name)
        if value is None:
            return None
    if dtype in PYTHON_TYPES:
        if type(value) is not PYTHON_TYPES[dtype]:
            raise type_error(name, value, f"a {dtype}")
        return value
    if dtype.startswith("float"):
        return _float(value, dtype, name)
    if type(value) is not int:
        raise type_error(name, value, f"an integer ({dtype})")
    bits = int(dtype.removeprefix("u").removeprefix("int"))
    low, high = (0, 2**bits - 1) if dtype.startswith("u") else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    if not low <= value <= high:
        raise RowRejected("schema.range", f"{name} is {shown(value)}; an {dtype} holds {low} to {high}")
    return value


def _float(value: Any, dtype: str, name: str) -> float:
    if type(value) is int:
        number = _exact_float(value, dtype)
        if number is None:
            raise RowRejected("schema.range", f"{name} is {shown(value)}, which a {dtype} cannot hold exactly")
        return number
    if type(value) is not float:
        raise type_error(name, value, f"a number ({dtype})")
    if dtype == "float32" and overflows([value]):
        raise RowRejected("schema.range", f"{name} is {shown(value)}, which is too large for a float32")
    return value


def _exact_float(value: int, dtype: str) -> float | None:
    """Return the float that is exactly this integer, or None."""
    try:
        number = float(value)
        if dtype == "float32":
            number = struct.unpack("<f", struct.pack("<f", number))[0]
    except OverflowError:
        return None
    return number if number == value else None


def _from_untyped(value: str, dtype: str, name: str) -> Any:
    """Read the text of a CSV cell as the schema's type: canonical numbers only, so that "007" is no number."""
    text = value.strip(BLANKS)
    if not text:
        return None
    if dtype == "bool":
        if text.lower() in _WORDS:
            return _WORDS[text.lower()]
        raise RowRejected("schema.type", f"{name} is {shown(value)}; a bool is true or false")
    if len(text) > _MAX_DIGITS:
        raise RowRejected("schema.type", f"{name} is {shown(value)}, too long for a number")
    if dtype.startswith("float"):
        if INTEGER.match(text):
            return int(text)
        if _NUMBER.match(text) and math.isfinite(float(text)):
            return float(text)
        raise RowRejected("schema.type", f"{name} is {shown(value)}, not a plain number; `parse: number` reads others")
    if INTEGER.match(text):
        return int(text)
    raise RowRejected("schema.type", f"{name} is {shown(value)}, not a plain integer; `parse: integer` reads others")


def json_text(value: Any, name: str) -> str:
    """Write a value as JSON text. Raises RowRejected when JSON cannot hold it."""
    try:
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        text.encode()
        if not _json_keys_are_texts(value):
            raise TypeError("a key is no text")
    except UnicodeEncodeError:
        raise RowRejected("schema.text", f"{name} holds half of a surrogate pair, which is no character") from None
    except (TypeError, ValueError, RecursionError) as error:
        raise RowRejected("schema.json", f"{name} cannot be written as JSON: {error}") from None
    return text


def _json_keys_are_texts(value: Any) -> bool:
    if isinstance(value, dict):
        return all(isinstance(key, str) and _json_keys_are_texts(item) for key, item in value.items())
    return not isinstance(value, list | tuple) or all(map(_json_keys_are_texts, value))


def _one_value_a_key(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make an object whose keys have one value each; the same one twice is one."""
    members = dict(pairs)
    if len(members) < len(pairs) and len({(key, json.dumps(v, sort_keys=True)) for key, v in pairs}) > len(members):
        raise ValueError("one key has two values")
    return members


def parsed_text(value: str, field: FieldSpec) -> Any:
    """Read a text as `parse` says; a blank one is null.

    Raises:
        RowRejected: the text is something else.
    """
    text = value.strip(BLANKS)
    if not text:
        return None
    match field.parse:
        case "list":
            return [piece.strip() for piece in text.split(field.separator)]
        case "json":
            try:
                return json.loads(
                    text, parse_constant=_no_constant, parse_float=_finite, object_pairs_hook=_one_value_a_key
                )
            except (ValueError, RecursionError) as error:
                raise RowRejected("parse.json", f"{shown(value)} is not JSON: {error}") from None
        case "boolean":
            if text.lower() in _WORDS:
                return _WORDS[text.lower()]
            raise RowRejected("parse.boolean", f"{shown(value)} is neither true nor false")
        case "integer" | "number":
            return _parse_number(text, field)
        case _:
            return value


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{shown(text)} is larger than any float")
    return number


def _parse_number(text: str, field: FieldSpec) -> int | float:
    plain = text[1:] if _PLUS.match(text) else text
    if field.thousands is not None:
        head, mark, tail = plain.partition(field.decimal)
        if field.thousands in head:
            groups = head.removeprefix("-").split(field.thousands)
            if not 1 <= len(groups[0]) <= 3 or any(len(group) != 3 for group in groups[1:]):
                raise RowRejected(f"parse.{field.parse}", f"{shown(text)} has its thousands marks in odd places")
            head = head.replace(field.thousands, "")
        plain = head + mark + tail
    if field.decimal != ".":
        if "." in plain:
            raise RowRejected(
                f"parse.{field.parse}", f"{shown(text)} has a point, but the decimal mark is {field.decimal!r}"
            )
        plain = plain.replace(field.decimal, ".")
    integer = _DIGITS.match(plain) is not None and len(plain) <= _MAX_DIGITS
    if integer:
        return int(plain)
    if field.parse == "number" and _DECIMAL.match(plain):
        number = float(plain)
        if math.isfinite(number):
            return number
    raise RowRejected(f"parse.{field.parse}", f"{shown(text)} is no {field.parse}")
