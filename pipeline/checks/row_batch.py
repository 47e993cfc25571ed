"""A batch of rows as the checks of rows see it: its texts, wherever they stand inside of columns, and their rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.checks.value_hashes import is_list, lengths_of, plain

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipeline.checks.columns import Columns


@dataclass(frozen=True, slots=True, kw_only=True)
class Texts:
    """The texts at one place of a column, e.g. `conversations[].value`."""

    key: str
    column: str
    """The column that they are in."""
    values: pa.Array
    rows: np.ndarray
    """The row of each, counted from 0 in the shard."""
    unreadable: np.ndarray
    """The positions of those whose bytes are no UTF-8; in `values` they are as readable as can be."""
    is_json: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RowBatch:
    """Some rows of a shard, without the bytes of their media."""

    start: int
    """The first row, counted from 0 in the shard."""
    rows: int
    columns: Columns
    values: dict[str, pa.Array]
    """The columns that hold no media."""
    texts: dict[str, Texts]
    paths: dict[str, Texts]
    """Of media columns, the paths of their media."""
    media: dict[str, np.ndarray]
    """Media column -> how many media each row has there."""
    nulls: dict[str, int]
    """Column -> how many of these rows are null in it."""


def read_batch(batch: pa.RecordBatch, columns: Columns, *, start: int) -> RowBatch:
    """Take a batch apart: the columns without media, and of the media only their paths."""
    names = [name for name in batch.schema.names if batch.schema.get_field_index(name) >= 0]  # two may have one name
    present = {name: plain(batch.column(name)) for name in names}
    json = {field.name for field in batch.schema if isinstance(field.type, pa.JsonType)}
    numbers = np.arange(start, start + batch.num_rows)
    values = {name: present[name] for name in columns.values if name in present}
    texts: dict[str, Texts] = {}
    for name, array in list(values.items()):
        for found in _texts(array, name, name, numbers, is_json=name in json):
            texts[found.key] = found
            if found.key == name:
                values[name] = found.values
    paths: dict[str, Texts] = {}
    media: dict[str, np.ndarray] = {}
    for column in columns.media:
        if column.name in present:
            array = present[column.name]
            media[column.name] = counts_of(array)
            paths |= {found.key: found for found in _texts(array, column.name, column.name, numbers)}
    return RowBatch(
        start=start,
        rows=batch.num_rows,
        columns=columns,
        values=values,
        texts=texts,
        paths=paths,
        media=media,
        nulls={name: array.null_count for name, array in present.items()},
    )


def counts_of(array: pa.Array) -> np.ndarray:
    """Return how many items each row has: those of its list, or one where there is a value."""
    if is_list(array.type):
        return lengths_of(array)
    present: np.ndarray = array.is_valid().to_numpy(zero_copy_only=False).astype(np.int64)
    return present


def _texts(array: pa.Array, key: str, column: str, rows: np.ndarray, *, is_json: bool = False) -> Iterator[Texts]:
    """Yield the texts anywhere inside of a column."""
    array = plain(array)
    kind = array.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        values, unreadable = _readable(array)
        yield Texts(key=key, column=column, values=values, rows=rows, unreadable=unreadable, is_json=is_json)
    elif pa.types.is_struct(kind):
        for item, values in zip(kind, array.flatten(), strict=True):
            yield from _texts(values, f"{key}.{item.name}", column, rows, is_json=_is_json(item.type))
    elif is_list(kind):
        inner = rows[pc.list_parent_indices(array).to_numpy()]
        yield from _texts(pc.list_flatten(array), f"{key}[]", column, inner, is_json=_is_json(kind.value_type))


def _is_json(kind: pa.DataType) -> bool:
    return isinstance(kind, pa.JsonType)


def _readable(array: pa.Array) -> tuple[pa.Array, np.ndarray]:
    """Return texts that are UTF-8 all through, and the positions of those that were not: Parquet promises nothing."""
    try:
        array.validate(full=True)
    except pa.ArrowInvalid:
        raw = array.cast(pa.large_binary()).to_pylist()
        texts = [None if value is None else value.decode("utf-8", "replace") for value in raw]
        wrong = [
            number
            for number, (value, text) in enumerate(zip(raw, texts, strict=True))
            if value is not None and text is not None and value != text.encode()
        ]
        return pa.array(texts, pa.large_string()), np.array(wrong, np.int64)
    return array, np.zeros(0, np.int64)
