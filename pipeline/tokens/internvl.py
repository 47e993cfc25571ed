"""InternVL 2.5 and 3, as transformers has them: an image becomes tiles and a thumbnail, a frame becomes one tile.

After `GotOcr2ImageProcessor`, `InternVLVideoProcessor` and `InternVLProcessor` in transformers 5.23, with the settings
of the released `-hf` models. Texts that the processor writes itself are counted as Qwen's tokenizer cuts them.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

from pipeline.tokens.family import Spent, VideoFacts

AROUND = 2
"""`<img>` and `</img>`."""
BEHIND = 1
"""The line break that the chat template writes behind a medium."""
BEFORE_FRAME = 3
"""`Frame`, a colon and a space, as in `Frame12: `; each digit is a token too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InternVL:
    """InternVL with one size of tiles."""

    name: str
    models: tuple[str, ...]
    tile: int = 448
    """Pixels a side of a tile."""
    tile_tokens: int = 256
    """Tokens that stand for one tile: its patches of 14 pixels, four of which are shuffled into one."""
    min_tiles: int = 1
    max_tiles: int = 12
    frames: int = 8
    """Frames that are sampled of a video, as in the examples of the documentation; a shorter one gives all it has."""

    def image(self, width: int, height: int) -> Spent:
        """Return what an image costs."""
        columns, rows = _grid(width, height, self.tile, self.min_tiles, self.max_tiles)
        tiles = columns * rows
        tiles += tiles > 1  # the thumbnail
        return Spent(0, tiles * self.tile**2, tiles * self.tile_tokens + AROUND + BEHIND)

    def video(self, video: VideoFacts) -> Spent:
        """Return what a video costs."""
        total, _ = video.timing()
        frames = min(self.frames, total)
        digits = sum(len(str(frame)) for frame in range(1, frames + 1))
        tokens = frames * (BEFORE_FRAME + self.tile_tokens + AROUND) + digits + frames - 1 + BEHIND
        return Spent(frames, frames * self.tile**2, tokens)


@functools.lru_cache(maxsize=16)
def _shapes(least: int, most: int) -> tuple[tuple[int, int], ...]:
    """Return all (columns, rows) of `least` to `most` tiles, fewest tiles first."""
    sides = range(1, most + 1)
    shapes = [(columns, rows) for columns in sides for rows in sides if least <= columns * rows <= most]
    return tuple(sorted(shapes, key=lambda shape: shape[0] * shape[1]))


def _grid(width: int, height: int, tile: int, least: int, most: int) -> tuple[int, int]:
    """Return columns and rows of the shape that is nearest to the image's.

    Of shapes that are equally near, the one with more tiles, unless they have more than twice the image's pixels.
    """
    ratio = width / height
    nearest, best = float("inf"), (1, 1)
    for columns, rows in _shapes(least, most):
        difference = abs(ratio - columns / rows)
        if difference < nearest or (difference == nearest and width * height > 0.5 * tile * tile * columns * rows):
            nearest, best = difference, (columns, rows)
    return best
