"""Chosen frames are those that were meant, and are to the bit those of a decode from the start."""

from __future__ import annotations

from array import array
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as Pillow

from pipeline.errors import RowRejected
from pipeline.media.decoded_frames import EXACT
from pipeline.media.frame_index import FrameIndex, VideoTraits
from pipeline.media.read_frame_index import read_index
from pipeline.media.sample_frames import sample_frames
from tests.project import MEDIA, Project
from tests.train.datasets_for_tests import CAPTION, CLIPS, build_clips, opened
from train.example import Frames, FramesSize, TrainError
from train.feed.decoded_video import decoded_video
from train.feed.fitted_size import fitted
from train.feed.frame_sampling import FrameSampling
from train.feed.packed_frame_index import packed, unpacked

if TYPE_CHECKING:
    from pathlib import Path

UPRIGHT = tuple(name for name in CLIPS if name not in ("rotated_video.mp4", "video_90.mov"))


def from_the_start(name: str, wanted: set[int]) -> tuple[int, dict[int, np.ndarray]]:
    """Return how many frames a video has, and the wanted ones, decoded one after the other without any index."""
    found, total = {}, 0
    with av.open(str(MEDIA / name)) as container:
        stream = container.streams.best("video")
        assert stream is not None
        for frame in container.decode(stream):  # type: ignore[attr-defined]
            if total in wanted:
                found[total] = frame.to_ndarray(format="rgb24", interpolation=EXACT, threads=1)
            total += 1
    return total, found


@pytest.mark.parametrize("name", UPRIGHT)
def test_frames_are_those_of_a_sequential_decode(name: str) -> None:
    """Whatever is leapt over, the frames that come out are the ones of these numbers, bit for bit."""
    data = (MEDIA / name).read_bytes()
    index = read_index(data)
    samplings = (FrameSampling(count=5), FrameSampling(per_second=2, at_most=8, at_least=2), FrameSampling(count=1))
    chosen = [sampling.choose(index) for sampling in samplings]
    total, every = from_the_start(name, {number for numbers in chosen for number in numbers})
    assert total == len(index.times)
    height, width, _ = every[chosen[0][0]].shape
    for source, numbers in zip((data, MEDIA / name, data), chosen, strict=True):
        pixels = decoded_video(source, unpacked(packed(index)), numbers, (width, height))
        assert np.array_equal(pixels, np.stack([every[number] for number in numbers]))


@pytest.mark.parametrize("name", ["rotated_video.mp4", "video_90.mov", "video_0.mov"])
def test_turned_videos_are_upright(name: str, tmp_path: Path) -> None:
    """Frames are turned as players turn them, which is what the pictures of a build show."""
    data = (MEDIA / name).read_bytes()
    index = read_index(data)
    pictures = sample_frames(MEDIA / name, tmp_path, count=3, picture="png")
    wanted = np.stack([np.asarray(Pillow.open(one.path)) for one in pictures])
    numbers = [one.number for one in pictures]
    size = (wanted.shape[2], wanted.shape[1])
    assert np.array_equal(decoded_video(data, index, numbers, size), wanted)
    half = (size[0] // 2, size[1] // 2)
    small = decoded_video(data, index, numbers, half)
    assert small.shape == (len(numbers), half[1], half[0], 3)
    like = np.stack([np.asarray(Pillow.fromarray(one).resize(half, Pillow.Resampling.BICUBIC)) for one in wanted])
    assert abs(small.astype(int) - like).mean() < 3


def index_of(lengths: list[int], base: Fraction = Fraction(1, 1000)) -> FrameIndex:
    """Return an index of frames that stay so many ticks each."""
    times = np.concatenate([[0], np.cumsum(lengths)]).tolist()
    return FrameIndex(
        traits=VideoTraits(codec="h264", aspect=None),
        base=base,
        times=array("q", times[:-1]),
        end=times[-1],
        positions=array("q", range(len(lengths))),
        numbers=array("q", range(len(lengths))),
        keys=(),
        counted=len(lengths),
    )


LENGTHS = st.lists(st.integers(1, 400), min_size=1, max_size=120)
SAMPLINGS = st.one_of(
    st.builds(
        lambda patches, patch: FrameSampling(count=patches * patch, multiple_of=patch),
        st.integers(1, 20),
        st.integers(1, 4),
    ),
    st.builds(
        lambda rate, patches, patch, least: FrameSampling(
            per_second=rate, at_most=patches * patch, at_least=min(least, patches * patch), multiple_of=patch
        ),
        st.floats(0.1, 60),
        st.integers(1, 20),
        st.integers(1, 4),
        st.integers(1, 8),
    ),
)


@given(LENGTHS, SAMPLINGS)
def test_numbers_of_chosen_frames(lengths: list[int], sampling: FrameSampling) -> None:
    """They rise, are in the video, are no more than asked for, and a multiple of a patch where the video allows."""
    numbers = sampling.choose(index_of(lengths))
    assert list(numbers) == sorted(set(numbers))
    assert numbers
    assert 0 <= numbers[0] <= numbers[-1] < len(lengths)
    most = sampling.count or sampling.at_most
    assert most is None or len(numbers) <= most
    short = min(sampling.multiple_of, sampling.at_least + sampling.multiple_of - 1, len(lengths))
    assert len(numbers) % sampling.multiple_of == 0 or len(numbers) <= max(short, sampling.at_least)


@given(st.integers(1, 200), st.integers(1, 40))
def test_even_videos_give_what_was_asked(total: int, count: int) -> None:
    """Where frames are evenly spread, so are the chosen ones, and there are as many as there can be."""
    numbers = FrameSampling(count=count).choose(index_of([40] * total))
    assert len(numbers) == min(total, count)
    steps = np.diff(numbers)
    assert not len(steps) or steps.max() - steps.min() <= 1


@given(LENGTHS, st.floats(0.2, 30))
def test_frames_by_time_are_on_screen_then(lengths: list[int], rate: float) -> None:
    """By seconds, those frames are chosen that are seen at the start and each step behind it; times are exact."""
    index = index_of(lengths)
    numbers = FrameSampling(per_second=rate).choose(index)
    step, slack = 1 / Fraction(rate), index.slack()
    for number in numbers:
        begins, ends = index.time(number) - slack, index.time(number + 1) - slack
        first = -(-begins // step) * step
        assert number == 0 or first < ends


def test_a_part_of_a_video() -> None:
    """Only frames between start and end are chosen; an end behind the video is its end; a start there is refused."""
    index = index_of([100] * 100)
    inside = FrameSampling(count=4, start=2, end=4).choose(index)
    assert inside == (22, 27, 32, 37)
    assert FrameSampling(count=2, start=8, end=1000).choose(index) == (85, 95)
    middle = FrameSampling(count=2, centre=1).choose(index)
    assert middle == (47, 52)
    assert FrameSampling(count=1, centre=1000).choose(index) == (50,)
    with pytest.raises(RowRejected, match="begins at 11 s, and the video is 10 s long"):
        FrameSampling(count=2, start=11).choose(index)


def test_frames_that_stay_long_are_not_shown_twice() -> None:
    """A frame that is on screen for most of a video comes once, and a patch of time is still whole."""
    index = index_of([9000, *[10] * 20])
    assert FrameSampling(count=8).choose(index)[0] == 0
    chosen = FrameSampling(count=8, multiple_of=2).choose(index)
    assert len(chosen) % 2 == 0 or len(chosen) == 1


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({}, "by `count` or by `per_second`"),
        ({"count": 4, "per_second": 1}, "by one of them"),
        ({"count": 0}, "`frames.count` is 0"),
        ({"count": 5, "multiple_of": 2}, "write 6"),
        ({"per_second": 2, "at_most": 3, "at_least": 4}, "less than"),
        ({"count": 4, "at_most": 4}, "go with `per_second`"),
        ({"count": 4, "start": 3, "end": 2}, "not behind"),
        ({"count": 4, "centre": 3, "end": 2}, "`frames.centre`"),
        ({"per_second": float("nan")}, "`frames.per_second` is nan"),
        ({"count": 4, "start": -1}, "`frames.start` is -1"),
    ],
)
def test_settings_that_contradict_each_other(settings: dict[str, Any], words: str) -> None:
    """What makes no sense is refused, with what to write."""
    with pytest.raises(TrainError, match=words):
        FrameSampling(**settings)


@given(LENGTHS, st.integers(-(2**62), 2**62), st.integers(1, 90_000))
def test_packed_index_is_the_index(lengths: list[int], first: int, base: int) -> None:
    """What was packed comes back, whatever the times."""
    index = index_of(lengths, Fraction(1, base))
    moved = FrameIndex(
        traits=VideoTraits(codec="vp9", aspect=Fraction(64, 45)),
        base=index.base,
        times=array("q", [first + time for time in index.times]),
        end=first + index.end,
        positions=array("q"),
        numbers=array("q"),
        keys=(),
        counted=3,
    )
    assert unpacked(packed(moved)) == moved


def test_packed_index_is_small() -> None:
    """The index of every clip comes back, and takes less than four bytes a frame, and 400 bytes."""
    for name in CLIPS:
        index = read_index((MEDIA / name).read_bytes())
        data = packed(index)
        assert unpacked(data) == index
        assert len(data) < 100 + 4 * len(index.times)


@given(st.integers(1, 20_000), st.integers(1, 20_000), st.integers(1, 4_000))
def test_fitted_sizes(width: int, height: int, side: int) -> None:
    """A picture keeps its shape to half a pixel, is never made larger, and has no side of nothing."""
    fitted_width, fitted_height = fitted(width, height, side)
    assert min(fitted_width, fitted_height) >= 1
    assert max(fitted_width, fitted_height) == min(side, max(width, height))
    assert fitted(width, height, None) == (width, height)
    scale = max(fitted_width, fitted_height) / max(width, height)
    assert abs(fitted_width - width * scale) <= 0.5 or fitted_width == 1
    assert abs(fitted_height - height * scale) <= 0.5 or fitted_height == 1


def test_more_pixels_than_memory(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Frames that are too many or too large are refused before anything is decoded, with both numbers."""
    data = opened(build_clips(project, ("bigbuckbunny.mp4",)), conversation=CAPTION, frames=FrameSampling(count=128))
    (told,) = data.shape(0).media
    assert isinstance(told, FramesSize)
    assert len(told.numbers) == 128
    monkeypatch.setattr("train.feed.fitted_size.MOST_PIXELS", 1280 * 720 * 127)
    with pytest.raises(RowRejected, match="video: 128 frames of 1,280x720 pixels are 118 million, and 117 are allowed"):
        data.shape(0)


def test_damage_in_a_wanted_frame_names_the_row(project: Project) -> None:
    """A video that is damaged further on opens, and is refused by name when the frame is wanted."""
    (project.source / "clips").mkdir()
    (project.source / "clips" / "c.mp4").write_bytes((MEDIA / "corrupted.mp4").read_bytes())
    project.rows("rows.jsonl", [{"id": "the one", "video": "clips/c.mp4", "caption": "c"}])
    recipe = {"configs": {"default": {"splits": {"train": {"files": "rows.jsonl"}}}}}
    project.write(recipe, {"id": "string", "video": "video", "caption": "string"})
    project.build()
    data = opened(project.out, conversation=CAPTION, id_column="id", frames=FrameSampling(count=32))
    assert data.unusable() == []
    with pytest.raises(RowRejected, match=r"video: the frame at \S+ s does not decode") as raised:
        data.example(0)
    assert raised.value.code == "media.decode"
    assert str(data.ref(0)) == "default/train-00000-of-00001.parquet row 0 (the one)"


def test_frames_of_a_dataset(project: Project) -> None:
    """Through shards, index and place in the file, the frames are still the same."""
    data = opened(build_clips(project, ("test_video_66x50.mov", "unordered.mov")), conversation=CAPTION)
    for number in range(data.rows):
        example = data.example(number)
        (frames,) = example.media
        assert isinstance(frames, Frames)
        name = str(example.turns[1].parts[0]).removeprefix("This is ").rstrip(".")
        total, every = from_the_start(name, set(frames.numbers))
        assert np.array_equal(frames.pixels, np.stack([every[place] for place in frames.numbers]))
        assert frames.total == total
