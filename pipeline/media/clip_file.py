"""The file of a clip while it is written: MP4 or Matroska, with nothing of the day or of the program in it."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

import av

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from av.container import OutputContainer

How = Literal["copied", "encoded"]
"""How a stream got into a clip."""
Format = Literal["mp4", "matroska"]
"""What a clip is written as."""
_BITEXACT = 0x0400
"""AVFMT_FLAG_BITEXACT."""


@contextmanager
def clip_file(temporary: Path, format_: Format) -> Iterator[OutputContainer]:
    """Open the file of a clip for writing."""
    # through a file of Python, so that a full disk is an OSError and no fault of the video
    with temporary.open("wb") as file, av.open(file, "w", format=format_) as output:
        output.flags |= _BITEXACT
        yield output
