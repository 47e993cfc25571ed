"""Odd, lying, hostile and damaged videos and sounds: encoded small, or made byte by byte; the same on every run.

What is right for each of them stands in the table of `test_odd_media`.
"""

from __future__ import annotations

import functools
import io
import math
import struct
import zipfile
from fractions import Fraction
from typing import TYPE_CHECKING

import av
import numpy as np
from av.stream import Disposition
from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from av.container import OutputContainer

WIDTH, HEIGHT, RATE = 64, 48, 10
ONE = 1 << 16
"""1 as a 16.16 fixed point number."""
MANY = 1_000_000
KEY = "00112233445566778899aabbccddeeff"


def _frames(count: int, width: int, height: int, mode: str) -> Iterator[av.VideoFrame]:
    columns, rows = np.arange(width), np.arange(height)[:, None]
    for number in range(count):
        pixels = np.zeros((height, width, 3), np.uint8)
        pixels[:, :, 0] = (columns * 3 + number * 9) % 256
        pixels[:, :, 1] = (rows * 5 + number * 5) % 256
        pixels[:, :, 2] = columns * rows * (number + 1) % 256
        yield av.VideoFrame.from_ndarray(pixels, format="rgb24").reformat(format=mode)


@functools.cache
def video(
    container: str = "mp4",
    codec: str = "libx264",
    *,
    count: int = 10,
    mode: str = "yuv420p",
    options: tuple[tuple[str, str], ...] = (),
    muxer: tuple[tuple[str, str], ...] = (),
    times: tuple[int, ...] = (),
    streams: int = 1,
    sound: str = "",
) -> bytes:
    """Return a video as FFmpeg writes it; `times` are those of the frames, in milliseconds."""
    file = io.BytesIO()
    base = Fraction(1, 1000 if times else RATE)
    with av.open(file, "w", format=container, options=dict(muxer)) as output:
        added = [output.add_stream(codec, rate=RATE) for _ in range(streams)]
        for number, stream in enumerate(added, 1):
            stream.width, stream.height, stream.pix_fmt = WIDTH * number, HEIGHT * number, mode
            stream.codec_context.thread_count = 1
            stream.options = {**({"x265-params": "log-level=none"} if codec == "libx265" else {}), **dict(options)}
            stream.time_base = stream.codec_context.time_base = base
        voice = output.add_stream(sound, rate=44_100, layout="mono") if sound else None
        for stream in added:
            for number, frame in enumerate(_frames(count, stream.width, stream.height, mode)):
                frame.pts, frame.time_base = times[number] if times else number, base
                output.mux(stream.encode(frame))
            output.mux(stream.encode(None))
        if voice is not None:
            _silence(output, voice)
    return file.getvalue()


@functools.cache
def audio(container: str, codec: str, *, cover: bool = False) -> bytes:
    """Return a second of silence, with a picture of the singer or without."""
    file = io.BytesIO()
    with av.open(file, "w", format=container) as output:
        voice = output.add_stream(codec, rate=44_100, layout="mono")
        if cover:
            stream = output.add_stream("mjpeg")
            stream.width, stream.height, stream.pix_fmt = 8, 6, "yuvj420p"
            stream.disposition = Disposition.attached_pic
            packet = av.Packet(still("JPEG", 8, 6))
            packet.stream, packet.pts, packet.dts = stream, 0, 0
            output.mux(packet)
        _silence(output, voice)
    return file.getvalue()


def _silence(output: OutputContainer, voice: av.AudioStream) -> None:
    quiet = av.AudioFrame.from_ndarray(np.zeros((1, 44_100), np.float32), format="fltp", layout="mono")
    quiet.rate, quiet.pts = 44_100, 0
    wanted = voice.codec_context
    resampler = av.AudioResampler(wanted.format.name, "mono", voice.rate, frame_size=wanted.frame_size or 1024)
    for frame in [*resampler.resample(quiet), *resampler.resample(None)]:
        output.mux(voice.encode(frame))
    output.mux(voice.encode(None))


def still(format_: str, width: int = WIDTH, height: int = HEIGHT) -> bytes:
    """Return a picture."""
    file = io.BytesIO()
    Image.new("RGB", (width, height), (9, 99, 199)).save(file, format_)
    return file.getvalue()


def encrypted(codec: str) -> bytes:
    """Return an MP4 with Common Encryption (ISO 23001-7)."""
    muxer = (("encryption_scheme", "cenc-aes-ctr"), ("encryption_key", KEY), ("encryption_kid", KEY))
    return video(codec=codec, muxer=muxer)


def index_first() -> bytes:
    """Return an MP4 whose index stands before the frames, as for the web."""
    return video(muxer=(("moov_size", "2000"),))


def fragmented() -> bytes:
    """Return an MP4 of fragments."""
    return video(muxer=(("movflags", "+frag_keyframe+empty_moov"),), options=(("g", "5"),))


# MP4, box by box


def box(kind: bytes, *parts: bytes) -> bytes:
    """Return a box."""
    body = b"".join(parts)
    return struct.pack(">I", 8 + len(body)) + kind + body


def full(kind: bytes, *parts: bytes, flags: int = 0) -> bytes:
    """Return a box with a version and flags."""
    return box(kind, struct.pack(">I", flags), *parts)


def nested(kind: bytes, depth: int) -> bytes:
    """Return boxes inside of each other."""
    return b"".join(struct.pack(">I", 8 * (depth - level)) + kind for level in range(depth))


@functools.cache
def samples() -> tuple[bytes, tuple[bytes, ...]]:
    """Return the sample entry and the frames of a video, each of which stands for itself."""
    data = video(options=(("g", "1"),))
    place = data.index(b"stsd") + 12
    entry = data[place : place + struct.unpack_from(">I", data, place)[0]]
    with av.open(io.BytesIO(data)) as container:
        return entry, tuple(bytes(packet) for packet in container.demux(video=0) if packet.size)


def entry(kind: bytes, width: int = WIDTH, height: int = HEIGHT) -> bytes:
    """Return a sample entry without anything about its codec."""
    size = struct.pack(">HHIIIH", width, height, 0x480000, 0x480000, 0, 1)
    return box(kind, bytes(6), struct.pack(">H", 1), bytes(16), size, bytes(32), struct.pack(">Hh", 24, -1))


def matrix(a: float, b: float, c: float, d: float) -> bytes:
    """Return a display matrix."""
    turn = [round(number * ONE) for number in (a, b, 0, c, d, 0, 0, 0)]
    return struct.pack(">9i", *turn, 1 << 30)


def angle(degrees: float) -> bytes:
    """Return the display matrix that turns clockwise."""
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return matrix(cosine, sine, -sine, cosine)


def numbers(*values: int) -> bytes:
    """Return big-endian 32 bit numbers."""
    return struct.pack(f">{len(values)}I", *(value & 0xFFFFFFFF for value in values))


def mp4(
    *,
    data: Sequence[bytes] | None = None,
    entry: bytes | None = None,
    times: bytes | None = None,
    sizes: bytes | None = None,
    chunks: bytes | None = None,
    places: Callable[[int], bytes] | None = None,
    edits: bytes = b"",
    turn: bytes = matrix(1, 0, 0, 1),
    seconds: int = 1,
    scale: int = RATE,
    size: tuple[int, int] = (WIDTH, HEIGHT),
    before: bytes = b"",
    inside: bytes = b"",
) -> bytes:
    """Return an MP4 whose tables may be anything; left out, they are right.

    `times`, `sizes`, `chunks`, `places` and `edits` are the bodies of stts, stsz, stsc, stco (given the place of the
    frames) and elst; `seconds` is the length that the headers claim.
    """
    known, frames = samples()
    frames = frames if data is None else tuple(data)
    entry = known if entry is None else entry
    count = len(frames)

    def moov(place: int) -> bytes:
        table = box(
            b"stbl",
            full(b"stsd", numbers(1), entry) if entry else full(b"stsd", numbers(0)),
            full(b"stts", numbers(1, count, 1) if times is None else times),
            full(b"stsz", numbers(0, count, *map(len, frames)) if sizes is None else sizes),
            full(b"stsc", numbers(1, 1, count, 1) if chunks is None else chunks),
            full(b"stco", numbers(1, place) if places is None else places(place)),
        )
        here = box(b"dinf", full(b"dref", numbers(1), full(b"url ", flags=1)))
        media = box(
            b"mdia",
            full(b"mdhd", numbers(0, 0, scale, seconds * scale), struct.pack(">HH", 0x55C4, 0)),
            full(b"hdlr", bytes(4), b"vide", bytes(13)),
            box(b"minf", full(b"vmhd", bytes(8), flags=1), here, table),
        )
        length = seconds * 1000
        track = box(
            b"trak",
            full(b"tkhd", numbers(0, 0, 1, 0, length), bytes(16), turn, numbers(size[0] << 16, size[1] << 16), flags=3),
            box(b"edts", full(b"elst", edits)) if edits else b"",
            media,
        )
        plain = matrix(1, 0, 0, 1)
        movie = full(b"mvhd", numbers(0, 0, 1000, length, ONE), bytes(12), plain, bytes(24), numbers(2))
        return box(b"moov", movie, track, inside)

    start = box(b"ftyp", b"isom", numbers(512), b"isom") + before
    end = len(start) + len(moov(0)) + 8
    return start + moov(end) + box(b"mdat", *frames)


def mp4_of_empty_samples(count: int = MANY) -> bytes:
    """Return an MP4 of ten frames and very many samples of 0 bytes."""
    frames = samples()[1]
    sizes = numbers(0, count, *map(len, frames)) + bytes(4 * (count - len(frames)))
    return mp4(sizes=sizes, chunks=numbers(1, 1, count, 1), times=numbers(1, count, 1))


def mp4_of_one_sample(count: int = 200_000) -> bytes:
    """Return an MP4 whose index names the same frame very many times."""
    frame = samples()[1][0]
    return mp4(
        data=[frame],
        times=numbers(1, count, 1),
        sizes=numbers(len(frame), count),
        chunks=numbers(1, 1, 1, 1),
        places=lambda place: numbers(count) + numbers(place) * count,
    )


def mp4_of_one_chunk(count: int) -> bytes:
    """Return an MP4 whose index claims very many frames of one byte, in 30 bytes."""
    return mp4(sizes=numbers(1, count), chunks=numbers(1, 1, count, 1), times=numbers(1, count, 1))


def edits(*parts: tuple[int, int], claimed: int | None = None) -> bytes:
    """Return an edit list: length in milliseconds, and start in frames."""
    return numbers(len(parts) if claimed is None else claimed) + b"".join(
        numbers(length, start, ONE) for length, start in parts
    )


def damaged(frame: int) -> bytes:
    """Return an MP4 with noise in the middle of a frame."""
    frames = list(samples()[1])
    data = frames[frame]
    middle = len(data) // 2
    frames[frame] = data[:middle] + b"\xa5" * 40 + data[middle + 40 :]
    return mp4(data=frames)


def renamed_encrypted() -> bytes:
    """Return an MP4 whose sample entry says that it is encrypted, and nothing of how."""
    known = samples()[0]
    return mp4(entry=known[:4] + b"encv" + known[8:])


# WebM, element by element


def element(kind: str, *parts: bytes, size: bytes | None = None) -> bytes:
    """Return an element; `size` is what it claims to be."""
    body = b"".join(parts)
    return bytes.fromhex(kind) + (vint(len(body)) if size is None else size) + body


def vint(number: int, width: int = 8) -> bytes:
    """Return a number as EBML has it."""
    return ((1 << 7 * width) | number).to_bytes(width, "big")


def _uint(kind: str, number: int) -> bytes:
    return element(kind, number.to_bytes(8, "big"))


@functools.cache
def vp8() -> tuple[bytes, ...]:
    """Return the frames of a VP8 video."""
    with av.open(io.BytesIO(video("ivf", "libvpx"))) as container:
        return tuple(bytes(packet) for packet in container.demux(video=0) if packet.size)


def block(frame: bytes, time: int = 0, *, lacing: int = 0) -> bytes:
    """Return a frame in its block; `lacing` says how many of them are in one, and how."""
    return element("a3", b"\x81", struct.pack(">hB", time, (0 if time else 0x80) | lacing), frame)


def webm(
    *,
    blocks: bytes | None = None,
    seconds: float | None = 1.0,
    size: tuple[int, int] = (WIDTH, HEIGHT),
    segment: bytes | None = None,
    cluster: bytes | None = None,
    tail: bytes = b"",
    coding: bytes = b"",
) -> bytes:
    """Return a WebM; `segment` and `cluster` are the sizes that these claim, `coding` how its track is encrypted."""
    if blocks is None:
        blocks = b"".join(block(frame, 100 * number) for number, frame in enumerate(vp8()))
    numbers_ = [_uint(*pair) for pair in (("4286", 1), ("42f7", 1), ("42f2", 4), ("42f3", 8), ("4287", 2), ("4285", 2))]
    head = element("1a45dfa3", *numbers_, element("4282", b"webm"))
    length = [] if seconds is None else [element("4489", struct.pack(">d", seconds * 1000))]
    about = element("1549a966", _uint("2ad7b1", 1_000_000), *length, element("4d80", b"x"), element("5741", b"x"))
    picture = element("e0", _uint("b0", size[0]), _uint("ba", size[1]))
    track = element("ae", _uint("d7", 1), _uint("73c5", 1), _uint("83", 1), element("86", b"V_VP8"), picture, coding)
    frames = element("1f43b675", _uint("e7", 0), blocks, size=cluster) if blocks else b""
    return head + element("18538067", about, element("1654ae6b", track), frames, tail, size=segment)


def nested_elements(kind: str, depth: int) -> bytes:
    """Return elements inside of each other."""
    data = b""
    for _ in range(depth):
        data = element(kind, data)
    return data


def encrypted_webm() -> bytes:
    """Return a WebM with encrypted frames, as the W3C has it."""
    settings = element("47e7", _uint("47e8", 1))
    key = element("5035", _uint("47e1", 5), element("47e2", bytes.fromhex(KEY)), settings)
    coding = element("6d80", element("6240", _uint("5031", 0), _uint("5032", 1), _uint("5033", 1), key))
    blocks = [block(b"\x01" + bytes(8) + frame[::-1], 100 * number) for number, frame in enumerate(vp8())]
    return webm(blocks=b"".join(blocks), coding=coding)


def vp8_sized(width: int, height: int) -> bytes:
    """Return a WebM of one frame that claims another size."""
    frame = vp8()[0]
    return webm(blocks=block(frame[:6] + struct.pack("<HH", width, height) + frame[10:]))


# H.264, bit by bit


class _Bits:
    def __init__(self) -> None:
        self.text = ""

    def put(self, *values: int, width: int = 1) -> _Bits:
        """Add numbers of so many bits."""
        self.text += "".join(format(value, f"0{width}b") for value in values)
        return self

    def golomb(self, *values: int) -> _Bits:
        """Add numbers without a sign in Exp-Golomb code."""
        for value in values:
            digits = format(value + 1, "b")
            self.text += "0" * (len(digits) - 1) + digits
        return self

    def unit(self, kind: int) -> bytes:
        """Return it as a NAL unit, with bytes against a start code in it."""
        text = self.text + "1"
        text += "0" * (-len(text) % 8)
        data, zeros = bytearray(), 0
        for byte in int(text, 2).to_bytes(len(text) // 8, "big"):
            if zeros >= 2 and byte <= 3:
                data.append(3)
                zeros = 0
            data.append(byte)
            zeros = 0 if byte else zeros + 1
        return b"\0\0\0\1" + bytes([kind]) + bytes(data)


def h264(width: int, height: int) -> bytes:
    """Return a bare H.264 stream: a key frame that begins, and three that repeat it; of any size."""
    columns, rows = width // 16, height // 16
    sequence = _Bits().put(66, 0xC0, 62, width=8).golomb(0, 0, 0, 0, 1).put(0).golomb(columns - 1, rows - 1)
    picture = _Bits().golomb(0, 0).put(0, 0).golomb(0, 0, 0).put(0, 0, 0).golomb(0, 0, 0).put(0, 0, 0)
    key = _Bits().golomb(0, 7, 0).put(0, width=4).golomb(0).put(0, 0).golomb(0, 3, 0, 0, 0).put(1, 1, 1, 1)
    same = _Bits().golomb(0, 5, 0).put(1, width=4).put(0, 0, 0).golomb(0, columns * rows)
    units = [sequence.put(1, 1, 0, 0).unit(0x67), picture.unit(0x68), key.unit(0x65), *[same.unit(0x41)] * 3]
    return b"".join(units)


# others


def avi(changes: dict[tuple[bytes, int], int]) -> bytes:
    """Return an AVI with other numbers in its headers: (header, place in it) -> number."""
    data = video("avi", "mpeg4")
    for (header, place), number in changes.items():
        at = data.index(header) + 8 + place
        data = data[:at] + struct.pack("<I", number & 0xFFFFFFFF) + data[at + 4 :]
    return data


def jpeg_in_mp4(width: int, height: int) -> bytes:
    """Return an MP4 of JPEGs that claim another size."""
    picture = still("JPEG")
    place = picture.index(b"\xff\xc0") + 5
    frame = picture[:place] + struct.pack(">HH", height, width) + picture[place + 4 :]
    return mp4(entry=entry(b"jpeg"), data=[frame] * 3)


def zipped(*, locked: bool = False) -> bytes:
    """Return a ZIP with a video in it; locked says that it needs a password."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(zipfile.ZipInfo("clip.mp4"), video())
    data = bytearray(file.getvalue())
    if locked:
        data[6] |= 1
        data[data.index(b"PK\1\2") + 8] |= 1
    return bytes(data)
