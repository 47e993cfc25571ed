"""Clips: each frame against what PyAV alone decodes of the source, to the byte or by PSNR."""

from __future__ import annotations

import functools
import io
import itertools
import math
import os
import re
import resource
import subprocess
import sys
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import av
import numpy as np
import odd_videos as videos
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shown_frames import (
    ANY,
    HOSTILE,
    MEDIA,
    ROOT,
    VARIABLE,
    Shown,
    any_frames,
    gops,
    key_frames,
    pictures,
    sampled,
    shown,
    unlikeness,
)

from pipeline.errors import RowRejected, WorkspaceError
from pipeline.media import encode_frames
from pipeline.media.cut_clip import CutClip, cut_clip
from pipeline.media.frame_index import SAME_TIME
from pipeline.media.span import Span
from pipeline.media.video import probe_video

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

DECIBELS = 35
PACKET = 0.05
"""Seconds: a packet of sound is shorter."""


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


REAL = (
    ("bigbuckbunny.mp4", Span(), "copied", "copied"),
    ("bigbuckbunny.mp4", Span(start=1.6, end=2.2), "encoded", "copied"),
    ("chaplin.mp4", Span(start=Fraction(73, 25), end=4), "encoded", "copied"),
    ("h264_10bits.mp4", Span(start_frame=9, end_frame=24), "encoded", None),
    ("h265_video.mp4", Span(), "copied", None),
    ("h265_video.mp4", Span(start=0.3, end=0.8), "encoded", None),
    ("hevc_white_frame.mp4", Span(), "copied", None),
    ("av1_video.mkv", Span(), "copied", None),
    ("av1_video.mkv", Span(start=1.52, end=2), "encoded", None),
    ("big_buck_bunny_432_433.webm", Span(end=0.999), "copied", "copied"),
    ("big_buck_bunny_432_433.webm", Span(start=0.5), "encoded", "encoded"),
    ("no_duration.webm", Span(start=1, end=1.5), "encoded", "copied"),
    ("transparent.webm", Span(start_frame=128), "copied", "copied"),
    ("nasa_13013.mp4", Span(start_frame=240), "copied", "copied"),
    ("nasa_13013.mp4", Span(start_frame=239, end_frame=260), "encoded", "copied"),
    ("example_mask.mp4", Span(start_frame=250), "copied", None),
    ("rotated_video.mp4", Span(), "copied", "copied"),
    ("rotated_video.mp4", Span(start=2, end=3), "encoded", "copied"),
    ("video_90.mov", Span(start_frame=1), "encoded", None),
    ("sample_fragmented.mp4", Span(start_frame=5, end_frame=8), "copied", "copied"),
    ("sample_fragmented.mp4", Span(start_frame=4, end_frame=8), "encoded", "copied"),
    ("fixture.3gp", Span(start=2, end=3), "encoded", "encoded"),
    ("fixture.mov", Span(), "encoded", None),
    ("test_video_66x50.mov", Span(start_frame=20, end_frame=60), "encoded", None),
    ("fixture.mpg", Span(start_frame=3, end_frame=9), "encoded", None),
    ("testvideo-43.avi", Span(start=0.4, end=1), "encoded", None),
    ("unordered.mov", Span(start_frame=1, end_frame=3), "encoded", None),
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
        wanted = frames[span.start_frame or 0 : span.end_frame]
    else:
        end = frames[-1].time + 1 if span.end is None else Fraction(span.end) - SAME_TIME
        wanted = [frame for frame in frames if Fraction(span.start or 0) - SAME_TIME <= frame.time < end]
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


@pytest.mark.parametrize("container", ["mp4", "matroska", "mpegts", "mov"])
def test_closed_groups_are_copied(container: str, made: Any, tmp_path: Path) -> None:
    """Between two key frames of closed groups a clip is a copy, to the byte of each decoded frame."""
    data = gops(container=container)
    assert key_frames(data) == [0, 10, 20, 30, 40, 50]
    source, frames = made(data), shown(data)
    for first, last in ((0, 60), (10, 30), (50, 60), (30, 40)):
        cut = cut_clip(source, Span(start_frame=first, end_frame=last), tmp_path / "clip")
        assert (cut.how, cut.format) == ("copied", "mp4")
        assert_shows(tmp_path / "clip", cut, frames[first:last], exact=True)


def test_inside_of_groups_is_encoded(made: Any, tmp_path: Path) -> None:
    """A clip that begins or ends among frames that need each other is encoded anew."""
    data = gops()
    source, frames = made(data), shown(data)
    for first, last in ((11, 30), (9, 30), (10, 29), (10, 12), (59, 60)):
        cut = cut_clip(source, Span(start_frame=first, end_frame=last), tmp_path / "clip")
        assert cut.how == "encoded"
        assert_shows(tmp_path / "clip", cut, frames[first:last], exact=False)


def test_open_groups_are_not_copied(made: Any, tmp_path: Path) -> None:
    """Frames shown before a key frame, and stored behind it, need what is before: no copy begins there."""
    data = gops(open_=True)
    source, frames, keys = made(data), shown(data), key_frames(data)
    assert keys == [0, 12, 24, 36, 48]
    for first, last in ((keys[1], keys[2]), (keys[2], 60)):
        cut = cut_clip(source, Span(start_frame=first, end_frame=last), tmp_path / "clip")
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
        cut = cut_clip(source, Span(start_frame=first, end_frame=last), tmp_path / "clip")
        assert cut.how == ("encoded" if first else "copied")
        assert_shows(tmp_path / "clip", cut, frames[first:last], exact=not first)
    folder = tmp_path / "pictures"
    lied, right = (sampled(file, folder, count=3, picture="png") for file in (source, made(plain, "plain")))
    assert [sample.data for sample in lied] == [sample.data for sample in right]


@pytest.mark.parametrize("container", ["mp4", "matroska"])
def test_variable_rate(container: str, made: Any, tmp_path: Path) -> None:
    """Times of frames survive, whether copied or encoded."""
    data = videos.video(container, count=12, times=VARIABLE, options=(("g", "4"), ("bf", "0")))
    source, frames = made(data), shown(data)
    ways = set()
    for first, last in ((0, 12), (4, 8), (3, 11), (1, 2)):
        cut = cut_clip(source, Span(start_frame=first, end_frame=last), tmp_path / "clip")
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
        cut = cut_clip(source, Span(start_frame=first, end_frame=last), tmp_path / "clip")
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
    assert cut_clip(torn, Span(end_frame=10), tmp_path / "clip").frames == 10
    code, message = code_of(torn, Span(start_frame=50), tmp_path / "out")
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
    samples = sampled(source, tmp_path / "pictures", count=48, picture="png")
    assert [unlikeness(sample.data, picture) for sample, picture in zip(samples, right, strict=True)] == [0] * 48
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
            cut = cut_clip(source, Span(start_frame=10 if file.name == "copied" else 11), file)
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
from pipeline.media.cut_clip import cut_clip
from pipeline.media.sample_frames import sample_frames
from pipeline.media.span import Span
folder, *names = sys.argv[1:]
for name in names:
    for span in (Span(), Span(start=0.3, end=0.8)):
        cut_clip(Path(name), span, Path(folder, "clip"))
        print(hashlib.sha256(Path(folder, "clip").read_bytes()).hexdigest())
    for picture in ("png", "jpeg"):
        for frame in sample_frames(Path(name), Path(folder), count=2, picture=picture):
            print(hashlib.sha256(frame.path.read_bytes()).hexdigest())
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
        (Span(start_frame=59, end_frame=61), (59, 60)),
        (Span(end_frame=1), (0, 1)),
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
    ({"start_frame": 60}, "clip.span", "it begins at frame 60, and the video has 60 frames"),
    ({"start_frame": 2, "end_frame": 2}, "clip.span", "it goes from frame 2 to frame 2, which is not behind it"),
    ({"end_frame": 62}, "clip.span", "it ends at frame 62, and the video has 60 frames"),
    ({"start_frame": -1}, "clip.span", "start_frame is negative: -1"),
    ({"start_frame": 1.5}, "clip.span", "start_frame is no number of a frame: 1.5"),
    ({"start": 0.31, "end": 0.39}, "clip.empty", "no frame begins between 0.31 s and 0.39 s"),
)


@pytest.mark.parametrize(("parts", "code", "message"), SPANS)
def test_wrong_spans(parts: Any, code: str, message: str, made: Any, tmp_path: Path) -> None:
    """A span that cannot be cut is refused in words, and nothing is written."""
    assert code_of(made(gops()), Span(**parts), tmp_path / "out") == (code, message)


def test_seconds_and_frames_are_not_mixed() -> None:
    """A span says its borders in one way."""
    with pytest.raises(ValueError, match="not in both"):
        Span(start=1, end_frame=9)


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


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files(name: str, made: Any, tmp_path: Path) -> None:
    """What is no whole video is refused with the codes of the probe."""
    data, code = HOSTILE[name]
    source = made(data)
    assert code_of(source, Span(), tmp_path / "out")[0] == code


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
        cut = attempt(made(data[:size]), Span(start_frame=5, end_frame=10), out / "clip")
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
    for span in (Span(start_frame=10), Span(start_frame=11)):
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
    monkeypatch.setattr(encode_frames.av, "codecs_available", {"mpeg4"})
    cut = cut_clip(source, Span(start_frame=1, end_frame=11), tmp_path / "clip")
    got = shown(tmp_path / "clip")
    assert (cut.how, probe_video(tmp_path / "clip").codec) == ("encoded", "mpeg4")
    assert [round(frame.time * 1000) for frame in got] == [time - 40 for time in VARIABLE[1:11]]
    assert_like([(one.pixels, two.pixels) for one, two in zip(got, shown(data)[1:11], strict=True)])


@pytest.mark.parametrize("unit", ["seconds", "frames"])
def test_neighbours_cover_a_video(unit: str, made: Any, tmp_path: Path) -> None:
    """Clips of spans that meet hold each frame of a video once, also where clocks count milliseconds."""
    data = videos.video("matroska", count=48, times=tuple(round(1000 * n / 24) for n in range(48)))
    source, frames = made(data), shown(data)
    for first, last in itertools.pairwise((*range(0, 48, 7), 48)):
        seconds = Span(start=Fraction(first, 24), end=Fraction(last, 24))
        span = seconds if unit == "seconds" else Span(start_frame=first, end_frame=last)
        cut = cut_clip(source, span, tmp_path / "clip")
        assert_shows(tmp_path / "clip", cut, frames[first:last], exact=cut.how == "copied")


@settings(max_examples=60, deadline=None)
@given(
    kind=st.sampled_from(ANY),
    start=st.fractions(0, 6, max_denominator=1000) | st.integers(0, 60).map(lambda n: n / 10),
    length=st.fractions(0, 3, max_denominator=1000),
    exact=st.booleans(),
)
def test_any_span(any_sources: Path, kind: str, start: Fraction | float, length: Fraction, exact: bool) -> None:
    """The frames of a clip are those whose times lie in [start, end), or refused for a reason that is true."""
    frames = any_frames(kind)
    end = start + length
    gap = (frames[-1].time - frames[0].time) / (len(frames) - 1)
    slack = min(SAME_TIME, gap / 4)
    wanted = [frame for frame in frames if Fraction(start) - slack <= frame.time < Fraction(end) - slack]
    clip = any_sources / "clip"
    cut = attempt(any_sources / kind, Span(start=start, end=end), clip, exact=exact)
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
