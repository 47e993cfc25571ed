"""Members that stay in their archive: where each lies in it, written down once, and found again by its path.

Only what an archive holds as it is can stay: a member of a tar that is not compressed, or a stored one of a zip. In
compressed data there is no place to begin to read but the start.
"""

from __future__ import annotations

import os
from array import array
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import pyarrow as pa

from pipeline.errors import WorkspaceError
from pipeline.media.location import FilePart
from pipeline.row_file import read_rows, schema_of, write_rows

if TYPE_CHECKING:
    from pathlib import Path

_HASH_BYTES = 32
INDEX_SCHEMA = pa.schema(
    [("name", pa.string()), ("offset", pa.int64()), ("size", pa.int64()), ("sha256", pa.binary(_HASH_BYTES))]
)
_ARCHIVE = b"archive"
"""The key under which the file of an index holds the archive's hash."""


class StayingMembers:
    """Members that stay in their archive, gathered as columns: there may be millions."""

    def __init__(self) -> None:
        self._names: list[str] = []
        self._offsets = array("q")
        self._sizes = array("q")
        self._hashes = bytearray()

    def __len__(self) -> int:
        return len(self._names)

    def add(self, name: str, *, offset: int, size: int, sha256: bytes) -> None:
        """Add a member."""
        self._names.append(name)
        self._offsets.append(offset)
        self._sizes.append(size)
        self._hashes += sha256

    def table(self) -> pa.Table:
        """Return them as an index."""
        data = [None, pa.py_buffer(bytes(self._hashes))]
        hashes = pa.Array.from_buffers(pa.binary(_HASH_BYTES), len(self), data)
        columns = [pa.array(self._names, pa.string()), pa.array(self._offsets), pa.array(self._sizes), hashes]
        return pa.Table.from_arrays(columns, schema=INDEX_SCHEMA)


def write_index(path: Path, members: StayingMembers, *, sha256: str) -> None:
    """Write down where members lie in the archive of a hash."""
    write_rows(path, members.table().replace_schema_metadata({_ARCHIVE: sha256}))


def read_index(path: Path) -> pa.Table | None:
    """Return an index, or None when there is none or it is damaged (the archive is then read anew)."""
    try:
        table = read_rows(path)
    except (OSError, pa.ArrowInvalid):
        return None
    return table if table.schema.equals(INDEX_SCHEMA) else None


def archive_of(index: Path) -> str | None:
    """Return the hash of the archive that an index belongs to."""
    try:
        sha256 = (schema_of(index).metadata or {}).get(_ARCHIVE)
    except (OSError, pa.ArrowInvalid):
        return None
    return None if sha256 is None else str(sha256, "ascii")


@dataclass(frozen=True, slots=True)
class MemberInPlace:
    """A member that stays in its archive."""

    location: FilePart
    sha256: str


class ArchiveInPlace:
    """An archive of which some members stay in it; the others, and all folders, are in a folder as usual."""

    def __init__(self, path: Path, *, sha256: str, stat: os.stat_result, folder: Path, index: pa.Table) -> None:
        """Take an archive that was as `stat` says before it was hashed; the others are in `folder`, a real path."""
        self.path, self.sha256, self.stat = path, sha256, stat
        self.names: list[str] = index.column("name").to_pylist()
        """The members that stay, by their POSIX paths in the archive."""
        self._numbers = {name: number for number, name in enumerate(self.names)}
        self._offsets, self._sizes = (index.column(name).to_numpy() for name in ("offset", "size"))
        hashes = index.column("sha256").combine_chunks()
        self._hashes = memoryview(hashes.buffers()[1])[_HASH_BYTES * hashes.offset :]
        self._inside = f"{folder}/"

    def find(self, path: str) -> MemberInPlace | None:
        """Return the member that would be the file of a real path, had all been unpacked."""
        number = self._numbers.get(path[len(self._inside) :]) if path.startswith(self._inside) else None
        if number is None:
            return None
        part = FilePart(self.path, int(self._offsets[number]), int(self._sizes[number]))
        return MemberInPlace(part, self._hashes[_HASH_BYTES * number : _HASH_BYTES * (number + 1)].hex())


@dataclass(frozen=True, kw_only=True, slots=True)
class _Opened:
    """The members of a shard that stay in it, by their names."""

    table: pa.Table
    numbers: dict[str, int]


class ShardInPlace:
    """One archive of many, used as if it were a folder of its members: some stay in it, the others lie in a folder."""

    def __init__(self, path: Path, *, sha256: str, stat: os.stat_result, index: Path, folder: Path) -> None:
        """Take an archive that was as `stat` says before it was hashed; `index` is read when a member is asked for."""
        self.path, self.sha256, self.stat = path, sha256, stat
        self._index, self._folder = index, folder

    def find(self, name: str) -> MemberInPlace | Path | None:
        """Return the member of a POSIX path in the archive: in its place, or as the file that it was unpacked to."""
        opened = _opened(self._index)
        number = opened.numbers.get(name)
        if number is None:
            file = self._folder / name
            inside = os.path.realpath(file) == os.fspath(file)
            return file if inside and file.is_file() else None
        offset, size, sha256 = (opened.table.column(key)[number].as_py() for key in ("offset", "size", "sha256"))
        return MemberInPlace(FilePart(self.path, offset, size), sha256.hex())


@lru_cache(maxsize=8)
def _opened(index: Path) -> _Opened:
    """Return what an index says; rows ask for the members of few shards at a time."""
    table = read_index(index)
    if table is None:
        raise WorkspaceError(f"{index} is missing or damaged", hint="remove it and run the build again")
    return _Opened(table=table, numbers={name: number for number, name in enumerate(table.column("name").to_pylist())})
