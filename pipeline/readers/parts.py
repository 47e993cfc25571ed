"""Cutting a large annotation file into parts, which are read beside each other; one that is not new is not read again.

Places are chosen near to equal distances from the start, so that rows added at the end change the last part alone.
Lines of JSON are cut between lines. An array is cut at what stood between its first two records; that this is a border
there too is only a guess, which the reader proves (`PartsDoNotMeetError`).
"""

from __future__ import annotations

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import TYPE_CHECKING

from pipeline.errors import SourceError
from pipeline.readers.json_array import border_of_array
from pipeline.readers.read import detect_format
from pipeline.readers.record import Part
from pipeline.readers.text import is_utf8

if TYPE_CHECKING:
    from pathlib import Path

    from pipeline.readers.record import ReadOptions

PART_BYTES = 8 << 20
"""About how many bytes a part has."""
_LINES = ("jsonl", "webdataset", "folder")
"""Formats whose records are lines of JSON."""
_THREADS = 2
_SEARCHED_BYTES = 1 << 16


def cut_into_parts(path: Path, options: ReadOptions) -> list[Part]:
    """Return the parts of a file, in order; none when it is not worth cutting, or cannot be cut.

    Raises:
        SourceError: the file cannot be read.
    """
    try:
        size = path.stat().st_size
        kind = detect_format(path, options) if is_large(size) and options.runs is None else None
        if kind not in ("json", *_LINES) or not is_utf8(path, options):
            return []
        border = (b"\n", 1) if kind in _LINES else border_of_array(path, options)
        if border is None:
            return []
        with path.open("rb") as file:
            places = _places(file.fileno(), size, *border)
            with ThreadPoolExecutor(_THREADS) as threads:
                told = list(threads.map(lambda piece: _tell(file.fileno(), *piece), pairwise(places)))
    except OSError as error:
        raise SourceError(
            f"{path}: cannot be read: {error.strerror}", hint="check the path and its permissions"
        ) from None
    parts = []
    line = 1
    for (start, end), (sha256, lines) in zip(pairwise(places), told, strict=True):
        parts.append(Part(start=start, end=end, first_line=line, last=end == size, sha256=sha256))
        line += lines
    return parts if len(parts) > 1 else []


def is_large(size: int) -> bool:
    """Tell whether a file of so many bytes is worth cutting."""
    return size >= 2 * PART_BYTES


def is_part(path: Path, part: Part) -> bool:
    """Tell whether a file still has the bytes of a part in their place."""
    with path.open("rb") as file:
        return _tell(file.fileno(), part.start, part.end)[0] == part.sha256


def _places(file: int, size: int, border: bytes, to_next: int) -> list[int]:
    """Return where parts start, and the end of the file."""
    places = [0]
    for near in range(PART_BYTES, size, PART_BYTES):
        if near < places[-1]:
            continue
        place = _find(file, near, min(near + PART_BYTES, size), border)
        if place is not None and place + to_next < size:
            places.append(place + to_next)
    return [*places, size]


def _find(file: int, start: int, end: int, border: bytes) -> int | None:
    """Return where a border is first met behind a place."""
    while start < end:
        data = os.pread(file, _SEARCHED_BYTES + len(border), start)
        found = data.find(border)
        if found >= 0:
            return start + found
        start += _SEARCHED_BYTES
    return None


def _tell(file: int, start: int, end: int) -> tuple[str, int]:
    """Return the hash and the line ends of a part."""
    digest = hashlib.sha256()
    lines = 0
    while start < end and (data := os.pread(file, min(1 << 20, end - start), start)):
        digest.update(data)
        lines += data.count(b"\n")
        start += len(data)
    return digest.hexdigest(), lines
