"""Whether a video stands still: all frames that are compared with the first one show the same picture.

A video that moves is known after a few frames. One that does not is decoded up to MOST_IN_ORDER frames, and beyond
them at some places as far from each other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pipeline.media.opened_video import opened_video

if TYPE_CHECKING:
    from collections.abc import Iterator

    from av.container import InputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

    from pipeline.media.location import Location

LEAST_FRAMES = 8
"""A shorter video has no time to move."""
MOST_IN_ORDER = 480
EVERY = 4
"""Frames from one that is compared to the next."""
_PLACES = 4
"""Places beyond the frames in order."""
_MOST_TO_A_PLACE = 600
"""Frames that are decoded to come to such a place, at the most."""
_CELL, _MOST_CELLS = 8, 64
"""Pixels of a cell on each side, at the least, and cells on each side at the most."""
_MOST_OF_A_CELL, _MOST_ON_AVERAGE = 3, 0.75
"""Greys of 256 by which cells of the same picture differ after x264 at up to crf 30, VP9, MPEG-2 and MJPEG.

A pointer of 5 pixels that moves differs by 24 in its cell; a camera that turns by a pixel in four frames by 17 after
eight of them.
"""


def stands_still(source: Location | bytes, frames: int) -> bool:
    """Tell whether a video of so many frames, which can be decoded, shows one picture all the time."""
    if frames < LEAST_FRAMES:
        return False
    with opened_video(source) as (container, stream):
        first: np.ndarray | None = None
        number = 0
        for number, frame in enumerate(container.decode(stream)):
            if first is None:
                first = _cells(frame)
            elif number % EVERY == 0 or number == frames - 1:
                if not _is_same(first, _cells(frame)):
                    return False
                if number >= MOST_IN_ORDER:
                    break
        if first is None or number < LEAST_FRAMES - 1:
            return False
        return number < MOST_IN_ORDER or all(_is_same(first, _cells(f)) for f in _further(container, stream))


def _further(container: InputContainer, stream: VideoStream) -> Iterator[VideoFrame]:
    """Yield a frame at each of some places, as far as the container's times can be trusted."""
    start, length = stream.start_time or 0, stream.duration or 0
    if not length and container.duration and stream.time_base:
        length = int(container.duration / 1_000_000 / stream.time_base)
    for place in range(1, _PLACES + 1) if length else ():
        time = start + length * place // _PLACES
        container.seek(time, stream=stream)
        last = None
        for number, last in enumerate(container.decode(stream)):
            # what comes out first is the key frame before; at the end none is late enough
            if last.pts is None or last.pts >= time or number >= _MOST_TO_A_PLACE:
                break
        if last is not None:
            yield last


def _cells(frame: VideoFrame) -> np.ndarray:
    columns, rows = (min(_MOST_CELLS, max(1, side // _CELL)) for side in (frame.width, frame.height))
    small = frame.reformat(width=columns, height=rows, format="gray", interpolation="AREA")
    return small.to_ndarray().astype(np.int16)


def _is_same(first: np.ndarray, second: np.ndarray) -> bool:
    if first.shape != second.shape:
        return False
    differences = np.abs(first - second)
    return bool(differences.max() <= _MOST_OF_A_CELL and differences.mean() <= _MOST_ON_AVERAGE)
