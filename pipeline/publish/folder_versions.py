"""The versions of a published folder, which lie beside it, and what is known of the files of each.

    .clips.versions/
      lock                  held while somebody publishes
      <id>/                 a version, and nothing but its files; <id>-2 where one of this content is damaged
      <id>.json             its files with their hashes; written before the folder has this name
      .tmp-next/            the version that is being made; what is whole in it is used by the next attempt
      .tmp-link             the link that is to become the current one
      .tmp-gone-<id>/       a version that is being removed

An id is a fingerprint of paths, sizes and hashes, so equal contents have equal ids.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pipeline.errors import WorkspaceError
from pipeline.manifest import fingerprint
from pipeline.media.probe import hash_file
from pipeline.sources.hub_listing import ListedFile
from pipeline.workspace import TEMPORARY, read_json, write_bytes

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping
    from pathlib import Path

    from pipeline.publish.remote import LocalFile

VERSION = re.compile(r"(?P<id>[0-9a-f]{40})(?:-[1-9]\d{0,5})?")
"""The name of a version."""
NEXT = f"{TEMPORARY}next"
LINK = f"{TEMPORARY}link"
_GONE = f"{TEMPORARY}gone-"
HASHED_AT_ONCE = 4
"""Files read beside each other, which a disk behind a network needs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """A file of a version, as it was when the version was made."""

    size: int
    sha256: str
    mtime_ns: int


@dataclass(frozen=True, kw_only=True)
class Record:
    """What was written down of a version."""

    files: Mapping[str, Recorded] = field(default_factory=dict)
    """By POSIX path."""
    parent: str | None = None
    """The version that was current before it."""
    title: str = ""


def id_of(files: Mapping[str, LocalFile]) -> str:
    """Return the id of a version with these files."""
    return fingerprint([[path, file.size, file.sha256] for path, file in sorted(files.items())])[:40]


def is_same_content(name: str, other: str) -> bool:
    """Tell whether two versions were made of the same files."""
    return name.partition("-")[0] == other.partition("-")[0]


class Versions:
    """The folder that the versions lie in; whoever changes anything in it holds its lock."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def names(self) -> list[str]:
        """Return the versions that are there."""
        if not self.root.is_dir():
            return []
        with os.scandir(self.root) as entries:
            return sorted(e.name for e in entries if VERSION.fullmatch(e.name) and e.is_dir(follow_symlinks=False))

    def folder(self, name: str) -> Path:
        """Return the folder of a version, which may not be there."""
        return self.root / name

    def exists(self, name: str) -> bool:
        """Tell whether a version is there."""
        return bool(VERSION.fullmatch(name)) and self.folder(name).is_dir() and not self.folder(name).is_symlink()

    def record(self, name: str) -> Record:
        """Return what was written down of a version; nothing where that is lost or damaged."""
        match read_json(self._record_path(name)):
            case {"files": dict(files), "parent": None | str() as parent, "title": str(title)}:
                known = {path: found for path, entry in files.items() if (found := _recorded(entry))}
                return Record(files=known, parent=parent if VERSION.fullmatch(parent or "") else None, title=title)
        return Record()

    def write_record(self, name: str, record: Record) -> None:
        """Write down what is known of a version."""
        files = {path: [file.size, file.sha256, file.mtime_ns] for path, file in record.files.items()}
        value = {"files": files, "parent": record.parent, "title": record.title}
        # escaped, because the name of a file may be no Unicode
        write_bytes(self._record_path(name), (json.dumps(value, indent=0, sort_keys=True) + "\n").encode())

    def seen(self, name: str) -> dict[str, ListedFile]:
        """List the files of a version; those that are as they were when it was made are not read."""
        known = self.record(name).files
        listed: dict[str, ListedFile] = {}
        unknown = []
        for path, facts in _files(self.folder(name)):
            if is_unchanged(known.get(path), facts):
                listed[path] = ListedFile(size=facts.st_size, sha256=known[path].sha256)
            else:
                unknown.append(path)
        return {**listed, **dict(self._hashed(name, unknown))}

    def hashed(self, name: str) -> dict[str, ListedFile]:
        """List the files of a version and read every one of them.

        What turns out to be something else than was written down is no longer believed by `seen`.
        """
        listed = dict(self._hashed(name, [path for path, _ in _files(self.folder(name))]))
        record = self.record(name)
        wrong = {path for path, file in record.files.items() if path in listed and listed[path].sha256 != file.sha256}
        if wrong:
            files = {path: file for path, file in record.files.items() if path not in wrong}
            with suppress(OSError, WorkspaceError):  # who may only read can verify, too
                self.write_record(name, Record(files=files, parent=record.parent, title=record.title))
        return listed

    def is_whole(self, name: str, files: Mapping[str, LocalFile]) -> bool:
        """Tell whether a version is there with these files, all as they were when it was made, and no others."""
        if not self.exists(name):
            return False
        known = self.record(name).files
        wanted = {path: (file.size, file.sha256) for path, file in files.items()}
        if {path: (file.size, file.sha256) for path, file in known.items()} != wanted:
            return False
        there = dict(walk(self.folder(name)))
        return there.keys() == known.keys() and all(is_unchanged(known[path], facts) for path, facts in there.items())

    def name_for(self, files: Mapping[str, LocalFile]) -> tuple[str, bool]:
        """Return the name for a version with these files, and whether it is there already, and whole."""
        name = plain = id_of(files)
        number = 1
        while os.path.lexists(self.folder(name)):
            if self.is_whole(name, files):
                return name, True
            number += 1
            name = f"{plain}-{number}"
        return name, False

    def tidy(self, keep: Collection[str] | None = None) -> None:
        """Remove what others that were cut off left over, and the versions that are not kept; None: keep all."""
        for name in self.names() if keep is not None else ():
            if name not in (keep or ()):
                # first another name, so that half a version is never taken for one
                self.folder(name).rename(self.root / f"{_GONE}{name}")
        there = set(self.names())
        for path in list(self.root.iterdir()) if self.root.is_dir() else ():
            is_leftover = path.name.startswith(TEMPORARY) and path.name != NEXT
            is_lonely = path.suffix == ".json" and VERSION.fullmatch(path.stem) and path.stem not in there
            if is_leftover or is_lonely:
                remove(path)

    def _record_path(self, name: str) -> Path:
        return self.root / f"{name}.json"

    def _hashed(self, name: str, paths: list[str]) -> Iterator[tuple[str, ListedFile]]:
        folder = self.folder(name)
        with ThreadPoolExecutor(HASHED_AT_ONCE) as threads:
            for path, (sha256, size) in zip(paths, threads.map(lambda at: hash_file(folder / at), paths), strict=True):
                yield path, ListedFile(size=size, sha256=sha256)


def walk(folder: Path) -> Iterator[tuple[str, os.stat_result]]:
    """Yield everything below a folder that is no folder, by POSIX path, with its facts; no link is followed."""
    waiting = [""]
    while waiting:
        below = waiting.pop()
        try:
            entries = sorted(os.scandir(folder / below), key=lambda entry: entry.name)
        except FileNotFoundError:
            continue
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                waiting.append(f"{below}{entry.name}/")
            else:
                yield f"{below}{entry.name}", entry.stat(follow_symlinks=False)


def _files(folder: Path) -> Iterator[tuple[str, os.stat_result]]:
    """Yield the files of a version; a link that somebody put into it is none."""
    return ((path, facts) for path, facts in walk(folder) if stat.S_ISREG(facts.st_mode))


def is_unchanged(known: Recorded | None, facts: os.stat_result) -> bool:
    """Tell whether a file is as it was written down, as far as its size and time tell."""
    return (
        known is not None
        and stat.S_ISREG(facts.st_mode)
        and (facts.st_size, facts.st_mtime_ns) == (known.size, known.mtime_ns)
    )


def remove(path: Path) -> None:
    """Remove a leftover; what a reader on another machine holds open stays until the next time."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _recorded(entry: Any) -> Recorded | None:
    match entry:
        case [int(size), str(sha256), int(mtime_ns)]:
            return Recorded(size=size, sha256=sha256, mtime_ns=mtime_ns)
    return None
