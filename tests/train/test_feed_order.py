"""The order of an epoch: every row once, shuffled, the same everywhere, and read from few places at a time."""

from __future__ import annotations

import hashlib
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from train.example import TrainError
from train.feed.order import order

GROUPS = st.lists(st.integers(0, 30), max_size=40)
NUMBERS = st.integers(0, 2**64 - 1)


@given(GROUPS, NUMBERS, NUMBERS, st.integers(1, 50))
def test_every_row_comes_once(groups: list[int], seed: int, epoch: int, window: int) -> None:
    """Whatever the row groups, seed, epoch and window are, it is a permutation, and the same one again."""
    found = order(groups, seed, epoch, window)
    assert found.dtype == np.int64
    assert sorted(found.tolist()) == list(range(sum(groups)))
    assert np.array_equal(found, order(np.array(groups, np.int64), seed, epoch, window))


@given(st.lists(st.integers(1, 30), min_size=1, max_size=40), NUMBERS, st.integers(1, 8))
def test_few_row_groups_are_read_at_a_time(groups: list[int], seed: int, window: int) -> None:
    """Once a row group is left for those of the next window, no row of it comes again."""
    starts = np.cumsum([0, *groups])
    found = np.searchsorted(starts, order(groups, seed, 0, window), "right") - 1
    first = {group: int(np.argmax(found == group)) for group in range(len(groups))}
    last = {group: len(found) - 1 - int(np.argmax(found[::-1] == group)) for group in range(len(groups))}
    by_first = sorted(first, key=lambda group: first[group])
    open_at = [sum(first[group] <= place <= last[group] for group in by_first) for place in range(len(found))]
    assert max(open_at) <= window


def test_epochs_and_seeds_differ() -> None:
    """Another epoch or another seed is another order; no two are alike, and none is the order of the dataset."""
    groups = [50] * 20
    orders = [order(groups, seed, epoch, 4).tobytes() for seed in range(5) for epoch in range(5)]
    assert len({*orders, np.arange(1000).tobytes()}) == 26


def test_it_is_shuffled_well() -> None:
    """Neighbours are hardly ever neighbours of the dataset, and every row is as likely anywhere."""
    groups = [100] * 50
    whole = order(groups, 7, 0, 50)
    assert sum(two - one == 1 for one, two in pairwise(whole.tolist())) < 10
    firsts = [order(groups, seed, 0, 50)[:500].mean() for seed in range(30)]
    assert abs(np.mean(firsts) - 2_499.5) < 60


def test_algorithm_is_what_is_written() -> None:
    """The order is the one that the module spells out, step by step; these numbers never change."""
    lengths = [3, 2, 4]
    stream = np.random.Philox(key=[11, 2])
    keys = stream.random_raw(3).tolist()
    groups = sorted(range(3), key=keys.__getitem__)
    wanted = []
    for window in (groups[:2], groups[2:]):
        rows = [sum(lengths[:group]) + row for group in window for row in range(lengths[group])]
        keys = stream.random_raw(len(rows)).tolist()
        wanted += [rows[place] for place in sorted(range(len(rows)), key=keys.__getitem__)]
    assert order(lengths, 11, 2, 2).tolist() == wanted
    many = order([17, 0, 40, 3] * 50, 2**63, 2**64 - 1, 5)
    assert hashlib.sha256(many.astype("<i8").tobytes()).hexdigest()[:16] == "ce8438198b19b96d"


@pytest.mark.parametrize(("seed", "epoch", "window"), [(-1, 0, 1), (0, 2**64, 1), (0, 0, 0)])
def test_numbers_that_are_none(seed: int, epoch: int, window: int) -> None:
    """What is no seed, epoch or window is refused."""
    with pytest.raises(TrainError):
        order([1], seed, epoch, window)
