"""Media that lie beside shards: files of a dataset folder, and members of the tar archives in it, by their paths."""

from __future__ import annotations

import os
import re
import stat
import tarfile
from typing import TYPE_CHECKING

from pipeline.media.location import FilePart

if TYPE_CHECKING:
    from pathlib import Path

    from pipeline.media.location import Location

ARCHIVE = ".tar"
_ARCHIVES_KEPT = 4
"""Archives whose members are remembered at a time."""
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:(//|:)|data:", re.IGNORECASE)
_DRIVE = re.compile(r"[A-Za-z]:[\\/]|\\\\")


class NotInsideError(ValueError):
    """A path that leads to no place inside the dataset; says why, after the word `path`."""


def parts_of(path: str) -> tuple[str, ...]:
    """Return the parts of a path inside a dataset, without looking whether there is anything.

    Raises:
        NotInsideError: it is a URL or absolute, or it leads out of the dataset, or to what is hidden.
    """
    if _URL.match(path):
        raise NotInsideError("is a URL")
    if path.startswith(("/", "~")) or _DRIVE.match(path):
        raise NotInsideError("is absolute")
    parts: list[str] = []
    for part in path.split("/"):
        if part == "..":
            if not parts:
                raise NotInsideError("leads out of the dataset")
            parts.pop()
        elif part not in ("", "."):
            parts.append(part)
    if not parts or any(part.startswith(".") or "\0" in part for part in parts):
        raise NotInsideError("names no file of the dataset")
    return tuple(parts)


class MediaBeside:
    """The media beside the shards of a dataset folder. Links that lead out of it are not followed."""

    def __init__(self, root: Path) -> None:
        self.root = root
        # where a hub's cache keeps what the files of a snapshot are links to
        self._homes = (os.path.realpath(root), os.path.realpath(root / "../../blobs"))
        self._folders: dict[Path, bool] = {}
        self._archives: dict[Path, dict[str, tuple[int, int]]] = {}

    def find(self, path: str, *, near: tuple[str, ...] = ()) -> Location | None:
        """Return where a medium is; paths may start at the dataset, or at the folder `near` of their shard.

        Raises:
            NotInsideError: see `parts_of`.
        """
        parts = parts_of(path)
        return self._find(parts) or (self._find((*near, *parts)) if near else None)

    def _find(self, parts: tuple[str, ...]) -> Location | None:
        place = self.root
        for number, part in enumerate(parts[:-1], 1):
            place /= part
            if part.endswith(ARCHIVE) and self._is_file(place):
                found = self._members(place).get("/".join(parts[number:]))
                return FilePart(place, *found) if found else None
            if not self._is_folder(place):
                return None
        place /= parts[-1]
        return place if self._is_file(place) else None

    def _is_file(self, place: Path) -> bool:
        try:
            mode = os.lstat(place).st_mode
            if stat.S_ISLNK(mode):
                target = os.path.realpath(place)
                inside = target.startswith(tuple(f"{home}/" for home in self._homes))
                return inside and stat.S_ISREG(os.lstat(target).st_mode)
            return stat.S_ISREG(mode)
        except (OSError, ValueError):
            return False

    def _is_folder(self, place: Path) -> bool:
        known = self._folders.get(place)
        if known is None:
            try:
                known = stat.S_ISDIR(os.lstat(place).st_mode)
            except OSError:
                known = False
            self._folders[place] = known
        return known

    def _members(self, archive: Path) -> dict[str, tuple[int, int]]:
        """Return the members of an archive, as far as it can be read: name -> offset and size."""
        if archive not in self._archives:
            if len(self._archives) >= _ARCHIVES_KEPT:
                del self._archives[next(iter(self._archives))]
            self._archives[archive] = _members_of(archive)
        return self._archives[archive]


def _members_of(archive: Path) -> dict[str, tuple[int, int]]:
    found: dict[str, tuple[int, int]] = {}
    try:
        with tarfile.open(archive, "r:") as tar:
            for member in tar:
                if member.isreg() and not member.issparse():
                    found[member.name.removeprefix("./")] = member.offset_data, member.size
                tar.members = []  # type: ignore[attr-defined]  # else it remembers a thousand bytes of each
    except (tarfile.TarError, OSError, ValueError, EOFError, OverflowError):
        pass
    return found
