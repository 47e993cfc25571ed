"""Column types: what a schema may say, and what it is in Arrow and in `datasets`.

The JSON and YAML forms follow `datasets.Features.to_dict` and `Features._to_yaml_list` (datasets 5.2), so that a
shard's footer and a card are the ones `datasets` itself would have written; a test holds them against it.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

SCALARS: dict[str, pa.DataType] = {
    "string": pa.string(),
    "bool": pa.bool_(),
    "int8": pa.int8(),
    "int16": pa.int16(),
    "int32": pa.int32(),
    "int64": pa.int64(),
    "uint8": pa.uint8(),
    "uint16": pa.uint16(),
    "uint32": pa.uint32(),
    "uint64": pa.uint64(),
    "float32": pa.float32(),
    "float64": pa.float64(),
    "binary": pa.binary(),
}
MEDIA_KINDS = ("image", "video")
MEDIA_STRUCT = pa.struct({"bytes": pa.binary(), "path": pa.string()})
"""How `datasets` stores an embedded image or video."""


@dataclass(frozen=True, slots=True)
class Scalar:
    """A plain value of an Arrow type."""

    dtype: str


@dataclass(frozen=True, slots=True)
class Media:
    """An image or a video."""

    kind: str


@dataclass(frozen=True, slots=True)
class ClassLabel:
    """A label out of a fixed list, stored as its number."""

    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Json:
    """Any JSON value, stored as JSON text; for data whose type varies from row to row."""


@dataclass(frozen=True, slots=True)
class ListOf:
    """A list of values of one type."""

    item: ColumnType


@dataclass(frozen=True, slots=True)
class Struct:
    """A mapping with fixed keys."""

    fields: tuple[tuple[str, ColumnType], ...]


ColumnType = Scalar | Media | ClassLabel | Json | ListOf | Struct


def parse_type(value: Any) -> ColumnType:
    """Read a type as a schema writes it: `string`, `{list: string}`, `{struct: {…}}`, `{class_label: […]}`.

    Raises:
        ValueError: what is wrong and what is allowed.
    """
    if isinstance(value, str):
        return _parse_name(value)
    if isinstance(value, dict) and len(value) == 1:
        (kind, inner), *_ = value.items()
        if kind == "list":
            return ListOf(parse_type(inner))
        if kind == "struct" and isinstance(inner, dict) and inner:
            fields = tuple((str(name), parse_type(item)) for name, item in inner.items())
            for name, item in fields:
                if media_kind(item):
                    raise ValueError(f"field {name!r}: an image or video stands in a column of its own, or in a list")
            return Struct(fields)
        if kind == "class_label" and isinstance(inner, list) and inner and all(isinstance(n, str) for n in inner):
            if len(set(inner)) != len(inner):
                raise ValueError("class_label has a name twice")
            return ClassLabel(tuple(inner))
    raise ValueError(
        f"{value!r} is not a type; allowed: {', '.join(_names())}, "
        "{list: TYPE}, {struct: {name: TYPE, …}}, {class_label: [name, …]}"
    )


def _names() -> list[str]:
    return [*SCALARS, *MEDIA_KINDS, "json"]


def _parse_name(name: str) -> ColumnType:
    if name in SCALARS:
        return Scalar(name)
    if name in MEDIA_KINDS:
        return Media(name)
    if name == "json":
        return Json()
    aliases = {"str": "string", "text": "string", "int": "int64", "float": "float64", "double": "float64"}
    near = aliases.get(name) or next(iter(difflib.get_close_matches(name, _names(), n=1)), None)
    hint = f"did you mean {near!r}?" if near else f"allowed: {', '.join(_names())}"
    raise ValueError(f"unknown type {name!r}; {hint}")


def media_kind(column: ColumnType) -> str | None:
    """Return image or video for a media column or a list of media, else None."""
    inner = column.item if isinstance(column, ListOf) else column
    return inner.kind if isinstance(inner, Media) else None


def arrow_type(column: ColumnType, *, embedded: bool = True) -> pa.DataType:
    """Return the Arrow type of a column in a shard; media that lie beside the shards are paths, so strings."""
    match column:
        case Scalar(dtype):
            return SCALARS[dtype]
        case Media():
            return MEDIA_STRUCT if embedded else pa.string()
        case ClassLabel():
            return pa.int64()
        case Json():
            return pa.json_()
        case ListOf(item):
            return pa.list_(arrow_type(item, embedded=embedded))
        case Struct(fields):
            return pa.struct([(name, arrow_type(item, embedded=embedded)) for name, item in fields])


def feature_json(column: ColumnType, *, embedded: bool = True) -> dict[str, Any]:
    """Return the column as `datasets` writes it into a Parquet footer."""
    match column:
        case Scalar(dtype):
            return {"dtype": dtype, "_type": "Value"}
        case Media(kind):
            return {"_type": kind.capitalize()} if embedded else {"dtype": "string", "_type": "Value"}
        case ClassLabel(names):
            return {"names": list(names), "_type": "ClassLabel"}
        case Json():
            return {"_type": "Json"}
        case ListOf(item):
            return {"feature": feature_json(item, embedded=embedded), "_type": "List"}
        case Struct(fields):
            return {name: feature_json(item, embedded=embedded) for name, item in fields}


def feature_yaml(column: ColumnType, *, embedded: bool = True) -> dict[str, Any]:
    """Return the column as `datasets` writes it into a card's `dataset_info.features`, without its name."""
    match column:
        case Scalar(dtype):
            return {"dtype": dtype}
        case Media(kind):
            return {"dtype": kind if embedded else "string"}
        case ClassLabel(names):
            return {"dtype": {"class_label": {"names": {str(number): name for number, name in enumerate(names)}}}}
        case Json():
            return {"dtype": "json"}
        case ListOf(item):
            inner = feature_yaml(item, embedded=embedded)
            if list(inner) == ["dtype"] and isinstance(inner["dtype"], str):
                return {"list": inner["dtype"]}
            if list(inner) == ["struct"]:
                return {"list": inner["struct"]}
            return {"list": inner}
        case Struct(fields):
            return {"struct": [{"name": name, **feature_yaml(item, embedded=embedded)} for name, item in fields]}
