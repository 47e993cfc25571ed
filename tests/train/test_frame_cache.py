"""Kept frames are the frames; a training does not depend on whether they are kept, whole or damaged."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pytest

from pipeline.errors import RowRejected
from tests.project import MEDIA, Project
from tests.train.datasets_for_tests import CAPTION, build_clips, media, opened, write_dataset
from train.example import Frames
from train.feed.build_frame_cache import build_frame_cache, estimated_bytes
from train.feed.frame_sampling import FrameSampling

if TYPE_CHECKING:
    from pathlib import Path

    from train.feed.training_data import TrainingData

FEW = ("h265_video.mp4", "video_90.mov", "bitmap.mp4", "fixture.mpg", "h264_10bits.mp4")


def pixels_of(data: TrainingData) -> list[np.ndarray]:
    """Return the frames of every row."""
    found = []
    for number in range(data.rows):
        (frames,) = data.example(number).media
        assert isinstance(frames, Frames)
        assert frames.size == data.shape(number).media[0]
        found.append(frames.pixels)
    return found


def same(ones: list[np.ndarray], others: list[np.ndarray]) -> bool:
    """Tell whether all pixels are the same."""
    return all(np.array_equal(one, other) for one, other in zip(ones, others, strict=True))


def kept_files(data: TrainingData) -> tuple[Path, Path]:
    """Return the two files of the first shard's frames."""
    place = data.media.cache_place(0)
    assert place is not None
    return place.frames, place.index


@pytest.mark.parametrize("picture", ["jpeg", "png"])
@pytest.mark.parametrize("how", ["embedded", "archive"])
def test_kept_frames_are_the_frames(project: Project, picture: str, how: str) -> None:
    """With and without the cache the pixels are the same; as PNGs they are those of the video as well."""
    folder = build_clips(project, FEW, shards=None if how == "embedded" else {"media": how})
    options = {"conversation": CAPTION, "longest_side": 96}
    decoded = pixels_of(opened(folder, **options))
    data = opened(folder, **options, frame_cache=picture)
    before = pixels_of(data)
    report = build_frame_cache(data, processes=2)
    assert (report.videos, report.made, report.refused, report.left_out) == (len(FEW), len(FEW), [], 0)
    assert report.bytes == kept_files(data)[0].stat().st_size <= estimated_bytes(data)
    after = pixels_of(data)
    assert same(before, after)
    assert same(decoded, after) == (picture == "png")
    assert all(abs(one.astype(int) - other).mean() < 10 for one, other in zip(decoded, after, strict=True))
    again = build_frame_cache(data, processes=2)
    assert (again.made, again.videos, again.bytes) == (0, len(FEW), report.bytes)


def test_frames_come_out_of_the_cache(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """When they are kept no video is decoded; with other frames or another size they are, and kept elsewhere."""
    folder = build_clips(project, FEW)
    data = opened(folder, conversation=CAPTION, longest_side=64, frame_cache="jpeg")
    build_frame_cache(data, processes=1)
    wanted = pixels_of(data)
    asked: list[object] = []

    def refuse(*arguments: object) -> None:
        asked.append(arguments)
        raise RowRejected("test", "no video is decoded")

    monkeypatch.setattr("train.feed.decoded_video.decoded_video", refuse)
    assert same(pixels_of(opened(folder, conversation=CAPTION, longest_side=64, frame_cache="jpeg")), wanted)
    for other in ({"longest_side": 65}, {"frames": FrameSampling(count=3)}, {"frame_cache": "png"}):
        another = opened(folder, **{"conversation": CAPTION, "longest_side": 64, "frame_cache": "jpeg", **other})
        with pytest.raises(RowRejected, match="no video is decoded"):
            another.example(0)
    assert len(asked) == 3


def test_damaged_frames_are_decoded_anew(project: Project) -> None:
    """A byte that changed, a file that was cut off, an index that is gone: the pixels are the same all the same."""
    folder = build_clips(project, FEW)
    options = {"conversation": CAPTION, "longest_side": 64, "frame_cache": "jpeg"}
    data = opened(folder, **options)
    build_frame_cache(data, processes=1)
    wanted = pixels_of(data)
    frames, index = kept_files(data)
    whole = frames.read_bytes()
    for place in range(0, len(whole), len(whole) // 4):
        frames.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        assert same(pixels_of(opened(folder, **options)), wanted)
    frames.write_bytes(whole[:-5])
    cut = opened(folder, **options)
    assert same(pixels_of(cut), wanted)
    assert build_frame_cache(cut, processes=1).made == len(FEW)
    assert frames.read_bytes() == whole
    index.write_bytes(b"ARROW1 or not")
    assert same(pixels_of(opened(folder, **options)), wanted)
    frames.unlink()
    assert same(pixels_of(opened(folder, **options)), wanted)
    index.unlink()
    assert build_frame_cache(opened(folder, **options), processes=1).made == len(FEW)


def test_no_half_cache_is_left(project: Project) -> None:
    """A build that ends in the middle leaves no frames that would be taken for whole, and no leftovers."""
    data = opened(build_clips(project, FEW), conversation=CAPTION, longest_side=64, frame_cache="jpeg")
    done: list[int] = []

    def stop(count: int) -> None:
        done.append(count)
        if sum(done) >= 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_frame_cache(data, processes=1, advance=stop)
    frames, index = kept_files(data)
    assert not frames.exists()
    assert not index.exists()
    assert [one.name for one in frames.parent.iterdir() if not one.name.startswith("lock-")] == []
    assert build_frame_cache(data, processes=1).videos == len(FEW)


def test_room(project: Project) -> None:
    """The cache keeps to its room; what does not fit is decoded each time, and kept when there is more room."""
    data = opened(build_clips(project, FEW), conversation=CAPTION, longest_side=64, frame_cache="jpeg")
    wanted = pixels_of(data)
    whole = build_frame_cache(data, processes=1).bytes
    for path in kept_files(data):
        path.unlink()
    report = build_frame_cache(data, processes=1, most_bytes=whole // 2)
    assert 0 < report.bytes <= whole // 2
    assert report.left_out == len(FEW) - report.videos > 0
    assert same(pixels_of(data), wanted)
    assert build_frame_cache(data, processes=1, most_bytes=report.bytes).made == 0
    assert build_frame_cache(data, processes=1).videos == len(FEW)
    assert same(pixels_of(data), wanted)


def test_videos_that_do_not_decode_are_known_afterwards(tmp_path: Path) -> None:
    """What fails while frames are kept is named, and refused before anything is planned with it."""
    names = ("corrupted.mp4", "bitmap.mp4", "corrupted.mp4")
    table = pa.table({"video": media([(MEDIA / name).read_bytes() for name in names]), "caption": list(names)})
    folder = write_dataset(tmp_path / "d", table, {"video": {"_type": "Video"}}, compression="snappy")
    data = opened(folder, conversation=CAPTION, frames=FrameSampling(count=32), longest_side=64, frame_cache="jpeg")
    assert data.unusable() == []
    report = build_frame_cache(data, processes=1)
    assert (report.videos, [code for _, code, _ in report.refused]) == (1, ["media.decode"])
    named = data.unusable()
    assert [(ref.number, code) for ref, code, _ in named] == [(0, "media.decode"), (2, "media.decode")]
    assert named[0][2].startswith("video: the frame at")
    with pytest.raises(RowRejected, match="video: the frame at"):
        data.example(2)
    data.example(1)
