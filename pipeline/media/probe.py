"""Hash and probe media; opens the doors to Pillow and FFmpeg only when they are needed."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from pipeline.media.facts import MediaFacts

if TYPE_CHECKING:
    from pathlib import Path

    from pipeline.media.facts import Kind
    from pipeline.media.location import Location
    from pipeline.recipe_spec import Depth

BLOCK_BYTES = 1 << 20
PROBE_VERSION = 3
"""Raised when a probe finds out more or other things, so that old facts are not believed."""


def probe(source: Location | bytes, kind: Kind, depth: Depth = "decode") -> MediaFacts:
    """Return the facts of an image or a video; raises RowRejected with a `media.*` code.

    Decoders are not to be trusted with the files of strangers: a build calls this in the processes of `Examiners`.
    """
    if depth == "none":
        return MediaFacts(kind=kind, format="unknown")
    if kind == "image":
        from pipeline.media.image import probe_image

        return probe_image(source, depth)
    from pipeline.media.video import probe_video

    return probe_video(source, depth)


def hash_file(path: Location) -> tuple[str, int]:
    """Return the sha256 and size of a file, or of a part of one."""
    with path.open("rb", buffering=0) as file:
        digest = hashlib.file_digest(file, "sha256")
        return digest.hexdigest(), file.tell()


def hash_bytes(data: bytes) -> str:
    """Return the sha256 of some bytes."""
    return hashlib.sha256(data).hexdigest()


class GrowingHash:
    """The sha256 of a file that is only ever appended to, taken while it grows."""

    def __init__(self, path: Path) -> None:
        self.size = 0
        """Bytes read so far."""
        self._path = path
        self._digest = hashlib.sha256()

    def catch_up(self) -> None:
        """Read what was appended since."""
        with self._path.open("rb", buffering=0) as file:
            file.seek(self.size)
            while block := file.read(BLOCK_BYTES):
                self._digest.update(block)
                self.size += len(block)

    def hexdigest(self) -> str:
        """Return the hash of what was read so far."""
        return self._digest.hexdigest()
