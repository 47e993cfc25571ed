"""The frames of a video: when each is shown, and from which packets it is decoded.

A frame is known by its number in the order of display, counted from 0, or by its time. Time 0 is where the first frame
begins, so that a video of N seconds ends at N as the probe says it. A border and a frame that are less than a
millisecond apart are at the same time: clocks of files and people's notes are rounded to milliseconds.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, NamedTuple

from pipeline.errors import RowRejected

if TYPE_CHECKING:
    from array import array

SAME_TIME = Fraction(1, 1000)
"""Seconds by which a frame and a border may differ and still be at the same time; less where frames are as close."""
HIDDEN, LEFT_OUT = -1, -2
"""Instead of a packet's number: it only helps to decode others, or an edit list leaves it out."""


class MiscountedError(Exception):
    """Frames come out that the packets did not tell of, or in another order."""


class KeyFrame(NamedTuple):
    """A packet at which decoding may begin."""

    packet: int
    """Counted in the file."""
    time: int | None
    """Ticks at which it is sought; None: it cannot be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoTraits:
    """What is known of a video beside its frames."""

    codec: str
    aspect: Fraction | None
    """Width of a pixel by its height."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameIndex:
    """The frames of a video: when they are shown, and in which packets they lie."""

    traits: VideoTraits
    base: Fraction
    """Seconds of a tick."""
    times: array[int]
    """Frame -> ticks, in the order of display."""
    end: int
    """Ticks at which the last frame ends."""
    positions: array[int]
    """Frame -> its packet, counted in the file; empty when only decoding tells."""
    numbers: array[int]
    """Packet -> its frame, or why it has none; empty likewise."""
    keys: tuple[KeyFrame, ...]
    """Those that are shown, in the order of the file."""
    counted: int
    """Frames of which the numbers are sure."""

    def time(self, number: int) -> Fraction:
        """Return the seconds at which a frame begins; those of the frame behind the last one are the end."""
        ticks = self.times[number] if number < len(self.times) else self.end
        return (ticks - self.times[0]) * self.base

    def when(self, frames: range) -> tuple[Fraction, Fraction]:
        """Return the time at which frames begin and end by the file's own clock, which is that of the sound as well."""
        zero = self.times[0] * self.base
        return zero + self.time(frames.start), zero + self.time(frames.stop)

    def slack(self) -> Fraction:
        """Return the seconds that make no difference."""
        return min(SAME_TIME, self.time(len(self.times)) / len(self.times) / 4)

    def from_time(self, seconds: Fraction) -> int:
        """Return the first frame that begins at a time or later."""
        return bisect_left(self.times, (seconds - self.slack()) / self.base + self.times[0])

    def on_screen(self, seconds: Fraction) -> int:
        """Return the frame that is seen at a time."""
        return bisect_right(self.times, (seconds + self.slack()) / self.base + self.times[0]) - 1

    def number_of(self, ticks: int | None) -> int | None:
        """Return the frame at exactly this time."""
        place = len(self.times) if ticks is None else bisect_left(self.times, ticks)
        return place if place < len(self.times) and self.times[place] == ticks else None

    def key_of(self, number: int) -> KeyFrame | None:
        """Return the last key frame from which a frame can be decoded."""
        if not self.keys:
            return None
        place = bisect_right(self.keys, self.positions[number], key=lambda key: key.packet)
        # a frame shown before a key frame and stored behind it needs the one before
        while place and self.numbers[self.keys[place - 1].packet] > number:
            place -= 1
        return self.keys[place - 1] if place else None

    def undecoded(self, number: int, what: str) -> RowRejected:
        """Return the refusal of a video in which a frame does not come out."""
        return RowRejected("media.decode", f"the frame at {told(self.time(number))} s {what}")


def told(seconds: Fraction) -> str:
    """Return seconds for people."""
    return f"{float(seconds):.3f}".rstrip("0").rstrip(".") if seconds < 1 << 40 else "more than 10^12"
