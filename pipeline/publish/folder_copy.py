"""Making a version of a published folder: what the disk has gets a second name, the rest is copied and proved."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from pipeline.media.probe import hash_file
from pipeline.publish.folder_versions import Recorded, remove, walk
from pipeline.publish.remote import PublishError
from pipeline.sources.hub_listing import shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from pipeline.publish.remote import LocalFile

CHUNK = 1 << 20
"""Bytes that are read and written at a time."""
_NO_SECOND_NAMES = frozenset(
    {
        *(errno.EPERM, errno.EACCES, errno.EMLINK, errno.EXDEV, errno.EINVAL),
        *(errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.ENOENT),
    }
)
"""What the system says where a file can have one name only, has too many, may not be given one, or is gone."""


@dataclass(frozen=True, kw_only=True)
class Made:
    """What was made."""

    files: dict[str, Recorded]
    sent: int
    """Bytes that were copied."""


def make_version(
    folder: Path,
    files: Mapping[str, LocalFile],
    there: Mapping[str, Path],
    advance: Callable[[str, int], None],
) -> Made:
    """Fill a folder with these files and no others, all of them on the disk when it returns.

    What stands in the folder already is used where it is whole. `there` says where a content lies on this disk, by its
    sha256. `advance` is called with the path of a file and its bytes, as they are copied or found.

    Raises:
        PublishError: a file cannot be read, or has changed since it was hashed.
        OSError: the disk is full, forbidden or fails.
    """
    folders = {folder, *((folder / path).parent for path in files)}
    folders |= {parent for one in folders for parent in one.parents if parent.is_relative_to(folder)}
    _remove_others(folder, files, folders)
    for one in sorted(folders):
        one.mkdir(exist_ok=True)
    known = dict(there)
    fresh = []
    sent = 0
    for path, file in sorted(files.items()):
        to = folder / path
        told = partial(advance, path)
        old = known.setdefault(file.sha256, to)
        if old != to and _link(old, to):
            told(file.size)
            continue
        fresh.append(to)
        if _is_whole(to, file):
            told(file.size)
        else:
            to.unlink(missing_ok=True)  # and not written over: it may be a second name of an older version's file
            if old != to and _clone(old, to, file):
                told(file.size)
            else:
                _copy(file, to, told)
            sent += file.size
    for to in fresh:
        _sync_file(to)
    for one in sorted(folders, reverse=True):
        sync_folder(one)
    return Made(files={path: _recorded(folder / path, file) for path, file in files.items()}, sent=sent)


def sync_folder(folder: Path) -> None:
    """Let the names in a folder reach the disk; some disks behind networks know no such thing."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF):
            raise
    finally:
        os.close(handle)


def _recorded(path: Path, file: LocalFile) -> Recorded:
    """Return what is written down of a file that was made."""
    facts = path.lstat()
    if not stat.S_ISREG(facts.st_mode) or facts.st_size != file.size:
        raise PublishError(f"{shown(str(path))} was changed by somebody else", hint="run it again")
    return Recorded(size=file.size, sha256=file.sha256, mtime_ns=facts.st_mtime_ns)


def _remove_others(folder: Path, files: Mapping[str, LocalFile], folders: set[Path]) -> None:
    """Remove what an earlier attempt left and is none of these files and folders."""
    if folder.is_symlink():
        folder.unlink()
    for path, facts in list(walk(folder)):
        if path not in files or not stat.S_ISREG(facts.st_mode):
            (folder / path).unlink()
    for below, names, _ in os.walk(folder, topdown=False):
        for name in names:
            one = folder / below / name
            if one not in folders:
                remove(one)


def _link(old: Path, to: Path) -> bool:
    """Give a file a second name; False: it cannot have one."""
    with suppress(FileNotFoundError):
        if to.samefile(old):
            return True
        to.unlink()
    try:
        os.link(old, to, follow_symlinks=False)
    except OSError as error:
        if error.errno not in _NO_SECOND_NAMES:
            raise
        return False
    return True


def _is_whole(to: Path, file: LocalFile) -> bool:
    """Tell whether an earlier attempt has copied a file to its end."""
    try:
        return to.lstat().st_size == file.size and hash_file(to) == (file.sha256, file.size)
    except FileNotFoundError:
        return False


def _clone(old: Path, to: Path, file: LocalFile) -> bool:
    """Let the disk copy a file itself, which costs no way over a network and often no room; False: it cannot."""
    if not hasattr(os, "copy_file_range"):
        return False
    try:
        with old.open("rb", buffering=0) as source, to.open("xb", buffering=0) as target:
            left = file.size
            while left and (count := os.copy_file_range(source.fileno(), target.fileno(), left)):
                left -= count
    except OSError as error:
        to.unlink(missing_ok=True)
        if error.errno not in _NO_SECOND_NAMES:
            raise
        return False
    if not _is_whole(to, file):
        to.unlink()
        return False
    return True


def _copy(file: LocalFile, to: Path, advance: Callable[[int], object]) -> None:
    """Copy a file and prove that it is the one that was hashed; who may not read that one may not read the copy."""
    digest = hashlib.sha256()
    done = 0
    with _reading(file):
        source = file.path.open("rb", buffering=0)
    with source:
        mode = 0o666 & (os.fstat(source.fileno()).st_mode | 0o600)
        handle = os.open(to, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        try:
            with open(handle, "wb", buffering=0) as target:  # noqa: PTH123  (a handle has no path)
                while done <= file.size:
                    with _reading(file):
                        chunk = source.read(CHUNK)
                    if not chunk:
                        break
                    left = memoryview(chunk)
                    while left:
                        left = left[target.write(left) :]
                    digest.update(chunk)
                    done += len(chunk)
                    advance(len(chunk))
            if (done, digest.hexdigest()) != (file.size, file.sha256):
                what = f"{shown(str(file.path))} was changed while it was published"
                raise PublishError(what, hint="wait until nobody writes to it, and run it again")
        except BaseException:
            to.unlink(missing_ok=True)
            raise


@contextmanager
def _reading(file: LocalFile) -> Iterator[None]:
    """Say what fails on this machine, which is not the disk that is published to."""
    try:
        yield
    except OSError as error:
        what = f"{shown(str(file.path))} cannot be read: {error.strerror}"
        raise PublishError(what, hint="put it back or build it again, and run it again") from None


def _sync_file(path: Path) -> None:
    """Let a file reach the disk, and leave memory, so that whoever verifies it reads the disk."""
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        os.fsync(handle)
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(handle)
