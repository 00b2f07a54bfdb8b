"""Shifts inside cycles are permutations of the same kind, and their p-values those of brute force."""

from itertools import permutations as orders

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kstest

from superpose.statistics.cosets import LENGTH, column_p, cycles_of
from superpose.statistics.permutations import permutations


@given(st.lists(st.integers(1, 6), min_size=1, max_size=60))
def test_every_shift_exchanges_whole_groups_of_one_stratum(sizes):
    found = permutations(int(np.sum(sizes)), None, np.repeat(np.arange(len(sizes)), sizes))
    cycles = cycles_of(found)
    assert cycles.lengths.sum() == sum(len(s.members) for s in found.strata)
    assert cycles.lengths.max() <= LENGTH
    place = {tuple(group): (number, at) for number, s in enumerate(found.strata) for at, group in enumerate(s.members)}
    ends = np.append(cycles.starts[1:], len(found.kept))
    for shift, rows in enumerate(cycles.rows):
        for start, end, length in zip(cycles.starts, ends, cycles.lengths, strict=True):
            here, there = (part[start:end].reshape(length, -1) for part in (cycles.rows[0], rows))
            assert np.array_equal(there, np.roll(here, -shift, axis=0))
            assert len({place[tuple(group)][0] for group in here}) == 1


@pytest.mark.parametrize("sizes", [[1] * 7, [2] * 6], ids=["samples", "groups"])
def test_all_orders_of_a_few(sizes):
    """Brute force over every order of the groups."""
    groups = np.repeat(np.arange(len(sizes)), sizes)
    x, noise = np.random.default_rng(3).normal(size=(2, len(groups), 3)).astype(np.float32)
    y = noise + x * np.array([1, 0.5, 0], dtype=np.float32)
    products = [
        np.sum(x * np.concatenate([y[groups == group] for group in order]), axis=0)
        for order in orders(range(len(sizes)))
    ]
    truth = np.mean(np.array(products) >= products[0] - 1e-6, axis=0)
    p = column_p(x, y, permutations(len(groups), None, groups), 20_000, 0)
    assert np.abs(p - truth).max() < 0.015


@pytest.mark.parametrize(
    "sizes",
    [np.full(120, 1), np.full(12, 10), np.arange(4, 20).repeat(4)],
    ids=["samples", "equal groups", "unequal groups"],
)
@pytest.mark.parametrize("count", [99, 999])
def test_p_is_uniform_where_nothing_is_shared(sizes, count):
    """Rows of a group are alike, so that permuting samples would find much that is not there."""
    groups, columns = np.repeat(np.arange(len(sizes)), sizes), 400
    exchange = permutations(len(groups), None, groups)
    draw = np.random.default_rng(count)
    p = []
    # Columns of one call share permutations: several calls.
    for seed in range(5):
        x, y = (
            (draw.normal(size=(len(sizes), columns))[groups] + 0.3 * draw.normal(size=(len(groups), columns))).astype(
                np.float32
            )[exchange.kept]
            for _ in range(2)
        )
        p.append(column_p(x, y, exchange, count, seed))
    p = np.concatenate(p)
    for level in (0.05, 0.2, 0.5):
        share = np.mean(p <= level)
        assert share <= level + 4 * np.sqrt(level * (1 - level) / len(p))
    assert kstest(p, "uniform").statistic < 0.05


def test_what_is_clear_has_the_smallest_p_there_is():
    x = np.random.default_rng(0).normal(size=(500, 4)).astype(np.float32)
    p = column_p(x, x, permutations(500), 5_000, 1)
    assert (p < 1 / 5_000).all()
    assert (p == p[0]).all()
    assert p[0] > 0


def test_orders_that_are_equal_count_as_ties():
    p = column_p(*np.ones((2, 40, 3), dtype=np.float32), permutations(40), 99, 0)
    assert (p == 1).all()
