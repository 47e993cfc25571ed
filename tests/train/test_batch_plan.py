"""The rows of an epoch in batches: nothing lost, nothing twice, the same everywhere, and as many for each rank."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from train.batching.bins import fill_bins
from train.batching.plan import Batching, Plan, accumulation_for, plan_batches
from train.example import TrainError

HOW = (
    Batching(samples=3),
    Batching(samples=1),
    Batching(samples=4, by_length=True, window=16),
    Batching(tokens=64, window=16),
    Batching(tokens=64, multiple=8, window=16),
    Batching(tokens=64, pack=True, window=16),
)


def _plan(lengths: list[int], how: Batching, ranks: int = 1, epoch: int = 0) -> Plan:
    order = np.random.default_rng(epoch).permutation(len(lengths))
    return plan_batches(np.array(lengths), order, how=how, ranks=ranks, seed=7, epoch=epoch)


@given(
    lengths=st.lists(st.integers(1, 64), min_size=5, max_size=90),
    how=st.sampled_from(HOW),
    ranks=st.integers(1, 5),
)
def test_every_row_is_in_one_batch(lengths: list[int], how: Batching, ranks: int) -> None:
    """Every row is given to one rank once, or is listed as left out, which only single rows ever are."""
    plan = _plan(lengths, how, ranks)
    given_rows = [row for rank in range(ranks) for batch in plan.batches(rank) for row in batch]
    assert sorted([*given_rows, *plan.left_out.tolist()]) == list(range(len(lengths)))
    assert len(plan.left_out) < ranks
    if len(plan.left_out):
        assert all(len(batch) == 1 for rank in range(ranks) for batch in plan.batches(rank))


@given(
    lengths=st.lists(st.integers(1, 64), min_size=5, max_size=90),
    how=st.sampled_from(HOW),
    ranks=st.integers(1, 5),
)
def test_limits_hold_on_every_rank(lengths: list[int], how: Batching, ranks: int) -> None:
    """All ranks have the same number of batches, none empty, none above its samples or its padded tokens."""
    plan = _plan(lengths, how, ranks)
    for rank in range(ranks):
        batches = list(plan.batches(rank))
        assert len(batches) == plan.micro_steps
        for batch in batches:
            assert batch
            longest = max(lengths[row] for row in batch)
            if how.samples:
                assert len(batch) <= how.samples
            elif how.pack:
                assert sum(lengths[row] for row in batch) <= 64
            else:
                assert -(-longest // how.multiple) * how.multiple * len(batch) <= 64


@pytest.mark.parametrize("how", HOW)
def test_a_plan_depends_on_its_inputs_alone(how: Batching) -> None:
    """The same inputs give the same plan; another epoch gives another one."""
    lengths = np.random.default_rng(3).integers(1, 64, 200).tolist()
    one, again, later = (_plan(lengths, how, 2, epoch) for epoch in (0, 0, 1))
    assert np.array_equal(one.rows, again.rows)
    assert np.array_equal(one.ends, again.ends)
    assert not np.array_equal(one.rows, later.rows)


def test_fixed_samples_keep_the_order() -> None:
    """Batches of so many samples are pieces of the order, dealt to the ranks one after the other."""
    order = np.array([5, 3, 1, 0, 4, 2, 6])
    plan = plan_batches(np.ones(7, dtype=np.int64), order, how=Batching(samples=2, accumulation=2), ranks=2)
    assert list(plan.batches(0)) == [[5, 3], [4, 2]]
    assert list(plan.batches(1)) == [[1, 0], [6]]
    assert (plan.micro_steps, plan.steps) == (2, 1)


def test_a_run_goes_on_where_it_stopped() -> None:
    """The batches from a micro step on are those that a run which stopped there has not had."""
    plan = _plan([4] * 21, Batching(samples=2), 2)
    assert list(plan.batches(1, start=3)) == list(plan.batches(1))[3:]


def test_single_rows_that_ranks_cannot_share_are_listed() -> None:
    """Ten single rows on four ranks are two steps, and the two that are left out are named."""
    plan = _plan([4] * 10, Batching(samples=1), 4)
    assert plan.micro_steps == 2
    assert len(plan.left_out) == 2


def test_batches_are_cut_before_rows_are_left_out() -> None:
    """Where batches have several rows, every row is used whatever the number of ranks."""
    plan = _plan([4] * 9, Batching(samples=8), 4)
    assert len(plan.left_out) == 0
    assert [len(plan.batch(0, rank)) for rank in range(4)] == [2, 2, 4, 1]


def test_like_lengths_waste_little() -> None:
    """Rows of like length in a batch leave a few percent of padding, where rows as they come leave about half."""
    lengths = np.random.default_rng(5).geometric(1 / 400, 4000).clip(20, 4000).tolist()
    mixed = _plan(lengths, Batching(samples=8))
    alike = _plan(lengths, Batching(tokens=8192))
    packed = _plan(lengths, Batching(tokens=8192, pack=True))
    assert mixed.tokens == alike.tokens == packed.tokens
    assert mixed.tokens / mixed.padded < 0.6
    assert alike.tokens / alike.padded > 0.9
    assert packed.tokens == packed.padded
    assert packed.tokens / (packed.micro_steps * 8192) > 0.97


def test_ranks_work_on_batches_of_like_size() -> None:
    """What ranks work on at the same time differs far less than what they work on one after the other."""
    lengths = np.random.default_rng(5).geometric(1 / 400, 4000).clip(20, 4000)
    order = np.random.default_rng(0).permutation(4000)
    plan = plan_batches(lengths, order, how=Batching(samples=4, by_length=True), ranks=4)
    sizes = np.array([[lengths[plan.batch(step, rank)].max() for rank in range(4)] for step in range(plan.micro_steps)])
    assert (sizes.max(1) / sizes.min(1)).mean() < 1.1
    assert sizes.max() / sizes.min() > 10


def test_a_row_that_fits_no_batch_is_named() -> None:
    """A row longer than a batch may be is an error that names it and the limit that would do."""
    with pytest.raises(TrainError, match=r"1 rows have more tokens .*\(64\); the longest is row 1 with 65") as caught:
        _plan([3, 65, 64], Batching(tokens=64, multiple=4))
    assert caught.value.hint.startswith("allow 68 tokens")


@pytest.mark.parametrize(
    ("given_fields", "said"),
    [
        ({}, "neither is given"),
        ({"samples": 2, "tokens": 8}, "both are given"),
        ({"samples": 2, "pack": True}, "packing needs the tokens"),
        ({"samples": 0}, "samples of a batch is 0"),
        ({"samples": 1, "accumulation": 0}, "accumulation of a batch is 0"),
    ],
)
def test_batching_that_cannot_be_meant(given_fields: dict[str, int], said: str) -> None:
    """Limits that contradict each other are refused with what was given."""
    with pytest.raises(TrainError, match=said):
        Batching(**given_fields)  # type: ignore[arg-type]


def test_fewer_rows_than_ranks() -> None:
    """Three rows cannot be shared by four processes."""
    with pytest.raises(TrainError, match="3 rows cannot be shared by 4 processes"):
        _plan([1, 1, 1], Batching(samples=1), 4)


def test_global_batch() -> None:
    """A global batch is rows a device, times accumulated batches, times processes; else numbers that fit are named."""
    assert accumulation_for(64, per_device=4, ranks=2) == 8
    with pytest.raises(TrainError, match="a global batch of 60 rows") as caught:
        accumulation_for(60, per_device=8, ranks=2)
    assert caught.value.hint == "ask for 48 or 64, or give 6 rows to a device at once"
    with pytest.raises(TrainError) as caught:
        accumulation_for(3, per_device=2, ranks=4)
    assert caught.value.hint == "ask for 8"


@given(lengths=st.lists(st.integers(0, 50), max_size=80))
def test_bins_are_first_fit_decreasing(lengths: list[int]) -> None:
    """Bins hold every length once and no more than they may, and are few: two of them never fit into one."""
    bins = fill_bins(np.array(lengths, dtype=np.int64), 50)
    assert sorted(place for one in bins for place in one) == list(range(len(lengths)))
    loads = sorted(sum(lengths[place] for place in one) for one in bins)
    assert all(load <= 50 for load in loads)
    assert len(loads) < 2 or loads[0] + loads[1] > 50
