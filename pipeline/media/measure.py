"""Measuring the pixels of an image or a video, in a bounded process."""

from __future__ import annotations

from contextlib import closing
from dataclasses import asdict
from statistics import median
from typing import TYPE_CHECKING, Any

from pipeline.errors import RowRejected
from pipeline.media.examine import guarded
from pipeline.media.location import location_of
from pipeline.media.probe import hash_bytes, hash_file

if TYPE_CHECKING:
    from pipeline.media.facts import Kind
    from pipeline.media.frame_index import FrameIndex
    from pipeline.media.location import Location

MEASURE_VERSION = 1
"""Raised when the same pixels would be measured otherwise, so that old measures are not believed."""
FRAMES = 5
"""Frames of a video that are looked at, in the middles of as many equal parts."""
CHANGED = "changed"
"""The code of a file that is not the one any more whose hash is known."""


def measure(path: str, kind: Kind, what: str, sha256: str, frames: int | None) -> tuple[Any, ...]:
    """Return what is measured of a medium with this hash, or the code and message of why it cannot be.

    `what` is `pixels`: brightness, sharpness and hashes of an image, or of some frames of a video; or `motion`: whether
    a video of so many frames stands still.
    """
    location = location_of(path)
    try:
        source = location.read_bytes() if kind == "image" else location
        found = hash_bytes(source) if isinstance(source, bytes) else hash_file(source)[0]
    except OSError as error:
        return None, CHANGED, f"cannot be read any more: {error.strerror}"
    except MemoryError:
        return None, "media.memory", "reading it takes more memory than is allowed"
    if found != sha256:
        return None, CHANGED, "changed since it was cached"
    if isinstance(source, bytes):
        measured = guarded(lambda: _of_image(source))
    elif what == "motion":
        measured = guarded(lambda: _of_motion(source, frames or 0))
    else:
        measured = guarded(lambda: _of_frames(source))
    return (None, measured.code, measured.message) if isinstance(measured, RowRejected) else (measured, None, None)


def _of_image(data: bytes) -> dict[str, Any]:
    from pipeline.media.image import probe_image
    from pipeline.media.picture_measures import measured_picture

    found: list[dict[str, Any]] = []
    probe_image(data, "decode", seen=lambda image: found.append(asdict(measured_picture(image))))
    return {"brightness": found[0]["brightness"], "sharpness": found[0]["sharpness"], "hashes": [found[0]["hash"]]}


def _of_motion(source: Location, frames: int) -> dict[str, Any]:
    from pipeline.media.standing_still import stands_still

    return {"static": stands_still(source, frames)}


def _of_frames(source: Location) -> dict[str, Any]:
    """Return the medians of some frames, and the hashes of all of them."""
    from pipeline.media.decoded_frames import decoded_frames
    from pipeline.media.picture_measures import measured_picture
    from pipeline.media.read_frame_index import with_index
    from pipeline.media.sample_frames import frames_by_count, upright
    from pipeline.media.span import Span
    from pipeline.media.span_bounds import span_bounds

    def look(index: FrameIndex) -> dict[str, Any]:
        numbers = frames_by_count(index, span_bounds(Span(), index), FRAMES)
        with closing(decoded_frames(source, index, numbers)) as frames:
            found = [measured_picture(upright(frame)) for _, frame in frames]
        sharpness = [one.sharpness for one in found if one.sharpness is not None]
        brightness = [one.brightness for one in found if one.brightness is not None]
        return {
            "brightness": median(brightness) if brightness else None,
            "sharpness": median(sharpness) if sharpness else None,
            "hashes": [one.hash for one in found],
        }

    measured: dict[str, Any] = with_index(source, look)
    return measured
