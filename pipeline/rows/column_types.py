"""The columns of shards as conversations see them: their types."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa

from pipeline.checks.columns import features_of
from pipeline.checks.value_hashes import is_list
from pipeline.column_type import ClassLabel, ColumnType, Json, ListOf, Media, Scalar, Struct

if TYPE_CHECKING:
    from pipeline.checks.media_sources import Source

_NUMBERS = {"float": "float32", "double": "float64", "halffloat": "float32"}


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
