"""Datasets made by hand: a card and shards of rows with media, as anybody could have written them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.checks.dataset import Dataset, read_dataset
from pipeline.checks.files import LocalFiles
from pipeline.column_type import MEDIA_STRUCT

if TYPE_CHECKING:
    from pathlib import Path

FEATURES = {
    "image": {"_type": "Image"},
    "video": {"_type": "Video"},
    "images": {"_type": "List", "feature": {"_type": "Image"}},
    "videos": {"_type": "List", "feature": {"_type": "Video"}},
}
"""Columns that hold media by their names."""
TYPES = {name: pa.list_(MEDIA_STRUCT) if name.endswith("s") else MEDIA_STRUCT for name in FEATURES}


def medium(data: bytes | None, path: str | None = None) -> dict[str, Any]:
    """Return a medium as `datasets` stores it."""
    return {"bytes": data, "path": path}


def write_shard(path: Path, rows: list[dict[str, Any]], **options: Any) -> None:
    """Write a shard whose footer says what its columns are."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    columns = [pa.array([row.get(name) for row in rows], TYPES.get(name)) for name in names]
    told = {name: FEATURES[name] for name in names if name in FEATURES}
    table = pa.table(dict(zip(names, columns, strict=True)))
    if told:
        others = {name: {"dtype": "string", "_type": "Value"} for name in names if name not in told}
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": {**told, **others}}})})
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, **options)


def made_dataset(
    folder: Path, splits: dict[str, list[dict[str, Any]]], *, config: str = "default", **options: Any
) -> Dataset:
    """Write a dataset of one config, a shard a split, and read its card and footers."""
    folder.mkdir(parents=True, exist_ok=True)
    files = "".join(f"  - split: {split}\n    path: {config}/{split}-*.parquet\n" for split in splits)
    (folder / "README.md").write_text(f"---\nconfigs:\n- config_name: {config}\n  data_files:\n{files}---\n")
    for split, rows in splits.items():
        write_shard(folder / config / f"{split}-00000-of-00001.parquet", rows, **options)
    return dataset_in(folder)


def dataset_in(folder: Path) -> Dataset:
    """Read the card and footers of a dataset that is as it should be."""
    dataset, problems = read_dataset(LocalFiles(folder))
    assert dataset is not None
    assert not [*problems]
    return dataset
