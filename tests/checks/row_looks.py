"""Small datasets whose rows are looked at: tables in, problems by code out."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from pipeline.checks.dataset import read_dataset
from pipeline.checks.files import LocalFiles
from pipeline.checks.options import Options
from pipeline.checks.row_pass import after_rows, pass_over_rows
from pipeline.executor import InProcess
from pipeline.schema import load_schema

if TYPE_CHECKING:
    from pathlib import Path

    from pipeline.checks.dataset import Dataset
    from pipeline.checks.problem import Problem
    from pipeline.checks.row_pass import ShardRows
    from pipeline.schema import Schema

MEDIUM = pa.struct({"bytes": pa.binary(), "path": pa.string()})
CHAT = pa.list_(pa.struct({"from": pa.string(), "value": pa.string()}))


def chat(*turns: str) -> list[dict[str, str]]:
    """Return a conversation in which user and assistant take turns."""
    return [{"from": ("human", "gpt")[number % 2], "value": text} for number, text in enumerate(turns)]


def media(*counts: int) -> pa.Array:
    """Return a column of lists of so many media."""
    return pa.array([[{"bytes": b"x", "path": "a.png"}] * count for count in counts], pa.list_(MEDIUM))


def features(table: pa.Table, **named: Any) -> pa.Table:
    """Write features into the footer, as `datasets` does."""
    info = {"info": {"features": named}}
    return table.replace_schema_metadata({"huggingface": json.dumps(info)})


def write_dataset(folder: Path, *shards: pa.Table, split: str = "train", **options: Any) -> Path:
    """Write tables as the shards of a split of the config `default`; splits may be written one after the other."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, table in enumerate(shards):
        pq.write_table(table, folder / f"{split}-{number:05}-of-{len(shards):05}.parquet", **options)
    splits = dict.fromkeys(path.name.partition("-")[0] for path in sorted(folder.glob("*.parquet")))
    files = [{"split": name, "path": f"{name}-*.parquet"} for name in splits]
    front = yaml.safe_dump({"configs": [{"config_name": "default", "data_files": files}]})
    (folder / "README.md").write_text(f"---\n{front}---\n", encoding="utf-8")
    return folder


def write_schema(path: Path, columns: dict[str, Any], **more: Any) -> Schema:
    """Write a schema and load it."""
    path.write_text(yaml.safe_dump({"name": "demo", "columns": columns, **more}), encoding="utf-8")
    return load_schema(path)


def dataset_of(folder: Path) -> Dataset:
    """Read the card and the footers."""
    dataset, _ = read_dataset(LocalFiles(folder))
    assert dataset is not None
    return dataset


@dataclass
class Looked:
    """What a look at all rows found."""

    shards: list[ShardRows]
    problems: list[Problem]
    counts: Counter[str] = field(default_factory=Counter)

    def messages(self, code: str) -> list[str]:
        """Return what is said of a code."""
        return [problem.message for problem in self.problems if problem.code == code]

    def facts(self) -> dict[str, list[Any]]:
        """Return the facts of all rows."""
        facts: dict[str, list[Any]] = pa.concat_tables([shard.facts for shard in self.shards]).to_pydict()
        return facts


def look(folder: Path, groups: dict[str, list[int]] | None = None, **options: Any) -> Looked:
    """Look at all rows of a dataset, or at some row groups."""
    dataset = dataset_of(folder)
    if groups is None:
        groups = {name: list(range(len(footer.groups))) for name in dataset.shards if (footer := dataset.footer(name))}
    asked = Options(look="full", **options)
    shards = list(pass_over_rows(dataset, asked, groups, InProcess()))
    problems, more = after_rows(dataset, asked, shards)
    problems = [*(problem for shard in shards for problem in shard.problems), *problems]
    counts = Counter(problem.code for problem in problems)
    for extra in (more, *(shard.more for shard in shards)):
        counts.update(extra)
    return Looked(shards, problems, counts)


def look_at(tmp_path: Path, table: pa.Table | dict[str, Any], **options: Any) -> Looked:
    """Look at all rows of one table."""
    table = table if isinstance(table, pa.Table) else pa.table(table)
    return look(write_dataset(tmp_path / "dataset", table), **options)
