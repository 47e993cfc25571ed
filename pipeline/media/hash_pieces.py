"""Perceptual hashes cut into pieces: those that differ in fewer bits than there are pieces are equal in one."""

from __future__ import annotations

import numpy as np

_AT_ONCE = 1 << 16


def hash_pieces(hashes: np.ndarray, count: int, bits: int) -> list[np.ndarray]:
    """Cut hashes, two numbers of 64 bits each, into so many pieces of up to so many bits (16 or 32).

    Neighbouring bits, which are of like frequencies, come into different pieces; what has no room in one is left out.
    """
    kind = np.dtype(np.uint16 if bits == 16 else np.uint32)
    powers = kind.type(1) << np.arange(bits, dtype=kind)
    pieces = [np.empty(len(hashes), kind) for _ in range(count)]
    for first in range(0, len(hashes), _AT_ONCE):
        some = slice(first, first + _AT_ONCE)
        flat = np.unpackbits(np.ascontiguousarray(hashes[some]).view(np.uint8), axis=1)
        for number, piece in enumerate(pieces):
            mine = flat[:, number::count][:, :bits]
            piece[some] = mine @ powers[: mine.shape[1]]
    return pieces
