"""Cutting a sequence of weights into full runs: rows into shards and row groups, media into archives."""

from __future__ import annotations

import numpy as np

MOST_JOINED = 2**31 - 1 - (1 << 20)
"""Bytes in one binary column that Arrow can hold and join, less what offsets and the like may add."""


def cut(weights: np.ndarray, limit: int) -> list[tuple[int, int]]:
    """Cut rows into the fewest runs of at most `limit` bytes, each as full as can be.

    Rows that come behind the last thus change the last run alone, where even runs would all be others. A single row
    over the limit has a run of its own. Returns (start, end) pairs; empty for no rows.
    """
    sums = np.concatenate([[0], np.cumsum(weights, dtype=np.int64)])
    runs = []
    start = 0
    while start < len(weights):
        end = max(start + 1, int(np.searchsorted(sums, sums[start] + limit, side="right")) - 1)
        runs.append((start, end))
        start = end
    return runs


def joinable(weights: np.ndarray, together: int) -> np.ndarray | None:
    """Return where the units start that rows are to be cut by, so that `datasets` can load them; None: it never could.

    `datasets` joins row groups of one row, `together` of them at the most, and fails when they are over MOST_JOINED.
    Rows so heavy go in pairs, which it does not join. One that is too heavy to have a partner stays alone between them.
    """
    sums = np.concatenate([[0], np.cumsum(weights, dtype=np.int64)])
    together = min(together, len(weights))
    if not together or (sums[together:] - sums[:-together]).max() <= MOST_JOINED:
        return np.arange(len(weights))
    starts, position, alone = [], 0, False
    while position < len(weights):
        starts.append(position)
        paired = position + 1 < len(weights) and sums[position + 2] - sums[position] <= MOST_JOINED
        if alone and not paired and sums[position + 1] - sums[position - 1] > MOST_JOINED:
            return None
        alone = not paired
        position += 2 if paired else 1
    return np.array(starts)
