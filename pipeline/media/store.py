"""The media store: content-addressed, shared by all datasets and processes.

    <cache>/media/objects/ab/<sha256>   bytes that are nowhere else on this machine; never rewritten
    <cache>/media/objects/ab/<sha256>.damaged   what the disk made of some; set aside so that they can be put again
    <cache>/media/index.sqlite          what is known, and can be found out again:
        files   path, size, times, inode -> sha256: files that stay where they are (adopted)
        facts   sha256, kind, depth -> what a probe found, or why it failed
        excerpts  sha256 of a video, excerpt -> the pieces that were cut out of it, which are objects; or why not
    <cache>/media/index.lock            held while a process opens or mends the index

Files of a local folder are adopted, not copied: a terabyte is not doubled. Whoever reads one checks its hash.
A store belongs to the thread that made it; every process opens its own.
"""

from __future__ import annotations

import hashlib
import json
import time
from contextlib import suppress
from dataclasses import asdict
from typing import TYPE_CHECKING, Self

from pipeline.database import Database
from pipeline.errors import RowRejected, SourceError
from pipeline.media.excerpt import EXCERPT_VERSION, Piece
from pipeline.media.facts import MediaFacts
from pipeline.media.location import file_of, shown
from pipeline.media.probe import PROBE_VERSION, hash_bytes, hash_file
from pipeline.workspace import disk_errors, writing

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable
    from pathlib import Path
    from types import TracebackType

    from pipeline.media.facts import Kind
    from pipeline.media.location import Location
    from pipeline.recipe_spec import Depth

INDEX_VERSION = 3
RACY_NS = 2_000_000_000
"""A file changed less than this before it was hashed may change again within the same tick of the disk's clock."""

_TABLES = {
    "files": "path TEXT PRIMARY KEY, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, ctime_ns INTEGER NOT NULL, "
    "inode INTEGER NOT NULL, sha256 TEXT NOT NULL, settled INTEGER NOT NULL",
    "facts": "sha256 TEXT NOT NULL, kind TEXT NOT NULL, depth TEXT NOT NULL, version INTEGER NOT NULL, facts TEXT, "
    "code TEXT, message TEXT, PRIMARY KEY (sha256, kind, depth)",
    "excerpts": "sha256 TEXT NOT NULL, excerpt TEXT NOT NULL, version INTEGER NOT NULL, pieces TEXT, code TEXT, "
    "message TEXT, PRIMARY KEY (sha256, excerpt)",
}


class MediaStore:
    """The store below one cache folder; a context manager, one a process."""

    def __init__(self, cache: Path) -> None:
        self.root = cache / "media"
        self.objects = self.root / "objects"
        # all in it can be found again
        self._index = Database(self.root / "index.sqlite", what="media index", tables=_TABLES, version=INDEX_VERSION)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._index.close()

    # objects

    def object_path(self, sha256: str) -> Path:
        """Return where the object of a hash is, or would be."""
        return self.objects / f"{sha256[:2]}/{sha256}"

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

    def take(self, path: Path, sha256: str) -> None:
        """Make a file an object; the file is moved, and must be on the store's disk."""
        with writing(self.object_path(sha256)) as temporary:
            path.replace(temporary)

    def read_into(self, sha256: str, location: Location, buffer: memoryview) -> None:
        """Read a medium into a buffer of its size and check its hash.

        Raises:
            SourceError: the file changed or vanished since it was cached. An object of the store, be it the medium or
                the archive that it lies in, is then set aside, for else it would be found there and never mended.
        """
        try:
            with location.open("rb", buffering=0) as file:
                done = 0
                while done < len(buffer) and (count := file.readinto(buffer[done:])):
                    done += count
                whole = done == len(buffer) and not file.read(1)
        except OSError as error:
            what = f"{shown(location)} cannot be read any more: {error.strerror}"
            raise SourceError(what, hint="put it back and run the build again") from None
        if not whole or hashlib.sha256(buffer).hexdigest() != sha256:
            self._set_aside(file_of(location))
            raise SourceError(f"{shown(location)} changed since it was cached", hint="run the build again")

    def _set_aside(self, path: Path) -> None:
        """Take a damaged file out of the objects, if it is one of them."""
        if path.absolute() == self.object_path(path.name).absolute():
            # other media of the same archive may have found out as well
            with disk_errors(path), suppress(FileNotFoundError):
                path.replace(path.with_name(f"{path.name}.damaged"))

    # the index

    def known_file(self, path: Path, stat: os.stat_result) -> str | None:
        """Return the hash of an adopted file that has not changed since, else None."""
        return self.known_files([(path, stat)]).get(path)

    def known_files(self, files: Iterable[tuple[Path, os.stat_result]]) -> dict[Path, str]:
        """Return the hashes of those files that were adopted and have not changed since."""
        stats = {str(path): (path, stat) for path, stat in files}
        known: dict[Path, str] = {}
        query = "SELECT path, size, mtime_ns, ctime_ns, inode, sha256 FROM files WHERE settled AND path IN"
        rows = self._index.select(query, [_stored(name) for name in stats])
        for name, size, mtime_ns, ctime_ns, inode, sha256 in rows:
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
        self._index.insert("INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?, ?, ?)", rows)

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
        for sha256, facts, code, message in self._index.select(query, list(hashes), kind, depth, PROBE_VERSION):
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
        self._index.insert("INSERT OR REPLACE INTO facts VALUES (?, ?, ?, ?, ?, ?, ?)", rows)

    def pieces(self, sha256: str, excerpts: Iterable[str]) -> dict[str, list[Piece] | RowRejected]:
        """Return what is known of excerpts of a video: their pieces that are all there, or why there are none."""
        known: dict[str, list[Piece] | RowRejected] = {}
        query = "SELECT excerpt, pieces, code, message FROM excerpts WHERE sha256 = ? AND version = ? AND excerpt IN"
        for excerpt, text, code, message in self._index.select(query, list(excerpts), sha256, EXCERPT_VERSION):
            pieces = [Piece(**piece) for piece in json.loads(text)] if text else []
            if text is None:
                known[excerpt] = RowRejected(code, message)
            elif all(self.object_path(piece.sha256).is_file() for piece in pieces):
                known[excerpt] = pieces
        return known

    def remember_pieces(self, entries: Iterable[tuple[str, str, list[Piece] | RowRejected]]) -> None:
        """Remember what was cut out of videos: hash, excerpt, and its pieces or why there are none."""
        rows = [
            (sha256, excerpt, EXCERPT_VERSION, None, found.code, found.message)
            if isinstance(found, RowRejected)
            else (sha256, excerpt, EXCERPT_VERSION, json.dumps([asdict(piece) for piece in found]), None, None)
            for sha256, excerpt, found in entries
        ]
        self._index.insert("INSERT OR REPLACE INTO excerpts VALUES (?, ?, ?, ?, ?, ?)", rows)


def _stored(path: str) -> str:
    """Write a path as SQLite can hold it: file names need not be Unicode."""
    return path.encode("utf-8", "surrogateescape").decode("latin-1")


def _restored(path: str) -> str:
    return path.encode("latin-1").decode("utf-8", "surrogateescape")
