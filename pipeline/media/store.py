"""The media store: content-addressed, shared by all datasets and processes.

    <cache>/media/objects/ab/<sha256>   bytes that are nowhere else on this machine; never rewritten
    <cache>/media/index.sqlite          what is known, and can be found out again:
        files   path, size, times, inode -> sha256: files that stay where they are (adopted)
        facts   sha256, kind -> what a probe found, or why it failed

Files of a local folder are adopted, not copied: a terabyte is not doubled. Whoever reads one checks its hash.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import sqlite3
import time
from typing import TYPE_CHECKING, Self

from pipeline.errors import RowRejected, SourceError
from pipeline.media.facts import MediaFacts
from pipeline.media.probe import PROBE_VERSION, hash_bytes
from pipeline.workspace import disk_errors, writing

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path
    from types import TracebackType

_log = logging.getLogger(__name__)

INDEX_VERSION = 1
RACY_NS = 2_000_000_000
"""A file changed less than this before it was hashed may change again within the same tick of the disk's clock."""
BUSY_SECONDS = 60.0
"""How long to wait for another process's short write."""
_LOOKUP = 500
"""Keys in one query."""

_TABLES = f"""
CREATE TABLE IF NOT EXISTS files (
    path TEXT PRIMARY KEY, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, ctime_ns INTEGER NOT NULL,
    inode INTEGER NOT NULL, sha256 TEXT NOT NULL, settled INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS facts (
    sha256 TEXT NOT NULL, kind TEXT NOT NULL, version INTEGER NOT NULL, facts TEXT, code TEXT, message TEXT,
    PRIMARY KEY (sha256, kind)
) WITHOUT ROWID;
PRAGMA user_version = {INDEX_VERSION};
"""


class MediaStore:
    """The store below one cache folder; a context manager, one a process."""

    def __init__(self, cache: Path) -> None:
        self.root = cache / "media"
        self.objects = self.root / "objects"
        self._index: sqlite3.Connection | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._index is not None:
            self._index.close()
            self._index = None

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
            SourceError: the file changed or vanished since it was cached.
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
            raise SourceError(f"{location} changed since it was cached", hint="run the build again")

    # the index

    def known_file(self, path: Path, stat: os.stat_result) -> str | None:
        """Return the hash of an adopted file that has not changed since, else None."""
        return self.known_files([(path, stat)]).get(path)

    def known_files(self, files: Iterable[tuple[Path, os.stat_result]]) -> dict[Path, str]:
        """Return the hashes of those files that were adopted and have not changed since."""
        stats = {str(path): (path, stat) for path, stat in files}
        names = list(stats)
        known: dict[Path, str] = {}
        for start in range(0, len(names), _LOOKUP):
            part = names[start : start + _LOOKUP]
            marks = ",".join("?" * len(part))
            query = (
                f"SELECT path, size, mtime_ns, ctime_ns, inode, sha256 FROM files WHERE settled AND path IN ({marks})"  # noqa: S608
            )
            for name, size, mtime_ns, ctime_ns, inode, sha256 in self._db().execute(query, [_stored(n) for n in part]):
                path, stat = stats[_restored(name)]
                if (size, mtime_ns, ctime_ns, inode) == (stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino):
                    known[path] = sha256
        return known

    def adopt(self, files: Iterable[tuple[Path, os.stat_result, str]]) -> None:
        """Remember the hashes of files that stay where they are; `stat` was taken before the file was hashed."""
        now = time.time_ns()
        rows = [
            (
                _stored(str(path)),
                stat.st_size,
                stat.st_mtime_ns,
                stat.st_ctime_ns,
                stat.st_ino,
                sha256,
                max(stat.st_mtime_ns, stat.st_ctime_ns) < now - RACY_NS,
            )
            for path, stat, sha256 in files
        ]
        if rows:
            with disk_errors(self.root), self._db() as db:
                db.executemany("INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?, ?, ?)", rows)

    def facts(self, hashes: Iterable[str], kind: str) -> dict[str, MediaFacts | RowRejected]:
        """Return what is known of media by hash: their facts, or why the probe failed."""
        wanted = list(hashes)
        known: dict[str, MediaFacts | RowRejected] = {}
        for start in range(0, len(wanted), _LOOKUP):
            part = wanted[start : start + _LOOKUP]
            marks = ",".join("?" * len(part))
            query = (
                f"SELECT sha256, facts, code, message FROM facts WHERE kind = ? AND version = ? AND sha256 IN ({marks})"  # noqa: S608
            )
            for sha256, facts, code, message in self._db().execute(query, [kind, PROBE_VERSION, *part]):
                known[sha256] = MediaFacts.from_json(json.loads(facts)) if facts else RowRejected(code, message)
        return known

    def remember_facts(self, entries: Iterable[tuple[str, str, MediaFacts | RowRejected]]) -> None:
        """Remember what probes found."""
        rows = [
            (sha256, kind, PROBE_VERSION, None, found.code, found.message)
            if isinstance(found, RowRejected)
            else (sha256, kind, PROBE_VERSION, json.dumps(found.to_json()), None, None)
            for sha256, kind, found in entries
        ]
        if rows:
            with disk_errors(self.root), self._db() as db:
                db.executemany("INSERT OR REPLACE INTO facts VALUES (?, ?, ?, ?, ?, ?)", rows)

    def _db(self) -> sqlite3.Connection:
        if self._index is None:
            with disk_errors(self.root):
                self.root.mkdir(parents=True, exist_ok=True)
            path = self.root / "index.sqlite"
            try:
                self._index = _open(path)
            except sqlite3.DatabaseError as error:
                if isinstance(error, sqlite3.OperationalError):
                    raise
                aside = path.with_name(f"index.damaged-{os.getpid()}.sqlite")
                _log.warning(
                    "the media index %s is damaged (%s); it is moved to %s and made anew", path, error, aside.name
                )
                path.replace(aside)
                for ending in ("-wal", "-shm"):
                    path.with_name(path.name + ending).unlink(missing_ok=True)
                self._index = _open(path)
        return self._index


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
