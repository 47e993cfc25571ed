"""Reading one process's rows and media out of shards: media where they lie, the rest by row group, remembered a while."""

from __future__ import annotations

import hashlib
import os
from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.checks.value_hashes import is_list, plain
from pipeline.errors import RowRejected
from pipeline.media.location import FilePart
from train.example import TrainError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipeline.media.location import Location
    from train.feed.index import IndexedShard
    from train.feed.media_record import MediaRecord

IN_MEMORY = 64 << 20
"""Bytes of media that are read whole and proved by their hash; larger ones are read where a decoder wants them."""
TEXTS_KEPT = 64 << 20
"""Bytes of rows without media that a process remembers, and at least one row group."""
MEDIA_KEPT = 256 << 20
"""Likewise of media that lie in no place of their own, because their shard is compressed."""
_OPEN = 64
"""Shards that a process has open at a time."""
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

    def values(self, shard: int, group: int, row: int) -> dict[str, Any]:
        """Return the columns without media of a row, which is counted in its row group.

        Raises:
            RowRejected: `shard.damaged`.
            TrainError: the shard is gone or changed.
        """
        if not self._columns:
            return {}
        table = self._texts.get((shard, group))
        if table is None:
            table = self._read_group(shard, group, self._columns)
            self._texts.put((shard, group), table)
        (values,) = table.slice(row, 1).to_pylist()
        found: dict[str, Any] = values
        return found

    def first_values(self, shard: int, column: str, rows: int) -> pa.Array:
        """Return the first values of a column.

        Raises:
            RowRejected: `shard.damaged`.
        """
        table = self._read_group(shard, 0, [column]).slice(0, rows)
        return table.column(column).combine_chunks()

    def _read_group(self, shard: int, group: int, columns: list[str]) -> pa.Table:
        _, file = self._opened(shard)
        try:
            return file.read_row_group(group, columns=columns, use_threads=False)
        except _UNREADABLE as error:
            what = " ".join(str(error).split())[:300]
            raise RowRejected("shard.damaged", f"row group {group} cannot be read: {what}") from None

    def medium(self, shard: int, group: int, row: int, column: str, record: MediaRecord) -> Location | bytes:
        """Return a medium's bytes, which are proved to be those that were indexed; or where they are, when it is large.

        `row` is counted in its row group.

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
            descriptor, _ = self._opened(shard)
            if record.size > IN_MEMORY:
                return FilePart(self._shards[shard].path, record.offset, record.size)
            data = _read_at(descriptor, record.offset, record.size)
        else:
            data = self._out_of_group(shard, group, row, column, record.position)
        if hashlib.sha256(data).digest() != record.sha256:
            raise RowRejected("media.changed", "its bytes are not those that were indexed: a file changed or is damaged")
        return data

    def _out_of_group(self, shard: int, group: int, row: int, column: str, position: int) -> bytes:
        """Return a medium of a shard that holds it compressed."""
        key = (shard, group, column)
        table = self._media.get(key)
        if table is None:
            table = self._read_group(shard, group, [column])
            self._media.put(key, table)
        value = plain(table.column(0).slice(row, 1).combine_chunks())
        if is_list(value.type):
            value = plain(value.flatten()).slice(position, 1)
        if pa.types.is_struct(value.type):
            value = value.field("bytes")
        data: bytes | None = value[0].as_py()
        if data is None:
            raise RowRejected("media.changed", "it is not there any more")
        return data


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


def group_starts(rows: Sequence[int]) -> np.ndarray:
    """Return the first row of each row group, and behind them the number of all rows."""
    return np.concatenate([[0], np.cumsum(np.asarray(rows, np.int64))])
