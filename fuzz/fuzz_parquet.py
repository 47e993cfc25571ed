"""Parquet annotation files: whatever the bytes, rows are numbered, or the file is refused; what Arrow does is bounded.

An input:

    byte 0     odd: both magics, and a length of the footer that is too large, are put right
    the rest   the file
"""

from __future__ import annotations

import atexit
import io
import shutil
import struct
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.errors import SourceError
from pipeline.readers.read import read
from pipeline.readers.record import Batch, ReadOptions

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_ROWS = 200_000
"""Rows looked at; a run of equal values makes millions of a few bytes, which is what Parquet is for."""
DICTIONARY = (
    *(b"PAR1", b"\x15\0", b"\x15\x02", b"\x15\x04", b"\x19\x1c", b"\x1c\x15", b"\x18\x01", b"\xff\xff\xff\xff\x0f"),
    *(b"\x80\xa8\xd6\xb9\x07", b"\x80\x01\x04", b"\xfe\xff\xff\xff\x0f", b"\x80\x80\x80\x80\x08", b"\xff\xff\xff\x7f"),
    *(b"schema", b"list", b"element", b"key_value", b"\x28\xb5\x2f\xfd", b"\x1f\x8b"),
)

_FOLDER = Path(tempfile.mkdtemp(prefix="fuzz-parquet-"))
atexit.register(shutil.rmtree, _FOLDER, ignore_errors=True)
_FILE = _FOLDER / "file.parquet"


def seeds() -> Iterator[tuple[str, bytes]]:
    """Yield a name and an input for each compression, page version and encoding that pyarrow writes."""
    table = pa.table(
        {
            "i": [1, None, 3],
            "s": ["a", "bb", None],
            "b": [b"\0", None, b"xyz"],
            "l": [[1, 2], [], None],
            "st": [{"a": 1, "b": "x"}, None, {"a": None, "b": ""}],
            "t": pa.array([0, None, 86_400_000_000], pa.timestamp("us")),
            "d": pa.array(["a", "b", "a"]).dictionary_encode(),
        }
    )
    for compression in ("none", "snappy", "zstd", "gzip"):
        for version in ("1.0", "2.0"):
            options: dict[str, Any] = {"compression": compression, "data_page_version": version, "store_schema": False}
            yield f"{compression}-{version}", b"\1" + _written(table, **options)
    yield "arrow-schema", b"\1" + _written(table)
    yield "checksums", b"\1" + _written(table.select(["i", "s"]), write_page_checksum=True)
    for column, encodings in (
        ("s", ("PLAIN", "DELTA_BYTE_ARRAY", "DELTA_LENGTH_BYTE_ARRAY")),
        ("i", ("PLAIN", "DELTA_BINARY_PACKED", "BYTE_STREAM_SPLIT")),
    ):
        for encoding in encodings:
            yield (
                f"{column}-{encoding}",
                b"\1"
                + _written(
                    table.select([column]),
                    use_dictionary=False,
                    column_encoding={column: encoding},
                    compression="none",
                    store_schema=False,
                ),
            )


def _written(table: pa.Table, **options: Any) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(table, buffer, **options)
    return buffer.getvalue()


def check(data: bytes) -> None:
    """Read the file as far as it goes: rows are dicts, numbered without a gap, as many as the footer says."""
    content = bytes(data[1:])
    if data[:1] and data[0] & 1 and len(content) >= 12:
        length = struct.unpack("<I", content[-8:-4])[0]
        length = min(length, len(content) - 12)
        content = b"PAR1" + content[4:-8] + struct.pack("<I", length) + b"PAR1"
    _FILE.write_bytes(content)
    allocated = pa.total_allocated_bytes()
    rows = 0
    try:
        for part in read(_FILE, ReadOptions(format="parquet")):
            if isinstance(part, Batch):
                assert len(part.rows) == len(part.lines) > 0
                assert part.lines == sorted(set(part.lines))
                assert all(isinstance(row, dict) and all(isinstance(key, str) for key in row) for row in part.rows)
                rows += len(part.rows)
            else:
                assert part.code == "read.parquet"
                rows += 1
            if rows > MAX_ROWS:
                return
    except SourceError as error:
        assert str(error).strip()
    else:
        assert rows == pq.read_metadata(_FILE).num_rows, "rows have vanished"
    assert pa.total_allocated_bytes() <= allocated + (1 << 20), "Arrow keeps memory of a file that is closed"
