"""Multisets of digests, as arrays of shape (rows, 2): what one has and another has not, in whatever order they are."""

from __future__ import annotations

import numpy as np


def compare(before: np.ndarray, after: np.ndarray) -> tuple[int, int]:
    """Return how many rows were added and removed, by digests of shape (rows, 2), as multisets."""
    both = np.concatenate([before, after])
    order, starts = _runs(both)
    if not len(order):
        return 0, 0
    in_after = np.add.reduceat((order >= len(before)).astype(np.int64), starts)
    in_before = np.diff(np.append(starts, len(order))) - in_after
    common = int(np.minimum(in_before, in_after).sum())
    return len(after) - common, len(before) - common


def compare_by_key(
    keys_before: np.ndarray, before: np.ndarray, keys_after: np.ndarray, after: np.ndarray
) -> tuple[int, int, int]:
    """Return how many rows were added, removed and changed; the keys of each side are unique."""
    order, starts = _runs(np.concatenate([keys_before, keys_after]))
    matched = starts[np.diff(np.append(starts, len(order))) == 2]
    # the sort is stable, so that of two the one before comes first
    first, second = before[order[matched]], after[order[matched + 1] - len(before)]
    changed = int((first != second).any(axis=1).sum())
    return len(after) - len(matched), len(before) - len(matched), changed


def are_unique(digests: np.ndarray) -> bool:
    """Tell whether no digest stands there twice."""
    return len(_runs(digests)[1]) == len(digests)


def _runs(digests: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the order that brings equal digests together, and where in it each run of equal ones starts."""
    order = np.lexsort((digests[:, 1], digests[:, 0]))
    ordered = digests[order]
    first = np.ones(len(order), np.bool_)
    first[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
    return order, np.flatnonzero(first)
