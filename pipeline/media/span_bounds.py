"""The borders of a span in a video: which frames lie inside, or why there are none."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from numbers import Integral, Rational, Real
from typing import TYPE_CHECKING

from pipeline.errors import RowRejected
from pipeline.media.frame_index import told

if TYPE_CHECKING:
    from pipeline.media.frame_index import FrameIndex
    from pipeline.media.span import Span


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """The borders of a span in a video."""

    frames: range
    start: Fraction
    """Seconds."""
    end: Fraction
    """Seconds."""


def span_bounds(span: Span, index: FrameIndex) -> Bounds:
    """Return the borders of a span in a video.

    Raises:
        RowRejected: `clip.span` (it is none, or not in this video), `clip.empty` (no frame begins in it), or
            `media.decode` (its frames cannot be counted).
    """
    bounds = _frame_bounds(span, index) if span.in_frames else _time_bounds(span, index)
    if bounds.frames.stop > index.counted:
        raise index.undecoded(index.counted, "does not decode, so that what is behind it cannot be counted")
    return bounds


def _frame_bounds(span: Span, index: FrameIndex) -> Bounds:
    total = len(index.times)
    start = _frame_number(span.start_frame, "start_frame", 0)
    end = _frame_number(span.end_frame, "end_frame", max(total, start + 1))
    if start >= end:
        raise RowRejected("clip.span", f"it goes from frame {start} to frame {end}, which is not behind it")
    # an end is forgiven a frame, as one in seconds is
    if start >= total or end > total + 1:
        where = f"begins at frame {start}" if start >= total else f"ends at frame {end}"
        raise RowRejected("clip.span", f"it {where}, and the video has {total:,} frames")
    end = min(end, total)
    return Bounds(frames=range(start, end), start=index.time(start), end=index.time(end))


def _time_bounds(span: Span, index: FrameIndex) -> Bounds:
    total = len(index.times)
    length = index.time(total)
    start = _seconds(span.start, "start", Fraction(0))
    # so that a span without an end that begins too late hears of the video's length
    end = _seconds(span.end, "end", length if start < length else start + 1)
    if start >= end:
        raise RowRejected("clip.span", f"it goes from {told(start)} s to {told(end)} s, which is not behind it")
    one_frame = max(length - index.time(total - 1), length / total)
    if start >= length or end > length + one_frame + index.slack():
        where = f"begins at {told(start)} s" if start >= length else f"ends at {told(end)} s"
        raise RowRejected("clip.span", f"it {where}, and the video is {told(length)} s long")
    end = min(end, length)
    frames = range(index.from_time(start), total if end == length else index.from_time(end))
    if not frames:
        raise RowRejected("clip.empty", f"no frame begins between {told(start)} s and {told(end)} s")
    return Bounds(frames=frames, start=start, end=end)


def _seconds(value: object, name: str, default: Fraction) -> Fraction:
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, Real) or value != value or value in (math.inf, -math.inf):  # noqa: PLR0124  (not a number)
        raise RowRejected("clip.span", f"{name} is no number of seconds: {value!r:.60}")
    seconds = Fraction(value) if isinstance(value, Rational) else Fraction(float(value))
    if seconds < 0:
        raise RowRejected("clip.span", f"{name} is negative: {told(seconds)} s")
    return seconds


def _frame_number(value: object, name: str, default: int) -> int:
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise RowRejected("clip.span", f"{name} is no number of a frame: {value!r:.60}")
    if value < 0:
        raise RowRejected("clip.span", f"{name} is negative: {value!r:.60}")
    return int(value)
