"""Media of shards are read in place and equal what pyarrow gives; what cannot be read so is read through its rows."""

from __future__ import annotations

import hashlib
import io
import os
from typing import TYPE_CHECKING

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as Pillow

from pipeline.checks.media_rows import media_of
from pipeline.errors import RowRejected
from pipeline.media.location import FilePart
from tests.project import MEDIA, Project
from tests.train.datasets_for_tests import (
    CAPTION,
    CLIPS,
    FORMULA,
    PICTURES,
    build_clips,
    media,
    noise_png,
    opened,
    write_dataset,
)
from train.example import Frames, Image
from train.feed.values_in_place import ValuesInPlace, chunk_of

if TYPE_CHECKING:
    from pathlib import Path

    from train.feed.training_data import TrainingData

FEW = ("bitmap.mp4", "h265_video.mp4", "video_90.mov", "unordered.mov")


def in_place(data: TrainingData) -> list[tuple[int, bytes | None]]:
    """Return the rows of all media, each with the bytes at the place that the index tells."""
    found = []
    for number in range(data.rows):
        place = data.places.of(number)
        shard = data.plan.shards[place.shard]
        for record in data.media.index(place.shard).of_row(place.row).values():
            if record.file is not None and record.offset is None:
                found.append((number, (data.plan.root / record.file).read_bytes()))
            elif record.offset is None:
                found.append((number, None))
            else:
                path = shard.path if record.file is None else data.plan.root / record.file
                found.append((number, FilePart(path, record.offset, record.size).read_bytes()))
    return found


def by_arrow(folder: Path, column: str) -> list[tuple[int, bytes | None]]:
    """Return the rows of all media of a column, each with its bytes, as pyarrow reads them."""
    tables = [pq.read_table(path, columns=[column]) for path in sorted(folder.rglob("train-*.parquet"))]
    array = pa.concat_tables(tables).column(0).combine_chunks()
    return [(medium.row, medium.data) for medium in media_of(array)]


@pytest.mark.parametrize("how", ["embedded", "files", "archive"])
def test_media_are_read_where_they_lie(project: Project, how: str) -> None:
    """Each medium of our shards is found at its place: inside a shard, as a file, inside an archive."""
    folder = build_clips(project, FEW, shards=None if how == "embedded" else {"media": how})
    data = opened(folder, conversation=CAPTION)
    found = in_place(data)
    said = pq.read_table(next(folder.rglob("*.parquet")), columns=["caption"]).column(0).to_pylist()
    wanted = [(MEDIA / text.removeprefix("This is ").rstrip(".")).read_bytes() for text in said]
    assert found == list(enumerate(wanted))
    frames = [data.example(number).media[0] for number in range(data.rows)]
    assert all(isinstance(one, Frames) and one.pixels.any() for one in frames)


@pytest.mark.parametrize("codec", ["none", "snappy", "zstd"])
@pytest.mark.parametrize("version", ["1.0", "2.0"])
def test_any_parquet_file(tmp_path: Path, codec: str, version: str) -> None:
    """Shards of anybody: what is not compressed is read in place, also with nulls, lists and pages of any size."""
    pictures = [noise_png(number) for number in range(40)]
    lists = [[pictures[n], pictures[n + 1]] if n % 3 else [] if n % 2 else None for n in range(39)]
    column = pa.array(
        [None if one is None else [{"bytes": data, "path": None} for data in one] for one in lists],
        pa.list_(pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
    )
    table = pa.table({"images": column, "caption": [f"{n}" for n in range(39)]})
    folder = write_dataset(
        tmp_path / "d",
        table,
        {"images": {"_type": "List", "feature": {"_type": "Image"}}},
        shards=2,
        compression=codec,
        use_dictionary=["caption"],
        data_page_version=version,
        data_page_size=3_000,
        row_group_size=9,
    )
    data = opened(folder, conversation=[{"user": [{"image": "images"}, "these?"]}, {"assistant": "{{ caption }}"}])
    wanted = by_arrow(folder, "images")
    rows = [row for row, _ in wanted]
    assert in_place(data) == (wanted if codec == "none" else [(row, None) for row in rows])
    for number in range(data.rows):
        shown = [one.pixels for one in data.example(number).media if isinstance(one, Image)]
        wanted_here = [Pillow.open(io.BytesIO(one)).convert("RGB") for one in lists[number] or []]
        assert [np.array_equal(one, np.asarray(two)) for one, two in zip(shown, wanted_here, strict=True)].count(
            True
        ) == len(wanted_here)


def test_shards_that_datasets_wrote(tmp_path: Path) -> None:
    """What `datasets` writes is read in place, and examples are what it decodes itself."""
    names = [
        name
        for name in PICTURES
        if name.endswith((".jpg", ".png", ".webp")) and "mode_16" not in name and "bad_exif" not in name
    ]
    features = datasets.Features({"image": datasets.Image(), "caption": datasets.Value("string")})
    rows = {
        "image": [{"bytes": (MEDIA / name).read_bytes(), "path": name} for name in names] * 3,
        "caption": names * 3,
    }
    made = datasets.Dataset.from_dict(rows, features=features)
    (tmp_path / "d").mkdir()
    datasets.disable_progress_bars()
    made.to_parquet(str(tmp_path / "d" / "train-00000-of-00001.parquet"))
    data = opened(tmp_path / "d", conversation=FORMULA)
    assert in_place(data) == by_arrow(tmp_path / "d", "image")
    for number, name in enumerate(names):
        example = data.example(number)
        (picture,) = example.media
        assert isinstance(picture, Image)
        theirs = made[number]["image"]
        assert example.turns[1].parts == (name,)
        if theirs.mode == "RGB" and "orientation" not in name:
            assert np.array_equal(picture.pixels, np.asarray(theirs)), name


def test_pictures_are_upright_and_as_large_as_told(tmp_path: Path) -> None:
    """Every kind of picture is RGB, upright, and of the size that `shape` tells; what is transparent is white."""
    table = pa.table({"image": media([(MEDIA / name).read_bytes() for name in PICTURES]), "caption": list(PICTURES)})
    folder = write_dataset(tmp_path / "d", table, {"image": {"_type": "Image"}}, compression="none")
    for side in (None, 16):
        data = opened(folder, conversation=FORMULA, longest_side=side)
        for number in range(data.rows):
            (told,), (picture,) = data.shape(number).media, data.example(number).media
            assert isinstance(picture, Image)
            assert picture.size == told, PICTURES[number]
            assert picture.pixels.dtype == np.uint8
            assert picture.pixels.shape[2] == 3
            assert side is None or max(picture.pixels.shape) <= side
    data = opened(folder, conversation=FORMULA)
    pixels = {name: data.example(number).media[0].pixels for number, name in enumerate(PICTURES)}  # type: ignore[union-attr]
    turned = Pillow.open(MEDIA / "hopper_orientation_6.jpg").convert("RGB").transpose(Pillow.Transpose.ROTATE_270)
    assert np.array_equal(pixels["hopper_orientation_6.jpg"], np.asarray(turned))
    with Pillow.open(MEDIA / "transparent.png") as image:
        clear = np.asarray(image.convert("RGBA"))[..., 3] == 0
    assert clear.any()
    assert (pixels["transparent.png"][clear] == 255).all()


def test_deep_greys(tmp_path: Path) -> None:
    """Greys of 16 bits become 8; values of which nobody knows the range are refused, beforehand and by name."""
    deep = np.arange(64 * 32, dtype=np.uint16).reshape(32, 64) * 31
    sources = []
    for values, form in ((deep, "PNG"), (deep.astype(np.float32), "TIFF")):
        buffer = io.BytesIO()
        Pillow.fromarray(values).save(buffer, form)
        sources.append(buffer.getvalue())
    table = pa.table({"image": media([*sources]), "caption": ["a", "b"]})
    data = opened(write_dataset(tmp_path / "d", table, {"image": {"_type": "Image"}}), conversation=FORMULA)
    (picture,) = data.example(0).media
    assert isinstance(picture, Image)
    assert abs(picture.pixels[..., 0].astype(int) - deep // 256).max() <= 1
    assert data.unusable() == [
        (data.ref(1), "media.mode", "image: its values are no greys or colours of a known range (mode F)")
    ]


@settings(max_examples=40, deadline=None)
@given(
    values=st.lists(
        st.one_of(st.none(), st.binary(max_size=300), st.sampled_from([b"same", b"\0" * 9])), min_size=1, max_size=30
    ),
    page=st.sampled_from([1, 64, 1 << 20]),
    plain=st.booleans(),
)
def test_values_are_found_or_not_claimed(
    tmp_path_factory: pytest.TempPathFactory, values: list[bytes | None], page: int, plain: bool
) -> None:
    """Whatever the values are, a place that is found holds the value; with plain pages each is found."""
    path = tmp_path_factory.mktemp("values") / "a.parquet"
    encoding = {"column_encoding": "PLAIN"} if plain else {"column_encoding": "DELTA_LENGTH_BYTE_ARRAY"}
    table = pa.table({"a.b": pa.array(values, pa.binary()), "a": pa.array(["x"] * len(values), pa.string())})
    pq.write_table(table, path, compression="none", use_dictionary=False, data_page_size=page, **encoding)
    data = path.read_bytes()
    with ValuesInPlace(path, chunk_of(pq.read_metadata(path).row_group(0), "a.b")) as places:
        for value in filter(None, values):
            place = places.find(value)
            if place is not None:
                assert data[place : place + len(value)] == value
            assert place is not None or not plain


def test_index_is_made_once(project: Project) -> None:
    """A second opening looks at no medium; a changed shard is looked at anew; a damaged index is made anew."""
    folder = build_clips(project, FEW)
    looked: list[int] = []
    first = opened(folder, conversation=CAPTION, advance=looked.append)
    assert sum(looked) == len(FEW)
    looked.clear()
    assert opened(folder, conversation=CAPTION, advance=looked.append).fingerprint == first.fingerprint
    assert looked == []
    index = first.plan.shards[0].index
    index.write_bytes(index.read_bytes()[:-100])
    assert opened(folder, conversation=CAPTION, advance=looked.append).fingerprint == first.fingerprint
    assert sum(looked) == len(FEW)
    looked.clear()
    shard = first.plan.shards[0].path
    os.utime(shard, ns=(1, 1))
    assert opened(folder, conversation=CAPTION, advance=looked.append).fingerprint == first.fingerprint
    assert sum(looked) == len(FEW)


def test_fingerprint_is_that_of_the_content(project: Project, tmp_path: Path) -> None:
    """The same dataset elsewhere has the same fingerprint; other frames, sizes or words have another."""
    import shutil

    folder = build_clips(project, FEW)
    first = opened(folder, conversation=CAPTION)
    copy = tmp_path / "elsewhere" / "copy"
    shutil.copytree(folder, copy)
    assert opened(copy, conversation=CAPTION).fingerprint == first.fingerprint
    from train.feed.frame_sampling import FrameSampling

    others = [
        opened(folder, conversation=CAPTION, frames=FrameSampling(count=2)),
        opened(folder, conversation=CAPTION, longest_side=64),
        opened(folder, conversation=[CAPTION[0], {"assistant": "{{ kind }}"}]),
        opened(folder, conversation=CAPTION, frame_cache="jpeg"),
    ]
    assert len({first.fingerprint, *(one.fingerprint for one in others)}) == 5


def test_hashes_are_those_of_the_media(project: Project) -> None:
    """A medium whose bytes change behind the index is refused by name, not used."""
    folder = build_clips(project, FEW)
    data = opened(folder, conversation=CAPTION, id_column="id")
    shard = data.plan.shards[0]
    record = next(iter(data.media.index(0).of_row(1).values()))
    assert record.offset is not None
    with shard.path.open("rb+") as file:
        file.seek(record.offset + record.size // 2)
        byte = file.read(1)
        file.seek(record.offset + record.size // 2)
        file.write(bytes([byte[0] ^ 255]))
    os.utime(shard.path, ns=(shard.mtime_ns, shard.mtime_ns))
    data.example(0)
    with pytest.raises(RowRejected, match="video: its bytes are not those that were indexed") as raised:
        data.example(1)
    assert raised.value.code == "media.changed"
    assert str(data.ref(1)).endswith(")")
    assert hashlib.sha256(FilePart(shard.path, record.offset, record.size).read_bytes()).digest() != record.sha256


def test_all_clips_come_as_told(project: Project) -> None:
    """`example` gives exactly the frames, sizes and times that `shape` tells, for clips of every kind."""
    folder = build_clips(project)
    data = opened(folder, conversation=CAPTION, longest_side=48, id_column="id")
    assert data.rows == len(CLIPS)
    for number in range(data.rows):
        told, shown = data.shape(number), data.example(number)
        assert [one.size for one in shown.media if isinstance(one, Frames)] == told.media
        assert told.row == shown.row == data.ref(number)
        assert told.row.id.startswith("0-")
