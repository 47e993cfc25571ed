"""Disks that are full, read-only, out of inodes, in the way or gone: said clearly, and mended by the next run."""

from __future__ import annotations

import base64
import errno
import itertools
import os
import re
import shutil
import subprocess
from collections import Counter
from contextlib import suppress
from fnmatch import fnmatch
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from pipeline import executor
from pipeline.cli import main
from pipeline.errors import SourceError, WorkspaceError
from tests.disturbed import (
    FOLDERS,
    STAGES,
    TORTURE,
    Heard,
    Made,
    assert_same,
    build,
    empty,
    tell,
)
from tests.project import Project, png, tree

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


LEVELS = 16 if TORTURE else 2
"""How full a disk is, from all but full to nearly room enough."""
ROOM = 64 << 20
FULL = "No space left|disk is full|disk I/O error|unable to open"


class Disk:
    """A small disk of its own: a tmpfs."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={ROOM}", "tmpfs", str(path)]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"this machine allows no mount: {done.stderr.strip()}")

    def set(self, options: str) -> None:
        """Change the disk: its `size`, its `nr_inodes`, `ro` or `rw`."""
        subprocess.run(["mount", "-o", f"remount,{options}", str(self.path)], check=True)

    def used(self) -> tuple[int, int]:
        """Return the bytes and the inodes in use."""
        state = os.statvfs(self.path)
        return (state.f_blocks - state.f_bfree) * state.f_frsize, state.f_files - state.f_ffree

    def hold(self, project: Project, folder: str) -> None:
        """Be one of the folders of a project."""
        (project.root / folder).symlink_to(self.path)

    def clear(self) -> None:
        """Remove everything on it."""
        for path in self.path.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()


@pytest.fixture(scope="module")
def small_made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Give a project of three pictures, built once."""
    return Made(Project(tmp_path_factory.mktemp("small")), small)


@pytest.fixture
def little(small_made: Made) -> Made:
    """Give the project of three pictures, with nothing built."""
    return small_made.fresh()


@pytest.fixture
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Disk]:
    """Give a small disk."""
    disk = Disk(tmp_path_factory.mktemp("disks") / "disk")
    yield disk
    # lazily, for the frames of a caught error may hold a file open
    subprocess.run(["umount", "--lazy", str(disk.path)], check=True)


def small(project: Project) -> None:
    """Write a project of three pictures, one of them inside its annotation, that builds at once."""
    pictures = project.pictures(2)
    inline = "data:image/png;base64," + base64.b64encode(png(9)).decode()
    project.rows("rows.jsonl", [{"image": image, "text": image[:20]} for image in [*pictures, inline]])
    splits = {"default": {"splits": {"train": {"files": "rows.jsonl"}}}}
    project.write({"configs": splits}, {"image": "image", "text": "string"})


def command(project: Project) -> tuple[int, str]:
    """Run the command up to the card; returns its exit code and what it wrote on standard error."""
    folders = [f"--{name}={project.root / name}" for name in FOLDERS]
    done = CliRunner().invoke(main, ["card", str(project.recipe_path), "--workers=1", *folders])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.stderr


def assert_error(project: Project, disk: Path, why: str) -> None:
    """Assert that the command fails with the documented exit code, and says what failed, where and what to do."""
    code, said = command(project)
    assert code == 3, said
    assert_said(said, project, disk, why)


def assert_said(said: str, project: Project, disk: Path, why: str) -> None:
    """Assert that an error says what failed, where and what to do."""
    what, _, hint = said.partition("\n  next: ")
    assert re.search(why, what), said
    assert str(disk) in what or str(project.root) in what, said
    assert re.search(r"--(work|out|cache)|move it away|has room|run it again", hint), said


def assert_nothing_half(project: Project, good: dict[str, str]) -> None:
    """Assert that no file is left that was being written, and that all in the output are as they will be."""
    half = re.compile(r"\.tmp-.*|\..*\.unpacking")
    assert not [path for name in FOLDERS for path in (project.root / name).rglob("*") if half.fullmatch(path.name)]
    assert {name for name, sha256 in tree(project.out).items() if good.get(name) != sha256} == set()


@pytest.mark.timeout(300 + 20 * LEVELS)
@pytest.mark.parametrize("what", ["size", "nr_inodes"])
@pytest.mark.parametrize("folder", FOLDERS)
def test_full_disk_at_any_moment(
    large: Made, disk: Disk, folder: str, what: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Wherever in a build a disk is full, or out of inodes, it is said, nothing is half, and the next run completes."""
    project, good = large.project, large.good
    disk.hold(project, folder)
    used: list[int] = []
    build(project, Heard(lambda _event, _count: used.append(disk.used()[what == "nr_inodes"])))
    used = sorted({*used, disk.used()[what == "nr_inodes"]})
    moments = [(before + after) // 2 for before, after in pairwise(used)]
    hit: Counter[str] = Counter()
    for level in range(LEVELS):
        empty(project)
        disk.clear()
        disk.set(f"{what}={max(2, moments[level * (len(moments) - 1) // (LEVELS - 1)])}")
        display = Heard()
        try:
            build(project, display)
        except WorkspaceError as error:
            hit[display.at] += 1
            assert_said(str(error), project, disk.path, FULL)
            assert_nothing_half(project, good[0])
        disk.set(f"{what}={ROOM}")
        project.build()
        assert_same(project, good)
    tell(capsys, f"{folder}, {what}: full in " + ", ".join(f"{stage} {count}" for stage, count in hit.items()))
    assert hit.total() >= LEVELS - 1 - LEVELS // 4, hit  # the last may be room enough


@pytest.mark.parametrize("what", ["size", "nr_inodes"])
@pytest.mark.parametrize("folder", FOLDERS)
def test_not_a_byte_left(little: Made, disk: Disk, folder: str, what: str) -> None:
    """A disk without a single free byte, or inode, is an error from the first moment; with room the build completes."""
    project, good = little.project, little.good
    disk.hold(project, folder)
    if what == "size":
        disk.set("size=1m")
        with suppress(OSError), (disk.path / "ballast").open("wb", buffering=0) as ballast:
            while ballast.write(b"x" * 4096):
                pass
    else:
        disk.set("nr_inodes=2")
        (disk.path / "ballast").touch()
    assert_error(project, disk.path, FULL)
    (disk.path / "ballast").unlink()
    disk.set(f"{what}={ROOM}")
    assert command(project)[0] == 0
    assert_same(project, good)


def test_full_disk_of_workers(large: Made, disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that fills up under two workers is said just as well."""
    monkeypatch.setattr(executor, "WORTH_A_POOL", 1)
    project, good = large.project, large.good
    disk.hold(project, "out")
    disk.set("size=160k")
    with pytest.raises(WorkspaceError, match="No space left") as error:
        project.build(workers=2)
    assert_said(str(error.value), project, disk.path, FULL)
    assert_nothing_half(project, good[0])
    disk.set(f"size={ROOM}")
    project.build()
    assert_same(project, good)


@pytest.mark.parametrize("folder", FOLDERS)
def test_read_only_disk(little: Made, disk: Disk, folder: str) -> None:
    """A disk that is read-only, from the start or since the last build, is an error; writable, the build completes."""
    project, good = little.project, little.good
    disk.hold(project, folder)
    project.build()
    for before in ("finished", "empty"):
        project.rows("more.jsonl", [])
        if before == "empty":
            empty(project)
            disk.clear()
        else:
            project.rows("rows.jsonl", [{"image": "images/0001.png", "text": "another"}])
        disk.set("ro")
        assert_error(project, disk.path, "Read-only file system")
        disk.set("rw")
        small(project)
        assert command(project)[0] == 0
        assert_same(project, good)


def test_read_only_result(little: Made, disk: Disk) -> None:
    """When nothing has changed, an output that is read-only is no obstacle."""
    project, good = little.project, little.good
    disk.hold(project, "out")
    project.build()
    disk.set("ro")
    assert command(project)[0] == 0
    assert_same(project, good)


@pytest.mark.parametrize(
    "place",
    [
        "work",
        "work/demo",
        "work/demo/records",
        "work/demo/plan",
        "work/demo/plan/default",
        "work/demo/rejects/curate",
        "work/demo/shards",
        "out",
        "out/demo",
        "out/demo/default",
        "cache",
        "cache/media",
        "cache/media/objects",
    ],
)
def test_file_where_a_folder_should_be(little: Made, place: str) -> None:
    """A file that stands where a folder is needed is an error that says so; once it is gone, the build completes."""
    project, good = little.project, little.good
    path = project.root / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"mine")
    assert_error(project, path, "cannot write")
    assert path.read_bytes() == b"mine"
    path.unlink()
    assert command(project)[0] == 0
    assert_same(project, good)


@pytest.mark.parametrize(
    "place",
    [
        "work/demo/lock",
        "work/demo/recipe.json",
        "work/demo/manifest.json",
        "work/demo/rejected.parquet",
        "work/demo/plan/default.curate.[!j]*",
        "work/demo/plan/default.split.json",
        "out/demo/README.md",
        "out/demo/default/train-00000-of-00001.parquet",
        "cache/media/index.sqlite",
        "cache/media/index.lock",
    ],
)
def test_folder_where_a_file_should_be(little: Made, place: str) -> None:
    """A folder that stands where a file is needed is an error that says so; once it is gone, the build completes."""
    project, good = little.project, little.good
    (name,) = (
        name for name in good[1] | {"cache/media/index.sqlite", "cache/media/index.lock"} if fnmatch(name, place)
    )
    path = project.root / name
    (path / "mine").mkdir(parents=True)
    assert_error(project, path, "cannot (write|read|be used)")
    assert (path / "mine").is_dir()
    shutil.rmtree(path)
    assert command(project)[0] == 0
    assert_same(project, good)


@pytest.mark.parametrize("stage", STAGES if TORTURE else ("shard",))
@pytest.mark.parametrize("folder", FOLDERS)
def test_folder_that_vanishes(large: Made, folder: str, stage: str) -> None:
    """A folder that is removed while a stage writes to it is an error or is made again; the next run completes."""
    project, good = large.project, large.good

    def vanish(event: str, count: int) -> None:
        if (event, count) == (stage, 2):
            shutil.rmtree(project.root / folder, ignore_errors=True)

    with suppress(WorkspaceError, SourceError):
        build(project, Heard(vanish))
    project.build()
    assert_same(project, good)


@pytest.mark.parametrize("why", [errno.EDQUOT, errno.EIO, errno.ESTALE] if TORTURE else [errno.EDQUOT])
def test_disk_that_fails_late(large: Made, why: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A quota that is over or a disk that fails, said only when a file is synced, is an error; the next run completes.

    So a network disk tells of it; there is no quota to be had on the disks of every machine.
    """
    project, good = large.project, large.good
    whole = os.fsync
    for sync in range(0, 60, 6 if TORTURE else 20):
        empty(project)
        calls = itertools.count()

        def fail(handle: int, sync: int = sync, calls: Iterator[int] = calls) -> None:
            if next(calls) == sync:
                raise OSError(why, os.strerror(why))
            whole(handle)

        monkeypatch.setattr(os, "fsync", fail)
        code, said = command(project)
        monkeypatch.setattr(os, "fsync", whole)
        assert code == 3, said
        assert_said(said, project, project.root, os.strerror(why))
        assert_nothing_half(project, good[0])
        project.build()
        assert_same(project, good)
