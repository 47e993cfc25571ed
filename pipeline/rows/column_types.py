"""The columns of shards as conversations see them: their types, and labels that know their names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import pyarrow as pa

from pipeline.checks.columns import features_of
from pipeline.checks.value_hashes import is_list
from pipeline.column_type import ClassLabel, ColumnType, Json, ListOf, Media, Scalar, Struct

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipeline.checks.media_sources import Source

_OF_NUMBERS = tuple("bcdeEfFgGnoxX%")
"""What formats of numbers end with."""
_NUMBERS = {"float": "float32", "double": "float64", "halffloat": "float32"}


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


def types_of(schema: pa.Schema, sources: list[Source]) -> dict[str, ColumnType | None]:
    """Return the type of each column; None: its texts are paths of media, and can be used as either."""
    features = features_of(schema) or {}
    types: dict[str, ColumnType | None] = {
        field.name: _type_of(field.type, features.get(field.name)) for field in schema
    }
    for source in sources:
        item = None if source.kind is None else Media(source.kind)
        types[source.name] = ListOf(item) if source.is_list and item is not None else item
    return types


def _type_of(kind: pa.DataType, feature: Any) -> ColumnType:
    if isinstance(kind, pa.JsonType):
        return Json()
    if isinstance(kind, pa.BaseExtensionType):
        kind = kind.storage_type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if is_list(kind):
        return ListOf(_type_of(kind.value_type, _item(feature)))
    if pa.types.is_struct(kind):
        inner = feature if isinstance(feature, dict) else {}
        return Struct(tuple((field.name, _type_of(field.type, inner.get(field.name))) for field in kind))
    if names := _names(feature):
        return ClassLabel(names)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or kind == pa.string_view():
        return Scalar("string")
    return Scalar(_NUMBERS.get(str(kind), str(kind)))


def _item(feature: Any) -> Any:
    if isinstance(feature, list):
        return feature[0] if len(feature) == 1 else None
    if isinstance(feature, dict):
        return feature.get("feature", feature)
    return None


def _names(feature: Any) -> tuple[str, ...]:
    if isinstance(feature, dict) and feature.get("_type") == "ClassLabel":
        names = feature.get("names")
        return tuple(map(str, names)) if isinstance(names, list) else ()
    return ()


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
