"""What the columns of a dataset are for: media, texts, conversations and labels, told from features and types."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa

if TYPE_CHECKING:
    from pipeline.media.facts import Kind

ROLE_KEYS = (("from", "value"), ("role", "content"))
"""How messages name their role and their text: ShareGPT, OpenAI."""
MESSAGES = ("conversations", "messages", "conversation")
"""Columns that hold conversations, where several could."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaColumn:
    """A column of images or videos, alone or in lists, as `datasets` stores them: structs of bytes and path."""

    name: str
    kind: Kind
    is_list: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversation:
    """A column that holds lists of messages."""

    name: str
    role_key: str
    text_key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """The columns of a config."""

    media: tuple[MediaColumn, ...]
    conversation: Conversation | None
    texts: tuple[str, ...]
    """Columns with text anywhere inside, those of the conversation too."""
    labels: tuple[str, ...]
    """Columns of class labels."""
    values: tuple[str, ...]
    """All columns that hold no media."""


def columns_of(schema: pa.Schema) -> Columns:
    """Tell the columns of a shard."""
    features = features_of(schema) or {}
    media = tuple(found for field in schema if (found := _media(field, features.get(field.name))) is not None)
    taken = {column.name for column in media}
    values = [field for field in schema if field.name not in taken]
    talks = [talk for field in values if (talk := _conversation(field)) is not None]
    talks.sort(key=lambda talk: MESSAGES.index(talk.name) if talk.name in MESSAGES else len(MESSAGES))
    return Columns(
        media=media,
        conversation=talks[0] if talks else None,
        texts=tuple(field.name for field in values if _has_text(field.type)),
        labels=tuple(field.name for field in values if _type_of(features.get(field.name)) == "ClassLabel"),
        values=tuple(field.name for field in values),
    )


def features_of(schema: pa.Schema) -> dict[str, Any] | None:
    """Return the features that `datasets` wrote into a footer, or None."""
    text = (schema.metadata or {}).get(b"huggingface")
    try:
        features = json.loads(text)["info"]["features"] if text else None
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return features if isinstance(features, dict) else None


def _type_of(feature: Any) -> str | None:
    kind = feature.get("_type") if isinstance(feature, dict) else None
    return kind if isinstance(kind, str) else None


def _media(field: pa.Field, feature: Any) -> MediaColumn | None:
    is_list = False
    if _type_of(feature) in ("List", "LargeList", "Sequence"):
        feature, is_list = feature.get("feature"), True
    elif isinstance(feature, list) and len(feature) == 1:  # as older versions write a list
        feature, is_list = feature[0], True
    kind: Literal["image", "video"] | None = None
    if _type_of(feature) in ("Image", "Video"):
        kind = "image" if _type_of(feature) == "Image" else "video"
    elif feature is None:
        # shards of somebody else's: bytes and path together are what `datasets` calls a medium
        is_list = _is_list(field.type)
        inner = field.type.value_type if is_list else field.type
        if not pa.types.is_struct(inner) or {item.name for item in inner} != {"bytes", "path"}:
            return None
        kind = "video" if "video" in field.name.lower() or "clip" in field.name.lower() else "image"
    return None if kind is None else MediaColumn(name=field.name, kind=kind, is_list=is_list)


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def _conversation(field: pa.Field) -> Conversation | None:
    kind = field.type
    if not _is_list(kind) or not pa.types.is_struct(kind.value_type):
        return None
    names = {item.name: item.type for item in kind.value_type}
    for role_key, text_key in ROLE_KEYS:
        if role_key in names and text_key in names and all(_is_text(names[key]) for key in (role_key, text_key)):
            return Conversation(name=field.name, role_key=role_key, text_key=text_key)
    return None


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _has_text(kind: pa.DataType) -> bool:
    if _is_text(kind):
        return True
    return any(_has_text(kind.field(number).type) for number in range(kind.num_fields))
