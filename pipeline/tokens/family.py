"""What every model family answers: into how many frames, pixels and tokens it turns an image or a video."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

UNKNOWN_FPS = 24.0
"""Frames a second of a video that does not say, as transformers assumes."""
SENSIBLE = 1e9
"""Frames a second, or seconds, that no video reaches; one divided by it is the least."""


class Spent(NamedTuple):
    """What one medium costs."""

    frames: int
    """Frames of a video that the model is shown; none for an image."""
    pixels: int
    """Pixels that the vision tower is given, after resizing, tiling and padding of frames."""
    tokens: int
    """Tokens that stand for the medium in the prompt, with everything that the processor writes around them."""


class Refused(Exception):
    """The family's processor raises an error for such a medium; the text says why."""


class Unmeasured(Exception):
    """Too little is known of a medium to say what it costs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoFacts:
    """What a probe knows of a video."""

    width: int
    height: int
    frames: int | None = None
    fps: float | None = None
    duration: float | None = None

    def timing(self) -> tuple[int, float]:
        """Return frames, and frames a second; of frames, rate and seconds any two give the third.

        Frames divided by their rate are the seconds that count, as in transformers, even if the container says others.

        Raises:
            Unmeasured: nothing tells how many frames there are.
        """
        fps, seconds = _sensible(self.fps), _sensible(self.duration)
        frames = self.frames
        if frames is None and seconds is not None:
            frames = round(seconds * (fps or UNKNOWN_FPS))
        if frames is None or not 0 < frames < 1 << 63:
            raise Unmeasured("nobody counted its frames")
        if fps is None:
            fps = frames / seconds if seconds is not None else UNKNOWN_FPS
        return frames, fps


class Family(Protocol):
    """Models that see media in one way. A family is a frozen dataclass, so `replace` gives it other limits."""

    @property
    def name(self) -> str:
        """What people ask for."""

    @property
    def models(self) -> tuple[str, ...]:
        """Released models whose processors have exactly these settings."""

    def image(self, width: int, height: int) -> Spent:
        """Return what an image costs, both sides being 1 or more.

        Raises:
            Refused: the processor fails on it.
        """

    def video(self, video: VideoFacts) -> Spent:
        """Return what a video costs, both sides being 1 or more.

        Raises:
            Refused: the processor fails on it.
            Unmeasured: nobody counted its frames.
        """


def _sensible(value: float | None) -> float | None:
    """Return a rate or a duration, unless it is none that a video can have."""
    return value if value is not None and 1 / SENSIBLE < value < SENSIBLE else None


def characters_of(count: int, text: Callable[[int], str]) -> int:
    """Return how many characters the texts of 0 to `count` have together, none of them shorter than the one before."""
    total, start = 0, 0
    while start < count:
        length = len(text(start))
        end = bisect_right(range(count), length, lo=start, key=lambda place: len(text(place)))
        total += length * (end - start)
        start = end
    return total
