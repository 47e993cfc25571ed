"""Indexes of a dataset's shards: made once, in one pass over their media, and found again by what the files are."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from pipeline.checks.media_orders import Cutting, orders_of
from pipeline.checks.media_pass import answers
from pipeline.checks.media_sources import beside
from pipeline.errors import RowRejected
from pipeline.executor import default_workers
from pipeline.manifest import fingerprint
from pipeline.media.bounded import BoundedProcesses
from pipeline.media.probe import hash_file
from pipeline.workspace import holding
from train.example import TrainError
from train.feed.media_record import MediaRecord
from train.feed.shard_index import ShardIndex, write_index

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from pipeline.checks.dataset import Dataset
    from pipeline.checks.media_sources import Source

VERSION = 1
"""Raised when an index holds more or other things, so that old ones are not believed."""
_BESIDE = "beside"
"""What of an index says which files lay beside the shard, and how large they were."""
MISSING = "media.missing"
JOB = "train.feed.jobs:index_media"


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexedShard:
    """A shard, and its index."""

    name: str
    """POSIX path in the dataset."""
    path: Path
    index: Path
    size: int
    mtime_ns: int
    """Of the shard when it was indexed; another shard has another index."""


def index_shards(
    dataset: Dataset,
    names: Sequence[str],
    sources: list[Source],
    folder: Path,
    *,
    processes: int | None = None,
    advance: Callable[[int], object] = lambda _: None,
) -> list[IndexedShard]:
    """Return the shards with their indexes; those that are not there yet are made, one after the other.

    Decoders run in bounded processes, so that a medium that harms one costs its row. `advance` is called with the
    number of media that were looked at. Of several processes that want an index, one makes it.

    Raises:
        TrainError: a shard changed while it was looked at.
        ShardwrightError: no process can be started, or the disk is full.
    """
    shards = [_shard(dataset, name, sources, folder) for name in names]
    sizes = beside(dataset)
    if all(_is_whole(shard, sizes) for shard in shards):
        return shards
    root = dataset.files.path(".")
    lock = folder / f"lock-{fingerprint(str(root))[:16]}"
    with holding(lock), BoundedProcesses(processes or default_workers()) as decoders, ThreadPoolExecutor(1) as aside:
        for shard in shards:
            # another process may have made it meanwhile
            if not _is_whole(shard, sizes):
                digest = aside.submit(hash_file, shard.path)
                found = _pass_over(dataset, shard.name, sources, decoders, advance)
                if _state(shard.path) != (shard.size, shard.mtime_ns):
                    raise TrainError(f"{shard.name} changed while it was read", hint="run it again when it is complete")
                told = {"sha256": digest.result()[0], "media": _media_digest(found)}
                files = {record.file for _, record in found if record.file is not None}
                missing = any(record.refused is not None and record.refused.code == MISSING for _, record in found)
                told[_BESIDE] = _lying(files, sizes, missing=missing)
                write_index(shard.index, found, told)
    return shards


def _shard(dataset: Dataset, name: str, sources: list[Source], folder: Path) -> IndexedShard:
    path = dataset.files.path(name)
    assert path is not None, "datasets are trained on from folders"
    facts = path.stat()
    columns = [(source.name, source.number, source.kind, source.is_list) for source in sources]
    made_by = (VERSION, version("av"), version("pillow"))
    key = fingerprint(made_by, str(path.absolute()), facts.st_ino, facts.st_size, facts.st_mtime_ns, columns)
    return IndexedShard(
        name=name, path=path, index=folder / f"{key[:32]}.arrow", size=facts.st_size, mtime_ns=facts.st_mtime_ns
    )


def _state(path: Path) -> tuple[int, int]:
    facts = path.stat()
    return facts.st_size, facts.st_mtime_ns


def _is_whole(shard: IndexedShard, sizes: dict[str, int]) -> bool:
    """Tell whether an index is there, and the files beside the shard are those that it was made with."""
    with suppress(OSError, ValueError, KeyError, pa.ArrowException):
        index = ShardIndex(shard.index)
        missing = any(refusal.code == MISSING for refusal in index.refused_rows().values())
        return index.told[_BESIDE] == _lying(index.files(), sizes, missing=missing)
    return False


def _lying(files: set[str], sizes: dict[str, int], *, missing: bool) -> str:
    """Return a fingerprint of the files beside a shard; of all that there are, where one is missing."""
    return fingerprint(sizes if missing else {file: sizes.get(file) for file in files})


def _pass_over(
    dataset: Dataset, name: str, sources: list[Source], decoders: BoundedProcesses, advance: Callable[[int], object]
) -> list[tuple[int, MediaRecord]]:
    """Look at the media of a shard."""
    footer = dataset.footer(name)
    assert footer is not None, "told before"
    rows = sum(one.rows for one in (dataset.footer(shard) for shard in dataset.shards) if one is not None)
    cutting = Cutting(full=False, hashes=False, each_beside=sum(beside(dataset).values()) // max(1, rows))
    orders = list(orders_of(dataset, name, list(range(len(footer.groups))), sources, cutting))
    found: list[tuple[int, MediaRecord]] = []
    for order, answer in answers(orders, decoders, job=JOB):
        if isinstance(answer, RowRejected):
            row, position = order.start + order.first, order.position or 0
            found.append((order.source.number, MediaRecord(row=row, position=position, refused=answer)))
            advance(1)
        else:
            found += [(order.source.number, MediaRecord.of(value)) for value in answer]
            advance(len(answer))
    return found


def _media_digest(found: list[tuple[int, MediaRecord]]) -> str:
    """Return a fingerprint of the media, which may lie beside the shard."""
    told: list[Any] = [[number, one.row, one.position, one.sha256.hex()] for number, one in found]
    return fingerprint(sorted(told))
