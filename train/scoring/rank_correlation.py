"""Spearman's rank correlation, with ties."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


def ranks(values: Sequence[float]) -> NDArray[np.float64]:
    """Return the rank of each value from 1; equal ones share the mean of theirs."""
    _, place, count = np.unique(np.asarray(values, np.float64), return_inverse=True, return_counts=True)
    last = np.cumsum(count)
    return ((last - count + 1 + last) / 2)[place].astype(np.float64)


def spearman(one: Sequence[float], other: Sequence[float]) -> float | None:
    """Return Spearman's rho: Pearson's correlation of the ranks (Kendall & Stuart, The Advanced Theory of Statistics).

    None with fewer than two pairs, or where all values of a side are the same: then there is no order to compare.
    """
    if len(one) != len(other):
        raise ValueError(f"{len(one)} values cannot be paired with {len(other)}")
    if len(set(one)) < 2 or len(set(other)) < 2:
        return None
    first, second = ranks(one), ranks(other)
    first, second = first - first.mean(), second - second.mean()
    rho = (first @ second) / np.sqrt((first @ first) * (second @ second))
    return float(np.clip(rho, -1, 1))
