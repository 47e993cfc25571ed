"""Footers are read whole however they are kept, and what is no Parquet is told apart from what is cut off."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.checks import footers
from pipeline.checks.files import LocalFiles
from pipeline.checks.footers import Footer, read_footers

if TYPE_CHECKING:
    from pathlib import Path


def read(folder: Path) -> dict[str, Footer | str]:
    """Read the footers of all files of a folder."""
    files = LocalFiles(folder)
    sizes = files.sizes()
    return read_footers(files, sizes, list(sizes))


@pytest.mark.parametrize("room", [(1 << 30, 0), (0, 1 << 30), (0, 0)])
def test_footers_are_kept_or_read_again(room: tuple[int, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a footer says is the same as it is, packed, and read once more; shards of one schema share it."""
    whole, packed = room
    monkeypatch.setattr(footers, "_Shared", functools.partial(footers._Shared, room_whole=whole, room_packed=packed))
    for number in range(20):
        table = pa.table({"a": range(number + 1), "b": [f"text {number}"] * (number + 1)})
        pq.write_table(table, tmp_path / f"{number:02d}.parquet", row_group_size=3)
    found = list(read(tmp_path).values())
    for number, footer in enumerate(found):
        assert isinstance(footer, Footer)
        assert footer.metadata.equals(pq.read_metadata(tmp_path / f"{number:02d}.parquet"))
        assert (footer.rows, sum(group.rows for group in footer.groups)) == (number + 1, number + 1)
        assert footer.schema is found[0].schema  # type: ignore[union-attr]


def test_long_footers(tmp_path: Path) -> None:
    """A footer that is longer than what is read at first is read whole."""
    table = pa.table({f"column_{number}": [number] for number in range(2_000)})
    pq.write_table(table, tmp_path / "wide.parquet")
    (footer,) = read(tmp_path).values()
    assert isinstance(footer, Footer)
    assert footer.metadata.serialized_size > footers.END_BYTES
    assert len(footer.schema) == 2_000


def test_what_is_no_parquet(tmp_path: Path) -> None:
    """Empty files, cut ones, other ones and lying ones are told, each in its words."""
    pq.write_table(pa.table({"a": [1, 2]}), tmp_path / "good.parquet")
    data = (tmp_path / "good.parquet").read_bytes()
    (tmp_path / "cut.parquet").write_bytes(data[:-9])
    (tmp_path / "empty.parquet").write_bytes(b"")
    (tmp_path / "four.parquet").write_bytes(b"PAR1")
    (tmp_path / "long.parquet").write_bytes(data[:-8] + (1 << 31).to_bytes(4, "little") + b"PAR1")
    (tmp_path / "zeros.parquet").write_bytes(bytes(len(data) - 8) + data[-8:])
    said = {name: footer for name, footer in read(tmp_path).items() if isinstance(footer, str)}
    assert set(said) == {"cut.parquet", "empty.parquet", "four.parquet", "long.parquet", "zeros.parquet"}
    assert said["cut.parquet"] == said["empty.parquet"] == "it does not end as Parquet files do"
    assert said["long.parquet"] == f"its footer says that it has 2,147,483,656 bytes, and the file has {len(data):,}"
