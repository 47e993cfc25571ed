"""Digests of the rows of shards, by content: read once, a batch at a time, and kept for the releases to come.

    <cache>/<sha256>.arrow            a digest (two words of 64 bits) for each row of the shard with this content
    <cache>/<sha256>.<column>.arrow   the same of the values of one column, named by a hash of its name

A digest has 16 bytes, whatever media a row holds.
"""

from __future__ import annotations

import hashlib
import io
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.checks.footers import Footer, read_footers
from pipeline.errors import SourceError
from pipeline.executor import InProcess, tick
from pipeline.publish.row_digests import LANES, row_digests, value_digests
from pipeline.row_file import read_rows, write_rows
from pipeline.sources.hub_listing import shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from pipeline.checks.files import DatasetFiles
    from pipeline.executor import Advance, Executor

VERSION = b"1"
"""Raised when digests are made in another way, so that old ones are not compared with new ones."""
BATCH_BYTES, BATCH_ROWS = 16 << 20, 512
"""Values of one batch at the most, as far as the footer tells."""
BUFFER, REMOTE_BUFFER = 1 << 20, 4 << 20
"""Bytes of a column that are read at once, from a disk and from a hub."""
WHOLE_BYTES = 16 << 20
"""A shard of a hub that is no larger is fetched with one request."""


@dataclass(frozen=True, kw_only=True)
class Shard:
    """A shard, known by its content."""

    key: str
    """Its SHA-256, or where it lies when nobody says that."""
    sha256: str | None
    files: DatasetFiles
    name: str
    size: int

    @property
    def is_here(self) -> bool:
        """Whether it lies on this machine."""
        return self.files.path(self.name) is not None


@dataclass(frozen=True, kw_only=True, slots=True)
class Facts:
    """What is known of a shard without reading its rows."""

    rows: int
    columns: frozenset[str]
    """Those that hold one plain value a row, and could tell rows apart."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """A shard that is to be read: all of its rows (`None`), or columns."""

    shard: Shard
    columns: tuple[str | None, ...]


class Digests:
    """Digests of shards; `cache` is where they are kept, or None: as long as this lives."""

    def __init__(self, cache: Path | None) -> None:
        self._cache = cache
        self._facts: dict[str, Facts] = {}
        self._held: dict[tuple[str, str | None], np.ndarray] = {}

    def facts(self, shards: Iterable[Shard]) -> Mapping[str, Facts]:
        """Return what is known of shards, by their keys; the footers of those that are not known are read.

        Raises:
            SourceError: a footer cannot be read.
        """
        unknown: dict[int, list[Shard]] = {}
        for shard in {shard.key: shard for shard in shards if shard.key not in self._facts}.values():
            if (kept := self._kept(shard, None)) is not None:
                self._facts[shard.key] = kept[1]
            else:
                unknown.setdefault(id(shard.files), []).append(shard)
        for group in unknown.values():
            names = {shard.name: shard.size for shard in group}
            footers = read_footers(group[0].files, names, names)
            for shard in group:
                footer = footers[shard.name]
                if not isinstance(footer, Footer):
                    raise _unreadable(shard, footer)
                self._facts[shard.key] = Facts(rows=footer.rows, columns=_flat(footer.schema))
        return self._facts

    def missing(self, wanted: Mapping[str, tuple[Shard, set[str | None]]]) -> list[Task]:
        """Return what must be read for the digests of shards, of all of their rows (`None`) or of columns."""
        tasks = []
        for shard, columns in wanted.values():
            lacking = [column for column in columns if self._find(shard, column) is None]
            if lacking:
                tasks.append(Task(shard=shard, columns=tuple(sorted(lacking, key=str))))
        return tasks

    def read(self, tasks: Iterable[Task], executor: Executor, advance: Advance | None) -> None:
        """Read shards, those of this machine beside each other.

        Raises:
            SourceError: a shard cannot be read.
        """
        waiting = list(tasks)
        here = [task for task in waiting if task.shard.is_here]
        elsewhere = [task for task in waiting if not task.shard.is_here]
        for these, how in ((here, executor), (elsewhere, InProcess())):
            work = sum(task.shard.size for task in these)
            results = how.map(digests_of_shard, these, work_bytes=work, advance=advance or _nothing)
            for task, found in zip(these, results, strict=True):
                for column, digests in found.items():
                    self._keep(task.shard, column, digests)

    def of(self, shard: Shard, column: str | None = None) -> np.ndarray:
        """Return digests that were read, of shape (rows, 2)."""
        found = self._find(shard, column)
        assert found is not None, "read before"
        return found

    def _find(self, shard: Shard, column: str | None) -> np.ndarray | None:
        if (held := self._held.get((shard.key, column))) is not None:
            return held
        kept = self._kept(shard, column)
        return kept[0] if kept is not None else None

    def _keep(self, shard: Shard, column: str | None, digests: np.ndarray) -> None:
        path = self._path(shard, column)
        if path is None:
            self._held[shard.key, column] = digests
            return
        facts = self.facts([shard])[shard.key]
        told = {b"version": VERSION, b"columns": json.dumps(sorted(facts.columns)).encode()}
        lanes = {f"lane_{lane}": digests[:, lane] for lane in range(LANES)}
        write_rows(path, pa.table(lanes).replace_schema_metadata(told))

    def _kept(self, shard: Shard, column: str | None) -> tuple[np.ndarray, Facts] | None:
        """Return digests that an earlier run kept; what is damaged is none."""
        path = self._path(shard, column)
        if path is None or not path.is_file():
            return None
        try:
            table = read_rows(path)
            told = table.schema.metadata or {}
            if told.get(b"version") != VERSION:
                return None
            columns = frozenset(map(str, json.loads(told[b"columns"])))
            digests = np.stack([table.column(f"lane_{lane}").to_numpy() for lane in range(LANES)], axis=1)
        except (OSError, pa.ArrowException, ValueError, KeyError, TypeError):
            return None
        return digests.astype(np.uint64, copy=False), Facts(rows=len(digests), columns=columns)

    def _path(self, shard: Shard, column: str | None) -> Path | None:
        if self._cache is None or shard.sha256 is None:
            return None
        of = "" if column is None else f".{hashlib.sha256(column.encode('utf-8', 'replace')).hexdigest()[:16]}"
        return self._cache / f"{shard.sha256}{of}.arrow"


def _nothing(amount: int) -> None:
    """Show nothing."""


def digests_of_shard(task: Task) -> dict[str | None, np.ndarray]:
    """Read a shard (a worker's task); ticks compressed bytes.

    Raises:
        SourceError: it cannot be read.
    """
    shard = task.shard
    path = shard.files.path(shard.name)
    found: dict[str | None, list[np.ndarray]] = {column: [np.zeros((0, LANES), np.uint64)] for column in task.columns}
    try:
        source = path if path is not None else _remote(shard)
        with pq.ParquetFile(source, pre_buffer=False, buffer_size=BUFFER if path else REMOTE_BUFFER) as file:
            metadata = file.metadata
            leaves = [
                number
                for number in range(metadata.num_columns)
                if None in task.columns or metadata.schema.column(number).path in task.columns
            ]
            for group in range(metadata.num_row_groups):
                described = metadata.row_group(group)
                parts = [described.column(leaf) for leaf in leaves]
                weight = sum(part.total_uncompressed_size for part in parts) / max(described.num_rows, 1)
                rows = max(1, min(BATCH_ROWS, int(BATCH_BYTES / max(weight, 1))))
                for batch in file.reader.iter_batches(
                    rows, row_groups=[group], column_indices=leaves, use_threads=False
                ):
                    for column, digests in found.items():
                        digests.append(row_digests(batch) if column is None else value_digests(batch.column(column)))
                tick(sum(part.total_compressed_size for part in parts))
    except (pa.ArrowException, OSError, ValueError, KeyError) as error:
        raise _unreadable(shard, " ".join(str(error).split())[:300]) from None
    return {column: np.concatenate(digests) for column, digests in found.items()}


def _remote(shard: Shard) -> BinaryIO:
    file = shard.files.open(shard.name)
    return io.BytesIO(file.read()) if shard.size <= WHOLE_BYTES else file


def _flat(schema: pa.Schema) -> frozenset[str]:
    """Return the columns that hold one plain value a row."""
    names = schema.names
    found = set()
    for field in schema:
        kind = field.type.storage_type if isinstance(field.type, pa.BaseExtensionType) else field.type
        if not pa.types.is_nested(kind) and names.count(field.name) == 1:
            found.add(field.name)
    return frozenset(found)


def _unreadable(shard: Shard, why: str) -> SourceError:
    what = f"{shown(shard.name)} of {shard.files.shown} cannot be read: {why}"
    return SourceError(what, hint="its rows are needed to say what changed; validate it")
