"""What the values of a column are, seen one by one: the narrowest type that holds all of them and loses none.

Formats with types (JSON, Parquet) say what a value is. In CSV and TSV a text is a number only where it is written as
the build reads numbers (`007` is a text), and digits that a float would lose keep a column a text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from pipeline.errors import RowRejected
from pipeline.single_value import scalar_value

INT64 = (-(2**63), 2**63 - 1)
MAX_EXACT_DIGITS = 17
"""Digits of a number that a float64 still tells apart."""
MAX_EXACT_INTEGER = 2**53
MAX_DISTINCT = 50
"""Different texts of a column that are remembered."""
_DIGITS = re.compile(r"[0-9]+")
_UNTYPED = ("int64", "float64", "bool")
_NAMES = {
    str: "text",
    int: "integer",
    float: "float",
    bool: "bool",
    bytes: "bytes",
    list: "list",
    dict: "object",
}


@dataclass
class ColumnLook:
    """What was seen of a column."""

    name: str
    untyped: bool
    """Whether it comes from a format without types."""
    rows: int = 0
    """Rows that have the column."""
    nulls: int = 0
    """Rows in which it is null, or in a format without types blank."""
    characters: int = 0
    """Of all texts together."""
    distinct: dict[str, int] = field(default_factory=dict)
    """Different texts and how often each stands, as long as they are few."""
    many: bool = False
    """Whether there are more different texts than are remembered."""
    kinds: set[type] = field(default_factory=set)
    inside: set[type] = field(default_factory=set)
    """Types of the items of lists."""
    wide: bool = False
    """Whether an integer is outside of 64 bits, or not exactly a float."""
    possible: set[str] = field(default_factory=lambda: set(_UNTYPED))
    """Without types: what every value so far could be read as."""

    def see(self, value: Any) -> None:
        """Look at one value."""
        self.rows += 1
        if value is None or (self.untyped and isinstance(value, str) and not value.strip()):
            self.nulls += 1
            return
        kind = type(value)
        self.kinds.add(kind)
        if kind is str:
            self._see_text(value)
        elif kind is int:
            self.wide = self.wide or not INT64[0] <= value <= INT64[1]
            if abs(value) > MAX_EXACT_INTEGER:
                self.inside.add(int)  # no float holds it exactly
        elif kind is list:
            for item in value:
                self.inside.add(type(item))
                if type(item) is int and not INT64[0] <= item <= INT64[1]:
                    self.wide = True

    def _see_text(self, value: str) -> None:
        self.characters += len(value)
        if not self.many:
            self.distinct[value[:200]] = self.distinct.get(value[:200], 0) + 1
            self.many = len(self.distinct) > MAX_DISTINCT
            if self.many:
                self.distinct.clear()
        if self.untyped and self.possible:
            self.possible = {dtype for dtype in self.possible if _reads_as(value, dtype)}

    @property
    def names(self) -> str:
        """The types that were seen, for people."""
        return " and ".join(sorted(_NAMES.get(kind, kind.__name__) for kind in self.kinds))

    @property
    def is_odd(self) -> bool:
        """Tell whether it holds what no column type takes as it is: dates, decimals and the like."""
        return bool((self.kinds | self.inside) - set(_NAMES) - {type(None)})

    @property
    def is_mixed(self) -> bool:
        """Tell whether values of several types make it JSON."""
        return self.type == "json" and len(self.kinds) > 1

    @property
    def type(self) -> Any:
        """The type as a schema writes it."""
        if self.untyped:
            return next((dtype for dtype in _UNTYPED if self.kinds and dtype in self.possible), "string")
        if not self.kinds or self.kinds == {str} or self.is_odd:
            return "string"
        if self.kinds == {bool}:
            return "bool"
        if self.kinds == {int}:
            return "json" if self.wide else "int64"
        if self.kinds in ({float}, {int, float}):
            return "json" if self.wide or self.inside else "float64"
        if self.kinds == {bytes}:
            return "binary"
        if self.kinds == {list}:
            item = _item_type(self.inside - {type(None)}, wide=self.wide)
            return {"list": item} if item else "json"
        return "json"

    def nullable(self, rows: int) -> bool:
        """Tell whether some of so many rows have no value; a blank text of a format without types is a value."""
        if self.untyped and self.type == "string":
            return self.rows < rows
        return self.nulls > 0 or self.rows < rows


def _item_type(kinds: set[type], *, wide: bool) -> str | None:
    if kinds == {str} or not kinds:
        return "string"
    if kinds == {int} and not wide:
        return "int64"
    return "float64" if kinds == {float} else "bool" if kinds == {bool} else None


def _reads_as(text: str, dtype: str) -> bool:
    """Tell whether the build reads a cell as this type, with every digit of it."""
    if dtype == "float64" and sum(map(len, _DIGITS.findall(text.lower().partition("e")[0]))) > MAX_EXACT_DIGITS:
        return False
    try:
        return scalar_value(text, dtype, "", untyped=True) is not None
    except RowRejected:
        return False


@dataclass
class TableLook:
    """What was seen of the columns of some records, in the order in which they came."""

    untyped: bool
    columns: dict[str, ColumnLook] = field(default_factory=dict)
    rows: int = 0

    def see(self, row: dict[str, Any]) -> None:
        """Look at one record."""
        self.rows += 1
        for name, value in row.items():
            look = self.columns.get(name)
            if look is None:
                look = self.columns[name] = ColumnLook(name=name, untyped=self.untyped)
            look.see(value)
