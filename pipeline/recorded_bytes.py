"""`num_bytes` as `datasets` records it when it loads shards: the Arrow bytes of the batches it writes to its cache.

Follows datasets 5.2: `packaged_modules/parquet` reads a file in batches of the first row group's length, which do not
cross row groups; `ArrowWriter.write_table` adds each batch's `nbytes`; a batch of one row is held back by `write_row`
and joined with its neighbours, at most `writer_batch_size` (1,000) of them, also across files.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.dataset as pds

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

WRITER_BATCH_ROWS = 1_000
"""`datasets.config.DEFAULT_MAX_BATCH_SIZE`."""

Layout = dict[str, list[int]]
"""Level of a column -> [elements, nulls, offset buffers, data bits]: what is left of a table of one row."""
Recorded = list["int | Layout"]
"""Batch by batch: the bytes of several rows, or the layout of a single one."""


def read_back(path: Path) -> tuple[Recorded, int]:
    """Read a shard as `datasets` does, with page checksums verified; returns its recorded batches and its rows.

    Raises:
        pyarrow.ArrowInvalid, OSError: the shard is damaged.
    """
    options = pds.ParquetFragmentScanOptions(page_checksum_verification=True)
    recorded: Recorded = []
    rows = 0
    with path.open("rb") as file:
        fragment = pds.ParquetFileFormat(default_fragment_scan_options=options).make_fragment(file)
        if fragment.row_groups:
            size = fragment.row_groups[0].num_rows
            for batch in fragment.to_batches(batch_size=size, batch_readahead=0, fragment_readahead=0):
                rows += batch.num_rows
                if batch.num_rows == 1:
                    layout: Layout = {}
                    for name, column in zip(batch.schema.names, batch.columns, strict=True):
                        _add(layout, name, column)
                    recorded.append(layout)
                elif recorded and isinstance(recorded[-1], int):
                    recorded[-1] += batch.nbytes
                else:
                    recorded.append(batch.nbytes)
    return recorded, rows


def num_bytes(shards: Iterable[Recorded]) -> int:
    """Return what `datasets` records for a split of these shards, in order."""
    total = 0
    waiting: list[Layout] = []

    def flush() -> None:
        nonlocal total
        total += _joined(waiting)
        waiting.clear()

    for recorded in shards:
        for batch in recorded:
            if isinstance(batch, int):
                flush()
                total += batch
            else:
                waiting.append(batch)
                if len(waiting) >= WRITER_BATCH_ROWS:
                    flush()
    flush()
    return total


def _add(layout: Layout, name: str, array: Any) -> None:
    """Note the buffers of an array, level by level."""
    if isinstance(array, pa.ExtensionArray):
        array = array.storage
    kind = array.type
    level = layout.setdefault(name, [0, 0, 0, 0])
    level[0] += len(array)
    level[1] += array.null_count
    if pa.types.is_struct(kind):
        for position, field in enumerate(kind):
            _add(layout, f"{name}/{field.name}", pa.StructArray.field(array, position).slice(array.offset, len(array)))
    elif pa.types.is_list(kind):
        level[2] = 1
        _add(layout, f"{name}/[]", array.flatten() if not array.null_count else array.values.slice(0, 0))
    elif pa.types.is_string(kind) or pa.types.is_binary(kind):
        level[2] = 1
        level[3] += 8 * sum(len(value.as_buffer() or b"") for value in array if value.is_valid)
    else:
        level[3] += kind.bit_width * len(array)


def _joined(layouts: list[Layout]) -> int:
    """Return the bytes of single rows joined into one table."""
    total = 0
    for name in layouts[0] if layouts else ():
        elements, nulls, offsets, bits = (sum(layout[name][part] for layout in layouts) for part in range(4))
        total += -(-elements // 8) if nulls else 0
        total += 4 * (elements + 1) if offsets else 0
        total += -(-bits // 8)
    return total
