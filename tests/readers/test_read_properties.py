"""What holds for any records and any damage."""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from reading import outcome_of

from pipeline.errors import SourceError
from pipeline.readers import text

if TYPE_CHECKING:
    from pathlib import Path

# Each example writes its own content to the one file of the test.
SAME_FOLDER = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12) | st.sampled_from(['},\n{"', ': ":', "\\", '"]}'])
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**25), 10**25)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
ROWS = st.lists(st.dictionaries(TEXT, VALUES, max_size=4), max_size=8)
# Records that look alike, as those of real files do.
ALIKE = st.lists(
    st.fixed_dictionaries({"id": st.integers(), "parts": st.lists(st.just({"id": 1})), "t": TEXT}), max_size=8
)


def _line_starts(texts: list[str], before: int, between: int) -> list[int]:
    """Return the line each text starts on when so many line ends stand before the first and between two."""
    lines, line = [], 1 + before
    for printed in texts:
        lines.append(line)
        line += printed.count("\n") + between
    return lines


@SAME_FOLDER
@given(rows=ROWS | ALIKE, indent=st.sampled_from([None, 1, 4]), ascii_only=st.booleans(), crlf=st.booleans())
def test_array_is_read_back(tmp_path: Path, rows: list[Any], indent: int | None, ascii_only: bool, crlf: bool) -> None:
    """An array of any objects, however it is printed, gives the same objects with the lines they start on."""
    texts = [json.dumps(row, indent=indent, ensure_ascii=ascii_only) for row in rows]
    printed = "[\n" + ",\n".join(texts) + "\n]\n"
    data = (printed.replace("\n", "\r\n") if crlf else printed).encode()
    found = outcome_of(tmp_path / "a.json", data)
    assert found.bad == []
    assert found.rows == rows
    assert found.lines == _line_starts(texts, 1, 1)


@SAME_FOLDER
@given(rows=ROWS | ALIKE, tight=st.booleans())
def test_array_on_one_line_is_read_back(tmp_path: Path, rows: list[Any], tight: bool) -> None:
    """Compact arrays, whose nested objects look like borders between records, are cut at the right places."""
    data = json.dumps(rows, separators=(",", ":") if tight else None).encode()
    found = outcome_of(tmp_path / "a.json", data)
    assert (found.rows, found.bad) == (rows, [])


@pytest.mark.parametrize("block_bytes", [1, 5, 64])
@settings(parent=SAME_FOLDER, max_examples=40)
@given(rows=ROWS | ALIKE, indent=st.sampled_from([None, 1]), cut=st.integers(0, 40))
def test_borders_of_blocks_do_not_show(
    tmp_path: Path, block_bytes: int, rows: list[Any], indent: int | None, cut: int
) -> None:
    """Whole and cut files give the same, whatever pieces they are read in."""
    data = json.dumps(rows, indent=indent, ensure_ascii=False).encode()
    for options in ({"format": "json"}, {"format": "jsonl"}, {"format": "csv", "header": ("a",), "delimiter": ","}):
        content = data[: len(data) - cut] or b"["
        whole = outcome_of(tmp_path / "a", content, encoding="utf-8", **options)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(text, "BLOCK_BYTES", block_bytes)
            assert outcome_of(tmp_path / "a", content, encoding="utf-8", **options) == whole


@SAME_FOLDER
@given(rows=ROWS, crlf=st.booleans(), last=st.booleans())
def test_lines_are_read_back(tmp_path: Path, rows: list[Any], crlf: bool, last: bool) -> None:
    """JSON Lines give the same objects, each with its line."""
    end = "\r\n" if crlf else "\n"
    printed = end.join(json.dumps(row, ensure_ascii=False) for row in rows) + (end if last else "")
    found = outcome_of(tmp_path / "a.jsonl", printed.encode(), format="jsonl")
    assert (found.rows, found.lines, found.bad) == (rows, list(range(1, len(rows) + 1)), [])


CELLS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8) | st.sampled_from(
    ["a,b", '"', "x\ny", "x\r\ny", "x\ry", ";\t|"]
)


@SAME_FOLDER
@given(
    table=st.integers(2, 4).flatmap(
        lambda width: st.lists(st.lists(CELLS, min_size=width, max_size=width), max_size=6)
    ),
    delimiter=st.sampled_from([",", ";", "\t", "|"]),
    end=st.sampled_from(["\n", "\r\n"]),
)
def test_csv_is_read_back(tmp_path: Path, table: list[list[str]], delimiter: str, end: str) -> None:
    """What the csv module writes is read back cell by cell, with the lines the rows start on."""
    # For "\n" alone the writer does not quote a lone "\r", which would be a line end when read back.
    quoting = csv.QUOTE_MINIMAL if end == "\r\n" else csv.QUOTE_ALL
    header = [f"c{number}" for number in range(len(table[0]) if table else 2)]
    written = []
    for cells in [header, *table]:
        buffer = io.StringIO()
        csv.writer(buffer, delimiter=delimiter, lineterminator=end, quoting=quoting).writerow(cells)
        written.append(buffer.getvalue())
    found = outcome_of(tmp_path / "a.csv", "".join(written).encode())
    assert found.bad == []
    assert found.rows == [dict(zip(header, cells, strict=True)) for cells in table]
    ends = [row.replace("\r\n", "\n").replace("\r", "\n").count("\n") for row in written]
    assert found.lines == [1 + sum(ends[: number + 1]) for number in range(len(table))]


@pytest.mark.parametrize("options", [{}, {"format": "jsonl"}, {"format": "csv"}, {"records": "a"}, {"key": "k"}])
@settings(parent=SAME_FOLDER, max_examples=80)
@given(data=st.data())
def test_damage_never_raises_anything_else(tmp_path: Path, options: dict[str, str], data: st.DataObject) -> None:
    """Whatever bytes are changed, reading ends with rows, bad records or SourceError, and makes up no records."""
    rows = [{"id": number, "parts": [{"id": 1}, {"x": "a: b"}], "t": "é"} for number in range(8)]
    whole: Any = {"a": rows} if "records" in options else {str(r["id"]): r for r in rows} if "key" in options else rows
    damaged = bytearray(json.dumps(whole, indent=data.draw(st.sampled_from([None, 1])), ensure_ascii=False).encode())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(damaged) - 1))
        damaged[at : at + data.draw(st.integers(0, 3))] = data.draw(
            st.binary(max_size=2) | st.sampled_from([b'"', b"{", b"}", b"[", b"]", b",", b"\\", b"\n", b"\0"])
        )
        damaged = damaged or bytearray(b" ")
    try:
        found = outcome_of(tmp_path / "a.json", bytes(damaged), encoding="utf-8", **options)
    except SourceError:
        return
    starts = damaged.count(b"{") + damaged.count(b",") + damaged.count(b"\n") + 2
    assert len(found.rows) + len(found.bad) <= starts
    last = damaged.count(b"\n") + damaged.count(b"\r") + 1
    assert all(1 <= line <= last for line in [*found.lines, *(bad.line for bad in found.bad)])
