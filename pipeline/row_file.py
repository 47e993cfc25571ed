"""Rows on their way from stage to stage: Arrow IPC files, uncompressed, written and read a batch at a time.

Such a file costs no encoding, and reading some of its columns or rows costs no more than their bytes.
"""

from __future__ import annotations

from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from pipeline.workspace import writing

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TAKEN_ROWS = 8_192
"""Rows given at a time, at the most, by `take_rows`."""


@contextmanager
def writing_rows(path: Path, schema: pa.Schema, *, sync: bool = True) -> Iterator[RowWriter]:
    """Give a writer of rows; they are written to one file, whole or not at all; `sync` as `writing` has it."""
    with (
        writing(path, sync=sync) as temporary,
        pa.OSFile(str(temporary), "wb") as file,
        pa.ipc.new_file(file, schema) as writer,
    ):
        yield RowWriter(writer)


class RowWriter:
    """Writes batches of rows and counts them."""

    def __init__(self, writer: pa.ipc.RecordBatchFileWriter) -> None:
        self.rows = 0
        self._writer = writer

    def write(self, rows: pa.Table) -> None:
        """Write some rows; none is no batch."""
        for batch in rows.to_batches() if rows.num_rows else ():
            self._writer.write_batch(batch)
        self.rows += rows.num_rows


def write_rows(path: Path, rows: pa.Table) -> None:
    """Write a table, whole or not at all."""
    with writing_rows(path, rows.schema) as writer:
        writer.write(rows)


def read_rows(path: Path, columns: list[str] | None = None) -> pa.Table:
    """Return a whole file, or some columns of it."""
    with pa.OSFile(str(path)) as file:
        return (pa.ipc.open_file(file) if columns is None else _reader(file, columns)).read_all()


def schema_of(path: Path) -> pa.Schema:
    """Return the schema of a file."""
    with pa.OSFile(str(path)) as file:
        return pa.ipc.open_file(file).schema


def read_batches(path: Path, columns: list[str], *, rows: int = 1) -> Iterator[pa.RecordBatch]:
    """Yield the named columns, in the file's order, in batches of at least so many rows but for the last."""
    waiting: list[pa.RecordBatch] = []
    count = 0
    with pa.OSFile(str(path)) as file:
        reader = _reader(file, columns)
        for number in range(reader.num_record_batches):
            waiting.append(reader.get_batch(number))
            count += waiting[-1].num_rows
            if count >= rows:
                yield pa.concat_batches(waiting)
                waiting, count = [], 0
    if waiting:
        yield pa.concat_batches(waiting)


def take_rows(path: Path, rows: np.ndarray, columns: list[str]) -> Iterator[pa.Table]:
    """Yield the named columns of some rows (ascending positions), some at a time."""
    status = path.stat()
    starts = _starts(path, status.st_mtime_ns, status.st_ino)
    with pa.OSFile(str(path)) as file:
        reader = _reader(file, columns)
        done = 0
        while done < len(rows):
            number = int(np.searchsorted(starts, rows[done], side="right")) - 1
            end = done + int(np.searchsorted(rows[done:], starts[number + 1]))
            table = pa.Table.from_batches([reader.get_batch(number)]).select(columns)
            for first in range(done, end, TAKEN_ROWS):
                chosen = rows[first : min(end, first + TAKEN_ROWS)] - starts[number]
                contiguous = int(chosen[-1]) - int(chosen[0]) + 1 == len(chosen)
                yield table.slice(int(chosen[0]), len(chosen)) if contiguous else table.take(pa.array(chosen))
            done = end


def _reader(file: pa.NativeFile, columns: list[str]) -> pa.ipc.RecordBatchFileReader:
    schema = pa.ipc.open_file(file).schema
    fields = sorted(schema.get_field_index(name) for name in columns)
    return pa.ipc.open_file(file, options=pa.ipc.IpcReadOptions(included_fields=fields, use_threads=False))


@lru_cache(maxsize=1_024)
def _starts(path: Path, mtime_ns: int, inode: int) -> np.ndarray:  # noqa: ARG001  (a file written anew is another file)
    """Return the position of each batch's first row, and behind them the number of rows."""
    with pa.OSFile(str(path)) as file:
        schema = pa.ipc.open_file(file).schema
        # the lengths stand in the batches alone: the cheapest column is read with them
        narrow = min(schema, key=lambda field: field.type.bit_width if pa.types.is_primitive(field.type) else 1_000)
        reader = _reader(file, [narrow.name])
        lengths = [reader.get_batch(number).num_rows for number in range(reader.num_record_batches)]
    return np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
