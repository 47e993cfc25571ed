"""Small real datasets to train on: built with the pipeline out of the tests' media, or written by `datasets`."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from pipeline.column_type import MEDIA_STRUCT
from tests.project import MEDIA, Project
from train.feed.frame_sampling import FrameSampling
from train.feed.open_data import open_training_data

if TYPE_CHECKING:
    from pathlib import Path

    from train.feed.training_data import TrainingData

CLIPS = (
    *("bigbuckbunny.mp4", "nasa_13013.mp4", "av1_video.mkv", "transparent.webm", "rotated_video.mp4", "video_90.mov"),
    *("bitmap.mp4", "h264_10bits.mp4", "h265_video.mp4", "unordered.mov", "testvideo-43.avi", "pigs_in_a_polka.gif"),
    *("no_duration.webm", "fixture.mpg", "test_video_66x50.mov", "sample_fragmented.mp4", "example_mask.mp4"),
)
"""Clips of many formats that decode whole: with one key frame or several, turned, with times of unequal distance."""
PICTURES = (
    *("hopper_gray.jpg", "hopper_orientation_2.jpg", "hopper_orientation_6.jpg", "hopper_orientation_6.webp"),
    *("hopper_orientation_8.jpg", "orientation_rectangle.jpg", "g4_orientation_6.tif", "xmp_tags_orientation.png"),
    *("mode_16bit.png", "transparent.png", "transparent.webp", "pil_sample_cmyk.jpg", "issue_2811.gif"),
    *("hopper_bad_exif.jpg", "no_palette.gif", "tiff_16bit_RGB.tiff"),
)
"""Pictures of many modes and orientations that decode."""
CAPTION = [{"user": [{"video": "video"}, "What is this?"]}, {"assistant": "{{ caption }}"}]
FORMULA = [{"user": [{"image": "image"}, "What is this?"]}, {"assistant": "{{ caption }}"}]


def build_clips(
    project: Project, names: tuple[str, ...] = CLIPS, *, shards: dict[str, Any] | None = None, copies: int = 1
) -> Path:
    """Build a dataset of clips with captions; returns its folder. `shards` is what the recipe says of them."""
    (project.source / "clips").mkdir(exist_ok=True)
    for name in names:
        (project.source / "clips" / name).write_bytes((MEDIA / name).read_bytes())
    rows = [
        {"id": f"{copy}-{name}", "video": f"clips/{name}", "caption": f"This is {name}.", "kind": "real"}
        for copy in range(copies)
        for name in names
    ]
    project.rows("rows.jsonl", rows)
    recipe: dict[str, Any] = {"configs": {"default": {"splits": {"train": {"files": "rows.jsonl"}}}}}
    columns = {"id": "string", "video": "video", "caption": "string", "kind": {"class_label": ["drawn", "real"]}}
    project.write({**recipe, **({"shards": shards} if shards else {})}, columns, conversation=CAPTION)
    project.build()
    assert project.reasons() == []
    return project.out


def opened(folder: Path, **options: Any) -> TrainingData:
    """Open the split `train` for training, with what most tests want."""
    usual: dict[str, Any] = {
        "config": None,
        "split": "train",
        "conversation": None,
        "frames": FrameSampling(count=4),
        "longest_side": None,
        "id_column": None,
        "cache": folder.parent / "cache-of-training",
        "processes": 2,
    }
    return open_training_data(folder, **{**usual, **options})


def write_dataset(folder: Path, table: pa.Table, features: dict[str, Any], *, shards: int = 1, **options: Any) -> Path:
    """Write rows as the shards of a split `train`, with the features that `datasets` would note; returns the folder."""
    (folder / "data").mkdir(parents=True)
    others = {name: {"dtype": "string", "_type": "Value"} for name in table.column_names if name not in features}
    told = {"huggingface": json.dumps({"info": {"features": {**others, **features}}})}
    each = -(-table.num_rows // shards)
    for number in range(shards):
        some = table.slice(number * each, each).replace_schema_metadata(told)
        pq.write_table(some, folder / "data" / f"train-{number:05d}-of-{shards:05d}.parquet", **options)
    return folder


def media(data: list[bytes | None], paths: list[str | None] | None = None) -> pa.Array:
    """Return a column of media as `datasets` stores them; None is no medium."""
    names = paths or [None] * len(data)
    rows = [
        None if one is None and name is None else {"bytes": one, "path": name}
        for one, name in zip(data, names, strict=True)
    ]
    return pa.array(rows, MEDIA_STRUCT)


def noise_png(number: int, side: int = 24) -> bytes:
    """Return a PNG that differs from every other, in two rows of which even the pixels differ."""
    buffer = io.BytesIO()
    pixels = bytes((number * 7 + place * (number + 3)) % 251 for place in range(3 * side * side))
    Image.frombytes("RGB", (side, side), pixels).save(buffer, "PNG")
    return buffer.getvalue()
