"""Clips and sampled frames: each frame against what PyAV alone decodes of the source, to the byte or by PSNR."""

from __future__ import annotations

import contextlib
import functools
import io
import itertools
import math
import os
import re
import resource
import subprocess
import sys
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import numpy as np
import odd_videos as videos
import pytest
from av.error import FFmpegError
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageChops, ImageStat

from pipeline.errors import RowRejected, WorkspaceError
from pipeline.media import clips
from pipeline.media.clips import CutClip, Span, cut_clip, sample_frames, spans_of_runs
from pipeline.media.video import probe_video

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

ROOT = Path(__file__).parents[2]
MEDIA = ROOT / "tests" / "data" / "media"
DECIBELS = 35
PACKET = 0.05
"""Seconds: a packet of sound is shorter."""


@dataclass(frozen=True)
class Shown:
    """A frame as PyAV gives it."""

    time: Fraction
    """Seconds since the first one."""
    rotation: int
    pixels: NDArray[Any]


def shown(source: Path | bytes) -> list[Shown]:
    """Return the frames of a video up to one that does not decode, by PyAV alone."""
    file: Any = io.BytesIO(source) if isinstance(source, bytes) else source
    found: list[tuple[Any, int, NDArray[Any]]] = []
    with av.open(file) as container:
        stream: Any = container.streams.best("video")
        bare = container.format.name == "mpegvideo"
        with contextlib.suppress(FFmpegError):
            for number, frame in enumerate(container.decode(stream)):
                time = Fraction(number, 15) if bare else (frame.pts or 0) * Fraction(frame.time_base or 0)
                found.append((time, frame.rotation, frame.to_ndarray()))
    return [Shown(time - found[0][0], turned, pixels) for time, turned, pixels in found]


@functools.cache
def real(name: str) -> list[Shown]:
    """Return the frames of a real video."""
    return shown(MEDIA / name)


def psnr(pairs: list[tuple[NDArray[Any], NDArray[Any]]]) -> tuple[float, float]:
    """Return the likeness of pictures in decibels: that of all of them, and that of the worst."""
    errors = [float(np.mean((one.astype(np.float64) - two.astype(np.float64)) ** 2)) for one, two in pairs]
    peak = 1023 if pairs[0][0].dtype == np.uint16 else 255
    of_all, worst = (10 * math.log10(peak**2 / (error or 1e-9)) for error in (np.mean(errors), max(errors)))
    return of_all, worst


def assert_like(pairs: list[tuple[NDArray[Any], NDArray[Any]]]) -> None:
    """Compare encoded frames with those of the source."""
    of_all, worst = psnr(pairs)
    assert of_all > DECIBELS
    # of a frame of noise, for a few milliseconds
    assert worst > DECIBELS - 5


def seconds_of_sound(path: Path) -> tuple[float, float] | None:
    """Return where the sound of a clip begins and ends."""
    with av.open(path) as container:
        if not container.streams.audio:
            return None
        times = [
            (float(f.time or 0), float(f.time or 0) + f.samples / f.sample_rate) for f in container.decode(audio=0)
        ]
    return times[0][0], times[-1][1]


def assert_shows(clip: Path, cut: CutClip, wanted: list[Shown], *, exact: bool) -> None:
    """Compare every frame of a clip with those that are wanted, and the facts with those of the probe."""
    got = shown(clip)
    assert cut.frames == len(got) == len(wanted)
    assert float(wanted[0].time) == pytest.approx(cut.start, abs=1e-6)
    for one, two in zip(got, wanted, strict=True):
        assert abs(one.time - (two.time - wanted[0].time)) <= Fraction(1, 1000)
        assert one.rotation == two.rotation
        if exact:
            assert np.array_equal(one.pixels, two.pixels)
    if not exact and got[0].pixels.shape == wanted[0].pixels.shape:
        assert_like([(one.pixels, two.pixels) for one, two in zip(got, wanted, strict=True)])
    with av.open(clip) as container:
        assert container.streams.video[0].start_time == 0
    facts = probe_video(clip)
    assert (facts.frames, facts.rotation, facts.format) == (cut.frames, -wanted[0].rotation % 360, cut.format) or (
        facts.format == "webm"
    )
    assert facts.audio == (cut.audio is not None)
    if cut.frames > 1:
        # times of decoding make up the lengths in MP4, and Matroska has none
        longest = max(float(two.time - one.time) for one, two in itertools.pairwise(got))
        slack = 0.002 if cut.how == "encoded" else longest * 2
        assert facts.duration == pytest.approx(cut.end - cut.start, abs=slack)


def attempt(source: Path, span: Span, clip: Path, *, exact: bool = True) -> CutClip | RowRejected:
    """Return what was cut, or why not."""
    try:
        return cut_clip(source, span, clip, exact=exact)
    except RowRejected as refused:
        return refused


def code_of(source: Path, span: Span, folder: Path) -> tuple[str, str]:
    """Return why a clip is refused, and make sure that nothing was written."""
    folder.mkdir(exist_ok=True)
    with pytest.raises(RowRejected) as refused:
        cut_clip(source, span, folder / "clip")
    assert list(folder.iterdir()) == []
    return refused.value.code, refused.value.message


@pytest.fixture
def made(tmp_path: Path) -> Any:
    """Return a function that writes bytes as a file."""

    def write(data: bytes, name: str = "made") -> Path:
        path = tmp_path / name
        path.write_bytes(data)
        return path

    return write


REAL = (
    ("bigbuckbunny.mp4", Span(), "copied", "copied"),
    ("bigbuckbunny.mp4", Span(start=1.6, end=2.2), "encoded", "copied"),
    ("chaplin.mp4", Span(start=Fraction(73, 25), end=4), "encoded", "copied"),
    ("h264_10bits.mp4", Span(first_frame=9, last_frame=24), "encoded", None),
    ("h265_video.mp4", Span(), "copied", None),
    ("h265_video.mp4", Span(start=0.3, end=0.8), "encoded", None),
    ("hevc_white_frame.mp4", Span(), "copied", None),
    ("av1_video.mkv", Span(), "copied", None),
    ("av1_video.mkv", Span(start=1.52, end=2), "encoded", None),
    ("big_buck_bunny_432_433.webm", Span(end=0.999), "copied", "copied"),
    ("big_buck_bunny_432_433.webm", Span(start=0.5), "encoded", "encoded"),
    ("no_duration.webm", Span(start=1, end=1.5), "encoded", "copied"),
    ("transparent.webm", Span(first_frame=128), "copied", "copied"),
    ("nasa_13013.mp4", Span(first_frame=240), "copied", "copied"),
    ("nasa_13013.mp4", Span(first_frame=239, last_frame=260), "encoded", "copied"),
    ("example_mask.mp4", Span(first_frame=250), "copied", None),
    ("rotated_video.mp4", Span(), "copied", "copied"),
    ("rotated_video.mp4", Span(start=2, end=3), "encoded", "copied"),
    ("video_90.mov", Span(first_frame=1), "encoded", None),
    ("sample_fragmented.mp4", Span(first_frame=5, last_frame=8), "copied", "copied"),
    ("sample_fragmented.mp4", Span(first_frame=4, last_frame=8), "encoded", "copied"),
    ("fixture.3gp", Span(start=2, end=3), "encoded", "encoded"),
    ("fixture.mov", Span(), "encoded", None),
    ("test_video_66x50.mov", Span(first_frame=20, last_frame=60), "encoded", None),
    ("fixture.mpg", Span(first_frame=3, last_frame=9), "encoded", None),
    ("testvideo-43.avi", Span(start=0.4, end=1), "encoded", None),
    ("unordered.mov", Span(first_frame=1, last_frame=3), "encoded", None),
    ("video_with_undefined_display_aspect_ratio.mp4", Span(start=1, end=2.7), "encoded", "copied"),
    ("pigs_in_a_polka.gif", Span(start=1, end=2), "encoded", None),
    ("bitmap.mp4", Span(start=1, end=3), "encoded", None),
)


@pytest.mark.parametrize(("name", "span", "how", "audio"), REAL)
def test_real_clips(name: str, span: Span, how: str, audio: str | None, tmp_path: Path) -> None:
    """A clip of a real video shows the frames of the span and no others, turned and timed as they were."""
    clip = tmp_path / "clip"
    cut = cut_clip(MEDIA / name, span, clip)
    assert (cut.how, cut.audio) == (how, audio)
    frames = real(name)
    if span.in_frames:
        wanted = frames[span.first_frame or 0 : span.last_frame]
    else:
        end = frames[-1].time + 1 if span.end is None else Fraction(span.end) - clips.SAME_TIME
        wanted = [frame for frame in frames if Fraction(span.start or 0) - clips.SAME_TIME <= frame.time < end]
    assert_shows(clip, cut, wanted, exact=how == "copied")
    sound = seconds_of_sound(clip)
    assert (sound is None) == (audio is None)
    if sound is not None:
        with av.open(MEDIA / name) as container:
            streams = container.streams
            ends = [
                float((s.start_time + s.duration) * s.time_base) for s in streams.audio if s.start_time and s.duration
            ]
        assert -PACKET < sound[0] < 2 * PACKET
        assert sound[1] == pytest.approx(cut.end - cut.start, abs=3 * PACKET) or ends


def gops(*, open_: bool = False, codec: str = "libx264", container: str = "mp4", **more: Any) -> bytes:
    """Return 60 frames with a key frame at every tenth (open: twelfth, amid B-frames), and B-frames between them."""
    every = "12" if open_ else "10"
    options = (("g", every), ("bf", "2"), ("keyint_min", every), ("sc_threshold", "0"))
    if codec == "libx264":
        options += (("x264-params", f"open-gop={int(open_)}:b-adapt=0:scenecut=0"),)
    return videos.video(container, codec, count=60, options=options, **more)


def key_frames(data: bytes) -> list[int]:
    """Return the numbers of the key frames in the order of display."""
    with av.open(io.BytesIO(data)) as container:
        packets = [(p.pts or 0, p.is_keyframe) for p in container.demux(video=0) if p.size]
    return [number for number, (_, key) in enumerate(sorted(packets)) if key]


@pytest.mark.parametrize("container", ["mp4", "matroska", "mpegts", "mov"])
def test_closed_groups_are_copied(container: str, made: Any, tmp_path: Path) -> None:
    """Between two key frames of closed groups a clip is a copy, to the byte of each decoded frame."""
    data = gops(container=container)
    assert key_frames(data) == [0, 10, 20, 30, 40, 50]
    source, frames = made(data), shown(data)
    for first, last in ((0, 60), (10, 30), (50, 60), (30, 40)):
        cut = cut_clip(source, Span(first_frame=first, last_frame=last), tmp_path / "clip")
        assert (cut.how, cut.format) == ("copied", "mp4")
        assert_shows(tmp_path / "clip", cut, frames[first:last], exact=True)


def test_inside_of_groups_is_encoded(made: Any, tmp_path: Path) -> None:
    """A clip that begins or ends among frames that need each other is encoded anew."""
    data = gops()
    source, frames = made(data), shown(data)
    for first, last in ((11, 30), (9, 30), (10, 29), (10, 12), (59, 60)):
        cut = cut_clip(source, Span(first_frame=first, last_frame=last), tmp_path / "clip")
        assert cut.how == "encoded"
        assert_shows(tmp_path / "clip", cut, frames[first:last], exact=False)


def test_open_groups_are_not_copied(made: Any, tmp_path: Path) -> None:
    """Frames shown before a key frame, and stored behind it, need what is before: no copy begins there."""
    data = gops(open_=True)
    source, frames, keys = made(data), shown(data), key_frames(data)
    assert keys == [0, 12, 24, 36, 48]
    for first, last in ((keys[1], keys[2]), (keys[2], 60)):
        cut = cut_clip(source, Span(first_frame=first, last_frame=last), tmp_path / "clip")
        assert cut.how == "encoded"
        assert_shows(tmp_path / "clip", cut, frames[first:last], exact=False)


def test_not_exact(made: Any, tmp_path: Path) -> None:
    """A clip that need not be exact is copied, with as few frames more as copying needs."""
    source, frames = made(gops()), shown(gops())
    cut = cut_clip(source, Span(start=1.3, end=2.35), tmp_path / "clip", exact=False)
    assert (cut.how, cut.start) == ("copied", 1)
    assert 2.4 <= cut.end <= 2.6
    assert_shows(tmp_path / "clip", cut, frames[10 : 10 + cut.frames], exact=True)
    whole = made(gops(open_=True), "open")
    cut = cut_clip(whole, Span(start=2.3, end=2.4), tmp_path / "clip", exact=False)
    assert (cut.how, cut.start) == ("copied", 0)


def test_a_header_that_lies_about_key_frames(made: Any, tmp_path: Path) -> None:
    """Where a header calls every frame a key frame, a copy does not decode; the clip is right nevertheless."""
    plain = videos.video(count=40, options=(("g", "99"), ("bf", "0"), ("sc_threshold", "0")))
    file = io.BytesIO()
    with av.open(io.BytesIO(plain)) as container, av.open(file, "w", format="nut") as output:
        stream = output.add_stream_from_template(container.streams.video[0])
        for number, packet in enumerate(p for p in container.demux(video=0) if p.size):
            packet.is_keyframe = number != 1
            packet.stream = stream
            output.mux(packet)
    data = file.getvalue()
    assert key_frames(data) == [0, *range(2, 40)]
    source, frames = made(data), shown(plain)
    for first, last in ((5, 9), (30, 40), (0, 20)):
        cut = cut_clip(source, Span(first_frame=first, last_frame=last), tmp_path / "clip")
        assert cut.how == ("encoded" if first else "copied")
        assert_shows(tmp_path / "clip", cut, frames[first:last], exact=not first)
    wanted = sample_frames(source, count=3, picture="png")
    assert [frame.data for frame in wanted] == [
        frame.data for frame in sample_frames(made(plain, "plain"), count=3, picture="png")
    ]


VARIABLE = (0, 40, 120, 130, 300, 340, 700, 720, 1000, 1001, 1500, 1533)


@pytest.mark.parametrize("container", ["mp4", "matroska"])
def test_variable_rate(container: str, made: Any, tmp_path: Path) -> None:
    """Times of frames survive, whether copied or encoded."""
    data = videos.video(container, count=12, times=VARIABLE, options=(("g", "4"), ("bf", "0")))
    source, frames = made(data), shown(data)
    ways = set()
    for first, last in ((0, 12), (4, 8), (3, 11), (1, 2)):
        cut = cut_clip(source, Span(first_frame=first, last_frame=last), tmp_path / "clip")
        ways.add(cut.how)
        assert_shows(tmp_path / "clip", cut, frames[first:last], exact=cut.how == "copied")
        times = [round(frame.time * 1000) for frame in shown(tmp_path / "clip")]
        assert times == [time - VARIABLE[first] for time in VARIABLE[first:last]]
    assert ways == {"copied", "encoded"}


@pytest.mark.parametrize(("codec", "container"), [("libx265", "mp4"), ("libvpx-vp9", "webm"), ("libvpx", "webm")])
def test_other_codecs(codec: str, container: str, made: Any, tmp_path: Path) -> None:
    """HEVC is copied into MP4, VP8 and VP9 into Matroska, with the frames that only help to decode others."""
    options = [("g", "12"), ("keyint_min", "12")]
    options += [("auto-alt-ref", "1"), ("lag-in-frames", "12")] if codec.startswith("libvpx") else []
    options += [("x265-params", "log-level=none:open-gop=0:keyint=12:min-keyint=12")] if codec == "libx265" else []
    data = videos.video(container, codec, count=36, options=tuple(options))
    source, frames = made(data), shown(data)
    assert len(frames) == 36
    for first, last in ((0, 36), (12, 36), (13, 20)):
        cut = cut_clip(source, Span(first_frame=first, last_frame=last), tmp_path / "clip")
        assert_shows(tmp_path / "clip", cut, frames[first:last], exact=cut.how == "copied")
        assert cut.how == ("encoded" if first == 13 else "copied")
        assert cut.format == ("mp4" if codec == "libx265" or first == 13 else "matroska")


def test_avi_with_reordered_frames(made: Any, tmp_path: Path) -> None:
    """AVI tells no times of display, so that its frames are known only when they are decoded."""
    data = gops(container="avi")
    source, frames = made(data), shown(data)
    assert len(frames) == 60
    for first, last in ((0, 60), (10, 20), (13, 17)):
        cut = cut_clip(source, Span(start=first / 10, end=last / 10), tmp_path / "clip")
        assert (cut.how, cut.start, cut.end) == ("encoded", first / 10, last / 10)
        got = [
            (frame.pixels, right.pixels)
            for frame, right in zip(shown(tmp_path / "clip"), frames[first:last], strict=True)
        ]
        assert_like(got)
    # behind what is lost nothing can be counted
    with av.open(io.BytesIO(data)) as container:
        packet = bytes([packet for packet in container.demux(video=0) if packet.size][30])
    assert data.count(packet) == 1
    torn = made(data.replace(packet, bytes(len(packet))))
    assert cut_clip(torn, Span(last_frame=10), tmp_path / "clip").frames == 10
    code, message = code_of(torn, Span(first_frame=50), tmp_path / "out")
    assert (code, message.partition(" s ")[2]) == (
        "media.decode",
        "does not decode, so that what is behind it cannot be counted",
    )


@pytest.mark.parametrize("container", ["mp4", "matroska"])
def test_a_start_that_is_cut_off(container: str, made: Any, tmp_path: Path) -> None:
    """Frames at the start that need what is not there are not shown, and not counted."""
    file = io.BytesIO()
    with av.open(io.BytesIO(gops(open_=True))) as whole, av.open(file, "w", format=container) as output:
        stream = output.add_stream_from_template(whole.streams.video[0])
        packets = [packet for packet in whole.demux(video=0) if packet.size]
        begin = [number for number, packet in enumerate(packets) if packet.is_keyframe][1]
        for packet in packets[begin:]:
            packet.stream = stream
            output.mux(packet)
    source, right = made(file.getvalue()), pictures(file.getvalue())
    assert (len(packets) - begin, len(right)) == (50, 48)
    sampled = sample_frames(source, count=48, picture="png")
    assert [unlikeness(frame.data, picture) for frame, picture in zip(sampled, right, strict=True)] == [0] * 48
    cut = cut_clip(source, Span(end=2), tmp_path / "clip")
    assert (cut.frames, cut.start, cut.end) == (20, 0, 2)


def test_shape_and_colours_survive(made: Any, tmp_path: Path) -> None:
    """The shape of pixels and the meaning of colours are those of the source, copied and encoded."""
    more = (("x264-params", "sar=4/3:colorprim=bt709:transfer=bt709:colormatrix=bt709:fullrange=on"),)
    data = videos.video(count=20, options=(("g", "10"), ("bf", "0"), ("sc_threshold", "0"), *more))
    source = made(data)
    found = []
    for file in (source, tmp_path / "copied", tmp_path / "encoded"):
        if file != source:
            cut = cut_clip(source, Span(first_frame=10 if file.name == "copied" else 11), file)
            assert cut.how == file.name
        with av.open(file) as container:
            stream = container.streams.video[0]
            frame = next(container.decode(stream))
            about = (frame.colorspace, frame.color_range, frame.color_primaries, frame.color_trc)
            found.append((stream.sample_aspect_ratio, stream.average_rate, frame.format.name, about))
    assert found[0][0] == Fraction(4, 3)
    assert found[0][3] == (1, 2, 1, 1)
    assert found[1] == found[2] == found[0]


def test_sound(made: Any, tmp_path: Path) -> None:
    """Sound that the format does not take becomes AAC, and stays at its place."""
    for container, codec, how in (("mov", "pcm_s16le", "encoded"), ("mp4", "aac", "copied")):
        source = made(videos.video(container, count=10, options=(("g", "1"),), sound=codec))
        cut = cut_clip(source, Span(start=0.2, end=0.7), tmp_path / "clip")
        assert (cut.how, cut.audio) == ("copied", how)
        begin, end = seconds_of_sound(tmp_path / "clip") or (9, 9)
        assert -PACKET < begin < PACKET
        assert end == pytest.approx(0.5, abs=PACKET)
    # a clip too short for a packet has no sound
    cut = cut_clip(source, Span(start=0.9, end=1), tmp_path / "clip")
    assert seconds_of_sound(tmp_path / "clip") is not None or cut.audio is None


SCRIPT = """
import hashlib, sys
from pathlib import Path
from pipeline.media.clips import Span, cut_clip, sample_frames
folder, *names = sys.argv[1:]
for name in names:
    for span in (Span(), Span(start=0.3, end=0.8)):
        cut_clip(Path(name), span, Path(folder, "clip"))
        print(hashlib.sha256(Path(folder, "clip").read_bytes()).hexdigest())
    for picture in ("png", "jpeg"):
        for frame in sample_frames(Path(name), count=2, picture=picture):
            print(hashlib.sha256(frame.data).hexdigest())
"""


def test_the_same_bytes_every_time(made: Any, tmp_path: Path) -> None:
    """Two processes write the same clips and frames, and nothing of the day or the program is in them."""
    names = [str(MEDIA / name) for name in ("sample_fragmented.mp4", "big_buck_bunny_432_433.webm")]
    names.append(str(made(videos.video("mov", sound="pcm_s16le"))))
    runs = []
    for number in range(2):
        folder = tmp_path / str(number)
        folder.mkdir()
        command = [sys.executable, "-c", SCRIPT, str(folder), *names]
        env = {**os.environ, "PYTHONPATH": str(ROOT)}
        runs.append(subprocess.run(command, capture_output=True, check=True, env=env).stdout)
        data = (folder / "clip").read_bytes()
        assert not re.search(rb"Lav[fc]\d", data)
    assert runs[0] == runs[1]
    assert len(set(runs[0].split())) > 12


def test_borders(made: Any, tmp_path: Path) -> None:
    """A frame at the start is inside, one at the end is not, and less than a millisecond makes no difference."""
    source = made(gops())
    for span, frames in (
        (Span(start=0.1, end=0.3), (1, 3)),
        (Span(start=0.1 + 0.2, end=0.7), (3, 7)),
        (Span(start=0.3004, end=0.7004), (3, 7)),
        (Span(start=0.302, end=0.702), (4, 8)),
        (Span(start=5.9), (59, 60)),
        (Span(start=5.9, end=6.1), (59, 60)),
        (Span(start=np.float64(1), end=np.int64(2)), (10, 20)),
        (Span(end=0.05), (0, 1)),
        (Span(first_frame=59, last_frame=61), (59, 60)),
        (Span(last_frame=1), (0, 1)),
    ):
        cut = cut_clip(source, span, tmp_path / "clip")
        assert (cut.start, cut.end, cut.frames) == (frames[0] / 10, frames[1] / 10, frames[1] - frames[0])
    parts = [cut_clip(source, Span(start=n / 3, end=(n + 1) / 3), tmp_path / "clip").frames for n in range(18)]
    assert sum(parts) == 60


SPANS: tuple[tuple[Any, str, str], ...] = (
    ({"start": 2, "end": 2}, "clip.span", "it goes from 2 s to 2 s, which is not behind it"),
    ({"start": 3, "end": 2}, "clip.span", "it goes from 3 s to 2 s, which is not behind it"),
    ({"start": -1}, "clip.span", "start is negative: -1 s"),
    ({"start": math.nan}, "clip.span", "start is no number of seconds: nan"),
    ({"end": math.inf}, "clip.span", "end is no number of seconds: inf"),
    ({"start": "1"}, "clip.span", "start is no number of seconds: '1'"),
    ({"end": True}, "clip.span", "end is no number of seconds: True"),
    ({"end": 6.3}, "clip.span", "it ends at 6.3 s, and the video is 6 s long"),
    ({"end": 10**400}, "clip.span", "it ends at more than 10^12 s, and the video is 6 s long"),
    ({"start": 6}, "clip.span", "it begins at 6 s, and the video is 6 s long"),
    ({"start": 7, "end": 8}, "clip.span", "it begins at 7 s, and the video is 6 s long"),
    ({"first_frame": 60}, "clip.span", "it begins at frame 60, and the video has 60 frames"),
    ({"first_frame": 2, "last_frame": 2}, "clip.span", "it goes from frame 2 to frame 2, which is not behind it"),
    ({"last_frame": 62}, "clip.span", "it ends at frame 62, and the video has 60 frames"),
    ({"first_frame": -1}, "clip.span", "first_frame is negative: -1"),
    ({"first_frame": 1.5}, "clip.span", "first_frame is no number of a frame: 1.5"),
    ({"start": 0.31, "end": 0.39}, "clip.empty", "no frame begins between 0.31 s and 0.39 s"),
)


@pytest.mark.parametrize(("parts", "code", "message"), SPANS)
def test_wrong_spans(parts: Any, code: str, message: str, made: Any, tmp_path: Path) -> None:
    """A span that cannot be cut is refused in words, and nothing is written."""
    assert code_of(made(gops()), Span(**parts), tmp_path / "out") == (code, message)


def test_seconds_and_frames_are_not_mixed() -> None:
    """A span says its borders in one way."""
    with pytest.raises(ValueError, match="not in both"):
        Span(start=1, last_frame=9)


def test_damage(made: Any, tmp_path: Path) -> None:
    """A clip with a damaged frame in it is refused; one beside it is cut."""
    corrupted, good = MEDIA / "corrupted.mp4", shown(MEDIA / "corrupted.mp4")
    code, message = code_of(corrupted, Span(start=2, end=4), tmp_path / "out")
    assert (code, message[:25]) == ("media.decode", "the frame at 2.8 s does n")
    assert code_of(corrupted, Span(), tmp_path / "out")[0] == "media.decode"
    cut = cut_clip(corrupted, Span(end=2), tmp_path / "clip")
    assert_shows(tmp_path / "clip", cut, good[:20], exact=cut.how == "copied")
    source = made(videos.damaged(5))
    assert code_of(source, Span(start=0.5, end=0.6), tmp_path / "out")[0] == "media.decode"
    for span, frames in ((Span(end=0.5), 5), (Span(start=0.6), 4)):
        assert cut_clip(source, span, tmp_path / "clip").frames == frames


HOSTILE = {
    "zero_bytes": (b"", "media.empty"),
    "text": (b"no video at all", "media.kind"),
    "still": (videos.still("PNG"), "media.kind"),
    "sound": ((MEDIA / "video_without_video_stream.mp4").read_bytes(), "media.no_video"),
    "no frames": ((MEDIA / "AudioVideoInterleave.avi").read_bytes(), "media.decode"),
    "encrypted": (videos.encrypted("libx264"), "media.encrypted"),
    "one chunk": (videos.mp4_of_one_chunk(2000), "media.decode"),
    "playlist": (b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n", "media.kind"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files(name: str, made: Any, tmp_path: Path) -> None:
    """What is no whole video is refused with the codes of the probe."""
    data, code = HOSTILE[name]
    source = made(data)
    assert code_of(source, Span(), tmp_path / "out")[0] == code
    with pytest.raises(RowRejected) as refused:
        sample_frames(source, count=1)
    assert refused.value.code == code


def test_missing(tmp_path: Path) -> None:
    """A source that is not there is a rejection, and no error of the disk."""
    assert code_of(tmp_path / "none", Span(), tmp_path / "out")[0] == "media.missing"


def test_lying_headers(made: Any, tmp_path: Path) -> None:
    """What a header claims does not count: the frames do."""
    empty = cut_clip(made(videos.mp4_of_empty_samples(20_000)), Span(), tmp_path / "clip")
    assert empty.frames == len(shown(tmp_path / "clip")) == 10
    long = made(videos.mp4(seconds=1000))
    assert cut_clip(long, Span(), tmp_path / "clip").frames == 10
    for delta in (0, 1 << 30, (1 << 32) - 1):
        cut = attempt(made(videos.mp4(times=videos.numbers(1, 10, delta)), str(delta)), Span(), tmp_path / "clip")
        assert isinstance(cut, CutClip) or cut.code.startswith("media.")
    code, message = code_of(long, Span(start=3, end=4), tmp_path / "out")
    assert (code, message) == ("clip.span", "it begins at 3 s, and the video is 1 s long")


@pytest.mark.parametrize("container", ["mp4", "matroska", "mpegts", "avi"])
def test_truncated(container: str, made: Any, tmp_path: Path) -> None:
    """Wherever a file is cut off, a clip is whole or refused."""
    data = videos.video(container, count=20, options=(("g", "5"), ("bf", "0")))
    out = tmp_path / "out"
    out.mkdir()
    for size in range(0, len(data), max(len(data) // 12, 1)):
        cut = attempt(made(data[:size]), Span(first_frame=5, last_frame=10), out / "clip")
        if isinstance(cut, RowRejected):
            assert cut.code.startswith(("media.", "clip.span"))
            assert list(out.iterdir()) == []
        else:
            # one frame too many is asked for when the ninth is the last
            assert cut.frames == len(shown(out / "clip"))
            assert cut.frames in {4, 5}
            (out / "clip").unlink()


def test_written_whole_or_not_at_all(made: Any, tmp_path: Path) -> None:
    """A refusal leaves an earlier clip as it was, and a full disk is an error of the workspace."""
    source = made(gops())
    clip = tmp_path / "out" / "clip"
    cut_clip(source, Span(), clip)
    before = clip.read_bytes()
    with pytest.raises(RowRejected):
        cut_clip(MEDIA / "corrupted.mp4", Span(), clip)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    for span in (Span(first_frame=10), Span(first_frame=11)):
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
        try:
            with pytest.raises(WorkspaceError):
                cut_clip(source, span, clip)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert clip.read_bytes() == before
    assert [path.name for path in clip.parent.iterdir()] == ["clip"]


def test_without_x264(made: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A build of FFmpeg without x264 encodes as MPEG-4."""
    data = videos.video("matroska", count=12, times=VARIABLE)
    source = made(data)
    monkeypatch.setattr(clips.av, "codecs_available", {"mpeg4"})
    cut = cut_clip(source, Span(first_frame=1, last_frame=11), tmp_path / "clip")
    got = shown(tmp_path / "clip")
    assert (cut.how, probe_video(tmp_path / "clip").codec) == ("encoded", "mpeg4")
    assert [round(frame.time * 1000) for frame in got] == [time - 40 for time in VARIABLE[1:11]]
    assert_like([(one.pixels, two.pixels) for one, two in zip(got, shown(data)[1:11], strict=True)])


# sampling


def pictures(source: bytes) -> list[Image.Image]:
    """Return the frames of a video as PyAV converts them."""
    with av.open(io.BytesIO(source)) as container:
        return [frame.to_image(interpolation=clips._EXACT, threads=1) for frame in container.decode(video=0)]  # type: ignore[no-untyped-call]


def unlikeness(data: bytes, picture: Image.Image) -> float:
    """Return how far two pictures are apart, in the mean of the worst colour."""
    return max(ImageStat.Stat(ImageChops.difference(Image.open(io.BytesIO(data)).convert("RGB"), picture)).mean)


@pytest.mark.parametrize("container", ["mp4", "matroska", "mpegts", "avi"])
@pytest.mark.parametrize("open_", [False, True])
def test_samples_are_the_right_frames(container: str, open_: bool, made: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each sampled frame is the one of its number, leapt to or decoded up to."""
    data = gops(open_=open_, container=container)
    source, frames, straight = made(data), pictures(data), clips._straight
    for worth in (0, 12, 1000):
        monkeypatch.setattr(clips, "_WORTH_A_SEEK", worth)
        if container != "avi":
            # where every leap is worth it, nothing is decoded from the start
            monkeypatch.setattr(clips, "_straight", straight if worth else None)
        for asked, numbers in (
            ({"count": 3}, [10, 30, 50]),
            ({"count": 4}, [7, 22, 37, 52]),
            ({"per_second": 0.5}, [0, 20, 40]),
            ({"per_second": 3, "span": Span(start=4, end=5)}, [40, 43, 46]),
            ({"count": 2, "span": Span(first_frame=50)}, [52, 57]),
        ):
            sampled = sample_frames(source, picture="png", **asked)  # type: ignore[arg-type]
            assert [frame.number for frame in sampled] == numbers
            for frame in sampled:
                assert frame.time == pytest.approx(frame.number / 10, abs=1e-6)
                assert unlikeness(frame.data, frames[frame.number]) == 0
                assert unlikeness(frame.data, frames[frame.number - 1]) > 1
    all_ = sample_frames(source, count=60, picture="png")
    plain = {frame.number: frame.data for frame in all_}
    assert all(plain[frame.number] == frame.data for frame in sample_frames(source, count=5, picture="png"))


def test_each_frame_once(made: Any) -> None:
    """A video with fewer frames than asked for gives each once, and too many are refused."""
    source = made(videos.video())
    assert [frame.number for frame in sample_frames(source, count=99)] == list(range(10))
    assert [frame.number for frame in sample_frames(source, per_second=1e9)] == list(range(10))
    assert [frame.number for frame in sample_frames(source, per_second=10)] == list(range(10))
    assert [frame.number for frame in sample_frames(source, per_second=0.01)] == [0]
    for asked in ({"count": 9}, {"per_second": 100.0}):
        with pytest.raises(RowRejected) as refused:
            sample_frames(source, most=8, **asked)  # type: ignore[arg-type]
        assert refused.value.code == "clip.most"
    for wrong in ({}, {"count": 1, "per_second": 1}, {"count": 0}, {"per_second": -1.0}, {"per_second": math.nan}):
        with pytest.raises(ValueError, match=r"sampled|either"):
            sample_frames(source, **wrong)  # type: ignore[arg-type]


def test_samples_of_a_variable_rate(made: Any) -> None:
    """The frame on screen is taken, however long it stays."""
    source = made(videos.video(count=12, times=VARIABLE))
    sampled = sample_frames(source, per_second=4, picture="png")
    on_screen = [max(n for n, time in enumerate(VARIABLE) if time <= moment + 1) for moment in range(0, 1534, 250)]
    assert [frame.number for frame in sampled] == sorted(set(on_screen))


def test_pictures() -> None:
    """Pictures are JPEG of full colours or PNG, upright, of the size that the probe says."""
    for name in ("rotated_video.mp4", "video_90.mov", "h264_10bits.mp4", "bitmap.mp4", "pigs_in_a_polka.gif"):
        facts = probe_video(MEDIA / name)
        jpeg, png = (sample_frames(MEDIA / name, count=1, picture=kind)[0] for kind in ("jpeg", "png"))  # type: ignore[arg-type]
        assert (jpeg.width, jpeg.height) == (png.width, png.height) == (facts.width, facts.height)
        one, two = Image.open(io.BytesIO(jpeg.data)), Image.open(io.BytesIO(png.data))
        assert (one.format, one.mode, two.format, two.mode) == ("JPEG", "RGB", "PNG", "RGB")
        assert one.size == (jpeg.width, jpeg.height)
        assert {layer[1:3] for layer in one.layer} == {(1, 1)}  # type: ignore[attr-defined]
        assert max(ImageStat.Stat(ImageChops.difference(one, two)).mean) < 4


@pytest.mark.parametrize(
    ("turn", "ways"),
    [
        ((1, 0, 0, 1), []),
        ((0, 1, -1, 0), [Image.Transpose.ROTATE_270]),
        ((-1, 0, 0, -1), [Image.Transpose.ROTATE_180]),
        ((0, -1, 1, 0), [Image.Transpose.ROTATE_90]),
        ((-1, 0, 0, 1), [Image.Transpose.FLIP_LEFT_RIGHT]),
        ((1, 0, 0, -1), [Image.Transpose.FLIP_TOP_BOTTOM]),
        ((0, 1, 1, 0), [Image.Transpose.TRANSPOSE]),
        ((0, -1, -1, 0), [Image.Transpose.TRANSVERSE]),
    ],
)
def test_upright(turn: tuple[int, ...], ways: list[Image.Transpose], made: Any, tmp_path: Path) -> None:
    """Turned and mirrored videos give upright pictures, and so do clips of them."""
    plain = sample_frames(made(videos.mp4()), count=1, picture="png")[0]
    right = Image.open(io.BytesIO(plain.data))
    for way in ways:
        right = right.transpose(way)
    source = made(videos.mp4(turn=videos.matrix(*turn)), "turned")
    turned = sample_frames(source, count=1, picture="png")[0]
    assert Image.open(io.BytesIO(turned.data)).tobytes() == right.tobytes()
    cut_clip(source, Span(first_frame=2, last_frame=9), tmp_path / "clip")
    copied = sample_frames(tmp_path / "clip", span=Span(first_frame=3, last_frame=4), count=1, picture="png")[0]
    assert copied.data == turned.data


# runs


def test_spans_of_runs() -> None:
    """Consecutive frames of one value are one span; another value or a gap ends it."""
    rows = [(0, "a"), (1, "a"), (2, "b"), (3, "a"), (5, "a"), (6, "a")]
    assert spans_of_runs(rows, 25) == [
        ("a", Span(start=Fraction(0), end=Fraction(2, 25))),
        ("b", Span(start=Fraction(2, 25), end=Fraction(3, 25))),
        ("a", Span(start=Fraction(3, 25), end=Fraction(4, 25))),
        ("a", Span(start=Fraction(5, 25), end=Fraction(7, 25))),
    ]
    assert spans_of_runs(iter(rows[:3]), None) == [
        ("a", Span(first_frame=0, last_frame=2)),
        ("b", Span(first_frame=2, last_frame=3)),
    ]
    assert spans_of_runs([], 25) == []


@pytest.mark.parametrize(
    ("rows", "fps", "words"),
    [
        ([(1, "a"), (1, "a")], 25, "frame 1 comes twice"),
        ([(4, "a"), (3, "b")], 25, "frame 3 comes behind frame 4; frames must be in order"),
        ([(-1, "a")], 25, "frame -1 is below 0"),
        ([(1, "a")], 0, "0 frames a second are no rate"),
        ([(1, "a")], math.nan, "nan frames a second are no rate"),
    ],
)
def test_wrong_runs(rows: list[tuple[int, str]], fps: float, words: str) -> None:
    """Frames out of order are an error in words."""
    with pytest.raises(ValueError, match=words):
        spans_of_runs(rows, fps)


def test_runs_cover_a_video(made: Any, tmp_path: Path) -> None:
    """Clips of the runs of a video hold each of its frames once, also where clocks count milliseconds."""
    data = videos.video("matroska", count=48, times=tuple(round(1000 * n / 24) for n in range(48)))
    source, frames = made(data), shown(data)
    rows = [(n, "abc"[n // 7 % 3]) for n in range(48)]
    for fps in (24, None):
        done = 0
        for _, span in spans_of_runs(rows, fps):
            cut = cut_clip(source, span, tmp_path / "clip")
            assert_shows(tmp_path / "clip", cut, frames[done : done + min(7, 48 - done)], exact=cut.how == "copied")
            done += cut.frames
        assert done == 48


# any span


@functools.cache
def any_source(kind: str) -> bytes:
    """Return a video with key frames, B-frames and times of its own."""
    times = tuple(np.cumsum([0, *((7 * n) % 90 + 8 for n in range(39))]).tolist())
    return {
        "closed": gops,
        "open": lambda: gops(open_=True, container="matroska"),
        "variable": lambda: videos.video(count=40, times=times, options=(("g", "6"), ("bf", "2"))),
        "intra": lambda: videos.video("avi", "mpeg4", count=30, options=(("g", "1"),)),
    }[kind]()


@functools.cache
def any_frames(kind: str) -> list[Shown]:
    """Return its frames."""
    return shown(any_source(kind))


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Write the sources once."""
    folder = tmp_path_factory.mktemp("sources")
    for kind in ("closed", "open", "variable", "intra"):
        (folder / kind).write_bytes(any_source(kind))
    return folder


@settings(max_examples=60, deadline=None)
@given(
    kind=st.sampled_from(["closed", "open", "variable", "intra"]),
    start=st.fractions(0, 6, max_denominator=1000) | st.integers(0, 60).map(lambda n: n / 10),
    length=st.fractions(0, 3, max_denominator=1000),
    exact=st.booleans(),
)
def test_any_span(sources: Path, kind: str, start: Fraction | float, length: Fraction, exact: bool) -> None:
    """The frames of a clip are those whose times lie in [start, end), or refused for a reason that is true."""
    frames = any_frames(kind)
    end = start + length
    gap = (frames[-1].time - frames[0].time) / (len(frames) - 1)
    slack = min(clips.SAME_TIME, gap / 4)
    wanted = [frame for frame in frames if Fraction(start) - slack <= frame.time < Fraction(end) - slack]
    clip = sources / "clip"
    cut = attempt(sources / kind, Span(start=start, end=end), clip, exact=exact)
    if isinstance(cut, RowRejected):
        if cut.code == "clip.empty":
            assert wanted == []
        else:
            assert cut.code == "clip.span"
            assert length == 0 or end > frames[-1].time + gap
    elif exact:
        assert_shows(clip, cut, wanted, exact=cut.how == "copied")
    else:
        first = next(number for number, frame in enumerate(frames) if float(frame.time) == pytest.approx(cut.start))
        assert_shows(clip, cut, frames[first : first + cut.frames], exact=cut.how == "copied")
        assert frames[first].time <= wanted[0].time
        assert cut.frames >= len(wanted)


@settings(max_examples=30, deadline=None)
@given(
    kind=st.sampled_from(["closed", "open", "variable", "intra"]),
    count=st.integers(1, 70),
    borders=st.tuples(st.integers(0, 29), st.integers(0, 29)).map(sorted),
)
def test_any_sample(sources: Path, kind: str, count: int, borders: list[int]) -> None:
    """Samples lie in their span, in order, each once, as many as there can be, and near the middles of its parts."""
    first, last = borders[0], borders[1] + 1
    sampled = sample_frames(sources / kind, count=count, span=Span(first_frame=first, last_frame=last))
    numbers = [frame.number for frame in sampled]
    assert numbers == sorted(set(numbers))
    assert set(numbers) <= set(range(first, last))
    assert 1 <= len(numbers) <= min(count, last - first)
    if kind != "variable":
        assert len(numbers) == min(count, last - first)
    if count >= last - first:
        assert numbers == list(range(first, last))
