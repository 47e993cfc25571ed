"""The perceptual hash of a picture: alike for copies of other sizes, qualities and formats, and for nothing else.

128 of the lowest frequencies of the picture (a cosine transform of 64 x 64 greys), each above their median or not.
Measured on pieces of wallpapers. Of 200 that were saved again as JPEG of quality 20 to 90, brighter, paler, half, a
quarter or differently as large, 96 to 100 of 100 copies with a hash differ by NEAR_BITS or less from the piece; of 600,
no two different ones differ by less than 18. Differences of neighbouring greys, as many bits of them, are the same for
many pieces of one texture.

Where single greys are what tells pictures apart the hash would not: there is none for what stands on one ground
(formulas, pages of text, charts, figures on black), for smooth surfaces, and for very small pictures.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pipeline.media.image import GREY_SIDE

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

_FREQUENCIES = sorted(
    ((down, across) for down in range(17) for across in range(17)), key=lambda pair: (sum(pair), pair)
)
_DOWN, _ACROSS = np.array(_FREQUENCIES[1 : HASH_BITS + 1]).T
_WAVES = np.cos(np.pi / GREY_SIDE * np.outer(np.arange(17), np.arange(GREY_SIDE) + 0.5)).astype(np.float32)
_WAVES *= 2 / GREY_SIDE


def picture_hashes(pictures: Sequence[Greys | None]) -> list[bytes | None]:
    """Return the hashes of pictures; None: there is no picture, or it is too small, or has too little in it."""
    found: list[bytes | None] = [None] * len(pictures)
    some = {n: greys for n, greys in enumerate(pictures) if greys is not None and min(greys.size) >= LEAST_SIDE}
    if not some:
        return found
    cells = np.frombuffer(b"".join(greys.cells for greys in some.values()), np.uint8)
    cells = cells.reshape(len(some), GREY_SIDE, GREY_SIDE).astype(np.float32)
    swings = (_WAVES @ cells @ _WAVES.T)[:, _DOWN, _ACROSS]
    enough = np.sort(np.abs(swings), axis=1)[:, HASH_BITS // 2] >= _LEAST_SWING
    enough &= _have_many_greys([greys.picked for greys in some.values()])
    medians = np.sort(swings, axis=1)[:, HASH_BITS // 2]
    hashes = np.packbits(swings >= medians[:, None], axis=1)
    for place, number in enumerate(some):
        if enough[place]:
            found[number] = hashes[place].tobytes()
    return found


def _have_many_greys(picked: list[bytes]) -> np.ndarray:
    """Tell by the greys of some of their pixels which pictures are more than figures on one ground."""
    greys = np.frombuffer(b"".join(picked), np.uint8).reshape(len(picked), -1)
    counts = np.bincount((greys + 256 * np.arange(len(picked))[:, None]).ravel(), minlength=256 * len(picked))
    up_to = np.zeros((len(picked), 257), np.int64)
    np.cumsum(counts.reshape(-1, 256), axis=1, out=up_to[:, 1:])
    many: np.ndarray = (up_to[:, _ALIKE:] - up_to[:, :-_ALIKE]).max(axis=1) <= MOST_ON_ONE_GREY * greys.shape[1]
    return many
