"""Units as a sample: against brute force, known populations, and what refutes it."""

import numpy as np
import pytest

import superpose as sp
from superpose.files import DataError
from superpose.sharing import cka_units, unit_curve, unit_picture


def populations(random, truth, units, samples=800, features=64):
    """Return units of two populations whose features overlap by `truth`."""
    shared = round(truth * features)
    z = random.normal(size=(samples, 2 * features - shared))
    a, b = (random.normal(size=(units, features)) for _ in range(2))
    return z[:, :features] @ a.T, np.hstack([z[:, :shared], z[:, features:]]) @ b.T


def unbiased(k, ell):
    """Return HSIC without bias from its definition (Song et al. 2012), on n × n matrices."""
    k, ell, n = k - np.diag(np.diag(k)), ell - np.diag(np.diag(ell)), len(k)
    one = np.ones(n)
    rest = (one @ k @ one) * (one @ ell @ one) / ((n - 1) * (n - 2)) - 2 / (n - 2) * (one @ k @ ell @ one)
    return (np.trace(k @ ell) + rest) / (n * (n - 3))


def test_score_is_that_of_brute_force():
    random = np.random.default_rng(0)
    x, y = populations(random, 1.0, 8, samples=200, features=16)

    def kernel(column):
        return np.outer(column, column)

    x, y = x - x.mean(axis=0), y - y.mean(axis=0)
    between = np.mean([unbiased(kernel(one), kernel(other)) for one in x.T for other in y.T])
    own = [
        np.mean([unbiased(kernel(s[:, i]), kernel(s[:, j])) for i in range(8) for j in range(8) if i != j])
        for s in (x, y)
    ]
    assert min(own) > 0
    assert cka_units(x, y, seed=1).value == pytest.approx(between / np.sqrt(own[0] * own[1]), rel=1e-9)


@pytest.mark.parametrize("truth", [1.0, 0.6, 0.0])
def test_score_is_the_populations_however_many_units_there_are(truth):
    random = np.random.default_rng(1)
    found = [cka_units(*populations(random, truth, 24)) for _ in range(30)]
    values = np.array([one.value for one in found])
    # The ratio's own bias at 24 units is about .01.
    assert values.mean() == pytest.approx(truth, abs=3 * values.std() / np.sqrt(30) + 0.02)
    assert np.mean([one.low <= truth <= one.high for one in found]) >= 0.8


def test_score_is_invariant_to_order_shift_and_scale():
    x, y = populations(np.random.default_rng(2), 0.6, 12)
    value = cka_units(x, y).value
    assert cka_units(y, x).value == pytest.approx(value, rel=1e-9)
    assert cka_units(3 * x[:, ::-1] + 5, y).value == pytest.approx(value, rel=1e-9)


def test_a_shared_basis_is_refused():
    """Units of the same number resemble each other."""
    random = np.random.default_rng(3)
    x = random.normal(size=(500, 20)) * random.uniform(0.5, 2, 20)
    found = cka_units(x, x + 0.1 * random.normal(size=x.shape))
    assert np.isnan(found.value)
    assert "share a basis" in found.why


def test_orthonormal_units_are_refused():
    """More alike than independent draws can be: within each system hardly any two covary."""
    random = np.random.default_rng(4)
    z = random.normal(size=(4_000, 24))
    a, b = (np.linalg.qr(random.normal(size=(24, 24)))[0][:16] for _ in range(2))
    found = cka_units(z @ a.T, z @ b.T)
    assert np.isnan(found.value)
    assert found.why


def test_groups_widen_the_interval():
    x, y = populations(np.random.default_rng(5), 0.6, 40, samples=40)
    copies = [np.repeat(one, 20, axis=0) for one in (x, y)]
    alone, together = cka_units(*copies), cka_units(*copies, groups=np.repeat(np.arange(40), 20))
    assert together.high - together.low > 1.2 * (alone.high - alone.low)


@pytest.mark.parametrize(
    ("x", "y", "words"),
    [
        (np.ones((20, 3)), np.ones((20, 5)), "x has shape"),
        (np.eye(20), np.eye(19), "x has 20 samples and y 19"),
        (np.zeros((5, 8)), np.zeros((5, 8)), "at least 10 and 4"),
    ],
)
def test_what_cannot_be_scored_is_refused(x, y, words):
    with pytest.raises(DataError, match=words):
        cka_units(x, y)


def test_constant_systems_have_no_score():
    assert np.isnan(cka_units(np.ones((50, 8)), np.random.default_rng(0).normal(size=(50, 8))).value)


def test_raw_score_rises_with_the_units_to_the_populations():
    x, y = populations(np.random.default_rng(6), 0.8, 64)
    curve = unit_curve(x, y)
    assert curve.units.tolist() == [4, 8, 16, 32, 64]
    assert curve.score.is_monotonic_increasing
    assert curve.score.iloc[-1] == pytest.approx(float(sp.cka(x, y, debiased=True)), rel=1e-6)
    assert curve.limit.iloc[0] > curve.score.iloc[-1]
    axes = unit_picture(curve).axes[0]
    assert axes.get_xlabel() == "units of each system"
