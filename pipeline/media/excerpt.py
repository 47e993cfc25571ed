"""Excerpts: what a row wants out of a longer video, a clip or frames, and the pieces that were cut out for it."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal

from pipeline.errors import RowRejected
from pipeline.media.span import Span
from pipeline.single_value import shown

How = Literal["copied", "encoded", "sampled"]
EXCERPT_VERSION = 1
"""Raised when the same excerpt of the same video would be other bytes."""
_CLOCK = re.compile(r"(?:(?P<hours>\d{1,4}):)?(?P<minutes>\d{1,4}):(?P<seconds>\d{1,2}(?:\.\d{1,9})?)\Z", re.ASCII)
_NUMBER = re.compile(r"[+-]?(?:\d{1,12}(?:\.\d{0,12})?|\.\d{1,12})\Z", re.ASCII)
_MOST_SECONDS = 10**9


@dataclass(frozen=True, kw_only=True, slots=True)
class Frames:
    """How frames are sampled: so many, or so many a second."""

    count: int | None = None
    per_second: float | None = None
    most: int
    """Frames of one video; more are an error of the row."""
    picture: Literal["jpeg", "png"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Excerpt:
    """A part of a video: a clip of it, or frames out of it."""

    span: Span
    exact: bool = True
    """Clips: whether they begin and end at the span's frames, or as far outside as copying needs."""
    frames: Frames | None = None
    """None: a clip."""

    @property
    def text(self) -> str:
        """The excerpt as text, the same for the same one."""
        span, frames = self.span, self.frames
        value = {
            "start": _as_text(span.start),
            "end": _as_text(span.end),
            "start_frame": span.start_frame,
            "end_frame": span.end_frame,
            "exact": self.exact,
            "frames": None if frames is None else [frames.count, frames.per_second, frames.most, frames.picture],
        }
        return json.dumps(value, sort_keys=True)

    @classmethod
    def from_text(cls, text: str) -> Excerpt:
        """Read what `text` says."""
        value: dict[str, Any] = json.loads(text)
        start, end = (None if value[key] is None else Fraction(value[key]) for key in ("start", "end"))
        span = Span(start=start, end=end, start_frame=value["start_frame"], end_frame=value["end_frame"])
        frames = None
        if value["frames"] is not None:
            count, per_second, most, picture = value["frames"]
            frames = Frames(count=count, per_second=per_second, most=most, picture=picture)
        return cls(span=span, exact=value["exact"], frames=frames)


@dataclass(frozen=True, kw_only=True, slots=True)
class Piece:
    """A file that was cut out: a clip, or one frame."""

    sha256: str
    suffix: str
    """What stands behind the video's name in the piece's, e.g. `_12.5-20.mp4`."""
    how: How
    file: str = ""
    """Its name where it was written, until it is in the store."""


def _as_text(seconds: Fraction | float | None) -> str | None:
    return None if seconds is None else str(Fraction(seconds))


def seconds_of(value: Any, name: str) -> Fraction | None:
    """Return a time in seconds: a number, or text such as `12.5`, `1:23.4` or `00:01:23.4`; blank or null is None.

    Raises:
        RowRejected: `clip.span`.
    """
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        seconds = Fraction(value) if isinstance(value, int) else Fraction(repr(value))
    elif isinstance(value, str) and _NUMBER.match(value.strip()):
        seconds = Fraction(value.strip())
    elif isinstance(value, str) and (clock := _CLOCK.match(value.strip())):
        seconds = 3600 * int(clock["hours"] or 0) + 60 * int(clock["minutes"]) + Fraction(clock["seconds"])
    else:
        raise RowRejected("clip.span", f"{name} {shown(value)} is no time; write seconds, or [hours:]minutes:seconds")
    if not 0 <= seconds <= _MOST_SECONDS:
        raise RowRejected("clip.span", f"{name} {shown(value)} is no time inside of a video")
    return seconds


def frame_of(value: Any, name: str) -> int | None:
    """Return the number of a frame, counted from 0; blank or null is None.

    Raises:
        RowRejected: `clip.span`.
    """
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, str) and re.fullmatch(r"\d{1,12}", value.strip(), re.ASCII):
        value = int(value)
    if type(value) is not int or not 0 <= value < 10**12:
        raise RowRejected("clip.span", f"{name} {shown(value)} is no number of a frame; they are counted from 0")
    return value
