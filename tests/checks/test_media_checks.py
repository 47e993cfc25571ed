"""Checks of media: each finds what it is meant for, says where, and is silent where nothing is wrong."""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from pipeline.checks import media_pass
from pipeline.checks.facts import MEDIA_FACTS
from pipeline.checks.media_pass import pass_over_media
from pipeline.checks.options import Options
from pipeline.checks.report import SHOWN
from pipeline.checks.sampling import chosen_groups
from pipeline.media.bounded import Limits
from pipeline.media.examiners import Examiners
from tests.checks.made_datasets import dataset_in, made_dataset, medium
from tests.checks.made_media import clip, jpeg, pan, saved, scene
from tests.project import MEDIA, Project

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pipeline.checks.dataset import Dataset
    from pipeline.checks.problem import Problem

HARMFUL = "tests.checks.made_media:harmful_look"
STILL = np.asarray(scene(3))


@pytest.fixture(scope="module")
def examiners() -> Iterator[Examiners]:
    """Give processes for all tests."""
    with Examiners(2) as processes:
        yield processes


def looked(
    dataset: Dataset, examiners: Examiners, **options: Any
) -> tuple[dict[str, pa.Table], list[Problem], dict[str, int]]:
    """Return the facts by shard, the problems, and how many there are beyond those."""
    asked = Options(**options)
    facts, problems, more = {}, [], {}
    for shard, table, some, others in pass_over_media(dataset, asked, chosen_groups(dataset, asked)[0], examiners):
        assert table.schema == MEDIA_FACTS
        facts[shard] = table
        problems += some
        more |= others
    assert set(facts) == {name for split in dataset.splits for name in split.shards}
    return facts, problems, more


def found(folder: Path, rows: list[dict[str, Any]], examiners: Examiners, **options: Any) -> list[tuple[str, int, str]]:
    """Return code, row and key of what is wrong with rows of one shard."""
    _, problems, more = looked(made_dataset(folder, {"train": rows}), examiners, **options)
    assert not more
    return [(problem.code, problem.row or 0, problem.key) for problem in problems]


def file(name: str) -> bytes:
    """Return real media."""
    return (MEDIA / name).read_bytes()


# --- what is good


GOOD_IMAGES = ("bmp.bmp", "exif_gps.jpg", "g4_orientation_6.tif", "hopper_gray.jpg", "issue_2811.gif", "jpeg.jpg")
GOOD_IMAGES += ("hopper_bad_exif.jpg", "pil_sample_cmyk.jpg", "tiff_16bit_RGB.tiff", "transparent.png")
GOOD_IMAGES += ("transparent.webp",)
GOOD_VIDEOS = ("av1_video.mkv", "bigbuckbunny.mp4", "chaplin.mp4", "fixture.m4v", "fixture.mkv", "fixture.mov")
GOOD_VIDEOS += ("example_mask.mp4", "fixture.3gp", "fixture.mpg", "no_duration.webm", "pigs_in_a_polka.gif")
GOOD_VIDEOS += ("rotated_video.mp4", "test_video_66x50.mov", "transparent.webm", "video_90.mov", "nasa_13013.mp4")


@pytest.mark.parametrize("look", ["sampled", "full"])
def test_good_media_are_silent(look: str, tmp_path: Path, examiners: Examiners) -> None:
    """Real images and videos of all kinds, with their own names, have nothing wrong."""
    rows = [{"image": medium(file(name), name)} for name in GOOD_IMAGES]
    assert found(tmp_path / "images", rows, examiners, look=look) == []
    rows = [{"video": medium(file(name), name)} for name in GOOD_VIDEOS]
    assert found(tmp_path / "videos", rows, examiners, look=look) == []


def test_facts_are_those_of_the_media(tmp_path: Path, examiners: Examiners) -> None:
    """Hash, bytes, size as it is shown, frames, rate and seconds of each medium, in the order of the rows."""
    names = ("jpeg.jpg", "hopper_orientation_6.jpg", "truncated_jpeg.jpg")
    rows = [{"image": medium(file(name)), "video": medium(file("nasa_13013.mp4"))} for name in names]
    facts, _, _ = looked(made_dataset(tmp_path, {"train": rows}), examiners)
    media = facts["default/train-00000-of-00001.parquet"].to_pylist()
    assert [(one["row"], one["column"]) for one in media] == [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (2, 1)]
    for name, one in zip(names, media[::2], strict=True):
        assert one["sha256"] == hashlib.sha256(file(name)).digest()[:16]
        assert one["bytes"] == len(file(name))
        assert one["look"] is None  # of one split
    with Image.open(MEDIA / names[1]) as stored:
        assert (media[2]["height"], media[2]["width"]) == stored.size
    assert (media[4]["width"], media[4]["frames"]) == (None, None)
    assert (media[1]["width"], media[1]["height"], media[1]["frames"]) == (480, 270, 390)
    assert media[1]["fps"] == pytest.approx(29.97, abs=0.01)
    assert media[1]["duration"] == pytest.approx(13.013, abs=0.01)


# --- each fault

FAULTS: dict[str, tuple[dict[str, Any], str]] = {
    "no image": ({"image": medium(b"no image at all", "a.png")}, "SW501"),
    "no bytes in it": ({"image": medium(b"", "a.png")}, "SW501"),
    "a truncated JPEG": ({"image": medium(file("truncated_jpeg.jpg"))}, "SW501"),
    "a truncated PNG": ({"image": medium(file("truncated_image.png"))}, "SW501"),
    "a damaged PNG": ({"image": medium(file("broken_data_stream.png"))}, "SW501"),
    "a bomb": ({"image": medium(file("decompression_bomb.gif"))}, "SW501"),
    "a video for an image": ({"image": medium(file("fixture.mov"))}, "SW501"),
    "an image for a video": ({"video": medium(file("jpeg.jpg"))}, "SW501"),
    "a cut off video": ({"video": medium(file("bigbuckbunny.mp4")[:-5000])}, "SW501"),
    "a damaged video": ({"video": medium(file("fixture-corrupt.mkv"))}, "SW501"),
    "a video without frames": ({"video": medium(file("AudioVideoInterleave.avi"))}, "SW503"),
    "a song": ({"video": medium(file("video_without_video_stream.mp4"))}, "SW503"),
    "a test card": ({"video": medium(file("testvideo-43.avi"))}, "SW504"),
    "a frozen clip": ({"video": medium(clip([STILL] * 8, crf=30))}, "SW504"),
    "a frozen clip of key frames": ({"video": medium(clip([STILL] * 30, kind="avi", codec="mjpeg"))}, "SW504"),
    "a long frozen clip": ({"video": medium(clip([STILL] * 500, crf=23))}, "SW504"),
    "mirrored": ({"image": medium(file("hopper_orientation_2.jpg"))}, "SW505"),
    "on its side": ({"image": medium(file("hopper_orientation_6.jpg"))}, "SW505"),
    "on its side as WebP": ({"image": medium(file("hopper_orientation_6.webp"))}, "SW505"),
    "turned by XMP": ({"image": medium(file("xmp_tags_orientation.png"))}, "SW505"),
    "an animated GIF": ({"image": medium(file("pigs_in_a_polka.gif"))}, "SW506"),
    "an animated PNG": ({"image": medium(file("mode_16bit.png"))}, "SW506"),
    "an animated WebP": (
        {"image": medium(saved(scene(1), "WEBP", save_all=True, append_images=[scene(2)]))},
        "SW506",
    ),
    "a TIFF of pages": ({"image": medium(saved(scene(1), "TIFF", save_all=True, append_images=[scene(2)]))}, "SW506"),
    "JPEG called PNG": ({"image": medium(jpeg(1), "a/b.png")}, "SW507"),
    "PNG called JPEG": ({"image": medium(saved(scene(1), "PNG"), "b.JPG")}, "SW507"),
    "MP4 called AVI": ({"video": medium(file("bigbuckbunny.mp4"), "b.avi")}, "SW507"),
    "Matroska called WebM": ({"video": medium(file("av1_video.mkv"), "b.webm")}, "SW507"),
    "neither bytes nor path": ({"image": medium(None)}, "SW508"),
    "a URL": ({"image": medium(None, "https://example.org/a.png?key=secret")}, "SW508"),
    "an absolute path": ({"image": medium(None, "/etc/passwd")}, "SW508"),
    "a path that leads out": ({"image": medium(None, "default/../../a.png")}, "SW508"),
    "a path to nothing": ({"video": medium(None, "clips/a.mp4")}, "SW508"),
    "a path to what is hidden": ({"image": medium(None, ".git/a.png")}, "SW508"),
    "a path with a null": ({"image": medium(None, "a\0.png")}, "SW508"),
    "a path that is too long": ({"image": medium(None, "a" * 5000)}, "SW508"),
    "another size": ({"image": medium(jpeg(1)), "width": 320, "height": 120}, "SW502"),
    "sides exchanged": ({"image": medium(jpeg(1)), "width": 120, "height": 160}, "SW502"),
    "another height alone": ({"image": medium(jpeg(1)), "H": 121}, "SW502"),
    "another number of frames": ({"video": medium(file("bigbuckbunny.mp4")), "num_frames": 130}, "SW502"),
    "another rate": ({"video": medium(file("bigbuckbunny.mp4")), "fps": 30.0}, "SW502"),
    "another length": ({"video": medium(file("nasa_13013.mp4")), "duration": 15}, "SW502"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_each_fault_has_its_code(name: str, tmp_path: Path, examiners: Examiners) -> None:
    """A fault is found by its code alone, between two good rows."""
    row, code = FAULTS[name]
    column = "video" if "video" in row else "image"
    good = dict(row) | {column: medium(pan_clip() if column == "video" else jpeg(2))}
    for said in ("width", "height", "H", "num_frames", "fps", "duration"):
        good.pop(said, None)
    assert found(tmp_path, [good, row, good], examiners) == [(code, 1, column)]


def pan_clip() -> bytes:
    """Return a clip that moves."""
    return clip(pan(24), crf=28)


def with_a_dot(number: int) -> np.ndarray:
    """Return the still with a few white pixels that move."""
    frame = STILL.copy()
    frame[60:66, 10 + 2 * number : 16 + 2 * number] = 255
    return frame


def turned(orientation: int) -> bytes:
    """Return a picture with an orientation."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    return jpeg(1, exif=exif)


OTHER = np.asarray(scene(4))
SILENT: dict[str, dict[str, Any]] = {
    "a lone frame": {"video": medium(file("fixture.m4v"))},
    "too short to move": {"video": medium(clip([STILL] * 7))},
    "a slow camera": {"video": medium(clip(pan(48, every=4), crf=28))},
    "a small thing that moves": {"video": medium(clip([with_a_dot(number) for number in range(48)], crf=30))},
    "another slide at the end": {"video": medium(clip([STILL] * 60 + [OTHER] * 12, crf=28))},
    "another slide late": {"video": medium(clip([STILL] * 520 + [OTHER] * 120, crf=28))},
    "upright by EXIF": {"image": medium(turned(1))},
    "no orientation by EXIF": {"image": medium(turned(9))},
    "TIFF that Pillow turns": {"image": medium(file("g4_orientation_6.tif"))},
    "an animation as a video": {"video": medium(file("pigs_in_a_polka.gif"), "a.gif")},
    "jpeg, jpg and JPE": {"images": [medium(jpeg(1), f"a.{ending}") for ending in ("jpeg", "jpg", "JPE", "jfif")]},
    "MP4 called MOV": {"video": medium(file("bigbuckbunny.mp4"), "a.mov")},
    "MOV called MP4": {"video": medium(file("rotated_video.mp4"), "a.m4v")},
    "WebM called MKV": {"video": medium(file("no_duration.webm"), "a.mkv")},
    "endings that promise nothing": {
        "images": [medium(jpeg(1), path) for path in ("a", "a.bin", "b.c/a", "a.png.x", "")]
    },
    "a null": {"image": None},
    "nulls in a list": {"images": [None, medium(jpeg(1)), None]},
    "an empty list": {"images": []},
    "its own size": {"image": medium(jpeg(1)), "width": 160, "height": 120},
    "its size as stored": {"image": medium(turned(6)), "width": 160, "height": 120, "ignore": "SW505"},
    "its size as shown": {"image": medium(turned(6)), "width": 120, "height": 160, "ignore": "SW505"},
    "a video's size as stored": {"video": medium(file("rotated_video.mp4")), "w": 640, "h": 480},
    "a video's size as shown": {"video": medium(file("rotated_video.mp4")), "w": 480, "h": 640},
    "no size": {"image": medium(jpeg(1)), "width": None, "height": -1},
    "sizes that are none": {"image": medium(jpeg(1)), "width": 0.5, "height": float("nan")},
    "a size in words": {"image": medium(jpeg(1)), "width": "320 px"},
    "the size of a box": {"image": medium(jpeg(1)), "x": 3, "y": 4, "w": 20, "h": 30},
    "the size of two": {"image": medium(jpeg(1)), "video": medium(file("fixture.m4v")), "width": 7},
    "the size of a list": {"images": [medium(jpeg(1))], "width": 7},
    "frames of an image": {"image": medium(jpeg(1)), "num_frames": 24, "fps": 24.0},
    "its own length": {"video": medium(file("nasa_13013.mp4")), "num_frames": 391, "fps": 30, "duration": 13.0},
    "milliseconds": {"video": medium(file("nasa_13013.mp4")), "duration": 13_013},
    "the length of a part": {"video": medium(file("nasa_13013.mp4")), "start": 2.0, "end": 5.0, "duration": 3.0},
}


@pytest.mark.parametrize("name", SILENT)
def test_near_misses_are_silent(name: str, tmp_path: Path, examiners: Examiners) -> None:
    """What only looks like a fault is none."""
    row = dict(SILENT[name])
    ignored = row.pop("ignore", "-")
    assert [one for one in found(tmp_path, [row] * 2, examiners) if one[0] != ignored] == []


def test_only_full_decodes_every_frame(tmp_path: Path, examiners: Examiners) -> None:
    """A damaged frame further on is found when all of them are decoded."""
    rows = [{"video": medium(file("corrupted.mp4"))}]
    assert found(tmp_path, rows, examiners) == []
    assert found(tmp_path, rows, examiners, look="full") == [("SW501", 0, "video")]


def test_orientation_is_what_datasets_heeds(tmp_path: Path, examiners: Examiners) -> None:
    """SW505 says the truth: `datasets` turns such a picture when it decodes it, and Pillow does not."""
    from datasets import Features
    from datasets import Image as ImageFeature

    data = file("orientation_rectangle.jpg")
    dataset = made_dataset(tmp_path, {"train": [{"image": medium(data)}]})
    facts, (problem,), _ = looked(dataset, examiners)
    (shown,) = facts["default/train-00000-of-00001.parquet"].to_pylist()
    loaded = Features({"image": ImageFeature()}).decode_example({"image": medium(data)})["image"]
    with Image.open(io.BytesIO(data)) as plain:
        assert plain.size == (shown["height"], shown["width"])
    assert loaded.size == (shown["width"], shown["height"])
    assert problem.message == "its EXIF orientation is 8: `datasets` turns it by 270 degrees, plain Pillow does not"


def test_messages_say_both_numbers(tmp_path: Path, examiners: Examiners) -> None:
    """A size, a rate and a name are told beside what the medium has; no secret of a URL is."""
    rows: list[dict[str, Any]] = [
        {"image": medium(jpeg(1), "a.png"), "width": 320, "height": 240},
        {"image": medium(None, "https://joe:word@example.org/a.png?sig=secret")},
        {"image": medium(file("truncated_jpeg.jpg"))},
    ]
    _, problems, _ = looked(made_dataset(tmp_path, {"train": rows}), examiners)
    assert [problem.message for problem in problems] == [
        "the image does not decode: image file is truncated (8 bytes not processed)",
        "the row says width 320 and height 240, the image has 160 x 120",
        "the path 'a.png' ends with .png, and the content is jpeg",
        "there are no bytes, and the path 'https://example.org/a.png' is a URL",
    ]
    assert [problem.row for problem in problems] == [2, 0, 0, 1]
    assert problems[1].file == "default/train-00000-of-00001.parquet"
    assert (problems[1].config, problems[1].split) == ("default", "train")


# --- lists, many rows, strange columns


def test_media_in_lists_have_their_place(tmp_path: Path, examiners: Examiners) -> None:
    """In lists, null or sliced by row groups, a medium is told by its position."""
    bad = medium(b"bad")
    rows: list[dict[str, Any]] = [
        {"images": [medium(jpeg(1)), bad]},
        {"images": None},
        {"images": [None, medium(jpeg(2)), bad, bad]},
        {"images": []},
        {"images": [bad]},
    ]
    expected = [(0, 1), (2, 2), (2, 3), (4, 0)]
    dataset = made_dataset(tmp_path, {"train": rows}, row_group_size=2)
    facts, problems, _ = looked(dataset, examiners)
    assert [(p.code, p.row, p.key) for p in problems] == [("SW501", row, f"images[{n}]") for row, n in expected]
    media = facts["default/train-00000-of-00001.parquet"].select(["row", "position"]).to_pylist()
    assert [tuple(one.values()) for one in media] == [(0, 0), (0, 1), (2, 1), (2, 2), (2, 3), (4, 0)]


def test_many_of_one_fault_are_counted(tmp_path: Path, examiners: Examiners) -> None:
    """The first of each code are told, in the order of the rows; the others are counted."""
    rows = [{"image": medium(b"bad" if number % 2 else jpeg(number))} for number in range(80)]
    facts, problems, more = looked(made_dataset(tmp_path, {"train": rows}, row_group_size=7), examiners)
    assert [problem.row for problem in problems] == list(range(1, 2 * SHOWN, 2))
    assert more == {"SW501": 40 - SHOWN}
    table = facts["default/train-00000-of-00001.parquet"]
    assert table["row"].to_pylist() == list(range(80))
    assert table["width"].null_count == 40


def test_many_orders_are_worked_on_by_and_by(
    tmp_path: Path, examiners: Examiners, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However few orders are known at a time, each shard comes once, in order, with all of its media."""
    monkeypatch.setattr(media_pass, "ORDERS_AT_ONCE", 2)
    sides = {f"s{number}": [{"image": medium(b"bad")}] * rows for number, rows in enumerate((3, 300, 1, 0, 2))}
    sides["s3"] = [{"image": None}]
    dataset = made_dataset(tmp_path, sides, row_group_size=20)
    facts, problems, more = looked(dataset, examiners)
    assert list(facts) == [name for split in dataset.splits for name in split.shards]
    assert [table.num_rows for table in facts.values()] == [3, 300, 1, 0, 2]
    assert (len(problems), more) == (16, {"SW501": 290})


def test_only_the_chosen_groups_are_looked_at(tmp_path: Path, examiners: Examiners) -> None:
    """Rows are counted from the start of the shard, whichever row groups are chosen."""
    rows = [{"image": medium(b"bad" if number in (0, 5) else jpeg(number))} for number in range(9)]
    dataset = made_dataset(tmp_path, {"train": rows}, row_group_size=3)
    (name,) = dataset.splits[0].shards
    ((shard, table, problems, _),) = pass_over_media(dataset, Options(), {name: [1]}, examiners)
    assert shard == name
    assert table["row"].to_pylist() == [3, 4, 5]
    assert [problem.row for problem in problems] == [5]


TYPES = {
    "large": pa.large_list(pa.struct({"bytes": pa.large_binary(), "path": pa.large_string()})),
    "fixed": pa.list_(pa.struct({"path": pa.string(), "bytes": pa.binary()}), 2),
}


@pytest.mark.parametrize("kind", TYPES)
def test_other_types_of_arrow_are_read(kind: str, tmp_path: Path, examiners: Examiners) -> None:
    """Structs in another order, and lists of other kinds, of somebody else's and without features."""
    rows = [[medium(jpeg(1)), medium(b"bad")], None, [medium(b"bad"), medium(jpeg(2))]]
    made_dataset(tmp_path, {"train": [{"text": "a"}]})
    table = pa.table({"pictures": pa.array(rows, TYPES[kind])})
    pq.write_table(table, tmp_path / "default" / "train-00000-of-00001.parquet")
    _, problems, _ = looked(dataset_in(tmp_path), examiners)
    assert [(problem.row, problem.key) for problem in problems] == [(0, "pictures[1]"), (2, "pictures[0]")]


@pytest.mark.parametrize(
    "column",
    [
        pa.array([1, 2]),
        pa.array([[1], None]),
        pa.array([{"bytes": "text", "path": 3}] * 2),
        pa.array([{"other": b""}] * 2),
        pa.nulls(2),
    ],
)
def test_columns_that_are_no_media_are_left_out(column: pa.Array, tmp_path: Path, examiners: Examiners) -> None:
    """A column that the features call an image, and that is none, is the matter of another check."""
    dataset = made_dataset(tmp_path, {"train": [{"image": medium(jpeg(1))}] * 2})
    path = tmp_path / dataset.splits[0].shards[0]
    metadata = pq.read_schema(path).metadata
    pq.write_table(pa.table({"image": column}).replace_schema_metadata(metadata), path)
    facts, problems, _ = looked(dataset_in(tmp_path), examiners)
    assert not problems
    assert sum(table.num_rows for table in facts.values()) == 0


def test_shards_that_differ_do_no_harm(tmp_path: Path, examiners: Examiners) -> None:
    """A shard in which the column is another one, or twice there, has no media; the others have theirs."""
    rows = [{"image": medium(jpeg(1))}]
    made_dataset(tmp_path, {"train": rows})
    pq.write_table(pa.table({"image": [1]}), tmp_path / "default" / "train-00001.parquet")
    twice = pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["image", "image"])
    pq.write_table(twice, tmp_path / "default" / "train-00002.parquet")
    facts, problems, _ = looked(dataset_in(tmp_path), examiners)
    assert not problems
    assert sorted(table.num_rows for table in facts.values()) == [0, 0, 1]


def test_damaged_shards_do_no_harm(tmp_path: Path, examiners: Examiners) -> None:
    """Media that cannot be read are told by another check; they are not known."""
    rows = [{"image": medium(os.urandom(5_000))} for _ in range(8)]
    dataset = made_dataset(tmp_path, {"train": rows}, row_group_size=4, write_page_checksum=True, compression="snappy")
    (name,) = dataset.splits[0].shards
    data = bytearray((tmp_path / name).read_bytes())
    data[len(data) // 4 : len(data) // 4 + 2_000] = bytes(2_000)
    (tmp_path / name).write_bytes(data)
    facts, _, _ = looked(dataset, examiners)
    assert facts[name].num_rows == 8
    (tmp_path / name).unlink()
    facts, problems, _ = looked(dataset, examiners)
    assert facts[name]["sha256"].null_count == facts[name].num_rows
    assert not problems


# --- decoders that come to harm


@pytest.mark.parametrize("listed", [False, True])
def test_a_harmful_medium_costs_itself_alone(listed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A decoder that hangs, dies or asks for all memory costs the medium it was at."""
    monkeypatch.setattr(media_pass, "LOOK", HARMFUL)
    data = [jpeg(number) for number in range(40)]
    data[7], data[20], data[33] = b"hang", b"die", b"grow"
    if listed:
        rows = [{"images": [medium(one) for one in data[first : first + 10]]} for first in range(0, 40, 10)]
        places = ["0 images[7]", "2 images[0]", "3 images[3]"]
    else:
        rows = [{"image": medium(one)} for one in data]
        places = ["7 image", "20 image", "33 image"]
    with Examiners(2, Limits(seconds=1)) as processes:
        facts, problems, _ = looked(made_dataset(tmp_path, {"train": rows}), processes)
    assert [f"{problem.row} {problem.key}" for problem in problems] == places
    assert {problem.code for problem in problems} == {"SW501"}
    told = [problem.message for problem in problems]
    assert "took more than 1 seconds" in told[0]
    assert "SIGSEGV" in told[1]
    assert "memory" in told[2]
    (table,) = facts.values()
    assert table.num_rows == 40
    assert table["width"].null_count == 3


def test_no_row_group_is_held_in_memory(tmp_path: Path) -> None:
    """A row group of 200 MB is looked at by a process that may hold 250, of which half are programs."""
    rows = [{"image": medium(os.urandom(100_000))} for _ in range(2_000)]
    plain = {"use_dictionary": False, "compression": "none"}
    dataset = made_dataset(tmp_path, {"train": rows}, write_batch_size=8, **plain)
    assert dataset.footer(dataset.splits[0].shards[0]).groups[0].bytes > 200_000_000  # type: ignore[union-attr]
    with Examiners(1, Limits(memory=250 << 20)) as processes:
        facts, problems, more = looked(dataset, processes)
    (table,) = facts.values()
    assert table["sha256"].null_count == 0
    assert all("memory" not in problem.message for problem in problems)
    assert more == {"SW501": 2_000 - SHOWN}


# --- media beside the shards


def test_media_without_bytes_lie_beside_the_shards(tmp_path: Path, examiners: Examiners) -> None:
    """Paths may start at the dataset, or at the folder of the shard; a link that leads out is none."""
    dataset = made_dataset(
        tmp_path / "dataset",
        {
            "train": [
                {"image": medium(None, path)}
                for path in (
                    "pictures/a.jpg",
                    "./b.jpg",
                    "pictures/../default/b.jpg",
                    "pictures/link.jpg",
                    "linked/a.jpg",
                )
            ]
        },
    )
    for name, data in {"pictures/a.jpg": jpeg(1), "default/b.jpg": jpeg(2)}.items():
        (tmp_path / "dataset" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "dataset" / name).write_bytes(data)
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "a.jpg").write_bytes(jpeg(3))
    (tmp_path / "dataset" / "pictures" / "link.jpg").symlink_to(tmp_path / "outside" / "a.jpg")
    (tmp_path / "dataset" / "linked").symlink_to(tmp_path / "outside")
    dataset = dataset_in(tmp_path / "dataset")
    facts, problems, _ = looked(dataset, examiners)
    assert [(problem.code, problem.row) for problem in problems] == [("SW508", 3), ("SW508", 4)]
    (table,) = facts.values()
    assert table["sha256"].to_pylist()[:3] == [hashlib.sha256(jpeg(n)).digest()[:16] for n in (1, 2, 2)]


@pytest.mark.parametrize("layout", ["files", "archive"])
def test_our_own_media_beside_shards(layout: str, project: Project, examiners: Examiners) -> None:
    """Columns of paths are media where they lead to some; what is missing or damaged there is found."""
    for number in range(6):
        (project.source / f"{number}.jpg").write_bytes(jpeg(number))
    (project.source / "clip.mp4").write_bytes(file("bigbuckbunny.mp4"))
    project.rows("rows.jsonl", [{"image": f"{n}.jpg", "clips": ["clip.mp4"], "text": f"{n}.jpg"} for n in range(6)])
    config = {"splits": {"train": {"files": "rows.jsonl"}}}
    columns = {"image": "image", "clips": {"list": "video"}, "text": "string"}
    project.write({"configs": {"default": config}, "shards": {"media": layout}}, columns)
    project.build()
    facts, problems, _ = looked(dataset_in(project.out), examiners)
    assert not problems
    assert sum(table.num_rows for table in facts.values()) == 12
    assert sorted({one for table in facts.values() for one in table["frames"].to_pylist()}) == [1, 132]
    broken = 0
    for path in sorted((project.out / "media").rglob("*.*")):
        data = path.read_bytes()
        if layout == "archive":
            place = data.index(jpeg(2)) + 600
            path.write_bytes(data[:place] + bytes(400) + data[place + 400 :])
            broken = 1
        elif path.suffix == ".jpg" and not broken:
            path.unlink()
            broken = 1
    _, problems, _ = looked(dataset_in(project.out), examiners)
    assert [problem.code for problem in problems] == ["SW501" if layout == "archive" else "SW508"]
    assert problems[0].key == "image"


def test_archives_of_others(tmp_path: Path, examiners: Examiners) -> None:
    """Members of a tar are found by their names; links, and tars that are none, hold nothing."""
    paths = ["a.tar/x/1.jpg", "a.tar/x/2.jpg", "a.tar/link.jpg", "b.tar/1.jpg", "a.tar/x/3.jpg"]
    made_dataset(tmp_path, {"train": [{"image": medium(None, path)} for path in paths]})
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for number in (1, 2):
            member = tarfile.TarInfo(f"./x/{number}.jpg")
            member.size = len(jpeg(number))
            tar.addfile(member, io.BytesIO(jpeg(number)))
        link = tarfile.TarInfo("link.jpg")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    (tmp_path / "b.tar").write_bytes(b"no tar")
    facts, problems, _ = looked(dataset_in(tmp_path), examiners)
    assert [(problem.code, problem.row) for problem in problems] == [("SW508", 2), ("SW508", 3), ("SW508", 4)]
    (table,) = facts.values()
    assert table["width"].to_pylist() == [160, 160, None, None, None]


@pytest.mark.parametrize(
    "texts",
    [
        ["nowhere/a.jpg", "nowhere/b.jpg"],
        ["https://example.org/a.jpg", "a.jpg is a picture"],
        ["a.jpg", "some words"],
        ["default", "README.md"],
        [None, ""],
    ],
)
def test_texts_are_no_media(texts: list[str | None], tmp_path: Path, examiners: Examiners) -> None:
    """Columns of texts, or of paths that lead nowhere, are not taken for media."""
    made_dataset(tmp_path, {"train": [{"text": text} for text in texts]})
    (tmp_path / "a.jpg").write_bytes(jpeg(1))
    facts, problems, _ = looked(dataset_in(tmp_path), examiners)
    assert not problems
    assert sum(table.num_rows for table in facts.values()) == 0


# --- hashes for leaks


def test_pictures_are_hashed_where_there_are_two_sides(tmp_path: Path, examiners: Examiners) -> None:
    """Pictures get a perceptual hash when it can be compared; videos and figures on one ground have none."""
    rows = [{"image": medium(jpeg(1)), "video": medium(file("fixture.m4v"))}]
    figure = Image.new("L", (200, 100), 255)
    figure.paste(0, (20, 20, 60, 60))
    dataset = made_dataset(tmp_path, {"train": rows, "test": [{"image": medium(saved(figure, "PNG"))}]})
    facts, _, _ = looked(dataset, examiners)
    looks = {name.split("/")[1].split("-")[0]: table["look"].to_pylist() for name, table in facts.items()}
    assert [one is None for one in looks["train"]] == [False, True]
    assert looks["test"] == [None]
    facts, _, _ = looked(dataset, examiners, ignore=("SW602",))
    assert all(table["look"].null_count == table.num_rows for table in facts.values())


def test_progress_counts_media(tmp_path: Path, examiners: Examiners) -> None:
    """Every medium that was looked at is told."""

    class Count:
        done = 0

        def advance(self, amount: int = 1) -> None:
            self.done += amount

    dataset = made_dataset(tmp_path, {"train": [{"image": medium(jpeg(number))} for number in range(70)]})
    count = Count()
    chosen, _ = chosen_groups(dataset, Options())
    list(pass_over_media(dataset, Options(), chosen, examiners, count))
    assert count.done == 70
