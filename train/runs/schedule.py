"""The whole of a training as one sequence: the batches of all its epochs, one behind the other, for every rank.

A step of the optimizer takes the next `accumulation` batches on every rank, also where an epoch ends among them; thus
all steps but the last are of the same size. The sequence is known before the first step, so a training goes on in the
middle of it by counting, and without looking at a row that it has had.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from train.batching.plan import plan_batches

if TYPE_CHECKING:
    from collections.abc import Callable

    from train.batching.plan import Batching, Plan, Rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """Which rows are learnt from, and when."""

    plans: tuple[Plan, ...]
    """The epochs."""
    micro_steps: int
    """Batches of each rank; the last epoch may be cut short."""
    starts: tuple[int, ...]
    """[epochs] the first micro step of each."""

    @property
    def accumulation(self) -> int:
        """Batches of a rank that make a step."""
        return self.plans[0].accumulation

    @property
    def ranks(self) -> int:
        """Processes that train together."""
        return self.plans[0].ranks

    @property
    def steps(self) -> int:
        """Steps of the optimizer; the last may accumulate fewer batches."""
        return -(-self.micro_steps // self.accumulation)

    def rows(self, micro_step: int, rank: int) -> Rows:
        """Return the rows of one batch."""
        epoch = bisect_right(self.starts, micro_step) - 1
        return self.plans[epoch].batch(micro_step - self.starts[epoch], rank)

    def epochs_after(self, step: int) -> float:
        """Return how many epochs are done after so many steps."""
        micro = min(step * self.accumulation, self.micro_steps)
        epoch = bisect_right(self.starts, micro) - 1
        return epoch + (micro - self.starts[epoch]) / self.plans[epoch].micro_steps

    def first_epoch(self, micro_step: int) -> bool:
        """Tell whether a batch is one of those in which a row comes for the first time."""
        return micro_step < self.plans[0].micro_steps

    @property
    def samples(self) -> int:
        """Rows of all batches of all ranks, a row once for every epoch."""
        return sum(len(plan.rows) for plan in self._whole()) + self._of_last("rows")

    @property
    def padding(self) -> float:
        """The share of the tokens that only fill up."""
        padded = sum(plan.padded for plan in self.plans)
        return 1 - sum(plan.tokens for plan in self.plans) / padded if padded else 0.0

    @property
    def tokens(self) -> int:
        """Tokens of all batches of all ranks, without padding; of a cut epoch, its share."""
        return sum(plan.tokens for plan in self._whole()) + self._of_last("tokens")

    def _whole(self) -> tuple[Plan, ...]:
        return self.plans[:-1]

    def _of_last(self, what: str) -> int:
        last, done = self.plans[-1], self.micro_steps - self.starts[-1]
        if what == "rows":
            return int(last.ends[done * last.ranks - 1]) if done else 0
        return round(last.tokens * done / last.micro_steps)


def make_schedule(
    lengths: Rows,
    order: Callable[[int], Rows],
    *,
    how: Batching,
    ranks: int = 1,
    seed: int = 0,
    epochs: float | None = None,
    steps: int | None = None,
) -> Schedule:
    """Plan every epoch of a training.

    Args:
        lengths: [rows] tokens of each row of the split.
        order: Of an epoch's number, the rows that can be used, as they are shuffled in it.
        how: The limits of a batch, and how many are accumulated.
        ranks: Processes that train together.
        seed: For the order of batches that are put together by length.
        epochs: How often the rows are gone through, which need not be whole.
        steps: Or steps of the optimizer; exactly one of both is given.

    Raises:
        TrainError: a row is longer than a batch may be, or there are fewer rows than ranks.
    """
    assert (epochs is None) != (steps is None)
    plans: list[Plan] = []
    starts: list[int] = []
    micro_steps = 0
    while (len(plans) < math.ceil(epochs)) if epochs is not None else (micro_steps < (steps or 0) * how.accumulation):
        epoch = len(plans)
        starts.append(micro_steps)
        plans.append(plan_batches(lengths, order(epoch), how=how, ranks=ranks, seed=seed, epoch=epoch))
        micro_steps += plans[-1].micro_steps
    if steps is not None:
        micro_steps = steps * how.accumulation
    elif epochs is not None and epochs != len(plans):
        last = plans[-1].micro_steps
        micro_steps -= last - max(1, math.floor(last * (epochs - math.floor(epochs))))
    return Schedule(plans=tuple(plans), micro_steps=micro_steps, starts=tuple(starts))


def evaluation_batches(
    lengths: Rows, rows: Rows, *, how: Batching, ranks: int, rank: int
) -> list[tuple[list[int], float]]:
    """Return the batches that a rank evaluates, each with the share that it counts for.

    All ranks have the same number of them. Rows that they cannot share are evaluated by each, for its share.
    """
    if len(rows) < ranks:
        return [(rows.tolist(), 1 / ranks)] if len(rows) else []
    plan = plan_batches(lengths, rows, how=how, ranks=ranks)
    batches = [(batch, 1.0) for batch in plan.batches(rank)]
    return [*batches, *(([row], 1 / ranks) for row in np.asarray(plan.left_out).tolist())]
