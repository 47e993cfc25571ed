"""What PyAV alone shows of a video, and videos to cut clips and sample frames from."""

from __future__ import annotations

import contextlib
import functools
import io
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import numpy as np
import odd_videos as videos
from av.error import FFmpegError
from PIL import Image, ImageChops, ImageStat

from pipeline.media.decoded_frames import EXACT
from pipeline.media.sample_frames import SampledFrame, sample_frames

if TYPE_CHECKING:
    from numpy.typing import NDArray

ROOT = Path(__file__).parents[2]
MEDIA = ROOT / "tests" / "data" / "media"
VARIABLE = (0, 40, 120, 130, 300, 340, 700, 720, 1000, 1001, 1500, 1533)
"""Milliseconds at which frames begin."""
ANY = ("closed", "open", "variable", "intra")
"""Kinds of sources for any span."""


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


def pictures(source: bytes) -> list[Image.Image]:
    """Return the frames of a video as PyAV converts them."""
    with av.open(io.BytesIO(source)) as container:
        return [frame.to_image(interpolation=EXACT, threads=1) for frame in container.decode(video=0)]  # type: ignore[no-untyped-call]


def unlikeness(data: bytes, picture: Image.Image) -> float:
    """Return how far two pictures are apart, in the mean of the worst colour."""
    return max(ImageStat.Stat(ImageChops.difference(Image.open(io.BytesIO(data)).convert("RGB"), picture)).mean)


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
"""What is no whole video, and the code with which it is refused."""


@dataclass(frozen=True)
class Sample:
    """A sampled frame, and the picture that was written of it."""

    frame: SampledFrame
    data: bytes


def sampled(source: Path, folder: Path, **asked: Any) -> list[Sample]:
    """Sample frames into a new folder, read the pictures, and take the folder away again."""
    folder.mkdir()
    frames = sample_frames(source, folder, **asked)
    assert sorted(folder.iterdir()) == [frame.path for frame in frames]
    found = [Sample(frame, frame.path.read_bytes()) for frame in frames]
    for frame in frames:
        frame.path.unlink()
    folder.rmdir()
    return found
