"""Conversations to train on, with pictures of noise."""

from __future__ import annotations

import numpy as np

from train.example import Example, Frames, Image, Medium, RowRef, Turn

ROW = RowRef(number=7, shard="data/train-00000-of-00001.parquet", row=7, id="seven")


def example(*turns: Turn) -> Example:
    """Return an example of these turns."""
    return Example(row=ROW, turns=turns)


def user(*parts: str | Medium) -> Turn:
    """Return a turn of the user."""
    return Turn(role="user", parts=parts)


def assistant(*parts: str | Medium) -> Turn:
    """Return a turn of the assistant."""
    return Turn(role="assistant", parts=parts)


def system(*parts: str | Medium) -> Turn:
    """Return a system turn."""
    return Turn(role="system", parts=parts)


def image(width: int = 64, height: int = 48, *, seed: int = 0) -> Image:
    """Return an image of noise."""
    noise = np.random.default_rng(seed)
    return Image(pixels=noise.integers(0, 256, (height, width, 3), dtype=np.uint8))


def frames(
    count: int, width: int = 64, height: int = 48, *, step: int = 25, fps: float = 25.0, seed: int = 0
) -> Frames:
    """Return every `step`th frame of a video of noise."""
    noise = np.random.default_rng(seed)
    pixels = noise.integers(0, 256, (count, height, width, 3), dtype=np.uint8)
    return Frames(pixels=pixels, numbers=tuple(range(0, count * step, step)), total=count * step, fps=fps)
