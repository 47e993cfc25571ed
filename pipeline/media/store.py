"""The media store: content-addressed, shared by all datasets and processes.

    <cache>/media/objects/ab/<sha256>   bytes that are nowhere else on this machine; never rewritten
    <cache>/media/objects/ab/<sha256>.damaged   what the disk made of some; set aside so that they can be put again
    <cache>/media/index.sqlite          what is known, and can be found out again:
        files   path, size, times, inode -> sha256: files that stay where they are (adopted)
        facts   sha256, kind, depth -> what a probe found, or why it failed
    <cache>/media/index.lock            held while a process opens or mends the index

Files of a local folder are adopted, not copied: a terabyte is not doubled. Whoever reads one checks its hash.
A store belongs to the thread that made it; every process opens its own.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import os
import sqlite3
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Self, TypeVar

from pipeline.errors import RowRejected, SourceError, WorkspaceError
from pipeline.media.facts import MediaFacts
from pipeline.media.probe import PROBE_VERSION, hash_bytes, hash_file
from pipeline.workspace import disk_errors, writing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path
    from types import TracebackType

    from pipeline.media.facts import Kind
    from pipeline.recipe_spec import Depth

_log = logging.getLogger(__name__)
_T = TypeVar("_T")

INDEX_VERSION = 2
RACY_NS = 2_000_000_000
"""A file changed less than this before it was hashed may change again within the same tick of the disk's clock."""
BUSY_SECONDS = 60.0
"""How long to wait for another process's short write."""
_LOOKUP = 500
"""Keys in one query."""

_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)

_TABLES = f"""
CREATE TABLE IF NOT EXISTS files (
    path TEXT PRIMARY KEY, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, ctime_ns INTEGER NOT NULL,
    inode INTEGER NOT NULL, sha256 TEXT NOT NULL, settled INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS facts (
    sha256 TEXT NOT NULL, kind TEXT NOT NULL, depth TEXT NOT NULL, version INTEGER NOT NULL,
    facts TEXT, code TEXT, message TEXT, PRIMARY KEY (sha256, kind, depth)
) WITHOUT ROWID;
PRAGMA user_version = {INDEX_VERSION};
"""


class MediaStore:
    """The store below one cache folder; a context manager, one a process."""

    def __init__(self, cache: Path) -> None:
        self.root = cache / "media"
        self.objects = self.root / "objects"
        self._path = self.root / "index.sqlite"
        self._index: sqlite3.Connection | None = None
        self._inode = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    # objects

    def object_path(self, sha256: str) -> Path:
        """Return where the object of a hash is, or would be."""
        return self.objects / sha256[:2] / sha256

    def put(self, data: bytes) -> str:
        """Store some bytes; returns their hash. Storing them again, from any process, changes nothing."""
        sha256 = hash_bytes(data)
        path = self.object_path(sha256)
        try:
            if path.stat().st_size == len(data):
                return sha256
        except OSError:
            pass
        with writing(path) as temporary:
            temporary.write_bytes(data)
        return sha256

    def read_into(self, sha256: str, location: Path, buffer: memoryview) -> None:
        """Read a medium into a buffer of its size and check its hash.

        Raises:
            SourceError: the file changed or vanished since it was cached. An object of the store is then set aside,
                for else `put` would find it there and never mend it.
        """
        try:
            with location.open("rb", buffering=0) as file:
                done = 0
                while done < len(buffer) and (count := file.readinto(buffer[done:])):
                    done += count
                whole = done == len(buffer) and not file.read(1)
        except OSError as error:
            raise SourceError(
                f"{location} cannot be read any more: {error.strerror}", hint="put it back and run the build again"
            ) from None
        if not whole or hashlib.sha256(buffer).hexdigest() != sha256:
            if location.absolute() == self.object_path(sha256).absolute():
                with disk_errors(location):
                    location.replace(location.with_name(f"{sha256}.damaged"))
            raise SourceError(f"{location} changed since it was cached", hint="run the build again")

    # the index

    def known_file(self, path: Path, stat: os.stat_result) -> str | None:
        """Return the hash of an adopted file that has not changed since, else None."""
        return self.known_files([(path, stat)]).get(path)

    def known_files(self, files: Iterable[tuple[Path, os.stat_result]]) -> dict[Path, str]:
        """Return the hashes of those files that were adopted and have not changed since."""
        stats = {str(path): (path, stat) for path, stat in files}
        known: dict[Path, str] = {}
        query = "SELECT path, size, mtime_ns, ctime_ns, inode, sha256 FROM files WHERE settled AND path IN"
        for name, size, mtime_ns, ctime_ns, inode, sha256 in self._select(query, [_stored(name) for name in stats]):
            path, stat = stats[_restored(name)]
            if (size, mtime_ns, ctime_ns, inode) == (stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino):
                known[path] = sha256
        return known

    def adopt(self, files: Iterable[tuple[Path, os.stat_result, str]], *, looked_ns: int | None = None) -> None:
        """Remember the hashes of files that stay where they are; `stat` was taken before the file was hashed.

        `looked_ns` is the time (`time.time_ns`) before the first of these stats was taken; without it, now. A file
        changed less than RACY_NS before is kept, but not believed.
        """
        looked_ns = time.time_ns() if looked_ns is None else looked_ns
        rows = [
            (
                _stored(str(path)),
                stat.st_size,
                stat.st_mtime_ns,
                stat.st_ctime_ns,
                stat.st_ino,
                sha256,
                max(stat.st_mtime_ns, stat.st_ctime_ns) < looked_ns - RACY_NS,
            )
            for path, stat, sha256 in files
        ]
        self._insert("INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?, ?, ?)", rows)

    def hashes_of(self, paths: Iterable[Path]) -> dict[Path, tuple[str, int]]:
        """Return sha256 and size of files, reading only those that changed since they were last adopted.

        Raises:
            OSError: a file vanished or cannot be read.
        """
        looked_ns = time.time_ns()
        stats = {path: path.stat() for path in paths}
        known = self.known_files(stats.items())
        found = {path: (sha256, stats[path].st_size) for path, sha256 in known.items()}
        fresh = {path: hash_file(path) for path in stats if path not in known}
        self.adopt([(path, stats[path], sha256) for path, (sha256, _) in fresh.items()], looked_ns=looked_ns)
        return found | fresh

    def is_unchanged(self, path: Path, sha256: str, size: int) -> bool:
        """Tell whether a file is there and still has this hash and size; one of another size is not read."""
        try:
            return path.stat().st_size == size and self.hashes_of([path])[path] == (sha256, size)
        except OSError:
            return False

    def facts(self, hashes: Iterable[str], kind: Kind, depth: Depth) -> dict[str, MediaFacts | RowRejected]:
        """Return what is known of media by hash, looked into just so far: their facts, or why the probe failed."""
        known: dict[str, MediaFacts | RowRejected] = {}
        query = (
            "SELECT sha256, facts, code, message FROM facts WHERE kind = ? AND depth = ? AND version = ? AND sha256 IN"
        )
        for sha256, facts, code, message in self._select(query, list(hashes), kind, depth, PROBE_VERSION):
            known[sha256] = MediaFacts.from_json(json.loads(facts)) if facts else RowRejected(code, message)
        return known

    def remember_facts(self, entries: Iterable[tuple[str, MediaFacts | RowRejected]], kind: Kind, depth: Depth) -> None:
        """Remember what probes found out about media by hash."""
        rows = [
            (sha256, kind, depth, PROBE_VERSION, None, found.code, found.message)
            if isinstance(found, RowRejected)
            else (sha256, kind, depth, PROBE_VERSION, json.dumps(found.to_json()), None, None)
            for sha256, found in entries
        ]
        self._insert("INSERT OR REPLACE INTO facts VALUES (?, ?, ?, ?, ?, ?, ?)", rows)

    def _select(self, query: str, keys: list[str], *values: str | int) -> list[tuple[Any, ...]]:
        """Return the rows whose key is among `keys`; the query ends before the list of them."""

        def work(db: sqlite3.Connection) -> list[tuple[Any, ...]]:
            rows = []
            for start in range(0, len(keys), _LOOKUP):
                part = keys[start : start + _LOOKUP]
                rows += db.execute(f"{query} ({','.join('?' * len(part))})", [*values, *part]).fetchall()
            return rows

        return self._run(work)

    def _insert(self, statement: str, rows: list[tuple[Any, ...]]) -> None:
        """Write some rows in one transaction."""

        def work(db: sqlite3.Connection) -> None:
            with db:
                db.executemany(statement, rows)

        if rows:
            self._run(work)

    def _run(self, work: Callable[[sqlite3.Connection], _T]) -> _T:
        """Work with the index; a damaged one is made anew first, since all in it can be found again.

        Raises:
            WorkspaceError: the index cannot be opened, read or written.
        """
        try:
            try:
                return work(self._opened())
            except sqlite3.DatabaseError as error:
                # a connection's errors carry SQLite's code; its low byte is the kind
                if getattr(error, "sqlite_errorcode", 0) & 0xFF not in _DAMAGED:
                    raise
                self._set_aside(error)
                return work(self._opened())
        except sqlite3.OperationalError as error:
            raise WorkspaceError(
                f"the media index {self._path} cannot be used: {error}",
                hint="look whether the disk is full or read-only, or choose another folder with --cache",
            ) from error

    def _opened(self) -> sqlite3.Connection:
        if self._index is None:
            with self._alone():
                self._index = _open(self._path)
                self._inode = self._path.stat().st_ino
        return self._index

    def _set_aside(self, error: sqlite3.DatabaseError) -> None:
        """Move the damaged index away, unless another process did so since this one opened it."""
        opened = self._inode if self._index is not None else None
        self._close()
        with self._alone():
            if opened is None:
                with suppress(sqlite3.DatabaseError):
                    _open(self._path).close()
                    return
            elif not self._path.exists() or self._path.stat().st_ino != opened:
                return
            aside = self._path.with_name(f"index.damaged-{time.time_ns()}.sqlite")
            _log.warning(
                "the media index %s is damaged (%s); it is moved to %s and made anew", self._path, error, aside.name
            )
            self._path.replace(aside)
            for ending in ("-wal", "-shm"):
                self._path.with_name(self._path.name + ending).unlink(missing_ok=True)

    def _close(self) -> None:
        if self._index is not None:
            self._index.close()
            self._index = None

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Let no other process open or mend the index meanwhile: SQLite does not wait for a switch to WAL."""
        with disk_errors(self.root):
            self.root.mkdir(parents=True, exist_ok=True)
            handle = os.open(self.root / "index.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX)
                yield
            finally:
                os.close(handle)


def _open(path: Path) -> sqlite3.Connection:
    """Open the index, making it when there is none; one of another version is emptied, since all can be found again."""
    db = sqlite3.connect(path, timeout=BUSY_SECONDS)
    try:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = NORMAL")
        version = db.execute("PRAGMA user_version").fetchone()[0]
        if version != INDEX_VERSION:
            db.executescript(
                f"BEGIN IMMEDIATE; DROP TABLE IF EXISTS files; DROP TABLE IF EXISTS facts; {_TABLES} COMMIT;"
            )
    except sqlite3.Error:
        db.close()
        raise
    return db


def _stored(path: str) -> str:
    """Write a path as SQLite can hold it: file names need not be Unicode."""
    return path.encode("utf-8", "surrogateescape").decode("latin-1")


def _restored(path: str) -> str:
    return path.encode("latin-1").decode("utf-8", "surrogateescape")
