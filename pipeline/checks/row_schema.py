"""Rows against their schema: types and rules of values, and values that must be unique in a config."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.checks.problem import Problem
from pipeline.checks.report import SHOWN
from pipeline.checks.secrets_in_text import masked
from pipeline.checks.value_hashes import hashes_of, is_list, lengths_of, plain
from pipeline.column_type import ClassLabel, ColumnType, ListOf, Struct, arrow_type
from pipeline.conform import ColumnConformer
from pipeline.printable import escaped

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipeline.checks.row_batch import RowBatch
    from pipeline.checks.row_findings import Findings
    from pipeline.errors import RowRejected
    from pipeline.schema import Column, Schema

MEND = "mend the row, or say in the schema that this may be"


def check_types(arrow: pa.Schema, schema: Schema) -> Iterator[tuple[str, str]]:
    """Yield the columns of a shard that are not there, or of another type than their schema says, and what is wrong."""
    types = {field.name: field.type for field in arrow}
    for name, column in schema.columns.items():
        wanted = [_plain_type(arrow_type(column.type, embedded=embedded)) for embedded in (True, False)]
        if name not in types:
            yield name, "the column is missing, and the schema has it"
        elif _plain_type(types[name]) not in wanted:
            yield name, f"the column is {types[name]}, and the schema says {wanted[0]}"


def _plain_type(kind: pa.DataType) -> pa.DataType:
    """Return a type without what makes no difference to its values."""
    if isinstance(kind, pa.BaseExtensionType):
        return _plain_type(kind.storage_type)
    if pa.types.is_dictionary(kind):
        return _plain_type(kind.value_type)
    if pa.types.is_struct(kind):
        return pa.struct([(field.name, _plain_type(field.type)) for field in kind])
    if is_list(kind):
        return pa.list_(_plain_type(kind.value_type))
    return {
        pa.large_string(): pa.string(),
        pa.string_view(): pa.string(),
        pa.large_binary(): pa.binary(),
        pa.binary_view(): pa.binary(),
    }.get(kind, kind)


Unique = dict[str, tuple[np.ndarray, np.ndarray]]
"""Column that must be unique -> rows of a shard, and the hashes of their values."""


class SchemaCheck:
    """Proves the values of one shard against their schema, by the very rules that a build keeps."""

    def __init__(self, arrow: pa.Schema, schema: Schema) -> None:
        odd = {name for name, _ in check_types(arrow, schema)}
        columns = [column for column in schema.value_columns if column.name not in odd]
        self._conformers = [ColumnConformer(column, None, untyped=False) for column in columns]
        self._unique: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {
            column.name: [] for column in columns if column.rules.unique
        }

    @property
    def unique(self) -> Unique:
        """What must be unique, of all batches."""
        return {
            name: (np.concatenate([rows for rows, _ in parts]), np.concatenate([hashes for _, hashes in parts]))
            for name, parts in self._unique.items()
            if parts
        }

    def check(self, batch: RowBatch, findings: Findings) -> None:
        """Look at a batch."""
        for conformer in self._conformers:
            name = conformer.column.name
            if name not in batch.values:
                continue
            array = batch.values[name]
            suspects = np.flatnonzero(_suspects(array, conformer.column))
            bad: dict[int, RowRejected] = {}
            with suppress(UnicodeDecodeError):  # which is told as SW405
                conformer.conform(_as_written(array.take(suspects)), bad)
            for position, error in sorted(bad.items()):
                row = batch.start + int(suspects[position])
                findings.add(code="SW401", row=row, key=name, message=masked(error.message), hint=MEND)
            if name in self._unique:
                there = array.is_valid().to_numpy(zero_copy_only=False)
                self._unique[name].append((np.flatnonzero(there) + batch.start, hashes_of(array)[there]))


def _as_written(array: pa.Array) -> list[Any]:
    """Return plain values; a float32 as it was before it was rounded, since that was judged."""
    values: list[Any] = array.to_pylist()
    if pa.types.is_float32(array.type):
        return [None if value is None else float(str(np.float32(value))) for value in values]
    return values


def _suspects(array: pa.Array, column: Column) -> np.ndarray:
    """Return which values may break a rule, as far as Arrow can tell: all that do, and few others."""
    rules = column.rules
    nulls: np.ndarray = array.is_null().to_numpy(zero_copy_only=False)
    if any(rule is not None for rule in (rules.min, rules.max, rules.pattern, rules.values)):
        return np.ones(len(array), bool)
    wrong = _no_labels(array, column.type)
    if rules.min_length is not None or rules.max_length is not None:
        lengths = lengths_of(array) if is_list(array.type) else pc.fill_null(pc.utf8_length(array), 0).to_numpy()
        wrong |= lengths < (rules.min_length or 0)
        if rules.max_length is not None:
            wrong |= lengths > rules.max_length
    wrong &= ~nulls
    return wrong if rules.nullable else nulls | wrong


def _no_labels(array: pa.Array, kind: ColumnType) -> np.ndarray:
    """Return which values hold the number of a class label that there is not."""
    array = plain(array)
    wrong = np.zeros(len(array), bool)
    match kind:
        case ClassLabel(names):
            numbers = pc.fill_null(array, 0).to_numpy()
            wrong = (numbers < 0) | (numbers >= len(names))
        case ListOf(item):
            inner = _no_labels(pc.list_flatten(array), item)
            wrong[pc.list_parent_indices(array).to_numpy()[inner]] = True
        case Struct(fields):
            for (_, item), values in zip(fields, array.flatten(), strict=True):
                wrong |= _no_labels(values, item)
    return wrong


def check_unique(config: str, shards: list[tuple[str, str, Unique]]) -> tuple[list[Problem], int]:
    """Find values that stand twice in a config, whose shards come with their splits; and how many there are."""
    problems: list[Problem] = []
    count = 0
    for name in dict.fromkeys(name for _, _, unique in shards for name in unique):
        parts = [(number, *unique[name]) for number, (_, _, unique) in enumerate(shards) if name in unique]
        hashes = np.concatenate([hashes for _, _, hashes in parts])
        rows = np.concatenate([rows for _, rows, _ in parts])
        files = np.concatenate([np.full(len(rows), number) for number, rows, _ in parts])
        order = np.argsort(hashes, kind="stable")
        again = np.flatnonzero(hashes[order][1:] == hashes[order][:-1])
        count += len(again)
        for place in again[: SHOWN - len(problems)]:
            one, other = order[place], order[place + 1]
            problems.append(_twice(config, name, shards, (files[one], rows[one]), (files[other], rows[other])))
    return problems, count


def _twice(
    config: str,
    name: str,
    shards: list[tuple[str, str, Unique]],
    first: tuple[int, int],
    second: tuple[int, int],
) -> Problem:
    file, split, _ = shards[second[0]]
    before = f"row {first[1]}" if first[0] == second[0] else f"row {first[1]} of {shards[first[0]][0]}"
    return Problem(
        code="SW402",
        file=file,
        config=config,
        split=split,
        row=int(second[1]),
        key=escaped(name),
        message=f"its value stands in {before} already, and the schema says that it is unique",
        hint="give each row a value of its own, or leave one of them out",
    )
