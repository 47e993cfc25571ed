"""Labels in values: numbers that know their names, as conversations write them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from pipeline.column_type import ClassLabel, ColumnType, ListOf, Struct

if TYPE_CHECKING:
    from collections.abc import Callable

_OF_NUMBERS = tuple("bcdeEfFgGnoxX%")
"""What formats of numbers end with."""


class Label(int):
    """A number that stands for a name, and is written as that name; otherwise it is a number."""

    name: str

    def __new__(cls, number: int, names: tuple[str, ...]) -> Self:
        """Give a number its name; one that has none is written as it is."""
        label = super().__new__(cls, number)
        label.name = names[number] if 0 <= number < len(names) else int.__repr__(label)
        return label

    def __str__(self) -> str:
        return self.name

    def __format__(self, spec: str) -> str:
        return int.__format__(self, spec) if spec[-1:] in _OF_NUMBERS else format(self.name, spec)


def labelling(kind: ColumnType | None) -> Callable[[Any], Any] | None:
    """Return what gives the labels in values of a type their names, or None where there are none."""
    match kind:
        case ClassLabel(names):
            return lambda value: Label(value, names) if isinstance(value, int) else value
        case ListOf(item) if (inner := labelling(item)) is not None:
            return lambda values: values if values is None else [inner(value) for value in values]
        case Struct(fields):
            known = {name: label for name, item in fields if (label := labelling(item)) is not None}
            return (lambda value: _labelled(value, known)) if known else None
    return None


def _labelled(value: Any, known: dict[str, Callable[[Any], Any]]) -> Any:
    if not isinstance(value, dict):
        return value
    return {name: known[name](item) if name in known else item for name, item in value.items()}
