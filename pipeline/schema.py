"""Schemas: one YAML file a row layout: its columns, and how a row becomes a conversation."""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, TypeAdapter, ValidationError, model_validator

from pipeline.column_type import (
    ClassLabel,
    ColumnType,
    Json,
    ListOf,
    Scalar,
    TypeMistake,
    arrow_type,
    feature_json,
    feature_yaml,
    media_kind,
    parse_type,
)
from pipeline.conversation import Ready, Turn, check_conversation
from pipeline.document import Document, Location, nearest, read_document, shown
from pipeline.errors import Mistake, RecipeError
from pipeline.model_check import Strict, check, mistakes_of, salvage

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow as pa


class ColumnSpec(Strict):
    """What a schema says of one column."""

    type: Any
    """`string`, `int64`, `image`, `video`, `json`, `{list: TYPE}`, `{struct: …}`, `{class_label: […]}` …"""
    nullable: bool = False
    """May the value be null or missing?"""
    unique: bool = False
    """May no two rows of a config hold the same value? The first one stays."""
    min: int | float | None = None
    """Smallest number allowed."""
    max: int | float | None = None
    """Largest number allowed."""
    min_length: int | None = Field(default=None, ge=0)
    """Fewest characters (text) or items (list) allowed."""
    max_length: int | None = Field(default=None, ge=0)
    """Most characters (text) or items (list) allowed."""
    pattern: str | None = None
    """A regular expression that the whole text must match."""
    values: list[str | int | float | bool] | None = None
    """The values allowed."""

    @model_validator(mode="before")
    @classmethod
    def _shorthand(cls, value: Any) -> Any:
        if isinstance(value, str):
            return {"type": value}
        if isinstance(value, dict) and len(value) == 1:
            (key,) = value
            if key not in cls.model_fields and get_close_matches(key, ("list", "struct", "class_label"), n=1):
                return {"type": value}
        return value


class Placeholders(Strict):
    """Tokens in a text column that stand for media, such as data-juicer's `<__dj__image>`."""

    column: str
    """The text column."""
    token: str = Field(min_length=1)
    """The placeholder."""
    media: str
    """The media column whose items it stands for; the counts must agree row by row."""


class SchemaSpec(Strict):
    """What a schema file may say."""

    name: str
    columns: dict[str, ColumnSpec] = Field(min_length=1)
    placeholders: list[Placeholders] = Field(default_factory=list)
    conversation: Any = None


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column of a schema."""

    name: str
    type: ColumnType
    rules: ColumnSpec

    @property
    def media(self) -> Literal["image", "video"] | None:
        """Image or video for a media column or list of media, else None."""
        return media_kind(self.type)

    @property
    def is_list(self) -> bool:
        """Tell whether the column holds a list."""
        return isinstance(self.type, ListOf)


@dataclass(frozen=True, kw_only=True)
class Schema:
    """A row layout, checked."""

    name: str
    columns: dict[str, Column]
    placeholders: tuple[Placeholders, ...]
    conversation: list[Turn] | Ready | None
    source: Any
    """The plain YAML value, for fingerprints."""

    @property
    def media_columns(self) -> list[Column]:
        """The columns that hold images or videos."""
        return [column for column in self.columns.values() if column.media]

    @property
    def value_columns(self) -> list[Column]:
        """The columns that hold no media."""
        return [column for column in self.columns.values() if not column.media]

    def arrow_schema(self, *, embedded: bool) -> pa.Schema:
        """Return the Arrow schema of a shard, with the `datasets` features in its metadata."""
        import json

        import pyarrow as pa

        features = {name: feature_json(column.type, embedded=embedded) for name, column in self.columns.items()}
        fields = [pa.field(name, arrow_type(column.type, embedded=embedded)) for name, column in self.columns.items()]
        return pa.schema(fields, metadata={"huggingface": json.dumps({"info": {"features": features}})})

    def features_yaml(self, *, embedded: bool) -> list[dict[str, Any]]:
        """Return the features as a card's `dataset_info` lists them."""
        return [{"name": name, **feature_yaml(column.type, embedded=embedded)} for name, column in self.columns.items()]


def load_schema(path: Path, *, shown_as: str | None = None) -> Schema:
    """Read and check a schema; raises RecipeError with every mistake in it."""
    document = read_document(path, shown_as=shown_as)
    spec, mistakes = check(SchemaSpec, document)
    lost: set[Location] = set()
    if spec is None:
        spec, lost = salvage(SchemaSpec, document)
    if spec is None:
        raise RecipeError(mistakes)
    columns: dict[str, Column] = {}
    for name, rules in spec.columns.items():
        try:
            columns[name] = Column(name=name, type=parse_type(rules.type), rules=rules)
        except TypeMistake as error:
            place: Location = ("columns", name)
            place = (*place, "type") if (*place, "type") in document.lines else place
            mistakes.append(document.mistake((*place, *error.place), str(error)))
            continue
        mistakes += _check_rules(document, columns[name])
    written = document.value.get("columns")
    types: dict[str, ColumnType | None] = dict.fromkeys(written if isinstance(written, dict) else ())
    types |= {name: column.type for name, column in columns.items()}
    conversation, found = _conversation(document, spec, types)
    mistakes += found if ("conversation",) not in lost else []
    mistakes += _check_placeholders(document, spec, types)
    if mistakes:
        raise RecipeError(mistakes)
    return Schema(
        name=spec.name,
        columns=columns,
        placeholders=tuple(spec.placeholders),
        conversation=conversation,
        source=document.value,
    )


def _fits(value: Any, kind: ColumnType) -> bool:
    """Tell whether a column of plain values could hold a value at all."""
    if not isinstance(kind, Scalar) or kind.dtype == "string":
        return isinstance(value, str)
    if kind.dtype == "bool":
        return isinstance(value, bool)
    return type(value) is int or (type(value) is float and kind.dtype.startswith("float"))


def _check_rules(document: Document, column: Column) -> list[Mistake]:
    rules, kind = column.rules, column.type
    mistakes = []

    def mistake(key: str, message: str) -> None:
        mistakes.append(document.mistake(("columns", column.name, key), message))

    if media_kind(kind) and rules.values is not None:
        mistake("values", "an image or video has no list of values")
        return mistakes
    text = kind == Scalar("string")
    number = isinstance(kind, Scalar) and kind.dtype.startswith(("int", "uint", "float"))
    if not column.name.strip() or column.name.startswith("__"):
        mistakes.append(
            document.mistake(("columns", column.name), "a column name is not blank and does not start with __")
        )
    for key in ("min", "max"):
        if getattr(rules, key) is not None and not number:
            mistake(key, f"`{key}` goes with a number, and this column is none")
    if rules.min is not None and rules.max is not None and rules.min > rules.max:
        mistake("min", f"min {rules.min} is larger than max {rules.max}")
    for key in ("min_length", "max_length"):
        if getattr(rules, key) is not None and not (text or column.is_list):
            mistake(key, f"`{key}` goes with a text or a list, and this column is neither")
    if rules.min_length is not None and rules.max_length is not None and rules.min_length > rules.max_length:
        mistake("min_length", f"min_length {rules.min_length} is larger than max_length {rules.max_length}")
    if rules.pattern is not None:
        if not text:
            mistake("pattern", "`pattern` goes with a text, and this column is none")
        try:
            re.compile(rules.pattern)
        except re.error as error:
            mistake("pattern", f"{shown(rules.pattern)} is not a regular expression: {error}")
        except (RecursionError, OverflowError):
            mistake("pattern", f"{shown(rules.pattern)} is too much for a regular expression")
    if rules.values is not None and not isinstance(kind, ClassLabel):
        if not (text or number or kind == Scalar("bool")):
            mistake("values", "only a text, a number or a bool has a list of values")
        else:
            for position, value in enumerate(rules.values):
                if not _fits(value, kind):
                    place = ("columns", column.name, "values", position)
                    mistakes.append(document.mistake(place, f"{shown(value)} is never a value of this column"))
        if not rules.values:
            mistake("values", "an empty list of values allows nothing")
    if rules.unique and (column.media or isinstance(kind, Json | ListOf)):
        mistake("unique", "only a plain value can be unique; use `curate: [{deduplicate: media}]` for media")
    if isinstance(kind, ClassLabel) and rules.values is not None:
        mistake("values", "a class_label has its names already")
    return mistakes


_CONVERSATION: TypeAdapter[list[Turn]] = TypeAdapter(list[Turn])


def _conversation(
    document: Document, spec: SchemaSpec, types: dict[str, ColumnType | None]
) -> tuple[list[Turn] | Ready | None, list[Mistake]]:
    if spec.conversation is None:
        return None, []
    place: Location = ("conversation",)
    if not spec.conversation or not isinstance(spec.conversation, dict | list):
        what = f"{shown(spec.conversation)} is no conversation"
        return None, [document.mistake(place, what, "a list of turns, or `column` with a column of messages")]
    parsed: list[Turn] | Ready
    ready = isinstance(spec.conversation, dict)
    try:
        parsed = (Ready.model_validate if ready else _CONVERSATION.validate_python)(spec.conversation)
    except ValidationError as error:
        return None, mistakes_of(error, Ready if ready else list[Turn], document, place)
    found = check_conversation(parsed, types)
    return parsed, [document.mistake((*place, *inner), message, hint) for inner, message, hint in found]


def _check_placeholders(document: Document, spec: SchemaSpec, types: dict[str, ColumnType | None]) -> list[Mistake]:
    mistakes = []
    for number, rule in enumerate(spec.placeholders):
        for key, name in (("column", rule.column), ("media", rule.media)):
            place = ("placeholders", number, key)
            if name not in types:
                mistakes.append(document.mistake(place, f"unknown column {name!r}", nearest(name, types)))
                continue
            kind = types[name]
            if kind is None:
                continue
            if key == "column" and kind != Scalar("string"):
                mistakes.append(document.mistake(place, f"the column {name!r} holds no text"))
            if key == "media" and not media_kind(kind):
                mistakes.append(document.mistake(place, f"the column {name!r} holds no image or video"))
    return mistakes
