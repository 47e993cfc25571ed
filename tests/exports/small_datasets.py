"""Small dataset folders as others publish them: Parquet shards with the features that `datasets` notes, and no card."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.column_type import MEDIA_STRUCT

if TYPE_CHECKING:
    from pathlib import Path

IMAGES = {"images": {"_type": "List", "feature": {"_type": "Image"}}}
VIDEOS = {"videos": {"_type": "List", "feature": {"_type": "Video"}}}

Talk = Sequence[tuple[str, str]]
"""Roles and texts."""


def write_split(
    folder: Path, table: pa.Table, features: dict[str, Any], *, split: str = "train", **options: Any
) -> str:
    """Write rows as the only shard of a split; returns its path in the dataset."""
    told = {name: features.get(name, {"dtype": "string", "_type": "Value"}) for name in table.column_names}
    noted = {"huggingface": json.dumps({"info": {"features": told}})}
    name = f"data/{split}-00000-of-00001.parquet"
    (folder / "data").mkdir(parents=True, exist_ok=True)
    pq.write_table(table.replace_schema_metadata(noted), folder / name, **options)
    return name


def talks(talks: Sequence[Talk], media: dict[str, list[list[bytes]]] | None = None, **extras: Any) -> pa.Table:
    """Return rows of messages, media by column, and other columns; ids count from 0."""
    columns: dict[str, Any] = {"id": [f"r{number}" for number in range(len(talks))]}
    columns["messages"] = [[{"role": role, "content": text} for role, text in talk] for talk in talks]
    for name, rows in (media or {}).items():
        columns[name] = pa.array(
            [[{"bytes": data, "path": None} for data in row] for row in rows], pa.list_(MEDIA_STRUCT)
        )
    return pa.table({**columns, **extras})


def records(path: Path) -> list[dict[str, Any]]:
    """Return the records of a JSON or JSON Lines file, read in the plainest way."""
    text = path.read_text(encoding="utf-8")
    return json.loads(text) if path.suffix == ".json" else [json.loads(line) for line in text.splitlines()]
