"""Rows of a split as examples: the same in every process, with flat memory, and what cannot be used is named."""

from __future__ import annotations

import gc
import multiprocessing
import os
import pickle
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.errors import DatasetError, RowRejected
from pipeline.media.bounded import BoundedProcesses, Limits
from tests.checks.made_media import harmful_decoder
from tests.train.datasets_for_tests import CAPTION, FORMULA, build_clips, media, noise_png, opened, write_dataset
from train.example import Image, TrainError
from train.feed import index

if TYPE_CHECKING:
    from tests.project import Project
    from train.feed.training_data import TrainingData

IMAGE = {"image": {"_type": "Image"}}
HARMFUL = f"{__name__}:harmful_index"


def pictures(tmp_path: Path, rows: int = 60, **options: Any) -> Path:
    """Write a dataset of small pictures with names; returns its folder."""
    data = [noise_png(number) for number in range(rows)]
    table = pa.table({"id": [f"p{number}" for number in range(rows)], "image": media([*data]), "caption": ["c"] * rows})
    return write_dataset(tmp_path / "d", table, IMAGE, **options)


def seen(data: TrainingData, numbers: range) -> list[tuple[str, bytes]]:
    """Return what rows show: their name, and their pixels."""
    found = []
    for number in numbers:
        example = data.example(number)
        found.append((str(example.row), b"".join(one.pixels.tobytes() for one in example.media)))  # type: ignore[union-attr]
    return found


def test_rows_have_names(tmp_path: Path) -> None:
    """Numbers go on over shards and row groups; a row says its shard, its place in it, and its id."""
    data = opened(pictures(tmp_path, 25, shards=3, row_group_size=4), conversation=FORMULA, id_column="id")
    assert (data.rows, len(data)) == (25, 25)
    assert data.row_groups.tolist() == [4, 4, 1, 4, 4, 1, 4, 3]
    assert str(data.ref(0)) == "data/train-00000-of-00003.parquet row 0 (p0)"
    assert str(data.ref(10)) == "data/train-00001-of-00003.parquet row 1 (p10)"
    assert [data.ref(number).id for number in range(25)] == [f"p{number}" for number in range(25)]
    assert data.example(24).row == data.shape(24).row == data.ref(24)
    for number in (-1, 25):
        with pytest.raises(IndexError):
            data.shape(number)
    assert opened(tmp_path / "d", conversation=FORMULA).ref(3).id == ""


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_other_processes_see_the_same(tmp_path: Path, method: str) -> None:
    """Forked or started anew, with files open or not, a process gets the same examples; little is sent to it."""
    data = opened(pictures(tmp_path, shards=2, row_group_size=7), conversation=FORMULA)
    wanted = seen(data, range(data.rows))
    assert len(pickle.dumps(data)) < 5_000
    with multiprocessing.get_context(method).Pool(2) as pool:
        halves = pool.starmap(seen, [(data, range(30)), (data, range(30, 60))])
    assert [*halves[0], *halves[1]] == wanted
    data.close()
    assert seen(data, range(3)) == wanted[:3]


def _anonymous_kilobytes() -> int:
    text = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(next(line for line in text.splitlines() if line.startswith("RssAnon:")).split()[1])


def test_memory_is_flat(project: Project) -> None:
    """Twenty passes over videos take no more memory than the first ones."""
    folder = build_clips(project, ("bitmap.mp4", "h265_video.mp4", "unordered.mov"), copies=8)
    data = opened(folder, conversation=CAPTION, longest_side=64, id_column="id")
    assert data.rows == 24
    held = []
    for _ in range(20):
        for number in range(data.rows):
            data.example(number)
        gc.collect()
        held.append(_anonymous_kilobytes())
    assert max(held[5:]) - held[4] < 3_000, held


def test_compressed_shards_take_bounded_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Row groups of compressed media are remembered up to a limit; one that is larger is read piece by piece."""
    folder = pictures(tmp_path, 60, row_group_size=10, compression="zstd")
    data = opened(folder, conversation=FORMULA)
    wanted = seen(data, range(60))
    for limit in (1, 15_000):
        monkeypatch.setattr("train.feed.shard_reader.MEDIA_KEPT", limit)
        data.close()
        assert seen(data, range(59, -1, -1)) == wanted[::-1]
        kept = data._opened.reader._media
        assert kept._bytes <= limit
        assert bool(kept._tables) == (limit > 1)


def harmful_index(where: Any, how: Any) -> Any:
    """Look at media like the job itself, with a decoder that comes to harm."""
    from train.feed import jobs

    with harmful_decoder():
        return jobs.index_media(where, how)


def test_a_hostile_medium_costs_its_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What hangs, kills or fills the process that looks at it is refused by name; all other rows are used."""
    monkeypatch.setattr(index, "JOB", HARMFUL)
    monkeypatch.setattr(index, "BoundedProcesses", lambda count: BoundedProcesses(count, Limits(seconds=1)))
    data: list[bytes | None] = [noise_png(number) for number in range(12)]
    data[2], data[4], data[7], data[9] = b"hang", b"die", b"grow", b"no picture"
    table = pa.table({"image": media(data), "caption": ["c"] * 12})
    found = opened(write_dataset(tmp_path / "d", table, IMAGE), conversation=FORMULA)
    named = {ref.row: (code, message) for ref, code, message in found.unusable()}
    assert {row: code for row, (code, _) in named.items()} == {
        2: "media.timeout",
        4: "media.crash",
        7: "media.memory",
        9: "media.kind",
    }
    assert named[4][1] == "image: it ends its decoder: SIGSEGV"
    with pytest.raises(RowRejected, match="image: decoding it took more than 1 seconds"):
        found.example(2)
    assert len(seen(found, range(2))) == 2


def test_a_damaged_row_group_costs_its_rows(tmp_path: Path) -> None:
    """Bytes that are no Parquet inside of a shard are told for the rows that they hold, and for no others."""
    folder = pictures(tmp_path, 40, row_group_size=10, compression="none", use_dictionary=False)
    (path,) = folder.rglob("*.parquet")
    told = pq.read_metadata(path).row_group(1)
    places = {told.column(number).path_in_schema: told.column(number).data_page_offset for number in range(4)}
    whole = path.read_bytes()
    for column, codes in (("image.bytes", {"shard.damaged"}), ("caption", {"shard.damaged"})):
        path.write_bytes(whole[: places[column]] + b"\xff" * 40 + whole[places[column] + 40 :])
        data = opened(folder, conversation=FORMULA)
        named = data.unusable()
        assert {ref.row for ref, _, _ in named} == set(range(10, 20))
        assert {code for _, code, _ in named} == codes
        assert len(seen(data, range(20, 40))) == 20


def test_shards_that_cannot_be_read(tmp_path: Path) -> None:
    """A shard that is cut off, or a pointer to one, is told with its name and what to do."""
    folder = pictures(tmp_path, 20, shards=2)
    first, second = sorted(folder.rglob("*.parquet"))
    whole = second.read_bytes()
    second.write_bytes(whole[:-20])
    with pytest.raises(DatasetError, match=r"the shard data/train-00001-of-00002\.parquet cannot be read"):
        opened(folder, conversation=FORMULA)
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize {len(whole)}\n"
    second.write_text(pointer)
    with pytest.raises(DatasetError, match="git lfs pull"):
        opened(folder, conversation=FORMULA)
    second.write_bytes(whole)
    data = opened(folder, conversation=FORMULA)
    os.utime(first, ns=(1, 1))
    with pytest.raises(TrainError, match=r"train-00000-of-00002\.parquet changed since it was indexed"):
        data.example(0)
    second.unlink()
    with pytest.raises(TrainError, match="cannot be read any more"):
        data.example(19)


def test_a_shard_that_changes_while_it_is_looked_at(tmp_path: Path) -> None:
    """An index that is of two states of a shard is not written."""
    folder = pictures(tmp_path, 5)
    (path,) = folder.rglob("*.parquet")

    def touch(_: int) -> None:
        os.utime(path, ns=(1, 1))

    with pytest.raises(TrainError, match="changed while it was read"):
        opened(folder, conversation=FORMULA, advance=touch)
    assert not [*(tmp_path / "cache-of-training").rglob("*.arrow")]


def test_no_media_at_all(tmp_path: Path) -> None:
    """Rows of text alone are examples too."""
    table = pa.table({"question": ["1+1?", "2+2?"], "answer": ["2", "4"]})
    folder = write_dataset(tmp_path / "d", table, {})
    data = opened(folder, conversation=[{"user": "{{ question }}"}, {"assistant": "{{ answer }}"}])
    assert [turn.parts for turn in data.example(1).turns] == [("2+2?",), ("4",)]
    assert data.unusable() == []


def test_large_media_are_read_where_a_decoder_wants_them(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """A video that is not read whole gives the same frames."""
    folder = build_clips(project, ("bigbuckbunny.mp4", "nasa_13013.mp4"))
    data = opened(folder, conversation=CAPTION, longest_side=32)
    wanted = seen(data, range(2))
    monkeypatch.setattr("train.feed.shard_reader.IN_MEMORY", 1_000)
    assert seen(data, range(2)) == wanted


def test_pixels_are_theirs_alone(tmp_path: Path) -> None:
    """An example's arrays can be written to, and are of the kinds that processors take."""
    data = opened(pictures(tmp_path, 2), conversation=FORMULA)
    (picture,) = data.example(0).media
    assert isinstance(picture, Image)
    assert (picture.pixels.dtype, picture.pixels.flags.c_contiguous) == (np.uint8, True)
    assert picture.pixels.flags.writeable
