"""Parquet."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from reading import outcome, outcome_of

from pipeline.errors import SourceError

if TYPE_CHECKING:
    from pathlib import Path


def test_rows_are_read_with_their_numbers(tmp_path: Path) -> None:
    """Values come as Python has them, bytes as bytes, across row groups."""
    rows = [{"id": number, "raw": b"\xff\0", "tags": ["a", None], "box": {"x": 0.5}} for number in range(2500)]
    path = tmp_path / "rows.bin"
    pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=700)
    found = outcome(path)
    assert found.rows == rows
    assert found.lines == list(range(1, 2501))


def test_value_that_python_cannot_hold_rejects_its_row(tmp_path: Path) -> None:
    """A time beyond what Python can hold rejects one row."""
    far = pa.array([0, 1 << 62, 1], pa.timestamp("s"))
    pq.write_table(pa.table({"at": far.cast(pa.timestamp("us"), safe=False), "n": [1, 2, 3]}), tmp_path / "a.parquet")
    pq.write_table(
        pa.table({"at": pa.array([0, 1 << 60, 1], pa.timestamp("us")), "n": [1, 2, 3]}), tmp_path / "b.parquet"
    )
    found = outcome(tmp_path / "b.parquet")
    assert found.rows == [{"at": datetime(1970, 1, 1), "n": 1}, {"at": datetime(1970, 1, 1, 0, 0, 0, 1), "n": 3}]  # noqa: DTZ001
    assert found.codes == [(2, "read.parquet")]


def test_doubled_names_are_refused(tmp_path: Path) -> None:
    """Two columns, or two fields of one struct, of one name raise SourceError."""
    path = tmp_path / "a.parquet"
    pq.write_table(pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["x", "x"]), path)
    with pytest.raises(SourceError, match="several columns are called 'x'"):
        outcome(path)
    inner = pa.StructArray.from_arrays([pa.array([1]), pa.array([2])], names=["y", "y"])
    pq.write_table(pa.table({"s": inner}), path)
    with pytest.raises(SourceError, match=r"several columns are called 's\.y'"):
        outcome(path)


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    """A cut, overwritten or wrongly named file raises SourceError."""
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"x": [f"{number:09d}" for number in range(50_000)]}), path, row_group_size=10_000)
    data = path.read_bytes()
    with pytest.raises(SourceError, match="not a readable Parquet file"):
        outcome_of(path, data[: len(data) // 2])
    middle = len(data) // 2
    with pytest.raises(SourceError, match="cannot be read"):
        outcome_of(path, data[:middle] + b"\xff" * 20_000 + data[middle + 20_000 :])
    for content in (b"", b"PAR1"):
        with pytest.raises(SourceError):
            outcome_of(path, content)
