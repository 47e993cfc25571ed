"""Perceptual hashes cut into pieces: those that differ in fewer bits than there are pieces are equal in one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

ALIKE_SHAPES = 0.05
"""By how much the width of nearly the same picture may differ, taking it for as high."""
PAIRS_AT_ONCE = 1 << 18
"""Pairs at a time, so that they stay near the processor."""
_HASHES_AT_ONCE = 1 << 16


def hash_pieces(hashes: np.ndarray, count: int, bits: int) -> list[np.ndarray]:
    """Cut hashes, two numbers of 64 bits each, into so many pieces of up to so many bits (16 or 32).

    Neighbouring bits, which are of like frequencies, come into different pieces; what has no room in one is left out.
    """
    kind = np.dtype(np.uint16 if bits == 16 else np.uint32)
    powers = kind.type(1) << np.arange(bits, dtype=kind)
    pieces = [np.empty(len(hashes), kind) for _ in range(count)]
    for first in range(0, len(hashes), _HASHES_AT_ONCE):
        some = slice(first, first + _HASHES_AT_ONCE)
        flat = np.unpackbits(np.ascontiguousarray(hashes[some]).view(np.uint8), axis=1)
        for number, piece in enumerate(pieces):
            mine = flat[:, number::count][:, :bits]
            piece[some] = mine @ powers[: mine.shape[1]]
    return pieces


def pairs_of(mine: np.ndarray, starts: np.ndarray, counts: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield each of `mine` beside all of its places, which are so many from a start on; some pairs at a time."""
    upto = np.cumsum(counts)
    first = 0
    while first < len(mine):
        last = max(first + 1, int(np.searchsorted(upto, upto[first] - counts[first] + PAIRS_AT_ONCE, "right")))
        some = counts[first:last]
        within = np.arange(some.sum()) - np.repeat(np.cumsum(some) - some, some)
        yield np.repeat(mine[first:last], some), np.repeat(starts[first:last], some) + within
        first = last
