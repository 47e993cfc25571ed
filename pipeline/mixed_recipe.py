"""The recipe that a mix is: one config of canonical rows, read out of the shards of other datasets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pipeline.column_type import parse_type
from pipeline.conversation import Ready
from pipeline.dialects.dialect import IMAGE, VIDEO
from pipeline.recipe import Config
from pipeline.recipe_spec import FieldSpec, MediaSpec, RowsSpec, SplitSpec
from pipeline.schema import Column, ColumnSpec, Schema

if TYPE_CHECKING:
    from pipeline.mix_spec import MixRecipeSpec
    from pipeline.recipe import Part

ORIGIN, ORIGIN_FILE, ORIGIN_ROW, ORIGIN_ID = "origin", "origin_file", "origin_row", "origin_id"
"""The columns that say where a row of a mix is from: `dataset/config`, the shard, the row in it from 1, and its id."""
CONFIG = "default"


class ViewedRows(RowsSpec):
    """Rows of a dataset, read as its schema turns them into conversations."""

    view: dict[str, Any]
    """The schema, as it is written."""


def mixed_config(spec: MixRecipeSpec, parts: tuple[Part, ...]) -> Config:
    """Return the one config of a mix."""
    kinds = {column.media for part in parts for column in part.schema.media_columns}
    splits = {name: rows for part in parts for name, rows in part.rows.items()}
    return Config(
        name=CONFIG,
        schema=canonical_schema(spec.name, images="image" in kinds, videos="video" in kinds),
        rows=None,
        splits={name: SplitSpec(source=rows.source, files=rows.files) for name, rows in splits.items()},
        group="media",
        stratify=None,
        seed=spec.seed,
        leaks="reject",
        fields={
            ORIGIN: FieldSpec(template="{{ record.source }}"),
            ORIGIN_FILE: FieldSpec(template="{{ record.file }}"),
            ORIGIN_ROW: FieldSpec(template="{{ record.line }}"),
            ORIGIN_ID: FieldSpec.model_validate("id"),
        },
        media={name: MediaSpec() for name, kind in (("images", "image"), ("videos", "video")) if kind in kinds},
        curate=(),
        parts=parts,
    )


def canonical_schema(name: str, *, images: bool, videos: bool) -> Schema:
    """Return the schema of canonical rows with their origin, of the kinds of media that there are."""
    columns: dict[str, Any] = {"messages": {"type": {"list": {"struct": {"role": "string", "content": "string"}}}}}
    columns |= {"images": {"type": {"list": "image"}}} if images else {}
    columns |= {"videos": {"type": {"list": "video"}}} if videos else {}
    columns |= {
        ORIGIN: {"type": "string"},
        ORIGIN_FILE: {"type": "string"},
        ORIGIN_ROW: {"type": "int64"},
        ORIGIN_ID: {"type": "string", "nullable": True},
    }
    conversation: dict[str, Any] = {
        "column": "messages",
        "role_key": "role",
        "text_key": "content",
        "roles": {"system": "system", "user": "user", "assistant": "assistant"},
        "tokens": ({IMAGE: "images"} if images else {}) | ({VIDEO: "videos"} if videos else {}),
    }
    checked = {key: ColumnSpec.model_validate(value) for key, value in columns.items()}
    return Schema(
        name=name,
        columns={key: Column(name=key, type=parse_type(rules.type), rules=rules) for key, rules in checked.items()},
        placeholders=(),
        conversation=Ready.model_validate(conversation),
        source={"name": name, "columns": columns, "conversation": conversation},
    )
