"""Which frames of a video a model is shown: so many, or so many a second, out of all of it or a part."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from fractions import Fraction
from math import inf
from typing import TYPE_CHECKING, Any

from train.example import TrainError

if TYPE_CHECKING:
    from pipeline.media.frame_index import FrameIndex
    from pipeline.media.span_bounds import Bounds


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameSampling:
    """How frames are chosen; a frame comes once, so a video gives no more than it has.

    Raises:
        TrainError: the settings contradict each other.
    """

    count: int | None = None
    """So many frames, those on screen in the middles of equal parts of the video."""
    per_second: float | None = None
    """Or so many a second, from the start on; where these are more than `at_most`, the middles of that many parts."""
    at_least: int = 1
    """Fewest frames, as far as there are any."""
    at_most: int | None = None
    """Most frames."""
    multiple_of: int = 1
    """Frames that a model joins to one patch of time: the number is a multiple of it, unless the video is shorter."""
    start: float | None = None
    """Seconds of the video at which the part begins that is looked at."""
    end: float | None = None
    """Seconds at which it ends; a video that ends before is taken to its end."""
    centre: float | None = None
    """Instead of both: so many seconds in the middle of the video."""

    def __post_init__(self) -> None:
        """Refuse what makes no sense."""
        for name in ("count", "at_least", "at_most", "multiple_of"):
            value = getattr(self, name)
            if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
                raise TrainError(f"`frames.{name}` is {value!r}", allowed="a whole number above 0")
        for name in ("per_second", "start", "end", "centre"):
            value = getattr(self, name)
            if value is not None and not 0 <= value < inf:
                raise TrainError(f"`frames.{name}` is {value!r}", allowed="a number, and none below 0")
        if (self.count is None) == (self.per_second is None) or self.per_second == 0:
            allowed = "`count: 8`, or `per_second: 2` with `at_most: 64` beside it"
            raise TrainError("frames are sampled by `count` or by `per_second`, and by one of them", allowed=allowed)
        if self.count is not None and (self.at_most is not None or self.at_least != 1):
            raise TrainError("`frames.at_least` and `frames.at_most` go with `per_second`", allowed="`count` alone")
        if self.at_most is not None and self.at_most < self.at_least:
            raise TrainError(f"`frames.at_most` is {self.at_most}, less than `at_least: {self.at_least}`")
        for name in ("count", "at_most"):
            value = getattr(self, name)
            if value is not None and value % self.multiple_of:
                near = value + -value % self.multiple_of
                what = f"`frames.{name}` is {value}, and the model takes {self.multiple_of} frames together"
                raise TrainError(what, hint=f"write {near}")
        if self.centre is not None and (self.centre == 0 or self.start is not None or self.end is not None):
            raise TrainError("`frames.centre` is a number of seconds above 0, without `start` and `end` beside it")
        if self.start is not None and self.end is not None and self.start >= self.end:
            raise TrainError(f"`frames.end` is {self.end:g} s, which is not behind `start: {self.start:g}`")

    def plain(self) -> dict[str, Any]:
        """Return what decides which frames are chosen, for fingerprints."""
        return asdict(self)

    def choose(self, index: FrameIndex) -> tuple[int, ...]:
        """Return the numbers of the chosen frames, rising; times are exact, also where frames stay unequally long.

        Raises:
            RowRejected: `clip.span` (the part is not in this video), `clip.empty` (no frame begins in it), or
                `media.decode` (its frames cannot be counted).
        """
        from pipeline.media.sample_frames import frames_by_count, frames_by_steps

        bounds = self._bounds(index)
        if self.per_second is None:
            wanted = self.count or 1
            chosen: list[int] = []
        else:
            chosen = frames_by_steps(index, bounds, 1 / Fraction(self.per_second))
            wanted = len(chosen)
        number = self._rounded(wanted, len(bounds.frames))
        if number != len(chosen):
            chosen = frames_by_count(index, bounds, number)
        return tuple(self._thinned(chosen))

    def _bounds(self, index: FrameIndex) -> Bounds:
        from pipeline.media.span import Span
        from pipeline.media.span_bounds import span_bounds

        length = index.time(len(index.times))
        if self.centre is not None:
            around = min(Fraction(self.centre), length)
            return span_bounds(Span(start=(length - around) / 2, end=(length + around) / 2), index)
        start = None if self.start is None else Fraction(self.start)
        # one end for all videos of a dataset, of which some are shorter
        end = None if self.end is None or self.end >= length else Fraction(self.end)
        return span_bounds(Span(start=start, end=end), index)

    def _rounded(self, wanted: int, available: int) -> int:
        """Return how many frames are taken when so many are wanted and available."""
        most = min(available, self.at_most or available)
        wanted = min(max(wanted, self.at_least), most)
        down = wanted - wanted % self.multiple_of
        if down >= self.at_least and down > 0:
            return down
        up = down + self.multiple_of
        return up if up <= most else wanted

    def _thinned(self, chosen: list[int]) -> list[int]:
        """Take evenly away what is over a multiple: some moments show the same frame where frames stay long."""
        number = len(chosen) - len(chosen) % self.multiple_of
        if number in (0, len(chosen)):
            return chosen
        return [chosen[(2 * place + 1) * len(chosen) // (2 * number)] for place in range(number)]
