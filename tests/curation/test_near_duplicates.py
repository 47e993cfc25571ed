"""Rows that look alike: the same as comparing all with all, on real copies of pictures and clips, and told by name."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.media.alike import AlikeRows, LookOfMedia
from tests.checks.made_media import clip, jpeg, pan, saved, scene
from tests.project import MEDIA

if TYPE_CHECKING:
    from tests.project import Project

ONE_SPLIT = {"configs": {"default": {"splits": {"train": {"files": "*.jsonl"}}, "split_by": {"group": "none"}}}}


def _made_up(seed: int, distance: int) -> tuple[LookOfMedia, np.ndarray, np.ndarray]:
    """Return media of a few looks with some bits changed, and rows of one or two of them."""
    draw = np.random.default_rng(seed)
    pictures, media, rows = int(draw.choice([1, 5])), int(draw.integers(1, 200)), int(draw.integers(0, 250))
    looks = draw.integers(0, 1 << 63, (media // 6 + 1, pictures, 2), np.uint64)
    hashes = looks[draw.integers(0, len(looks), media)].copy()
    for _ in range(int(draw.integers(0, distance + 3))):
        flipped = np.uint64(1) << draw.integers(0, 64, (media, pictures), np.uint64)
        half = int(draw.integers(0, 2))
        hashes[:, :, half] ^= np.where(draw.random((media, pictures)) < 0.5, flipped, np.uint64(0))
    there = draw.random((media, pictures)) < 0.8
    there[:, 0] = True
    look = LookOfMedia(
        hashes=hashes,
        there=there,
        needed=draw.integers(1, min(3, pictures) + 1, media),
        shapes=draw.choice([0, 0.04, 0.08], media),
        kinds=draw.integers(0, 2, media),
    )
    offsets = np.concatenate([[0], np.cumsum(draw.integers(1, 3, rows))]).astype(np.int64)
    return look, draw.integers(0, media, offsets[-1]), offsets


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 1 << 32), st.integers(0, 8))
def test_the_same_as_all_with_all(seed: int, distance: int) -> None:
    """Each row is like the first of those that stay, as comparing it with each of them finds."""
    look, media, offsets = _made_up(seed, distance)
    alike, apart = AlikeRows(look, media, offsets, distance).find()
    staying: list[int] = []
    for row in range(len(offsets) - 1):
        mine = media[offsets[row] : offsets[row + 1]]
        like, bits = -1, 0
        for other in staying:
            theirs = media[offsets[other] : offsets[other + 1]]
            differ = look.apart(mine, theirs, distance) if len(mine) == len(theirs) else np.array([255])
            if differ.max() <= distance:
                like, bits = other, int(differ.max())
                break
        assert (alike[row], apart[row] if like >= 0 else 0) == (like, bits)
        if like < 0:
            staying.append(row)


def test_many_copies_take_little_time() -> None:
    """Twenty thousand copies of one picture among as many others are found at once."""
    draw = np.random.default_rng(1)
    hashes = draw.integers(0, 1 << 63, (40_000, 1, 2), np.uint64)
    hashes[::2] = hashes[0]
    hashes[::2, 0, 0] ^= np.uint64(1) << draw.integers(0, 64, 20_000, np.uint64)
    count = len(hashes)
    look = LookOfMedia(
        hashes=hashes,
        there=np.ones((count, 1), bool),
        needed=np.ones(count, np.int64),
        shapes=np.zeros(count),
        kinds=np.zeros(count, np.uint8),
    )
    alike, _ = AlikeRows(look, np.arange(count), np.arange(count + 1), 4).find()
    assert (alike[2::2] == 0).all()
    assert (alike[1::2] == -1).all()


def _build(project: Project, rows: list[dict[str, Any]], columns: dict[str, Any], step: Any) -> list[tuple[int, str]]:
    project.rows("rows.jsonl", rows)
    project.write(ONE_SPLIT | {"curate": [{"deduplicate": step}]}, columns)
    project.build(upto="curate")
    assert {row["reason"] for row in project.rejected()} <= {"curate.near_duplicate"}
    return [(row["line"], row["message"].partition(": ")[0]) for row in project.rejected()]


def test_copies_of_pictures(project: Project) -> None:
    """Copies of other sizes, qualities and formats go; other pictures, formulas and rows of more media stay."""
    large = scene(1, (256, 192))
    files = {
        "small.jpg": saved(large.resize((128, 96))),
        "other.jpg": jpeg(2, (256, 192)),
        "large.png": saved(large, "PNG"),
        "cheap.jpg": saved(large, quality=40),
        "wide.jpg": saved(large.resize((256, 128))),
        "white.png": saved(scene(3).point(lambda _: 255), "PNG"),
        "white.jpg": saved(scene(3, (128, 96)).point(lambda _: 254)),
    }
    for name, data in files.items():
        (project.source / name).write_bytes(data)
    lists = [[name] for name in files] + [["large.png", "other.jpg"], ["cheap.jpg", "other.jpg"], [], []]
    rows = [{"images": names} for names in lists]
    columns = {"images": {"list": "image"}}
    like_small = [(3, "looks like rows.jsonl:1"), (4, "looks like rows.jsonl:1"), (9, "looks like rows.jsonl:8")]
    assert _build(project, rows, columns, "near") == like_small
    like_large = [(1, "looks like rows.jsonl:3"), (4, "looks like rows.jsonl:3"), (9, "looks like rows.jsonl:8")]
    assert _build(project, rows, columns, {"near": {"distance": 8, "keep": "largest"}}) == like_large
    assert "differ in " in project.rejected()[0]["message"]
    assert project.rejected()[0]["message"].endswith(" of 128 bits")


def test_copies_of_clips(project: Project) -> None:
    """A clip that was encoded anew looks like itself, one that shows something else does not."""
    frames = pan(24)
    (project.source / "one.mp4").write_bytes(clip(frames))
    (project.source / "again.webm").write_bytes(clip(frames, codec="libvpx-vp9", kind="webm", b=400_000))
    (project.source / "other.mp4").write_bytes(clip([np.asarray(scene(number)) for number in range(24)]))
    shutil.copy(MEDIA / "video_0.mov", project.source / "short.mov")
    rows = [{"video": name} for name in ("one.mp4", "other.mp4", "again.webm", "short.mov", None)]
    found = _build(project, rows, {"video": {"type": "video", "nullable": True}}, {"near": {"distance": 8}})
    assert found == [(3, "looks like rows.jsonl:1")]


@pytest.mark.parametrize("distance", [9, -1])
def test_distances_that_are_refused(project: Project, distance: int) -> None:
    """Beyond 8 bits different pictures would be the same."""
    from pipeline.errors import RecipeError

    with pytest.raises(RecipeError, match="distance"):
        _build(project, [], {"image": "image"}, {"near": {"distance": distance}})
