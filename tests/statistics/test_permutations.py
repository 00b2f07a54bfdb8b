"""Permutations keep folds and groups, and exchange only what is of equal size."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from superpose.arrays import group_folds
from superpose.files import DataError
from superpose.statistics.permutations import STRATUM, permutations


@given(st.integers(2, 60), st.integers(1, 4), st.integers(0, 10))
def test_samples_stay_in_their_fold(samples, folds, seed):
    label = np.arange(samples) % folds
    found = permutations(samples, label)
    assert not found.partial
    for index in found.draw(3, seed):
        assert np.array_equal(np.sort(index), np.arange(samples))
        assert np.array_equal(label[index], label)


@given(st.lists(st.integers(0, 12), min_size=6, max_size=80), st.integers(0, 10))
def test_groups_exchange_places_whole_and_in_their_fold(groups, seed):
    groups = np.unique(groups, return_inverse=True)[1]
    label = group_folds(groups, 2) if groups.max() else np.zeros(len(groups), dtype=int)
    found = permutations(len(groups), label, groups)
    kept = found.kept
    for index in found.draw(3, seed):
        assert np.array_equal(np.sort(index), np.arange(len(kept)))
        partner = kept[index]
        assert np.array_equal(label[partner], label[kept])
        for group in np.unique(groups):
            mine = kept[groups[kept] == group]
            first = np.flatnonzero(groups == group)[: len(mine)]
            assert np.array_equal(mine, first), "the first samples of a group take part"
            other = partner[groups[kept] == group]
            (theirs,) = set(groups[other])
            assert np.array_equal(other, kept[groups[kept] == theirs]), "whole groups meet, position by position"


@given(st.lists(st.integers(1, 6), min_size=1, max_size=9))
def test_no_other_strata_keep_more(sizes):
    """Brute force over all cuts of the ascending sizes into runs of four groups or more."""
    sizes = np.sort(sizes)
    found = permutations(int(sizes.sum()), None, np.repeat(np.arange(len(sizes)), sizes))
    cuts = [c for n in range(len(sizes)) for c in combinations(range(1, len(sizes)), n)]
    runs = [np.split(sizes, cut) for cut in cuts]
    possible = [r for r in runs if len(r) == 1 or min(map(len, r)) >= STRATUM]
    assert len(found.kept) == max(sum(len(run) * run[0] for run in r) for r in possible)
    assert sum(len(s.members) for s in found.strata) == len(sizes), "every group takes part"
    assert len(found.strata) == 1 or min(len(s.members) for s in found.strata) >= STRATUM


def test_equal_groups_all_take_part_with_all_samples():
    groups = np.repeat(np.arange(10), 4)
    found = permutations(40, None, groups)
    assert not found.partial
    for index in found.draw(5, 0):
        assert np.array_equal(index.reshape(10, 4) % 4, np.tile(np.arange(4), (10, 1)))


def test_many_groups_exchange_places_with_their_equals_alone():
    groups = np.repeat(np.arange(60), np.repeat([2, 3, 5], 20))
    found = permutations(len(groups), None, groups)
    assert not found.partial
    sizes = np.bincount(groups)
    for index in found.draw(3, 0):
        assert np.array_equal(sizes[groups[index]], sizes[groups])


def test_what_takes_part_takes_part_again():
    groups = np.repeat(np.arange(30), np.random.default_rng(0).integers(2, 20, 30))
    folds = group_folds(groups, 3)
    first = permutations(len(groups), folds, groups)
    again = permutations(len(first.kept), folds[first.kept], groups[first.kept])
    assert first.partial
    assert not again.partial
    assert all(np.array_equal(one, other) for one, other in zip(first.draw(3, 0), again.draw(3, 0), strict=True))


def test_every_order_is_as_likely():
    draws = [tuple(index) for index in permutations(3).draw(3000, 1)]
    counts = [draws.count(order) for order in set(draws)]
    assert len(counts) == 6
    assert max(abs(c - 500) for c in counts) < 5 * np.sqrt(500)


def test_the_seed_decides_and_more_draws_extend_fewer():
    found = permutations(30)
    few, many = list(found.draw(3, 5)), list(found.draw(6, 5))
    assert np.array_equal(few, many[:3])
    assert not np.array_equal(few, list(found.draw(3, 6)))


def test_they_are_counted():
    # 3! = 6 and 4! = 24 lie on either side of the 20 that a null needs; folds multiply.
    assert not permutations(3).enough([0])
    assert permutations(4).enough([0])
    two_folds = permutations(6, np.array([0, 0, 0, 1, 1, 1]))
    assert two_folds.enough([0, 1])
    assert not two_folds.enough([1])
    assert not permutations(6, None, np.array([0, 0, 1, 1, 2, 2])).enough([0])


def test_a_group_in_two_folds_is_refused():
    with pytest.raises(
        DataError, match=r"a group has samples in more than one fold; make the folds with superpose\.arr"
    ):
        permutations(4, np.array([0, 0, 1, 1]), np.array([0, 1, 1, 2]))
