"""Matching of units against every permutation, and transport against other ways to solve it."""

from itertools import permutations

import numpy as np
import pytest
from conftest import related
from numpy.testing import assert_allclose
from scipy.optimize import linprog

import superpose as sp
from superpose.metrics import matching, matching_hard, matching_semi, matching_soft

SEEDS = range(10)


def correlations(x, y):
    return np.corrcoef(x.T, y.T)[: x.shape[1], x.shape[1] :]


def by_hand(r):
    """The best one-to-one pairing, by trying all."""
    r = r if r.shape[0] <= r.shape[1] else r.T
    rows = np.arange(len(r))
    return max(r[rows, list(chosen)].mean() for chosen in permutations(range(r.shape[1]), len(r)))


def by_duality(r):
    """The cheapest prices a_i + b_j that are at least r_ij, at mean a + mean b: the programme's dual."""
    p, q = r.shape
    above = np.zeros((p * q, p + q))
    for i in range(p):
        for j in range(q):
            above[i * q + j, [i, p + j]] = -1
    prices = np.concatenate([np.full(p, 1 / p), np.full(q, 1 / q)])
    return linprog(prices, A_ub=above, b_ub=-r.ravel(), bounds=(None, None), method="highs-ipm").fun


@pytest.mark.parametrize("seed", SEEDS)
def test_against_all_pairings_and_the_dual(seed):
    draw = np.random.default_rng(seed)
    x, y = related(40, int(draw.integers(1, 6)), int(draw.integers(1, 7)), seed=seed)
    r = correlations(x, y).reshape(x.shape[1], y.shape[1])
    assert_allclose(matching_hard(x, y), by_hand(r), atol=1e-10)
    assert_allclose(matching_soft(x, y), by_duality(r), atol=1e-8)
    assert_allclose(matching_semi(x, y), np.mean([max(column) for column in r.T.tolist()]), atol=1e-10)


@pytest.mark.parametrize("seed", SEEDS)
def test_choosing_each_partner_alone_is_never_worse_than_sharing(seed):
    """Soft matching has the same weight a column, and one more constraint."""
    x, y = related(30, 3 + seed % 3, 6, seed=seed)
    assert matching_semi(x, y) >= matching_soft(x, y) - 1e-12
    assert matching_semi(y, x) >= matching_soft(y, x) - 1e-12


def test_partners_are_those_of_y(pair):
    """A system within another: what is held is found, what is not is not, and the rest of x does not count."""
    x, y = pair
    assert_allclose(matching_semi(x, x[:, :2]), 1)
    assert matching_semi(x[:, :2], x) < 0.99
    assert_allclose(matching_semi(np.hstack([x, 0.5 * x]), y), matching_semi(x, y), rtol=1e-12)
    table = sp.compare({"all": x, "some": x[:, :2]}, metrics=["matching_semi"], permutations=0)
    scores = table.set_index("system_a").score
    assert scores["all"] > 0.999 > scores["some"]


@pytest.mark.parametrize("seed", SEEDS)
def test_a_linear_programme_finds_what_parts_find(seed):
    r = np.random.default_rng(seed).uniform(-1, 1, size=(4 + seed, 9))
    assert_allclose((matching.by_programme(r) * r).sum(), (matching.transported(r) * r).sum(), atol=1e-10)


def test_widths_without_a_small_multiple_go_to_the_programme(monkeypatch):
    r = np.random.default_rng(0).uniform(-1, 1, size=(5, 7))
    expected = (matching.transported(r) * r).sum()
    monkeypatch.setattr(matching, "PARTS", 34)
    monkeypatch.setattr(matching, "assigned", None)
    weights = matching.transported(r)
    assert_allclose((weights * r).sum(), expected, atol=1e-10)
    assert_allclose(weights.sum(axis=0), 1 / 7, atol=1e-10)
    assert_allclose(weights.sum(axis=1), 1 / 5, atol=1e-10)


@pytest.mark.parametrize("seed", SEEDS)
def test_more_units_than_samples(seed):
    """Units are never rotated: the oracle sees the wide arrays as they are."""
    draw = np.random.default_rng(seed)
    x, y = draw.normal(size=(8, 40)), draw.normal(size=(8, 40))
    from scipy.optimize import linear_sum_assignment

    r = correlations(x, y)
    i, j = linear_sum_assignment(-r)
    assert_allclose(matching_hard(x, y), r[i, j].mean(), atol=1e-10)
    # Equal widths: the best transport is a pairing (Birkhoff).
    assert_allclose(matching_soft(x, y), r[i, j].mean(), atol=1e-10)
    table = sp.compare({"x": x, "y": y}, metrics=[sp.metrics.MATCHING_SOFT], cv=None, permutations=0)
    assert_allclose(table.score[0], r[i, j].mean(), atol=1e-8)


def test_constant_and_copied_units(pair):
    x, y = pair
    still = np.hstack([np.full((60, 1), 0.1), x, np.zeros((60, 2))])
    assert_allclose(matching_hard(still, y), matching_hard(x, y), rtol=1e-12)
    assert_allclose(matching_soft(still, y), matching_soft(x, y), rtol=1e-12)
    assert_allclose(matching_soft(np.hstack([x, 2 * x]), y), matching_soft(x, y), rtol=1e-12)


def test_the_soft_distance_is_that_of_units_at_norm_one(pair):
    x, y = ((z - z.mean(0)) / np.linalg.norm(z - z.mean(0), axis=0) for z in pair)
    gaps = ((x[:, :, None] - y[:, None]) ** 2).sum(0)
    assert_allclose(2 - 2 * matching_soft(*pair), (matching.transported(-gaps) * gaps).sum(), rtol=1e-10)


def test_the_sign_counts(pair):
    x, _ = pair
    assert matching_hard(x, -x) < 0.9
    assert_allclose(matching_hard(x[:, :1], -x[:, :1]), -1)
