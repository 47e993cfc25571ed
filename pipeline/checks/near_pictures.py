"""Pairs of nearly the same pictures on two sides, found among their perceptual hashes without comparing all with all.

A hash is cut into PIECES pieces of bits from all over it. Hashes that differ in no more than NEAR_BITS bits are equal
in at least two of the pieces, so only those that share a pair of pieces are compared.
"""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from pipeline.media.hash_pieces import ALIKE_SHAPES, hash_pieces, pairs_of
from pipeline.media.picture_hash import HASH_BITS, NEAR_BITS

if TYPE_CHECKING:
    from collections.abc import Iterator

PIECES = NEAR_BITS + 2
MOST_COMPARED = 100_000_000
"""Pairs that are compared at the most; of a dataset that makes more of them some are not found."""
_TABLE_BITS, _SPREAD = 23, np.uint32(2_654_435_761)


def near_pairs(
    hashes: np.ndarray, sides: np.ndarray, shapes: np.ndarray, asked: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Find for each picture that is asked for one that is nearly the same, on another side.

    `hashes` are two numbers of 64 bits each, `sides` say on which side a picture is, `shapes` are the logarithms of
    width by height. Returns the pictures for which there is one, that one, and by how many bits they differ.
    """
    pieces = hash_pieces(hashes, PIECES, 16)
    partner = np.full(len(hashes), -1, np.int64)
    apart = np.full(len(hashes), HASH_BITS, np.uint8)
    left = MOST_COMPARED
    marks = (sides % 255 + 1).astype(np.uint8)
    table = np.empty(1 << _TABLE_BITS, np.uint8)
    for one, other in combinations(range(PIECES), 2):
        keys = pieces[one].astype(np.uint32) << np.uint32(16) | pieces[other]
        some = _on_several_sides(keys, marks, table)
        some = some[np.argsort(keys[some], kind="stable")]
        # side by side in memory, since those of one key are compared with each other
        first_half, second_half, on, shape = hashes[some, 0], hashes[some, 1], sides[some], shapes[some]
        for mine, theirs in _candidates(keys[some], asked[some] & (partner[some] < 0)):
            left -= len(mine)
            others = on[mine] != on[theirs]
            mine, theirs = mine[others], theirs[others]  # noqa: PLW2901
            bits = np.bitwise_count(first_half[mine] ^ first_half[theirs])
            bits += np.bitwise_count(second_half[mine] ^ second_half[theirs])
            near = (bits <= NEAR_BITS) & (np.abs(shape[mine] - shape[theirs]) <= ALIKE_SHAPES)
            # the first of each
            found, places = np.unique(mine[near], return_index=True)
            partner[some[found]], apart[some[found]] = some[theirs[near][places]], bits[near][places]
            if left < 0:
                break
        if left < 0:
            break
    found = np.flatnonzero(partner >= 0)
    return found, partner[found], apart[found]


def _on_several_sides(keys: np.ndarray, marks: np.ndarray, table: np.ndarray) -> np.ndarray:
    """Return those whose key stands on several sides, and few others: what is alone needs no sorting."""
    places = keys * _SPREAD >> np.uint32(32 - _TABLE_BITS)
    table[places] = marks
    # whoever finds the mark of another side where its own was written
    table[places[table[places] != marks]] = 0
    return np.flatnonzero(table[places] == 0)


def _candidates(keys: np.ndarray, asked: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield places of those that are asked for, beside all places of the same key; the keys are in order."""
    starts = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]]))
    lengths = np.diff(np.append(starts, len(keys)))
    whose = np.repeat(np.arange(len(starts)), lengths)
    mine = np.flatnonzero(asked & (lengths[whose] > 1))
    starts, lengths = starts[whose[mine]], lengths[whose[mine]]
    yield from pairs_of(mine, starts, lengths)
