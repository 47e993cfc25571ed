"""Files from other projects, each with what is to come out of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import SourceError
from pipeline.readers.read import detect_format, read
from pipeline.readers.record import BadRecord, Batch, ReadOptions

ANNOTATIONS = Path(__file__).parent.parent / "data" / "annotations"


@dataclass(frozen=True)
class Case:
    """A file and what reading it gives."""

    file: str
    format: str
    lines: list[int]
    bad: list[tuple[int, str]] = field(default_factory=list)
    options: dict[str, Any] = field(default_factory=dict)
    holds: dict[int, dict[str, Any]] = field(default_factory=dict)


SUITE = "json_test_suite/test_parsing"
CASES = [
    Case("csv_spectrum/csvs/comma_in_quotes.csv", "csv", [2]),
    Case("csv_spectrum/csvs/escaped_quotes.csv", "csv", [2, 3], holds={0: {"a": "1", "b": 'ha "ha" ha'}}),
    Case("csv_spectrum/csvs/quotes_and_newlines.csv", "csv", [2, 5], holds={0: {"a": "1", "b": 'ha \n"ha" \nha'}}),
    Case("csv_spectrum/csvs/utf8.csv", "csv", [2, 3], holds={1: {"a": "4", "b": "5", "c": "ʤ"}}),
    Case("csv_spectrum/json/newlines.json", "json", [2, 7, 12]),
    Case("datajuicer_structured/demo-dataset.tsv", "tsv", [2, 3, 4, 5, 6, 7]),
    Case("duckdb_csv/all_quotes.csv", "csv", [2, 4, 5, 6], [(7, "read.ragged")]),
    Case("duckdb_csv/basic.csv", "csv", [2, 3, 4, 6, 7, 8], [(5, "read.csv")]),
    Case("duckdb_csv/error_too_little.csv", "csv", [2, 3, 4, 5, 6], [(7, "read.ragged")]),
    Case("duckdb_csv/error_too_many.csv", "csv", [2, 3, 4, 5, 7], [(6, "read.ragged")]),
    Case("duckdb_csv/invalid_utf8.csv", "csv", [2, 3], holds={1: {"bla": "\ufffd"}}),  # UTF-16 in truth
    Case("duckdb_csv/latin1.csv", "csv", list(range(2, 14)), options={"encoding": "latin-1"}),
    Case(
        "duckdb_csv/latin1.csv",
        "csv",
        [],
        [(line, "read.encoding") for line in range(2, 14)],
        options={"encoding": "utf-8"},
    ),
    Case("duckdb_csv/leading_zeros.csv", "csv", list(range(2, 8))),
    Case("duckdb_csv/mixed_decimal.csv", "csv", [2, 3, 4, 5, 6], holds={0: {"A": "1", "B": "5,5"}}),
    Case("duckdb_csv/mixed_line_endings.csv", "csv", [2, 3]),
    Case("duckdb_csv/nullbyte.csv", "csv", [], [(2, "read.nul")]),
    Case("duckdb_csv/quoted_newline.csv", "csv", [2], holds={0: {"col1": "cell with\nnewline"}}),
    Case("duckdb_csv/shift_jis.csv", "csv", list(range(2, 22)), options={"encoding": "shift_jis"}),
    Case(
        "duckdb_csv/single_quote_backslash.csv",
        "csv",
        [1, 2, 3],
        options={"quote": "'", "escape": "\\", "header": ("id", "name", "text")},
        holds={1: {"id": "345", "name": "TEST8", "text": "text'2'text"}},
    ),
    Case("duckdb_csv/utf8bom.csv", "csv", [2, 3], holds={0: {"id": "1", "name": "Mark"}}),
    Case("duckdb_json/duplicate_key.ndjson", "jsonl", [1, 2, 4, 5], [(3, "read.duplicate_key")]),
    Case("duckdb_json/example_rn.ndjson", "jsonl", [1, 2, 3, 4, 5]),
    Case("duckdb_json/multiple_objects_per_line.ndjson", "jsonl", [1, 1, 1, 1, 1]),
    Case("duckdb_json/sample_utf8_bom.json", "json", [3, 8, 13], options={"records": "users"}),
    Case("duckdb_json/top_level_two_arrays.json", "json", [1, 1], [(2, "read.trailing")]),
    Case("duckdb_json/trailing_content.ndjson", "jsonl", [1, 3], [(2, "read.json")]),
    Case("frictionless/blank-rows.csv", "csv", [2, 3, 4], holds={2: {"id": "", "name": "", "age": ""}}),
    Case("frictionless/defective-rows.csv", "csv", [], [(2, "read.ragged"), (3, "read.ragged")]),
    Case("frictionless/escaping.csv", "csv", [2, 3, 4]),
    Case("frictionless/table.keyed.json", "json", [2, 6], holds={1: {"id": 2, "name": "中国人"}}),
    Case(f"{SUITE}/i_string_UTF-16LE_with_BOM.json", "json", [], [(1, "read.not_object")]),
    Case(f"{SUITE}/i_string_lone_second_surrogate.json", "json", [], [(1, "read.json")]),
    Case(f"{SUITE}/i_number_pos_double_huge_exp.json", "json", [], [(1, "read.json")]),
    Case(f"{SUITE}/n_array_extra_comma.json", "json", [], [(1, "read.not_object"), (1, "read.json")]),
    Case(f"{SUITE}/n_array_unclosed.json", "json", [], [(1, "read.not_object"), (1, "read.json")]),
    Case(f"{SUITE}/n_number_NaN.json", "json", [], [(1, "read.json")]),
    Case(f"{SUITE}/n_object_trailing_comment.json", "json", [1], [(1, "read.trailing")]),
    Case(f"{SUITE}/n_object_trailing_comma.json", "json", [], [(1, "read.json")]),
    Case(f"{SUITE}/n_structure_open_array_open_string.json", "json", [], [(1, "read.json")]),
    Case(f"{SUITE}/y_object_duplicated_key.json", "json", [], [(1, "read.duplicate_key")]),
    Case(f"{SUITE}/y_object_duplicated_key_and_value.json", "json", [1], holds={0: {"a": "b"}}),
    Case("llamafactory_mllm_demo/mllm_demo.json", "json", [2, 26, 49, 72, 96, 119]),
    Case("videofeedback_rows/example.jsonl", "jsonl", [*range(1, 13), 14, 15]),
    Case("ms_swift/alpaca.jsonl", "jsonl", [1, 2, 3]),
    Case("ms_swift/alpaca.csv", "csv", [2, 3, 4]),
]

REFUSED = [
    ("duckdb_csv/blob.csv", "the delimiter is in doubt"),
    ("duckdb_csv/duplicate_header_columns.csv", "12 columns are called 'a'"),
    ("duckdb_csv/latin1.csv", "encoding: cp1252"),
    ("duckdb_csv/shift_jis.csv", "encoding: cp932"),
    ("duckdb_csv/unterminated.csv", "the header row cannot be read"),
    ("duckdb_json/map_of_struct_with_nulls.jsonl", "`key: COLUMN`"),
    ("duckdb_json/sample_utf8_bom.json", "`records: users`"),
    ("frictionless/duplicate-headers.csv", "3 columns are called 'id'"),
    ("frictionless/empty.csv", "is empty"),
    (f"{SUITE}/i_string_iso_latin_1.json", "byte 0xe9 on line 1"),
    (f"{SUITE}/n_structure_no_data.json", "is empty"),
    (f"{SUITE}/y_object_long_strings.json", "`records: x`"),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.file}-{case.options}")
def test_file_gives_its_records_and_its_bad_ones(case: Case) -> None:
    """A real file gives each record with its line, and each bad one with its line and code."""
    path, options = ANNOTATIONS / case.file, ReadOptions(**case.options)
    assert detect_format(path, options) == case.format
    read_parts = list(read(path, options))
    rows = [row for part in read_parts if isinstance(part, Batch) for row in part.rows]
    assert [line for part in read_parts if isinstance(part, Batch) for line in part.lines] == case.lines
    assert [(part.line, part.code) for part in read_parts if isinstance(part, BadRecord)] == case.bad
    for index, row in case.holds.items():
        assert rows[index] == row


@pytest.mark.parametrize(("file", "told"), REFUSED)
def test_file_that_cannot_be_used_is_refused_with_advice(file: str, told: str) -> None:
    """A file that is in doubt or useless as a whole raises SourceError that says what to do."""
    with pytest.raises(SourceError) as raised:
        list(read(ANNOTATIONS / file, ReadOptions()))
    assert told in str(raised.value)
    assert "next:" in str(raised.value)


def test_cells_stay_text() -> None:
    """A CSV value is never turned into a number."""
    parts = list(read(ANNOTATIONS / "duckdb_csv/leading_zeros.csv", ReadOptions()))
    assert isinstance(parts[0], Batch)
    assert parts[0].rows[0]["CODGEO"] == "09001"
    assert parts[0].rows[0]["NAISD14"] == "0"
