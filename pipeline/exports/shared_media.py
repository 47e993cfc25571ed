"""The media of an export: each written once, proved by its hash, and linked into the folder of every format.

<out>/media/ab/<sha256>.jpg          the one file
<out>/llava/media/ab/<sha256>.jpg    the same file under a second name
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from collections import OrderedDict
from contextlib import suppress
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from pipeline.errors import RowRejected
from pipeline.media.examiners import Order
from pipeline.media.probe import BLOCK_BYTES, hash_file
from pipeline.workspace import disk_errors, writing

if TYPE_CHECKING:
    from pathlib import Path

    from pipeline.media.examiners import Examiners
    from pipeline.media.facts import MediaFacts
    from pipeline.rows.canonical import Medium

FOLDER = "media"
_REMEMBERED = 100_000
"""Media of which it is remembered that they are whole, and of which the facts are known."""
_NO_LINKS = (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)
"""What systems say that cannot give a file one more name."""


class SharedMedia:
    """The folder that the media of all formats are in."""

    def __init__(self, out: Path, examiners: Examiners) -> None:
        self.folder = out / FOLDER
        self.copied = 0
        """Media that could not be linked and were copied."""
        self.linked = 0
        self.written = 0
        """Media that were not there yet."""
        self._examiners = examiners
        self._whole: OrderedDict[str, None] = OrderedDict()
        self._facts: OrderedDict[str, MediaFacts | RowRejected] = OrderedDict()

    def link(self, medium: Medium, folder: Path, name: str | None = None) -> str:
        """Put a medium into a format's folder; see `Place.media`.

        Raises:
            RowRejected: its bytes are not those that were found before.
            WorkspaceError: the disk is full, read-only or forbidden.
        """
        shared = self._shared(medium)
        wanted = PurePosixPath(name or f"{FOLDER}/{medium.sha256[:2]}/{medium.sha256}{medium.ending}")
        assert not wanted.is_absolute(), wanted
        assert ".." not in wanted.parts, wanted
        number = 1
        while True:
            path = wanted if number == 1 else wanted.with_stem(f"{wanted.stem}-{number}")
            place = folder / path
            with disk_errors(place):
                place.parent.mkdir(parents=True, exist_ok=True)
                if self._put(shared, place) or self._is_same(medium, shared, place):
                    return path.as_posix()
            number += 1

    def facts(self, medium: Medium) -> MediaFacts:
        """Return what a bounded probe says of a medium.

        Raises:
            RowRejected: it cannot be read.
        """
        found = self._facts.get(medium.sha256)
        if found is None:
            order = Order(
                path=self._shared(medium), kind=medium.kind, depth="decode", size=medium.size, sha256=medium.sha256
            )
            found = next(iter(self._examiners.examine([order], advance=lambda _: None))).found
            _remember(self._facts, medium.sha256, found)
        if isinstance(found, RowRejected):
            raise RowRejected(found.code, f"{medium.column}: {found.message}")
        return found

    def remove_unused(self) -> None:
        """Remove the media that no format has a link to; where links are not possible, none."""
        if self.copied or not self.folder.is_dir():
            return
        for place in self.folder.glob("??/*"):
            with disk_errors(place):
                if place.lstat().st_nlink == 1:
                    place.unlink()
        for place in [*self.folder.glob("??"), self.folder]:
            with suppress(OSError):
                place.rmdir()

    def _shared(self, medium: Medium) -> Path:
        """Return the one file of a medium, written if it is not there."""
        path = self.folder.absolute() / medium.sha256[:2] / f"{medium.sha256}{medium.ending}"
        if path.name in self._whole:
            self._whole.move_to_end(path.name)
            return path
        with disk_errors(path):
            known = path.is_file() and hash_file(path) == (medium.sha256, medium.size)
        if not known:
            with writing(path, sync=False) as temporary:
                _write(medium, temporary)
            self.written += 1
        _remember(self._whole, path.name, None)
        return path

    def _put(self, shared: Path, place: Path) -> bool:
        """Give a medium a place, by link or copy; says no when something is there."""
        try:
            os.link(shared, place)
        except FileExistsError:
            return False
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            if place.exists():
                return False
            with writing(place, sync=False) as temporary:
                shutil.copyfile(shared, temporary)
            self.copied += 1
        else:
            self.linked += 1
        return True

    def _is_same(self, medium: Medium, shared: Path, place: Path) -> bool:
        if place.samefile(shared):
            return True
        return place.stat().st_size == medium.size and hash_file(place)[0] == medium.sha256


def _write(medium: Medium, path: Path) -> None:
    """Write a medium piece by piece and prove that it is the one that was found.

    Raises:
        RowRejected: it is another one by now.
    """
    digest = hashlib.sha256()
    with path.open("wb") as file:
        if medium.location is None:
            data = medium.read()
            digest.update(data)
            file.write(data)
        else:
            with medium.location.open("rb", buffering=0) as source:
                while block := source.read(BLOCK_BYTES):
                    digest.update(block)
                    file.write(block)
    if digest.hexdigest() != medium.sha256:
        raise RowRejected("media.changed", f"{medium.column}: its file changed while it was exported")


def _remember(kept: OrderedDict[str, Any], key: str, value: Any) -> None:
    kept[key] = value
    if len(kept) > _REMEMBERED:
        kept.popitem(last=False)
