"""How far media are looked into is the recipe's choice; what is not looked into is published as it is."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from tests.project import MEDIA

if TYPE_CHECKING:
    from tests.project import Project

CLIPS = ("video_0.mov", "corrupted.mp4", "video_without_video_stream.mp4", "jpeg.jpg")
"""Whole; damaged from the 29th frame on; sound alone; no video."""
LEFT_OUT = {
    "none": {},
    "header": {2: "media.no_video", 3: "media.kind"},
    "decode": {2: "media.no_video", 3: "media.kind"},
    "all_frames": {1: "media.decode", 2: "media.no_video", 3: "media.kind"},
}


def write(project: Project, depth: str | None) -> None:
    """Write the project; None: the recipe says nothing."""
    for name in CLIPS:
        shutil.copy(MEDIA / name, project.source / name)
    project.rows("rows.jsonl", [{"video": name} for name in CLIPS])
    recipe = {"configs": {"default": {"splits": {"train": {"files": "rows.jsonl"}}}}}
    project.write(recipe | ({"media": {"video": {"probe": depth}}} if depth else {}), {"video": "video"})


@pytest.mark.parametrize("depth", LEFT_OUT)
def test_each_depth_finds_what_it_looks_at(project: Project, depth: str) -> None:
    """A deeper look leaves out more; what stays is byte for byte the file."""
    write(project, depth)
    project.build()
    found = {row["line"] - 1: row["reason"] for row in project.rejected()}
    assert found == LEFT_OUT[depth]
    kept = [name for number, name in enumerate(CLIPS) if number not in found]
    rows = project.split("train").to_pylist()
    assert [row["video"] for row in rows] == [{"bytes": (MEDIA / n).read_bytes(), "path": n} for n in kept]


def test_the_first_frame_is_decoded_by_default(project: Project) -> None:
    """A recipe that says nothing gets what one that says `decode` gets."""
    write(project, None)
    project.build()
    assert {row["line"] - 1: row["reason"] for row in project.rejected()} == LEFT_OUT["decode"]


def test_a_deeper_look_is_not_answered_by_a_shallow_one(project: Project) -> None:
    """What one depth found is not taken for what another would find, and both are remembered."""
    for depth in ("none", "header", "all_frames", "decode", "all_frames", "none"):
        write(project, depth)
        project.build()
        assert {row["line"] - 1: row["reason"] for row in project.rejected()} == LEFT_OUT[depth]
