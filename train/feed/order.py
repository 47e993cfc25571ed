"""The order in which rows are seen: shuffled, and yet read from few places of the disk at a time.

The algorithm, by which any program gets the same order: Philox 4x64-10 with the key (seed, epoch) and the counter 0, as
`numpy.random.Philox(key=[seed, epoch]).random_raw()`, gives a stream of numbers of 64 bits.

1. The row groups are put into the order of their numbers: the first number of the stream is that of the first row
   group, and so on.
2. They are cut into windows of `window` row groups. In each window the rows, row group by row group in the new order,
   take the next numbers of the stream, and are put into their order.

Equal numbers keep the order that they had. The streams of bit generators never change in NumPy, which it does not
promise of its `shuffle` and `permutation`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from train.example import TrainError

if TYPE_CHECKING:
    from collections.abc import Sequence


def order(rows_by_group: Sequence[int] | np.ndarray, seed: int, epoch: int, window: int) -> np.ndarray:
    """Return the numbers of all rows in the order of an epoch, as int64; the same for any number of workers.

    `window` row groups at a time are read in turns; where it is as many as there are, the rows are shuffled as a whole.
    To go on after a stop, take a slice.

    Raises:
        TrainError: seed or epoch is no number of 64 bits, or the window is empty.
    """
    for name, number in (("seed", seed), ("epoch", epoch)):
        if not 0 <= number < 1 << 64:
            raise TrainError(f"`{name}` is {number}", allowed="a whole number from 0 to 2^64 - 1")
    if window < 1:
        raise TrainError(f"`shuffle_window` is {window} row groups", allowed="a whole number above 0")
    lengths = np.asarray(rows_by_group, np.int64)
    starts = np.cumsum(lengths) - lengths
    stream = np.random.Philox(key=np.array([seed, epoch], np.uint64))
    groups = np.argsort(stream.random_raw(len(lengths)), kind="stable") if len(lengths) else np.empty(0, np.int64)
    ordered = np.empty(int(lengths.sum()), np.int64)
    done = 0
    for first in range(0, len(groups), window):
        some = groups[first : first + window]
        rows = np.concatenate([np.arange(starts[group], starts[group] + lengths[group]) for group in some])
        if len(rows):
            ordered[done : done + len(rows)] = rows[np.argsort(stream.random_raw(len(rows)), kind="stable")]
        done += len(rows)
    return ordered
