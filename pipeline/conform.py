"""Raw values to a column's type: exactly, or with a reason why not. Nothing is coerced unless the recipe says so.

A column is first tried whole (types by `set(map(type, …))`, then one Arrow call); only when that fails are its
values taken one by one, to name the rows at fault. Both ways accept the same rows and give the same values:

    a text that looks like a number       stays a text; a number for a text column is rejected
    true for a number, 3.0 for an integer  rejected
    an integer for a float column          accepted when the float is exactly that integer
    a float for float32                    rounded to the nearest float32; rejected when too large for one
    NaN and Infinity                       kept (Parquet and both hubs hold them), but they fit no min, max or values,
                                           and json columns reject them, because JSON has no word for them
    half of a surrogate pair               rejected

Rules look at the value as it came, before it is rounded or a label becomes its number.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.column_type import ClassLabel, ColumnType, Json, ListOf, Media, Scalar, Struct, arrow_type
from pipeline.errors import RowRejected
from pipeline.single_value import (
    BLANKS,
    INTEGER,
    PYTHON_TYPES,
    json_text,
    overflows,
    parsed_text,
    scalar_value,
    shown,
    type_error,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipeline.recipe_spec import FieldSpec
    from pipeline.schema import Column

_POSITION = re.compile(r"\[[0-9]+\]")


class Missing:
    """The value of a column that a record does not have."""

    def __repr__(self) -> str:
        return "missing"


MISSING = Missing()


class ColumnConformer:
    """Brings the raw values of one column to its type and checks its rules."""

    def __init__(self, column: Column, field: FieldSpec | None, *, untyped: bool) -> None:
        """`untyped`: the file's format has no types (CSV, TSV), so the schema's type says how a text is read."""
        self.column = column
        self.field = field
        self.untyped = untyped
        self.arrow_type = arrow_type(column.type)
        self.unused: set[str] = set()
        """Keys of structs that the schema does not name, as `column[].key`."""
        self._pattern = re.compile(column.rules.pattern) if column.rules.pattern is not None else None
        self._allowed = set(column.rules.values) if column.rules.values is not None else None
        self._class_numbers = (
            {name: number for number, name in enumerate(column.type.names)}
            if isinstance(column.type, ClassLabel)
            else {}
        )

    def conform(self, values: list[Any], bad: dict[int, RowRejected]) -> pa.Array:
        """Return the column as an Arrow array; the rows at fault are null and named in `bad`.

        Rows that are in `bad` already may hold anything.
        """
        if self.field is not None and (self.field.default is not None or self.field.parse is not None):
            values = [self._prepared(value, position, bad) for position, value in enumerate(values)]
        array = self._whole(values)
        if array is not None:
            return array
        good = [
            None if position in bad else self._single(value, position, bad) for position, value in enumerate(values)
        ]
        return _assemble(good, self.column.type)

    def _prepared(self, value: Any, position: int, bad: dict[int, RowRejected]) -> Any:
        """Fill in the default and read the text as the recipe says."""
        field = self.field
        assert field is not None
        if field.default is not None and (
            value is None or value is MISSING or (isinstance(value, str) and not value.strip())
        ):
            return field.default
        if field.parse is None or not isinstance(value, str):
            return value
        try:
            return parsed_text(value, field)
        except RowRejected as error:
            bad.setdefault(position, RowRejected(error.code, f"{self.column.name}: {error.message}"))
            return None

    def _whole(self, values: list[Any]) -> pa.Array | None:
        """Convert all values at once; None when any of them needs a closer look."""
        if Missing in set(map(type, values)):
            if not self.column.rules.nullable:
                return None
            values = [None if value is MISSING else value for value in values]
        try:
            array = self._array(values, self.column.type, self.column.name)
        except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError, UnicodeEncodeError):
            return None
        return array if array is not None and self._rules_hold(array, values) else None

    def _array(self, values: Sequence[Any], kind: ColumnType, name: str) -> pa.Array | None:
        """Return values that Arrow takes as they are, or None when any of them needs a closer look."""
        types = set(map(type, values)) - {type(None)}
        match kind:
            case Scalar(dtype):
                if dtype.startswith("float"):
                    whole = types <= {float} and (dtype != "float32" or not overflows(values))
                else:
                    whole = types <= {PYTHON_TYPES.get(dtype, int)}
                return pa.array(values, arrow_type(kind)) if whole else None
            case ClassLabel():
                if types - {str}:
                    return None
                numbers = [None if value is None else self._class_numbers.get(value, -1) for value in values]
                return None if -1 in numbers else pa.array(numbers, pa.int64())
            case ListOf(item):
                if types - {list}:
                    return None
                flat = self._array([inner for value in values if value for inner in value], item, f"{name}[]")
                return None if flat is None else _list_array(values, flat, kind)
            case Struct(fields):
                if types - {dict}:
                    return None
                known = {field for field, _ in fields}
                for value in values:
                    if value is not None and not value.keys() <= known:
                        self.unused.update(f"{name}.{key}" for key in value if key not in known)
                columns = []
                for field, inner in fields:
                    column = self._array(
                        [None if v is None else v.get(field) for v in values], inner, f"{name}.{field}"
                    )
                    if column is None:
                        return None
                    columns.append(column)
                return _struct_array(values, columns, kind)
            case _:
                return None

    def _rules_hold(self, array: pa.Array, values: list[Any]) -> bool:
        rules = self.column.rules
        if array.null_count and not rules.nullable:
            return False
        if len(array) == array.null_count:
            return True
        if (rules.min is not None or rules.max is not None) and not self._in_range(values):
            return False
        if rules.min_length is not None or rules.max_length is not None:
            lengths = pc.utf8_length(array) if pa.types.is_string(array.type) else pc.list_value_length(array)
            if rules.min_length is not None and pc.min(lengths).as_py() < rules.min_length:
                return False
            if rules.max_length is not None and pc.max(lengths).as_py() > rules.max_length:
                return False
        if self._pattern is not None and not all(v is None or self._pattern.fullmatch(v) for v in values):
            return False
        return self._allowed is None or set(values) - {None} <= self._allowed

    def _in_range(self, values: list[Any]) -> bool:
        low, high = self.column.rules.min, self.column.rules.max
        numbers = [value for value in values if value is not None]
        if any(number != number for number in numbers):  # noqa: PLR0124  (NaN, which min and max skip)
            return False
        return (low is None or min(numbers) >= low) and (high is None or max(numbers) <= high)

    def _single(self, value: Any, position: int, bad: dict[int, RowRejected]) -> Any:
        """Bring one value to its type, or note why the row is left out."""
        name, rules = self.column.name, self.column.rules
        try:
            if value is None or value is MISSING:
                if not rules.nullable:
                    what = "is null" if value is None else "is not in the record"
                    raise RowRejected("schema.null", f"{name} {what}, and the schema says it must have a value")
                return None
            result = self._value(value, self.column.type, name)
            if result is None:
                if not rules.nullable:
                    raise RowRejected("schema.null", f"{name} is blank, and the schema says it must have a value")
                return None
            self._check_rules(result, value)
        except RowRejected as error:
            bad.setdefault(position, error)
            return None
        return result

    def _check_rules(self, result: Any, raw: Any) -> None:
        name, rules = self.column.name, self.column.rules

        def reject(what: str) -> None:
            raise RowRejected("schema.rule", f"{name} is {shown(raw)}; {what}")

        if rules.min is not None and not result >= rules.min:
            reject(f"the smallest value allowed is {rules.min}")
        if rules.max is not None and not result <= rules.max:
            reject(f"the largest value allowed is {rules.max}")
        if rules.min_length is not None and len(result) < rules.min_length:
            reject(f"its length is {len(result)}, and at least {rules.min_length} is allowed")
        if rules.max_length is not None and len(result) > rules.max_length:
            reject(f"its length is {len(result)}, and at most {rules.max_length} is allowed")
        if self._pattern is not None and not self._pattern.fullmatch(result):
            reject(f"it must match {self._pattern.pattern}")
        if self._allowed is not None and result not in self._allowed:  # NaN equals nothing
            reject(f"allowed: {', '.join(map(repr, rules.values or []))}")

    def _value(self, value: Any, kind: ColumnType, name: str) -> Any:
        """Bring one value to its type; raises RowRejected."""
        match kind:
            case Scalar(dtype):
                return scalar_value(value, dtype, name, untyped=self.untyped)
            case ClassLabel(names):
                if isinstance(value, str) and value in names:
                    return names.index(value)
                if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < len(names):
                    return value
                if self.untyped and isinstance(value, str):
                    if not value.strip(BLANKS):
                        return None
                    if len(value) < 10 and INTEGER.match(value) and 0 <= int(value) < len(names):
                        return int(value)
                raise RowRejected("schema.label", f"{name} is {shown(value)}; allowed: {_some(names)}")
            case Json():
                return json_text(value, name)
            case ListOf(item):
                if not isinstance(value, list):
                    raise type_error(name, value, "a list")
                return [None if v is None else self._value(v, item, f"{name}[{i}]") for i, v in enumerate(value)]
            case Struct(fields):
                if not isinstance(value, dict):
                    raise type_error(name, value, "a mapping")
                known = {field for field, _ in fields}
                self.unused.update(f"{_POSITION.sub('[]', name)}.{key}" for key in value if key not in known)
                return {
                    field: None if value.get(field) is None else self._value(value[field], inner, f"{name}.{field}")
                    for field, inner in fields
                }
            case Media():
                raise AssertionError("media columns are not conformed")


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:20]) + (f" and {len(names) - 20:,} more" if len(names) > 20 else "")


def _assemble(values: Sequence[Any], kind: ColumnType) -> pa.Array:
    """Return values that fit as an Arrow array; Arrow itself cannot build JSON inside of lists and structs."""
    match kind:
        case Json():
            return pa.ExtensionArray.from_storage(pa.json_(), pa.array(values, pa.string()))
        case ListOf(item):
            return _list_array(values, _assemble([inner for value in values if value for inner in value], item), kind)
        case Struct(fields):
            columns = [_assemble([v if v is None else v[field] for v in values], inner) for field, inner in fields]
            return _struct_array(values, columns, kind)
        case _:
            return pa.array(values, arrow_type(kind))


def _list_array(values: Sequence[list[Any] | None], flat: pa.Array, kind: ListOf) -> pa.Array:
    lengths = pa.array([None if value is None else len(value) for value in values], pa.int32())
    ends = pc.cumulative_sum(pc.fill_null(lengths, 0))
    offsets = pa.concat_arrays([pa.array([0], pa.int32()), ends])
    mask = pc.is_null(lengths) if lengths.null_count else None
    return pa.ListArray.from_arrays(offsets, flat, type=arrow_type(kind), mask=mask)


def _struct_array(values: Sequence[dict[str, Any] | None], columns: list[pa.Array], kind: Struct) -> pa.Array:
    nulls = [value is None for value in values]
    mask = pa.array(nulls, pa.bool_()) if any(nulls) else None
    return pa.StructArray.from_arrays(columns, fields=list(arrow_type(kind)), mask=mask)
