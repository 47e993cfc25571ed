"""The door of training to Pillow: images as upright RGB, and frames as pictures of the cache."""

from __future__ import annotations

import io
import warnings
from typing import TYPE_CHECKING, Literal

import numpy as np
from PIL import Image, ImageOps

from pipeline.errors import RowRejected
from pipeline.media.examine import guarded
from pipeline.media.image import FORMATS, MAX_PIXELS

if TYPE_CHECKING:
    from collections.abc import Iterable

Picture = Literal["jpeg", "png"]
"""What frames of the cache are stored as."""

JPEG_QUALITY = 90
_DEEP_GREY = "I;16"
NO_COLOURS = ("I", "F", "LAB", "HSV")
"""Modes of Pillow whose values are no greys or colours of a known range."""
_MARGIN = 2
"""How many times larger than it will be a JPEG is decoded at least, so that nobody sees that it was decoded smaller."""


def check_mode(mode: str | None) -> None:
    """Refuse pictures of which nobody knows what they would look like.

    Raises:
        RowRejected: `media.mode`.
    """
    if mode in NO_COLOURS:
        raise RowRejected("media.mode", f"its values are no greys or colours of a known range (mode {mode})")


def decoded_image(data: bytes, size: tuple[int, int]) -> np.ndarray:
    """Return an image upright as [height, width, 3] of uint8 RGB, of the size (width, height) that it is given.

    What is transparent shows white, as it does on paper; 16 bits of grey become 8. Of an animation it is the first
    frame.

    Raises:
        RowRejected: `media.decode`, `media.memory`, `media.mode`, `media.bomb`.
    """
    found = guarded(lambda: _decoded(data, size))
    if isinstance(found, RowRejected):
        raise found
    pixels: np.ndarray = found
    return pixels


def _decoded(data: bytes, size: tuple[int, int]) -> np.ndarray:
    with warnings.catch_warnings():
        # what Pillow has to say of odd EXIF is of no use here
        warnings.simplefilter("ignore")
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise RowRejected("media.bomb", f"{image.width} x {image.height} pixels")
            if image.format in ("JPEG", "MPO"):
                # whichever way it is turned
                image.draft(None, (_MARGIN * max(size), _MARGIN * max(size)))
            ImageOps.exif_transpose(image, in_place=True)
            picture = _rgb(image)
            picture.load()
    if picture.size != size:
        picture = picture.resize(size, Image.Resampling.BICUBIC)
    # a copy, since what Pillow lends cannot be written to, which torch does not like
    return np.array(picture)


def _rgb(image: Image.Image) -> Image.Image:
    check_mode(image.mode)
    if image.mode.startswith(_DEEP_GREY):
        image = image.convert("I").point(lambda value: value * (1 / 256)).convert("L")
    elif "A" in image.getbands() or "a" in image.getbands() or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image if image.mode == "RGB" else image.convert("RGB")


def encoded_frames(frames: Iterable[np.ndarray], picture: Picture) -> list[bytes]:
    """Return frames as pictures: JPEGs of quality 90, or PNGs, which lose nothing."""
    encoded = []
    for frame in frames:
        buffer = io.BytesIO()
        if picture == "jpeg":
            Image.fromarray(frame).save(buffer, "JPEG", quality=JPEG_QUALITY)
        else:
            Image.fromarray(frame).save(buffer, "PNG", compress_level=1)
        encoded.append(buffer.getvalue())
    return encoded


def decoded_pictures(pictures: Iterable[bytes | memoryview], out: np.ndarray) -> None:
    """Decode pictures that `encoded_frames` made into [frames, height, width, 3] of uint8."""
    for place, data in enumerate(pictures):
        with Image.open(io.BytesIO(data), formats=("JPEG", "PNG")) as image:
            out[place] = np.asarray(image)
