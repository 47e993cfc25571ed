"""Writing one shard: its rows gathered from records and plan, its media read once into the Arrow buffer and proved."""

from __future__ import annotations

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.content_hash import ContentHash
from pipeline.executor import tick
from pipeline.manifest import fingerprint
from pipeline.media.probe import GrowingHash
from pipeline.media.reader import MediaReader
from pipeline.media.store import MediaStore
from pipeline.recorded_bytes import add_row_group, recorded_of
from pipeline.row_file import take_rows
from pipeline.stages.changes import overlay
from pipeline.workspace import writing

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pipeline.schema import Schema

VERSION = 7

CDC_OPTIONS = {"min_chunk_size": 256 * 1024, "max_chunk_size": 1024 * 1024, "norm_level": 0}
"""Content-defined chunking as `datasets` sets it, so that the Hub's store finds unchanged pages again."""
MEDIA_NEEDED = ("column", "sha256", "size", "path", "name")
"""What a shard needs of the plan's media."""
SAMPLED_ROWS, SAMPLED_BYTES = 10_000, 1_000_000
"""By how many values it is told whether those of a column repeat. A dictionary of Parquet holds no more bytes."""


@dataclass(frozen=True, kw_only=True)
class ShardPart:
    """The rows of one annotation file inside of a row group."""

    records: Path
    plan: Path
    rows: np.ndarray
    """Ascending positions in both files."""
    changes: Path | None = None
    """What curation changed in them, if that file is there."""
    number: int = 0
    """Position of the annotation file among the config's, by which changes name it."""


@dataclass(frozen=True, kw_only=True)
class ShardTask:
    """Everything a worker needs to write one shard."""

    name: str
    """Path inside the dataset."""
    path: Path
    schema: Schema
    embedded: bool
    cache: Path
    groups: tuple[tuple[ShardPart, ...], ...] = field(repr=False)
    beside: dict[str, str] = field(default_factory=dict, repr=False)
    """Hash -> published path, when media lie beside the shards."""
    key: str = ""
    bytes: int = 0
    rows: int = 0

    @property
    def first_rows(self) -> int:
        """Rows of the first row group."""
        return sum(len(part.rows) for part in self.groups[0])


def write_shard(task: ShardTask) -> dict[str, Any]:
    """Write one shard (a worker's task); returns its facts for the manifest."""
    schema = task.schema.arrow_schema(embedded=task.embedded)
    media = rows = 0
    recorded = recorded_of(schema)
    content = _Content(task)
    with (
        MediaStore(task.cache) as store,
        MediaReader(store) as reader,
        writing(task.path) as temporary,
        ThreadPoolExecutor(1) as aside,
    ):
        written = GrowingHash(temporary)
        repeating = _repeating(_gather(task, _first_rows(task.groups[0])).values)
        with pq.ParquetWriter(temporary, schema, **_writer_options(schema, task, repeating)) as writer:
            for group in task.groups:
                gathered = _gather(task, group)
                added = aside.submit(content.add, gathered)
                table = _row_group(task, schema, gathered, reader)
                writer.write_table(table, row_group_size=table.num_rows)
                add_row_group(recorded, table, batch_rows=task.first_rows)
                media += sum(map(len, gathered.media))
                rows += table.num_rows
                tick(table.num_rows)
                added.result()
                aside.submit(written.catch_up)
                del table, gathered, added  # or the next row group would be gathered beside this one
            writer.add_key_value_metadata({"content_defined_chunking": json.dumps(CDC_OPTIONS)})
        assert rows == task.rows == pq.read_metadata(temporary).num_rows, f"{task.name}: not the rows of the plan"
        aside.submit(written.catch_up).result()
    return {
        "name": task.name,
        "key": task.key,
        "content": content.hexdigest(),
        "sha256": written.hexdigest(),
        "bytes": written.size,
        "rows": rows,
        "media": media,
        "recorded": recorded,
    }


def _first_rows(group: tuple[ShardPart, ...]) -> tuple[ShardPart, ...]:
    """Return the rows by which columns are judged, whatever files they are from."""
    first: list[ShardPart] = []
    left = SAMPLED_ROWS
    for part in group:
        if left:
            first.append(replace(part, rows=part.rows[:left]))
            left -= len(first[-1].rows)
    return tuple(first)


def _repeating(values: pa.Table) -> set[str]:
    """Return the text columns whose values repeat, so that a dictionary is worth its time."""
    columns = [name for name in values.column_names if pa.types.is_string(values.schema.field(name).type)]
    repeating = set()
    for name in columns:
        sample = values.column(name).slice(0, SAMPLED_ROWS)
        weight = pc.mean(pc.binary_length(sample)).as_py() or 0
        sample = sample.slice(0, max(1, int(SAMPLED_BYTES / (weight + 1))))
        if 2 * pc.count_distinct(sample).as_py() <= len(sample):
            repeating.add(name)
    return repeating


def _writer_options(schema: pa.Schema, task: ShardTask, repeating: set[str]) -> dict[str, Any]:
    """Return how columns are stored: media plain and uncompressed, the rest with Snappy, and most with a dictionary."""
    media = {column.name for column in task.schema.media_columns} if task.embedded else set()
    plain = [leaf for item in schema if item.name in media for leaf in _leaves(item.name, item.type)]
    rest = [leaf for item in schema if item.name not in media for leaf in _leaves(item.name, item.type)]
    unlike = {item.name for item in schema if pa.types.is_string(item.type) and item.name not in repeating | media}
    return {
        "compression": {**dict.fromkeys(plain, "none"), **dict.fromkeys(rest, "snappy")},
        "use_dictionary": [leaf for leaf in rest if leaf not in unlike] or False,
        "column_encoding": dict.fromkeys([*plain, *unlike], "PLAIN") or None,
        "write_statistics": rest if plain else True,
        "use_content_defined_chunking": CDC_OPTIONS,
        "write_page_index": True,
        "write_page_checksum": True,
    }


def _leaves(path: str, kind: pa.DataType) -> list[str]:
    """Return the Parquet leaf columns of a column, as the writer's options name them."""
    if isinstance(kind, pa.BaseExtensionType):
        kind = kind.storage_type
    if pa.types.is_struct(kind):
        return [leaf for item in kind for leaf in _leaves(f"{path}.{item.name}", item.type)]
    if pa.types.is_list(kind):
        return _leaves(f"{path}.list.element", kind.value_type)
    return [path]


@dataclass(frozen=True, slots=True)
class _Gathered:
    """The rows of one row group before their media are read."""

    values: pa.Table
    """The value columns, and the asks of lists of media, which tell an empty list from none."""
    media: list[list[dict[str, Any]]]
    """Each row's media: column, sha256, size, path, name."""


def _gather(task: ShardTask, parts: tuple[ShardPart, ...]) -> _Gathered:
    names = [column.name for column in task.schema.value_columns]
    asks = [f"__media.{column.name}" for column in task.schema.media_columns if column.is_list]
    columns = [*names, *asks] or ["__line"]
    values = pa.concat_tables([table for part in parts for table in _values(part, columns)])
    if not task.schema.media_columns:
        return _Gathered(values, [])
    media = [row for part in parts for table in take_rows(part.plan, part.rows, ["media"]) for row in _media_of(table)]
    return _Gathered(values, media)


def _values(part: ShardPart, columns: list[str]) -> Iterator[pa.Table]:
    """Yield values of some rows as curation left them."""
    changes = overlay(part.changes) if part.changes is not None else None
    done = 0
    for table in take_rows(part.records, part.rows, columns):
        rows = part.rows[done : done + table.num_rows]
        yield table if changes is None else changes.laid_over(table, part.number, rows)
        done += table.num_rows


def _media_of(plan: pa.Table) -> list[list[dict[str, Any]]]:
    """Return the media of some rows of a plan, without the facts that do not matter here."""
    rows = plan.column("media").combine_chunks()
    items = rows.flatten()
    needed = pa.StructArray.from_arrays([items.field(name) for name in MEDIA_NEEDED], names=MEDIA_NEEDED).to_pylist()
    lengths = pc.list_value_length(rows).to_pylist()
    ends = np.cumsum(lengths).tolist()
    return [needed[end - length : end] for end, length in zip(ends, lengths, strict=True)]


def content_of(task: ShardTask) -> str:
    """Return what `write_shard` would note as the content of a shard, without reading a medium."""
    content = _Content(task)
    for group in task.groups:
        content.add(_gather(task, group))
    return content.hexdigest()


class _Content:
    """A fingerprint of all that a shard's bytes depend on."""

    def __init__(self, task: ShardTask) -> None:
        made = fingerprint(VERSION, pa.__version__, task.schema.source, task.embedded)
        self._digest = hashlib.sha256(made.encode())
        self._values = ContentHash()
        self._task = task

    def add(self, gathered: _Gathered) -> None:
        """Add a row group."""
        for name, column in zip(gathered.values.column_names, gathered.values.columns, strict=True):
            if name != "__line":  # there for want of another column
                self._values.add(name, column)
        named = [[[m["column"], m["sha256"], self._published(m)] for m in row] for row in gathered.media]
        self._digest.update(json.dumps([gathered.values.num_rows, named]).encode())

    def _published(self, medium: dict[str, Any]) -> str:
        name: str = medium["name"] if self._task.embedded else self._task.beside[medium["sha256"]]
        return name

    def hexdigest(self) -> str:
        """Return the fingerprint so far."""
        return fingerprint(self._digest.hexdigest(), self._values.hexdigest())


def _row_group(task: ShardTask, schema: pa.Schema, gathered: _Gathered, media: MediaReader) -> pa.Table:
    """Return the rows of one row group with their media."""
    values = gathered.values
    columns = {column.name: values.column(column.name) for column in task.schema.value_columns}
    for number, column in enumerate(task.schema.media_columns):
        rows = [[medium for medium in row if medium["column"] == number] for row in gathered.media]
        items = [medium for row in rows for medium in row]
        if task.embedded:
            array = media.read(number, items)
        else:
            array = pa.array([task.beside[medium["sha256"]] for medium in items], pa.string())
        if column.is_list:
            columns[column.name] = _lists(array, rows, _one_chunk(values.column(f"__media.{column.name}")))
        else:
            assert column.rules.nullable or all(rows)
            columns[column.name] = _or_null(array, rows)
    return pa.Table.from_arrays([columns[name] for name in schema.names], schema=schema)


def _one_chunk(column: Any) -> Any:
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def _lists(items: pa.Array, rows: list[list[dict[str, Any]]], asks: pa.Array) -> pa.Array:
    """Return a column of lists of media; a list that the source did not have is null, not empty."""
    offsets = pa.array(np.concatenate([[0], np.cumsum([len(row) for row in rows])]), pa.int32())
    return pa.ListArray.from_arrays(offsets, items, mask=pc.is_null(asks) if asks.null_count else None)


def _or_null(items: pa.Array, rows: list[list[dict[str, Any]]]) -> pa.Array:
    """Return a column of one medium a row, or null."""
    if len(items) == len(rows):
        return items
    positions = iter(range(len(items)))
    return items.take(pa.array([next(positions) if row else None for row in rows], pa.int64()))
