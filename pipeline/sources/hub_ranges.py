"""Parts of files of a hub: what is asked for is what comes, or it is said why not."""

from __future__ import annotations

import io
import re
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.errors import SourceError
from pipeline.sources.hub_client import DamagedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from pipeline.sources.hub_client import Words

AHEAD = 1 << 16
"""Bytes fetched at the least: the end of a Parquet file, which Arrow asks for first, is as long."""
KEPT = 4
"""Parts of a file that are remembered."""
WHOLE = 1 << 20
"""Bytes of a file that is taken from its start where a server gives no parts."""
AGAIN = "it was damaged on the way or has changed meanwhile: run it again; else tell its owner"
_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a file."""

    data: bytes
    total: int | None
    """The bytes of the whole file; None: the server does not say."""


def part_of(
    words: Words, status: int, headers: Mapping[str, str], chunks: Iterable[bytes], wanted: tuple[int, int]
) -> Part:
    """Return what an answer to a request for a part holds, from its start up to its end.

    Raises:
        DamagedError: it is not the part that was asked for, or too short; another attempt may bring it.
        SourceError: the file is shorter, or the server gives no parts.
    """
    start, end = wanted
    at, total = 0, _number(headers.get("Content-Length"))
    if status == 206:
        match = _CONTENT_RANGE.fullmatch(headers.get("Content-Range", "").strip())
        if match is None or int(match[1]) != start:
            raise DamagedError(SourceError(f"{words.repo}: another part of a file came than was asked for", hint=AGAIN))
        at, total = start, _number(match[3])
    elif end > WHOLE:
        raise SourceError(
            f"{words.repo}: the server gives only whole files", hint="`--full` downloads them, and looks at all"
        )
    if total is not None and total < end:
        raise SourceError(f"a file of {words.repo} has {total:,} bytes, and more are listed", hint=AGAIN)
    data = bytearray()
    for chunk in chunks:
        data += chunk
        if at + len(data) >= end:
            break
    if at + len(data) < end:
        came = f"{at + len(data) - start:,} of {end - start:,} bytes"
        raise DamagedError(SourceError(f"{words.repo}: of a part of a file, {came} came", hint=AGAIN))
    return Part(bytes(data[start - at : end - at]), total)


def _number(text: str | None) -> int | None:
    return int(text[:18]) if text and text.isascii() and text.isdigit() else None


class RangeReader(io.RawIOBase):
    """A file of a hub that can be sought in; only what is read is fetched, and a little ahead."""

    def __init__(self, size: int, fetch: Callable[[int, int], Part]) -> None:
        super().__init__()
        self._size = size
        self._fetch = fetch
        self._place = 0
        self._parts: deque[tuple[int, bytes]] = deque(maxlen=KEPT)

    def readable(self) -> bool:
        """Return that it can be read."""
        return True

    def seekable(self) -> bool:
        """Return that it can be sought in."""
        return True

    def tell(self) -> int:
        """Return where the next read begins."""
        return self._place

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to a place."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._size}[whence]
        if base + offset < 0:
            raise ValueError("a place before the start of the file")
        self._place = base + offset
        return self._place

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        """Read into a buffer."""
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def read(self, size: int | None = -1) -> bytes:
        """Return so many bytes, fewer at the end of the file, and all that are left for a negative number."""
        end = self._size if size is None or size < 0 else min(self._place + size, self._size)
        start = self._place
        if start >= end:
            return b""
        self._place = end
        for at, data in self._parts:
            if at <= start and end <= at + len(data):
                return data[start - at : end - at]
        until = min(max(end, start + AHEAD), self._size)
        data = self._fetch(start, until).data
        self._parts.append((start, data))
        return data[: end - start]

    def readall(self) -> bytes:
        """Return all that is left."""
        return self.read()
