"""Places in which media may lie: folders, archives, repositories of hubs; each by the names of its files."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, Any

from pipeline.new.endings import media_kind_of
from pipeline.sources.archive import ArchiveLimits, members_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

MAX_NAMES = 1_000_000
"""Names of a place that are looked at."""
MAX_DEPTH = 20
"""Folders in folders that are walked into."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """Files below one root, which a recipe names as a source."""

    title: str
    """What people call it."""
    source: dict[str, Any]
    """What the recipe says of it, as keys of `sources`; a `path` is absolute here."""
    folder: Path | None = None
    """Where it lies, if it is a folder."""
    listing: Callable[[], Iterable[str]] = tuple
    """Gives the names of its files, if it is no folder: POSIX paths below the root; may raise SourceError."""

    @cached_property
    def names(self) -> frozenset[str]:
        """The names of its files: all of an archive or repository, and the first million of a folder."""
        if self.folder is None:
            return frozenset(islice(self.listing(), MAX_NAMES))
        return frozenset(islice(walked(self.folder), MAX_NAMES))

    @cached_property
    def media(self) -> list[str]:
        """The names of its images and videos, in order."""
        return sorted(name for name in self.names if media_kind_of(name))

    def has(self, name: str) -> bool:
        """Tell whether there is a file of this name, below the root and nowhere else."""
        plain = os.path.normpath(name)
        if plain.startswith(("../", "/")) or plain in {".", ".."} or "\0" in plain:
            return False
        if self.folder is None:
            return plain in self.names
        try:
            path = self.folder / plain
            return path.is_file() and (plain in self._walked or path.resolve().is_relative_to(self.folder.resolve()))
        except (OSError, ValueError):
            return False

    @property
    def _walked(self) -> frozenset[str]:
        known: frozenset[str] = self.__dict__.get("names", frozenset())
        return known

    def narrowed(self, below: str) -> Place:
        """Return the part of a folder that lies below a folder in it."""
        assert self.folder is not None
        folder = self.folder / below
        return Place(title=f"{self.title.rstrip('/')}/{below}", source={"path": folder}, folder=folder)


def folder_place(folder: Path) -> Place:
    """Return a folder of this machine as a place."""
    path = folder.resolve()
    return Place(title=str(folder), source={"path": path}, folder=path)


def archive_place(path: Path) -> Place:
    """Return an archive of this machine as a place; its names are not read before they are asked for."""

    def names() -> Iterator[str]:
        for member in members_of(path, ArchiveLimits()):
            yield "/".join(member.parts)

    return Place(title=str(path), source={"path": path.resolve()}, listing=names)


def walked(folder: Path) -> Iterator[str]:
    """Yield the names of the files below a folder, in order; hidden ones and links to folders are left out."""
    waiting = [""]
    while waiting:
        below = waiting.pop()
        try:
            entries = sorted(os.scandir(folder / below), key=lambda entry: entry.name)
        except OSError:
            continue
        deeper = []
        for entry in entries:
            if entry.name.startswith(".") or not _is_text(entry.name):
                continue
            if entry.is_dir(follow_symlinks=False):
                if below.count("/") < MAX_DEPTH:
                    deeper.append(f"{below}{entry.name}/")
            elif entry.is_file():
                yield f"{below}{entry.name}"
        waiting += reversed(deeper)


def _is_text(name: str) -> bool:
    """Tell whether a file name can be written into a recipe."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
