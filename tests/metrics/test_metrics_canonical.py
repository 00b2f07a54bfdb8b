"""SVCCA, PWCCA and partly whitened shapes against the papers' own steps on the samples."""

from dataclasses import replace
from functools import partial

import numpy as np
import oracles
import pytest
from conftest import related
from jackknives import influence, jackknife
from numpy.testing import assert_allclose

import superpose as sp
from superpose.files import DataError
from superpose.metrics import CCA, PWCCA, SHAPE, SVCCA, canonical, pwcca, shape_distance, svcca
from superpose.metrics.metric import Influence
from superpose.metrics.shape import whitened_angle_shares
from superpose.statistics import standard_error

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
    table = sp.compare({"x": x, "y": y}, metrics=[PWCCA], cv=None, permutations=0)
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


def apart(samples, seed, units=4):
    """Two systems of mixed units whose canonical correlations, .95 to .2, lie far apart."""
    draw = np.random.default_rng(seed)
    z = draw.normal(size=(samples, units))
    noisy = z * np.linspace(3, 0.2, units) + draw.normal(size=z.shape)
    first, second = np.random.default_rng(1).normal(size=(2, units, units))
    return z @ first, noisy @ second


def by_weights(score, x, y):
    """Return the derivative of a score to each sample's weight, of weights that sum to the samples."""
    n = len(x)

    def of(weight):
        weight = (weight * n / weight.sum())[:, None]
        return score(*(np.sqrt(weight) * (z - (weight * z).mean(axis=0)) for z in (x, y)))

    step = 1e-5
    return np.array([(of(1 + step * unit) - of(1 - step * unit)) / (2 * step) * n for unit in np.eye(n)])


def weighted_as_given(x, y):
    """PWCCA of responses about their means."""
    (ux, sx, vx), (uy, _, _) = (np.linalg.svd(z, full_matrices=False) for z in (x, y))
    left, values, _ = np.linalg.svd(ux.T @ uy, full_matrices=False)
    weights = np.abs(left.T @ (sx[:, None] * vx)).sum(axis=1)
    return (weights * values).sum() / weights.sum()


def whitened_as_given(x, y, alpha):
    """The angle of partly whitened responses about their means."""
    maps = []
    for z in (x, y):
        _, s, v = np.linalg.svd(z, full_matrices=False)
        maps.append(z @ (v.T * (alpha + (1 - alpha) / s)) @ v)
    return angle(*maps)


class TestInfluence:
    @pytest.mark.parametrize("units", [(7, 5), (5, 7)])
    @pytest.mark.parametrize(("alpha", "scale"), [(0.5, 1.0), (0.5, 0.02), (0.0, 1.0), (0.95, 0.02)])
    def test_of_a_shape_against_a_change_of_each_sample_s_weight(self, units, alpha, scale):
        x, y = (scale * z for z in related(150, *units, seed=4, noise=2.0))
        metric = replace(SHAPE, influence=Influence(partial(whitened_angle_shares, alpha=alpha)))
        assert_allclose(
            influence(metric, x, y), by_weights(partial(whitened_as_given, alpha=alpha), x, y), rtol=1e-5, atol=1e-6
        )

    @pytest.mark.parametrize("units", [(7, 5), (5, 7)])
    def test_of_pwcca_against_a_change_of_each_sample_s_weight(self, monkeypatch, units):
        x, y = related(150, *units, seed=4, noise=2.0)
        expected = by_weights(weighted_as_given, x, y)
        assert np.corrcoef(influence(PWCCA, x, y), expected)[0, 1] > 0.9
        # Samples that are taken as 10,000 times as many cannot turn a variate far.
        monkeypatch.setattr(canonical, "turning", lambda *args: 1e-4 * turning(*args))
        assert_allclose(influence(PWCCA, x, y), expected, rtol=1e-3, atol=1e-3)

    @pytest.mark.parametrize("metric", [SHAPE, PWCCA], ids=lambda m: m.name)
    @pytest.mark.parametrize("close", [False, True])
    def test_against_the_jackknife(self, metric, close):
        x, y = related(200, 7, 5, seed=1, noise=2.0) if close else apart(200, 1)
        exact, ours = jackknife(metric, x, y), influence(metric, x, y)
        assert_allclose(standard_error(ours), standard_error(exact), rtol=0.15)
        # Where correlations lie close, leaving out one sample turns variates by more than counts here.
        assert np.corrcoef(exact, ours)[0, 1] > (0.9 if close and metric is PWCCA else 0.98)
        assert abs(ours.mean()) < 1e-10

    def test_close_correlations_do_not_blow_up_an_interval(self):
        """Unrelated systems: first order alone says more than twice the spread, for some draws ten times."""
        scores, errors = [], []
        for seed in range(60):
            draw = np.random.default_rng(seed)
            x, y = draw.normal(size=(200, 8)) * np.geomspace(1, 5, 8), draw.normal(size=(200, 6))
            scores.append(pwcca(x, y))
            errors.append(standard_error(influence(PWCCA, x, y)))
        # The spread of 60 scores is known to 9 %.
        assert 0.8 < np.mean(errors) / np.std(scores, ddof=1) < 2
        assert np.max(errors) < 3 * np.median(errors)

    def test_dependent_units_change_no_interval(self):
        x, y = related(80, 5, 4, seed=0, noise=2.0)
        rotation = np.linalg.qr(np.random.default_rng(0).normal(size=(9, 9)))[0]
        wide = np.hstack([x, np.zeros((80, 4))]) @ rotation
        for a, b in ((wide, y), (y, wide)):
            given = (x, y) if a is wide else (y, x)
            assert_allclose(influence(SHAPE, a, b), influence(SHAPE, *given), atol=1e-8)
            if b is wide:
                assert_allclose(influence(PWCCA, a, b), influence(PWCCA, *given), atol=1e-8)

    def test_single_precision(self):
        x, y = related(500, 9, 7, seed=0, noise=2.0)
        for metric in (PWCCA, SHAPE):
            double, single = (
                sp.compare({"x": x.astype(kind), "y": y.astype(kind)}, metrics=[metric], permutations=0).error
                for kind in (np.float64, np.float32)
            )
            assert_allclose(single, double, rtol=1e-3)

    @pytest.mark.filterwarnings("error")
    def test_of_a_system_with_itself(self):
        x, _ = related(60, 6, 5, seed=0)
        table = sp.compare({"x": x, "same": x.copy()}, metrics=[SHAPE, PWCCA, CCA], permutations=0)
        errors = table.groupby("metric").error.max()
        assert errors["shape"] < 1e-6
        assert np.isnan(errors["pwcca"])
        whys = table.why[table.metric == "pwcca"]
        assert (whys == "no interval: canonical correlations tie, so that the weights are not unique").all()

    @pytest.mark.filterwarnings("error")
    def test_directions_that_are_shared_without_noise_tie(self):
        x, y = related(100, 6, 4, seed=0, noise=2.0)
        y[:, :2] = x[:, :2]
        assert np.isnan(influence(PWCCA, x, y)).all()
        y[:, 1] += 1e-3 * np.random.default_rng(0).normal(size=100)
        assert np.isfinite(influence(PWCCA, x, y)).all()

    def test_one_direction_has_no_other_to_turn_to(self):
        x, y = related(80, 1, 1, seed=0)
        assert_allclose(influence(PWCCA, x, y), influence(CCA, x, y), atol=1e-10)

    @pytest.mark.parametrize("metric", [SHAPE, PWCCA], ids=lambda m: m.name)
    def test_groups_are_whole(self, metric):
        x, y = (np.repeat(z, 4, axis=0) for z in related(100, 6, 5, seed=0, noise=2.0))
        naive = sp.compare({"x": x, "y": y}, metrics=[metric], cv=None, permutations=0)
        whole = sp.compare(
            {"x": x, "y": y}, metrics=[metric], cv=None, groups=np.repeat(np.arange(100), 4), permutations=0
        )
        assert_allclose(whole.error / naive.error, 2, rtol=0.05)


turning = canonical.turning
