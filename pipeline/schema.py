"""Schemas: one YAML file a row layout: its columns, and how a row becomes a conversation."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import Field, TypeAdapter, ValidationError, model_validator

from pipeline.column_type import (
    ClassLabel,
    ColumnType,
    Json,
    ListOf,
    Scalar,
    arrow_type,
    feature_json,
    feature_yaml,
    media_kind,
    parse_type,
)
from pipeline.conversation import Ready, Turn, check_conversation
from pipeline.document import Document, Strict, check, nearest, read_document
from pipeline.errors import Mistake, RecipeError

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
        if isinstance(value, str) or (isinstance(value, dict) and len(value) == 1 and "type" not in value):
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
    def media(self) -> str | None:
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


_CONVERSATION: TypeAdapter[list[Turn]] = TypeAdapter(list[Turn])


def load_schema(path: Path, *, shown_as: str | None = None) -> Schema:
    """Read and check a schema; raises RecipeError with every mistake in it."""
    document = read_document(path, shown_as=shown_as)
    spec, mistakes = check(SchemaSpec, document)
    if spec is None:
        raise RecipeError(mistakes)
    columns: dict[str, Column] = {}
    for name, rules in spec.columns.items():
        try:
            kind = parse_type(rules.type)
        except ValueError as error:
            mistakes.append(document.mistake(("columns", name, "type"), str(error)))
            continue
        columns[name] = Column(name=name, type=kind, rules=rules)
        mistakes += _check_rules(document, columns[name])
    if mistakes:
        raise RecipeError(mistakes)
    conversation, mistakes = _conversation(document, spec, columns)
    mistakes += _check_placeholders(document, spec, columns)
    if mistakes:
        raise RecipeError(mistakes)
    return Schema(
        name=spec.name,
        columns=columns,
        placeholders=tuple(spec.placeholders),
        conversation=conversation,
        source=document.value,
    )


def _check_rules(document: Document, column: Column) -> list[Mistake]:
    rules, kind = column.rules, column.type
    mistakes = []

    def mistake(key: str, message: str) -> None:
        mistakes.append(document.mistake(("columns", column.name, key), message))

    text = kind == Scalar("string")
    number = isinstance(kind, Scalar) and kind.dtype.startswith(("int", "uint", "float"))
    if not column.name.strip() or column.name.startswith("__"):
        mistakes.append(document.mistake(("columns", column.name), "a column name is not blank and starts not with __"))
    for key in ("min", "max"):
        if getattr(rules, key) is not None and not number:
            mistake(key, "only a number has a smallest and a largest value")
    if rules.min is not None and rules.max is not None and rules.min > rules.max:
        mistake("min", f"min {rules.min} is larger than max {rules.max}")
    for key in ("min_length", "max_length"):
        if getattr(rules, key) is not None and not (text or column.is_list):
            mistake(key, "only a text or a list has a length")
    if rules.min_length is not None and rules.max_length is not None and rules.min_length > rules.max_length:
        mistake("min_length", f"min_length {rules.min_length} is larger than max_length {rules.max_length}")
    if rules.pattern is not None:
        if not text:
            mistake("pattern", "only a text has a pattern")
        try:
            re.compile(rules.pattern)
        except re.error as error:
            mistake("pattern", f"{rules.pattern!r} is not a regular expression: {error}")
    if rules.values is not None and not (text or number or kind == Scalar("bool")):
        mistake("values", "only a text, a number or a bool has a list of values")
    if rules.unique and (column.media or isinstance(kind, Json | ListOf)):
        mistake("unique", "only a plain value can be unique; use `curate: [{deduplicate: media}]` for media")
    if isinstance(kind, ClassLabel) and rules.values is not None:
        mistake("values", "a class_label has its names already")
    return mistakes


def _conversation(
    document: Document, spec: SchemaSpec, columns: dict[str, Column]
) -> tuple[list[Turn] | Ready | None, list[Mistake]]:
    if spec.conversation is None:
        return None, []
    parsed: list[Turn] | Ready
    try:
        if isinstance(spec.conversation, dict):
            parsed = Ready.model_validate(spec.conversation)
        else:
            parsed = _CONVERSATION.validate_python(spec.conversation)
    except ValidationError as error:
        mistakes = []
        for detail in error.errors(include_url=False):
            place = ("conversation", *detail["loc"])
            message = detail["msg"].removeprefix("Value error, ")
            if detail["type"] == "extra_forbidden":
                known = (
                    Ready.model_fields
                    if isinstance(spec.conversation, dict)
                    else {*Turn.model_fields, *("text", "image", "video")}
                )
                mistakes.append(document.mistake(place, "unknown key", nearest(str(place[-1]), known)))
            else:
                mistakes.append(document.mistake(place, message))
        return None, mistakes
    types = {name: column.type for name, column in columns.items()}
    found = check_conversation(parsed, types)
    return parsed, [document.mistake(("conversation", *place), message, hint) for place, message, hint in found]


def _check_placeholders(document: Document, spec: SchemaSpec, columns: dict[str, Column]) -> list[Mistake]:
    mistakes = []
    for number, rule in enumerate(spec.placeholders):
        place = ("placeholders", number)
        if rule.column not in columns:
            mistakes.append(
                document.mistake((*place, "column"), f"unknown column {rule.column!r}", nearest(rule.column, columns))
            )
        elif columns[rule.column].type != Scalar("string"):
            mistakes.append(document.mistake((*place, "column"), f"the column {rule.column!r} holds no text"))
        if rule.media not in columns:
            mistakes.append(
                document.mistake((*place, "media"), f"unknown column {rule.media!r}", nearest(rule.media, columns))
            )
        elif not columns[rule.media].media:
            mistakes.append(document.mistake((*place, "media"), f"the column {rule.media!r} holds no image or video"))
    return mistakes
