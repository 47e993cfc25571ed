"""Numbers read out of generated texts: by name, or as a plain list."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_NUMBER = re.compile(r"(?<![A-Za-z_\d.])[-+\u2212]?\d+(?:\.\d+)?(?![A-Za-z_\d]|\.\d)")
"""A number that is no part of a Latin word or a version; digits of all scripts are digits, and 3分 is a 3."""
_SCALE = re.compile(r"\s*(?:/|out of|of)\s*\d+(?:\.\d+)?", re.IGNORECASE)
"""What follows a number of a scale: `3/4`, `3 out of 4`."""
_RANGE = re.compile(r"\s*(?:-|\u2013|\u2014|~|to|or|\u81f3|\u5230)\s*[-+\u2212]?\d", re.IGNORECASE)
"""What follows a number that is only one end: `2-3`, `2 to 3`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """What was read out of a text."""

    values: dict[str, float] = field(default_factory=dict)
    """By name; of a plain list by `1`, `2` and so on."""
    problems: list[str] = field(default_factory=list)
    """Names without a number, and why."""


def numbers_in(text: str, names: Sequence[str], allowed: tuple[float, float] | None, *, of_list: int = 0) -> Read:
    """Read the numbers of a text.

    Where a name stands in the text, its number is the first behind it, with no other name between; case does not
    count, and blanks, `_` and `-` are one. What is said twice must be the same number: who says 2 and then 3 has said
    nothing. A text without any of the names is a list, and must hold exactly as many numbers as there are names
    (`of_list` where there are none). The scale of `3/4` is no number, and `2-3` is none either.
    """
    found = _named(text, names) if names else {}
    if names and any(found.values()):
        said = {name: found.get(name, []) for name in names}
    else:
        values_listed = listed(text)
        wanted = list(names) or [str(place + 1) for place in range(of_list)]
        if len(values_listed) != len(wanted):
            return Read(problems=[f"{len(values_listed)} numbers, and not {len(wanted)}"])
        said = {name: [value] for name, value in zip(wanted, values_listed, strict=True)}
    read = Read()
    for name, values in said.items():
        problem = _problem(values, allowed)
        if problem:
            read.problems.append(f"{name}: {problem}")
        elif values[0] is not None:
            read.values[name] = values[0]
    return read


def _problem(values: list[float | None], allowed: tuple[float, float] | None) -> str:
    if not values:
        return "no number"
    if None in values:
        return "two numbers for one"
    if len(set(values)) > 1:
        return "different numbers: " + ", ".join(f"{value:g}" for value in values[:5] if value is not None)
    value = values[0]
    if value is not None and not -_LARGEST < value < _LARGEST:
        return "a number without end"
    if value is not None and allowed is not None and not allowed[0] <= value <= allowed[1]:
        return f"{value:g} is not from {allowed[0]:g} to {allowed[1]:g}"
    return ""


_LARGEST = 1e15
"""Beyond it a float has no whole numbers; what says such a thing is stuck on a digit."""


def _named(text: str, names: Sequence[str]) -> dict[str, list[float | None]]:
    """Return name -> its numbers in the text, wherever it stands with one behind it; None: one end of a range."""
    parts = {name: r"[\s_-]+".join(map(re.escape, re.split(r"[\s_-]+", name.strip()))) for name in names}
    # the longest first, so that `quality` does not stand in `visual quality`
    ordered = sorted(names, key=len, reverse=True)
    patterns = [rf"(?P<n{place}>(?<![A-Za-z]){parts[name]}(?![A-Za-z]))" for place, name in enumerate(ordered)]
    one_of = re.compile("|".join(patterns), re.IGNORECASE)
    stands = [(match.start(), match.end(), ordered[int(str(match.lastgroup)[1:])]) for match in one_of.finditer(text)]
    said: dict[str, list[float | None]] = {}
    for place, (_, end, name) in enumerate(stands):
        until = stands[place + 1][0] if place + 1 < len(stands) else len(text)
        values = listed(text[end:until], most=1)
        if values:
            said.setdefault(name, []).append(values[0])
    return said


def listed(text: str, *, most: int = 0) -> list[float | None]:
    """Return the numbers of a text in order; None: one end of a range."""
    values: list[float | None] = []
    place = 0
    while (match := _NUMBER.search(text, place)) and not 0 < most <= len(values):
        place = match.end()
        if scale := _SCALE.match(text, place):
            place = scale.end()
        if _RANGE.match(text, place):
            values.append(None)
            end = _NUMBER.search(text, place)
            place = end.end() if end else len(text)
        else:
            values.append(float(match.group().replace("\u2212", "-")))
    return values
