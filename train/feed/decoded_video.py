"""Chosen frames of a video as pixels: decoded with one thread, and nothing converted that is not wanted."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import numpy as np

from pipeline.errors import RowRejected
from pipeline.media.decoded_frames import EXACT, decoded_frames, display_matrix
from pipeline.media.frame_index import MiscountedError
from pipeline.media.opened_video import refusals
from pipeline.media.sample_frames import turns

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from av.video.frame import VideoFrame

    from pipeline.media.frame_index import FrameIndex
    from pipeline.media.location import Location

_TURNED: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    0: lambda pixels: pixels[:, ::-1],
    1: lambda pixels: pixels[::-1],
    2: lambda pixels: np.rot90(pixels, 1),
    4: lambda pixels: np.rot90(pixels, -1),
    5: lambda pixels: pixels.swapaxes(0, 1),
    6: lambda pixels: pixels[::-1, ::-1].swapaxes(0, 1),
}
"""What Pillow's numbers of ways to turn a picture, which `turns` gives, mean for pixels."""
_SIDEWAYS = (2, 4, 5, 6)


def decoded_video(
    source: Location | bytes, index: FrameIndex, numbers: Sequence[int], size: tuple[int, int]
) -> np.ndarray:
    """Return frames upright as [frames, height, width, 3] of uint8 RGB, of the size (width, height) as they are shown.

    Raises:
        RowRejected: `media.decode` (one of them does not come out whole), `frames.miscounted`, `media.missing`,
            `media.memory`.
    """
    width, height = size
    with refusals():
        pixels = np.empty((len(numbers), height, width, 3), np.uint8)
        try:
            with closing(decoded_frames(source, index, numbers)) as frames:
                for place, (_, frame) in enumerate(frames):
                    pixels[place] = _upright(frame, size)
        except MiscountedError:
            what = "other frames come out of it than its packets told of, so that nobody knows which are which"
            raise RowRejected("frames.miscounted", what) from None
    return pixels


def _upright(frame: VideoFrame, size: tuple[int, int]) -> np.ndarray:
    ways = turns(display_matrix(frame))
    width, height = size[::-1] if any(way in _SIDEWAYS for way in ways) else size
    pixels: np.ndarray = frame.to_ndarray(format="rgb24", width=width, height=height, interpolation=EXACT, threads=1)
    for way in ways:
        pixels = _TURNED[way](pixels)
    return pixels
