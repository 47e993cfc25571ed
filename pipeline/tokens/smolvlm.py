"""SmolVLM2: images become square tiles and one small view of the whole; frames become squares, each behind its time.

After `SmolVLMImageProcessor`, `SmolVLMVideoProcessor` and `SmolVLMProcessor` in transformers 5.23, with the settings of
the released models' `preprocessor_config.json` and `processor_config.json`. Texts that the processor writes itself are
counted as SmolLM2's tokenizer cuts them: each digit is a token, and so is each of these words. Where a row has videos
of different lengths, the processor names the longest one's number of frames before each: up to two tokens more.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from pipeline.tokens.family import Spent, VideoFacts, characters_of

LARGEST_SIDE = 4096
"""No image is made larger than this."""
SKIPPED_SECONDS = 1
"""Of a long video, so much is left out at its start and at its end."""
INTRO = 20
"""`You are provided the following series of … frames from a … [H:MM:SS] video.` and a line break, without the number
of frames and the duration."""
OUTRO = 2
"""Two line breaks behind a video, as they are cut before further text."""
BEFORE_FRAME = 4
"""A line break, `Frame`, ` from` and a space; behind them each character of `00:01:` is a token."""
AROUND_TILE = 2
"""The fake token, and the row and column of a tile."""
AROUND_WHOLE = 3
"""A fake token on both sides, and the mark of the view of the whole."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SmolVLM2:
    """SmolVLM2, whose sizes differ in the sides of images and tiles."""

    name: str
    models: tuple[str, ...]
    longest_side: int
    """Every image is first made so large or so small. The tokenizer knows 6 rows and 6 columns of tiles, no more."""
    tile: int
    """Pixels a side of a tile."""
    tile_tokens: int
    """Tokens that stand for one tile."""
    fps: int = 1
    """Frames a second that are sampled."""
    max_frames: int = 64

    def image(self, width: int, height: int) -> Spent:
        """Return what an image costs."""
        columns, rows = self.grid(width, height)
        if columns * rows == 1:
            return Spent(0, self.tile**2, self.tile_tokens + AROUND_WHOLE)
        tiles = columns * rows
        # a line break behind each row; the one before the whole view joins the last
        tokens = tiles * (self.tile_tokens + AROUND_TILE) + rows + self.tile_tokens + AROUND_WHOLE
        return Spent(0, (tiles + 1) * self.tile**2, tokens)

    def video(self, video: VideoFacts) -> Spent:
        """Return what a video costs."""
        total, fps = video.timing()
        first, last, frames = self._sampled(total, fps)
        step = (last - first) / (frames - 1) if frames > 1 else 0.0

        def minutes_and_seconds(frame: int) -> str:
            place = last if frame == frames - 1 and frames > 1 else int(first + frame * step)
            return f"{int(place / fps // 60):02d}:{int(place / fps % 60):02d}:"

        each = BEFORE_FRAME + self.tile_tokens + AROUND_WHOLE
        intro = INTRO + _number_tokens(frames) + _duration_tokens(int(total / fps))
        tokens = intro + frames * each + characters_of(frames, minutes_and_seconds) + OUTRO
        return Spent(frames, frames * self.tile**2, tokens)

    def grid(self, width: int, height: int) -> tuple[int, int]:
        """Return columns and rows of tiles."""
        short_is_height = width >= height
        width, height = _with_long_side(width, height, self.longest_side)
        # the short side is made even, and at least 1
        width, height = (width, height + height % 2) if short_is_height else (width + width % 2, height)
        width, height = max(width, 1), max(height, 1)
        if max(width, height) > LARGEST_SIDE:
            width, height = (max(side, 1) for side in _with_long_side(width, height, LARGEST_SIDE))
        tiles = math.ceil(max(width, height) / self.tile)
        width, height = _with_long_side(width, height, tiles * self.tile)
        return math.ceil(width / self.tile), math.ceil(height / self.tile)

    def _sampled(self, total: int, fps: float) -> tuple[int, int, int]:
        """Return the first and the last frame of what is sampled, and how many frames there are in all."""
        seconds = total / fps
        wanted = max(min(round(self.fps * seconds), self.max_frames), 1)
        first, last = 0, total - 1
        if seconds - 2 * SKIPPED_SECONDS > self.max_frames * self.fps:
            first, last = int(SKIPPED_SECONDS * fps), min(int(total - SKIPPED_SECONDS * fps), total - 1)
            if first >= last:
                first, last = 0, total - 1
        return first, last, min(wanted, last - first + 1)


def _with_long_side(width: int, height: int, longest: int) -> tuple[int, int]:
    """Return the sides of a picture whose longer one is so long, rounded as the processor rounds."""
    ratio = width / height
    return (longest, int(longest / ratio)) if width >= height else (int(longest * ratio), longest)


def _number_tokens(number: int) -> int:
    """Return the tokens of a number in English words, e.g. `sixty-four`."""
    return 1 if number <= 20 or number % 10 == 0 else 3


def _duration_tokens(seconds: int) -> int:
    """Return the tokens of a space and a time as Python writes it: ` 0:00:10`, or ` 2 days, 0:00:10`."""
    days, rest = divmod(seconds, 86_400)
    written = 1 + len(f"{rest // 3600}:00:00")
    return written + (1 + len(str(days)) + 2 if days else 0)
