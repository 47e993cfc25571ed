"""Reading rows and media out of shards: media where they lie, the rest by row group, remembered for a while."""

from __future__ import annotations

import hashlib
import os
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.checks.media_rows import group_reader, media_of
from pipeline.errors import RowRejected
from pipeline.media.location import FilePart
from train.example import TrainError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pipeline.media.location import Location
    from train.feed.index import IndexedShard
    from train.feed.media_record import MediaRecord
    from train.feed.plan import RowPlace

IN_MEMORY = 64 << 20
"""Bytes of media that are read whole and proved by their hash; larger ones are read where a decoder wants them."""
TEXTS_KEPT = 64 << 20
"""Bytes of rows without media that a process remembers, and at least one row group."""
MEDIA_KEPT = 256 << 20
"""Likewise of media that lie in no place of their own, because their shard is compressed."""
_READ_AT_ONCE = 16 << 20
"""Bytes of these that are read at a time, when a row group is more than that."""
_OPEN = 128
"""Shards that a process has open at a time."""
CHANGED = (
    "its bytes are not those that were indexed: the file is damaged, or it changed, and its index (train/index in the "
    "cache) has to be removed"
)
"""What is said of a medium that is another one than it was."""
_UNREADABLE = (pa.ArrowException, OSError, ValueError)


class _Kept:
    """Tables by key, the last used ones, up to so many bytes and at least one."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._bytes = 0
        self._tables: OrderedDict[Any, pa.Table] = OrderedDict()

    def get(self, key: Any) -> pa.Table | None:
        table = self._tables.get(key)
        if table is not None:
            self._tables.move_to_end(key)
        return table

    def put(self, key: Any, table: pa.Table) -> None:
        self._tables[key] = table
        self._bytes += table.nbytes
        while self._bytes > self._most and len(self._tables) > 1:
            _, old = self._tables.popitem(last=False)
            self._bytes -= old.nbytes


class ShardReader:
    """Reads rows and media of the shards of a split; for one process, and for one thread of it at a time."""

    def __init__(self, root: Path, shards: Sequence[IndexedShard], texts: Sequence[str]) -> None:
        self._root = root
        self._shards = shards
        self._columns = list(texts)
        self._texts = _Kept(TEXTS_KEPT)
        self._media = _Kept(MEDIA_KEPT)
        self._open: OrderedDict[int, tuple[int, pq.ParquetFile]] = OrderedDict()

    def close(self) -> None:
        """Close all files."""
        while self._open:
            self._let_go(*self._open.popitem(last=False)[1])

    @staticmethod
    def _let_go(descriptor: int, file: pq.ParquetFile) -> None:
        file.close()
        os.close(descriptor)

    def _opened(self, shard: int) -> tuple[int, pq.ParquetFile]:
        """Return a shard's descriptor and its reader.

        Raises:
            TrainError: it is gone, or another one than was indexed.
        """
        found = self._open.get(shard)
        if found is not None:
            self._open.move_to_end(shard)
            return found
        known = self._shards[shard]
        hint = "run it again: a shard that changed is indexed anew, and a run that was begun with it ends here"
        try:
            descriptor = os.open(known.path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise TrainError(f"{known.name} cannot be read any more: {error.strerror}", hint=hint) from None
        facts = os.fstat(descriptor)
        if (facts.st_size, facts.st_mtime_ns) != (known.size, known.mtime_ns):
            os.close(descriptor)
            raise TrainError(f"{known.name} changed since it was indexed", hint=hint)
        # mapped and without threads of Arrow's, which do not survive a fork
        found = descriptor, pq.ParquetFile(known.path, memory_map=True, pre_buffer=False)
        self._open[shard] = found
        if len(self._open) > _OPEN:
            self._let_go(*self._open.popitem(last=False)[1])
        return found

    def values(self, place: RowPlace) -> dict[str, Any]:
        """Return the columns without media of a row.

        Raises:
            RowRejected: `shard.damaged`.
            TrainError: the shard is gone or changed.
        """
        if not self._columns:
            return {}
        key = (place.shard, place.group)
        table = self._texts.get(key)
        if table is None:
            table = self._read_group(place, self._columns)
            self._texts.put(key, table)
        try:
            (values,) = table.slice(place.row_of_group, 1).to_pylist()
        except UnicodeDecodeError as error:
            raise RowRejected("shard.damaged", f"a text of it is no UTF-8: {error.reason}") from None
        found: dict[str, Any] = values
        return found

    def _read_group(self, place: RowPlace, columns: list[str]) -> pa.Table:
        _, file = self._opened(place.shard)
        try:
            return file.read_row_group(place.group, columns=columns, use_threads=False)
        except _UNREADABLE as error:
            what = " ".join(str(error).split())[:300]
            raise RowRejected("shard.damaged", f"row group {place.group} cannot be read: {what}") from None

    def medium(self, place: RowPlace, column: str, record: MediaRecord) -> Location | bytes:
        """Return a medium's bytes, which are proved to be those that were indexed; or where they are, when it is large.

        Raises:
            RowRejected: `media.changed`, `media.missing`, `shard.damaged`.
            TrainError: the shard is gone or changed.
        """
        if record.file is not None:
            path = self._root / record.file
            location = path if record.offset is None else FilePart(path, record.offset, record.size)
            if record.size > IN_MEMORY:
                return location
            try:
                data = location.read_bytes()
            except OSError as error:
                raise RowRejected("media.missing", f"it cannot be read: {error.strerror}") from None
        elif record.offset is not None:
            descriptor, _ = self._opened(place.shard)
            if record.size > IN_MEMORY:
                return FilePart(self._shards[place.shard].path, record.offset, record.size)
            data = _read_at(descriptor, record.offset, record.size)
        else:
            data = self._out_of_group(place, column, record.position)
        if hashlib.sha256(data).digest() != record.sha256:
            raise RowRejected("media.changed", CHANGED)
        return data

    def _out_of_group(self, place: RowPlace, column: str, position: int) -> bytes:
        """Return a medium of a shard that holds it compressed."""
        key = (place.shard, place.group, column)
        table = self._media.get(key)
        if table is None:
            rows, weight = self._weight(place, column)
            if weight > MEDIA_KEPT:
                # from the start of its row group on: slow, but nothing large is held
                at_once, path = max(1, _READ_AT_ONCE * rows // weight), str(self._shards[place.shard].path)
                row = place.row_of_group
                return medium_of_group(path, place.group, row, column, position=position, rows_at_once=at_once)
            table = self._read_group(place, [column])
            self._media.put(key, table)
        return _only_one(table.column(0).slice(place.row_of_group, 1).combine_chunks(), position)

    def _weight(self, place: RowPlace, column: str) -> tuple[int, int]:
        """Return the rows of a row group, and the bytes of a column in it when it is not compressed."""
        told = self._opened(place.shard)[1].metadata.row_group(place.group)
        leaves = [told.column(number) for number in range(told.num_columns)]
        mine = [one for one in leaves if one.path_in_schema == column or one.path_in_schema.startswith(f"{column}.")]
        return told.num_rows, sum(leaf.total_uncompressed_size for leaf in mine)


def _only_one(array: pa.Array, position: int) -> bytes:
    """Return the medium at a position of the only row."""
    for medium in media_of(array, position):
        if medium.data is not None:
            return medium.data
    raise RowRejected("media.changed", "it is not there any more")


def medium_of_group(path: str, group: int, row: int, column: str, *, position: int, rows_at_once: int) -> bytes:
    """Return a medium of a row group that is read from its start on.

    Raises:
        RowRejected: `media.changed`, `shard.damaged`.
    """
    try:
        for _, batch in group_reader(path, group, (column,), rows_at_once).rows(row, 1):
            return _only_one(batch.column(0), position)
    except _UNREADABLE as error:
        raise RowRejected("shard.damaged", " ".join(str(error).split())[:300]) from None
    raise RowRejected("media.changed", "it is not there any more")


def _read_at(descriptor: int, offset: int, size: int) -> bytes:
    data = os.pread(descriptor, size, offset)
    if len(data) == size:
        return data
    pieces = [data]
    done = len(data)
    while done < size and pieces[-1]:  # the system reads two gigabytes at a time
        pieces.append(os.pread(descriptor, size - done, offset + done))
        done += len(pieces[-1])
    return b"".join(pieces)
