"""The door to Pillow: probe an image and prove that its first frame decodes."""

from __future__ import annotations

import io
import re
import struct
import warnings
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from PIL import ExifTags, Image, UnidentifiedImageError

from pipeline.errors import RowRejected
from pipeline.media.facts import MediaFacts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from PIL.ImageFile import ImageFile

    from pipeline.media.location import Location
    from pipeline.recipe_spec import Depth

MAX_PIXELS = 178_956_970
"""Pillow's own limit for an error, twice `MAX_IMAGE_PIXELS`: a larger picture is a decompression bomb."""
FORMATS = ("JPEG", "PNG", "GIF", "BMP", "PPM", "WEBP", "TIFF", "AVIF", "JPEG2000", "ICO")
"""What is read. Pillow knows more, but some of it is no picture (EPS is a program, run by Ghostscript)."""

_STARTS = re.compile(
    rb"\xff\xd8\xff|\x89PNG\r\n\x1a\n|GIF8[79]a|BM....\0\0\0\0|P[1-6][\s#]|RIFF....WEBP|II\*\0|MM\0\*"
    rb"|....ftypavi[fs]|\0\0\0\x0cjP  |\xff\x4f\xff\x51|\x00\x00\x01\x00",
    re.DOTALL,
)
"""What images of these formats begin with: tells a damaged one from what is none."""
_DAMAGED = (
    *(OSError, SyntaxError, ValueError, TypeError, EOFError, IndexError, KeyError, ArithmeticError, RuntimeError),
    struct.error,
)
"""Pillow's plugins raise all of these on damaged files."""
_PNG_START = 8
_PNG_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_PNG_PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
"""Adam7: first column and row of each pass, and its steps (PNG 3, 8.1)."""

_ROTATIONS = {3: 180, 4: 180, 5: 90, 6: 90, 7: 270, 8: 270}
"""EXIF orientation -> degrees clockwise to show it upright (Exif 2.32, tag 0x0112); mirrored ones are turned alike."""


GREY_SIDE = 64
"""Cells of a picture on each side, whose greys are compared."""
_PIXELS_OF_A_CELL = 2
"""Pixels on each side of a cell that are picked out: enough for the frequencies that are looked at, and for little."""
_PICKED_SIDE = 32
"""Pixels of the picture on each side by which is judged whether it has many greys."""


def probe_image(
    source: Location | bytes, depth: Depth = "decode", *, seen: Callable[[Image.Image], object] | None = None
) -> MediaFacts:
    """Return the facts of an image, looked into as far as `depth` says.

    The first frame is decoded to its end, because a truncated file opens without complaint. A JPEG is decoded at an
    eighth of its size (draft mode): that still reads every code of the stream, two to five times as fast. Full and
    draft mode agreed on each of 900 truncated and damaged JPEGs.

    `seen` is called with the first frame, which is then decoded at its own size.

    Raises:
        RowRejected: `media.missing` (cannot be read), `media.empty`, `media.kind` (no image), `media.bomb`,
            `media.memory`, `media.decode`.
    """
    try:
        data = source if isinstance(source, bytes) else source.read_bytes()
    except OSError as error:
        raise RowRejected("media.missing", f"cannot be read: {error.strerror}") from None
    if not data:
        raise RowRejected("media.empty", "the file has 0 bytes")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with Image.open(io.BytesIO(data), formats=FORMATS) as image:
                return _facts(image, data, depth, seen)
        except UnidentifiedImageError:
            if _STARTS.match(data):
                raise RowRejected("media.decode", "it begins like an image, but its header is damaged") from None
            raise RowRejected(
                "media.kind", f"this is no image of a format that is read: {', '.join(FORMATS)}"
            ) from None
        except Image.DecompressionBombError as error:
            raise RowRejected("media.bomb", str(error)) from None
        except _DAMAGED as error:
            raise RowRejected("media.decode", f"the image does not decode: {error}") from None
        except MemoryError:
            raise RowRejected("media.memory", "decoding it takes more memory than is allowed") from None


def _facts(image: ImageFile, data: bytes, depth: Depth, seen: Callable[[Image.Image], object] | None) -> MediaFacts:
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise RowRejected("media.bomb", f"{width} x {height} pixels; at most {MAX_PIXELS:,} are allowed")
    # a phone's MPO is a JPEG with a preview or a depth map behind it, not an animation
    name = "JPEG" if image.format == "MPO" else image.format or "unknown"
    # GIF and friends decode frame by frame, so count before the first one is loaded
    frames = 1 if image.format == "MPO" else int(getattr(image, "n_frames", 1))
    if name == "PNG":
        frames = min(frames, _frames_of_png(data))
    mode = image.mode
    # loading a TIFF turns it upright and drops the tag
    orientation = _orientation(image) if name == "TIFF" else None
    if depth != "header":
        if name == "JPEG" and seen is None:
            image.draft(None, (1, 1))
        image.load()
        if name == "PNG":
            _check_rows_of_png(image, data)
        if seen is not None:
            seen(image)
    # not earlier: a PNG decodes to look for its EXIF, and would not say a second time that it is damaged
    if name != "TIFF" and (depth != "header" or name != "PNG" or "exif" in image.info):
        orientation = _orientation(image)
    if depth == "all_frames":
        for number in range(1, frames):
            image.seek(number)
            image.load()
    rotation = _ROTATIONS.get(orientation or 1, 0)
    # Pillow shows a TIFF upright by itself, and its size is that of the upright picture
    if rotation in (90, 270) and name != "TIFF":
        width, height = height, width
    return MediaFacts(
        kind="image",
        format=name.lower(),
        width=width,
        height=height,
        rotation=rotation,
        frames=frames,
        mode=mode,
        exif_orientation=orientation,
        animated=frames > 1,
    )


@dataclass(slots=True, kw_only=True)
class Greys:
    """A picture in grey; what is transparent is white."""

    size: tuple[int, int]
    """Pixels of the picture."""
    cells: bytes
    """The greys of GREY_SIDE x GREY_SIDE cells, row by row."""
    picked: bytes
    """The greys of some single pixels, evenly spread: thin strokes are one with their ground in a cell."""


def greys_of(image: Image.Image) -> Greys | None:
    """Return a picture in grey; None: its values are no greys or colours of a known range."""
    if image.mode in ("I", "F"):
        return None
    side, nearest = GREY_SIDE * _PIXELS_OF_A_CELL, Image.Resampling.NEAREST
    grey = _grey(image.resize((side, side), nearest))
    return Greys(
        size=image.size,
        cells=grey.reduce(_PIXELS_OF_A_CELL).tobytes(),
        picked=grey.resize((_PICKED_SIDE, _PICKED_SIDE), nearest).tobytes(),
    )


def grey_picture(image: Image.Image, longest: int) -> tuple[int, bytes] | None:
    """Return a picture in grey with its longer side scaled down to `longest`, as its width and its greys row by row.

    None: its values are no greys or colours of a known range. A smaller picture keeps its size. Every grey is the mean
    of what it covers.
    """
    if image.mode in ("I", "F"):
        return None
    if image.mode in ("L", "LA", "RGB", "RGBA", "CMYK", "YCbCr") and max(image.size) >= 2 * longest:
        # most of the way by whole pixels, so that no large picture is converted as it is
        image = image.reduce(max(image.size) // longest)
    grey = _grey(image)
    scale = longest / max(grey.size)
    if scale < 1:
        width, height = (max(1, round(side * scale)) for side in grey.size)
        grey = grey.resize((width, height), Image.Resampling.BOX)
    return grey.width, grey.tobytes()


def _grey(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16"):
        image = image.convert("I").point(lambda value: value * (1 / 256))
    elif "A" in image.getbands() or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("L")


def _orientation(image: ImageFile) -> int | None:
    """Return the EXIF orientation; damaged EXIF is no reason to lose a picture that decodes."""
    try:
        value = image.getexif().get(ExifTags.Base.Orientation)
    except _DAMAGED:
        return None
    return value if isinstance(value, int) and 1 <= value <= 8 else None


def _chunks_of_png(data: bytes) -> Iterator[tuple[bytes, memoryview]]:
    """Yield the chunks as far as they go: a kind, and the bytes in them; the last may be cut off."""
    view, place = memoryview(data), _PNG_START
    while place + 8 <= len(data):
        size, kind = int.from_bytes(data[place : place + 4], "big"), data[place + 4 : place + 8]
        inside = view[place + 8 : place + 8 + size]
        crc = data[place + 8 + size : place + 12 + size]
        # Pillow skips the sums of what it decodes
        if kind in (b"IDAT", b"fdAT") and (
            len(inside) < size or (len(crc) == 4 and zlib.crc32(inside, zlib.crc32(kind)) != int.from_bytes(crc, "big"))
        ):
            raise RowRejected("media.decode", f"the PNG is damaged or cut off at byte {place:,}")
        yield kind, inside
        place += 12 + size


def _frames_of_png(data: bytes) -> int:
    """Count the frames that are there; Pillow believes the header.

    Raises:
        RowRejected: `media.decode`: bytes of a frame are not those that were written, or are missing.
    """
    frames, alone = 0, False
    for kind, _ in _chunks_of_png(data):
        if kind == b"fcTL":
            frames += 1
        elif kind == b"IDAT" and not frames:
            # the picture for programs that know no animation is no frame of it, but Pillow counts it
            alone = True
    return frames + alone


def _check_rows_of_png(image: ImageFile, data: bytes) -> None:
    """Refuse a PNG with fewer rows in it than its header claims; Pillow leaves the rest black, and says nothing.

    Raises:
        RowRejected: `media.decode`.
    """
    width, height = int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")
    # only where it looks like that is the picture inflated once more; an interlaced one ends with every other row
    if all(any(image.crop((0, row, width, row + 1)).tobytes()) for row in range(max(0, height - 2), height)):
        return
    bits = data[24] * _PNG_CHANNELS.get(data[25], 4)
    missing = 0
    for left, top, across, down in _PNG_PASSES if data[28] else ((0, 0, 1, 1),):
        columns, rows = -(-(width - left) // across), -(-(height - top) // down)
        if columns > 0 and rows > 0:
            missing += rows * (1 + (columns * bits + 7) // 8)
    inflate = zlib.decompressobj()
    try:
        for kind, inside in _chunks_of_png(data):
            piece: bytes | memoryview = inside if kind == b"IDAT" else b""
            while missing > 0 and piece:
                missing -= len(inflate.decompress(piece, 1 << 20))
                piece = inflate.unconsumed_tail
    except zlib.error:
        return  # the stream's own sum is wrong, behind the rows that Pillow has read
    if missing > 0:
        raise RowRejected("media.decode", "the PNG holds fewer rows than its header claims")
