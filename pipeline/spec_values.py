"""Values that many keys of a recipe share: counts, seeds, sizes in bytes, and numbers that may be whole ones."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import Field

from pipeline.document import shown

MB = 1_000_000
MAX_COUNT = 2**63 - 1
"""What a 64-bit integer holds: rows, bytes, pixels and seeds stay below it."""
_SIZE = re.compile(r"(?P<number>[0-9]{1,18}(?:\.[0-9]{1,6})?) ?(?P<unit>[kmgtp]i?b|b)?\Z", re.IGNORECASE)
_UNITS = {"b": 1} | {
    f"{letter}{middle}b": base**power
    for power, letter in enumerate("kmgtp", 1)
    for middle, base in (("", 1000), ("i", 1024))
}

Count = Annotated[int, Field(ge=1, le=MAX_COUNT)]
Seed = Annotated[int, Field(ge=0, le=MAX_COUNT)]


def as_list(value: Any) -> Any:
    """Take one text for a list of it."""
    return [value] if isinstance(value, str) else value


def byte_size(value: Any) -> Any:
    """Read `500MB` or a plain number of bytes."""
    match = _SIZE.match(value) if isinstance(value, str) else None
    if match:
        size = round(float(match["number"]) * _UNITS[(match["unit"] or "b").lower()])
    elif type(value) is int:
        size = value
    else:
        size = 0
    if not 1 <= size <= MAX_COUNT:
        raise ValueError(f"{shown(value)} is not a size; write a number of bytes, or e.g. 500MB, 2GB, 64MiB")
    return size


def as_float(value: Any) -> Any:
    """Take a whole number for a number; one too large for it is left to be refused."""
    return float(value) if type(value) is int and abs(value) <= MAX_COUNT else value
