"""Sources that vanish or change while a dataset is built: named, and built to the byte once they are back."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from pipeline.errors import MediaMissingError, RecipeError, ShardwrightError, SourceError
from tests.disturbed import (
    STAGES,
    TORTURE,
    Heard,
    Made,
    assert_same,
    build,
    empty,
    names,
    result,
    undisturbed,
)

if TYPE_CHECKING:
    from pathlib import Path

    from tests.project import Project

ITEMS = {
    "folder": "source",
    "annotation": "source/inline.jsonl",
    "image": "source/images/0007.png",
    "clip": "source/video_90.mov",
    "archive": "packed.tar.gz",
}
SOME = [("folder", "cache"), ("annotation", "convert"), ("image", "cache"), ("clip", "shard"), ("archive", "shard")]
ALL = [(item, stage) for item in ITEMS for stage in STAGES]


def overwrite(path: Path, data: bytes) -> None:
    """Put other bytes of the same length into a file, and make it look as old as it was."""
    before = path.stat()
    assert len(data) == before.st_size
    path.write_bytes(data)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def other(path: Path) -> bytes:
    """Return the bytes of an image with one byte of the noise behind it changed."""
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    return bytes(data)


def assert_told(project: Project, item: Path, error: ShardwrightError | None) -> None:
    """Assert that what is missing is named by the error, or by the reject of each row that needs it, or not needed."""
    if error is not None:
        assert item.name in str(error), error
        # without its source, a recipe is mistaken before anything is done
        assert error.hint or isinstance(error, RecipeError), error
        assert error.exit_code == (2 if isinstance(error, RecipeError) else 3)
        return
    told = [row for row in project.rejected() if row["reason"] == "media.missing" and row["media"] != "gone.png"]
    assert all(item.name in row["media"] for row in told)


@pytest.mark.parametrize(("item", "stage"), ALL if TORTURE else SOME)
def test_vanishes_within_a_stage(large: Made, item: str, stage: str) -> None:
    """What vanishes when a stage begins is named, unless it is not needed any more; back again, all is as it was."""
    project, good = large.project, large.good
    path, away = project.root / ITEMS[item], project.root / "away"

    def vanish(event: str, count: int) -> None:
        if (event, count) == (stage, 1):
            path.rename(away)

    error = None
    try:
        build(project, Heard(vanish))
    except ShardwrightError as raised:
        error = raised
    assert_told(project, path, error)
    if error is None and not any(path.name in (row["media"] or "") for row in project.rejected()):
        assert_same(project, good)
    away.rename(path)
    project.build()
    assert_same(project, good)


@pytest.mark.parametrize(("item", "stage"), ALL if TORTURE else [("annotation", "convert"), ("image", "cache")])
def test_vanishes_between_stages(large: Made, item: str, stage: str) -> None:
    """What vanishes after a stage is named by the next build; back again, all is as it was."""
    project, good = large.project, large.good
    path, away = project.root / ITEMS[item], project.root / "away"
    project.build(upto=stage)
    path.rename(away)
    error = None
    try:
        project.build()
    except ShardwrightError as raised:
        error = raised
    assert (error is None) == (item in {"image", "clip"})
    assert_told(project, path, error)
    if error is None:
        assert any(path.name in (row["media"] or "") for row in project.rejected())
    away.rename(path)
    project.build()
    assert_same(project, good)


def test_indispensable_medium_that_vanishes(project: Project) -> None:
    """A recipe that says `missing: fail` stops at a medium that vanished, with its name."""
    pictures = project.pictures(3)
    project.rows("rows.jsonl", [{"image": picture} for picture in pictures])
    config = {"splits": {"train": {"files": "rows.jsonl"}}, "media": {"image": {"missing": "fail"}}}
    project.write({"configs": {"default": config}}, {"image": "image"})
    good = undisturbed(project)
    picture = project.source / pictures[1]
    data = picture.read_bytes()
    picture.unlink()
    with pytest.raises(MediaMissingError, match=r"0001\.png"):
        project.build()
    picture.write_bytes(data)
    project.build()
    assert_same(project, good)


@pytest.mark.parametrize("how", ["in place", "replaced"])
@pytest.mark.parametrize("stage", ["curate", "split", "shard"] if TORTURE else ["shard"])
def test_medium_that_changes_is_noticed_by_its_hash(large: Made, stage: str, how: str) -> None:
    """A medium changed after it was hashed, of the same size and age, is an error with its name, never a wrong row."""
    project, good = large.project, large.good
    path = project.source / "images" / "0008.png"
    before, after = path.read_bytes(), other(path)

    def change(event: str, count: int) -> None:
        if (event, count) == (stage, 1):
            if how == "in place":
                overwrite(path, after)
                return
            another = path.with_suffix(".new")
            another.write_bytes(after)
            os.utime(another, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns))
            another.replace(path)

    with pytest.raises(SourceError, match=r"0008\.png changed since it was cached") as error:
        build(project, Heard(change))
    assert error.value.hint
    project.build()
    changed = result(project), names(project)
    assert changed[0] != good[0]
    assert changed == undisturbed(project)
    overwrite(path, before)
    project.build()
    assert_same(project, good)


@pytest.mark.parametrize("file", ["inline.jsonl", "rows-b.jsonl"])
def test_annotations_that_change_after_they_were_hashed(large: Made, file: str) -> None:
    """Annotations changed between their hash and their conversion are an error with their name and no wrong rows."""
    project, good = large.project, large.good
    path = project.source / file
    before = path.read_bytes()
    after = before.replace(b'"i7"', b'"i!"').replace(b'"27"', b'"!!"')
    assert before != after

    def change(event: str, count: int) -> None:
        if (event, count) == ("convert", 1):
            overwrite(path, after)

    with pytest.raises(SourceError, match=path.name):
        build(project, Heard(change))
    overwrite(path, before)
    project.build()
    assert_same(project, good)


def test_archive_that_changes(large: Made) -> None:
    """An archive of the same size and age but another content is unpacked anew, and again when the old one is back."""
    project, good = large.project, large.good
    project.build()
    path = project.root / "packed.tar.gz"
    before = path.read_bytes()
    # the header of gzip holds a time that nothing depends on but the hash
    overwrite(path, before[:4] + b"\1" + before[5:])
    project.build()
    assert result(project)["manifest.json"] != good[0]["manifest.json"]
    (folder,) = (project.work / "sources").iterdir()
    overwrite(path, before)
    project.build()
    assert folder not in set((project.work / "sources").iterdir())
    assert_same(project, good)


def test_what_was_unpacked_vanishes(large: Made) -> None:
    """A file removed from what was unpacked from an archive is an error; without the workspace all is made anew."""
    project, good = large.project, large.good
    project.build()
    (folder,) = (project.work / "sources").iterdir()
    (folder / "labels" / "a.jsonl").unlink()
    with pytest.raises(SourceError, match=r"a\.jsonl"):
        project.build()
    empty(project)
    project.build()
    assert_same(project, good)
