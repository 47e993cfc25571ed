"""Shard: write the samples of each split into Parquet shards, each an independent task with the same bytes anywhere.

A shard's name, rows and row groups are decided here, from the plan alone; a task then reads its rows and its media,
checks every medium against its hash, writes to a temporary name, and renames it. A shard whose
rows, media and settings are those of the last build, or of one that was ended before it was done, is not written again.
"""

from __future__ import annotations

import json
import re
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.column_type import MEDIA_STRUCT, feature_json
from pipeline.cutting import MOST_JOINED, cut, joinable
from pipeline.errors import SourceError
from pipeline.executor import tick
from pipeline.manifest import fingerprint
from pipeline.media.probe import hash_file
from pipeline.media.store import MediaStore
from pipeline.recorded_bytes import add_row_group, recorded_of, writer_rows
from pipeline.report import StageReport
from pipeline.row_file import read_rows, take_rows
from pipeline.stages.beside import BesideTask, beside_tasks, write_beside
from pipeline.stages.cache import plan_path
from pipeline.stages.convert import records_path
from pipeline.workspace import disk_errors, read_json, remove_leftovers, write_json, writing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipeline.build import Build
    from pipeline.schema import Schema

VERSION = 3
NAME = "shard"

CDC_OPTIONS = {"min_chunk_size": 256 * 1024, "max_chunk_size": 1024 * 1024, "norm_level": 0}
"""Content-defined chunking as `datasets` sets it, so that the Hub's store finds unchanged pages again."""
OURS = re.compile(
    r"[^/.][^/]*/[^/]+-\d{5,}-of-\d{5,}\.parquet|media/[^/]+-\d{5,}\.tar|media/[^/]+/[0-9a-f]{2}/[0-9a-f]{64}\.\w+"
    r"|(?:[^/.][^/]*/)*\.tmp-\d+-[^/]+"
)
"""What a build writes below the output folder, besides README.md; nothing else there is ever removed."""


@dataclass(frozen=True, kw_only=True)
class ShardPart:
    """The rows of one annotation file inside of a row group."""

    records: Path
    plan: Path
    rows: np.ndarray
    """Ascending positions in both files."""


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


def run(build: Build) -> StageReport:
    """Write every shard that is not there yet, and remove those of earlier builds.

    Raises:
        SourceError: a medium changed or vanished since it was cached.
        WorkspaceError: the output folder is full or cannot be written.
    """
    report = StageReport(stage=NAME)
    settings = build.recipe.spec.shards.model_dump(mode="json")
    before = {**build.manifest.stages.get(NAME, {}).get("shards", {}), **_unfinished(build)}
    shards: dict[str, Any] = {}
    tasks: list[ShardTask] = []
    beside: list[BesideTask] = []
    for config in build.recipe.configs.values():
        samples = read_rows(build.workspace.kept(config.name, "split"))
        paths, mine = ({}, []) if build.recipe.embedded else beside_tasks(build, config.name, samples)
        beside += mine
        for number, split in enumerate(config.splits):
            chosen = samples.filter(pa.compute.equal(samples.column("split"), number))
            for task in _shards_of_split(build, config.name, split, chosen, paths):
                old = before.get(task.name)
                shards[task.name] = old
                if (
                    old is None
                    or old["key"] != task.key
                    or not build.store.is_unchanged(task.path, old["sha256"], old["bytes"])
                ):
                    tasks.append(task)
    report.skipped = not tasks
    with build.display.stage(NAME, sum(task.rows for task in tasks), "rows") as progress:
        work = sum(task.bytes for task in tasks)
        for result in build.executor.map(write_shard, tasks, work_bytes=work, advance=progress.advance):
            shards[result["name"]] = {name: value for name, value in result.items() if name != "name"}
            write_json(_facts_path(build, result["name"]), shards[result["name"]])
    written = [task.path for task in tasks]
    looked_ns = time.time_ns()
    stats = [(path, path.stat(), shards[task.name]["sha256"]) for path, task in zip(written, tasks, strict=True)]
    build.store.adopt(stats, looked_ns=looked_ns)
    kept_beside = write_beside(build, beside, report)
    _forget_old(build, {*shards, *kept_beside})
    report.rows_in = report.rows_out = sum(shard["rows"] for shard in shards.values())
    report.media = sum(shard["media"] for shard in shards.values())
    report.bytes = sum(shard["bytes"] for shard in shards.values()) + sum(
        file["bytes"] for file in kept_beside.values()
    )
    keys = {name: shard["key"] for name, shard in shards.items()}
    entry = {"fingerprint": fingerprint(VERSION, settings, keys), "shards": shards, "beside": kept_beside}
    build.manifest.record(NAME, entry)
    remove_leftovers(build.workspace.shards, set())
    return report


def _facts_path(build: Build, name: str) -> Path:
    return build.workspace.shards / f"{name}.json"


def _unfinished(build: Build) -> dict[str, Any]:
    """Return the facts of the shards that the last build wrote, if it ended before it could say so in the manifest."""
    folder = build.workspace.shards
    found = {path.relative_to(folder).as_posix()[: -len(".json")]: read_json(path) for path in folder.glob("*/*.json")}
    return {name: facts for name, facts in found.items() if facts is not None}


def _forget_old(build: Build, names: set[str]) -> None:
    """Remove the shards and media of earlier builds, and what a killed build left, from the output folder."""
    out = build.workspace.out
    with disk_errors(out):
        for path in sorted(out.rglob("*"), reverse=True):
            name = path.relative_to(out).as_posix()
            if name not in names and OURS.fullmatch(name) and not path.is_dir():
                path.unlink()
                for folder in path.relative_to(out).parents:
                    if folder.name and not any((out / folder).iterdir()):
                        (out / folder).rmdir()


def _shards_of_split(
    build: Build, config: str, split: str, samples: pa.Table, paths: dict[str, str]
) -> Iterator[ShardTask]:
    """Cut the samples of one split into shards and row groups."""
    limits = build.recipe.spec.shards
    files = build.files_of(config)
    numbers, rows = samples.column("file").to_numpy(), samples.column("row").to_numpy()
    schema = build.recipe.configs[config].schema
    features = [feature_json(column.type, embedded=build.recipe.embedded) for column in schema.columns.values()]
    weights = samples.column("bytes").to_numpy()
    units = joinable(weights, writer_rows(features))
    if units is None:
        raise SourceError(
            f"{config}/{split}: two rows in a row are over {MOST_JOINED:,} bytes, which `datasets` cannot load",
            hint="say `shards: {media: files}`, or leave such rows out with `curate: [{video: {max_bytes: 1GB}}]`",
        )
    heavy = np.add.reduceat(weights, units) if len(units) else weights
    firsts = np.append(units, len(weights))
    limit = limits.max_bytes if len(units) == len(weights) else min(limits.max_bytes, MOST_JOINED // 2)
    borders = cut(heavy, limit)
    for position, (start_unit, end_unit) in enumerate(borders):
        start, end = int(firsts[start_unit]), int(firsts[end_unit])
        name = f"{config}/{split}-{position:05d}-of-{len(borders):05d}.parquet"
        groups: list[tuple[ShardPart, ...]] = []
        identity: list[Any] = []
        for first, last in cut(heavy[start_unit:end_unit], min(limits.row_group_bytes, MOST_JOINED)):
            group = slice(int(firsts[start_unit + first]), int(firsts[start_unit + last]))
            parts = []
            for number in np.unique(numbers[group]):
                here = rows[group][numbers[group] == number]
                file = files[number]
                parts.append(
                    ShardPart(records=records_path(build.workspace, file), plan=plan_path(build, file), rows=here)
                )
                identity.append([file.key, fingerprint(here.tolist())])
            groups.append(tuple(parts))
            identity.append("group")
        hashes, columns = (samples.column(name).slice(start, end - start).to_pylist() for name in ("media", "columns"))
        content = [pa.__version__, schema.source, build.recipe.embedded, identity, fingerprint(hashes, columns)]
        beside = {sha256: paths[sha256] for row in hashes for sha256 in row} if paths else {}
        task = ShardTask(
            name=name,
            path=build.workspace.out.absolute() / name,
            schema=schema,
            embedded=build.recipe.embedded,
            cache=build.workspace.cache,
            groups=tuple(groups),
            beside=beside,
            bytes=int(weights[start:end].sum()),
            rows=end - start,
        )
        yield replace(task, key=fingerprint(VERSION, name, content, beside))


def write_shard(task: ShardTask) -> dict[str, Any]:
    """Write one shard (a worker's task); returns its facts for the manifest."""
    schema = task.schema.arrow_schema(embedded=task.embedded)
    media = rows = 0
    recorded = recorded_of(schema)
    first_rows = sum(len(part.rows) for part in task.groups[0])
    with MediaStore(task.cache) as store, writing(task.path) as temporary:
        with pq.ParquetWriter(temporary, schema, **_writer_options(schema, task)) as writer:
            for group in task.groups:
                table, count = _row_group(task, schema, group, store)
                writer.write_table(table, row_group_size=table.num_rows)
                add_row_group(recorded, table, batch_rows=first_rows)
                media += count
                rows += table.num_rows
                tick(table.num_rows)
                del table  # or the next row group would be gathered beside this one
            writer.add_key_value_metadata({"content_defined_chunking": json.dumps(CDC_OPTIONS)})
        assert rows == task.rows == pq.read_metadata(temporary).num_rows, f"{task.name}: not the rows of the plan"
        sha256, size = hash_file(temporary)
    return {
        "name": task.name,
        "key": task.key,
        "sha256": sha256,
        "bytes": size,
        "rows": rows,
        "media": media,
        "recorded": recorded,
    }


def _writer_options(schema: pa.Schema, task: ShardTask) -> dict[str, Any]:
    """Return how columns are stored: media plain and uncompressed, the rest with a dictionary and Snappy."""
    media = {column.name for column in task.schema.media_columns} if task.embedded else set()
    plain = [leaf for item in schema if item.name in media for leaf in _leaves(item.name, item.type)]
    rest = [leaf for item in schema if item.name not in media for leaf in _leaves(item.name, item.type)]
    return {
        "compression": {**dict.fromkeys(plain, "none"), **dict.fromkeys(rest, "snappy")},
        "use_dictionary": rest if plain else True,
        "column_encoding": dict.fromkeys(plain, "PLAIN") or None,
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


def _row_group(
    task: ShardTask, schema: pa.Schema, parts: tuple[ShardPart, ...], store: MediaStore
) -> tuple[pa.Table, int]:
    """Return the rows of one row group with their media, and how many media they hold."""
    names = [column.name for column in task.schema.value_columns]
    asks = [f"__media.{column.name}" for column in task.schema.media_columns if column.is_list]
    values = pa.concat_tables(
        [table for part in parts for table in take_rows(part.records, part.rows, [*names, *asks] or ["__line"])]
    )
    plans = pa.concat_tables([table for part in parts for table in take_rows(part.plan, part.rows, ["media"])])
    media = plans.column("media").to_pylist()
    columns = {name: values.column(name) for name in names}
    for number, column in enumerate(task.schema.media_columns):
        rows = [[medium for medium in row if medium["column"] == number] for row in media]
        if column.is_list:
            absent = _one_chunk(pc.is_null(values.column(f"__media.{column.name}")))
            columns[column.name] = _media_lists(task, rows, absent, store)
        else:
            assert column.rules.nullable or all(rows)
            columns[column.name] = _media_column(task, rows, store)
    table = pa.Table.from_arrays([columns[name] for name in schema.names], schema=schema)
    return table, sum(len(row) for row in media)


def _one_chunk(column: Any) -> Any:
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def _media_lists(task: ShardTask, rows: list[list[dict[str, Any]]], absent: pa.Array, store: MediaStore) -> pa.Array:
    """Return a column of lists of media; a list that the source did not have is null, not empty."""
    offsets = pa.array(np.concatenate([[0], np.cumsum([len(row) for row in rows])]), pa.int32())
    items = _media_items(task, [medium for row in rows for medium in row], store)
    return pa.ListArray.from_arrays(offsets, items, mask=absent if absent.true_count else None)


def _media_column(task: ShardTask, rows: list[list[dict[str, Any]]], store: MediaStore) -> pa.Array:
    """Return a column of one medium a row, or null."""
    items = _media_items(task, [medium for row in rows for medium in row], store)
    if len(items) == len(rows):
        return items
    positions = iter(range(len(items)))
    return items.take(pa.array([next(positions) if row else None for row in rows], pa.int64()))


def _media_items(task: ShardTask, media: list[dict[str, Any]], store: MediaStore) -> pa.Array:
    """Return media: embedded bytes, or their paths beside the shards."""
    if not task.embedded:
        return pa.array([task.beside[medium["sha256"]] for medium in media], pa.string())
    names = pa.array([medium["name"] for medium in media], pa.string())
    return pa.StructArray.from_arrays([_bytes_of(media, store), names], fields=list(MEDIA_STRUCT))


def _bytes_of(media: list[dict[str, Any]], store: MediaStore) -> pa.Array:
    """Read media into one buffer, each checked against its hash, without a copy on the way to Arrow."""
    offsets = np.concatenate([[0], np.cumsum([medium["size"] for medium in media], dtype=np.int64)])
    assert offsets[-1] <= 2**31 - 1, "row groups are cut, and single cells refused, so that this holds"
    buffer = np.empty(int(offsets[-1]), np.uint8)
    view = memoryview(buffer.data)
    for medium, start, end in zip(media, offsets[:-1], offsets[1:], strict=True):
        store.read_into(medium["sha256"], Path(medium["path"]), view[start:end])
    return pa.Array.from_buffers(
        pa.binary(), len(media), [None, pa.py_buffer(offsets.astype(np.int32)), pa.py_buffer(buffer)]
    )
