"""`num_bytes` as `datasets` records it when it loads shards: the Arrow bytes of the batches it writes to its cache.

Follows datasets 5.2: `packaged_modules/parquet` reads a file in batches of the first row group's length, which do not
cross row groups; `ArrowWriter.write_table` adds each batch's `nbytes`; a batch of one row is held back by `write_row`
and joined with its neighbours, also across files, until there are as many as
`get_arrow_writer_batch_size_from_features` says: 10 with a video, 100 with an image or plain bytes, else 1,000.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, TypedDict

import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

WRITER_ROWS = 1_000
"""`datasets.config.DEFAULT_MAX_BATCH_SIZE`."""
WRITER_ROWS_OF = {"Video": 10, "Image": 100, "Audio": 100, "binary": 100}
"""`datasets.config.ARROW_RECORD_BATCH_SIZE_FOR_*_DATASETS`, by feature; the smallest counts."""
READ_BYTES = 1 << 20
"""Bytes read at a time: without, Arrow reads a whole row group before it decodes it."""
OFFSET_BITS = 32
"""One an element: `nbytes` leaves out the one more that a list or text has."""
STORED_AS_THEY_ARE = (pa.int32(), pa.int64(), pa.float32(), pa.float64())
"""Types whose Parquet values are those of Arrow."""

Row = list[list[int]]
"""A single row: [[its bytes as it was read]], then for each level of its columns [elements, has a null bitmap, bits of
offsets and data]: what is needed to join it with others."""


class Recorded(TypedDict):
    """What is left of a shard."""

    writer_rows: int
    """Single rows that are joined at the most."""
    batches: list[int | Row]
    """The bytes of batches of several rows, and single rows, in order."""


def recorded_of(schema: pa.Schema) -> Recorded:
    """Return the record of a shard of this schema before its first row group."""
    return {"writer_rows": _writer_rows_of(schema), "batches": []}


def add_row_group(recorded: Recorded, rows: pa.Table, *, batch_rows: int) -> None:
    """Add a row group as it will be read, in batches of `batch_rows`, the length of the shard's first row group.

    Reading gives a null bitmap to nullable numbers that are stored as they are, and to all else when there is a null in
    the batch (Arrow's `TransferZeroCopy` against the copies of its other types).
    """
    batches = recorded["batches"]
    for start in range(0, rows.num_rows, batch_rows):
        batch = rows.slice(start, batch_rows)
        levels = [
            level
            for field, column in zip(batch.schema, batch.columns, strict=True)
            for level in _levels_of(column, nullable=field.nullable)
        ]
        size = sum((-(-count // 8) if nulls or always else 0) + -(-bits // 8) for count, nulls, bits, always in levels)
        if batch.num_rows == 1:
            batches.append([[size], *([count, nulls, bits] for count, nulls, bits, _ in levels)])
        elif batches and isinstance(batches[-1], int):
            batches[-1] += size
        else:
            batches.append(size)


def _levels_of(column: pa.ChunkedArray, *, nullable: bool) -> list[tuple[int, int, int, bool]]:
    """Return the levels of a column's chunks taken together, without joining them."""
    chunks = [list(_levels(chunk, nullable=nullable)) for chunk in column.chunks]
    return [
        (sum(counts), max(nulls), sum(bits), always[0])
        for counts, nulls, bits, always in (zip(*level, strict=True) for level in zip(*chunks, strict=True))
    ]


def _levels(array: pa.Array, *, nullable: bool) -> Iterator[tuple[int, int, int, bool]]:
    """Yield of an array, level by level: elements, has nulls, bits of offsets and data, has a bitmap in any case.

    A struct has no level of its own: `nbytes` does not count its null bitmap, and its nulls are those of its fields.
    """
    if isinstance(array, pa.ExtensionArray):
        array = array.storage
    kind, count, nulls = array.type, len(array), int(array.null_count > 0)
    if pa.types.is_struct(kind):
        for position, item in enumerate(array.flatten()):
            yield from _levels(item, nullable=nullable or kind.field(position).nullable)
    elif pa.types.is_list(kind) or pa.types.is_large_list(kind):
        yield count, nulls, _offset_bits(kind) * count, False
        yield from _levels(array.flatten(), nullable=kind.value_field.nullable)
    elif pa.types.is_fixed_size_list(kind):
        yield count, nulls, 0, False
        items = array.values.slice(array.offset * kind.list_size, count * kind.list_size)
        yield from _levels(items, nullable=kind.value_field.nullable)
    elif pa.types.is_string(kind) or pa.types.is_binary(kind) or _is_large_text(kind):
        length = pc.sum(pc.cast(pc.binary_length(array), pa.int64())).as_py() or 0
        yield count, nulls, _offset_bits(kind) * count + 8 * length, False
    elif pa.types.is_primitive(kind) or pa.types.is_decimal(kind) or pa.types.is_fixed_size_binary(kind):
        yield count, nulls, kind.bit_width * count, nullable and kind in STORED_AS_THEY_ARE
    else:  # maps, views, dictionaries: near enough, for nobody records them to the byte
        yield count, 0, 8 * array.nbytes, False


def _is_large_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_large_string(kind) or pa.types.is_large_binary(kind))


def _offset_bits(kind: pa.DataType) -> int:
    return 2 * OFFSET_BITS if pa.types.is_large_list(kind) or _is_large_text(kind) else OFFSET_BITS


def read_back(path: Path) -> tuple[Recorded, int]:
    """Read a shard as `datasets` does, with page checksums verified; returns its recorded batches and its rows.

    Raises:
        pyarrow.ArrowInvalid, OSError: the shard is damaged.
    """
    import pyarrow.dataset as pds  # late, because it loads pandas: a fifth of a second of every command

    options = pds.ParquetFragmentScanOptions(
        page_checksum_verification=True, pre_buffer=False, use_buffered_stream=True, buffer_size=READ_BYTES
    )
    batches: list[int | Row] = []
    rows = 0
    with path.open("rb") as file:
        fragment = pds.ParquetFileFormat(default_fragment_scan_options=options).make_fragment(file)
        most = _writer_rows_of(fragment.physical_schema)
        if fragment.row_groups:
            size = fragment.row_groups[0].num_rows or 1  # one without rows is a problem of its own
            for batch in _batches(fragment, size):
                rows += batch.num_rows
                if batch.num_rows == 1:
                    batches.append(_single(batch))
                elif batches and isinstance(batches[-1], int):
                    batches[-1] += batch.nbytes
                else:
                    batches.append(batch.nbytes)
    return {"writer_rows": most, "batches": batches}, rows


def _batches(fragment: Any, size: int) -> Iterator[pa.RecordBatch]:
    """Yield the batches that reading the whole fragment would give, but hold one row group at a time."""
    for group in range(len(fragment.row_groups)):
        part = fragment.subset(row_group_ids=[group])
        yield from part.to_batches(batch_size=size, batch_readahead=0, fragment_readahead=0, use_threads=False)


def num_bytes(shards: Iterable[Recorded]) -> int:
    """Return what `datasets` records for a split of these shards, in order."""
    total = 0
    waiting: list[Row] = []
    limit = None
    for recorded in shards:
        limit = limit or recorded["writer_rows"]
        for batch in recorded["batches"]:
            if isinstance(batch, int):
                total += _joined(waiting) + batch
                waiting = []
            else:
                waiting.append(batch)
                if len(waiting) >= limit:
                    total += _joined(waiting)
                    waiting = []
    return total + _joined(waiting)


def writer_rows(features: Any) -> int:
    """Return how many single rows are joined at the most, for features as a footer holds them."""
    if isinstance(features, list):
        return min((writer_rows(item) for item in features), default=WRITER_ROWS)
    if not isinstance(features, dict):
        return WRITER_ROWS
    kind = features.get("_type")
    if kind == "Value":
        return WRITER_ROWS_OF.get(features.get("dtype", ""), WRITER_ROWS)
    if isinstance(kind, str) and kind in WRITER_ROWS_OF:
        return WRITER_ROWS_OF[kind]
    return min((writer_rows(item) for item in features.values()), default=WRITER_ROWS)


def _writer_rows_of(schema: pa.Schema) -> int:
    """Return the same for the schema of a shard."""
    text = (schema.metadata or {}).get(b"huggingface", b"")
    try:
        return writer_rows(json.loads(text)["info"]["features"])
    except (
        ValueError,
        KeyError,
        TypeError,
        RecursionError,
    ):  # somebody else's: `datasets` infers plain values
        return WRITER_ROWS_OF["binary"] if any(_has_binary(field.type) for field in schema) else WRITER_ROWS


def _has_binary(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind)) or any(_has_binary(kind.field(n).type) for n in range(kind.num_fields))


def _single(batch: pa.RecordBatch) -> Row:
    """Note what a single row weighs alone and in company."""
    levels = [level for column in batch.columns for level in _levels(column, nullable=False)]
    return [[batch.nbytes], *([count, nulls, bits] for count, nulls, bits, _ in levels)]


def _joined(rows: list[Row]) -> int:
    """Return the bytes of single rows joined into one table."""
    if len(rows) <= 1:
        return sum(row[0][0] for row in rows)
    total = 0
    for level in zip(*(row[1:] for row in rows), strict=True):
        elements, bitmaps, bits = (sum(part) for part in zip(*level, strict=True))
        total += (-(-elements // 8) if bitmaps else 0) + -(-bits // 8)
    return total
