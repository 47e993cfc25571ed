"""Bin packing: lengths into as few bins as first-fit-decreasing finds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    Lengths = np.ndarray[tuple[int], np.dtype[np.int64]]


def fill_bins(lengths: Lengths, capacity: int) -> list[list[int]]:
    """Return the places of the lengths in each bin; no bin holds more than `capacity`.

    The longest that is left goes into the first bin with room for it, which takes at most 11/9 of the fewest bins
    possible and one more (Dósa 2007). Equal lengths keep their order, so the same lengths give the same bins.
    """
    room = np.full(len(lengths), capacity, dtype=np.int64)
    bins: list[list[int]] = []
    for place in np.argsort(-lengths, kind="stable").tolist():
        length = int(lengths[place])
        # a bin that nobody opened has room for all, so there is always a first one
        first = int(np.argmax(room[: len(bins) + 1] >= length))
        if first == len(bins):
            bins.append([])
        bins[first].append(place)
        room[first] -= length
    return bins
