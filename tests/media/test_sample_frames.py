"""Sampled frames: each picture against what PyAV alone decodes of the source."""

from __future__ import annotations

import errno
import io
import math
import resource
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import odd_videos as videos
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageChops, ImageStat
from shown_frames import ANY, HOSTILE, MEDIA, VARIABLE, gops, pictures, sampled, unlikeness

from pipeline.errors import RowRejected, WorkspaceError
from pipeline.media import decoded_frames
from pipeline.media.cut_clip import cut_clip
from pipeline.media.sample_frames import sample_frames
from pipeline.media.span import Span
from pipeline.media.video import probe_video


def numbers_of(source: Path, folder: Path, **asked: Any) -> list[int]:
    """Return the numbers of sampled frames."""
    return [sample.frame.number for sample in sampled(source, folder, **asked)]


@pytest.mark.parametrize("container", ["mp4", "matroska", "mpegts", "avi"])
@pytest.mark.parametrize("open_", [False, True])
def test_samples_are_the_right_frames(
    container: str, open_: bool, made: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each sampled frame is the one of its number, leapt to or decoded up to."""
    data = gops(open_=open_, container=container)
    source, frames, straight = made(data), pictures(data), decoded_frames._straight
    folder = tmp_path / "pictures"
    for worth in (0, 12, 1000):
        monkeypatch.setattr(decoded_frames, "WORTH_A_SEEK", worth)
        if container != "avi":
            # where every leap is worth it, nothing is decoded from the start
            monkeypatch.setattr(decoded_frames, "_straight", straight if worth else None)
        for asked, numbers in (
            ({"count": 3}, [10, 30, 50]),
            ({"count": 4}, [7, 22, 37, 52]),
            ({"per_second": 0.5}, [0, 20, 40]),
            ({"per_second": 3, "span": Span(start=4, end=5)}, [40, 43, 46]),
            ({"count": 2, "span": Span(start_frame=50)}, [52, 57]),
        ):
            samples = sampled(source, folder, picture="png", **asked)
            assert [sample.frame.number for sample in samples] == numbers
            for sample in samples:
                number = sample.frame.number
                assert sample.frame.time == pytest.approx(number / 10, abs=1e-6)
                assert unlikeness(sample.data, frames[number]) == 0
                assert unlikeness(sample.data, frames[number - 1]) > 1
    plain = {sample.frame.number: sample.data for sample in sampled(source, folder, count=60, picture="png")}
    few = sampled(source, folder, count=5, picture="png")
    assert all(plain[sample.frame.number] == sample.data for sample in few)


def test_each_frame_once(made: Any, tmp_path: Path) -> None:
    """A video with fewer frames than asked for gives each once, and too many are refused."""
    source = made(videos.video())
    folder = tmp_path / "pictures"
    assert numbers_of(source, folder, count=99) == list(range(10))
    assert numbers_of(source, folder, per_second=1e9) == list(range(10))
    assert numbers_of(source, folder, per_second=10) == list(range(10))
    assert numbers_of(source, folder, per_second=0.01) == [0]
    folder.mkdir()
    for asked in ({"count": 9}, {"per_second": 100.0}):
        with pytest.raises(RowRejected) as refused:
            sample_frames(source, folder, most=8, **asked)  # type: ignore[arg-type]
        assert refused.value.code == "clip.most"
    for wrong in ({}, {"count": 1, "per_second": 1}, {"count": 0}, {"per_second": -1.0}, {"per_second": math.nan}):
        with pytest.raises(ValueError, match=r"sampled|either"):
            sample_frames(source, folder, **wrong)  # type: ignore[arg-type]
    assert list(folder.iterdir()) == []


def test_samples_of_a_variable_rate(made: Any, tmp_path: Path) -> None:
    """The frame on screen is taken, however long it stays."""
    source = made(videos.video(count=12, times=VARIABLE))
    on_screen = [max(n for n, time in enumerate(VARIABLE) if time <= moment + 1) for moment in range(0, 1534, 250)]
    assert numbers_of(source, tmp_path / "pictures", per_second=4) == sorted(set(on_screen))


def test_pictures(tmp_path: Path) -> None:
    """Pictures are JPEG of full colours or PNG, upright, of the size that the probe says."""
    for name in ("rotated_video.mp4", "video_90.mov", "h264_10bits.mp4", "bitmap.mp4", "pigs_in_a_polka.gif"):
        facts = probe_video(MEDIA / name)
        jpeg, png = (sampled(MEDIA / name, tmp_path / "out", count=1, picture=kind)[0] for kind in ("jpeg", "png"))
        assert (jpeg.frame.path.name, png.frame.path.name) == ("00000.jpg", "00000.png")
        size = (facts.width, facts.height)
        assert (jpeg.frame.width, jpeg.frame.height) == (png.frame.width, png.frame.height) == size
        one, two = Image.open(io.BytesIO(jpeg.data)), Image.open(io.BytesIO(png.data))
        assert (one.format, one.mode, two.format, two.mode) == ("JPEG", "RGB", "PNG", "RGB")
        assert one.size == two.size == size
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
    folder = tmp_path / "pictures"
    plain = sampled(made(videos.mp4()), folder, count=1, picture="png")[0]
    right = Image.open(io.BytesIO(plain.data))
    for way in ways:
        right = right.transpose(way)
    source = made(videos.mp4(turn=videos.matrix(*turn)), "turned")
    turned = sampled(source, folder, count=1, picture="png")[0]
    assert Image.open(io.BytesIO(turned.data)).tobytes() == right.tobytes()
    cut_clip(source, Span(start_frame=2, end_frame=9), tmp_path / "clip")
    copied = sampled(tmp_path / "clip", folder, span=Span(start_frame=3, end_frame=4), count=1, picture="png")[0]
    assert copied.data == turned.data


def swapped_times() -> bytes:
    """Return 40 frames, of which the packets of two say that they are shown in the other order."""
    plain = videos.video(count=40, options=(("g", "99"), ("bf", "0"), ("sc_threshold", "0")))
    file = io.BytesIO()
    with av.open(io.BytesIO(plain)) as container, av.open(file, "w", format="nut") as output:
        stream = output.add_stream_from_template(container.streams.video[0])
        packets = [packet for packet in container.demux(video=0) if packet.size]
        for number, packet in enumerate(packets):
            tick = round(1 / Fraction(videos.RATE) / packet.time_base)
            packet.dts = number * tick
            packet.pts = ({20: 21, 21: 20}.get(number, number) + 1) * tick
            packet.stream = stream
            output.mux(packet)
    return file.getvalue()


def test_an_index_that_proves_wrong(made: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where frames come out in another order than packets say, all begins anew with those that come out."""
    data = swapped_times()
    source, right, written = made(data), pictures(data), []
    write = Path.write_bytes

    def noted(path: Path, data: bytes) -> int:
        written.append(path.name)
        return write(path, data)

    monkeypatch.setattr(Path, "write_bytes", noted)
    samples = sampled(source, tmp_path / "pictures", count=40, picture="png")
    assert written == [f"{number:05}.png" for number in (*range(20), *range(40))]
    assert [unlikeness(sample.data, picture) for sample, picture in zip(samples, right, strict=True)] == [0] * 40


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files(name: str, made: Any, tmp_path: Path) -> None:
    """What is no whole video is refused with the codes of the probe."""
    data, code = HOSTILE[name]
    folder = tmp_path / "pictures"
    folder.mkdir()
    with pytest.raises(RowRejected) as refused:
        sample_frames(made(data), folder, count=1)
    assert refused.value.code == code


def test_all_or_nothing(made: Any, tmp_path: Path) -> None:
    """A damaged frame is a refusal, and a full disk is an error of the workspace; nothing is left."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    with pytest.raises(RowRejected) as refused:
        sample_frames(made(videos.damaged(5)), folder, count=10)
    assert refused.value.code == "media.decode"
    assert list(folder.iterdir()) == []
    source = made(gops(), "good")
    sizes = [len(sample.data) for sample in sampled(source, tmp_path / "all", count=60, picture="png")]
    assert sizes[0] < max(sizes)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (max(sizes) - 1, hard))
    try:
        with pytest.raises(WorkspaceError, match=r"cannot write .*pictures"):
            sample_frames(source, folder, count=60, picture="png")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(folder.iterdir()) == []
    with pytest.raises(WorkspaceError) as missing:
        sample_frames(source, tmp_path / "none", count=1)
    assert isinstance(missing.value.__cause__, OSError)
    assert missing.value.__cause__.errno == errno.ENOENT


def test_too_large_for_a_jpeg(made: Any, tmp_path: Path) -> None:
    """A frame that no JPEG can hold is a refusal, though Pillow speaks of an OSError; a PNG can hold it."""
    file = io.BytesIO()
    with av.open(file, "w", format="mov") as output:
        stream = output.add_stream("png", rate=10)
        stream.width, stream.height, stream.pix_fmt = 65_504, 16, "rgb24"
        frame = av.VideoFrame(65_504, 16, "rgb24")
        output.mux([*stream.encode(frame), *stream.encode(None)])
    source = made(file.getvalue())
    (png,) = sampled(source, tmp_path / "png", count=1, picture="png")
    assert (png.frame.width, png.frame.height) == (65_504, 16)
    folder = tmp_path / "pictures"
    folder.mkdir()
    with pytest.raises(RowRejected, match="a picture of 65504x16 is too large for a JPEG") as refused:
        sample_frames(source, folder, count=1)
    assert refused.value.code == "clip.encode"
    assert list(folder.iterdir()) == []


@settings(max_examples=30, deadline=None)
@given(
    kind=st.sampled_from(ANY),
    count=st.integers(1, 70),
    borders=st.tuples(st.integers(0, 29), st.integers(0, 29)).map(sorted),
)
def test_any_sample(any_sources: Path, kind: str, count: int, borders: list[int]) -> None:
    """Samples lie in their span, in order, each once, as many as there can be, and near the middles of its parts."""
    first, last = borders[0], borders[1] + 1
    span = Span(start_frame=first, end_frame=last)
    numbers = numbers_of(any_sources / kind, any_sources / "pictures", count=count, span=span)
    assert numbers == sorted(set(numbers))
    assert set(numbers) <= set(range(first, last))
    assert 1 <= len(numbers) <= min(count, last - first)
    if kind != "variable":
        assert len(numbers) == min(count, last - first)
    if count >= last - first:
        assert numbers == list(range(first, last))
