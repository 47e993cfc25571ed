"""Odd, lying, hostile and damaged images, made byte by byte: small, and the same on every run.

What is right for each of them stands in the table of `test_odd_media`.
"""

from __future__ import annotations

import functools
import io
import struct
import zlib
from typing import Any

from PIL import Image

WIDTH, HEIGHT = 64, 48
"""Of a picture that says nothing else."""
HUGE = 60_000
"""Pixels a side: far over the limit."""
LARGE = 13_000
"""Pixels a side: just below the limit."""


@functools.cache
def picture(mode: str = "RGB", shift: int = 0) -> Image.Image:
    """Return a picture with something in every corner."""
    texture = bytes(
        (x * 3 + shift if c == 0 else y * 5 if c == 1 else x * y) % 256
        for y in range(HEIGHT)
        for x in range(WIDTH)
        for c in range(3)
    )
    return Image.frombytes("RGB", (WIDTH, HEIGHT), texture).convert(mode)


@functools.cache
def saved(format_: str, mode: str = "RGB", **options: Any) -> bytes:
    """Return the picture as Pillow writes it."""
    file = io.BytesIO()
    picture(mode).save(file, format_, **options)
    return file.getvalue()


@functools.cache
def animation(format_: str, frames: int = 5) -> bytes:
    """Return some different pictures in one file."""
    file = io.BytesIO()
    first, *rest = [picture(shift=20 * number) for number in range(frames)]
    first.save(file, format_, save_all=True, append_images=rest)
    return file.getvalue()


def exif(orientation: int, kind: int = 3) -> bytes:
    """Return EXIF with nothing but an orientation."""
    return b"Exif\0\0II*\0" + struct.pack("<IHHHIII", 8, 1, 0x0112, kind, 1, orientation, 0)


def turned(orientation: int, format_: str = "JPEG") -> bytes:
    """Return a picture with an orientation."""
    return saved(format_, exif=exif(orientation))


@functools.cache
def bomb(megabytes: int) -> bytes:
    """Return zeros, compressed."""
    compress = zlib.compressobj(1)
    zeros = bytes(1 << 20)
    return b"".join([*(compress.compress(zeros) for _ in range(megabytes)), compress.flush()])


# PNG


def chunk(kind: bytes, data: bytes = b"") -> bytes:
    """Return a chunk of a PNG."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def rows(width: int, height: int, pixel: bytes = b"\x50\x60\x70") -> bytes:
    """Return pixels as a PNG has them."""
    return zlib.compress((b"\0" + pixel * width) * height, 9)


def header(width: int, height: int, depth: int = 8, color: int = 2, interlaced: int = 0) -> bytes:
    """Return the first chunk of a PNG and what stands before it."""
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, interlaced))


def png(
    declared: tuple[int, int] = (8, 6), data: bytes | None = None, *, before: bytes = b"", after: bytes = b""
) -> bytes:
    """Return a PNG that holds 8 x 6 pixels, whatever it declares."""
    pixels = chunk(b"IDAT", rows(8, 6) if data is None else data)
    return header(*declared) + before + pixels + after + chunk(b"IEND")


def png_with_wrong_sum() -> bytes:
    """Return a PNG with a wrong checksum of its pixels."""
    data = bytearray(png())
    data[data.index(b"IEND") - 5] ^= 1
    return bytes(data)


def png_with_damaged_pixels() -> bytes:
    """Return a PNG with a changed pixel: stored without compression, it inflates without complaint."""
    stored = zlib.compress((b"\0" + b"\x50\x60\x70" * 8) * 6, 0)
    data = bytearray(png(data=stored))
    data[data.index(b"\x50\x60\x70")] = 0
    return bytes(data)


def apng(frames: int, claimed: int, size: tuple[int, int] = (8, 6)) -> bytes:
    """Return an animated PNG of frames of one pixel, with another number of them in its header."""

    def control(number: int, width: int, height: int) -> bytes:
        return chunk(b"fcTL", struct.pack(">IIIIIHHBB", number, width, height, 0, 0, 1, 10, 0, 0))

    parts = [header(*size), chunk(b"acTL", struct.pack(">II", claimed, 0)), control(0, *size)]
    parts.append(chunk(b"IDAT", rows(*size)))
    one = rows(1, 1)
    for number in range(1, 2 * frames - 1, 2):
        parts += [control(number, 1, 1), chunk(b"fdAT", struct.pack(">I", number + 1) + one)]
    return b"".join([*parts, chunk(b"IEND")])


def apng_cut_off() -> bytes:
    """Return an animated PNG that ends in its last frame."""
    data = animation("PNG")
    return data[: data.rindex(b"fdAT") + 20]


# GIF

GIF_END = b";"


def gif_start(width: int, height: int) -> bytes:
    """Return the header of a GIF with two colours."""
    return b"GIF89a" + struct.pack("<HHBBB", width, height, 0x80, 0, 0) + bytes(6)


def gif(width: int = 8, height: int = 6, frames: int = 1, frame: tuple[int, int] = (1, 1)) -> bytes:
    """Return a GIF of frames that each hold one pixel, whatever size they declare."""
    control = b"\x21\xf9\x04\x04\x0a\0\0\0"
    one = control + b"," + struct.pack("<HHHHB", 0, 0, *frame, 0) + b"\x02\x02\x44\x01\x00"
    return gif_start(width, height) + one * frames + GIF_END


def gif_of_comments() -> bytes:
    """Return a GIF with very many comments and no picture."""
    return gif_start(8, 6) + b"\x21\xfe\x01x\0" * 100_000 + GIF_END


# JPEG


def jpeg_sized(width: int | None = None, height: int | None = None, *, progressive: bool = False) -> bytes:
    """Return a JPEG whose header claims another size."""
    data = saved("JPEG", progressive=progressive)
    place = data.index(b"\xff\xc2" if progressive else b"\xff\xc0") + 5
    size = struct.pack(">HH", HEIGHT if height is None else height, WIDTH if width is None else width)
    return data[:place] + size + data[place + 4 :]


def jpeg_of_scans(count: int = 20_000) -> bytes:
    """Return a large progressive JPEG whose last scan is repeated: each costs a walk over all of its blocks."""
    data = jpeg_sized(LARGE, LARGE, progressive=True)
    scan = data[data.rindex(b"\xff\xda") : -2]
    return data[:-2] + scan[:12] * count + b"\xff\xd9"


def jpeg_changed(place: int, data: bytes) -> bytes:
    """Return a JPEG with other bytes somewhere in its pixels."""
    whole = saved("JPEG")
    middle = len(whole) // 2 + place
    return whole[:middle] + data + whole[middle + len(data) :]


def jpeg_with_much_exif() -> bytes:
    """Return a JPEG with 100 EXIF segments of 64 kB."""
    block = exif(6)
    segment = b"\xff\xe1\xff\xff" + block + bytes(0xFFFF - 2 - len(block))
    data = saved("JPEG")
    return data[:2] + segment * 100 + data[2:]


def exif_in_a_circle() -> bytes:
    """Return EXIF whose directory says that it is inside of itself."""
    return b"Exif\0\0II*\0" + struct.pack("<IHHHIII", 8, 1, 0x8769, 4, 1, 8, 8)


# WebP


def riff(*chunks: tuple[bytes, bytes]) -> bytes:
    """Return a WebP of these chunks."""
    body = b"WEBP" + b"".join(
        kind + struct.pack("<I", len(data)) + data + bytes(len(data) % 2) for kind, data in chunks
    )
    return b"RIFF" + struct.pack("<I", len(body)) + body


def _canvas(width: int, height: int) -> bytes:
    return b"\2\0\0\0" + struct.pack("<I", width - 1)[:3] + struct.pack("<I", height - 1)[:3]


def webp(frames: int, width: int = 1, height: int = 1) -> bytes:
    """Return an animated WebP of frames of one pixel."""
    file = io.BytesIO()
    Image.new("RGB", (1, 1)).save(file, "WEBP", lossless=True)
    frame = bytes(12) + struct.pack("<I", 100)[:3] + b"\0" + file.getvalue()[12:]
    return riff((b"VP8X", _canvas(width, height)), (b"ANIM", bytes(6)), *[(b"ANMF", frame)] * frames)


def webp_sized(width: int, height: int) -> bytes:
    """Return a WebP whose header claims another size."""
    data = saved("WEBP")
    return data[:26] + struct.pack("<HH", width, height) + data[30:]


# TIFF


def tiff(width: int = 8, height: int = 6, **tags: Any) -> bytes:
    """Return a TIFF that holds 48 grey pixels, whatever it declares; `next` is where its next page is."""
    pixels = tags.pop("pixels", bytes(range(48)))
    after = tags.pop("next", 0)
    entries = {
        256: (4, 1, width),
        257: (4, 1, height),
        258: (3, 1, 8),
        259: (3, 1, tags.pop("compression", 1)),
        262: (3, 1, 1),
        277: (3, 1, 1),
        278: (4, 1, height),
        279: (4, 1, tags.pop("bytes", len(pixels))),
        **tags.pop("more", {}),
    }
    place = 8 + 2 + 12 * (len(entries) + 1) + 4
    entries[273] = (4, 1, tags.pop("offset", place))
    assert not tags
    directory = b"".join(struct.pack("<HHII", tag, *entry) for tag, entry in sorted(entries.items()))
    return b"II*\0" + struct.pack("<IH", 8, len(entries)) + directory + struct.pack("<I", after) + pixels


def tiff_of_pages(count: int, *, last: int = 0) -> bytes:
    """Return a TIFF whose pages all show the same pixels; behind the last one stands another or none."""
    one = tiff()
    directory, pixels = one[8:-48], one[-48:]
    end = 8 + count * len(directory)
    place = directory.index(struct.pack("<HHI", 273, 4, 1)) + 8
    pages = []
    for number in range(1, count + 1):
        after = 8 + number * len(directory) if number < count else last
        pages.append(directory[:place] + struct.pack("<I", end) + directory[place + 4 : -4] + struct.pack("<I", after))
    return one[:8] + b"".join(pages) + pixels


# others


def bmp_sized(width: int, height: int) -> bytes:
    """Return a BMP whose header claims another size."""
    data = saved("BMP")
    return data[:18] + struct.pack("<ii", width, height) + data[26:]


def jpeg2000_sized(width: int, height: int) -> bytes:
    """Return a JPEG 2000 whose headers claim another size."""
    data = saved("JPEG2000")
    code, box = data.index(b"\xff\x51") + 6, data.index(b"ihdr") + 4
    data = data[:code] + struct.pack(">II", width, height) + data[code + 8 :]
    return data[:box] + struct.pack(">II", height, width) + data[box + 8 :]


def avif_sized(width: int, height: int) -> bytes:
    """Return an AVIF whose container claims another size."""
    data = saved("AVIF")
    place = data.index(b"ispe") + 8
    return data[:place] + struct.pack(">II", width, height) + data[place + 8 :]


def ico(*pictures: bytes, size: int = 16, count: int | None = None) -> bytes:
    """Return an icon that says all its pictures are of one size."""
    count = len(pictures) if count is None else count
    entries, place = b"", 6 + 16 * count
    for data in pictures:
        entries += struct.pack("<BBBBHHII", size, size, 0, 0, 1, 32, len(data), place)
        place += len(data)
    return struct.pack("<HHH", 0, 1, count) + entries + b"".join(pictures)


def ico_of_many() -> bytes:
    """Return an icon that names one picture 65,535 times."""
    data, count = saved("PNG"), 65_535
    entry = struct.pack("<BBBBHHII", 16, 16, 0, 0, 1, 32, len(data), 6 + 16 * count)
    return struct.pack("<HHH", 0, 1, count) + entry * count + data
