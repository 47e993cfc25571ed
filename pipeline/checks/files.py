"""The files of a dataset, wherever they lie: their listing, and each to be read from any place in it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, BinaryIO, Protocol

from pipeline.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path


class DatasetFiles(Protocol):
    """A dataset repository: a folder, or a repository of a hub at one commit."""

    shown: str
    """What people call it."""

    def sizes(self) -> dict[str, int]:
        """Return the bytes of every file by its POSIX path, in order; hidden ones are left out.

        Raises:
            SourceError: the listing cannot be had.
        """

    def open(self, name: str) -> BinaryIO:
        """Open a file that can be sought in; only what is read of it is fetched.

        Raises:
            OSError: it cannot be read.
        """

    def path(self, name: str) -> Path | None:
        """Return where a file lies on this machine; None: it does not."""


class LocalFiles:
    """A folder on this machine."""

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise UsageError(f"there is no folder {folder}", allowed="a dataset folder: README.md and its shards")
        self.folder = folder
        self.shown = str(folder)

    def sizes(self) -> dict[str, int]:
        """Return the bytes of every file by its POSIX path, in order; hidden ones are left out."""
        found: dict[str, int] = {}
        waiting = [""]
        while waiting:
            below = waiting.pop()
            try:
                entries = list(os.scandir(self.folder / below))
            except PermissionError:
                continue
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(f"{below}{entry.name}/")
                elif entry.is_file():  # of a link too, as caches of hubs are made of links
                    found[f"{below}{entry.name}"] = entry.stat().st_size
        return dict(sorted(found.items()))

    def open(self, name: str) -> BinaryIO:
        """Open a file."""
        return (self.folder / name).open("rb")

    def path(self, name: str) -> Path | None:
        """Return where a file lies."""
        return self.folder / name
