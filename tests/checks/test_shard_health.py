"""The health of shards: what the viewer cannot read, what costs every reader, and what overflows."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from pipeline.checks import shard_health
from pipeline.checks.shard_health import check_shard_health
from tests.checks.row_looks import MEDIUM, dataset_of, write_dataset

if TYPE_CHECKING:
    from pathlib import Path

    from pipeline.checks.problem import Problem

MEGA = 1_000_000
PLAIN = {"compression": "none", "use_dictionary": False, "write_page_index": True}


def _noise(count: int, size: int) -> pa.Table:
    """Return pictures that nothing can compress."""
    return pa.table(
        {"image": pa.array([{"bytes": os.urandom(size), "path": f"{n}.png"} for n in range(count)], MEDIUM)}
    )


def _found(folder: Path, *shards: pa.Table, **options: Any) -> list[Problem]:
    return list(check_shard_health(dataset_of(write_dataset(folder, *shards, **options))))


def test_shards_as_datasets_writes_them_are_well(tmp_path: Path) -> None:
    """Plain media, small row groups and a page index; and small shards need none."""
    table = _noise(120, 100_000)
    assert not _found(tmp_path / "a", table, **PLAIN)
    assert not _found(tmp_path / "b", table.slice(0, 20))
    assert not _found(tmp_path / "empty", table.slice(0, 0))


def test_the_viewer_reads_whole_row_groups_without_an_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SW303 names the largest row group; with an index only the rows that are shown count."""
    monkeypatch.setattr(shard_health, "VIEWER_BYTES", 3 * MEGA)
    table = _noise(130, 28_000)
    whole = _found(tmp_path / "whole", table, **PLAIN | {"write_page_index": False})
    assert [(p.code, p.file, p.split) for p in whole] == [("SW303", "train-00000-of-00001.parquet", "train")]
    assert whole[0].message.startswith("row group 0 has 3,64")
    assert whole[0].message.endswith(" bytes; the Hub's viewer reads 3,000,000 at once")
    assert not _found(tmp_path / "indexed", table, **PLAIN)
    assert not _found(tmp_path / "cut", table, **PLAIN | {"write_page_index": False, "row_group_size": 70})
    shown = _found(tmp_path / "shown", _noise(110, 31_000), **PLAIN)
    assert shown[0].message.startswith("100 rows of row group 0 have about 3,10")
    assert "beside the shards" in shown[0].hint


def test_the_limit_is_that_of_the_viewer() -> None:
    """It says of itself: `max=286.10 MiB`."""
    assert f"{shard_health.VIEWER_BYTES / 2**20:.2f}" == "286.10"


def test_large_row_groups_want_a_page_index(tmp_path: Path) -> None:
    """SW304 is told once a split, with how many shards lack one and what that costs."""
    table, small = _noise(120, 100_000), _noise(3, 100)
    found = _found(tmp_path / "a", table, small, table, **PLAIN | {"write_page_index": False})
    assert [(p.code, p.file) for p in found] == [("SW304", "train-00000-of-00003.parquet")]
    assert found[0].message.startswith(
        "2 of 3 shards have no page index, so a few rows cost a whole row group, up to 12,"
    )
    assert not _found(tmp_path / "b", table, **PLAIN | {"write_page_index": False, "row_group_size": 40})


@pytest.mark.parametrize("codec", ["snappy", "zstd"])
def test_media_that_were_compressed_for_nothing(tmp_path: Path, codec: str) -> None:
    """SW305 says what it saved; media that shrink are not told, nor are a few."""
    noise = _noise(120, 100_000)
    found = _found(tmp_path / "a", noise, **PLAIN | {"compression": codec})
    assert [(p.code, p.key) for p in found] == [("SW305", "image")]
    assert found[0].message.startswith(f"media are compressed once more, with {codec.upper()}: 12,0")
    flat = pa.table({"image": pa.array([{"bytes": bytes(100_000), "path": "a.bmp"}] * 120, MEDIUM)})
    assert not _found(tmp_path / "b", flat, **PLAIN | {"compression": codec})
    assert not _found(tmp_path / "c", noise.slice(0, 50), **PLAIN | {"compression": codec})
    text = pa.table({"text": [os.urandom(50_000).hex() for _ in range(120)]})
    assert not _found(tmp_path / "d", text, **PLAIN | {"compression": codec})


def test_media_in_a_dictionary(tmp_path: Path) -> None:
    """SW305 is told where they do not repeat; a dictionary of media that do is worth it."""
    found = _found(tmp_path / "a", _noise(120, 100_000), **PLAIN | {"use_dictionary": True})
    assert [(p.code, p.key) for p in found] == [("SW305", "image")]
    assert "stored with a dictionary, though they do not repeat" in found[0].message
    repeated = pa.table({"images": pa.array([[{"bytes": bytes(100_000), "path": "a.bmp"}]] * 120, pa.list_(MEDIUM))})
    assert not _found(tmp_path / "b", repeated, **PLAIN | {"use_dictionary": True})


def test_columns_that_32_bits_do_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SW306 counts bytes of texts and media, and items of lists, where their offsets have 32 bits."""
    monkeypatch.setattr(shard_health, "NEAR_OFFSETS", 9_000)
    monkeypatch.setattr(shard_health, "OFFSETS", 10_000)
    text = ["x" * 99 for _ in range(100)]
    table = pa.table(
        {
            "text": text,
            "large": pa.array(text, pa.large_string()),
            "number": list(range(100)),
            "images": pa.array([[{"bytes": b"y" * 50, "path": None}] * 3] * 100, pa.list_(MEDIUM)),
            "vectors": pa.array([[0.5] * 95] * 100),
            "long vectors": pa.array([[0.5] * 120] * 100, pa.large_list(pa.float64())),
            "map": pa.array([[("k", "v")]] * 100, pa.map_(pa.string(), pa.string())),
        }
    )
    found = _found(tmp_path / "a", table, **PLAIN)
    assert {(p.code, p.key) for p in found} == {
        ("SW306", "text"),
        ("SW306", "images.list.element.bytes"),
        ("SW306", "vectors.list.element"),
    }
    said = {p.key: p.message for p in found}
    assert "near to the 10,000 that 32-bit offsets count" in said["text"]
    assert "more than the 10,000" in said["images.list.element.bytes"]
    assert said["vectors.list.element"].startswith("9,500 items in row group 0, near to")
    assert not _found(tmp_path / "b", table, **PLAIN | {"row_group_size": 50})
    assert not _found(tmp_path / "c", pa.table({"large": table.column("large")}), **PLAIN)
