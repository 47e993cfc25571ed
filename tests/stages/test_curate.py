"""Curation drops what the recipe names, in the order of its steps, and every dropped row is in the rejects."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import pytest

from tests.project import MEDIA, png

if TYPE_CHECKING:
    from tests.project import Project

ONE_SPLIT = {"configs": {"default": {"splits": {"train": {"files": "*.jsonl"}}, "split_by": {"group": "none"}}}}
IMAGES = (
    "hopper_gray.jpg",
    "jpeg.jpg",
    "mode_16bit.png",
    "orientation_rectangle.jpg",
    "pil_sample_cmyk.jpg",
    "transparent.webp",
)
VIDEOS = (
    "av1_video.mkv",
    "bitmap.mp4",
    "fixture.mov",
    "h265_video.mp4",
    "sample_fragmented.mp4",
    "test_video_66x50.mov",
    "transparent.webm",
    "video_0.mov",
    "video_90.mov",
)


def curated(project: Project, rows: list[dict[str, Any]], columns: dict[str, Any], *steps: Any) -> list[dict[str, Any]]:
    """Build one split of these rows, and return it."""
    project.rows("rows.jsonl", rows)
    project.write(ONE_SPLIT | {"curate": list(steps)}, columns)
    project.build(upto="shard")
    return list(project.split("train").to_pylist())


@pytest.mark.parametrize(
    ("limits", "stay"),
    [
        ({"min_side": 100}, {"hopper_gray.jpg", "pil_sample_cmyk.jpg", "transparent.webp"}),
        ({"max_side": 100}, {"jpeg.jpg", "orientation_rectangle.jpg", "pil_sample_cmyk.jpg"}),
        ({"min_width": 128, "max_height": 128}, {"hopper_gray.jpg", "mode_16bit.png"}),
        ({"max_aspect": 1}, {"hopper_gray.jpg", "jpeg.jpg", "pil_sample_cmyk.jpg"}),
        ({"max_aspect": 1.5, "min_height": 2}, {"hopper_gray.jpg", "pil_sample_cmyk.jpg", "transparent.webp"}),
        ({"max_bytes": "1kB"}, {"jpeg.jpg", "mode_16bit.png", "orientation_rectangle.jpg"}),
        ({"animated": True}, {"mode_16bit.png"}),
        ({"animated": False, "min_side": 128}, {"hopper_gray.jpg", "transparent.webp"}),
    ],
)
def test_image_filters(project: Project, limits: dict[str, Any], stay: set[str]) -> None:
    """Rows stay when every image of theirs keeps to the limits, at the limit included."""
    for name in IMAGES:
        shutil.copy(MEDIA / name, project.source / name)
    rows = [{"images": [name]} for name in IMAGES] + [{"images": list(IMAGES)}, {"images": []}]
    kept = curated(project, rows, {"images": {"list": "image"}}, {"image": limits})
    assert {row["images"][0]["path"] for row in kept[:-1]} == stay
    assert kept[-1] == {"images": []}
    assert {reason for _, _, reason in project.reasons()} <= {f"curate.image.{rule}" for rule in limits}
    assert len(kept) + len(project.rejected()) == len(rows)


@pytest.mark.parametrize(
    ("limits", "stay"),
    [
        ({"min_seconds": 5}, {"av1_video.mkv", "bitmap.mp4", "transparent.webm"}),
        ({"max_seconds": 0.1}, {"fixture.mov", "video_0.mov", "video_90.mov"}),
        ({"min_frames": 10, "max_frames": 125}, {*VIDEOS[:1], *VIDEOS[3:6]}),
        ({"min_fps": 30}, {"fixture.mov", "test_video_66x50.mov", *VIDEOS[6:]}),
        ({"max_fps": 10}, {"bitmap.mp4", "h265_video.mp4", "sample_fragmented.mp4"}),
        ({"audio": True}, {"sample_fragmented.mp4", "transparent.webm"}),
        ({"audio": False, "min_width": 320, "min_height": 320}, {"av1_video.mkv", "video_0.mov", "video_90.mov"}),
    ],
)
def test_video_filters(project: Project, limits: dict[str, Any], stay: set[str]) -> None:
    """Clips are judged by what the probe measured: seconds, frames, rate, sound and sides; no clip breaks no rule."""
    for name in VIDEOS:
        shutil.copy(MEDIA / name, project.source / name)
    rows = [{"video": name} for name in [*VIDEOS, None]]
    kept = curated(project, rows, {"video": {"type": "video", "nullable": True}}, {"video": limits})
    assert {row["video"]["path"] for row in kept[:-1]} == stay
    assert kept[-1] == {"video": None}
    assert len(kept) + len(project.rejected()) == len(rows)


def test_conditions(project: Project) -> None:
    """`drop_if` sees the row's values, nulls included, and names itself with file and line in the rejects."""
    rows = [{"text prompt": text, "stars": stars} for text, stars in [("a", 5), ("", 9), ("b", None), ("c", 20)]]
    columns = {"text prompt": "string", "stars": {"type": "int64", "nullable": True}}
    kept = curated(
        project, rows, columns, {"drop_if": "`text prompt` == ''"}, {"drop_if": "stars is not none and stars < 10"}
    )
    assert [row["text prompt"] for row in kept] == ["b", "c"]
    assert [(row["line"], row["reason"], row["message"]) for row in project.rejected()] == [
        (2, "curate.drop_if", "drop_if: `text prompt` == ''"),
        (1, "curate.drop_if", "drop_if: stars is not none and stars < 10"),
    ]


def test_the_order_of_steps_matters(project: Project) -> None:
    """Each step sees what the ones before left: a duplicate of a dropped row is no duplicate."""
    rows = [{"text": "x", "n": 1}, {"text": "x", "n": 2}, {"text": "y", "n": 3}]
    columns = {"text": "string", "n": "int64"}
    steps = [{"drop_if": "n == 1"}, {"deduplicate": ["text"]}]
    assert [row["n"] for row in curated(project, rows, columns, *steps)] == [2, 3]
    assert [row["n"] for row in curated(project, rows, columns, *reversed(steps))] == [3]


def test_duplicates(project: Project) -> None:
    """The first of the rows with the same media, the same everything or the same columns stays; null is no value."""
    names = project.pictures(3)
    shutil.copy(project.source / names[0], project.source / "copy.png")
    values = [
        ("a", [names[0]], 1),
        ("a", ["copy.png"], 1),
        ("a", [names[1]], 1),
        ("b", [names[0]], None),
        (None, [], None),
        (None, [], None),
        ("a", [names[0], names[1]], 1),
        (None, [names[0]], 1),
    ]
    rows = [{"text": text, "images": images, "n": n} for text, images, n in values]
    columns = {
        "text": {"type": "string", "nullable": True},
        "images": {"list": "image"},
        "n": {"type": "int64", "nullable": True},
    }

    def lines(what: Any) -> list[int]:
        curated(project, rows, columns, {"deduplicate": what})
        assert {reason for _, _, reason in project.reasons()} == {"curate.duplicate"}
        return [line for _, line, _ in project.reasons()]

    assert lines("media") == [2, 4, 8]
    assert lines("row") == [2, 6]
    assert lines(["text"]) == [2, 3, 7]
    assert lines(["text", "n"]) == [2, 3, 7]
    assert lines(["n"]) == [2, 3, 7, 8]


def test_duplicates_without_values_or_in_other_columns(project: Project) -> None:
    """Rows of nothing but images are compared too, and the same image in another column is another row."""
    names = project.pictures(2)
    rows = [
        {"one": names[0], "two": None},
        {"one": names[0], "two": None},
        {"one": None, "two": names[0]},
        {"one": names[0], "two": names[1]},
    ]
    image = {"type": "image", "nullable": True}
    curated(project, rows, {"one": image, "two": image}, {"deduplicate": "row"})
    assert project.reasons() == [("rows.jsonl", 2, "curate.duplicate")]


def test_unique_columns(project: Project) -> None:
    """A second row with the value of a unique column is a defect and counts as one; nulls may repeat."""
    rows = [{"id": value} for value in ["a", "b", None, "a", None]]
    kept = curated(project, rows, {"id": {"type": "string", "unique": True, "nullable": True}})
    assert [row["id"] for row in kept] == ["a", "b", None, None]
    assert project.reasons() == [("rows.jsonl", 4, "schema.unique")]
    assert "id is 'a'" in project.rejected()[0]["message"]


def test_limit_draws_the_same_rows(project: Project) -> None:
    """`limit` draws the same rows with any number of workers, others with another seed, and few others of more rows."""
    for number in range(4):
        rows = [{"n": 100 * number + n, "pad": "x" * 60_000} for n in range(100)]
        project.rows(f"part{number}.jsonl", rows)  # 24 MB: worth a pool of processes
    columns = {"n": "int64", "pad": "string"}

    def drawn(seed: int, workers: int = 1) -> list[int]:
        project.write(ONE_SPLIT | {"curate": [{"limit": 50, "seed": seed}]}, columns)
        project.build(upto="shard", workers=workers)
        assert len(project.rejected()) == sum(path.read_bytes().count(b"\n") for path in project.source.iterdir()) - 50
        return list(project.split("train").column("n").to_pylist())

    first = drawn(1)
    assert first == sorted(first)
    assert len(first) == 50
    assert len(set(first) & set(drawn(2))) < 20
    shutil.rmtree(project.root / "work")
    assert drawn(1, workers=2) == first
    project.rows("part9.jsonl", [{"n": 1_000 + n, "pad": ""} for n in range(40)])
    assert len(set(first) & set(drawn(1))) >= 38
    assert json.loads((project.work / "manifest.json").read_bytes())["stages"]["curate"]["configs"]["default"] == {
        "rejected": {"curate.limit": 390},
        "rows_in": 440,
        "rows_out": 50,
        "steps": [
            {"step": "limit", "rows_in": 440, "rows_out": 50, "rejected": {"curate.limit": 390}, "measured": {}},
        ],
    }


def test_every_config_has_its_own_steps(project: Project) -> None:
    """Steps of a config go before those of the recipe, and a change of one leaves the other's shards alone."""
    project.rows("rows.jsonl", [{"n": n} for n in range(10)])
    configs = {
        "few": {"splits": {"train": {"files": "rows.jsonl"}}, "curate": [{"drop_if": "n > 2"}]},
        "all": {"splits": {"train": {"files": "rows.jsonl"}}},
    }
    project.write({"configs": configs, "curate": [{"drop_if": "n == 0"}]}, {"n": "int64"})
    project.build()
    assert [project.split("train", config).num_rows for config in ("few", "all")] == [3, 9]
    before = (project.out / "all" / "train-00000-of-00001.parquet").stat()
    configs["few"]["curate"] = [{"drop_if": "n > 5"}]
    project.write({"configs": configs, "curate": [{"drop_if": "n == 0"}]}, {"n": "int64"})
    project.build()
    assert [project.split("train", config).num_rows for config in ("few", "all")] == [6, 9]
    assert (project.out / "all" / "train-00000-of-00001.parquet").stat() == before


def test_a_picture_under_two_names_is_one(project: Project) -> None:
    """Media are the same by their bytes, never by their names."""
    for name, number in (("a/x.png", 1), ("b/x.png", 2), ("c/y.png", 1)):
        (project.source / name).parent.mkdir()
        (project.source / name).write_bytes(png(number))
    rows = [{"image": name} for name in ("a/x.png", "b/x.png", "c/y.png")]
    kept = curated(project, rows, {"image": "image"}, {"deduplicate": "media"})
    assert [row["image"]["bytes"] for row in kept] == [png(1), png(2)]
