"""Rows of a Parquet file, as pyarrow gives them, streaming by small batches."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.errors import SourceError
from pipeline.readers.record import BATCH_BYTES, BATCH_ROWS, BadRecord, Record, excerpt_of
from pipeline.readers.text import raw_blocks

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pipeline.readers.record import ReadOptions

# pyarrow's own errors, and what it lets through for damaged files and for values that Python cannot hold
# (a date in the year 20000, nanoseconds, a string that is not UTF-8).
_PYARROW_ERRORS = (pa.ArrowException, OSError, ValueError, OverflowError, TypeError)


def read_parquet(path: Path, _options: ReadOptions) -> Iterator[Record | BadRecord]:
    """Yield each row; its line is its 1-based number.

    Bytes stay bytes, timestamps and decimals are what pyarrow's `to_pylist` makes of them. A row with a value that
    Python cannot hold is a BadRecord `read.parquet`. Raises SourceError for a damaged file, for one that holds other
    rows than its footer counts, and for two columns or struct fields of one name.

    Pages with a checksum are held against it: a flipped bit is then a damaged file, and not another value.
    """
    next(raw_blocks(path), None)  # the clear errors for a path that is no readable file
    row = 0
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            _refuse_duplicates(path, file.schema_arrow)
            metadata = file.metadata
            stored = sum(metadata.row_group(i).total_byte_size for i in range(metadata.num_row_groups))
            size = min(BATCH_ROWS, max(1, BATCH_BYTES * metadata.num_rows // max(1, stored)))
            for batch in file.iter_batches(batch_size=size, use_threads=False):
                # A value that stands once in the file may stand in every row, so that rows are larger than their share.
                row_bytes = max(1, batch.get_total_buffer_size() // max(1, batch.num_rows))
                step = max(1, BATCH_BYTES // row_bytes)
                for at in range(0, batch.num_rows, step):
                    for record in _rows(batch.slice(at, step)):
                        row += 1
                        if isinstance(record, dict):
                            yield Record(line=row, row=record, size=row_bytes)
                        else:
                            yield BadRecord(line=row, code="read.parquet", message=record)
        if row != metadata.num_rows:
            raise SourceError(
                f"{path}: holds {row:,} rows where its footer says {metadata.num_rows:,}",
                allowed="a complete Parquet file",
                hint="fetch or write the file again",
            )
    except _PYARROW_ERRORS as error:
        where = f"row {row + 1} cannot be read" if row else "is not a readable Parquet file"
        raise SourceError(
            f"{path}: {where}: {excerpt_of(str(error))}",
            allowed="a complete Parquet file",
            hint="fetch or write the file again",
        ) from error


def _rows(batch: pa.RecordBatch) -> Iterator[dict[str, Any] | str]:
    """Yield each row of a batch, or why it cannot be turned into Python values."""
    try:
        rows = batch.to_pylist()
    except _PYARROW_ERRORS:
        rows = None
    if rows is not None:
        yield from rows
    else:
        for index in range(batch.num_rows):
            try:
                yield batch.slice(index, 1).to_pylist()[0]
            except _PYARROW_ERRORS as error:
                yield f"a value of this row cannot be read: {excerpt_of(str(error))}"


def _refuse_duplicates(path: Path, schema: pa.Schema) -> None:
    """Raise SourceError when two columns, or two fields of one struct, share a name."""
    groups: list[tuple[str, list[Any]]] = [("", list(schema))]
    while groups:
        prefix, fields = groups.pop()
        doubled = sorted(name for name, count in Counter(field.name for field in fields).items() if count > 1)
        if doubled:
            names = ", ".join(repr(prefix + name) for name in doubled)
            raise SourceError(
                f"{path}: several columns are called {names}",
                allowed="column names that are unique",
                hint="write the file again with other names",
            )
        for field in fields:
            kind = field.type
            children = [kind.field(i) for i in range(kind.num_fields)]
            if children:
                groups.append((f"{prefix}{field.name}.", children))
