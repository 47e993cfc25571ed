"""Hashes of source files: taken once, remembered, and held against what the files are now."""

from __future__ import annotations

import hashlib
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pipeline.errors import SourceError
from pipeline.media.probe import BLOCK_BYTES

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from pipeline.build import Build


def hashes_of(build: Build, paths: Iterable[Path]) -> dict[Path, tuple[str, int]]:
    """Return sha256 and size of source files, reading only those that changed.

    Raises:
        SourceError: one cannot be read.
    """
    with _reading():
        return build.store.hashes_of(sorted(paths))


def stat_of(path: Path) -> os.stat_result:
    """Return the status of a source file.

    Raises:
        SourceError: it is not there any more.
    """
    with _reading():
        return path.stat()


@contextmanager
def hashed_aside(build: Build, path: Path) -> Iterator[Callable[[], str]]:
    """Hash a source file while the block does something else with it; gives a function that returns the sha256.

    Raises:
        SourceError: it cannot be read.
    """
    looked_ns = time.time_ns()
    stat = stat_of(path)
    stop = threading.Event()
    with ThreadPoolExecutor(1) as aside:
        hashing = aside.submit(_hash, path, stop)

        def result() -> str:
            with _reading():
                sha256 = hashing.result()
            build.store.adopt([(path, stat, sha256)], looked_ns=looked_ns)
            return sha256

        try:
            yield result
        finally:
            stop.set()


def is_unchanged(build: Build, path: Path, sha256: str, stat: os.stat_result) -> bool:
    """Tell whether a source file is the one that was hashed after it was as `stat` says."""
    try:
        now = path.stat()
    except OSError:
        return False
    # a link to it, made by another build, changes its times alone
    return _times(now) == _times(stat) or build.store.is_unchanged(path, sha256, stat.st_size)


def _times(stat: os.stat_result) -> tuple[int, ...]:
    return stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino, stat.st_dev


def _hash(path: Path, stop: threading.Event) -> str:
    digest = hashlib.sha256()
    with path.open("rb", buffering=0) as file:
        while not stop.is_set() and (block := file.read(BLOCK_BYTES)):
            digest.update(block)
    return digest.hexdigest()


@contextmanager
def _reading() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        place = error.filename or "a source file"
        raise SourceError(f"{place} cannot be read: {error.strerror}", hint="put it back and run it again") from None
