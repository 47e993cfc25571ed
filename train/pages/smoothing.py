"""Smoothing of a noisy curve, as TensorBoard and ms-swift do it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

WEIGHT = 0.9
"""How much of the smoothed value each point keeps; ms-swift's default."""


def smoothed(values: Iterable[float], weight: float = WEIGHT) -> list[float]:
    """Return the exponential moving average of values, without its bias towards the start.

    s[t] = weight * s[t-1] + (1 - weight) * x[t] from s = 0, divided by 1 - weight**(t+1): the first value is itself,
    and a constant stays what it is. ms-swift divides the sum of weight**k * x by that of weight**k, which is the same.
    """
    if not 0 <= weight < 1:
        raise ValueError(f"a smoothing weight is from 0 to below 1, not {weight}")
    found, total, weights = [], 0.0, 0.0
    for value in values:
        total = weight * total + value
        weights = weight * weights + 1
        found.append(total / weights)
    return found
