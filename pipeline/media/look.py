"""Everything that a validation wants to know of one medium, found out inside a bounded process."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipeline.errors import RowRejected
from pipeline.media.examine import guarded
from pipeline.media.probe import hash_file

if TYPE_CHECKING:
    from pipeline.media.facts import Kind, MediaFacts
    from pipeline.media.image import Greys
    from pipeline.media.location import Location
    from pipeline.recipe_spec import Depth


@dataclass(slots=True, kw_only=True)
class Looked:
    """What was found out about a medium."""

    facts: MediaFacts | RowRejected
    sha256: bytes | None = None
    """None: it cannot be read."""
    size: int | None = None
    greys: Greys | None = None
    """What its perceptual hash is made of."""
    stands_still: bool = False


def look_at(source: Location | bytes, kind: Kind, *, full: bool, hashed: bool) -> Looked:
    """Hash and decode a medium: an image, or a video as far as its first frame; where `full`, every frame.

    `hashed`: what the perceptual hash of an image is made of is wanted.
    """
    try:
        if kind == "image" and not isinstance(source, bytes):
            source = source.read_bytes()
        if isinstance(source, bytes):
            sha256, size = hashlib.sha256(source).digest(), len(source)
        else:
            digest, size = hash_file(source)
            sha256 = bytes.fromhex(digest)
    except OSError as error:
        return Looked(facts=RowRejected("media.missing", f"it cannot be read: {error.strerror}"))
    except MemoryError:
        return Looked(facts=RowRejected("media.memory", "reading it takes more memory than is allowed"))
    depth: Depth = "all_frames" if full else "decode"
    if kind == "image" and isinstance(source, bytes):
        facts, greys = _image(source, depth, hashed=hashed)
        return Looked(facts=facts, sha256=sha256, size=size, greys=greys)
    from pipeline.media.standing_still import stands_still
    from pipeline.media.video import probe_video

    facts = guarded(lambda: probe_video(source, depth))
    frames = 0 if isinstance(facts, RowRejected) else facts.frames or 0
    still = frames > 0 and guarded(lambda: stands_still(source, frames)) is True
    return Looked(facts=facts, sha256=sha256, size=size, stands_still=still)


def _image(data: bytes, depth: Depth, *, hashed: bool) -> tuple[MediaFacts | RowRejected, Greys | None]:
    from pipeline.media.image import greys_of, probe_image

    pictures: list[Any] = []

    def keep(picture: Any) -> None:
        if hashed:
            # what has no hash may still be a good picture
            pictures.append(guarded(lambda: greys_of(picture)))

    facts = guarded(lambda: probe_image(data, depth, seen=keep))
    greys = pictures[0] if pictures and not isinstance(facts, RowRejected) else None
    return facts, None if isinstance(greys, RowRejected) else greys
