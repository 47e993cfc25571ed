"""Files come out whole or not at all, full and read-only disks are said, and locks end with their holder."""

from __future__ import annotations

import errno
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pipeline.errors import WorkspaceError
from pipeline.rejects import writing_rejects
from pipeline.workspace import locked, read_json, remove_leftovers, write_bytes, write_json, writing
from tests.project import png, tree

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.project import Project

ROOT = Path(__file__).parents[2]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Give a disk of one megabyte."""
    disk = tmp_path / "disk"
    disk.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)], check=False, capture_output=True
    )
    if done.returncode:
        pytest.skip(f"this machine allows no mount: {done.stderr.decode().strip()}")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_an_exception_leaves_the_old_file(tmp_path: Path) -> None:
    """Whatever is raised while writing, the file that was there stays and nothing lies beside it."""
    write_bytes(tmp_path / "file", b"old")
    for error in (ValueError, KeyboardInterrupt):
        with pytest.raises(error), writing(tmp_path / "file") as temporary:  # noqa: PT012
            temporary.write_bytes(b"half")
            raise error
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"file": b"old"}
    write_json(tmp_path / "damaged.json", {"b": 1, "a": "é"})
    assert (tmp_path / "damaged.json").read_text(encoding="utf-8") == '{\n "a": "é",\n "b": 1\n}\n'
    write_bytes(tmp_path / "damaged.json", b'{"a": ')
    assert read_json(tmp_path / "damaged.json") is None
    assert read_json(tmp_path / "none.json") is None


def write_rejects(path: Path, count: int, size: int) -> None:
    """Write rejects that cannot be compressed to less than their count times their size."""
    with writing_rejects(path, config="c", stage="s") as rejects:
        for line in range(count):
            rejects.add(
                split=None, source="s", file="f", line=line, reason="r", message=os.urandom(size).hex() + str(line)
            )


def test_a_full_disk_is_said_and_nothing_stays(small_disk: Path) -> None:
    """On a full disk a file, and rejects at any moment of their writing, end in an error and leave nothing behind."""
    with pytest.raises(WorkspaceError, match="No space left") as error:
        write_bytes(small_disk / "big", b"x" * 2_000_000)
    assert "--work" in error.value.hint
    for count in (100, 30_000):  # written when the writer closes, and on the way
        with pytest.raises(WorkspaceError, match="No space left"):
            write_rejects(small_disk / "rejects.parquet", count, 2_000_000 // count)
    assert not list(small_disk.iterdir())


@pytest.mark.parametrize("folder", ["work", "out", "cache"])
def test_a_build_on_a_full_disk_can_be_run_again(project: Project, small_disk: Path, folder: str) -> None:
    """A build that fills the disk of any of its folders says so; once there is room it ends as if nothing had been."""
    names = project.pictures(12)
    for name in names:
        (project.source / name).write_bytes(png(names.index(name)) + os.urandom(100_000))
    project.rows("rows.jsonl", [{"image": name, "text": f"{name} " * 20} for name in names])
    shards = {"max_bytes": "300kB", "row_group_bytes": "200kB"}
    splits = {"default": {"splits": {"train": {"files": "rows.jsonl"}}}}
    project.write({"configs": splits, "shards": shards}, {"image": "image", "text": "string"})
    project.build()
    good = tree(project.out) | {"manifest": tree(project.work)["manifest.json"]}
    subprocess.run(["rm", "-r", *(str(project.root / name) for name in ("work", "out", "cache"))], check=True)
    (project.root / folder).symlink_to(small_disk)
    ballast = small_disk / "ballast"
    ballast.write_bytes(b"x" * ((1 << 20) - (600_000 if folder == "out" else 12_000)))
    if folder != "cache":  # the store's index says it in SQLite's words
        with pytest.raises(WorkspaceError, match="No space left"):
            project.build()
    ballast.unlink()
    if folder == "out":
        subprocess.run(["mount", "-o", "remount,size=8m", str(small_disk)], check=True)
    project.build()
    assert tree(project.out) | {"manifest": tree(project.work)["manifest.json"]} == good


def test_a_limit_on_file_sizes_is_said(tmp_path: Path) -> None:
    """A limit on the size of files (`ulimit -f`) is an error like a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, before[1]))
        with pytest.raises(WorkspaceError, match="too large") as error:
            write_bytes(tmp_path / "big", b"x" * 20_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert error.value.__cause__ is not None
    assert error.value.__cause__.errno == errno.EFBIG  # type: ignore[attr-defined]
    assert not list(tmp_path.iterdir())


def test_a_read_only_folder_is_said(small_disk: Path) -> None:
    """A read-only disk is an error that names the folder and the options."""
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(WorkspaceError, match=r"cannot write .*disk.*: Read-only file system"):
        write_bytes(small_disk / "new" / "file", b"x")
    with pytest.raises(WorkspaceError, match="Read-only"), locked(small_disk / "work"):
        pass


def test_a_file_in_the_way_is_said(tmp_path: Path) -> None:
    """A file where a folder is needed, or a folder where a file is, is an error that says what to do."""
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "folder").mkdir()
    with pytest.raises(WorkspaceError) as file:
        write_bytes(tmp_path / "file" / "inside", b"x")
    assert "a file stands where a folder is needed" in file.value.hint
    with pytest.raises(WorkspaceError) as folder:
        write_bytes(tmp_path / "folder", b"x")
    assert "a folder stands where a file is needed" in folder.value.hint


def test_leftovers_go_and_links_are_not_followed(tmp_path: Path) -> None:
    """Files that are not kept go, with the folders that are then empty; what a link points to stays."""
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "file").write_bytes(b"x")
    folder = tmp_path / "ours"
    (folder / "a" / "b").mkdir(parents=True)
    for name in ("keep", "go", "a/b/go"):
        (folder / name).write_bytes(b"x")
    (folder / "link").symlink_to(tmp_path / "other")
    remove_leftovers(folder, {folder / "keep"})
    assert [path.name for path in folder.iterdir()] == ["keep"]
    assert (tmp_path / "other" / "file").exists()
    remove_leftovers(tmp_path / "none", set())


_HOLDER = """
import sys, time
from pathlib import Path
from pipeline.workspace import locked
with locked(Path(sys.argv[1])):
    (Path(sys.argv[1]) / ".tmp-1-manifest.json").write_bytes(b"half")
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_killed_holder_frees_the_lock(tmp_path: Path) -> None:
    """The lock names its holder while it lives, is free after `kill -9`, and what it was writing is gone."""
    work = tmp_path / "work"
    holder = subprocess.Popen([sys.executable, "-c", _HOLDER, str(work)], stdout=subprocess.PIPE, cwd=ROOT)
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"
    with pytest.raises(WorkspaceError, match=f"in use by process {holder.pid} on "), locked(work):
        pass
    holder.kill()
    holder.wait()
    holder.stdout.close()
    with locked(work):
        assert [path.name for path in work.iterdir()] == ["lock"]


_BUILD = """
import sys
from pathlib import Path
from tests.project import Project
Project(Path(sys.argv[1])).build()
"""


def test_two_builds_share_a_cache(project: Project, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Two builds that use one cache at the same time both give what each gives alone."""
    projects = [type(project)(tmp_path_factory.mktemp(name)) for name in ("one", "two")]
    for each in [project, *projects]:
        names = each.pictures(60)
        each.rows("rows.jsonl", [{"image": name, "text": name} for name in names])
        splits = {"default": {"splits": {"train": {"files": "rows.jsonl"}}}}
        each.write({"configs": splits}, {"image": "image", "text": "string"})
    project.build()
    cache = tmp_path_factory.mktemp("cache")
    for each in projects:
        (each.root / "cache").symlink_to(cache)
    running = [
        subprocess.Popen([sys.executable, "-c", _BUILD, str(each.root)], cwd=ROOT, env=dict(os.environ))
        for each in projects
    ]
    started = time.monotonic()
    assert [process.wait() for process in running] == [0, 0]
    assert time.monotonic() - started < 60
    assert tree(projects[0].out) == tree(projects[1].out) == tree(project.out)
