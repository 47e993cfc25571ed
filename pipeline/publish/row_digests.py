"""Digests of rows: 128 bits each, the same for the same values in whichever shard, row group or order of columns.

Texts and media go in by their SHA-256; numbers, lists and structs by the hashes of `value_hashes.py`, in two lanes of
64 bits that know nothing of each other.
"""

from __future__ import annotations

import hashlib
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.checks.value_hashes import NOTHING, hashes_of, hashes_of_lists, is_list, plain, sum_of_named

if TYPE_CHECKING:
    from collections.abc import Iterable

_SECOND = np.uint64(0xA0761D6478BD642F)
LANES = 2
"""Words of 64 bits in a digest."""


def row_digests(batch: pa.RecordBatch) -> np.ndarray:
    """Return the digests of rows: an array of shape (rows, 2)."""
    columns = [(name, value_digests(batch.column(number))) for number, name in enumerate(batch.schema.names)]
    return _stacked(
        sum_of_named([(name, lanes[:, lane]) for name, lanes in columns], batch.num_rows) for lane in range(LANES)
    )


def value_digests(array: pa.Array) -> np.ndarray:
    """Return the digests of values: an array of shape (values, 2)."""
    array = plain(array)
    kind = array.type
    if pa.types.is_struct(kind):
        fields = [(field.name, value_digests(part)) for field, part in zip(kind, array.flatten(), strict=True)]
        found = _stacked(
            sum_of_named([(name, lanes[:, lane]) for name, lanes in fields], len(array)) for lane in range(LANES)
        )
    elif is_list(kind):
        items = value_digests(pc.list_flatten(array))
        found = _stacked(hashes_of_lists(array, items[:, lane]) for lane in range(LANES))
    elif _has_bytes(kind):
        found = _of_bytes(array.cast(pa.large_binary()))
    else:
        first = hashes_of(array)
        found = _stacked((first, hashes_of(pa.array(first ^ _SECOND))))
    found[array.is_null().to_numpy(zero_copy_only=False)] = NOTHING
    return found


def _has_bytes(kind: pa.DataType) -> bool:
    text = pa.types.is_string(kind) or pa.types.is_large_string(kind)
    return bool(
        text or pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind)
    )


def _of_bytes(array: pa.Array) -> np.ndarray:
    _, offsets, data = array.buffers()
    ends = np.frombuffer(offsets, np.int64)[array.offset : array.offset + len(array) + 1].tolist()
    whole = memoryview(data if data is not None else b"")
    digests = b"".join([hashlib.sha256(whole[start:end]).digest()[:16] for start, end in pairwise(ends)])
    return np.frombuffer(digests, np.uint64).reshape(-1, LANES).copy()


def _stacked(lanes: Iterable[np.ndarray]) -> np.ndarray:
    return np.stack(list(lanes), axis=1)
