"""Conversion: batches of raw records to batches of rows, a column at a time.

Shared by nothing but the convert stage, which says where records come from and where rows go.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.column_type import Scalar
from pipeline.conform import MISSING, ColumnConformer
from pipeline.conversation import compile_conversation
from pipeline.errors import RowRejected
from pipeline.stages.media_columns import ASK_TYPE, MediaColumn
from pipeline.template import Expression, Template

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipeline.build import AnnotationFile
    from pipeline.media.store import MediaStore
    from pipeline.readers.record import Batch
    from pipeline.recipe import Config
    from pipeline.recipe_spec import FieldSpec
    from pipeline.schema import Column, Schema
    from pipeline.stages.media_columns import Origin


class Converter:
    """Turns batches of raw records into batches of rows."""

    def __init__(
        self,
        config: Config,
        file: AnnotationFile,
        store: MediaStore,
        *,
        untyped: bool,
        often_empty: tuple[str, ...] = (),
    ) -> None:
        """`untyped`: the file's format has no types (CSV, TSV).

        `often_empty`: columns that every record has, which are not missed in the schema while they say nothing.
        """
        self.schema = config.schema
        self.file = file
        self.values = [
            _ValueColumn(column, config.fields.get(column.name), untyped=untyped)
            for column in self.schema.value_columns
        ]
        self.media = [MediaColumn(column, config.media.get(column.name), store) for column in self.schema.media_columns]
        self.checks = row_checks(self.schema)
        self.wheres = [
            (number, Expression(split.where))
            for number, split in enumerate(config.splits.values())
            if split.where is not None
        ]
        used = {name for values in self.values for name in values.reads}
        used |= {name for media in self.media for name in media.reads}
        used |= {name for _, where in self.wheres for name in where.columns}
        self._used = used
        self._often_empty = [name for name in often_empty if name not in used]
        self._seen: set[str] = set()
        self._keys: set[tuple[str, ...]] = set()

    def unused(self) -> list[str]:
        """Return the raw columns, and keys inside of structs, that no column of the schema took."""
        inside = {name for column in self.values for name in column.conformer.unused}
        return sorted((self._seen - self._used) | inside)

    def batch(self, batch: Batch, bad: dict[int, RowRejected]) -> pa.Table:
        """Convert one batch; rows that are left out are named in `bad`."""
        for row in batch.rows:
            keys = tuple(row)
            if keys not in self._keys:
                if len(self._keys) < 10_000:
                    self._keys.add(keys)
                self._seen.update(key for key in keys if key not in self._often_empty)
        for name in self._often_empty:
            if name not in self._seen and any(row.get(name) for row in batch.rows):
                self._seen.add(name)

        def origin(position: int) -> dict[str, Any]:
            """Return what templates know as `record`; made when one is rendered, since most columns have none."""
            line = batch.lines[position]
            return {"source": self.file.source, "file": self.file.name, "line": line, "split": self.file.split}

        arrays = {column.name: column.convert(batch.rows, origin, bad) for column in self.values}
        asks = {column.name: column.asks(batch.rows, origin, bad) for column in self.media}
        splits = self._splits(batch.rows, origin, bad)
        if self.checks:
            self._check_rows(arrays, asks, bad)
        lines = pa.array(batch.lines, pa.int64())
        names, columns = list(arrays), list(arrays.values())
        weights = weights_of(columns, len(batch.rows))
        table = pa.Table.from_arrays(
            [*columns, lines, weights, splits, *(pa.array(values, ASK_TYPE) for values in asks.values())],
            names=[*names, "__line", "__bytes", "__split", *(f"__media.{name}" for name in asks)],
        )
        if bad:
            table = table.filter(pa.array([position not in bad for position in range(len(batch.rows))]))
        return table

    def _splits(self, rows: list[dict[str, Any]], origin: Origin, bad: dict[int, RowRejected]) -> pa.Array:
        """Return for each row the first split whose `where` takes it, or -1."""
        chosen = [-1] * len(rows)
        for position, row in enumerate(rows) if self.wheres else ():
            try:
                for number, where in self.wheres:
                    if where.evaluate(row, record=origin(position)):
                        chosen[position] = number
                        break
            except RowRejected as error:
                bad.setdefault(position, error)
        return pa.array(chosen, pa.int16())

    def _check_rows(self, arrays: dict[str, pa.Array], asks: dict[str, list[Any]], bad: dict[int, RowRejected]) -> None:
        """Run the checks that look at a whole row: placeholders and the conversation."""
        values = {name: array.to_pylist() for name, array in arrays.items()}
        lists = {column.column.name: column.column.is_list for column in self.media}
        count = len(next(iter(values.values()), next(iter(asks.values()), [])))
        for position in range(count):
            if position in bad:
                continue
            row = {name: column[position] for name, column in values.items()}
            for name, column in asks.items():
                asked = column[position]
                row[name] = asked if lists[name] else (asked[0] if asked else None)
            try:
                for check in self.checks:
                    check(row)
            except RowRejected as error:
                bad[position] = error


def weights_of(columns: list[pa.Array], rows: int) -> pa.Array:
    """Return how many bytes each row's values take, whichever rows it is converted with."""
    total = np.zeros(rows, np.int64)
    for column in columns:
        total += _bytes_of(column)
    return pa.array(total)


def _bytes_of(array: pa.Array) -> Any:
    """Return how many bytes each value takes; lengths of lists count four."""
    kind = array.type
    if isinstance(kind, pa.BaseExtensionType):
        return _bytes_of(array.storage)
    if pa.types.is_string(kind):
        return pc.fill_null(pc.binary_length(array), 0).to_numpy()
    if pa.types.is_struct(kind):
        return sum(map(_bytes_of, array.flatten()))
    if pa.types.is_list(kind):
        lengths = pc.fill_null(pc.list_value_length(array), 0).to_numpy()
        items = array.flatten()
        sums = np.concatenate([[0], np.cumsum(np.broadcast_to(_bytes_of(items), len(items)), dtype=np.int64)])
        ends = np.cumsum(lengths)
        return sums[ends] - sums[ends - lengths] + 4
    return -(-kind.bit_width // 8)


def row_checks(schema: Schema) -> list[Callable[[dict[str, Any]], Any]]:
    """Return the checks of a whole row, leaving out what cannot fail."""
    checks: list[Callable[[dict[str, Any]], Any]] = []
    for rule in schema.placeholders:

        def placeholders(row: dict[str, Any], rule: Any = rule) -> None:
            asked = row[rule.media]
            media = len(asked) if isinstance(asked, list) else int(asked is not None)
            count = (row[rule.column] or "").count(rule.token)
            if count != media:
                raise RowRejected(
                    "conversation.placeholders",
                    f"{count} times {rule.token!r} in {rule.column!r} but {media} media in {rule.media!r}",
                )

        checks.append(placeholders)
    if schema.conversation is not None and not _cannot_fail(schema):
        checks.append(compile_conversation(schema.conversation))
    return checks


_PLAIN_COLUMN = re.compile(
    r"\s*\{\{\s*(?:row\[(['\"])(?P<quoted>[^'\"]+)\1\]|`(?P<ticked>[^`]+)`|(?P<plain>\w+))\s*\}\}\s*\Z"
)


def _cannot_fail(schema: Schema) -> bool:
    """Tell whether every template of the conversation is a plain text column that is never null."""
    if not isinstance(schema.conversation, list):
        return False
    for turn in schema.conversation:
        for part in turn.parts:
            if part.text is None or "{" not in part.text:
                continue
            match = _PLAIN_COLUMN.match(part.text)
            column = schema.columns.get(match["quoted"] or match["ticked"] or match["plain"]) if match else None
            if column is None or column.type != Scalar("string") or column.rules.nullable:
                return False
    return True


class _ValueColumn:
    """One column that holds no media: where its values come from, and how they get their type."""

    def __init__(self, column: Column, field: FieldSpec | None, *, untyped: bool) -> None:
        self.name = column.name
        self.template = Template(field.template) if field and field.template is not None else None
        self.source = (field.source_column if field else None) or column.name
        self.conformer = ColumnConformer(column, field, untyped=untyped and self.template is None)
        self.reads = self.template.columns if self.template else {self.source}

    def convert(self, rows: list[dict[str, Any]], origin: Origin, bad: dict[int, RowRejected]) -> pa.Array:
        """Return the column of a batch."""
        if self.template is not None:
            values = [self._rendered(row, origin(position), position, bad) for position, row in enumerate(rows)]
        else:
            source = self.source
            values = [row.get(source, MISSING) for row in rows]
        return self.conformer.conform(values, bad)

    def _rendered(self, row: dict[str, Any], record: dict[str, Any], position: int, bad: dict[int, RowRejected]) -> Any:
        assert self.template is not None
        try:
            return self.template.render(row, record=record)
        except RowRejected as error:
            bad.setdefault(position, RowRejected(error.code, f"{self.name}: {error.message}"))
            return None
