"""The hash of columns by their values: the same however they are cut into chunks, and taken without a copy."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


class ContentHash:
    """Takes columns a piece at a time.

    Every level of a column has streams of its own: which values are there, how long they are, and their bytes.
    """

    def __init__(self) -> None:
        self._streams: dict[str, Any] = {}

    def add(self, name: str, column: pa.ChunkedArray) -> None:
        """Add more rows of a column."""
        for chunk in column.chunks:
            self._add(name, chunk)

    def hexdigest(self) -> str:
        """Return the sha256 of all that was added."""
        digest = hashlib.sha256()
        for name, stream in sorted(self._streams.items()):
            digest.update(f"{len(name)} {name} {stream.hexdigest()}".encode())
        return digest.hexdigest()

    def _add(self, name: str, array: pa.Array) -> None:
        kind = array.type
        if isinstance(kind, pa.BaseExtensionType):
            self._add(name, array.storage)
            return
        self._update(f"{name} there", array.is_valid().cast(pa.uint8()))
        if pa.types.is_struct(kind):
            for field, values in zip(kind, array.flatten(), strict=True):
                self._add(f"{name}.{field.name}", values)
        elif pa.types.is_list(kind):
            self._update(f"{name} lengths", pc.fill_null(pc.list_value_length(array), 0))
            self._add(f"{name}[]", array.flatten())
        elif pa.types.is_string(kind) or pa.types.is_binary(kind):
            array = pc.fill_null(array, "" if pa.types.is_string(kind) else b"") if array.null_count else array
            self._update(f"{name} lengths", pc.binary_length(array))
            _, offsets, data = array.buffers()
            if data is not None:
                ends = np.frombuffer(offsets, np.int32)[array.offset : array.offset + len(array) + 1]
                self._stream(f"{name} bytes").update(memoryview(data)[ends[0] : ends[-1]])
        elif pa.types.is_boolean(kind):
            self._update(f"{name} values", pc.fill_null(array, False).cast(pa.uint8()))
        else:
            self._update(f"{name} values", pc.fill_null(array, 0) if array.null_count else array)

    def _update(self, name: str, numbers: pa.Array) -> None:
        self._stream(name).update(np.ascontiguousarray(numbers.to_numpy()))

    def _stream(self, name: str) -> Any:
        return self._streams.setdefault(name, hashlib.sha256())
