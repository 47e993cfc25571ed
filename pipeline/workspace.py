"""Where a build's files lie, and how they are written so that a kill leaves old or new but never half.

    <work>/<name>/                     everything but the result; safe to delete
      lock                             held while a build runs; says who holds it
      recipe.json                      the recipe that was built here last
      manifest.json                    what was built from what
      sources/<source>-<sha256[:16]>/  archives, unpacked but for the members that stay in them
      members/<source>-<sha256[:16]>.arrow  where those lie; written last, so that its presence means unpacked
      parts/<key>.json                 how a large annotation file is cut
      records/<config>/<key>.arrow     rows of one annotation file or part, with their lines and the media they ask for
      records/<config>/<key>.json      the counts of that file
      plan/<config>/<key>.arrow        one row a sample: its place in the records, its media by hash and facts
      plan/<config>.<stage>.arrow      the samples a stage kept
      plan/<config>.<stage>.json       their counts; written last, so that its presence means done
      plan/<config>.changes.arrow      the values that curation changed, laid over the records
      shards/<config>/<shard>.json     the facts of a shard that is written, until all are and the manifest says so
      rejects/<stage>/<config>….parquet  the rows a stage left out
      rejected.parquet                 all of them: config, split, file, line, stage, reason, message, media
      changed/<config>.parquet         every value that curation wrote anew
      changed.parquet                  all of them: config, split, file, line, step, column, before, after
      captions.sqlite                  what models said of media, so that none is asked twice
    <out>/<name>/                      the dataset repository exactly as it is pushed
      README.md
      <config>/<split>-00000-of-00003.parquet
    <cache>/                           shared by all datasets: the media store

Written to a temporary name and renamed means done.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import secrets
import shutil
import socket
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipeline.errors import WorkspaceError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

TEMPORARY = ".tmp-"
"""Prefix of every file that is being written; whatever carries it and is not being written is a leftover."""
SCRATCH = "shardwright-load-"
"""Prefix of the folders that `validate` loads a dataset into."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Workspace:
    """The folders of one dataset's build."""

    work: Path
    """Intermediate results of this dataset."""
    out: Path
    """The dataset repository."""
    cache: Path
    """Shared by all datasets."""

    @property
    def manifest(self) -> Path:
        """What was built from what."""
        return self.work / "manifest.json"

    @property
    def recipe(self) -> Path:
        """Which recipe was built here last."""
        return self.work / "recipe.json"

    @property
    def rejected(self) -> Path:
        """Every row left out."""
        return self.work / "rejected.parquet"

    @property
    def sources(self) -> Path:
        """Unpacked archives."""
        return self.work / "sources"

    @property
    def members(self) -> Path:
        """Where the members lie that stay in archives."""
        return self.work / "members"

    @property
    def listings(self) -> Path:
        """Rows of what has no annotation file."""
        return self.work / "listings"

    def records(self, config: str) -> Path:
        """Normalised rows of a config."""
        return self.work / "records" / config

    def plan(self, config: str) -> Path:
        """The plan of a config, a file an annotation file."""
        return self.work / "plan" / config

    def kept(self, config: str, stage: str) -> Path:
        """The samples that a stage kept of a config."""
        return self.work / "plan" / f"{config}.{stage}.arrow"

    @property
    def shards(self) -> Path:
        """The facts of the shards that an unfinished build wrote."""
        return self.work / "shards"

    @property
    def cutting(self) -> Path:
        """Pieces of videos on their way into the store, thus on its disk."""
        name = hashlib.sha256(str(self.work.absolute()).encode("utf-8", "surrogateescape")).hexdigest()[:32]
        return self.cache / "media" / "cutting" / name

    def rejects(self, stage: str, config: str) -> Path:
        """The rows that a stage left out of a config."""
        return self.work / "rejects" / stage / f"{config}.parquet"

    def changes(self, config: str) -> Path:
        """The rows of a config that curation changed, with their values."""
        return self.kept(config, "changes")

    def changed_values(self, config: str) -> Path:
        """The values of a config that curation changed, with what they were before."""
        return self.work / "changed" / f"{config}.parquet"

    @property
    def changed(self) -> Path:
        """Every value that curation changed."""
        return self.work / "changed.parquet"


_FULL = "free some space or choose another disk with --work, --out or --cache, and run it again"
_FORBIDDEN = "choose a folder that can be written with --work, --out or --cache"
_IN_THE_WAY = "a file stands where a folder is needed; move it away or choose another folder"
_FAILING = "the disk fails or is gone: mend it or choose another with --work, --out or --cache, and run it again"
_TOO_MANY = "allow more open files (ulimit -n) or use fewer --workers, and run it again"
HINTS = {
    errno.ENOSPC: _FULL,
    errno.EDQUOT: _FULL,
    errno.EFBIG: "allow larger files (ulimit -f), or choose another disk with --work, --out or --cache",
    errno.EROFS: _FORBIDDEN,
    errno.EACCES: _FORBIDDEN,
    errno.EPERM: _FORBIDDEN,
    errno.ENOTDIR: _IN_THE_WAY,
    errno.EEXIST: _IN_THE_WAY,
    errno.EISDIR: "a folder stands where a file is needed; move it away",
    errno.ENOENT: "something was removed while it was in use; run it again",
    errno.EIO: _FAILING,
    errno.ENXIO: _FAILING,
    errno.ENODEV: _FAILING,
    errno.ESTALE: _FAILING,
    errno.ETIMEDOUT: _FAILING,
    errno.EHOSTDOWN: _FAILING,
    errno.ENOTCONN: _FAILING,
    errno.EMFILE: _TOO_MANY,
    errno.ENFILE: _TOO_MANY,
}
"""What to do when the system says this of a folder of ours."""


@contextmanager
def disk_errors(path: Path, *, doing: str = "write") -> Iterator[None]:
    """Turn a disk that is full, read-only, forbidden or failing into an error that names the place and the way out."""
    try:
        yield
    except OSError as error:
        hint = HINTS.get(error.errno or 0)
        if hint is None:
            raise
        raise WorkspaceError(f"cannot {doing} {error.filename or path}: {error.strerror}", hint=hint) from error


@contextmanager
def writing(path: Path, *, sync: bool = True) -> Iterator[Path]:
    """Give a temporary name beside `path`; on success it is synced and renamed to `path`, else removed.

    Without `sync` a lost power supply may cost the file, or its end: for what is made again when its size is not the
    one that was noted (`sizes_of`), or when it cannot be read.

    Raises:
        WorkspaceError: the disk is full, read-only or forbidden.
    """
    # not the process number: in two containers with one cache it may be the same
    temporary = path.with_name(f"{TEMPORARY}{secrets.token_hex(4)}-{path.name}"[:250])
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield temporary
            if sync:
                with temporary.open("rb+") as file:
                    os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


def sizes_of(paths: Iterable[Path]) -> list[int | None]:
    """Return the bytes of files, by which what was written without `sync` is known to be whole; None: not there."""
    return [path.stat().st_size if path.is_file() else None for path in paths]


def write_bytes(path: Path, data: bytes, *, sync: bool = True) -> None:
    """Write a whole file atomically."""
    with writing(path, sync=sync) as temporary:
        temporary.write_bytes(data)


def write_json(path: Path, value: Any, *, sync: bool = True) -> None:
    """Write a value as JSON, atomically and always the same way."""
    write_bytes(path, (json.dumps(value, ensure_ascii=False, indent=1, sort_keys=True) + "\n").encode(), sync=sync)


def read_json(path: Path) -> Any:
    """Return the value of a JSON file, or None when there is none or it is damaged (it is then made anew)."""
    with disk_errors(path, doing="read"):
        try:
            return json.loads(path.read_bytes())
        except (FileNotFoundError, NotADirectoryError, ValueError):
            return None


def remove_file(path: Path) -> None:
    """Remove a file of ours, if it is there."""
    with disk_errors(path):
        path.unlink(missing_ok=True)


def remove_leftovers(folder: Path, keep: set[Path]) -> None:
    """Remove the files below a folder of ours that are not in `keep`, and the folders that are then empty."""
    if not folder.is_dir():
        return
    with disk_errors(folder):
        for path in sorted(folder.rglob("*"), reverse=True):
            if path.is_dir() and not path.is_symlink():
                if not any(path.iterdir()):
                    path.rmdir()
            elif path not in keep:
                path.unlink()


@contextmanager
def emptied(folder: Path) -> Iterator[None]:
    """Use a folder of ours that is empty before, and is gone after."""
    with disk_errors(folder):
        shutil.rmtree(folder, ignore_errors=True)
        try:
            yield
        finally:
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def holding(path: Path, how: int = fcntl.LOCK_EX) -> Iterator[None]:
    """Hold a lock file of a cache as `flock` has it, after any other process that holds it.

    Raises:
        BlockingIOError: another process holds it, and `how` says LOCK_NB.
    """
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(handle, how)
        yield
    finally:
        os.close(handle)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a folder for this process alone, and remove what a killed holder was writing in it.

    The lock belongs to the process, so a kill frees it. Folders that a stage fills and tidies itself are left to it.

    Raises:
        WorkspaceError: another build holds it; says which.
    """
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(handle, 200, 0).decode(errors="replace").strip() or "another process"
            raise WorkspaceError(
                f"{folder} is in use by {holder}", hint="wait until it is done, or choose another folder with --work"
            ) from None
        with disk_errors(folder / "lock"):
            os.ftruncate(handle, 0)
            os.pwrite(handle, f"process {os.getpid()} on {socket.gethostname()}\n".encode(), 0)
            for pattern in (TEMPORARY, f"plan/{TEMPORARY}", f"rejects/*/{TEMPORARY}", f"changed/{TEMPORARY}"):
                for leftover in folder.glob(f"{pattern}*"):
                    leftover.unlink()
            for scratch in folder.glob(f"{SCRATCH}*"):
                shutil.rmtree(scratch)
        yield
        os.ftruncate(handle, 0)
    finally:
        os.close(handle)
