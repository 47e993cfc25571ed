"""The size in which pictures are decoded."""

from __future__ import annotations

from pipeline.errors import RowRejected

MOST_PIXELS = 1 << 27
"""Pixels of all frames of one video together, at the most: 400 MB in memory."""


def fitted(width: int, height: int, longest_side: int | None) -> tuple[int, int]:
    """Return the size of a picture whose longer side is at most `longest_side`; nothing is made larger."""
    if longest_side is None or max(width, height) <= longest_side:
        return width, height
    scale = longest_side / max(width, height)
    return max(1, round(width * scale)), max(1, round(height * scale))


def check_pixels(width: int, height: int, frames: int) -> None:
    """Refuse what does not fit in memory.

    Raises:
        RowRejected: `frames.memory`.
    """
    if width * height * frames > MOST_PIXELS:
        what = f"{frames:,} frames of {width:,}x{height:,} pixels are {width * height * frames / 1e6:,.0f} million"
        raise RowRejected(
            "frames.memory", f"{what}, and {MOST_PIXELS / 1e6:.0f} are allowed: take fewer, or smaller ones"
        )
