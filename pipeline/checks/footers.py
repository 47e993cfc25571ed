"""Footers of Parquet files: read many at once, and kept small, so that thousands of shards need little memory."""

from __future__ import annotations

import functools
import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.checks.lfs_pointer import LFS_POINTER, is_lfs_pointer

if TYPE_CHECKING:
    from collections.abc import Collection

    from pipeline.checks.files import DatasetFiles

AT_ONCE = 16
"""Footers read beside each other, which matters where they come over a network."""
MAGIC = b"PAR1"
NO_PARQUET = "it does not end as Parquet files do"
CUT_OFF = "its footer says that it has {:,} bytes, and the file has {:,}"
END_BYTES = 1 << 16
"""Read from the end of a file at first; most footers are smaller."""
WHOLE_BYTES, PACKED_BYTES = 1 << 22, 1 << 26
"""Footers that are kept as they are (in memory they weigh some six times as much), and those that are kept packed. What
is beyond is read again when somebody asks."""
UNPACKED = 4
"""Footers that stay unpacked."""
ALIKE = 8
"""Schemas that a new one is compared with, as most shards have the same."""


@dataclass(frozen=True, slots=True)
class RowGroup:
    """One row group, as the footer describes it."""

    rows: int
    bytes: int
    """Uncompressed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Footer:
    """What the end of a shard says."""

    rows: int
    schema: pa.Schema
    groups: tuple[RowGroup, ...]
    place: Place

    @property
    def metadata(self) -> pq.FileMetaData:
        """Everything that it says; unpacked, or read again."""
        kept = self.place.kept
        return kept if isinstance(kept, pq.FileMetaData) else _metadata(self.place)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Place:
    """Where a footer can be had once more."""

    files: DatasetFiles
    name: str
    size: int
    kept: pq.FileMetaData | bytes | None
    """The footer, or its bytes packed; None: there was no more room."""


@dataclass
class _Shared:
    """What the footers of a dataset share while they are read."""

    room_whole: int = WHOLE_BYTES
    room_packed: int = PACKED_BYTES
    schemas: list[pa.Schema] = field(default_factory=list)

    def keep(self, metadata: pq.FileMetaData, end: bytes) -> pq.FileMetaData | bytes | None:
        """Return as much of a footer as there is room for."""
        self.room_whole -= len(end)
        if self.room_whole > 0:
            return metadata
        packed = zlib.compress(end, 1)
        self.room_packed -= len(packed)
        return packed if self.room_packed > 0 else None

    def schema(self, schema: pa.Schema) -> pa.Schema:
        """Return the same schema, if there was one, so that it is held once."""
        for other in self.schemas:
            if other.equals(schema, check_metadata=True):
                return other
        self.schemas = [schema, *self.schemas[: ALIKE - 1]]
        return schema


def read_footers(files: DatasetFiles, sizes: dict[str, int], names: Collection[str]) -> dict[str, Footer | str]:
    """Read the footers of shards, or find out why they cannot be read."""
    read = functools.partial(_read, files, sizes, _Shared())
    with ThreadPoolExecutor(AT_ONCE) as threads:
        return dict(zip(names, threads.map(read, names), strict=True))


def _read(files: DatasetFiles, sizes: dict[str, int], shared: _Shared, name: str) -> Footer | str:
    try:
        if is_lfs_pointer(files, name, sizes[name]):
            return LFS_POINTER
        end = _end(files, name, sizes[name])
        metadata = _parsed(end)
        groups = (metadata.row_group(number) for number in range(metadata.num_row_groups))
        return Footer(
            rows=metadata.num_rows,
            schema=shared.schema(metadata.schema.to_arrow_schema()),
            groups=tuple(RowGroup(group.num_rows, group.total_byte_size) for group in groups),
            place=Place(files=files, name=name, size=sizes[name], kept=shared.keep(metadata, end)),
        )
    except (pa.ArrowException, OSError, ValueError) as error:
        return " ".join(str(error).split())[:300]


def _end(files: DatasetFiles, name: str, size: int) -> bytes:
    """Return the footer of a file with its length and magic.

    Raises:
        ValueError: the file is no Parquet.
    """
    with files.open(name) as file:
        file.seek(max(0, size - END_BYTES))
        end = file.read()
        length = int.from_bytes(end[-8:-4], "little") + 8
        if end[-4:] != MAGIC:
            raise ValueError(NO_PARQUET)
        if length > size - len(MAGIC):
            raise ValueError(CUT_OFF.format(length, size))
        if length > len(end):
            file.seek(size - length)
            end = file.read()
        return end[-length:]


def _parsed(end: bytes) -> pq.FileMetaData:
    return pq.read_metadata(pa.BufferReader(MAGIC + end))


@functools.lru_cache(maxsize=UNPACKED)
def _metadata(place: Place) -> pq.FileMetaData:
    end = zlib.decompress(place.kept) if place.kept is not None else _end(place.files, place.name, place.size)
    return _parsed(end)
