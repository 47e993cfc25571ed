"""Files of a folder as rows: found, sorted, listed once, and read like the lines of a file."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

import pytest

from pipeline.errors import RecipeError, SourceError
from pipeline.readers import parts
from pipeline.sources.listing import files_listed
from pipeline.sources.local import expand
from tests.project import Project, png
from tests.sources.test_in_place import write_zip

if TYPE_CHECKING:
    from pathlib import Path

COLUMNS = {"file": "string", "stem": "string", "label": {"class_label": ["cat", "dog"]}, "image": "image"}
CONFIG: dict[str, Any] = {
    "rows": {"files": ["**/*.png"], "format": "folder"},
    "splits": {"train": "rest"},
    "fields": {"label": "{{ folder | basename }}"},
    "media": {"image": {"from": "file"}},
}


def write_tree(root: Path) -> dict[str, bytes]:
    """Write pictures of cats and dogs; returns them by their names."""
    found = {f"train/{kind}/{number}.png": png(number) for kind in ("cat", "dog") for number in (1, 2, 10)}
    found |= {"train/dog/notes.txt": b"x", ".hidden/cat/3.png": png(3)}
    for name, data in found.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return found


def test_a_folder_is_built(tmp_path: Path) -> None:
    """Each file is a row with its folder and its name; a file that is added is a row more."""
    project = Project(tmp_path)
    write_tree(project.source)
    project.write({"configs": {"default": CONFIG}}, COLUMNS)
    project.build()
    rows = project.split("train").to_pylist()
    assert [(row["file"], row["stem"], row["label"]) for row in rows] == [
        ("train/cat/1.png", "1", 0),
        ("train/cat/10.png", "10", 0),
        ("train/cat/2.png", "2", 0),
        ("train/dog/1.png", "1", 1),
        ("train/dog/10.png", "10", 1),
        ("train/dog/2.png", "2", 1),
    ]
    assert rows[1]["image"]["bytes"] == png(10)
    assert all(stage.skipped for stage in project.build().stages)
    (project.source / "train/cat/3.png").write_bytes(b"no picture")
    project.build()
    assert project.split("train").num_rows == 6
    assert project.reasons() == [("**/*.png", 4, "media.kind")]
    assert len(list((project.work / "listings").iterdir())) == 1


def test_a_folder_in_an_archive(tmp_path: Path) -> None:
    """Members of an archive are rows as files are, and stay in it."""
    project = Project(tmp_path)
    files = write_tree(tmp_path / "tree")
    write_zip(project.source / "all.zip", files)
    project.write(
        {"configs": {"default": CONFIG}, "sources": {"mine": {"path": "../source/all.zip"}}},
        COLUMNS,
    )
    project.build()
    rows = project.split("train").to_pylist()
    assert [row["image"]["bytes"] for row in rows] == [files[row["file"]] for row in rows]
    assert len(rows) == 6
    assert not any(path.is_file() for path in (project.work / "sources").rglob("*"))


def test_large_listings_are_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A million files are one listing, converted in parts beside each other."""
    project = Project(tmp_path)
    project.pictures(120)
    monkeypatch.setattr(parts, "PART_BYTES", 2_000)
    monkeypatch.setattr("pipeline.stages.convert.PART_BYTES", 2_000)
    columns = {"file": "string"}
    project.write({"configs": {"default": {**CONFIG, "fields": {}, "media": {}}}}, columns)
    project.build()
    assert len(list((project.work / "records/default").glob("*.arrow"))) > 3
    names = [f"images/{number:04d}.png" for number in range(120)]
    assert project.split("train").column("file").to_pylist() == names


def listed(root: Path, *patterns: str) -> list[bytes]:
    """Return the lines of a listing."""
    return list(files_listed(root, list(patterns)))


@pytest.mark.parametrize(
    "pattern",
    ["**/*.png", "*/cat/*", "train/**/1.png", "**/1*", "train/*", "**/*", ".hidden/**/*", "tr?in/[cd]*/2.png"],
)
def test_patterns_find_what_annotation_files_are_found_by(tmp_path: Path, pattern: str) -> None:
    """The two ways to find files find the same ones."""
    write_tree(tmp_path)
    names = [path.relative_to(tmp_path).as_posix() for path in expand(tmp_path, [pattern])] if _any(pattern) else []
    if not names:
        with pytest.raises(SourceError, match="no file in"):
            listed(tmp_path, pattern)
        return
    assert [line.split(b'"')[5].decode() for line in listed(tmp_path, pattern)] == names


def _any(pattern: str) -> bool:
    return pattern != "train/*"


def test_links_and_odd_names(tmp_path: Path) -> None:
    """Links to folders are not followed; a name that cannot be written down is a reject of its own."""
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "1.png").write_bytes(b"")
    (tmp_path / "loop").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "2.png").symlink_to("a/1.png")
    (tmp_path / "x\ny.png").write_bytes(b"")
    lines = listed(tmp_path, "**/*.png")
    assert lines[:2] == [
        b'{"row":{"file":"2.png","folder":"","stem":"2"}}\n',
        b'{"row":{"file":"a/1.png","folder":"a","stem":"1"}}\n',
    ]
    assert lines[2].startswith(b'{"bad":["read.name","the file name')
    if sys.platform == "linux":
        (tmp_path / os.fsdecode(b"z\xff.png")).write_bytes(b"")
        assert b"is not valid Unicode" in listed(tmp_path, "**/*.png")[3]


def test_mistakes_are_said(tmp_path: Path) -> None:
    """A pattern that matches nothing, a reader, and media relative to a file that is not there."""
    project = Project(tmp_path)
    write_tree(project.source)
    rows = {"files": "**/*.jpg", "format": "folder"}
    project.write({"configs": {"default": {**CONFIG, "rows": rows}}}, COLUMNS)
    with pytest.raises(SourceError, match=r"no file in .* matches '\*\*/\*\.jpg'"):
        project.build()
    project.write({"configs": {"default": {**CONFIG, "rows": {**rows, "reader": "x.py:rows"}}}}, COLUMNS)
    with pytest.raises(RecipeError, match="`format: folder` lists its rows itself"):
        project.build()
    media = {"image": {"from": "file", "relative_to": "file"}}
    project.write({"configs": {"default": {**CONFIG, "media": media}}}, COLUMNS)
    with pytest.raises(RecipeError, match="rows that are listed have none"):
        project.build()
