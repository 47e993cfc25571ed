"""Real images and videos: what is right for each, and why; found out by decoding every one of them to its end.

The facts were measured with Pillow and PyAV and nothing of the pipeline. `test_the_table_is_true` measures them again.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import av
import pytest
from av.error import FFmpegError
from PIL import Image

from pipeline.errors import RowRejected
from pipeline.media.probe import probe

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipeline.media.facts import Kind, MediaFacts
    from pipeline.recipe_spec import Depth

MEDIA = Path(__file__).parents[1] / "data" / "media"


@dataclass(frozen=True)
class Picture:
    """What is right to say of an image: upright size, and Pillow's mode of it."""

    format: str
    width: int
    height: int
    mode: str = "RGB"
    frames: int = 1
    rotation: int = 0
    exif: int | None = None


@dataclass(frozen=True)
class Clip:
    """What is right to say of a video: upright size, and frames that are shown."""

    format: str
    codec: str
    width: int
    height: int
    frames: int
    fps: float
    seconds: float
    mode: str = "yuv420p"
    rotation: int = 0
    audio: bool = False


@dataclass(frozen=True)
class Row:
    """A file as one kind: what is right, what is right when every frame is decoded (how many come, or a code), why."""

    file: str
    kind: Kind
    right: Picture | Clip | str
    whole: int | str
    why: str

    def __str__(self) -> str:
        return f"{self.file}-{self.kind}"


DECODE, KIND = "media.decode", "media.kind"

TABLE = (
    # images
    Row("bmp.bmp", "image", Picture("bmp", 1, 1), 1, "the smallest BMP: a header and one pixel"),
    Row("broken.png", "image", DECODE, DECODE, "begins like a PNG, and goes on with noise"),
    Row("broken_data_stream.png", "image", DECODE, DECODE, "its compressed pixels end early and the file does not"),
    Row("decompression_bomb.gif", "image", "media.bomb", "media.bomb", "44 bytes claim 4,364,696,535 pixels"),
    Row("exif_gps.jpg", "image", Picture("jpeg", 8, 8), 1, "its EXIF holds a place on earth and no orientation"),
    Row(
        "g4_orientation_6.tif", "image", Picture("tiff", 590, 88, "1", 1, 90, 6), 1, "one bit a pixel; 88 x 590 turned"
    ),
    Row("gif.gif", "image", DECODE, DECODE, "a GIF of zero frames: 14 bytes of header and an end"),
    Row(
        "hopper_bad_exif.jpg", "image", Picture("jpeg", 500, 500, "L", 1, 0, 1), 1, "EXIF of odd types costs no picture"
    ),
    Row("hopper_gray.jpg", "image", Picture("jpeg", 128, 128, "L"), 1, "grey"),
    Row("hopper_orientation_2.jpg", "image", Picture("jpeg", 128, 128, "RGB", 1, 0, 2), 1, "mirrored, and not turned"),
    Row("hopper_orientation_6.jpg", "image", Picture("jpeg", 128, 128, "RGB", 1, 90, 6), 1, "turned by a quarter"),
    Row("hopper_orientation_6.webp", "image", Picture("webp", 128, 128, "RGB", 1, 90, 6), 1, "WebP has EXIF as well"),
    Row("hopper_orientation_8.jpg", "image", Picture("jpeg", 128, 128, "RGB", 1, 270, 8), 1, "turned the other way"),
    Row("issue_2811.gif", "image", Picture("gif", 100, 100, "P"), 1, "a GIF of one frame is a still picture"),
    Row("jpeg.jpg", "image", Picture("jpeg", 1, 1, "L"), 1, "the smallest JPEG, with arithmetic coding"),
    Row(
        "mode_16bit.png", "image", Picture("png", 128, 64, "RGBA", 3), 3, "animated, and 2 frames beside the still one"
    ),
    Row("multipage-lastframe.tif", "image", Picture("tiff", 20, 20, "P", 1, 0, 1), 1, "one page, with a palette"),
    Row("no_palette.gif", "image", Picture("gif", 1, 1, "L", 2), 2, "a GIF without palette is grey, as in browsers"),
    Row("orientation_rectangle.jpg", "image", Picture("jpeg", 1, 2, "RGB", 1, 270, 8), 1, "2 x 1, shown as 1 x 2"),
    Row("pigs_in_a_polka.gif", "image", Picture("gif", 314, 273, "P", 30), 30, "an animation is an image as well"),
    Row("pil_sample_cmyk.jpg", "image", Picture("jpeg", 100, 100, "CMYK", 1, 0, 1), 1, "CMYK for printers"),
    Row("png-truncated.png", "image", Picture("png", 1, 1, "RGBA"), 1, "only its end is missing; the pixel is there"),
    Row("tiff_16bit_RGB.tiff", "image", Picture("tiff", 100, 40), 1, "16 bits a colour, which Pillow gives as 8"),
    Row("transparent.png", "image", Picture("png", 200, 150, "RGBA"), 1, "see-through"),
    Row("transparent.webp", "image", Picture("webp", 200, 150, "RGBA"), 1, "see-through"),
    Row("truncated_image.png", "image", DECODE, DECODE, "its bytes end in the middle of the pixels"),
    Row("truncated_jpeg.jpg", "image", DECODE, DECODE, "its bytes end in the middle of the pixels"),
    Row("webp.webp", "image", DECODE, DECODE, "26 bytes claim 11330 x 446 pixels that are not there"),
    Row(
        "xmp_tags_orientation.png", "image", Picture("png", 326, 268, "RGBA", 1, 180, 3), 1, "only its XMP says turned"
    ),
    # videos
    Row("AudioVideoInterleave.avi", "video", DECODE, DECODE, "a header and zero frames"),
    Row("FlashVideo.flv", "video", DECODE, DECODE, "a header and zero frames"),
    Row("av1_video.mkv", "video", Clip("matroska", "av1", 640, 360, 125, 25, 5), 125, "AV1"),
    Row(
        *("bbb_sunflower_QCIF_30fps_h263_noaudio_1f.3gp", "video"),
        *(Clip("3gp", "h263", 176, 144, 1, 30, 1 / 30), 1, "one frame is a video"),
    ),
    Row(
        *("big_buck_bunny_432_433.webm", "video"),
        *(Clip("webm", "vp8", 1280, 720, 24, 24, 0.999, audio=True), 24, "WebM counts in milliseconds"),
    ),
    Row(
        *("bigbuckbunny.mp4", "video", Clip("mp4", "h264", 1280, 720, 132, 25, 5.28, audio=True), 132),
        "its sound is longer than its pictures: 5.312 s",
    ),
    Row("bitmap.mp4", "video", Clip("mp4", "h264", 1, 1, 5, 1, 5, "yuv444p"), 5, "one pixel, one frame a second"),
    Row(
        *("chaplin.mp4", "video", Clip("mp4", "h264", 640, 360, 241, 25, 9.64, audio=True), 241),
        "its sound is MP3",
    ),
    Row(
        *("corrupted.mp4", "video", Clip("mp4", "h264", 1280, 720, 50, 10, 5), DECODE),
        "frames begin well and are damaged from the 29th on",
    ),
    Row("decompression_bomb.gif", "video", DECODE, DECODE, "its only frame lies outside of its screen"),
    Row("example_mask.mp4", "video", Clip("mp4", "h264", 200, 200, 300, 30, 10), 300, "plain"),
    Row("fixture-corrupt.mkv", "video", DECODE, DECODE, "its EBML header is damaged"),
    Row("fixture-isom.mp4", "video", DECODE, DECODE, "cut off: `moov`, the index, is not there"),
    Row("fixture-isomv2.mp4", "video", DECODE, DECODE, "cut off after 16 bytes"),
    Row("fixture.3gp", "video", Clip("3gp", "h263", 352, 288, 166, 30, 166 / 30, audio=True), 166, "from a phone"),
    Row(
        "fixture.m4v",
        "video",
        Clip("m4v", "h264", 640, 356, 1, 500 / 21, 0.042, audio=True),
        1,
        "one frame, with sound",
    ),
    Row(
        *("fixture.mkv", "video", Clip("matroska", "h264", 640, 356, 1, 500 / 21, 0.042, audio=True), 1),
        "one frame; its header's 0.092 s are those of the sound",
    ),
    Row(
        *("fixture.mov", "video", Clip("mov", "h264", 268, 156, 5, 60, 5 / 60), 5),
        "of 25 frames an edit list shows 5; the header says 34.88 a second",
    ),
    Row(
        *("fixture.mpg", "video", Clip("mpeg", "mpeg1video", 160, 120, 19, 15, 19 / 15), 19),
        "a bare MPEG-1 stream without times, at rate code 9, which is 15 a second",
    ),
    Row("gif.gif", "video", DECODE, DECODE, "a GIF of zero frames"),
    Row("h264_10bits.mp4", "video", Clip("mp4", "h264", 200, 200, 30, 30, 1, "yuv420p10le"), 30, "10 bits a colour"),
    Row("h265_video.mp4", "video", Clip("mp4", "hevc", 128, 128, 10, 10, 1), 10, "HEVC"),
    Row("hevc_white_frame.mp4", "video", Clip("mp4", "hevc", 640, 480, 1, 25, 0.04), 1, "one frame"),
    Row(
        *("issue_2811.gif", "video", Clip("gif", "gif", 100, 100, 1, 10, 0.1, "bgra"), 1),
        "a GIF of one frame is a video of one frame where a video is asked for",
    ),
    Row(
        *("mode_16bit.png", "video", Clip("apng", "apng", 128, 64, 2, 2 / 1.1, 1.1, "rgba64be"), DECODE),
        "an animated PNG is a video as well; FFmpeg cannot blend its second frame of 16 bits",
    ),
    Row(
        *("nasa_13013.mp4", "video", Clip("mp4", "h264", 480, 270, 390, 30000 / 1001, 13.013, audio=True), 390),
        "of two videos the larger is played by everything that asks FFmpeg for the best, torchcodec too",
    ),
    Row(
        *("no_duration.webm", "video", Clip("webm", "vp9", 1280, 720, 74, 15000 / 1001, 4.938, audio=True), 74),
        "the header knows no length; the frames do",
    ),
    Row("no_palette.gif", "video", DECODE, DECODE, "FFmpeg decodes no GIF without a palette"),
    Row("pigs_in_a_polka.gif", "video", Clip("gif", "gif", 314, 273, 30, 10, 3, "bgra"), 30, "an animation"),
    Row(
        *("rotated_video.mp4", "video"),
        Clip("mp4", "h264", 480, 640, 44, 8.797, 44 / 8.797, rotation=90, audio=True),
        *(44, "stored as 640 x 480, and shown turned by a quarter"),
    ),
    Row(
        *("sample_fragmented.mp4", "video", Clip("mp4", "h264", 1280, 720, 10, 10, 1, audio=True), 10),
        "fragments: its header names no frames",
    ),
    Row(
        *("test_video_66x50.mov", "video", Clip("mov", "h264", 66, 50, 82, 60, 82 / 60), 82),
        "an edit list leaves out 5 of the 87 frames of the header",
    ),
    Row("testvideo-43.avi", "video", Clip("avi", "mpeg4", 1024, 768, 10, 5, 2), 10, "MPEG-4 in AVI"),
    Row(
        *("transparent.webm", "video", Clip("webm", "vp9", 200, 200, 150, 30, 5, audio=True), 150),
        "FFmpeg's own VP9 decoder shows no transparency",
    ),
    Row("unordered.mov", "video", Clip("mov", "h264", 50, 50, 4, 32, 0.125), 4, "frames are stored in another order"),
    Row("video_0.mov", "video", Clip("mov", "h264", 568, 320, 3, 30, 0.1), 3, "not turned"),
    Row(
        *("video_90.mov", "video", Clip("mov", "h264", 320, 568, 3, 30, 0.1, rotation=90), 3),
        "stored as 568 x 320, and shown turned by a quarter",
    ),
    Row(
        *("video_with_undefined_display_aspect_ratio.mp4", "video"),
        Clip("mp4", "h264", 640, 480, 29, 255113 / 29994, 3.409571, audio=True),
        *(29, "a frame is dropped now and then, and the sound comes first"),
    ),
    Row(
        *("video_without_audio_stream.mp4", "video", Clip("mp4", "h264", 640, 480, 44, 8.797, 44 / 8.797), 44),
        "no sound",
    ),
    Row("video_without_video_stream.mp4", "video", "media.no_video", "media.no_video", "sound alone"),
    Row(
        "webm.webm", "video", Clip("webm", "vp8", 8, 8, 1, 1, 1), 1, "one frame of no length; the header says a second"
    ),
    # neither
    Row("zero_bytes.webm", "image", "media.empty", "media.empty", "0 bytes"),
    Row("zero_bytes.webm", "video", "media.empty", "media.empty", "0 bytes"),
)
"""Each file of the folder, as what it is; as the other kind it is refused (`media.kind`) unless that has a row too."""


def answer(source: Path | bytes, kind: Kind, depth: Depth = "decode") -> MediaFacts | str:
    """Return facts, or the code of a rejection."""
    try:
        return probe(source, kind, depth)
    except RowRejected as error:
        return error.code


def found(path: Path, row: Row, depth: Depth = "decode") -> Picture | Clip | str:
    """Return what the probe says, in the words of the table."""
    facts = answer(path, row.kind, depth)
    if isinstance(facts, str):
        return facts
    assert facts.animated == (row.kind == "image" and facts.frames != 1)
    assert facts.width is not None
    assert facts.height is not None
    assert facts.frames is not None
    mode, turned = str(facts.mode), facts.rotation
    if row.kind == "image":
        return Picture(facts.format, facts.width, facts.height, mode, facts.frames, turned, facts.exif_orientation)
    size, times = (facts.width, facts.height), (facts.frames, facts.fps or 0.0, facts.duration or 0.0)
    return Clip(facts.format, str(facts.codec), *size, *times, mode, turned, facts.audio)


def assert_same(left: Picture | Clip | str, right: Picture | Clip | str) -> None:
    """Compare facts, times to 2 ms."""
    if isinstance(left, Clip) and isinstance(right, Clip):
        assert (left.fps, left.seconds) == pytest.approx((right.fps, right.seconds), abs=0.002)
        left = Clip(**{**vars(left), "fps": right.fps, "seconds": right.seconds})
    assert left == right


@pytest.mark.parametrize("row", TABLE, ids=str)
def test_probe_is_right(row: Row) -> None:
    """The probe says what is right, from a path and from bytes."""
    assert_same(found(MEDIA / row.file, row), row.right)
    assert answer((MEDIA / row.file).read_bytes(), row.kind) == answer(MEDIA / row.file, row.kind)


@pytest.mark.parametrize("row", TABLE, ids=str)
def test_every_frame(row: Row) -> None:
    """When every frame is decoded, what is damaged further on is refused too, and all else has the same facts."""
    facts = found(MEDIA / row.file, row, "all_frames")
    if isinstance(row.whole, str):
        assert facts == row.whole
    else:
        assert_same(facts, row.right)
        assert not isinstance(facts, str)
        assert facts.frames == row.whole


def test_table_names_every_file() -> None:
    """Each file of the folder stands in the table, once a kind, and in the README of the folder."""
    files = {path.name for path in MEDIA.iterdir()} - {"README.md"}
    assert {row.file for row in TABLE} == files
    assert len({(row.file, row.kind) for row in TABLE}) == len(TABLE)
    readme = (MEDIA / "README.md").read_text(encoding="utf-8")
    assert all(f"| `{file}` |" in readme for file in files)


@pytest.mark.parametrize("kind", ["image", "video"])
def test_the_other_kind_is_refused(kind: Kind) -> None:
    """A video is no image, nor a still picture a video, whole or damaged."""
    known = {row.file for row in TABLE if row.kind == kind}
    for file in sorted({row.file for row in TABLE} - known):
        assert (file, answer(MEDIA / file, kind)) == (file, KIND)


# what the table says, measured once more without the pipeline


def decoded_pictures(path: Path) -> Iterator[tuple[tuple[int, int], str]]:
    """Yield size and mode of each frame, by Pillow alone."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with Image.open(path) as image:
            for number in range(getattr(image, "n_frames", 1)):
                image.seek(number)
                mode = image.mode
                image.load()
                yield image.size, mode


def decoded_frames(path: Path) -> Iterator[av.VideoFrame]:
    """Yield the frames of the best video stream, by PyAV alone, up to one that is damaged."""
    with av.open(path) as container:
        stream = container.streams.best("video")
        assert stream is not None
        for frame in container.decode(stream):
            if frame.is_corrupt:
                return
            yield frame


def assert_clip(clip: Clip, frames: list[av.VideoFrame]) -> None:
    """Compare a row with decoded frames."""
    sizes = {(frame.width, frame.height) for frame in frames}
    turned = {-frame.rotation % 360 for frame in frames}
    assert turned == {clip.rotation}
    assert sizes == {(clip.width, clip.height) if clip.rotation in (0, 180) else (clip.height, clip.width)}
    assert {frame.format.name for frame in frames} == {clip.mode}
    times = sorted(float(frame.pts * frame.time_base) for frame in frames if frame.pts is not None)
    # a bare stream has made-up times: one frame more or less
    assert times[-1] - times[0] == pytest.approx(clip.seconds, abs=1 / clip.fps + 0.034)
    assert clip.frames / clip.seconds == pytest.approx(clip.fps, rel=0.03)


@pytest.mark.parametrize("row", [row for row in TABLE if isinstance(row.right, Picture | Clip)], ids=str)
def test_the_table_is_true(row: Row) -> None:
    """Decoded to the end by Pillow or PyAV alone, each file gives what the table says, or stops where it says so."""
    path = MEDIA / row.file
    if isinstance(row.right, Picture):
        pictures = list(decoded_pictures(path))
        assert len(pictures) == row.whole == row.right.frames
        size, mode = pictures[0]
        # Pillow turns a TIFF while it loads, and nothing else
        upright = size if row.right.rotation in (0, 180) or path.suffix == ".tif" else size[::-1]
        assert (*upright, mode) == (row.right.width, row.right.height, row.right.mode)
        return
    assert isinstance(row.right, Clip)
    frames: list[av.VideoFrame] = []
    ended = True
    try:
        for frame in decoded_frames(path):
            frames.append(frame)  # noqa: PERF402  (what came before a failure counts)
    except FFmpegError:
        ended = False
    if row.whole == DECODE:
        assert not ended
        assert len(frames) == {"corrupted.mp4": 28, "mode_16bit.png": 1}[row.file]
    else:
        assert ended
        assert len(frames) == row.whole == row.right.frames
        assert_clip(row.right, frames)
