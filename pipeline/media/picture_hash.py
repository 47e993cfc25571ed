"""The perceptual hash of a picture: alike for copies of other sizes, qualities and formats, and for nothing else.

128 of the lowest frequencies of the picture (a cosine transform of its greys), each above their median or not.

Where the greys themselves are what tells pictures apart the hash would not: there is none for what stands on one
ground (formulas, pages of text, charts, figures on black), for smooth surfaces, and for very small pictures.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipeline.media.image import Greys

HASH_BITS = 128
NEAR_BITS = 8
"""Pictures whose hashes differ by so many bits or fewer are nearly the same."""
LEAST_SIDE = 32
"""Pixels on each side, at the least, of a picture that has a hash."""
MOST_ON_ONE_GREY = 0.5
"""The share of pixels with nearly one grey from which on a picture stands on a ground."""
_ALIKE = 17
"""Neighbouring greys that count as one."""
_LEAST_SWING = 0.5
"""Greys by which at least half of the frequencies swing; below, what is above the median is left to chance."""
_MOST_WAVES = 17

_FREQUENCIES = sorted(
    ((down, across) for down in range(_MOST_WAVES) for across in range(_MOST_WAVES)), key=lambda pair: (sum(pair), pair)
)
_DOWN, _ACROSS = np.array(_FREQUENCIES[1 : HASH_BITS + 1]).T


def has_many_greys(picked: bytes) -> bool:
    """Tell by the greys of some of its pixels whether a picture is more than figures on one ground."""
    return bool(_have_many_greys([picked])[0])


def _have_many_greys(picked: list[bytes]) -> np.ndarray:
    values = np.frombuffer(b"".join(picked), np.uint8).reshape(len(picked), -1)
    places = values + 256 * np.arange(len(picked))[:, None]
    up_to = np.zeros((len(picked), 257), np.int64)
    np.cumsum(np.bincount(places.ravel(), minlength=256 * len(picked)).reshape(-1, 256), axis=1, out=up_to[:, 1:])
    many: np.ndarray = (up_to[:, _ALIKE:] - up_to[:, :-_ALIKE]).max(axis=1) <= MOST_ON_ONE_GREY * values.shape[1]
    return many


def picture_hashes(pictures: Sequence[Greys | None]) -> list[bytes | None]:
    """Return the hashes of pictures; None: there is no picture, or it is too small, or has too little in it."""
    found: list[bytes | None] = [None] * len(pictures)
    alike: dict[tuple[int, int, int], list[int]] = {}
    for number, greys in enumerate(pictures):
        if greys is not None and min(greys.size) >= LEAST_SIDE:
            alike.setdefault((greys.size[0], greys.across, greys.rows), []).append(number)
    for (width, across, rows), numbers in alike.items():
        some = [greys for number in numbers if (greys := pictures[number]) is not None]
        cells = np.frombuffer(b"".join(greys.cells for greys in some), np.uint8).reshape(len(some), rows, -1)
        swings = (_waves(rows, 1) @ cells.astype(np.float32) @ _waves(width, across).T)[:, _DOWN, _ACROSS]
        enough = np.sort(np.abs(swings), axis=1)[:, HASH_BITS // 2] >= _LEAST_SWING
        enough &= _have_many_greys([greys.picked for greys in some])
        hashes = np.packbits(swings >= np.sort(swings, axis=1)[:, HASH_BITS // 2 : HASH_BITS // 2 + 1], axis=1)
        for place, number in enumerate(numbers):
            if enough[place]:
                found[number] = hashes[place].tobytes()
    return found


@lru_cache(maxsize=1024)
def _waves(pixels: int, cell: int) -> np.ndarray:
    """Return the cosines in the middle of each cell of a side, weighed by how much of the side it is."""
    edges = np.minimum(np.arange(0, pixels + cell, cell), pixels) / pixels
    middles, widths = (edges[1:] + edges[:-1]) / 2, np.diff(edges)
    waves: np.ndarray = 2 * np.cos(np.pi * np.outer(np.arange(_MOST_WAVES), middles)) * widths
    return waves.astype(np.float32)
