"""Rows are cut into the fewest runs, each as full as can be, and so that `datasets` can join heavy ones."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pipeline.cutting import MOST_JOINED, cut, joinable

weights = st.lists(st.one_of(st.just(0), st.integers(0, 60), st.integers(0, 10**12)), max_size=40)
GIB = 1 << 30


def fewest(values: list[int], limit: int) -> int:
    """Count the fewest runs by looking at every way to cut (dynamic programming, not the greedy way of `cut`)."""
    best = [0] + [len(values)] * len(values)
    for end in range(1, len(values) + 1):
        for start in range(end):
            if sum(values[start:end]) <= limit or end - start == 1:
                best[end] = min(best[end], best[start] + 1)
    return best[-1]


@given(values=weights, limit=st.integers(1, 300))
@example(values=[0, 0, 0], limit=1)
@example(values=[0, 500, 0], limit=100)
@example(values=[7], limit=1)
def test_every_row_once_in_the_fewest_runs(values: list[int], limit: int) -> None:
    """Runs hold all rows once and in order, none is over the limit unless it is one row, and there are no fewer."""
    runs = cut(np.array(values, np.int64), limit)
    assert [row for start, end in runs for row in range(start, end)] == list(range(len(values)))
    assert all(start < end for start, end in runs)
    assert all(sum(values[start:end]) <= limit or end - start == 1 for start, end in runs)
    assert len(runs) == fewest(values, limit)


@given(values=weights, more=weights, limit=st.integers(1, 300))
def test_rows_behind_the_last_change_the_last_run_alone(values: list[int], more: list[int], limit: int) -> None:
    """However many rows are added at the end, every run but the last stays."""
    before = cut(np.array(values, np.int64), limit)
    assert cut(np.array(values + more, np.int64), limit)[: max(0, len(before) - 1)] == before[:-1]


def test_weights_beyond_32_bits_and_many_rows() -> None:
    """A petabyte in a million rows is cut as exactly as ten bytes."""
    runs = cut(np.full(1_000_000, 10**9, np.int64), 500 * 10**9)
    assert {end - start for start, end in runs} == {500}


@given(
    values=st.lists(st.integers(0, 2 * GIB), min_size=1, max_size=30),
    together=st.sampled_from([2, 10, 100]),
    limits=st.tuples(st.integers(1, 4 * GIB), st.integers(1, 4 * GIB)),
)
def test_heavy_rows_are_cut_so_that_they_can_be_joined(
    values: list[int], together: int, limits: tuple[int, int]
) -> None:
    """What `datasets` reads as rows of one and joins never passes 2 GiB, and no row group of several does."""
    array = np.array(values, np.int64)
    units = joinable(array, together)
    if units is None:
        pairs = [sum(pair) for pair in pairwise(values)]
        assert max(pairs) > MOST_JOINED
        return
    plain = len(units) == len(values)
    heavy, firsts = np.add.reduceat(array, units), [*units.tolist(), len(values)]
    waiting: list[int] = []
    for first, last in cut(heavy, limits[0] if plain else min(limits[0], MOST_JOINED // 2)):
        groups = cut(heavy[first:last], min(limits[1], MOST_JOINED))
        rows = [values[firsts[first + start] : firsts[first + end]] for start, end in groups]
        size = len(rows[0])
        for group in rows:
            assert len(group) == 1 or sum(group) <= MOST_JOINED
            for start in range(0, len(group), size):
                batch = group[start : start + size]
                waiting = [*waiting, *batch] if len(batch) == 1 else []
                assert len(waiting) < 2 or sum(waiting) <= MOST_JOINED
                waiting = [] if len(waiting) == together else waiting


@pytest.mark.parametrize(
    ("gib", "starts"),
    [
        ([0.1] * 30, list(range(30))),
        ([0.3] * 30, list(range(0, 30, 2))),
        ([0.3, 1.8, 0.1], [0, 1]),
        ([0.3, 0.3, 1.9, 0.3, 0.3], [0, 2, 3]),
        ([0.3, 1.9, 0.3], None),
        ([1.2] * 3, None),
        ([1.9], [0]),
    ],
)
def test_only_heavy_rows_go_in_pairs(gib: list[float], starts: list[int] | None) -> None:
    """Ten videos of 100 MiB are cut freely, of 300 MiB in pairs, and of 1.2 GiB not at all."""
    units = joinable(np.array([int(g * GIB) for g in gib], np.int64), 10)
    assert (None if units is None else units.tolist()) == starts
