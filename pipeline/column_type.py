"""Column types: what a schema may say, and what it is in Arrow and in `datasets`.

The JSON and YAML forms follow `datasets.Features.to_dict` and `Features._to_yaml_list` (datasets 5.2), so that a
shard's footer and a card are the ones `datasets` itself would have written; a test holds them against it.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import Any, Literal

import pyarrow as pa

from pipeline.document import shown

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

    kind: Literal["image", "video"]


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


class TypeMistake(ValueError):
    """A type that is none, with the place of the mistake inside of it."""

    def __init__(self, place: tuple[str | int, ...], message: str) -> None:
        super().__init__(message)
        self.place = place


def parse_type(value: Any) -> ColumnType:
    """Read a type as a schema writes it: `string`, `{list: string}`, `{struct: {…}}`, `{class_label: […]}`.

    Raises:
        TypeMistake: what is wrong and what is allowed.
    """
    return _parse(value, ())


def _parse(value: Any, place: tuple[str | int, ...]) -> ColumnType:
    if isinstance(value, str):
        return _parse_name(value, place)
    if not isinstance(value, dict) or len(value) != 1:
        raise TypeMistake(place, f"{shown(value)} is not a type; allowed: {_ALL}")
    ((kind, inner),) = value.items()
    here = (*place, kind)
    if kind == "list":
        return ListOf(_parse(inner, here))
    if kind == "struct":
        if not isinstance(inner, dict) or not inner:
            raise TypeMistake(here, f"{shown(inner)} are no fields; write {{struct: {{name: TYPE, …}}}}")
        if "_type" in inner:
            raise TypeMistake((*here, "_type"), "`datasets` keeps the field name '_type' for itself")
        return Struct(tuple((name, _parse(item, (*here, name))) for name, item in inner.items()))
    if kind == "class_label":
        return ClassLabel(_label_names(inner, here))
    near = difflib.get_close_matches(kind, ("list", "struct", "class_label"), n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"allowed: {_ALL}"
    raise TypeMistake(here, f"unknown type {kind!r}; {hint}")


def _label_names(names: Any, place: tuple[str | int, ...]) -> tuple[str, ...]:
    if not isinstance(names, list) or not names:
        raise TypeMistake(place, f"{shown(names)} is no list of names; write {{class_label: [name, …]}}")
    seen: set[str] = set()
    for position, name in enumerate(names):
        if not isinstance(name, str):
            raise TypeMistake((*place, position), f"{shown(name)} is not a name; in quotes it is: '{shown(name)}'")
        if name in seen:
            raise TypeMistake((*place, position), f"the name {name!r} stands twice")
        seen.add(name)
    return tuple(names)


_NAMES = (*SCALARS, *MEDIA_KINDS, "json")
_ALL = f"{', '.join(_NAMES)}, {{list: TYPE}}, {{struct: {{name: TYPE, …}}}}, {{class_label: [name, …]}}"
_ALIASES = {
    "str": "string",
    "text": "string",
    "int": "int64",
    "integer": "int64",
    "float": "float64",
    "double": "float64",
    "number": "float64",
    "boolean": "bool",
    "bytes": "binary",
    "dict": "json",
    "picture": "image",
}


def _parse_name(name: str, place: tuple[str | int, ...]) -> ColumnType:
    if name in SCALARS:
        return Scalar(name)
    if name in MEDIA_KINDS and place not in ((), ("list",)):
        raise TypeMistake(place, "an image or video stands in a column of its own, or in a list of them")
    match name:
        case "image" | "video":
            return Media(name)
    if name == "json":
        return Json()
    if name in ("list", "struct", "class_label"):
        forms = {
            "list": "{list: TYPE}",
            "struct": "{struct: {name: TYPE, …}}",
            "class_label": "{class_label: [name, …]}",
        }
        raise TypeMistake(place, f"the type {name!r} needs more; write {forms[name]}")
    near = _ALIASES.get(name.lower()) or next(iter(difflib.get_close_matches(name, _NAMES, n=1)), None)
    hint = f"did you mean {near!r}?" if near else f"allowed: {_ALL}"
    raise TypeMistake(place, f"unknown type {shown(name)}; {hint}")


def media_kind(column: ColumnType) -> Literal["image", "video"] | None:
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
            if list(inner) == ["dtype"]:
                return {"list": inner["dtype"]}
            if list(inner) == ["struct"]:
                return {"list": inner["struct"]}
            return {"list": inner}
        case Struct(fields):
            return {"struct": [{"name": name, **feature_yaml(item, embedded=embedded)} for name, item in fields]}
