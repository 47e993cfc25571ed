"""The samples of a config as columns: which records file, which row, what it weighs, which media it holds.

Curate, split and the assignment to shards are pure functions of these; nothing here reads a medium.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.row_file import read_batches, take_rows
from pipeline.stages.cache import plan_path
from pipeline.stages.changes import overlay
from pipeline.stages.convert import records_path

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipeline.build import AnnotationFile, Build

KEPT_SCHEMA = pa.schema(
    [
        ("file", pa.int32()),
        ("row", pa.int64()),
        ("line", pa.int64()),
        ("bytes", pa.int64()),
        ("media", pa.list_(pa.string())),
        ("columns", pa.list_(pa.int16())),
        ("origins", pa.list_(pa.string())),
    ]
)
"""file: position among the config's annotation files; row: position in its records; media: hashes in order,
columns: which media column each is in, and origins: the hash of the video that each was cut out of, or its own."""


def load_samples(build: Build, config: str) -> pa.Table:
    """Return the samples of a config whose media could all be had, in the order of the rows."""
    tables = [KEPT_SCHEMA.empty_table()]
    for number, file in enumerate(build.files_of(config)):
        start = 0
        for batch in read_batches(plan_path(build, file), ["ok", "line", "bytes", "media"]):
            rows = pa.array(np.arange(start, start + len(batch)))
            start += len(batch)
            media = batch.column("media")
            table = pa.table(
                [
                    pa.array(np.full(len(batch), number, np.int32)),
                    rows,
                    batch.column("line"),
                    batch.column("bytes"),
                    pa.ListArray.from_arrays(media.offsets, media.values.field("sha256")),
                    pa.ListArray.from_arrays(media.offsets, media.values.field("column")),
                    pa.ListArray.from_arrays(media.offsets, _origins(media.values)),
                ],
                schema=KEPT_SCHEMA,
            )
            tables.append(table.filter(batch.column("ok")))
    return pa.concat_tables(tables)


def _origins(media: pa.StructArray) -> pa.Array:
    return pc.coalesce(media.field("origin"), media.field("sha256"))


def by_file(samples: pa.Table, files: list[AnnotationFile]) -> Iterator[tuple[AnnotationFile, int, np.ndarray]]:
    """Yield each annotation file with the position of its first sample and the rows of its samples."""
    numbers = samples.column("file").to_numpy()
    rows = samples.column("row").to_numpy()
    for number, file in enumerate(files):
        first, last = np.searchsorted(numbers, [number, number + 1])
        if last > first:
            yield file, int(first), rows[first:last]


def iter_values(
    build: Build, samples: pa.Table, config: str, columns: list[str]
) -> Iterator[tuple[int, list[dict[str, Any]]]]:
    """Yield the values of samples in batches, each with the position of its first sample.

    Values are as curation has changed them so far. Rows of a schema that has no values are there too, with nothing but
    their line.
    """
    for first, _, _, table in iter_tables(build, samples, config, columns):
        yield first, table.to_pylist()


def iter_tables(
    build: Build, samples: pa.Table, config: str, columns: list[str]
) -> Iterator[tuple[int, int, np.ndarray, pa.Table]]:
    """Yield the same as tables: the first sample's position, the file's number, the rows in its records, and values."""
    changes = overlay(build.workspace.changes(config))
    for file, first, rows in by_file(samples, build.files_of(config)):
        number = samples.column("file")[first].as_py()
        done = 0
        for table in take_rows(records_path(build.workspace, file), rows, columns or ["__line"]):
            here = rows[done : done + table.num_rows]
            yield first + done, number, here, changes.laid_over(table, number, here)
            done += table.num_rows


def media_facts(build: Build, samples: pa.Table, config: str) -> Iterator[tuple[int, list[list[dict[str, Any]]]]]:
    """Yield the media of samples with their facts, in batches, each with the position of its first sample."""
    for file, first, rows in by_file(samples, build.files_of(config)):
        done = 0
        for table in take_rows(plan_path(build, file), rows, ["media"]):
            yield first + done, table.column("media").to_pylist()
            done += table.num_rows


def draw(seed: int, config: str, identity: str) -> int:
    """Return a sample's or group's place in a seeded draw: a 63-bit number that depends on nothing else."""
    digest = blake2b(f"{seed}\0{config}\0{identity}".encode("utf-8", "surrogateescape"), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def identities(samples: pa.Table, files: list[AnnotationFile]) -> Iterator[str]:
    """Yield a name for each sample that stays the same when others come behind it: source, file, row in the file."""
    names = [(f"{file.source}\0{file.name}", file.first_row) for file in files]
    for number, row in zip(samples.column("file").to_pylist(), samples.column("row").to_pylist(), strict=True):
        name, first = names[number]
        yield f"{name}\0{first + row}"


def media_groups(samples: pa.Table) -> np.ndarray:
    """Return a group number for each sample: samples that share any medium, directly or over others, share it.

    Clips and frames that were cut out of one video are one medium here: they look alike.

    Samples without media each have a group of their own. Numbers follow the first appearance.
    """
    media = samples.column("origins").combine_chunks()
    codes = (
        pc.dictionary_encode(media.values).indices.to_numpy(zero_copy_only=False)
        if len(media.values)
        else np.array([], int)
    )
    offsets = media.offsets.to_numpy()
    codes = codes[offsets[0] : offsets[-1]] if len(offsets) else codes
    starts = offsets - offsets[0] if len(offsets) else offsets
    lengths = np.diff(starts)
    parent = np.arange(int(codes.max()) + 1 if len(codes) else 0)

    def root(code: int) -> int:
        while parent[code] != code:
            parent[code] = parent[parent[code]]
            code = parent[code]
        return code

    for position in np.flatnonzero(lengths > 1):
        here = codes[starts[position] : starts[position + 1]]
        first = root(here[0])
        for code in here[1:]:
            parent[root(code)] = first
    groups = np.full(len(lengths), -1, np.int64)
    has_media = lengths > 0
    if has_media.any():
        roots = np.array([root(code) for code in range(len(parent))])
        groups[has_media] = roots[codes[starts[:-1][has_media]]]
    alone = np.flatnonzero(~has_media)
    groups[alone] = len(parent) + np.arange(len(alone))
    return groups
