"""Odd, lying, hostile and damaged media: what comes of each, why, and within which time and memory.

Every probe runs in a process of its own with a limit of memory and time, so that no failure can hurt the machine; that
a build does likewise is proved in `test_examiners`.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import odd_images as images
import odd_videos as videos
import pytest
from odd_images import HUGE, LARGE
from odd_videos import MANY

from pipeline.errors import RowRejected
from pipeline.media.facts import MediaFacts
from pipeline.media.probe import probe

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SECONDS, MEGABYTES = 10, 1024
"""What one probe may take."""
IMPATIENT_SECONDS = 1
"""For those that take minutes: how long they are looked at."""

EXAMINE = """
import json, os, resource, signal, sys, time
from pathlib import Path
from pipeline.errors import RowRejected
from pipeline.media import image, video
from pipeline.media.probe import probe

def answer(path, kind, depth):
    try:
        return probe(Path(path), kind, depth).to_json()
    except RowRejected as error:
        return error.code

for line in sys.stdin:
    *order, seconds, megabytes = json.loads(line)
    out, into = os.pipe()
    before = time.monotonic()
    if not (child := os.fork()):
        resource.setrlimit(resource.RLIMIT_DATA, (megabytes << 20, megabytes << 20))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        signal.alarm(seconds)
        os.write(into, json.dumps(answer(*order)).encode())
        os._exit(0)
    os.close(into)
    with os.fdopen(out, "rb") as pipe:
        found = pipe.read()
    _, status, usage = os.wait4(child, 0)
    ended = {signal.SIGALRM: "media.timeout"}.get(status & 127, f"media.crash by {status}")
    memory = usage.ru_maxrss >> (20 if sys.platform == "darwin" else 10)
    print(json.dumps([json.loads(found) if found else ended, time.monotonic() - before, memory]), flush=True)
"""
"""A process that imports once, and forks for every medium."""


class Examiner:
    """Probes in processes of their own, and says what each took."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "medium"
        self.process = subprocess.Popen(
            [sys.executable, "-c", EXAMINE],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            cwd=Path(__file__).parents[2],
        )

    def examine(self, data: bytes, kind: str, depth: str, seconds: int) -> dict[str, Any] | str:
        """Return facts or a code; fails when it took more than it may."""
        self.path.write_bytes(data)
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(json.dumps([str(self.path), kind, depth, seconds, MEGABYTES]), file=self.process.stdin, flush=True)
        found, took, memory = json.loads(self.process.stdout.readline())
        assert took < SECONDS
        assert memory < MEGABYTES
        answer: dict[str, Any] | str = found
        return answer


@pytest.fixture(scope="module")
def examiner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Examiner]:
    """Give one examiner for all tests of a process."""
    examiner = Examiner(tmp_path_factory.mktemp("odd"))
    yield examiner
    examiner.process.kill()
    examiner.process.communicate()


@dataclass(frozen=True)
class Odd:
    """A medium: what comes of it, what comes of it when every frame is decoded (None: the same), and why."""

    name: str
    make: Callable[[], bytes]
    right: dict[str, Any] | str
    why: str
    whole: dict[str, Any] | str | None = None

    def __str__(self) -> str:
        return self.name


def picture(format_: str, width: int = 64, height: int = 48, mode: str = "RGB", **more: Any) -> dict[str, Any]:
    """Return the facts of an image; `exif` is its orientation."""
    facts = {"frames": 1, **more, "exif_orientation": more.pop("exif", None)}
    facts.pop("exif", None)
    facts["animated"] = facts["frames"] > 1
    return {"format": format_, "width": width, "height": height, "mode": mode, **facts}


def clip(container: str = "mp4", codec: str = "h264", **more: Any) -> dict[str, Any]:
    """Return the facts of a video; those not named are of ten frames in a second."""
    plain = {"width": 64, "height": 48, "frames": 10, "fps": 10.0, "duration": 1.0, "mode": "yuv420p"}
    return {"format": container, "codec": codec, **plain, **more}


EMPTY, KIND, DECODE, BOMB = "media.empty", "media.kind", "media.decode", "media.bomb"
MEMORY, TIMEOUT, NO_VIDEO, ENCRYPTED = "media.memory", "media.timeout", "media.no_video", "media.encrypted"

TEXTS = {
    "html": b"<!DOCTYPE html>\n<html><head><title>404 Not Found</title></head><body>not found</body></html>\n",
    "xml": b'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>AccessDenied</Code></Error>\n',
    "json": b'{"error": "rate limit exceeded"}\n',
    "git-lfs": b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 1234567\n",
    "svg": b'<svg xmlns="http://www.w3.org/2000/svg" width="8" height="6"><rect width="8" height="6"/></svg>',
    "pdf": b"%PDF-1.4\n" + b"x" * 1000,
    "one byte": b"x",
    "zeros": bytes(10_000),
    "ones": b"\xff" * 10_000,
}
"""What is neither: what a failed download leaves, pointers, and noise."""

G8X6 = picture("gif", 8, 6, "P")
P8X6 = picture("png", 8, 6)
JPEG, LARGE_JPEG = picture("jpeg"), picture("jpeg", LARGE, LARGE)
LARGER_2000 = picture("jpeg2000", 6400, 4800)
GREY = picture("tiff", 8, 6, "L")

IMAGES = (
    # zero frames
    Odd("gif without frames", lambda: images.gif(frames=0), DECODE, "a header, and no picture"),
    Odd("gif of comments", images.gif_of_comments, DECODE, "100,000 comments, and no picture"),
    Odd("png without pixels", lambda: images.header(8, 6) + images.chunk(b"IEND"), DECODE, "a header, and no picture"),
    Odd("apng of 0 frames", lambda: images.apng(1, 0), P8X6, "a still picture that claims an animation of none"),
    Odd("webp without frames", lambda: images.webp(0), DECODE, "a canvas, and no picture"),
    Odd("tiff without pages", lambda: b"II*\0" + bytes(4), DECODE, "a header, and no page"),
    Odd("ico without pictures", images.ico, DECODE, "a header, and no picture"),
    Odd("jpeg of two marks", lambda: b"\xff\xd8\xff\xd9", DECODE, "begins and ends"),
    # headers that lie
    Odd("png larger", lambda: images.png((80, 60)), DECODE, "the header claims more than there is"),
    Odd("png taller", lambda: images.png((8, 60)), DECODE, "Pillow would leave the rows black that are not there"),
    Odd("png of one more row", lambda: images.png((8, 7)), DECODE, "likewise"),
    Odd("png smaller", lambda: images.png((4, 3)), DECODE, "rows would be read at wrong places"),
    Odd("png of 0 columns", lambda: images.png((0, 6)), DECODE, "no picture has none"),
    Odd("png with a wrong sum", images.png_with_wrong_sum, DECODE, "its pixels are not those that were written"),
    Odd("png with other pixels", images.png_with_damaged_pixels, DECODE, "likewise, and they decode"),
    Odd(
        "apng of a million", lambda: images.apng(3, MANY), {**P8X6, "frames": 3, "animated": True}, "frames are counted"
    ),
    Odd("apng of fewer", lambda: images.apng(5, 2), {**P8X6, "frames": 2, "animated": True}, "no more are ever shown"),
    Odd(
        "jpeg taller", lambda: images.jpeg_sized(height=480), picture("jpeg", 64, 480), "every decoder fills up in grey"
    ),
    Odd("jpeg wider", lambda: images.jpeg_sized(640), picture("jpeg", 640), "likewise"),
    Odd("jpeg shorter", lambda: images.jpeg_sized(height=16), picture("jpeg", 64, 16), "the rest is never shown"),
    Odd("jpeg of 0 rows", lambda: images.jpeg_sized(height=0), DECODE, "no picture has none"),
    Odd("gif screen larger", lambda: images.gif(800, 600), picture("gif", 800, 600, "P"), "the screen is the picture"),
    Odd("gif frame larger", lambda: images.gif(8, 6, 1, (80, 60)), DECODE, "pixels are missing"),
    Odd("gif of 0 pixels", lambda: images.gif(0, 0), picture("gif", 1, 1, "P"), "the screen grows with its frames"),
    Odd("webp larger", lambda: images.webp_sized(6400, 4800), DECODE, "pixels are missing"),
    Odd("bmp larger", lambda: images.bmp_sized(640, 480), DECODE, "pixels are missing"),
    Odd("bmp upside down", lambda: images.bmp_sized(64, -48), picture("bmp"), "a negative height says so"),
    Odd("bmp of -64 columns", lambda: images.bmp_sized(-64, 48), BOMB, "read as 4,294,967,232"),
    Odd("tiff larger", lambda: images.tiff(80, 60), DECODE, "pixels are missing"),
    Odd("tiff of 4 GB", lambda: images.tiff(bytes=0xFFFFFFFF), GREY, "only the pixels that a page needs are read"),
    Odd("tiff elsewhere", lambda: images.tiff(offset=0xFFFFFFF0), DECODE, "its pixels lie behind its end"),
    Odd("ppm negative", lambda: b"P6 -2 1 255\n" + bytes(6), DECODE, "no picture has fewer than none"),
    Odd(
        "jpeg 2000 header",
        lambda: images.jpeg2000_sized(6400, 4800),
        LARGER_2000,
        "OpenJPEG leaves black what is missing",
    ),
    Odd(
        "avif scaled", lambda: images.avif_sized(32, 24), picture("avif", 32, 24), "AVIF scales to what the header says"
    ),
    Odd("ico small", lambda: images.ico(images.saved("PNG")), picture("ico"), "the size of the PNG in it counts"),
    # bombs
    Odd("png 60000", lambda: images.png((HUGE, HUGE)), BOMB, "3,600,000,000 pixels"),
    Odd("png 2**31", lambda: images.png((2**31 - 1, 2**31 - 1)), BOMB, "as large as a PNG can claim"),
    Odd("png inflates", lambda: images.png(data=images.bomb(256)), P8X6, "what lies behind the pixels is never read"),
    Odd(
        "png 13000",
        lambda: images.header(LARGE, LARGE, 1, 0) + images.chunk(b"IDAT", images.bomb(21)) + images.chunk(b"IEND"),
        picture("png", LARGE, LARGE, "1"),
        "large, and honest: 169,000,000 black pixels in 93 kB",
    ),
    *(
        Odd(
            f"png {name}",
            lambda data=data: images.png(before=data),
            DECODE,
            "256 MB of text, which Pillow does not open",
        )
        for name, data in {
            "zTXt": images.chunk(b"zTXt", b"Comment\0\0" + images.bomb(256)),
            "iTXt": images.chunk(b"iTXt", b"Comment\0\1\0\0\0" + images.bomb(256)),
            "iCCP": images.chunk(b"iCCP", b"icc\0\0" + images.bomb(256)),
        }.items()
    ),
    Odd(
        "png of 50,000 texts",
        lambda: images.png(before=b"".join(images.chunk(b"tEXt", b"K%d\0v" % number) for number in range(50_000))),
        *(P8X6, "texts are of no interest"),
    ),
    Odd("png chunk of 2 GB", lambda: images.header(8, 6) + b"\x7f\xff\xff\xfftEXtx", DECODE, "it is not there"),
    Odd("gif 65535", lambda: images.gif(65535, 65535), BOMB, "4,294,836,225 pixels in 43 bytes"),
    Odd("gif frame 65535", lambda: images.gif(1, 1, 1, (65535, 65535)), BOMB, "likewise, in a frame"),
    Odd("gif 13000", lambda: images.gif(LARGE, LARGE), picture("gif", LARGE, LARGE, "P"), "169 MB are allowed"),
    Odd("gif 13000 x 3", lambda: images.gif(LARGE, LARGE, 3), picture("gif", LARGE, LARGE, "P", frames=3), "", MEMORY),
    Odd("gif of 30,000", lambda: images.gif(1, 1, 30_000), picture("gif", 1, 1, "P", frames=30_000), "all are counted"),
    Odd(
        *("gif of 5000 x 5000 x 10,000", lambda: images.gif(5000, 5000, 10_000)),
        picture("gif", 5000, 5000, "P", frames=10_000),
        *("counted at once; to draw them all takes minutes", TIMEOUT),
    ),
    Odd("apng of 20,000", lambda: images.apng(20_000, 20_000), {**P8X6, "frames": 20_000, "animated": True}, "counted"),
    Odd(
        *("apng of 4000 x 4000 x 2,000", lambda: images.apng(2000, 2000, (4000, 4000))),
        picture("png", 4000, 4000, frames=2000),
        *("counted at once; to draw them all takes minutes", TIMEOUT),
    ),
    Odd("webp of 10,000", lambda: images.webp(10_000), picture("webp", 1, 1, frames=10_000), "all are counted"),
    Odd("webp 16383", lambda: images.webp(2, 16383, 16383), BOMB, "as large as a WebP can claim"),
    Odd(
        "webp 13000",
        lambda: images.webp(2, LARGE, LARGE),
        DECODE,
        "its decoder fails without memory for two canvases of 676 MB",
    ),
    Odd("tiff 60000", lambda: images.tiff(HUGE, HUGE), BOMB, "3,600,000,000 pixels"),
    Odd("tiff 13000", lambda: images.tiff(LARGE, LARGE), DECODE, "pixels are missing"),
    Odd(
        "tiff inflates",
        lambda: images.tiff(compression=8, pixels=images.bomb(256)),
        GREY,
        "only its 48 pixels are read",
    ),
    Odd("tiff circle", lambda: images.tiff(next=8), GREY, "its next page is itself, which is one page"),
    Odd(
        "tiff great circle",
        lambda: images.tiff_of_pages(3, last=8),
        {**GREY, "frames": 3, "animated": True},
        "likewise",
    ),
    Odd("tiff of 2,000", lambda: images.tiff_of_pages(2_000), {**GREY, "frames": 2_000, "animated": True}, "counted"),
    Odd("tiff tag of 4 GB", lambda: images.tiff(more={40_000: (1, 0xFFFFFFFF, 8)}), GREY, "a tag nobody needs"),
    Odd("jpeg 65500", lambda: images.jpeg_sized(65500, 65500), BOMB, "as large as a JPEG can claim"),
    Odd("jpeg 13000", lambda: images.jpeg_sized(LARGE, LARGE), LARGE_JPEG, "decoded at an eighth of its size"),
    Odd("jpeg 13000 progressive", lambda: images.jpeg_sized(LARGE, LARGE, progressive=True), LARGE_JPEG, "likewise"),
    Odd("jpeg of 20,000 scans", images.jpeg_of_scans, TIMEOUT, "each scan walks over 2,640,625 blocks"),
    Odd("jpeg 2000 60000", lambda: images.jpeg2000_sized(HUGE, HUGE), BOMB, "3,600,000,000 pixels"),
    Odd(
        "jpeg 2000 13000",
        lambda: images.jpeg2000_sized(LARGE, LARGE),
        DECODE,
        "OpenJPEG fails without memory for 12 bytes a pixel",
    ),
    Odd("avif 60000", lambda: images.avif_sized(HUGE, HUGE), DECODE, "libavif refuses more than 16384 x 16384"),
    Odd("avif 13000", lambda: images.avif_sized(LARGE, LARGE), MEMORY, "scaled up to 169,000,000 pixels, twice"),
    Odd("bmp 60000", lambda: images.bmp_sized(HUGE, HUGE), BOMB, "3,600,000,000 pixels"),
    Odd("ppm 60000", lambda: b"P6 60000 60000 255\n", BOMB, "3,600,000,000 pixels"),
    Odd("ppm of 100,000 digits", lambda: b"P6 " + b"9" * 100_000 + b" 1 255\n", DECODE, "no number is that long"),
    Odd("ico of a bomb", lambda: images.ico(images.png((HUGE, HUGE))), BOMB, "the PNG in it"),
    Odd("ico of an ico", lambda: images.ico(images.ico(images.saved("PNG"))), DECODE, "only PNG and BMP may be in it"),
    Odd("ico of 65,535", images.ico_of_many, picture("ico"), "the largest counts"),
    # many frames
    *(
        Odd(
            f"{name} animation",
            lambda name=name: images.animation(name),
            picture(name.lower(), frames=5, mode=mode),
            "",
        )
        for name, mode in {"GIF": "P", "PNG": "RGB", "WEBP": "RGB", "AVIF": "RGB", "TIFF": "RGB"}.items()
    ),
    Odd("apng cut off", images.apng_cut_off, DECODE, "it ends in its last frame"),
    # modes
    Odd("jpeg cmyk", lambda: images.saved("JPEG", "CMYK"), picture("jpeg", mode="CMYK"), "for printers"),
    Odd("jpeg grey", lambda: images.saved("JPEG", "L"), picture("jpeg", mode="L"), "one channel"),
    Odd("png grey 16 bit", lambda: images.saved("PNG", "I;16"), picture("png", mode="I;16"), "16 bits a pixel"),
    Odd(
        *("png rgb 16 bit", lambda: images.header(8, 6, 16) + images.chunk(b"IDAT", images.rows(8, 6, b"abcdef"))),
        *(P8X6, "Pillow gives 8 of its 16 bits"),
    ),
    Odd(
        "png palette",
        lambda: images.saved("PNG", "P", transparency=3),
        picture("png", mode="P"),
        "one colour see-through",
    ),
    Odd("png grey alpha", lambda: images.saved("PNG", "LA"), picture("png", mode="LA"), "see-through"),
    Odd("png 1 bit", lambda: images.saved("PNG", "1"), picture("png", mode="1"), "black and white"),
    Odd("png rgba", lambda: images.saved("PNG", "RGBA"), picture("png", mode="RGBA"), "see-through"),
    Odd("tiff 1 bit", lambda: images.saved("TIFF", "1", compression="group4"), picture("tiff", mode="1"), "a fax"),
    Odd("tiff cmyk", lambda: images.saved("TIFF", "CMYK"), picture("tiff", mode="CMYK"), "for printers"),
    Odd("tiff lab", lambda: images.saved("TIFF", "LAB"), picture("tiff", mode="LAB"), "colours of another space"),
    Odd("tiff float", lambda: images.saved("TIFF", "F"), picture("tiff", mode="F"), "32 bits a pixel"),
    Odd("tiff jpeg", lambda: images.saved("TIFF", compression="jpeg"), picture("tiff"), "a JPEG in a TIFF"),
    Odd(
        "webp lossless", lambda: images.saved("WEBP", "RGBA", lossless=True), picture("webp"), "nothing is see-through"
    ),
    Odd("jpeg 2000", lambda: images.saved("JPEG2000"), picture("jpeg2000"), ""),
    Odd("ico", lambda: images.saved("ICO"), picture("ico", 48, 36), "Pillow writes sizes that icons have"),
    # EXIF, ICC and what hangs on
    *(
        Odd(f"orientation {number}", lambda number=number: images.turned(number), facts, why)
        for number, facts, why in (
            (0, JPEG, "there is no 0"),
            (1, {**JPEG, "exif_orientation": 1}, "upright"),
            (2, {**JPEG, "exif_orientation": 2}, "mirrored"),
            (3, {**JPEG, "exif_orientation": 3, "rotation": 180}, "upside down"),
            (4, {**JPEG, "exif_orientation": 4, "rotation": 180}, "mirrored and upside down"),
            (5, picture("jpeg", 48, 64, exif=5, rotation=90), "mirrored and turned"),
            (6, picture("jpeg", 48, 64, exif=6, rotation=90), "turned"),
            (7, picture("jpeg", 48, 64, exif=7, rotation=270), "mirrored and turned the other way"),
            (8, picture("jpeg", 48, 64, exif=8, rotation=270), "turned the other way"),
            (9, JPEG, "there is no 9"),
            (65535, JPEG, "there is no 65535"),
        )
    ),
    Odd("png turned", lambda: images.turned(6, "PNG"), picture("png", 48, 64, exif=6, rotation=90), "PNG has EXIF too"),
    Odd("webp turned", lambda: images.turned(6, "WEBP"), picture("webp", 48, 64, exif=6, rotation=90), "WebP too"),
    Odd("avif turned", lambda: images.turned(6, "AVIF"), picture("avif", 48, 64, exif=6, rotation=90), "AVIF too"),
    Odd("tiff turned by 9", lambda: images.tiff(more={274: (3, 1, 9)}), GREY, "there is no 9"),
    Odd("tiff turned by text", lambda: images.tiff(more={274: (2, 4, 0x373736)}), GREY, "no orientation is a text"),
    Odd("exif of noise", lambda: images.saved("JPEG", exif=b"Exif\0\0" + b"\xa5\x5a" * 99), JPEG, "costs no picture"),
    Odd("exif in a circle", lambda: images.saved("JPEG", exif=images.exif_in_a_circle()), JPEG, "costs no picture"),
    Odd(
        "exif of 6 MB", images.jpeg_with_much_exif, picture("jpeg", 48, 64, exif=6, rotation=90), "the first one counts"
    ),
    Odd("png exif of 8 MB", lambda: images.png(before=images.chunk(b"eXIf", b"II*\0" + b"\xff" * (8 << 20))), P8X6, ""),
    Odd("icc of noise", lambda: images.saved("JPEG", icc_profile=b"noise" * 1000), JPEG, "costs no picture"),
    Odd("png icc of noise", lambda: images.png(before=images.chunk(b"iCCP", b"icc\0\0noise")), P8X6, "likewise"),
    Odd("jpeg with a tail", lambda: images.saved("JPEG") + b"tail" * 999, JPEG, "phones hang all sorts of things on"),
    Odd("jpeg twice", lambda: images.saved("JPEG") * 2, JPEG, "the first counts"),
    Odd("jpeg without its end", lambda: images.saved("JPEG")[:-2], DECODE, "it may be cut off"),
    Odd("jpeg ends early", lambda: images.jpeg_changed(0, b"\xff\xd9"), JPEG, "every decoder fills up in grey"),
    Odd("jpeg with noise", lambda: images.jpeg_changed(0, bytes(64)), JPEG, "a JPEG has no sums: nobody can tell"),
    Odd("png with a tail", lambda: images.png() + b"tail" * 999, P8X6, "nobody looks there"),
    Odd("png without its end", lambda: images.png()[:-12], P8X6, "all of its pixels are there, and their sum is right"),
    # other kinds
    *(Odd(f"{name} in an image column", lambda data=data: data, KIND, "no image") for name, data in TEXTS.items()),
    Odd("nothing", lambda: b"", EMPTY, "0 bytes"),
    Odd("mp4 in an image column", videos.video, KIND, "no image"),
    Odd("zip in an image column", videos.zipped, KIND, "no image"),
    Odd(
        "mp3 with a cover", lambda: videos.audio("mp3", "libmp3lame", cover=True), KIND, "a cover makes no image of it"
    ),
)

SWAPPED = {"width": 48, "height": 64}
AVI = clip("avi", "mpeg4")
WEBM = clip("webm", "vp8", duration=0.9)
"""A WebM does not say how long its last frame is shown."""

VIDEOS = (
    # zero frames
    Odd("mp4 without samples", lambda: videos.mp4(data=[]), DECODE, "an index of nothing"),
    Odd("mp4 without a codec", lambda: videos.mp4(entry=b""), DECODE, "nobody knows what its frames are"),
    Odd("mp4 of two boxes", lambda: videos.box(b"ftyp", b"isom", bytes(4)) + videos.box(b"moov"), NO_VIDEO, "no track"),
    Odd("mp4 before its fragments", lambda: videos.fragmented().partition(b"moof")[0][:-4], DECODE, "a header alone"),
    Odd("webm without clusters", lambda: videos.webm(blocks=b""), DECODE, "a header alone"),
    Odd("webm of an empty cluster", lambda: videos.webm(blocks=videos.element("ec")), DECODE, "a cluster of nothing"),
    Odd("webm of empty blocks", lambda: videos.webm(blocks=videos.block(b"") * 5), DECODE, "five frames of 0 bytes"),
    Odd("gif without frames", lambda: images.gif(frames=0), DECODE, "a header, and no picture"),
    # headers that lie
    Odd("mp4 hand-made", videos.mp4, clip(), "its tables are right"),
    Odd("mp4 size", lambda: videos.mp4(size=(6400, 4800)), clip(), "the frames tell their size"),
    Odd("mp4 a day", lambda: videos.mp4(seconds=86_400), clip(), "the frames tell their times"),
    Odd("mp4 of 0 seconds", lambda: videos.mp4(seconds=0), clip(), "likewise"),
    Odd("mp4 more times", lambda: videos.mp4(times=videos.numbers(1, 1000, 1)), clip(), "ten have frames"),
    Odd("mp4 fewer times", lambda: videos.mp4(times=videos.numbers(1, 3, 1)), clip(), "the last one goes on"),
    Odd(
        *("mp4 slow", lambda: videos.mp4(times=videos.numbers(1, 10, 2**31))),
        *(clip(fps=10 / 2**31, duration=float(2**31)), "nothing contradicts 68 years"),
    ),
    Odd(
        "mp4 more sizes",
        lambda: videos.mp4(sizes=videos.numbers(0, 1000, *map(len, videos.samples()[1]), *[100] * 990)),
        *(clip(), "ten have a place"),
    ),
    Odd("mp4 sizes of 2 GB", lambda: videos.mp4(sizes=videos.numbers(0, 10, *[2**31 - 1] * 10)), DECODE, "not there"),
    Odd("mp4 sizes of 50", lambda: videos.mp4(sizes=videos.numbers(50, 10)), DECODE, "no frame is whole"),
    Odd("mp4 places outside", lambda: videos.mp4(places=lambda _: videos.numbers(1, 2**31)), DECODE, "not there"),
    Odd(
        "mp4 places inside", lambda: videos.mp4(places=lambda _: videos.numbers(1, 0)), DECODE, "its header is no frame"
    ),
    Odd("webm an hour", lambda: videos.webm(seconds=3600), WEBM, "the frames tell their times"),
    Odd("webm not a number", lambda: videos.webm(seconds=float("nan")), WEBM, "likewise"),
    Odd("webm endless", lambda: videos.webm(seconds=float("inf")), WEBM, "likewise"),
    Odd("webm of -5 seconds", lambda: videos.webm(seconds=-5), WEBM, "likewise"),
    Odd("webm without length", lambda: videos.webm(seconds=None), WEBM, "likewise"),
    Odd("webm size", lambda: videos.webm(size=(6400, 4800)), WEBM, "the frames tell their size"),
    Odd("webm of 0 x 0", lambda: videos.webm(size=(0, 0)), WEBM, "likewise"),
    Odd("avi a million", lambda: videos.avi({(b"avih", 16): MANY, (b"strh", 32): MANY}), AVI, "frames are counted"),
    Odd("avi of 0 frames", lambda: videos.avi({(b"avih", 16): 0, (b"strh", 32): 0}), AVI, "likewise"),
    Odd("avi size", lambda: videos.avi({(b"strf", 4): 6400, (b"strf", 8): 4800}), AVI, "the frames tell their size"),
    Odd("avi upside down", lambda: videos.avi({(b"strf", 8): -48}), AVI, "likewise"),
    # bombs
    Odd("h264 16384 x 16384", lambda: videos.h264(16384, 16384), DECODE, "more than FFmpeg is allowed to decode"),
    Odd(
        *("h264 16384 x 8192", lambda: videos.h264(16384, 8192)),
        *(DECODE, "as large as allowed, and its pixels are missing"),
    ),
    Odd("vp8 16383 x 16383", lambda: videos.vp8_sized(16383, 16383), DECODE, "more than FFmpeg is allowed to decode"),
    Odd(
        "vp8 11000 x 11000",
        lambda: videos.vp8_sized(11000, 11000),
        {"width": 11000, "height": 11000},
        "FFmpeg fills up",
    ),
    Odd(
        "jpegs 65500 x 65500", lambda: videos.jpeg_in_mp4(65500, 65500), DECODE, "more than FFmpeg is allowed to decode"
    ),
    Odd("jpegs 11000 x 11000", lambda: videos.jpeg_in_mp4(11000, 11000), DECODE, "its pixels are missing"),
    Odd(
        "raw 65535 x 65535", lambda: videos.mp4(entry=videos.entry(b"raw ", 65535, 65535)), DECODE, "pixels are missing"
    ),
    Odd("gif 65535 x 65535", lambda: images.gif(65535, 65535), DECODE, "more than FFmpeg is allowed to decode"),
    Odd("gif 11000 x 11000", lambda: images.gif(11000, 11000, 2), {"width": 11000, "frames": 2}, "484 MB are allowed"),
    Odd("gif of 30,000", lambda: images.gif(1, 1, 30_000), {"frames": 30_000, "duration": 3000.0}, "all are counted"),
    Odd("mp4 of a million empty", videos.mp4_of_empty_samples, clip(), "what has 0 bytes is no frame"),
    Odd(
        *("mp4 of one frame, 200,000 times", videos.mp4_of_one_sample),
        *({"frames": 200_000, "duration": 20_000.0}, "800 kB of index: counted, and too many to decode", TIMEOUT),
    ),
    Odd("mp4 of 4 billion", lambda: videos.mp4_of_one_chunk(2**32 - 1), DECODE, "more than FFmpeg has numbers for"),
    Odd(
        "mp4 of 100 million",
        lambda: videos.mp4_of_one_chunk(100_000_000),
        DECODE,
        "no memory for an index of 2.4 GB from 30 bytes",
    ),
    Odd("mp4 of 5 million", lambda: videos.mp4_of_one_chunk(5_000_000), DECODE, "5 million frames of one byte"),
    Odd("mp4 in wide", lambda: videos.mp4(before=videos.nested(b"wide", 10_000)), clip(), "what is unknown is skipped"),
    Odd("mp4 in moov", lambda: videos.nested(b"moov", 10_000) + videos.mp4(), DECODE, "FFmpeg stops at depth 10"),
    Odd("mp4 with trak in trak", lambda: videos.mp4(inside=videos.nested(b"trak", 10_000)), clip(), "likewise"),
    Odd("mp4 with 50,000 boxes", lambda: videos.mp4(before=videos.box(b"free") * 50_000), clip(), "all are skipped"),
    Odd(
        *("mp4 shown 100 times", lambda: videos.mp4(edits=videos.edits(*[(1000, 0)] * 100))),
        *({"frames": 1000, "duration": 100.0}, "an edit list may repeat"),
    ),
    Odd(
        *("mp4 shown 20,000 times", lambda: videos.mp4(edits=videos.edits(*[(1000, 0)] * 20_000))),
        *({"frames": 200_000, "duration": 20_000.0}, "240 kB of edit list: counted, and too many to decode", TIMEOUT),
    ),
    Odd("mp4 shown past its end", lambda: videos.mp4(edits=videos.edits((1000, 10_000))), DECODE, "nothing is shown"),
    Odd(
        "mp4 of 4 billion edits", lambda: videos.mp4(edits=videos.edits((1000, 0), claimed=2**32 - 1)), clip(), "one is"
    ),
    Odd(
        "mp4 begins late",
        lambda: videos.mp4(edits=videos.edits((1000, -1), (1000, 0))),
        clip(),
        "nothing is shown first",
    ),
    Odd(
        "mp4 shown in half", lambda: videos.mp4(edits=videos.edits((500, 5))), clip(frames=5, duration=0.5), "five are"
    ),
    Odd(
        "webm of 2**56 bytes", lambda: videos.webm(segment=videos.vint(2**56 - 2)), DECODE, "by its own account cut off"
    ),
    Odd("webm of any length", lambda: videos.webm(segment=b"\x01" + b"\xff" * 7), WEBM, "streams do not know theirs"),
    Odd("webm cluster of 2**55", lambda: videos.webm(cluster=videos.vint(2**55)), WEBM, "its frames are there"),
    Odd(
        *(
            "webm block of 2**50",
            lambda: videos.webm(blocks=videos.element("a3", b"\x81\0\0\x80", size=videos.vint(2**50))),
        ),
        *(DECODE, "it is not there"),
    ),
    Odd(
        *("webm lacing", lambda: videos.webm(blocks=videos.block(b"\xff" + bytes(255), lacing=2) * 1000)),
        *(DECODE, "256,000 frames of 0 bytes in 1,000 blocks"),
    ),
    Odd(
        *(
            "webm of nested tags",
            lambda: videos.webm(tail=videos.element("1254c367", videos.nested_elements("67c8", 999))),
        ),
        *(WEBM, "FFmpeg stops at depth 16"),
    ),
    # other kinds
    *(Odd(f"{name} in a video column", lambda data=data: data, KIND, "no video") for name, data in TEXTS.items()),
    *(
        Odd(f"{name} in a video column", lambda name=name: videos.still(name), KIND, "a still picture is no video")
        for name in ("PNG", "JPEG", "WEBP", "AVIF", "TIFF", "BMP", "ICO", "PPM", "JPEG2000")
    ),
    Odd("nothing", lambda: b"", EMPTY, "0 bytes"),
    Odd("zip", videos.zipped, KIND, "a video in an archive is no video"),
    Odd("zip with a password", lambda: videos.zipped(locked=True), KIND, "nor is it with a password"),
    Odd("video behind noise", lambda: b"noise" * 99 + videos.video(), KIND, "it does not begin like a video"),
    Odd("video before noise", lambda: videos.video() + b"noise" * 99, clip(), "what follows is of no interest"),
    # animated images in a video column
    Odd("gif animation", lambda: images.animation("GIF"), clip("gif", "gif", frames=5, duration=0.5, mode="bgra"), ""),
    Odd("gif of one frame", images.gif, {"format": "gif", "frames": 1, "duration": 0.1}, "a video of one frame"),
    Odd("apng animation", lambda: images.apng(3, 3), {"format": "apng", "width": 8, "frames": 3}, ""),
    Odd("webp animation", lambda: images.animation("WEBP"), KIND, "FFmpeg does not decode them"),
    Odd("avif animation", lambda: images.animation("AVIF"), {"format": "avif", "codec": "av1", "frames": 5}, ""),
    Odd("tiff of pages", lambda: images.animation("TIFF"), KIND, "pages are no video"),
    # sound
    *(
        Odd(f"{container} sound", lambda made=(container, codec): videos.audio(*made), NO_VIDEO, "sound alone")
        for container, codec in (
            *(("ipod", "aac"), ("mp3", "libmp3lame"), ("flac", "flac"), ("wav", "pcm_s16le"), ("adts", "aac")),
            *(("ogg", "flac"), ("matroska", "aac"), ("mov", "aac"), ("mpegts", "aac"), ("aiff", "pcm_s16be")),
        )
    ),
    Odd("mp3 with a cover", lambda: videos.audio("mp3", "libmp3lame", cover=True), NO_VIDEO, "a cover is no video"),
    Odd("flac with a cover", lambda: videos.audio("flac", "flac", cover=True), NO_VIDEO, "likewise"),
    Odd("video with sound", lambda: videos.video(sound="aac"), clip(audio=True), ""),
    # encrypted
    Odd("h264 encrypted", lambda: videos.encrypted("libx264"), ENCRYPTED, "nobody can see it"),
    Odd("av1 encrypted", lambda: videos.encrypted("libsvtav1"), ENCRYPTED, "it decodes, to noise"),
    Odd("only says encrypted", videos.renamed_encrypted, DECODE, "nobody knows its codec"),
    Odd("webm encrypted", videos.encrypted_webm, DECODE, "no frame decodes"),
    Odd("unknown codec", lambda: videos.mp4(entry=videos.entry(b"zzzz")), DECODE, "nobody knows it"),
    # time
    Odd("one frame", lambda: videos.video(count=1), clip(frames=1, duration=0.1), "a video of one frame"),
    Odd(
        *("variable rate", lambda: videos.video("matroska", count=5, times=(0, 100, 150, 1000, 3000))),
        *(clip("matroska", frames=5, duration=3.1, fps=5 / 3.1), "the average is told"),
    ),
    # rotation
    *(
        Odd(f"turned by {degrees}", lambda degrees=degrees: videos.mp4(turn=videos.angle(degrees)), facts, why)
        for degrees, facts, why in (
            (0, clip(rotation=0), "upright"),
            (90, clip(rotation=90, **SWAPPED), "a quarter clockwise"),
            (180, clip(rotation=180), "upside down"),
            (270, clip(rotation=270, **SWAPPED), "a quarter the other way"),
            (359, clip(rotation=0), "to the nearest quarter"),
            (30, clip(rotation=0), "to the nearest quarter"),
            (60, clip(rotation=90, **SWAPPED), "to the nearest quarter"),
        )
    ),
    Odd("turned by nothing", lambda: videos.mp4(turn=bytes(36)), clip(rotation=0), "a matrix of zeros has no angle"),
    Odd(
        "turned by too much",
        lambda: videos.mp4(turn=b"\x7f\xff\xff\xff" * 9),
        clip(rotation=0),
        "to the nearest quarter",
    ),
    Odd("mirrored", lambda: videos.mp4(turn=videos.matrix(1, 0, 0, -1)), clip(rotation=0), "as FFmpeg counts"),
    Odd("mirrored and turned", lambda: videos.mp4(turn=videos.matrix(0, 1, 1, 0)), clip(rotation=90, **SWAPPED), ""),
    Odd("stretched", lambda: videos.mp4(turn=videos.matrix(2, 0, 0, 1)), clip(rotation=0), "its pixels count"),
    # streams and pixels
    Odd("two videos", lambda: videos.video(streams=2), clip(), "the one that is marked as default"),
    Odd("hdr", lambda: videos.video(codec="libx265", mode="yuv420p10le"), clip(codec="hevc", mode="yuv420p10le"), ""),
    Odd("grey", lambda: videos.video(codec="mpeg4", mode="yuv420p"), clip(codec="mpeg4"), ""),
    Odd("alpha in mov", lambda: videos.video("mov", "qtrle", mode="argb"), clip("mov", "qtrle", mode="argb"), ""),
    Odd("alpha of pngs", lambda: videos.video("mov", "png", mode="rgba"), clip("mov", "png", mode="rgba"), ""),
    Odd(
        "alpha in webm", lambda: videos.video("webm", "libvpx-vp9", mode="yuva420p"), clip("webm", "vp9"), "not decoded"
    ),
    Odd("lossless", lambda: videos.video("matroska", "ffv1"), clip("matroska", "ffv1"), ""),
    # damage
    Odd("damaged at once", lambda: videos.damaged(0), DECODE, "FFmpeg paints over it, and says so"),
    Odd("damaged later", lambda: videos.damaged(5), clip(), "found when every frame is decoded", DECODE),
)


def run(odd: Odd, kind: Literal["image", "video"], examiner: Examiner) -> None:
    """Probe at both depths and compare with the table."""
    data = odd.make()
    for depth, right in (("decode", odd.right), ("all_frames", odd.right if odd.whole is None else odd.whole)):
        found = examiner.examine(data, kind, depth, IMPATIENT_SECONDS if right == TIMEOUT else SECONDS)
        if isinstance(right, str):
            assert found == right
        else:
            assert isinstance(found, dict), (found, odd.why)
            assert {name: found[name] for name in right} == pytest.approx(right)


@pytest.mark.parametrize("odd", IMAGES, ids=str)
def test_odd_images(odd: Odd, examiner: Examiner) -> None:
    """What is odd in an image column becomes facts that are true, or a reason, in little time and memory."""
    run(odd, "image", examiner)


@pytest.mark.parametrize("odd", VIDEOS, ids=str)
def test_odd_videos(odd: Odd, examiner: Examiner) -> None:
    """What is odd in a video column becomes facts that are true, or a reason, in little time and memory."""
    run(odd, "video", examiner)


@pytest.mark.parametrize(
    ("data", "kind", "right"),
    [
        (images.saved("JPEG"), "image", "jpeg"),
        (images.saved("PNG"), "image", "png"),
        (images.saved("WEBP"), "image", "webp"),
        (images.animation("GIF"), "image", "gif"),
        (images.animation("GIF"), "video", "gif"),
        (videos.video(), "video", "mp4"),
        (videos.webm(), "video", "webm"),
        (images.saved("PNG"), "video", KIND),
        (videos.video(), "image", KIND),
        (videos.zipped(), "video", KIND),
        (TEXTS["html"], "image", KIND),
        (TEXTS["git-lfs"], "video", KIND),
    ],
    ids=lambda value: "" if isinstance(value, bytes) else value,
)
@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.mp4", "a.gif", "a.txt", "a.m3u8", "a", "a.mp4.zip", "%03d.png"])
def test_names_do_not_matter(
    tmp_path: Path, name: str, data: bytes, kind: Literal["image", "video"], right: str
) -> None:
    """What a file is depends on its bytes, and never on its name or extension."""
    path = tmp_path / name
    path.write_bytes(data)
    try:
        found = probe(path, kind).format
    except RowRejected as error:
        found = error.code
    assert found == right


def answer(data: bytes, kind: Literal["image", "video"]) -> MediaFacts | str:
    """Return the facts or the code of some bytes."""
    try:
        return probe(data, kind)
    except RowRejected as error:
        return error.code


CUT_IMAGES = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "PPM", "AVIF", "JPEG2000", "GIF", "ICO")
"""Stills; a cut picture is never taken for a whole one."""


@pytest.mark.parametrize("format_", CUT_IMAGES)
def test_cut_images_are_refused(format_: str) -> None:
    """A still picture that ends too early, wherever that is, is refused; unless only its end mark is missing."""
    data = images.saved(format_)
    whole = probe(data, "image")
    ends = {"PNG": 12 + 4, "GIF": 2, "BMP": 0, "AVIF": 0}.get(format_, 0)
    for tenths in range(1, 100, 7):
        cut = data[: len(data) * tenths // 100]
        found = answer(cut, "image")
        if isinstance(found, MediaFacts):
            assert found == whole
            assert len(cut) >= len(data) - ends
        else:
            assert found in (DECODE, KIND)


CUT_VIDEOS = {
    "mp4": videos.video,
    "mp4 with its index first": videos.index_first,
    "mov": lambda: videos.video("mov"),
    "matroska": lambda: videos.video("matroska"),
    "webm": lambda: videos.video("webm", "libvpx-vp9"),
    "avif": lambda: images.animation("AVIF"),
    "apng": lambda: images.animation("PNG"),
}
"""What says how long it is, or marks where its frames end."""
CUT_STREAMS = {
    "fragmented": videos.fragmented,
    "avi": lambda: videos.video("avi", "mpeg4"),
    "gif": lambda: images.animation("GIF"),
    "mpegts": lambda: videos.video("mpegts"),
    "mpeg": lambda: videos.video("mpeg", "mpeg2video", options=(("strict", "-2"),)),
    "h264": lambda: videos.video("h264"),
    "flv": lambda: videos.video("flv"),
    "asf": lambda: videos.video("asf", "mpeg4"),
}
"""What can be cut between two frames and is whole then, as far as anybody can tell."""


@pytest.mark.parametrize("name", CUT_VIDEOS)
def test_cut_videos_are_refused(name: str) -> None:
    """A video that ends too early by its own account is refused, wherever that is."""
    data = CUT_VIDEOS[name]()
    assert isinstance(answer(data, "video"), MediaFacts)
    for hundredths in range(1, 100, 7):
        assert answer(data[: len(data) * hundredths // 100], "video") in (DECODE, KIND), hundredths


@pytest.mark.parametrize("name", CUT_STREAMS)
def test_cut_streams_tell_what_is_there(name: str) -> None:
    """A stream that may end anywhere has no more frames than are there, or is refused."""
    data = CUT_STREAMS[name]()
    whole = probe(data, "video")
    assert whole.frames is not None
    counts = [0]
    for hundredths in range(1, 100, 7):
        found = answer(data[: len(data) * hundredths // 100], "video")
        if isinstance(found, MediaFacts):
            assert found.frames is not None
            counts.append(found.frames)
            assert (found.width, found.height, found.codec) == (whole.width, whole.height, whole.codec)
        else:
            assert found in (DECODE, KIND)
    assert counts == sorted(counts)
    assert counts[-1] <= whole.frames
