"""Values come out of Arrow as they went in, or their row has a reason; both ways of conforming agree."""

from __future__ import annotations

import json
import math
import struct
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline.column_type import ClassLabel, ColumnType, Json, ListOf, Scalar, Struct, arrow_type, parse_type
from pipeline.conform import MISSING, ColumnConformer
from pipeline.errors import RowRejected
from pipeline.recipe_spec import FieldSpec
from pipeline.schema import Column, ColumnSpec
from pipeline.single_value import shown


class SlowConformer(ColumnConformer):
    """The same without its fast path."""

    def _whole(self, values: list[Any]) -> pa.Array | None:
        """Always look closer."""
        assert values is not None
        return None


def column(written: Any, **rules: Any) -> Column:
    """Return a column as a schema writes it."""
    spec = ColumnSpec.model_validate({"type": written, **rules})
    return Column(name="c", type=parse_type(written), rules=spec)


def conform(
    written: Any, values: list[Any], /, *, field: dict[str, Any] | None = None, untyped: bool = False, **rules: Any
) -> list[Any]:
    """Return each value, or the code of the reason why its row is left out; both paths must say the same."""
    spec = FieldSpec.model_validate(field) if field else None
    results = []
    for kind in (ColumnConformer, SlowConformer):
        conformer = kind(column(written, **rules), spec, untyped=untyped)
        bad: dict[int, RowRejected] = {}
        array = conformer.conform(list(values), bad)
        assert array.type == arrow_type(conformer.column.type)
        assert len(array) == len(values)
        array.validate(full=True)
        out = array.to_pylist()
        results.append([bad[at].code if at in bad else out[at] for at in range(len(values))])
    assert repr(results[0]) == repr(results[1])
    return results[0]


def alone(written: Any, value: Any, **options: Any) -> Any:
    """Return one value, or the code of the reason; among fitting values it fares the same."""
    (result,) = conform(written, [value], **options)
    return result


@pytest.mark.parametrize(
    ("written", "value", "result"),
    [
        ("string", "007", "007"),
        ("string", "", ""),
        ("string", " x ", " x "),
        ("string", "a\0b", "a\0b"),
        ("string", 7, "schema.type"),
        ("string", True, "schema.type"),
        ("string", b"x", "schema.type"),
        ("string", "\ud83d", "schema.text"),
        ("string", None, "schema.null"),
        ("string", MISSING, "schema.null"),
        ("int64", True, "schema.type"),
        ("int64", 3.0, "schema.type"),
        ("int64", "3", "schema.type"),
        ("int64", Decimal(3), "schema.type"),
        ("bool", 1, "schema.type"),
        ("bool", "true", "schema.type"),
        ("bool", False, False),
        ("float64", True, "schema.type"),
        ("float64", "1.5", "schema.type"),
        ("float64", 3, 3.0),
        ("float64", 2**53, float(2**53)),
        ("float64", 2**53 + 1, "schema.range"),
        ("float64", 2**60, float(2**60)),
        ("float64", -(2**53) - 1, "schema.range"),
        ("float64", 2**1023, float(2**1023)),
        ("float64", 10**400, "schema.range"),
        ("float64", -0.0, -0.0),
        ("float64", math.inf, math.inf),
        ("float64", 5e-324, 5e-324),
        ("float32", 2**24, float(2**24)),
        ("float32", 2**24 + 1, "schema.range"),
        ("float32", 1e300, "schema.range"),
        ("float32", -1e300, "schema.range"),
        ("float32", 3.4028234663852886e38, 3.4028234663852886e38),
        ("float32", 3.4028235677973366e38, "schema.range"),
        ("float32", math.inf, math.inf),
        ("binary", b"\xff\0", b"\xff\0"),
        ("binary", "x", "schema.type"),
        ({"class_label": ["cat", "dog"]}, "dog", 1),
        ({"class_label": ["cat", "dog"]}, 1, 1),
        ({"class_label": ["cat", "dog"]}, 2, "schema.label"),
        ({"class_label": ["cat", "dog"]}, -1, "schema.label"),
        ({"class_label": ["cat", "dog"]}, True, "schema.label"),
        ({"class_label": ["cat", "dog"]}, 1.0, "schema.label"),
        ({"class_label": ["cat", "dog"]}, "Dog", "schema.label"),
        ({"class_label": ["cat", "dog"]}, "1", "schema.label"),
        ({"class_label": ["1", "0"]}, "1", 0),
        ({"list": {"class_label": ["cat", "dog"]}}, ["dog", 0, None], [1, 0, None]),
        ({"list": "int64"}, [1, None, 2], [1, None, 2]),
        ({"list": "int64"}, [], []),
        ({"list": "int64"}, [1, "2"], "schema.type"),
        ({"list": "int64"}, (1, 2), "schema.type"),
        ({"list": "int64"}, "12", "schema.type"),
        ({"list": "int64"}, {"a": 1}, "schema.type"),
        ({"list": {"list": "string"}}, [["a"], None, [], [None]], [["a"], None, [], [None]]),
        ({"struct": {"a": "string", "b": "int8"}}, {"b": 1}, {"a": None, "b": 1}),
        ({"struct": {"a": "string", "b": "int8"}}, {"a": "x", "b": 300}, "schema.range"),
        ({"struct": {"a": "string"}}, [], "schema.type"),
        ({"list": {"struct": {"a": "string"}}}, [{"a": "x"}, None, {}], [{"a": "x"}, None, {"a": None}]),
        ("json", {"b": [1, None, True, "é"], "a": 1.5}, '{"b":[1,null,true,"é"],"a":1.5}'),
        ("json", 12345678901234567890123, "12345678901234567890123"),
        ("json", "text", '"text"'),
        ("json", 0.1, "0.1"),
        ("json", 1e22, "1e+22"),
        ("json", math.nan, "schema.json"),
        ("json", [math.inf], "schema.json"),
        ("json", b"x", "schema.json"),
        ("json", {1: 2}, "schema.json"),
        ("json", [{"a": {None: 2}}], "schema.json"),
        ("json", {"a": "\ud800"}, "schema.text"),
        ("json", datetime.now(tz=UTC), "schema.json"),
        ({"list": "json"}, [{"a": 1}, 2, None], ['{"a":1}', "2", None]),
        ({"struct": {"a": "json"}}, {"a": [1]}, {"a": "[1]"}),
    ],
)
def test_exactly_or_not_at_all(written: Any, value: Any, result: Any) -> None:
    """A value comes out as it went in, or its row is left out with a reason."""
    out = alone(written, value)
    assert repr(out) == repr(result)


@pytest.mark.parametrize("dtype", ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"])
def test_integers_at_their_borders(dtype: str) -> None:
    """The smallest and the largest integer of each width fit, and their neighbours do not."""
    bits = int(dtype.removeprefix("u").removeprefix("int"))
    low, high = (0, 2**bits - 1) if dtype.startswith("u") else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    assert conform(dtype, [low, high]) == [low, high]
    assert conform(dtype, [low - 1, low, high, high + 1, 10**30]) == [
        "schema.range", low, high, "schema.range", "schema.range",
    ]  # fmt: skip


def test_nan_is_kept_but_fits_no_rule() -> None:
    """NaN and infinity are floats and stay; NaN is neither in a range nor among values, alone or in company."""
    assert repr(conform("float64", [math.nan, 1.0])) == "[nan, 1.0]"
    for rules in ({"min": 0}, {"max": 5}, {"values": [1.0]}):
        assert conform("float64", [math.nan, 1.0], **rules) == ["schema.rule", 1.0]
    assert conform("float64", [math.inf, -math.inf], min=0) == [math.inf, "schema.rule"]


@pytest.mark.parametrize(
    ("written", "rules", "fits", "not_"),
    [
        ("int64", {"min": 2, "max": 4}, [2, 3, 4], [1, 5]),
        ("int64", {"min": 1.5}, [2], [1]),
        ("float64", {"min": 0.1, "max": 0.3}, [0.1, 0.3], [0.09, 0.30000000000000004]),
        ("float32", {"min": 0.5, "max": 0.7}, [0.5, 0.625], [0.49, 0.75]),
        ("string", {"min_length": 2, "max_length": 3}, ["ab", "𝄞é数"], ["a", "abcd", ""]),
        ("string", {"pattern": "[a-z]+"}, ["ab"], ["aB", "ab\n", "1ab", ""]),
        ("string", {"values": ["a", ""]}, ["a", ""], ["b", "A"]),
        ("bool", {"values": [True]}, [True], [False]),
        ("int64", {"values": [1, 2]}, [1, 2], [3]),
        ({"list": "string"}, {"min_length": 1, "max_length": 2}, [["a"], ["a", "b"]], [[], ["a", "b", "c"]]),
    ],
)
def test_rules(written: Any, rules: dict[str, Any], fits: list[Any], not_: list[Any]) -> None:
    """Each rule accepts and rejects the same values column by column and row by row; nulls pass when allowed."""
    assert conform(written, fits, **rules) == fits
    assert conform(written, [*fits, *not_], **rules) == [*fits, *(["schema.rule"] * len(not_))]
    assert conform(written, [None, *fits, MISSING], nullable=True, **rules) == [None, *fits, None]
    assert conform(written, [None, None], nullable=True, **rules) == [None, None]
    assert conform(written, [], **rules) == []


def test_keys_that_no_field_takes_are_reported() -> None:
    """A struct's extra keys are named once, by where they are, whichever path was taken."""
    written = {"list": {"struct": {"a": "string", "b": {"struct": {"c": "int8"}}}}}
    rows = [[{"a": "x", "z": 1}, {"b": {"c": 1, "y": 2}}], [{"a": "x"}]]
    for kind in (ColumnConformer, SlowConformer):
        conformer = kind(column(written), None, untyped=False)
        bad: dict[int, RowRejected] = {}
        conformer.conform([*rows, ["broken"]] if kind is SlowConformer else rows, bad)
        assert conformer.unused == {"c[].z", "c[].b.y"}


def test_rows_already_left_out_may_hold_anything() -> None:
    """A row that another column rejected keeps its first reason, and costs the others nothing."""
    bad = {1: RowRejected("other", "before")}
    array = ColumnConformer(column("int64"), None, untyped=False).conform([1, "x", 3], bad)
    assert array.to_pylist() == [1, None, 3]
    assert {at: error.code for at, error in bad.items()} == {1: "other"}


def test_a_message_shows_any_value() -> None:
    """A value is shown on less than a line, even a number that Python refuses to write."""
    assert shown("x" * 500).endswith("…")
    assert shown(10**5_000).startswith("a number of 16,610 bits")
    assert alone("int64", 10**5_000) == "schema.range"
    assert alone("json", 10**5_000) == "schema.json"


@pytest.mark.parametrize(
    ("written", "text", "result"),
    [
        ("int64", "7", 7),
        ("int64", " 7 ", 7),
        ("int64", "-7", -7),
        ("int64", "007", "schema.type"),
        ("int64", "7\x1f", "schema.type"),
        ("int64", "-0", "schema.type"),
        ("int64", "+7", "schema.type"),
        ("int64", "7.0", "schema.type"),
        ("int64", "1e3", "schema.type"),
        ("int64", "1_000", "schema.type"),
        ("int64", "٣", "schema.type"),
        ("int64", "1,000", "schema.type"),
        ("int64", "9" * 5_000, "schema.type"),
        ("int64", "9223372036854775808", "schema.range"),
        ("int8", "128", "schema.range"),
        ("float64", "1.5", 1.5),
        ("float64", "-0", -0.0),
        ("float64", "-0.0", -0.0),
        ("float64", "1e3", 1000.0),
        ("float64", "1e999", "schema.type"),
        ("float64", "nan", "schema.type"),
        ("float64", "inf", "schema.type"),
        ("float64", ".5", "schema.type"),
        ("float64", "01.5", "schema.type"),
        ("float64", "9007199254740993", "schema.range"),
        ("float64", "3", 3.0),
        ("float64", "9" * 5_000, "schema.type"),
        ("float64", "1." + "1" * 5_000, "schema.type"),
        ("float32", "16777217", "schema.range"),
        ("bool", "true", True),
        ("bool", "False", False),
        ("bool", "1", "schema.type"),
        ("string", "007", "007"),
        ("string", "", ""),
        ("string", " ", " "),
        ({"class_label": ["cat", "dog"]}, "dog", 1),
        ({"class_label": ["cat", "dog"]}, "1", 1),
        ({"class_label": ["cat", "dog"]}, "01", "schema.label"),
        ({"class_label": ["cat", "dog"]}, "2", "schema.label"),
        ({"class_label": ["1", "0"]}, "1", 0),
        ({"list": "string"}, "a", "schema.type"),
    ],
)
def test_texts_of_a_file_without_types(written: Any, text: str, result: Any) -> None:
    """A CSV cell is read as the schema's type when it is written plainly, and only then."""
    assert repr(alone(written, text, untyped=True)) == repr(result)


@pytest.mark.parametrize("written", ["int64", "float64", "bool", {"class_label": ["a"]}])
def test_a_blank_cell_is_null(written: Any) -> None:
    """A blank CSV cell is null in any column but a text's."""
    assert conform(written, ["", " "], untyped=True, nullable=True) == [None, None]
    assert conform(written, ["", " "], untyped=True) == ["schema.null"] * 2


THOUSANDS = {"parse": "integer", "thousands": ","}
GERMAN = {"parse": "number", "thousands": ".", "decimal": ","}
NUMBER = {"parse": "number"}


@pytest.mark.parametrize(
    ("field", "text", "result"),
    [
        (THOUSANDS, "1,234", 1234),
        (THOUSANDS, " -1,234,567 ", -1234567),
        (THOUSANDS, "+12", 12),
        (THOUSANDS, "007", 7),
        (THOUSANDS, "1234", 1234),
        *((THOUSANDS, text, "parse.integer") for text in (
            "1,23", "12,34,567", ",123", "1,,234", "1,234,", "-,123", "1234,567", "+-5", "-+5", "--5", "++5", "+", "-",
            "1,234.5", "1 234", "1_234", "\uff11,\uff12\uff13\uff14", "٣", "0x1F", "1e3", "nan", "five", ",",
            "9" * 5_000,
        )),
        (GERMAN, "1.234,5", 1234.5),
        (GERMAN, "1.234", 1234.0),
        (GERMAN, "-0,5", -0.5),
        (GERMAN, ",5", 0.5),
        (GERMAN, "5,", 5.0),
        (GERMAN, "1,5e3", 1500.0),
        *((GERMAN, text, "parse.number") for text in (
            "1.23,5", "1,5,3", "1,234.5", "1.5,3.1", ",", "-,", "1,5e", "e5", "inf", "-Infinity", "1e999", "1,5_0", "",
        ) if text),
        (NUMBER, "1.5", 1.5),
        (NUMBER, "9007199254740993", "schema.range"),
        (NUMBER, "+-1.5", "parse.number"),
        ({"parse": "number", "decimal": ","}, "1.5", "parse.number"),
        ({"parse": "integer", "thousands": " "}, "1 234", 1234),
        ({"parse": "integer", "thousands": "'"}, "1'234", 1234),
        ({"parse": "integer", "thousands": "\u00a0"}, "1\u00a0234", 1234),
    ],
)  # fmt: skip
def test_numbers_as_people_write_them(field: dict[str, Any], text: str, result: Any) -> None:
    """`parse` reads numbers with marks, and leaves out what is written in an odd way."""
    written = "int64" if field["parse"] == "integer" else "float64"
    assert repr(alone(written, text, field=field)) == repr(result)


def test_a_parsed_number_keeps_its_kind() -> None:
    """`parse: number` makes an integer of an integer, so that nothing is rounded on the way."""
    assert alone("json", "12345678901234567890", field=NUMBER) == "12345678901234567890"
    assert alone("int64", "12", field=NUMBER) == 12
    assert alone("int64", "12.0", field=NUMBER) == "schema.type"


@pytest.mark.parametrize(
    ("field", "written", "value", "result"),
    [
        ({"parse": "boolean"}, "bool", "TRUE", True),
        ({"parse": "boolean"}, "bool", "yes", "parse.boolean"),
        ({"parse": "boolean"}, "bool", 1, "schema.type"),
        ({"parse": "json"}, "json", '{"a": [1, 2.50]}', '{"a":[1,2.5]}'),
        ({"parse": "json"}, {"list": "int64"}, "[1, 2]", [1, 2]),
        ({"parse": "json"}, "json", "{", "parse.json"),
        ({"parse": "json"}, "json", "NaN", "parse.json"),
        ({"parse": "json"}, "json", "1e999", "parse.json"),
        ({"parse": "json"}, "json", "[" * 100_000, "parse.json"),
        ({"parse": "json"}, "json", "9" * 5_000, "parse.json"),
        ({"parse": "json"}, "json", '"\\ud800"', "schema.text"),
        ({"parse": "list", "separator": ";"}, {"list": "string"}, "a; b;", ["a", "b", ""]),
        ({"parse": "list", "separator": ";"}, {"list": "string"}, " ", "schema.null"),
        ({"default": "x"}, "string", None, "x"),
        ({"default": "x"}, "string", MISSING, "x"),
        ({"default": "x"}, "string", " ", "x"),
        ({"default": "x"}, "string", "y", "y"),
        ({"default": 0}, "int64", "", 0),
        ({"default": "zero"}, "int64", None, "schema.type"),
        ({"default": 0, "parse": "integer"}, "int64", "5", 5),
        ({"default": 0, "parse": "integer"}, "int64", "", 0),
        ({"default": False}, "bool", None, False),
    ],
)
def test_parse_and_default(field: dict[str, Any], written: Any, value: Any, result: Any) -> None:
    """`parse` reads texts only, `default` fills what is null, missing or blank, and the result must fit."""
    assert repr(alone(written, value, field=field)) == repr(result)


NAMES = st.sampled_from(["a", "b", "c"])
TYPES: st.SearchStrategy[ColumnType] = st.recursive(
    st.sampled_from(["string", "bool", "int8", "int64", "uint64", "float32", "float64", "binary"]).map(Scalar)
    | st.just(Json())
    | st.just(ClassLabel(("x", "y", "z"))),
    lambda inner: (
        inner.map(ListOf)
        | st.dictionaries(NAMES, inner, min_size=1, max_size=3).map(lambda fields: Struct(tuple(fields.items())))
    ),
    max_leaves=4,
)
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)
ODD = st.one_of(
    st.integers(),
    st.sampled_from([2**53 + 1, 2**63, -(2**63) - 1, 2**64, 10**400, 2**24 + 1, 1e39, math.nan, math.inf, -0.0, 3.0]),
    st.sampled_from(["x", "1", "\ud800", "", b"x", True, None, (), Decimal(1), datetime(2024, 1, 1, tzinfo=UTC)]),
    JSON_VALUES,
    st.dictionaries(st.integers() | NAMES, st.integers(), max_size=2),
)


def fitting(kind: ColumnType) -> st.SearchStrategy[Any]:
    """Return values that fit a type."""
    match kind:
        case Scalar("string"):
            return st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
        case Scalar("bool"):
            return st.booleans()
        case Scalar("binary"):
            return st.binary(max_size=6)
        case Scalar(dtype) if dtype.startswith("float"):
            return st.floats(width=int(dtype[-2:])) | st.integers(-(2**24), 2**24)
        case Scalar(dtype):
            bits = int(dtype.removeprefix("u").removeprefix("int"))
            low = 0 if dtype.startswith("u") else -(2 ** (bits - 1))
            return st.integers(low, low + 2**bits - 1)
        case ClassLabel(names):
            return st.sampled_from(names) | st.integers(0, len(names) - 1)
        case ListOf(item):
            return st.lists(st.none() | fitting(item), max_size=3)
        case Struct(fields):
            return st.fixed_dictionaries(
                {}, optional={name: st.none() | fitting(inner) for name, inner in fields} | {"extra": st.integers()}
            )
        case _:
            return JSON_VALUES


def same(kind: ColumnType, before: Any, after: Any) -> bool:
    """Tell whether what came out of Arrow is what went in."""
    if before is None or after is None:
        return before is after
    match kind:
        case ClassLabel(names):
            return bool(after == (names.index(before) if isinstance(before, str) else before))
        case Json():
            return json.dumps(json.loads(after)) == json.dumps(before)
        case ListOf(item):
            return len(before) == len(after) and all(same(item, b, a) for b, a in zip(before, after, strict=True))
        case Struct(fields):
            return all(same(inner, before.get(name), after[name]) for name, inner in fields)
        case Scalar("float32") if type(before) is float:
            before = struct.unpack("<f", struct.pack("<f", before))[0]
    if isinstance(after, float):
        return type(before) in (int, float) and (before == after or (math.isnan(before) and math.isnan(after)))
    return type(before) is type(after) and bool(before == after)


@st.composite
def columns(draw: st.DrawFn) -> tuple[ColumnType, list[Any], dict[str, Any]]:
    """Draw a type, values of it and odd ones, and rules."""
    kind = draw(TYPES)
    # Mostly fitting values, or the fast path would hardly ever be taken.
    value = fitting(kind) if draw(st.booleans()) else fitting(kind) | ODD
    values = draw(st.lists(value | st.none() | st.just(MISSING) if draw(st.booleans()) else value, max_size=6))
    rules: dict[str, Any] = {"nullable": draw(st.booleans())}
    if kind == Scalar("string") and draw(st.booleans()):
        rules |= draw(
            st.sampled_from(
                [{"min_length": 1}, {"max_length": 3}, {"pattern": "[a-z0-9]*"}, {"values": ["", "0", "x"]}]
            )
        )
    elif isinstance(kind, Scalar) and kind.dtype.startswith(("int", "uint", "float")) and draw(st.booleans()):
        rules |= draw(st.sampled_from([{"min": 0}, {"max": 100}, {"min": -0.5, "max": 1e30}, {"values": [0, 1]}]))
    elif isinstance(kind, ListOf) and draw(st.booleans()):
        rules |= draw(st.sampled_from([{"min_length": 1}, {"max_length": 2}]))
    return kind, values, rules


@settings(max_examples=600, deadline=None)
@given(drawn=columns())
@example(drawn=(Scalar("float32"), [0.3], {"min": 0.30000001}))
@example(drawn=(Scalar("float32"), [0.1, math.nan], {"max": 0.1}))
@example(drawn=(Scalar("float64"), [math.nan, 1.0], {"min": 0}))
@example(drawn=(ListOf(Json()), [[None, {"a": 1}], None], {"nullable": True}))
@example(drawn=(Struct((("a", ListOf(Struct((("b", Json()),)))),)), [{"a": [{"b": 1}, None]}], {}))
def test_both_ways_agree_and_nothing_is_coerced(drawn: tuple[ColumnType, list[Any], dict[str, Any]]) -> None:
    """Column by column or row by row: the same rows, the same values, each as it went in, and never another error."""
    kind, values, rules = drawn
    made = Column(name="c", type=kind, rules=ColumnSpec.model_validate({"type": "any", **rules}))
    results = []
    for conformer in (ColumnConformer(made, None, untyped=False), SlowConformer(made, None, untyped=False)):
        bad: dict[int, RowRejected] = {}
        array = conformer.conform(list(values), bad)
        array.validate(full=True)
        results.append(
            ([None if at in bad else v for at, v in enumerate(array.to_pylist())], {k: e.code for k, e in bad.items()})
        )
        for at, after in enumerate(array.to_pylist()):
            if at not in bad:
                before = None if values[at] is MISSING else values[at]
                assert same(kind, before, after), (before, after)
            else:
                assert pc.is_null(array)[at].as_py()
    assert repr(results[0]) == repr(results[1])


@settings(max_examples=200, deadline=None)
@given(values=st.lists(fitting(Scalar("int64")) | st.text(max_size=8), max_size=8), untyped=st.booleans())
def test_any_text_as_a_number(values: list[Any], untyped: bool) -> None:
    """An arbitrary text in a number's column is exactly that number or has a reason, parsed or not."""
    for field in (None, THOUSANDS, GERMAN):
        for written in ("int64", "float64"):
            for value, out in zip(values, conform(written, values, field=field, untyped=untyped), strict=True):
                if isinstance(out, str):
                    assert out.startswith(("schema.", "parse."))
                elif isinstance(value, str) and field is None:
                    assert untyped
                    assert out == float(value)
