"""Making a version of a published folder: what the disk has already gets a second name, the rest is copied and proved."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from contextlib import suppress
from dataclasses import dataclass
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
    {errno.EPERM, errno.EACCES, errno.EMLINK, errno.EXDEV, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL}
)
"""What the system says where a file can have one name only, has too many, or may not be given one by this user."""


@dataclass(kw_only=True)
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
    _remove_others(folder, files)
    sent = 0
    unsynced = []
    for path, file in sorted(files.items()):
        to = folder / path
        to.parent.mkdir(parents=True, exist_ok=True)
        old = there.get(file.sha256)
        if old is not None and _link(old, to):
            advance(path, file.size)
            continue
        unsynced.append(to)
        if _is_whole(to, file):
            advance(path, file.size)
            continue
        to.unlink(missing_ok=True)  # and not written over: it may be a second name of an older version's file
        sent += file.size
        if old is not None and _clone(old, to, file):
            advance(path, file.size)
        else:
            _copy(file, to, lambda count, path=path: advance(path, count))  # type: ignore[misc]
    for to in unsynced:
        _sync_file(to)
    folders = {folder, *(parent for path in files for parent in (folder / path).parents if parent.is_relative_to(folder))}
    for one in sorted(folders, reverse=True):
        sync_folder(one)
    made = {}
    for path, file in files.items():
        facts = (folder / path).lstat()
        if not stat.S_ISREG(facts.st_mode) or facts.st_size != file.size:
            raise PublishError(f"{shown(str(folder / path))} was changed by somebody else", hint="run it again")
        made[path] = Recorded(size=file.size, sha256=file.sha256, mtime_ns=facts.st_mtime_ns)
    return Made(files=made, sent=sent)


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


def _remove_others(folder: Path, files: Mapping[str, LocalFile]) -> None:
    """Remove what is none of these files, or stands where a folder of theirs must be."""
    if folder.is_symlink():
        folder.unlink()
    folder.mkdir(exist_ok=True)
    folders = {parent for path in files for parent in (folder / path).parents}
    for path, facts in list(walk(folder)):
        if path not in files or not stat.S_ISREG(facts.st_mode):
            (folder / path).unlink()
    for below, names, _ in os.walk(folder, topdown=False):
        for name in names:
            one = folder.__class__(below, name)
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
        if error.errno not in {*_NO_SECOND_NAMES, errno.ENOENT}:
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
        if error.errno not in {*_NO_SECOND_NAMES, errno.ENOENT, errno.EBADF}:
            raise
        return False
    if left or hash_file(to) != (file.sha256, file.size):
        to.unlink()
        return False
    return True


def _copy(file: LocalFile, to: Path, advance: Callable[[int], None]) -> None:
    """Copy a file and prove that it is the one that was hashed."""
    digest = hashlib.sha256()
    done = 0
    try:
        with to.open("xb", buffering=0) as target:
            for chunk in _chunks(file):
                _write(target.fileno(), chunk)
                digest.update(chunk)
                done += len(chunk)
                if done > file.size:
                    break
                advance(len(chunk))
            if (done, digest.hexdigest()) != (file.size, file.sha256):
                what = f"{shown(str(file.path))} was changed while it was published"
                raise PublishError(what, hint="wait until nobody writes to it, and run it again")
            # who may not read the source must not get to read it here
            readable = stat.S_IMODE(target_mode(target.fileno())) & (stat.S_IMODE(file.path.stat().st_mode) | 0o600)
            os.fchmod(target.fileno(), readable)
    except BaseException:
        to.unlink(missing_ok=True)
        raise


def target_mode(handle: int) -> int:
    """Return the mode that the system gave to a file that was made."""
    return os.fstat(handle).st_mode


def _write(handle: int, chunk: bytes) -> None:
    left = memoryview(chunk)
    while left:
        left = left[os.write(handle, left) :]


def _chunks(file: LocalFile) -> Iterator[bytes]:
    """Yield the content of a file of this machine; what fails here is not the disk that is published to."""
    try:
        with file.path.open("rb", buffering=0) as source:
            while chunk := source.read(CHUNK):
                yield chunk
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
