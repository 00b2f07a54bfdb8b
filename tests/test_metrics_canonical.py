"""SVCCA, PWCCA and partly whitened shapes against the papers' own steps on the samples."""

import numpy as np
import oracles
import pytest
from conftest import related
from numpy.testing import assert_allclose

import superpose as sp
from superpose.files import DataError
from superpose.metrics import PWCCA, SHAPE, SVCCA, pwcca, shape_distance, svcca

SEEDS = range(10)


def principal(x, variance):
    u, s, _ = np.linalg.svd(oracles.centred(x), full_matrices=False)
    kept = np.searchsorted(np.cumsum(s**2) / (s**2).sum(), variance) + 1
    return u[:, :kept] * s[:kept]


def weighted(x, y):
    bases = [np.linalg.svd(oracles.centred(z), full_matrices=False) for z in (x, y)]
    (ux, sx, _), (uy, sy, _) = bases
    ux, uy = ux[:, sx > 1e-9 * sx[0]], uy[:, sy > 1e-9 * sy[0]]
    left, values, _ = np.linalg.svd(ux.T @ uy, full_matrices=False)
    weights = np.abs((ux @ left).T @ oracles.centred(x)).sum(axis=1)
    return (weights * values).sum() / weights.sum()


def whitened(x, alpha):
    """Return netrep's partly whitened responses: clipped eigenvalues, the total variance preserved."""
    x = oracles.centred(x)
    values, vectors = np.linalg.eigh(x.T @ x)
    values = np.maximum(values, 1e-7)
    d = alpha + (1 - alpha) / np.sqrt(values)
    return x @ (vectors * d * np.sqrt(values.sum() / (d**2 * values).sum())) @ vectors.T


def angle(x, y):
    nuclear = np.linalg.svd(x.T @ y, compute_uv=False).sum()
    return np.arccos(nuclear / np.linalg.norm(x) / np.linalg.norm(y))


@pytest.mark.parametrize("seed", SEEDS)
def test_against_the_steps_on_samples(seed):
    x, y = related(61, 3 + seed, 12 - seed, seed=seed)
    x *= np.geomspace(1, 1e-2, x.shape[1])
    for variance in (0.8, 0.99):
        expected = oracles.canonical_correlations(principal(x, variance), principal(y, variance)).mean()
        assert_allclose(svcca(x, y, variance=variance), expected, atol=1e-8)
    assert_allclose(pwcca(x, y), weighted(x, y), atol=1e-8)
    assert_allclose(pwcca(y, x), weighted(y, x), atol=1e-8)
    for alpha in (0.1, 0.5, 0.9):
        assert_allclose(shape_distance(x, y, alpha=alpha), angle(whitened(x, alpha), whitened(y, alpha)), atol=1e-8)


@pytest.mark.parametrize("seed", SEEDS)
def test_dependent_units(seed):
    x, y = related(40, 5, 4, seed=seed, noise=5.0)
    wide = np.hstack([x, x @ np.random.default_rng(seed).normal(size=(5, 3)), np.ones((40, 1))])
    assert_allclose(svcca(wide, y, variance=1), sp.cca(x, y), atol=1e-8)
    assert_allclose(pwcca(wide, y), weighted(wide, y), atol=1e-8)
    assert_allclose(shape_distance(wide, y), angle(whitened(wide, 0.5), whitened(y, 0.5)), atol=1e-7)


def test_frozen_numbers_at_the_ends(frozen):
    x, y = frozen
    assert_allclose(svcca(x, y, variance=1.0), 0.79544061227, rtol=1e-10)
    assert_allclose(shape_distance(x, y, alpha=1.0), 0.914745854113, rtol=1e-10)
    # Whitened systems: the nuclear norm is the sum of the canonical correlations.
    assert_allclose(np.cos(shape_distance(x, y, alpha=0)), 12 * 0.79544061227 / np.sqrt(12 * 20), rtol=1e-10)


def test_more_units_than_samples():
    draw = np.random.default_rng(0)
    x, y = draw.normal(size=(12, 40)), draw.normal(size=(12, 30))
    assert np.isnan([svcca(x, y, variance=1), pwcca(x, y), shape_distance(x, y, alpha=0)]).all()
    assert_allclose(shape_distance(x, y), angle(whitened(x, 0.5), whitened(y, 0.5)), atol=1e-8)
    few = principal(x, 0.6), principal(y, 0.6)
    assert_allclose(svcca(x, y, variance=0.6), oracles.canonical_correlations(*few).mean(), atol=1e-8)
    table = sp.compare({"x": x, "y": y}, metrics=[PWCCA], folds=None)
    assert table.score.isna().all()
    assert table.why.str.contains("spans as many dimensions as the samples").all()


def test_the_defaults_are_those_of_the_objects(pair):
    assert SVCCA(*pair) == svcca(*pair)
    assert PWCCA(*pair) == pwcca(*pair)
    assert SHAPE(*pair) == shape_distance(*pair)


def test_weights_are_those_of_the_first_system():
    """The loud unit of x is shared, the loud unit of y is not."""
    a, b, noise = np.random.default_rng(0).normal(size=(3, 500, 1))
    x, y = np.hstack([10 * a, b]), np.hstack([a + 0.1 * noise, 10 * b + 20 * noise])
    assert pwcca(x, y) > sp.cca(x, y) + 0.02
    assert pwcca(y, x) < pwcca(x, y) - 0.02


@pytest.mark.parametrize("value", [0, 1.5, "most", None, np.nan])
def test_shares_that_are_none(pair, value):
    with pytest.raises(DataError, match=r"variance is .*; expected the share of the variance to keep, above 0 and up"):
        svcca(*pair, variance=value)


@pytest.mark.parametrize("value", [-0.1, 1.5, "half", None, np.nan])
def test_alphas_that_are_none(pair, value):
    with pytest.raises(DataError, match=r"alpha is .*; expected a number from 0 \(whitened\) to 1 \(as it is\)"):
        shape_distance(*pair, alpha=value)
