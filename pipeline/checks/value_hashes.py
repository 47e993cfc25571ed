"""Hashes of values as columns of 64 bits: the same for the same value in whichever row, batch or shard it stands."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

NOTHING = np.uint64(0x9E3779B97F4A7C15)
"""The hash of null."""
_PLACES = np.uint64(0xD1B54A32D192ED03)
WORDS_AT_ONCE = 1 << 14
"""Words of eight bytes that are hashed together, so that they stay near the processor."""


def hashes_of(array: pa.Array) -> np.ndarray:
    """Return the hash of each value, which is that of its content: of a list its items, of a struct its fields."""
    array = plain(array)
    kind = array.type
    if pa.types.is_null(kind):
        return np.full(len(array), NOTHING)
    if pa.types.is_struct(kind):
        fields = zip(kind, array.flatten(), strict=True)
        found = sum_of_named([(field.name, hashes_of(values)) for field, values in fields], len(array))
    elif is_list(kind):
        return hashes_of_lists(array, hashes_of(pc.list_flatten(array)))
    else:
        found = _hashes_of_plain_values(array)
    return np.where(array.is_null().to_numpy(zero_copy_only=False), NOTHING, found)


def hashes_of_lists(array: pa.Array, items: np.ndarray) -> np.ndarray:
    """Return the hash of each list, when those of all items are known."""
    lengths = lengths_of(array)
    found = _mixed(hashes_of_runs(items, lengths) + lengths.astype(np.uint64))
    return np.where(array.is_null().to_numpy(zero_copy_only=False), NOTHING, found)


def hashes_of_runs(items: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Return one hash for each run of so many items, which depends on their order."""
    ends = np.cumsum(lengths)
    starts = ends - lengths
    places = np.arange(len(items), dtype=np.uint64) - np.repeat(starts, lengths).astype(np.uint64)
    # sums up to each place, which overflow as they like: their differences are right all the same
    sums = np.concatenate([[np.uint64(0)], np.cumsum(_mixed(items + (places + np.uint64(1)) * _PLACES))])
    found: np.ndarray = sums[ends] - sums[starts]
    return found


def sum_of_named(columns: list[tuple[str, np.ndarray]], rows: int) -> np.ndarray:
    """Return one hash for each row of some columns, whose order does not matter."""
    total = np.zeros(rows, np.uint64)
    for name, hashes in columns:
        total += _mixed(hashes ^ hashes_of(pa.array([name]))[0])
    return _mixed(total)


def plain(array: pa.Array) -> pa.Array:
    """Return an array without extension types, dictionaries, views and maps around what it holds."""
    if isinstance(array, pa.ExtensionArray):
        return plain(array.storage)
    kind = array.type
    if pa.types.is_dictionary(kind):
        return plain(array.dictionary_decode())
    if kind == pa.string_view():
        return array.cast(pa.large_string())
    if kind == pa.binary_view():
        return array.cast(pa.large_binary())
    if pa.types.is_map(kind):
        item = pa.struct([kind.key_field.with_name("key"), kind.item_field.with_name("value")])
        return array.cast(pa.list_(item))
    return array


def is_list(kind: pa.DataType) -> bool:
    """Tell whether values of this type are lists."""
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def lengths_of(array: pa.Array) -> np.ndarray:
    """Return how many items each list has; null has none."""
    lengths: np.ndarray = pc.fill_null(pc.list_value_length(array), 0).to_numpy().astype(np.int64)
    return lengths


def _hashes_of_plain_values(array: pa.Array) -> np.ndarray:
    kind = array.type
    if pa.types.is_boolean(kind):
        return _mixed(pc.fill_null(array, False).cast(pa.uint8()).to_numpy().astype(np.uint64))
    if pa.types.is_floating(kind):
        numbers = pc.fill_null(array.cast(pa.float64()), 0.0).to_numpy() + 0.0  # so that -0.0 is 0.0
        return _mixed(np.where(np.isnan(numbers), np.nan, numbers).view(np.uint64))
    if pa.types.is_integer(kind):
        return _mixed(pc.fill_null(array, 0).to_numpy().astype(np.uint64))
    if pa.types.is_temporal(kind) and kind.bit_width in (32, 64):
        return _mixed(pc.fill_null(array.view(f"int{kind.bit_width}"), 0).to_numpy().astype(np.uint64))
    if pa.types.is_decimal(kind):
        array = array.cast(pa.string())
    try:
        return _hashes_of_bytes(array.cast(pa.large_binary()))
    except pa.ArrowNotImplementedError:  # intervals and the like
        texts = [None if value is None else repr(value) for value in array.to_pylist()]
        return _hashes_of_bytes(pa.array(texts, pa.string()).cast(pa.large_binary()))


def _hashes_of_bytes(array: pa.Array) -> np.ndarray:
    """Return the hash of each value as the run of its words of eight bytes, the last one filled up with zeros."""
    _, offsets, data = array.buffers()
    ends = np.frombuffer(offsets, np.int64)[array.offset : array.offset + len(array) + 1]
    lengths = ends[1:] - ends[:-1]
    sums = np.concatenate([[0], np.cumsum((lengths + 7) // 8)])
    found = np.empty(len(array), np.uint64)
    first = 0
    while first < len(array):
        last = max(first + 1, int(np.searchsorted(sums, sums[first] + WORDS_AT_ONCE, "right")) - 1)
        size = int(ends[last] - ends[first])
        aligned = np.zeros(size // 8 + 2, np.uint64)
        if size:
            aligned.view(np.uint8)[:size] = np.frombuffer(data, np.uint8, size, int(ends[first]))
        found[first:last] = _hashes_of_words(aligned, ends[first:last] - ends[first], lengths[first:last])
        first = last
    return found


def _hashes_of_words(aligned: np.ndarray, starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    counts = (lengths + 7) // 8
    places = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    at = np.repeat(starts, counts) + 8 * places
    left = np.repeat(lengths, counts) - 8 * places
    shift = ((at & 7) * 8).astype(np.uint64)
    at >>= 3
    # a word that begins between two aligned ones; shifted by 64 bits it would not be 0, so that is done in two steps
    words = (aligned[at] >> shift) | (aligned[at + 1] << (np.uint64(63) - shift) << np.uint64(1))
    unused = (8 * np.maximum(8 - left, 0)).astype(np.uint64)
    words &= np.uint64(0xFFFFFFFFFFFFFFFF) >> unused
    return _mixed(hashes_of_runs(words, counts) + lengths.astype(np.uint64))


def _mixed(numbers: np.ndarray) -> np.ndarray:
    """Spread the bits of numbers over all of theirs (the last step of SplitMix64)."""
    mixed = numbers + NOTHING
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    found: np.ndarray = mixed ^ (mixed >> np.uint64(31))
    return found
