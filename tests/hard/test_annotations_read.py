"""Files from other projects, each with what reading it gives: the table is `annotations.yaml`."""

from __future__ import annotations

import io
import json
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pytest
from annotation_table import ANNOTATIONS, Reading, readings

from pipeline.errors import SourceError
from pipeline.readers.read import detect_format, read
from pipeline.readers.record import BadRecord, Batch, ReadOptions

READINGS = readings()


def _options(reading: Reading) -> ReadOptions:
    """Return the options as the readers know them."""
    given: dict[str, Any] = {**reading.options}
    if isinstance(given.get("header"), list):
        given["header"] = tuple(given["header"])
    return ReadOptions(**given)


@pytest.mark.parametrize("reading", [reading for reading in READINGS if not reading.refused], ids=str)
def test_file_gives_its_records_and_its_bad_ones(reading: Reading) -> None:
    """A real file gives each record with its line, and each bad one with its line, code and reason."""
    assert detect_format(reading.path, _options(reading)) == reading.format
    parts = list(read(reading.path, _options(reading)))
    rows = [row for part in parts if isinstance(part, Batch) for row in part.rows]
    bad = [part for part in parts if isinstance(part, BadRecord)]
    assert [line for part in parts if isinstance(part, Batch) for line in part.lines] == reading.records
    assert [(part.line, part.code) for part in bad] == reading.bad
    assert all(part.message for part in bad)
    for place, row in reading.holds.items():
        assert rows[place] == row


@pytest.mark.parametrize("reading", [reading for reading in READINGS if reading.refused], ids=str)
def test_file_that_cannot_be_used_is_refused_with_advice(reading: Reading) -> None:
    """A file that is in doubt or useless as a whole raises SourceError, which names it and says what to do."""
    with pytest.raises(SourceError) as raised:
        list(read(reading.path, _options(reading)))
    assert str(reading.refused) in str(raised.value)
    assert reading.file in str(raised.value)
    assert "next:" in str(raised.value)


@pytest.mark.parametrize(
    "reading", [r for r in READINGS if r.records and r.format in ("json", "jsonl") and not r.options], ids=str
)
def test_json_is_what_the_standard_library_reads(reading: Reading) -> None:
    """The good records of a JSON file are those that Python's own parser finds in it."""
    rows = [row for part in read(reading.path, _options(reading)) if isinstance(part, Batch) for row in part.rows]
    decoder, text = json.JSONDecoder(), reading.path.read_text(encoding="utf-8-sig").strip()
    expected = []
    while text:
        try:
            value, end = decoder.raw_decode(text)
        except json.JSONDecodeError:
            end = (text + "\n").index("\n")
        else:
            expected += value if isinstance(value, list) else [value]
        text = text[end:].strip()
    bad = {line for line, _ in reading.bad}
    if not bad:
        assert rows == expected
    assert all(row in expected for row in rows)


@pytest.mark.parametrize(
    "reading", [r for r in READINGS if r.records and r.format in ("csv", "tsv") and not (r.options or r.bad)], ids=str
)
def test_csv_is_what_another_parser_reads(reading: Reading) -> None:
    """The records of a good CSV file are those that Arrow's parser finds in it, when told the delimiter."""
    data = reading.path.read_bytes()
    text = data.decode("utf-16" if data.startswith(b"\xff\xfe") else "utf-8-sig")
    header = text.splitlines()[0]
    delimiter = next((mark for mark in ";\t|" if mark in header), ",")
    names = header.replace('"', "").split(delimiter)
    table = pa.csv.read_csv(
        io.BytesIO(text.encode()),
        parse_options=pa.csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
        convert_options=pa.csv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False
        ),
    )
    rows = [row for part in read(reading.path, _options(reading)) if isinstance(part, Batch) for row in part.rows]
    assert rows == table.to_pylist()


def test_cells_stay_text() -> None:
    """No value of any CSV or TSV file is anything but a text."""
    for reading in READINGS:
        if reading.format in ("csv", "tsv") and not reading.refused:
            for part in read(reading.path, _options(reading)):
                if isinstance(part, Batch):
                    assert {type(value) for row in part.rows for value in row.values()} == {str}


def test_table_names_every_file() -> None:
    """Each file of the folder is in the table with a reason, and stands in the README with its origin and licence."""
    files = {path.relative_to(ANNOTATIONS).as_posix() for path in ANNOTATIONS.rglob("*") if path.is_file()}
    assert files - {"README.md"} == {reading.file for reading in READINGS}
    assert all(reading.why.endswith(".") for reading in READINGS)
    readme = (ANNOTATIONS / "README.md").read_text(encoding="utf-8")
    assert [reading.file for reading in READINGS if f"| `{reading.file}` |" not in readme] == []
