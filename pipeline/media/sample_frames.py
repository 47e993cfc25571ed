"""Sampling frames of a video as upright pictures: the same frames and the same bytes every time.

Writes files, so a process that runs this must be allowed to (`RLIMIT_FSIZE`).
"""

from __future__ import annotations

import io
import math
from contextlib import closing
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Literal, cast

from pipeline.errors import RowRejected
from pipeline.media.decoded_frames import EXACT, decoded_frames, display_matrix
from pipeline.media.read_frame_index import with_index
from pipeline.media.span import Span
from pipeline.media.span_bounds import span_bounds
from pipeline.workspace import disk_errors, remove_file

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from av.video.frame import VideoFrame

    from pipeline.media.frame_index import FrameIndex
    from pipeline.media.location import Location
    from pipeline.media.span_bounds import Bounds

Picture = Literal["png", "jpeg"]
"""What a frame is written as."""

JPEG_QUALITY = 95
_SUFFIXES: dict[Picture, str] = {"png": ".png", "jpeg": ".jpg"}
_JPEG_SIDE = 65_500
"""Pixels of a side that libjpeg writes at the most."""
_FLIP_SIDES, _FLIP_TOP, _TURN_LEFT, _TURN_RIGHT, _TRANSPOSE, _TRANSVERSE = 0, 1, 2, 4, 5, 6
"""Pillow's numbers of the ways to turn a picture."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SampledFrame:
    """A frame that was written as an upright picture."""

    path: Path
    number: int
    """Counted from 0 in the order of display."""
    time: float
    """Seconds at which it begins."""
    width: int
    height: int


def sample_frames(
    source: Location,
    folder: Path,
    *,
    count: int | None = None,
    per_second: float | None = None,
    span: Span | None = None,
    most: int = 1_000,
    picture: Picture = "jpeg",
) -> list[SampledFrame]:
    """Write frames as pictures: those on screen in the middles of `count` equal parts, or `per_second` from the start.

    Each frame comes once, so there are fewer where the video has fewer, or where one of them stays long. They lie in
    the folder, which is there already, as `00000.jpg` and so on; they are not synced. After an error none is left.

    Raises:
        RowRejected: `clip.most` (there would be more than `most`), `clip.encode` (too large for a JPEG), or a code of
            `cut_clip`.
        OSError: a picture cannot be written; a WorkspaceError where the user can do something about it.
    """
    if (count is None) == (per_second is None):
        raise ValueError("give either `count` or `per_second`")
    if not 0 < (count or per_second or 0) < math.inf:
        raise ValueError("frames are sampled by a number above 0")

    def sample(index: FrameIndex) -> list[SampledFrame]:
        bounds = span_bounds(span or Span(), index)
        if per_second is None:
            numbers = frames_by_count(index, bounds, count or 1)
        else:
            numbers = frames_by_steps(index, bounds, 1 / Fraction(per_second))
        if len(numbers) > most:
            raise RowRejected("clip.most", f"it gives {len(numbers):,} frames, and {most:,} are allowed")
        return _write(source, index, numbers, folder, picture)

    return with_index(source, sample)


def frames_by_steps(index: FrameIndex, bounds: Bounds, step: Fraction) -> list[int]:
    """Return the frames that are on screen at the start, or a number of steps behind it."""
    frames, start, slack = bounds.frames, bounds.start, index.slack()
    steps = max(math.ceil((bounds.end - slack - start) / step), 1)
    if steps <= len(frames):
        return _on_screen(index, bounds, (start + number * step for number in range(steps)))
    found = [frames.start]
    for number in frames[1:]:
        begin, until = index.time(number) - slack - start, min(index.time(number + 1), bounds.end) - slack - start
        if math.ceil(begin / step) * step < until:
            found.append(number)
    return found


def frames_by_count(index: FrameIndex, bounds: Bounds, count: int) -> list[int]:
    """Return the frames that are on screen in the middles of equal parts."""
    if count >= len(bounds.frames):
        return list(bounds.frames)
    length = bounds.end - bounds.start
    return _on_screen(index, bounds, (bounds.start + length * Fraction(2 * n + 1, 2 * count) for n in range(count)))


def _on_screen(index: FrameIndex, bounds: Bounds, moments: Iterable[Fraction]) -> list[int]:
    first, last = bounds.frames[0], bounds.frames[-1]
    return sorted({min(max(index.on_screen(moment), first), last) for moment in moments})


def _write(
    source: Location, index: FrameIndex, numbers: list[int], folder: Path, picture: Picture
) -> list[SampledFrame]:
    """Write all of the frames, or none: an index may prove wrong when some of them are written."""
    paths: list[Path] = []
    sampled: list[SampledFrame] = []
    try:
        with closing(decoded_frames(source, index, numbers)) as frames:
            for number, frame in frames:
                image = upright(frame)
                data = _encoded(image, picture)
                path = folder / f"{len(paths):05}{_SUFFIXES[picture]}"
                paths.append(path)
                with disk_errors(path):
                    path.write_bytes(data)
                time = float(index.time(number))
                sampled.append(
                    SampledFrame(path=path, number=number, time=time, width=image.width, height=image.height)
                )
    except BaseException:
        for path in paths:
            remove_file(path)
        raise
    return sampled


def upright(frame: VideoFrame) -> Any:
    """Return a frame as one of Pillow's images, turned as it is to be shown."""
    # PyAV hands its frames to Pillow
    image = cast("Any", frame).to_image(interpolation=EXACT, threads=1)
    for turn in turns(display_matrix(frame)):
        image = image.transpose(turn)
    return image


def turns(matrix: tuple[int, ...] | None) -> list[int]:
    """Return how a picture is made upright, as FFmpeg's own program does it."""
    if matrix is None:
        return []
    a, b, _, c, d, *_ = matrix
    if a == d == 0 and b and c:
        if b > 0:
            return [_TRANSPOSE if c > 0 else _TURN_RIGHT]
        return [_TRANSVERSE if c < 0 else _TURN_LEFT]
    return [*[_FLIP_SIDES] * (a < 0), *[_FLIP_TOP] * (d < 0)]


def _encoded(image: Any, picture: Picture) -> bytes:
    file = io.BytesIO()
    if picture == "png":
        image.save(file, "PNG")
    elif max(image.size) > _JPEG_SIDE:
        # Pillow calls it an OSError, but no disk is at fault
        raise RowRejected("clip.encode", f"a picture of {image.width}x{image.height} is too large for a JPEG")
    else:
        image.save(file, "JPEG", quality=JPEG_QUALITY, subsampling=0)
    return file.getvalue()
