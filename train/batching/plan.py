"""Which rows go together: from the token lengths of the rows to batches for every rank and step of an epoch.

    order of the rows ──▶ batches ──▶ as many as the ranks divide ──▶ micro step 0: rank 0, rank 1, …; micro step 1: …

A batch is what one rank gives to the model at once; `accumulation` of them, on every rank, make a step of the
optimizer. The same lengths, order, settings, seed and epoch give the same plan on every machine, so a run that goes on
in the middle of an epoch skips what it has had by counting.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from train.batching.bins import fill_bins
from train.example import TrainError

if TYPE_CHECKING:
    from collections.abc import Iterator

    Rows = np.ndarray[tuple[int], np.dtype[np.int64]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Batching:
    """How rows are put together; exactly one of `samples` and `tokens` is given."""

    samples: int | None = None
    """Rows of a batch; the last ones may be smaller."""
    tokens: int | None = None
    """Tokens of a batch at most, padding counted; with `pack`, of a packed row."""
    pack: bool = False
    """Rows lie behind each other in one long row without padding, instead of beside each other."""
    by_length: bool = False
    """With `samples`: rows of like length go together, as they always do with `tokens`."""
    accumulation: int = 1
    """Batches of a rank whose gradients make one step."""
    multiple: int = 1
    """The padded length of a batch is a multiple of this; see `collate`."""
    window: int = 1024
    """So many rows that follow each other in the order are put together among themselves, and no others."""

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
        if (self.samples is None) == (self.tokens is None):
            given = "both are given" if self.samples is not None else "neither is given"
            raise TrainError(
                f"a batch is limited by its samples or by its tokens: {given}",
                hint="give one of them; tokens keep memory even when lengths differ",
            )
        if self.pack and self.tokens is None:
            raise TrainError(
                "packing needs the tokens of a packed row, and they are not given",
                hint="give tokens, at least as many as the longest row has",
            )
        for name in ("samples", "tokens", "accumulation", "multiple", "window"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise TrainError(f"{name} of a batch is {value}", allowed="whole numbers from 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The batches of one epoch, by micro step and rank."""

    rows: Rows
    """The rows of all batches, one batch behind the other; micro step by micro step, in it rank by rank."""
    ends: Rows
    """[batches] where each batch ends in `rows`."""
    ranks: int
    accumulation: int
    left_out: Rows
    """Rows that this epoch does without, because the ranks could not share them: fewer than there are ranks."""
    tokens: int
    """Of all batches, without padding."""
    padded: int
    """Of all batches, with it."""

    @property
    def micro_steps(self) -> int:
        """Batches of each rank."""
        return len(self.ends) // self.ranks

    @property
    def steps(self) -> int:
        """Steps of the optimizer; the last may accumulate fewer batches."""
        return -(-self.micro_steps // self.accumulation)

    def batch(self, micro_step: int, rank: int) -> Rows:
        """Return the rows of one batch."""
        number = micro_step * self.ranks + rank
        start = int(self.ends[number - 1]) if number else 0
        return self.rows[start : int(self.ends[number])]

    def batches(self, rank: int, *, start: int = 0) -> Iterator[list[int]]:
        """Yield the batches of a rank from a micro step on; what a `batch_sampler` is."""
        for micro_step in range(start, self.micro_steps):
            yield self.batch(micro_step, rank).tolist()


def plan_batches(lengths: Rows, order: Rows, *, how: Batching, ranks: int = 1, seed: int = 0, epoch: int = 0) -> Plan:
    """Put the rows of an epoch into batches, each row into one, and the batches onto ranks and steps.

    All ranks get the same number of batches. Where the ranks do not divide their number, some batches are cut in two;
    only where every batch is a single row already, the last rows, fewer than the ranks, are left out and listed.
    Batches that ranks work on at the same time are of like size where rows are put together by length.

    Args:
        lengths: [rows] tokens of each row of the dataset.
        order: the numbers of the rows to use, shuffled by whoever gives them.
        how: the limits.
        ranks: processes that train together.
        seed: for the order in which batches come that were put together in a window.
        epoch: likewise.

    Raises:
        TrainError: a row is longer than `tokens`, or there are fewer rows than ranks.
    """
    lengths = np.asarray(lengths, dtype=np.int64)
    order = np.asarray(order, dtype=np.int64)
    if len(order) < ranks:
        raise TrainError(
            f"{len(order)} rows cannot be shared by {ranks} processes", hint=f"train with {max(len(order), 1)} or fewer"
        )
    _check_fit(lengths, order, how)
    if how.tokens is None and not how.by_length:
        assert how.samples is not None
        batches, left_out = _even(_pieces(order, how.samples), ranks)
    else:
        windows = [order[start : start + how.window] for start in range(0, len(order), how.window)]
        batches = [batch for window in windows for batch in _put_together(lengths, window, how)]
        near = len(batches) // len(windows)
        batches, left_out = _even(batches, ranks)
        sizes = [_padded(lengths[batch], how) for batch in batches]
        batches = _dealt(batches, sizes, ranks, near, np.random.default_rng([seed, epoch]))
    rows = np.concatenate(batches)
    return Plan(
        rows=rows,
        ends=np.cumsum([len(batch) for batch in batches], dtype=np.int64),
        ranks=ranks,
        accumulation=how.accumulation,
        left_out=left_out,
        tokens=int(lengths[rows].sum()),
        padded=sum(_padded(lengths[batch], how) for batch in batches),
    )


def accumulation_for(global_batch: int, *, per_device: int, ranks: int) -> int:
    """Return how many batches each rank accumulates, so that a step sees `global_batch` rows on all ranks together.

    Raises:
        TrainError: it is no multiple of `per_device * ranks`; names the nearest numbers that fit.
    """
    at_once = per_device * ranks
    if global_batch >= at_once and global_batch % at_once == 0:
        return global_batch // at_once
    below = global_batch // at_once * at_once
    fitting = [str(number) for number in (below, below + at_once) if number]
    devices = [number for number in range(min(per_device, global_batch), 0, -1) if global_batch % (number * ranks) == 0]
    hint = f"ask for {' or '.join(fitting)}"
    if devices:
        hint += f", or give {devices[0]} rows to a device at once"
    raise TrainError(
        f"a global batch of {global_batch} rows cannot be made of {per_device} rows on each of {ranks} processes",
        allowed=f"multiples of {at_once}",
        hint=hint,
    )


def _check_fit(lengths: Rows, order: Rows, how: Batching) -> None:
    if how.tokens is None:
        return
    padded = lengths[order] if how.pack else _rounded(lengths[order], how.multiple)
    too_long = order[padded > how.tokens]
    if len(too_long):
        longest = int(too_long[np.argmax(lengths[too_long])])
        raise TrainError(
            f"{len(too_long)} rows have more tokens than a batch may have ({how.tokens}); "
            f"the longest is row {longest} with {int(lengths[longest])}",
            hint=f"allow {int(padded.max())} tokens a batch, or leave out rows that are too long",
        )


def _pieces(order: Rows, samples: int) -> list[Rows]:
    return [order[start : start + samples] for start in range(0, len(order), samples)]


def _put_together(lengths: Rows, window: Rows, how: Batching) -> list[Rows]:
    """Make batches of the rows of a window."""
    if how.pack:
        assert how.tokens is not None
        return [window[np.sort(places)] for places in fill_bins(lengths[window], how.tokens)]
    longest_first = window[np.argsort(-lengths[window], kind="stable")]
    if how.tokens is None:
        assert how.samples is not None
        return _pieces(longest_first, how.samples)
    batches, start = [], 0
    while start < len(longest_first):
        # the first row is the longest, so it says how long all rows of the batch become
        length = int(_rounded(lengths[longest_first[start : start + 1]], how.multiple)[0])
        end = start + how.tokens // max(length, 1)
        batches.append(longest_first[start:end])
        start = end
    return batches


def _even(batches: list[Rows], ranks: int) -> tuple[list[Rows], Rows]:
    """Cut the batches of the most rows, the last of them first, until the ranks divide the number of batches.

    What is left over when every batch is a single row comes back beside them.
    """
    missing = -len(batches) % ranks
    if not missing:
        return batches, np.empty(0, dtype=np.int64)
    heap = [(-len(batch), -number, 0) for number, batch in enumerate(batches)]
    heapq.heapify(heap)
    cuts: dict[int, list[int]] = {}
    for _ in range(missing):
        rows, number, start = heap[0]
        if rows == -1:
            break
        half = -(rows // 2)
        heapq.heapreplace(heap, (-half, number, start))
        heapq.heappush(heap, (rows + half, number, start + half))
        cuts.setdefault(-number, []).append(start + half)
    even = [piece for number, batch in enumerate(batches) for piece in np.split(batch, sorted(cuts.get(number, [])))]
    kept = len(even) // ranks * ranks
    return even[:kept], np.concatenate([np.empty(0, dtype=np.int64), *even[kept:]])


def _dealt(batches: list[Rows], sizes: list[int], ranks: int, near: int, generator: np.random.Generator) -> list[Rows]:
    """Give the ranks batches of like size at the same time, and change the order among about `near` neighbours."""
    dealt: list[Rows] = []
    run = max(round(near / ranks), 1) * ranks
    for start in range(0, len(batches), run):
        smallest_first = sorted(range(start, min(start + run, len(batches))), key=sizes.__getitem__)
        for place in generator.permutation(len(smallest_first) // ranks):
            dealt += [batches[number] for number in smallest_first[place * ranks : (place + 1) * ranks]]
    return dealt


def _rounded(lengths: Rows, multiple: int) -> Rows:
    return -(-lengths // multiple) * multiple


def _padded(lengths: Rows, how: Batching) -> int:
    """Return the tokens of a batch with its padding."""
    if how.pack:
        return int(lengths.sum())
    return len(lengths) * int(_rounded(lengths, how.multiple).max())
