"""Media beside shards are found by their paths, and nothing outside of the dataset is."""

from __future__ import annotations

import io
import tarfile
from typing import TYPE_CHECKING

import pytest

from pipeline.media import media_beside as module
from pipeline.media.media_beside import MediaBeside, NotInsideError, parts_of

if TYPE_CHECKING:
    from pathlib import Path


def tar(path: Path, members: dict[str, bytes]) -> None:
    """Write an archive."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as archive:
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))


@pytest.mark.parametrize(
    ("path", "parts"),
    [
        ("a.png", ("a.png",)),
        ("./a//b/./c.png", ("a", "b", "c.png")),
        ("a/../b.png", ("b.png",)),
        ("a b/ü.png", ("a b", "ü.png")),
        ("1:2.png", ("1:2.png",)),
    ],
)
def test_parts_of_paths(path: str, parts: tuple[str, ...]) -> None:
    """Paths inside are taken apart, whatever is superfluous in them."""
    assert parts_of(path) == parts


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("https://example.org/a.png", "is a URL"),
        ("hf://datasets/a/b/a.png", "is a URL"),
        ("zip://a.png::https://example.org/a.zip", "is a URL"),
        ("data:image/png;base64,AAAA", "is a URL"),
        ("/etc/passwd", "is absolute"),
        ("~/a.png", "is absolute"),
        ("C:\\pictures\\a.png", "is absolute"),
        ("\\\\host\\a.png", "is absolute"),
        ("../a.png", "leads out of the dataset"),
        ("a/../../b/a.png", "leads out of the dataset"),
        ("", "names no file"),
        ("./.", "names no file"),
        (".git/config", "names no file"),
        ("a/.hidden.png", "names no file"),
        ("a\0.png", "names no file"),
    ],
)
def test_paths_that_lead_elsewhere(path: str, why: str, tmp_path: Path) -> None:
    """What is no place inside the dataset is refused, with the reason."""
    with pytest.raises(NotInsideError, match=why):
        parts_of(path)
    with pytest.raises(NotInsideError, match=why):
        MediaBeside(tmp_path).find(path)


def test_files_are_found_from_the_dataset_and_from_the_shard(tmp_path: Path) -> None:
    """The path may start at either; folders, and what is not there, are no files."""
    for name in ("a.png", "data/b.png", "data/media/c.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    beside = MediaBeside(tmp_path)
    assert beside.find("a.png", near=("data",)) == tmp_path / "a.png"
    assert beside.find("b.png", near=("data",)) == tmp_path / "data" / "b.png"
    assert beside.find("media/c.png", near=("data",)) == tmp_path / "data" / "media" / "c.png"
    for path in ("b.png", "data", "data/media", "a.png/b", "nowhere/b.png", "x" * 300):
        assert beside.find(path) is None


def test_links_are_followed_inside_only(tmp_path: Path) -> None:
    """A link out of the dataset is nothing; those of a hub's cache lead to its blobs."""
    snapshot = tmp_path / "hub" / "snapshots" / "0123"
    blobs = tmp_path / "hub" / "blobs"
    outside = tmp_path / "outside"
    for folder in (snapshot / "inside", blobs, outside):
        folder.mkdir(parents=True)
        (folder / "a.png").write_bytes(b"x")
    (snapshot / "blob.png").symlink_to("../../blobs/a.png")
    (snapshot / "same.png").symlink_to("inside/a.png")
    (snapshot / "out.png").symlink_to(outside / "a.png")
    (snapshot / "broken.png").symlink_to("nowhere.png")
    (snapshot / "loop.png").symlink_to("loop.png")
    (snapshot / "folder").symlink_to(outside)
    beside = MediaBeside(snapshot)
    assert beside.find("blob.png") == snapshot / "blob.png"
    assert beside.find("same.png") == snapshot / "same.png"
    for path in ("out.png", "broken.png", "loop.png", "folder/a.png"):
        assert beside.find(path) is None


def test_members_of_archives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A member is a part of its archive, whatever number of archives takes turns."""
    monkeypatch.setattr(module, "_ARCHIVES_KEPT", 2)
    for number in range(5):
        tar(tmp_path / "media" / f"c-{number}.tar", {"./a.png": b"a" * number, "x/b.png": b"bb", "ü" * 120: b"long"})
    beside = MediaBeside(tmp_path)
    for number in (0, 1, 2, 3, 4, 0, 4):
        found = beside.find(f"media/c-{number}.tar/a.png")
        assert found is not None
        assert found.read_bytes() == b"a" * number
    for path, data in {"x/b.png": b"bb", "ü" * 120: b"long"}.items():
        found = beside.find(f"c-1.tar/{path}", near=("media",))
        assert found is not None
        assert found.read_bytes() == data
    for path in ("media/c-1.tar/b.png", "media/c-9.tar/a.png", "media/c-1.tar/x"):
        assert beside.find(path) is None


def test_archives_that_are_none(tmp_path: Path) -> None:
    """Links in archives are no members, and archives that are packed, or none at all, have none."""
    tar(tmp_path / "whole.tar", {"a.png": b"x" * 5_000, "b.png": b"y" * 5_000})
    whole = (tmp_path / "whole.tar").read_bytes()
    (tmp_path / "cut.tar").write_bytes(whole[:7_000])
    (tmp_path / "none.tar").write_bytes(b"no archive at all" * 100)
    (tmp_path / "empty.tar").write_bytes(b"")
    with tarfile.open(tmp_path / "packed.tar", "w:gz") as archive:
        archive.add(tmp_path / "whole.tar", "a.png")
    with tarfile.open(tmp_path / "links.tar", "w") as archive:
        for name, kind in (("a.png", tarfile.SYMTYPE), ("b.png", tarfile.LNKTYPE), ("c.png", tarfile.FIFOTYPE)):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, "/etc/passwd"
            archive.addfile(member)
    beside = MediaBeside(tmp_path)
    assert beside.find("cut.tar/a.png") is not None
    for path in ("none.tar/a.png", "empty.tar/a.png", "packed.tar/a.png", "links.tar/a.png", "links.tar/b.png"):
        assert beside.find(path) is None
    assert beside.find("links.tar/c.png") is None
