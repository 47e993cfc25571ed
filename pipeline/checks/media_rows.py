"""The media of one row group, read from front to back in small batches, so that no row group is held in memory."""

from __future__ import annotations

import os
from dataclasses import dataclass
from itertools import repeat
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.checks.value_hashes import is_list, lengths_of, plain

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


@dataclass(slots=True)
class Medium:
    """A medium as a row has it."""

    row: int
    """Counted from 0 in the batch."""
    position: int
    """In the row's list, else 0."""
    data: bytes | None
    path: str | None


class GroupReader:
    """Gives rows of one row group; what is asked for from front to back is read once."""

    def __init__(self, path: str, group: int, columns: tuple[str, ...], rows_at_once: int) -> None:
        self._group, self._columns, self._rows_at_once = group, list(columns), rows_at_once
        # mapped, since what is not compressed is then decoded from where it lies
        self._file = pq.ParquetFile(path, memory_map=True, pre_buffer=False)
        self._batches: Iterator[pa.RecordBatch] = iter(())
        self._batch: pa.RecordBatch | None = None
        self._start = 0
        self._end: int | None = None

    def rows(self, first: int, count: int) -> Iterator[tuple[int, pa.RecordBatch]]:
        """Yield these rows, counted from 0 in the row group, as slices of batches, each with its first row."""
        if self._end is None or first < self._start:
            self._batches = self._file.iter_batches(
                batch_size=self._rows_at_once, row_groups=[self._group], columns=self._columns, use_threads=False
            )
            self._start = self._end = 0
        while first < self._end or self._read():
            upto = min(self._end, first + count)
            if first < upto and self._batch is not None:
                yield first, self._batch.slice(first - self._start, upto - first)
                first, count = upto, first + count - upto
                if not count:
                    return

    def _read(self) -> bool:
        """Go on to the next batch, letting go of the last one before."""
        self._batch = None
        self._batch = next(self._batches, None)
        self._start = self._end or 0
        self._end = self._start + (self._batch.num_rows if self._batch is not None else 0)
        return self._batch is not None

    def close(self) -> None:
        """Close the file."""
        self._file.close()


_last: dict[tuple[object, ...], GroupReader] = {}


def group_reader(path: str, group: int, columns: tuple[str, ...], rows_at_once: int) -> GroupReader:
    """Return a reader of a row group; the last one is remembered, and goes on where it was."""
    state = os.stat(path)  # noqa: PTH116  (faster)
    key = (path, group, columns, rows_at_once, state.st_ino, state.st_size, state.st_mtime_ns)
    if key not in _last:
        for reader in _last.values():
            reader.close()
        _last.clear()
        _last[key] = GroupReader(path, group, columns, rows_at_once)
    return _last[key]


def media_count(array: pa.Array) -> int:
    """Return how many places for media there are in the rows of a column."""
    array = plain(array)
    return int(lengths_of(array).sum()) if is_list(array.type) else len(array)


def media_of(array: pa.Array, position: int | None = None) -> Iterator[Medium]:
    """Yield the media of some rows of a column, or only those at a position; null is no medium."""
    array = plain(array)
    rows: Iterable[int] = range(len(array))
    positions: Iterable[int] = repeat(0, len(array))
    if is_list(array.type):
        lengths = lengths_of(array)
        inside = np.repeat(np.arange(len(array)), lengths)
        rows = inside.tolist()
        positions = (np.arange(len(inside)) - np.repeat(np.cumsum(lengths) - lengths, lengths)).tolist()
        array = plain(array.flatten())
    if not holds_media(array.type):
        return  # in another shard it is something else
    data, paths = None, None
    if pa.types.is_struct(array.type):
        fields = {field.name: number for number, field in enumerate(array.type)}
        data = array.field(fields["bytes"]) if "bytes" in fields else None
        paths = _texts(array.field(fields["path"])) if "path" in fields else None
    elif _is_binary(array.type):
        data = array
    else:
        paths = _texts(array)
    present = array.is_valid().to_pylist() if array.null_count else repeat(True, len(array))
    for number, (is_there, row, place) in enumerate(zip(present, rows, positions, strict=True)):
        if is_there and position in (None, place):
            value = data[number].as_py() if data is not None else None
            yield Medium(row, place, value, paths[number] if paths is not None else None)


def _texts(array: pa.Array) -> list[str | None]:
    try:
        texts: list[str | None] = array.to_pylist()
    except UnicodeDecodeError:  # nobody promises that they are UTF-8
        raw = plain(array).cast(pa.large_binary()).to_pylist()
        texts = [None if text is None else text.decode("utf-8", "surrogateescape") for text in raw]
    return texts


def holds_media(kind: pa.DataType) -> bool:
    """Tell whether values of a type can be media: bytes, paths, or structs of them; or lists of these."""
    if is_list(kind):
        kind = kind.value_type
    if pa.types.is_struct(kind):
        names = {field.name: field.type for field in kind}
        right = {"bytes": _is_binary, "path": _is_text}
        return any(name in names for name in right) and all(
            name not in names or is_right(names[name]) for name, is_right in right.items()
        )
    return _is_binary(kind) or _is_text(kind)


def _is_binary(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or kind == pa.binary_view())


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or kind == pa.string_view())
