"""Where a medium's bytes are: a file, or a part of one, such as a member that an archive holds as it is.

As text, which is what plans hold and other processes are told, a file is its path, and a part is

    4096+38000:/data/images.zip     38,000 bytes of that file, from byte 4,096 on

Paths of plans are absolute, so that no file is called like a part.
"""

from __future__ import annotations

import errno
import io
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_PART = re.compile(r"([0-9]+)\+([0-9]+):(.+)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class FilePart:
    """Some bytes of a file, used like a `Path` to a file that holds nothing else."""

    path: Path
    offset: int
    size: int

    def __str__(self) -> str:
        return f"{self.offset}+{self.size}:{self.path}"

    def stat(self) -> os.stat_result:
        """Return the status of the file that it is a part of."""
        return self.path.stat()

    def open(self, mode: str = "rb", buffering: int = 0) -> PartReader:
        """Open it for reading, without a buffer."""
        assert (mode, buffering) == ("rb", 0)
        return PartReader(self)

    def read_bytes(self) -> bytes:
        """Return all of it.

        Raises:
            OSError: the file cannot be read, or ends before the part does.
        """
        with self.open() as file:
            data = file.readall()
        if len(data) != self.size:
            raise OSError(errno.EIO, "it ends too early", str(self.path))
        return data


Location: TypeAlias = Path | FilePart
"""Where a medium's bytes are."""


def location_of(text: str) -> Location:
    """Return the location that a text says."""
    part = None if text.startswith("/") else _PART.fullmatch(text)
    return FilePart(Path(part[3]), int(part[1]), int(part[2])) if part else Path(text)


def shown(location: Location) -> str:
    """Return a location in words."""
    if isinstance(location, FilePart):
        return f"{location.path} (in it the {location.size:,} bytes from {location.offset:,} on)"
    return str(location)


def file_of(location: Location) -> Path:
    """Return the file that a location is, or is a part of."""
    return location.path if isinstance(location, FilePart) else location


class PartReader(io.RawIOBase):
    """An open part of a file. It has no name by which FFmpeg could guess what it is."""

    def __init__(self, part: FilePart) -> None:
        super().__init__()
        self._part = part
        self._at = 0
        self._descriptor = os.open(part.path, os.O_RDONLY | os.O_CLOEXEC)

    def readable(self) -> bool:
        """Say yes."""
        return True

    def seekable(self) -> bool:
        """Say yes."""
        return True

    def tell(self) -> int:
        """Return the place that is read next, counted from the start of the part."""
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Go to a place, counted from the start of the part, from here, or from its end."""
        place = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._part.size}[whence]
        if place < 0:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        self._at = place
        return place

    def read(self, size: int | None = -1, /) -> bytes:
        """Return up to so many bytes; none at the end of the part."""
        return self.readall() if size is None or size < 0 else self._read(size)

    def readall(self) -> bytes:
        """Return what is left of the part."""
        pieces = list(iter(lambda: self._read(self._part.size), b""))
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _read(self, size: int) -> bytes:
        data = os.pread(self._descriptor, max(0, min(size, self._part.size - self._at)), self._part.offset + self._at)
        self._at += len(data)
        return data

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Read into a buffer; returns how many bytes, none at the end of the part."""
        view = memoryview(buffer).cast("B")[: max(0, self._part.size - self._at)]
        count = os.preadv(self._descriptor, [view], self._part.offset + self._at)
        self._at += count
        return count

    def close(self) -> None:
        """Close the file."""
        if not self.closed:
            os.close(self._descriptor)
        super().close()
