"""A part of a video, in seconds or in frames, as people ask for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fractions import Fraction


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A part of a video; like a range of Python, it holds its start and not its end.

    What is left out is the video's own start or end.
    """

    start: Fraction | float | None = None
    """Seconds; 0 is where the first frame begins."""
    end: Fraction | float | None = None
    """Seconds; a frame that begins here is outside."""
    start_frame: int | None = None
    """The first frame inside, counted from 0 in the order of display."""
    end_frame: int | None = None
    """The first frame that is outside again."""

    def __post_init__(self) -> None:
        if self.in_frames and not (self.start is None and self.end is None):
            raise ValueError("a span is in seconds or in frames, and not in both")

    @property
    def in_frames(self) -> bool:
        """Is it in frames?"""
        return self.start_frame is not None or self.end_frame is not None
