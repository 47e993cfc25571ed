"""The door to Pillow for pages: what a model was shown, as small pictures."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import PIL.Image

from train.example import Frames, Image

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_IMAGE_SIDE, _FRAME_SIDE = 480, 240
"""Pixels of the longer side at most."""
_MOST_FRAMES = 8
"""Of a video; more are thinned out evenly, first and last stay."""
_QUALITY = 78
_SAME_COLOUR, _BORDER = 8, 8
"""Steps of 255 that a margin's colour may differ by, and pixels of it that are left around what is in it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Thumbnail:
    """A small picture."""

    jpeg: bytes
    width: int
    height: int
    says: str
    """What it is, e.g. `frame 24, 1.0 s`."""


def thumbnails(medium: Image | Frames) -> Iterator[Thumbnail]:
    """Yield an image, or frames of a video, as small pictures."""
    if isinstance(medium, Image):
        size, inked = medium.size, _without_margins(medium.pixels)
        margins = ", shown without its empty margins" if inked.size < medium.pixels.size else ""
        yield _thumbnail(inked, _IMAGE_SIDE, f"image of {size.width} x {size.height} pixels{margins}")
        return
    for place in _evenly(len(medium.numbers)):
        number = medium.numbers[place]
        time = f", {number / medium.fps:.1f} s" if medium.fps > 0 else ""
        yield _thumbnail(medium.pixels[place], _FRAME_SIDE, f"frame {number:,}{time}")


def _evenly(count: int) -> Sequence[int]:
    """Return which of so many frames are shown."""
    if count <= _MOST_FRAMES:
        return range(count)
    return [round(place * (count - 1) / (_MOST_FRAMES - 1)) for place in range(_MOST_FRAMES)]


def _without_margins(pixels: np.ndarray) -> np.ndarray:
    """Return the part of a picture that is not of one colour, where that is the smaller one: a formula on a page."""
    inked = (np.abs(pixels.astype(np.int16) - pixels[0, 0]) > _SAME_COLOUR).any(axis=2)
    rows, columns = np.flatnonzero(inked.any(axis=1)), np.flatnonzero(inked.any(axis=0))
    if not len(rows):
        return pixels
    top, bottom = max(rows[0] - _BORDER, 0), rows[-1] + 1 + _BORDER
    left, right = max(columns[0] - _BORDER, 0), columns[-1] + 1 + _BORDER
    part = pixels[top:bottom, left:right]
    return np.ascontiguousarray(part) if part.size < pixels.size / 2 else pixels


def _thumbnail(pixels: np.ndarray, side: int, says: str) -> Thumbnail:
    image = PIL.Image.fromarray(pixels)
    image.thumbnail((side, side))
    file = io.BytesIO()
    image.save(file, "JPEG", quality=_QUALITY, optimize=True)
    return Thumbnail(jpeg=file.getvalue(), width=image.width, height=image.height, says=says)
