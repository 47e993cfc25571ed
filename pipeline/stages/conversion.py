"""Conversion: batches of raw records to batches of rows, a column at a time.

Shared by nothing but the convert stage, which says where records come from and where rows go.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.column_type import Scalar
from pipeline.conform import MISSING, ColumnConformer
from pipeline.conversation import compile_conversation
from pipeline.errors import RowRejected
from pipeline.media.inline import inline_bytes
from pipeline.single_value import shown
from pipeline.template import Expression, Template

if TYPE_CHECKING:
    from pipeline.build import AnnotationFile
    from pipeline.media.store import MediaStore
    from pipeline.readers.record import Batch
    from pipeline.recipe import Config
    from pipeline.recipe_spec import FieldSpec, MediaSpec
    from pipeline.schema import Column, Schema

Origin = Callable[[int], dict[str, Any]]
"""Position in a batch -> where its record comes from: source, file, line, split."""
ASK_TYPE = pa.list_(pa.struct({"value": pa.string(), "object": pa.string()}))
"""What a media column asks for: a path as written, or the hash of a medium that came inside the annotation."""


class Converter:
    """Turns batches of raw records into batches of rows."""

    def __init__(self, config: Config, file: AnnotationFile, store: MediaStore, *, untyped: bool) -> None:
        """`untyped`: the file's format has no types (CSV, TSV)."""
        self.schema = config.schema
        self.file = file
        self.values = [
            _ValueColumn(column, config.fields.get(column.name), untyped=untyped)
            for column in self.schema.value_columns
        ]
        self.media = [
            _MediaColumn(column, config.media.get(column.name), store) for column in self.schema.media_columns
        ]
        self.checks = _row_checks(self.schema)
        self.wheres = [
            (number, Expression(split.where))
            for number, split in enumerate(config.splits.values())
            if split.where is not None
        ]
        used = {name for values in self.values for name in values.reads}
        used |= {name for media in self.media for name in media.reads}
        used |= {name for _, where in self.wheres for name in where.columns}
        self._used = used
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
                self._seen.update(keys)

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
        weights = _weights(columns, len(batch.rows))
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


def _weights(columns: list[pa.Array], rows: int) -> pa.Array:
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


def _row_checks(schema: Schema) -> list[Callable[[dict[str, Any]], Any]]:
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


class _MediaColumn:
    """One media column: the paths or bytes its rows ask for."""

    def __init__(self, column: Column, media: MediaSpec | None, store: MediaStore) -> None:
        self.column = column
        self.name = column.name
        self.store = store
        self.template = Template(media.path) if media and media.path is not None else None
        given = media.source_column if media else None
        self.source = given or column.name
        self.path_only = (
            self.template is not None
            and given is None
            and "item" not in self.template.source
            and self.source not in self.template.columns
        )
        """The path is made of other columns alone, so there is nothing to look up under the column's own name."""
        self.reads = set(self.template.columns if self.template else ()) | {self.source}
        self.inline = False
        """Did any medium come inside the annotation?"""

    def asks(
        self, rows: list[dict[str, Any]], origin: Origin, bad: dict[int, RowRejected]
    ) -> list[list[dict[str, Any]] | None]:
        """Return for each row of a batch the media it asks for."""
        result: list[list[dict[str, Any]] | None] = []
        for position, row in enumerate(rows):
            try:
                result.append(self._asked(row, position, origin))
            except RowRejected as error:
                bad.setdefault(position, RowRejected(error.code, f"{self.name}: {error.message}"))
                result.append(None)
        return result

    def _asked(self, row: dict[str, Any], position: int, origin: Origin) -> list[dict[str, Any]] | None:
        value = True if self.path_only else row.get(self.source)
        items = value if isinstance(value, list) else ([] if value is None or value == "" else [value])
        rules = self.column.rules
        if not self.column.is_list and len(items) > 1:
            raise RowRejected("media.type", f"{len(items)} media, but the schema allows one")
        if not items and not rules.nullable and not (self.column.is_list and isinstance(value, list)):
            raise RowRejected("media.null", "no medium is named, and the schema says there must be one")
        if self.column.is_list:
            if rules.min_length is not None and len(items) < rules.min_length:
                raise RowRejected("schema.rule", f"{len(items)} media; at least {rules.min_length} are allowed")
            if rules.max_length is not None and len(items) > rules.max_length:
                raise RowRejected("schema.rule", f"{len(items)} media; at most {rules.max_length} are allowed")
        if not items and value is None and self.column.is_list:
            return None
        return [self._ask(item, row, position, origin) for item in items]

    def _ask(self, item: Any, row: dict[str, Any], position: int, origin: Origin) -> dict[str, Any]:
        data = None if self.path_only else inline_bytes(item)
        if data is not None:
            self.inline = True
            name = item.get("path") if isinstance(item, dict) else None
            return {"value": name if isinstance(name, str) else None, "object": self.store.put(data)}
        if isinstance(item, dict) and isinstance(item.get("path"), str):
            item = item["path"]
        path = self.template.render(row, item=item, record=origin(position)) if self.template else item
        if not isinstance(path, str):
            raise RowRejected("media.type", f"{shown(path)} is no path")
        try:
            path.encode()
        except UnicodeEncodeError:
            raise RowRejected("media.path_invalid", f"{shown(path)} is no path") from None
        return {"value": path, "object": None}
