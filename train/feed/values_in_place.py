"""Where the values of a media column lie inside of a Parquet file.

A value that is neither compressed nor encoded lies in the file as its length, in four bytes, and its own bytes
(Parquet's PLAIN encoding of BYTE_ARRAY). Values of a column chunk follow each other, with a header before each page. So
each is found by looking for it behind the one before, and is compared whole: what is found is right wherever it is.
"""

from __future__ import annotations

import mmap
import struct
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    import pyarrow.parquet as pq

_LENGTH = struct.Struct("<I")
_HEAD = 64
"""Bytes of a value that are looked for, before all of it is compared."""
_MISSES = 3
"""Values one after the other that are not found, before no more are looked for in a chunk."""
_DICTIONARIES = ("PLAIN_DICTIONARY", "RLE_DICTIONARY")


class ValuesInPlace:
    """Finds the values of one column of one row group; closed by leaving the `with` block."""

    def __init__(self, path: Path, chunk: tuple[int, int] | None) -> None:
        """Look at the bytes of a file from a place up to another; None: they hold no plain values."""
        self._map: mmap.mmap | None = None
        self._misses = 0
        if chunk is not None:
            with path.open("rb") as file:
                self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            self._start, end = chunk
            self._end = min(end, len(self._map))
            self._at = self._start

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file."""
        if self._map is not None:
            self._map.close()
            self._map = None

    def find(self, value: bytes) -> int | None:
        """Return where the bytes of a value begin in the file, or None."""
        if self._map is None or self._misses >= _MISSES or not value:
            return None
        place = self._found(self._map, value, self._at, self._end)
        if place is None:
            place = self._found(self._map, value, self._start, min(self._end, self._at + len(value) + _LENGTH.size))
        if place is None:
            self._misses += 1
            return None
        self._misses = 0
        self._at = place + len(value)
        return place

    @staticmethod
    def _found(data: mmap.mmap, value: bytes, start: int, end: int) -> int | None:
        needle = _LENGTH.pack(len(value)) + value[:_HEAD]
        while (start := data.find(needle, start, end)) >= 0:
            first = start + _LENGTH.size
            if data[first : first + len(value)] == value:
                return first
            start += 1
        return None


def chunk_of(group: pq.RowGroupMetaData, column: str) -> tuple[int, int] | None:
    """Return from where to where the bytes of a media column lie in the file, or None where they are not as they were.

    `column` is a column of bytes, of structs that hold `bytes`, or of lists of either.
    """
    for number in range(group.num_columns):
        leaf = group.column(number)
        inside = leaf.path_in_schema.removeprefix(column)
        if inside != "" and (inside == leaf.path_in_schema or not inside.startswith(".")):
            continue  # of another column
        if leaf.physical_type != "BYTE_ARRAY" or inside.endswith(".path"):
            continue
        if leaf.compression != "UNCOMPRESSED" or not {"PLAIN", *_DICTIONARIES} & set(leaf.encodings):
            return None
        start = leaf.data_page_offset
        if leaf.has_dictionary_page and leaf.dictionary_page_offset is not None:
            start = min(start, leaf.dictionary_page_offset)
        return start, start + leaf.total_compressed_size
    return None
