"""Closed forms against exact enumeration, direct algebra, and simulation within its standard error."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from scipy import integrate, special, stats

from superpose import systems, theory
from superpose.files import DataError


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


def projections(units, latents, draws, entries="gaussian", seed=0):
    drawn = systems.projection(units, latents, entries=entries, repeats=(draws,), generator=seeded(seed))
    return drawn.double().numpy()


def coloured(latents: int, seed: int = 9) -> np.ndarray:
    root = random(latents, latents + 3, seed=seed)
    return root @ root.T


def mean_within_error(values: np.ndarray, expected: float, *, errors: float = 4.0, bias: float = 0.0) -> None:
    """Assert that the mean of independent draws lies within some standard errors (and a stated bias)."""
    error = values.std(ddof=1) / math.sqrt(len(values))
    assert abs(values.mean() - expected) <= errors * error + bias, (values.mean(), expected, error)


# ------------------------------------------------------------------ exact: a population of finitely many stimuli


@pytest.fixture(scope="module")
def population():
    """Stimuli with a mean and a covariance of their own, each equally likely, and two systems' responses."""
    z = random(60, 9, seed=1) @ random(9, 9, seed=2) + random(9, seed=3)
    a, b = random(4, 9, seed=4), random(6, 9, seed=5)
    return a, b, np.cov(z.T, bias=True), z.mean(0), z @ a.T, z @ b.T


def correlate_similarities(x, y):
    """Pearson correlation of all inner products: two independent stimuli can be the same one."""
    return np.corrcoef((x @ x.T).ravel(), (y @ y.T).ravel())[0, 1]


def linear_cka(x, y):
    """⟨XXᵀ, YYᵀ⟩ of samples × samples, as Eq. (19)-(25) spell it out."""
    k, l = x @ x.T, y @ y.T
    return np.trace(k @ l) / np.sqrt(np.trace(k @ k) * np.trace(l @ l))


def centred(x):
    return x - x.mean(0)


def test_rsa_and_cka_are_exact_on_a_finite_population(population):
    a, b, covariance, _, x, y = population
    expected = correlate_similarities(centred(x), centred(y))
    assert theory.rsa(a, b, covariance) == pytest.approx(expected, rel=1e-12)
    assert theory.cka(a, b, covariance) == pytest.approx(linear_cka(centred(x), centred(y)), rel=1e-12)
    assert theory.rsa(a, b) != pytest.approx(expected, abs=0.01)


def test_uncentred_forms_are_exact_on_a_finite_population(population):
    a, b, covariance, mean, x, y = population
    assert theory.rsa_uncentred(a, b, covariance, mean) == pytest.approx(correlate_similarities(x, y), rel=1e-11)
    assert theory.cka_uncentred(a, b, covariance, mean) == pytest.approx(linear_cka(x, y), rel=1e-11)
    assert theory.rsa_uncentred(a, b, covariance) == pytest.approx(theory.rsa(a, b, covariance), rel=1e-12)
    assert theory.cka_uncentred(a, b, covariance) == pytest.approx(theory.cka(a, b, covariance), rel=1e-12)


def test_regression_is_exact_on_a_finite_population(population):
    a, b, covariance, _, x, y = population
    design = np.column_stack([x, np.ones(len(x))])
    fitted, *_ = np.linalg.lstsq(design, y, rcond=None)
    residual, total = y - design @ fitted, centred(y)
    unit_r2 = 1 - (residual**2).sum(0) / (total**2).sum(0)
    pooled = 1 - (residual**2).sum() / (total**2).sum()
    prediction = centred(design @ fitted)
    pooled_r = (prediction * total).sum() / np.sqrt((prediction**2).sum() * (total**2).sum())
    unit_r = [np.corrcoef(p, t)[0, 1] for p, t in zip(prediction.T, total.T, strict=True)]
    assert theory.regression(a, b, covariance, score="r2") == pytest.approx(pooled, rel=1e-10)
    assert theory.regression(a, b, covariance) == pytest.approx(pooled_r, rel=1e-10)
    np.testing.assert_allclose(theory.regression(a, b, covariance, average=None), unit_r, rtol=1e-10)
    np.testing.assert_allclose(theory.regression(a, b, covariance, score="r2", average=None), unit_r2, rtol=1e-10)
    assert theory.regression(a, b, covariance, average="units") == pytest.approx(np.mean(unit_r), rel=1e-10)
    assert theory.regression(a, b, covariance, "r2", "units") == pytest.approx(unit_r2.mean(), rel=1e-10)
    np.testing.assert_allclose(theory.weights(a, b, covariance), fitted[:-1].T, rtol=1e-9, atol=1e-12)
    assert theory.mean_squared_error(a, b, covariance) == pytest.approx((residual**2).mean(), rel=1e-10)


@pytest.mark.parametrize(("latents", "active"), [(5, 2), (6, 1), (4, 4)])
def test_euclidean_rsa_is_exact_on_signed_patterns(latents, active):
    patterns = []
    for support in itertools.combinations(range(latents), active):
        for values in itertools.product((-1.0, -0.4, 0.4, 1.0), repeat=active):
            z = np.zeros(latents)
            z[list(support)] = values
            patterns.append(z)
    z = np.array(patterns) / np.sqrt(np.mean(np.square(patterns)))
    fourth, cross = (z**4).mean(), (z[:, 0] ** 2 * z[:, 1] ** 2).mean()
    a, b = random(3, latents, seed=6), random(2, latents, seed=7)

    def distances(x):
        return np.square(x[:, None] - x[None]).sum(-1).ravel()

    expected = np.corrcoef(distances(z @ a.T), distances(z @ b.T))[0, 1]
    assert theory.rsa_euclidean(a, b, fourth, cross) == pytest.approx(expected, rel=1e-11)
    assert theory.rsa(a, b) != pytest.approx(expected, abs=0.003)


# -------------------------------------------------------------------------------------- algebra of the theorems


@pytest.mark.parametrize("covariance", [None, coloured(20)], ids=["white", "coloured"])
def test_units_by_units_equals_gram_matrices(covariance):
    a, b = random(7, 20), random(5, 20, seed=1)
    s = np.eye(20) if covariance is None else covariance
    g_a, g_b = a.T @ a, b.T @ b
    expected = np.trace(g_a @ s @ g_b @ s) / np.sqrt(np.trace(g_a @ s @ g_a @ s) * np.trace(g_b @ s @ g_b @ s))
    assert theory.rsa(a, b, covariance) == pytest.approx(expected, rel=1e-12)
    assert theory.cka(a, b, covariance) == theory.rsa(a, b, covariance)
    assert theory.cka(b, a, covariance) == pytest.approx(expected, rel=1e-12)


def test_regression_identities_of_theorem_3_3():
    a, b = random(7, 20), random(5, 20, seed=1)
    w = b @ a.T @ np.linalg.inv(a @ a.T)
    p = a.T @ np.linalg.inv(a @ a.T) @ a
    r2 = theory.regression(a, b, score="r2")
    np.testing.assert_allclose(theory.weights(a, b), w, rtol=1e-10, atol=1e-12)
    assert r2 == pytest.approx(np.trace(b @ p @ b.T) / np.trace(b @ b.T), rel=1e-10)
    assert theory.mean_squared_error(a, b) == pytest.approx(np.square(b - b @ p).sum() / 5, rel=1e-10)
    assert theory.mean_squared_error(a, b) == pytest.approx((1 - r2) * np.square(b).sum() / 5, rel=1e-10)
    assert theory.regression(a, b) == pytest.approx(math.sqrt(r2), rel=1e-12)


@pytest.mark.parametrize("units", [20, 35])
def test_as_many_units_as_latents_predict_without_error(units):
    a, b = random(units, 20), random(5, 20, seed=1)
    assert theory.regression(a, b, score="r2") == pytest.approx(1, abs=1e-10)
    assert theory.mean_squared_error(a, b) == pytest.approx(0, abs=1e-9)
    np.testing.assert_allclose(theory.weights(a, b) @ a, b, atol=1e-8)


@pytest.mark.parametrize("covariance", [None, coloured(20)], ids=["white", "coloured"])
def test_dependent_units_add_nothing(covariance):
    a, b = random(7, 20), random(5, 20, seed=1)
    redundant = np.concatenate([a, random(4, 7, seed=2) @ a, np.zeros((1, 20))])
    assert theory.regression(redundant, b, covariance) == pytest.approx(theory.regression(a, b, covariance), rel=1e-9)
    np.testing.assert_allclose(
        theory.weights(redundant, b, covariance) @ redundant, theory.weights(a, b, covariance) @ a, atol=1e-8
    )


def test_a_unit_that_never_varies_has_no_score_and_leaves_the_mean():
    a, b = random(7, 20), random(5, 20, seed=1)
    silent = np.concatenate([b, np.zeros((1, 20))])
    units = theory.regression(a, silent, average=None)
    np.testing.assert_array_equal(np.isnan(units), [False] * 5 + [True])
    for average in ("units", "pooled"):
        expected = theory.regression(a, b, average=average)
        assert theory.regression(a, silent, average=average) == pytest.approx(expected, rel=1e-12)


def test_alignment_ignores_rotation_of_units_and_scale_and_is_one_with_itself():
    a, b, s = random(7, 20), random(5, 20, seed=1), coloured(20)
    rotation = stats.ortho_group.rvs(7, random_state=0)
    for measure in (theory.rsa, theory.cka, theory.regression):
        assert measure(a, a, s) == pytest.approx(1, rel=1e-10)
        assert measure(3 * rotation @ a, b, 5 * s) == pytest.approx(measure(a, b, s), rel=1e-9)


FUNCTIONS = {
    "rsa": theory.rsa,
    "cka": theory.cka,
    "regression": theory.regression,
    "units": lambda a, b, s=None: theory.regression(a, b, s, average=None),
    "weights": theory.weights,
    "error": theory.mean_squared_error,
    "rsa_uncentred": lambda a, b, s=None: theory.rsa_uncentred(a, b, s, np.linspace(0, 1, 12)),
    "cka_uncentred": lambda a, b, s=None: theory.cka_uncentred(a, b, s, np.linspace(0, 1, 12)),
    "euclidean": lambda a, b, s=None: theory.rsa_euclidean(a, b, 2.0, 0.7),
    "finite": lambda a, b, s=None: theory.finite_sample_cka(a, b, 30, s),
}


@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS.keys())
def test_leading_axes_are_repeats_and_broadcast(function):
    a, b = random(2, 3, 4, 12), random(2, 3, 5, 12, seed=1)
    s = np.stack([coloured(12, seed) for seed in range(6)]).reshape(2, 3, 12, 12)
    together = function(a, b, s)
    for i, j in np.ndindex(2, 3):
        np.testing.assert_allclose(together[i, j], function(a[i, j], b[i, j], s[i, j]), rtol=1e-9)
    np.testing.assert_allclose(function(a, b[0, 0])[1, 2], function(a[1, 2], b[0, 0]), rtol=1e-9)


@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS.keys())
def test_torch_in_torch_out(function):
    a, b, s = random(3, 4, 12), random(3, 5, 12, seed=1), coloured(12)
    got = function(torch.tensor(a), torch.tensor(b), torch.tensor(s))
    assert isinstance(got, torch.Tensor)
    assert got.dtype == torch.float64
    np.testing.assert_allclose(got.numpy(), function(a, b, s), rtol=1e-12)


def test_torch_in_torch_out_of_the_laws():
    units = torch.tensor([8.0, 16.0])
    for law in (theory.expected_cka, theory.expected_regression, theory.expected_cka_orthonormal):
        curve = law(units, units, 64)
        assert isinstance(curve, torch.Tensor)
        np.testing.assert_allclose(curve.numpy(), law(units.numpy(), units.numpy(), 64))


def test_float32_input_is_computed_in_float64():
    a, b = random(7, 20).astype(np.float32), random(5, 20, seed=1).astype(np.float32)
    assert theory.cka(a, b) == theory.cka(a.astype(float), b.astype(float))
    assert theory.cka(a, b).dtype == np.float64


# --------------------------------------------------------------------------------- expectations, by simulation


@pytest.mark.parametrize(("entries", "kurtosis"), systems.KURTOSIS.items())
def test_expected_cka_of_independent_entries(entries, kurtosis):
    a, b = projections(8, 64, 3000, entries), projections(8, 64, 3000, entries, seed=1)
    shared = np.square(a @ b.swapaxes(1, 2)).sum((1, 2))
    own = np.square(a @ a.swapaxes(1, 2)).sum((1, 2))
    mean_within_error(shared, 8 * 8 * 64, errors=3)
    mean_within_error(own, 8 * 64 * (8 + 64 + kurtosis - 2), errors=3)
    predicted = theory.expected_cka(8, 8, 64, kurtosis=kurtosis)
    assert predicted == pytest.approx(8 * 8 * 64 / (8 * 64 * (70 + kurtosis)), rel=1e-12)
    # The ratio of expectations is rougher where entries have heavy tails.
    mean_within_error(theory.cka(a, b), predicted, errors=3, bias={"sparse": 0.007}.get(entries, 0.0006))


def test_expected_norms_of_gaussian_projections_within_a_percent():
    a, b = projections(32, 64, 3000), projections(16, 64, 3000, seed=1)
    assert np.square(a @ b.swapaxes(1, 2)).sum((1, 2)).mean() == pytest.approx(32 * 16 * 64, rel=0.01)
    assert np.square(a @ a.swapaxes(1, 2)).sum((1, 2)).mean() == pytest.approx(32 * 64 * 97, rel=0.01)
    assert abs(theory.cka(a, b).mean() - theory.expected_cka(32, 16, 64)) < 0.002


@pytest.mark.parametrize(
    ("entries", "law", "shared"),
    [("haar", theory.expected_cka_orthonormal, 1), ("unit_norm", theory.expected_cka_unit_norm, 64)],
)
def test_expected_cka_of_other_ensembles(entries, law, shared):
    a, b = projections(8, 64, 3000, entries), projections(16, 64, 3000, entries, seed=1)
    own = np.square(a @ a.swapaxes(1, 2)).sum((1, 2))
    mean_within_error(own, shared / law(8, 8, 64), bias=1e-4)
    mean_within_error(theory.cka(a, b), law(8, 16, 64), bias=1e-4)
    assert abs(theory.cka(a, b).mean() - theory.expected_cka(8, 16, 64)) > 0.0005


def test_expected_cka_published_values():
    curve = theory.expected_cka(np.array([8, 32, 64, 128, 256]), np.array([8, 32, 64, 128, 256]), 256)
    np.testing.assert_allclose(curve, [0.0302, 0.1107, 0.1994, 0.3325, 0.4990], atol=5e-5)
    assert theory.expected_cka(60, 60, 60) == pytest.approx(60 / 121)
    assert theory.expected_cka_orthonormal(60, 60, 60) == 1
    assert theory.expected_cka(1e9, 1e9, 64) == pytest.approx(1, abs=1e-6)
    assert theory.expected_cka(8, 8, (64, 64)) == theory.expected_cka(8, 8, 64)


@pytest.mark.parametrize(
    ("n_a", "n_b", "shared", "m_a", "m_b", "cka", "r2"),
    [
        (64, 64, 52, 16, 16, 0.1605, 0.2031),
        (64, 64, 45, 48, 8, 0.1517, 0.5273),
        (64, 40, 30, 20, 10, 0.1274, 0.2344),
        (30, 40, 30, 40, 10, None, 0.75),
    ],
)
def test_partial_overlap(n_a, n_b, shared, m_a, m_b, cka, r2):
    a, b = systems.overlapping_projections(m_a, m_b, n_a, n_b, shared, repeats=(600,), generator=seeded())
    rho = theory.overlap_ratio(shared, n_a, n_b)
    predicted = theory.expected_cka(m_a, m_b, (n_a, n_b), overlap=rho)
    expected = theory.expected_regression(m_a, m_b, (n_a, n_b), overlap=rho, score="r2")
    assert cka is None or predicted == pytest.approx(cka, abs=5e-5)
    assert expected == pytest.approx(r2, abs=5e-5)
    mean_within_error(theory.cka(a, b).numpy(), predicted, bias=0.002)
    mean_within_error(theory.regression(a, b, score="r2").numpy(), expected)
    units = theory.expected_regression(m_a, m_b, (n_a, n_b), overlap=rho, average="units")
    mean_within_error(theory.regression(a, b, average="units").numpy(), units, bias=2e-4)


@pytest.mark.parametrize(
    ("m_a", "m_b", "r2", "r_units"), [(8, 8, 0.125, 0.3440), (32, 16, 0.5, 0.7044), (8, 48, 0.125, 0.3440)]
)
def test_expected_regression(m_a, m_b, r2, r_units):
    a, b = projections(m_a, 64, 500), projections(m_b, 64, 500, seed=1)
    assert theory.expected_regression(m_a, m_b, 64, score="r2") == r2
    assert theory.expected_regression(m_a, m_b, 64, score="r2", average="units") == r2
    assert theory.expected_regression(m_a, m_b, 64) == pytest.approx(math.sqrt(r2))
    assert theory.expected_regression(m_a, m_b, 64, average="units") == pytest.approx(r_units, abs=5e-5)
    mean_within_error(theory.regression(a, b, score="r2"), r2)
    mean_within_error(theory.regression(a, b, average="units"), r_units, bias=5e-5)
    mean_within_error(theory.regression(a, b), math.sqrt(r2), bias=0.002)


def test_single_unit_r2_has_a_beta_distribution():
    a, b = projections(8, 64, 2000), projections(1, 64, 2000, seed=1)
    r2 = theory.regression(a, b, score="r2", average=None)[:, 0]
    assert stats.kstest(r2, stats.beta(4, 28).cdf).pvalue > 0.01
    exact = special.gamma(4.5) * special.gamma(32) / (special.gamma(4) * special.gamma(32.5))
    assert theory.expected_regression(8, 1, 64, average="units") == pytest.approx(exact, rel=1e-10)


def test_expected_regression_saturates_and_takes_curves():
    curve = theory.expected_regression(np.array([16, 64, 128]), 5, 64, score="r2")
    np.testing.assert_allclose(curve, [0.25, 1, 1])
    np.testing.assert_allclose(theory.expected_regression(np.array([16, 64, 128]), 5, 64, average="units")[1:], 1)
    assert theory.expected_regression(8, 8, 64, overlap=0.0, average="units") == 0
    assert theory.expected_regression(1, 1, 1, average="units") == 1


@pytest.mark.parametrize(
    ("exponent", "cka", "r2", "bias"),
    [(0.5, 0.2666, 0.4401, 0.002), (1.0, 0.5261, 0.6487, 0.008), (1.5, 0.7419, 0.8589, 0.035)],
)
def test_coloured_latents(exponent, cka, r2, bias):
    covariance = np.diag(np.arange(1.0, 65) ** -exponent)
    a, b = projections(24, 64, 400), projections(12, 64, 400, seed=1)
    assert theory.expected_cka_coloured(24, 12, covariance) == pytest.approx(cka, abs=5e-5)
    assert theory.expected_regression_coloured(24, covariance, score="r2") == pytest.approx(r2, abs=5e-5)
    mean_within_error(theory.cka(a, b, covariance), cka, errors=3, bias=bias)
    mean_within_error(theory.regression(a, b, covariance, score="r2"), r2, errors=3, bias=0.01)
    # The planted fault: white latents in the place of coloured ones misses by far.
    assert abs(theory.cka(a, b, covariance).mean() - theory.expected_cka(24, 12, 64)) > 0.05


def test_white_formula_fails_on_a_power_law_spectrum():
    """One pair of systems, 20,000 samples: the covariance-aware form is right where the white one is useless."""
    spectrum = 1 / np.arange(1.0, 65)
    a, b = random(24, 64, seed=1), random(24, 64, seed=2)
    z = random(20_000, 64, seed=3) * np.sqrt(spectrum)
    x, y = centred(z @ a.T), centred(z @ b.T)
    measured = np.square(x.T @ y).sum() / np.sqrt(np.square(x.T @ x).sum() * np.square(y.T @ y).sum())
    assert abs(theory.cka(a, b, np.diag(spectrum)) - measured) < 0.01
    assert abs(theory.cka(a, b) - measured) > 0.25


def test_coloured_laws_reduce_to_white_ones():
    white = np.eye(64) * 7
    assert theory.participation_ratio(white) == pytest.approx(64)
    assert theory.expected_cka_coloured(8, 30, white) == pytest.approx(theory.expected_cka(8, 30, 64))
    assert theory.expected_regression_coloured(16, white, score="r2") == pytest.approx(0.25, rel=1e-9)
    assert theory.expected_regression_coloured(16, white) == pytest.approx(0.5, rel=1e-9)
    np.testing.assert_allclose(
        theory.expected_regression_coloured(np.array([32, 64, 90]), white, score="r2"), [0.5, 1, 1], rtol=1e-9
    )
    np.testing.assert_allclose(theory.participation_ratio(np.stack([np.eye(5), np.diag([1.0, 0, 0, 0, 0])])), [5, 1])


def test_noise_lowers_alignment_as_predicted():
    sigma, draws = 4.0, 600
    a, b = projections(16, 64, draws), projections(16, 64, draws, seed=1)
    c_ab = a @ b.swapaxes(1, 2)
    c_aa, c_bb = (p @ p.swapaxes(1, 2) + sigma**2 * np.eye(16) for p in (a, b))
    norm = [np.square(c).sum((1, 2)) for c in (c_aa, c_ab, c_bb)]
    explained = np.trace(c_ab.swapaxes(1, 2) @ np.linalg.solve(c_aa, c_ab), axis1=1, axis2=2)
    cka = theory.expected_cka_coloured(16, 16, np.eye(64), sigma=sigma)
    r2 = theory.expected_regression_coloured(16, np.eye(64), sigma=sigma, score="r2")
    assert (cka, r2) == (pytest.approx(0.1368, abs=5e-5), pytest.approx(0.1528, abs=5e-5))
    mean_within_error(norm[0], 16 * 64 * 81 + 2 * 16 * 16 * 64 + 16 * 16**2)
    mean_within_error(norm[1] / np.sqrt(norm[0] * norm[2]), cka, bias=0.001)
    mean_within_error(explained / np.trace(c_bb, axis1=1, axis2=2), r2, bias=0.001)


def test_latent_cka_inverts_the_law():
    raw = theory.expected_cka(16, 24, (64, 40), overlap=0.5)
    assert theory.latent_cka(raw, 16, 24, 64, 40) == pytest.approx(0.5, rel=1e-12)
    assert theory.latent_cka(theory.deflation(10, 30, 7.5, 12), 10, 30, 7.5, 12) == pytest.approx(1, rel=1e-12)
    a, b = systems.overlapping_projections(32, 32, 64, 64, 45, repeats=(400,), generator=seeded())
    rho = theory.latent_cka(theory.cka(a, b), 32, 32, 64, 64).numpy()
    mean_within_error(rho, theory.overlap_ratio(45, 64, 64), bias=0.005)


@pytest.mark.parametrize(("latents", "units"), [(64, 16), (64, 32), (100, 60)])
def test_latent_participation_from_activity(latents, units):
    a = projections(units, latents, 800)
    c = a @ a.swapaxes(1, 2)
    activity = theory.participation_ratio(c).mean()
    assert theory.latent_participation(units, activity) == pytest.approx(latents, rel=0.03)
    law = (units * latents + 2) / (units + 1 + latents)
    assert theory.latent_participation(units, law) == pytest.approx(latents, rel=1e-12)


def test_inversion_of_ranks():
    threshold = theory.inversion_overlap(24, 8, 64)
    assert threshold == pytest.approx(math.sqrt(8 * (64 + 24 + 1) / (24 * (64 + 8 + 1))))
    for overlap, wins in ((threshold - 0.01, False), (threshold + 0.01, True)):
        more = theory.expected_cka(64, 24, 64, overlap=overlap)
        assert (more > theory.expected_cka(64, 8, 64)) is np.bool_(wins)
    assert theory.inversion_overlap(8, 24, 64) > 1


def test_critical_units_and_overlap_ratio():
    assert theory.critical_units(64, 4) == pytest.approx(4 * math.log(16))
    np.testing.assert_allclose(theory.critical_units(64, np.array([2, 32])), [6.931, 22.181], atol=1e-3)
    assert theory.critical_units(8, 8) == 0
    assert theory.overlap_ratio(30, 64, 40) == pytest.approx(30 / math.sqrt(64 * 40))
    # The overlap ratio is the CKA of the latents themselves.
    a, b = np.eye(74)[:64], np.eye(74)[34:]
    assert theory.overlap_ratio(30, 64, 40) == pytest.approx(theory.cka(a, b))


# ------------------------------------------------------------------------------------------------ finite samples


@pytest.mark.parametrize("unrelated", [False, True])
def test_biased_cka_of_few_samples(unrelated):
    draws, samples = 60, 50
    a, b = projections(100, 200, draws), projections(100, 200, draws, seed=1)
    if unrelated:
        a = np.concatenate([a, np.zeros_like(a)], -1)
        b = np.concatenate([np.zeros_like(b), b], -1)
    z = random(draws, samples, a.shape[-1], seed=2)
    x, y = (r - r.mean(1, keepdims=True) for r in (z @ a.swapaxes(1, 2), z @ b.swapaxes(1, 2)))
    k, l = x @ x.swapaxes(1, 2), y @ y.swapaxes(1, 2)
    measured = (k * l).sum((1, 2)) / np.sqrt((k * k).sum((1, 2)) * (l * l).sum((1, 2)))
    law = theory.finite_sample_cka(a, b, samples)
    assert law.mean() == pytest.approx(0.573 if unrelated else 0.711, abs=0.006)
    mean_within_error(measured - law, 0, bias=0.002)
    assert (measured > theory.cka(a, b) + 0.3).all()


def test_biased_cka_law_is_exact_for_wishart_moments():
    """Numerator and norms against the simulated expectation, at N where 1/N and 1/(N - 1) differ."""
    a, b, samples = random(3, 6), random(2, 6, seed=1), 6
    z = random(40_000, samples, 6, seed=2)
    z -= z.mean(1, keepdims=True)
    x, y = z @ a.T, z @ b.T
    norm = {
        "ab": np.square(x.swapaxes(1, 2) @ y).sum((1, 2)),
        "aa": np.square(x.swapaxes(1, 2) @ x).sum((1, 2)),
        "bb": np.square(y.swapaxes(1, 2) @ y).sum((1, 2)),
    }
    law = theory.finite_sample_cka(a, b, samples)
    ratio = norm["ab"].mean() / math.sqrt(norm["aa"].mean() * norm["bb"].mean())
    # Delta-method error of the ratio of means.
    influence = (
        norm["ab"] / norm["ab"].mean() - norm["aa"] / (2 * norm["aa"].mean()) - norm["bb"] / (2 * norm["bb"].mean())
    )
    assert abs(ratio - law) < 4 * ratio * influence.std() / 200
    assert theory.finite_sample_cka(a, b, 10**9) == pytest.approx(theory.cka(a, b), rel=1e-6)


def test_regression_of_few_samples():
    draws, samples, test = 150, 400, 2000
    a, b = random(32, 64, seed=1), random(32, 64, seed=2)
    population = theory.regression(a, b, score="r2")
    inside, outside = np.empty(draws), np.empty(draws)
    rng = np.random.default_rng(3)
    for draw in range(draws):
        z, new = rng.standard_normal((samples, 64)), rng.standard_normal((test, 64))
        design = np.column_stack([z @ a.T, np.ones(samples)])
        w, *_ = np.linalg.lstsq(design, z @ b.T, rcond=None)
        inside[draw] = 1 - np.square(z @ b.T - design @ w).sum() / np.square(centred(z @ b.T)).sum()
        residual = new @ b.T - np.column_stack([new @ a.T, np.ones(test)]) @ w
        outside[draw] = 1 - np.square(residual).sum() / np.square(centred(new @ b.T)).sum()
    mean_within_error(inside, theory.in_sample_r2(population, samples, 32), bias=5e-4)
    mean_within_error(theory.adjusted_r2(inside, samples, 32), population, bias=5e-4)
    mean_within_error(outside, theory.held_out_r2(population, samples, 32), bias=5e-4)
    assert outside.mean() < population - 0.03 < population + 0.03 < inside.mean()


def test_finite_sample_r2_published_values_and_round_trip():
    assert theory.in_sample_r2(0.5, 150, 100) == pytest.approx(0.836, abs=5e-4)
    assert theory.held_out_r2(0.5, 150, 100) == pytest.approx(-0.552, abs=2e-3)
    r2 = np.linspace(0, 1, 5)
    np.testing.assert_allclose(theory.adjusted_r2(theory.in_sample_r2(r2, 77, 20), 77, 20), r2, atol=1e-12)
    assert theory.held_out_r2(0.5, 10**9, 32) == pytest.approx(0.5, abs=1e-6)


# --------------------------------------------------------------------------------------- moments of sparse latents


@pytest.mark.parametrize("distribution", ["uniform", "signed", "gaussian"])
@pytest.mark.parametrize(("latents", "active"), [(16, 1), (16, 4), (16, 16)])
def test_latent_moments_match_samples(latents, active, distribution):
    z = systems.sparse_latents(60_000, latents, active, distribution=distribution, generator=seeded())
    z = z.double().numpy()
    mean, square, product = theory.latent_moments(latents, active, distribution)
    mean_within_error(z.mean(1), mean, bias=1e-12)
    mean_within_error(np.square(z).mean(1), square)
    pairs = (z.sum(1) ** 2 - np.square(z).sum(1)) / (latents * (latents - 1))
    mean_within_error(pairs, product, bias=1e-12)


def test_latent_covariance_is_that_of_samples():
    z = systems.sparse_latents(200_000, 12, 3, generator=seeded()).double().numpy()
    covariance, mean = theory.latent_covariance(12, 3), theory.latent_mean(12, 3)
    products = centred(z)[:, :, None] * centred(z)[:, None, :]
    error = products.std(0) / math.sqrt(len(z))
    assert (np.abs(products.mean(0) - covariance) < 5 * error).all()
    assert (np.abs(z.mean(0) - mean) < 5 * z.std(0) / math.sqrt(len(z))).all()


def test_latent_covariance_published_values():
    covariance, mean = theory.latent_covariance(64, 4), theory.latent_mean(64, 4)
    assert mean[0] == pytest.approx(0.06010, abs=5e-6)
    assert covariance[0, 0] == pytest.approx(0.05423, abs=5e-6)
    assert covariance[0, 1] == pytest.approx(-8.59e-4, abs=5e-7)
    # The sum of the largest draws hardly varies.
    assert covariance.sum() / 64 < 0.01 * covariance[0, 0]
    for distribution in ("signed", "gaussian"):
        white = theory.latent_covariance(10, 3, distribution)
        np.testing.assert_array_equal(white, white[0, 0] * np.eye(10))
    np.testing.assert_allclose(theory.latent_covariance(8, 8, "gaussian"), np.eye(8), atol=1e-9)
    np.testing.assert_allclose(theory.latent_covariance(8, 8), np.eye(8) / 12, atol=1e-12)
    np.testing.assert_allclose(theory.latent_covariance(1, 1), [[1 / 12]])


@pytest.mark.parametrize(("latents", "active"), [(20, 3), (64, 32), (9, 8)])
def test_order_statistics_agree_with_integration(latents, active):
    """A draw u is kept when fewer than `active` of the others exceed it: a binomial probability."""

    def moment(power):
        return integrate.quad(lambda u: u**power * stats.binom.cdf(active - 1, latents - 1, 1 - u), 0, 1, epsabs=1e-13)[
            0
        ]

    mean, square, _ = theory.latent_moments(latents, active)
    fourth, _ = theory.latent_fourth_moments(latents, active)
    assert (mean, square) == (pytest.approx(moment(1), rel=1e-9), pytest.approx(moment(2), rel=1e-9))
    assert fourth == pytest.approx(moment(4) / moment(2) ** 2, rel=1e-9)


def test_fourth_moments_match_samples():
    z = systems.sparse_latents(60_000, 16, 4, distribution="signed", generator=seeded()).double().numpy()
    squares = z**2 / theory.latent_moments(16, 4, "signed").square
    fourth, cross = theory.latent_fourth_moments(16, 4)
    mean_within_error((squares**2).mean(1), fourth)
    mean_within_error((squares.sum(1) ** 2 - (squares**2).sum(1)) / (16 * 15), cross)
    assert cross < 1


def test_simulated_sparse_latents_follow_the_covariance_aware_theory():
    """Uniform top-k latents, 20,000 samples: centred, uncentred, and how far the white, centred curve is off."""
    z = systems.sparse_latents(20_000, 64, 32, generator=seeded()).double().numpy()
    a, b = random(24, 64, seed=1), random(24, 64, seed=2)
    covariance, mean = theory.latent_covariance(64, 32), theory.latent_mean(64, 32)

    def cka(x, y):
        return np.square(x.T @ y).sum() / np.sqrt(np.square(x.T @ x).sum() * np.square(y.T @ y).sum())

    x, y = z @ a.T, z @ b.T
    assert abs(cka(centred(x), centred(y)) - theory.cka(a, b, covariance)) < 0.006
    assert abs(cka(x, y) - theory.cka_uncentred(a, b, covariance, mean)) < 0.002
    assert theory.cka_uncentred(a, b, covariance, mean) - theory.cka(a, b, covariance) > 0.3
    few_x, few_y = x[:3000], y[:3000]
    upper = np.triu_indices(3000, 1)
    measured = np.corrcoef((few_x @ few_x.T)[upper], (few_y @ few_y.T)[upper])[0, 1]
    assert abs(measured - theory.rsa_uncentred(a, b, covariance, mean)) < 0.01
    assert abs(measured - theory.rsa(a, b, covariance)) > 0.05
    few_x, few_y = centred(few_x), centred(few_y)
    measured = np.corrcoef((few_x @ few_x.T)[upper], (few_y @ few_y.T)[upper])[0, 1]
    assert abs(measured - theory.rsa(a, b, covariance)) < 0.01


def test_simulated_euclidean_rsa_of_signed_latents():
    z = systems.sparse_latents(3000, 64, 4, distribution="signed", generator=seeded()).double().numpy()
    fourth, cross = theory.latent_fourth_moments(64, 4)
    upper = np.triu_indices(3000, 1)
    measured, predicted, dot = [], [], []
    for seed in range(6):
        a, b = random(16, 64, seed=seed), random(16, 64, seed=100 + seed)
        d = []
        for x in (z @ a.T, z @ b.T):
            squared = np.square(x).sum(1)
            d.append((squared[:, None] + squared[None] - 2 * x @ x.T)[upper])
        measured.append(np.corrcoef(*d)[0, 1])
        predicted.append(theory.rsa_euclidean(a, b, fourth, cross))
        dot.append(theory.rsa(a, b))
    assert np.abs(np.subtract(measured, predicted)).max() < 0.03
    assert np.subtract(dot, measured).mean() > 0.05


# ---------------------------------------------------------------------------------------------------- bad input

A, B = np.ones((2, 4)), np.ones((3, 4))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: theory.rsa(A, np.ones((3, 5))), "a has 4 latents and b has 5; expected projections of the same"),
        (lambda: theory.cka(np.ones((2, 3, 4)), np.ones((5, 3, 4))), r"repeats \(2,\) and b \(5,\)"),
        (lambda: theory.cka(np.zeros((2, 4)), B), "a responds to no latent that varies"),
        (lambda: theory.regression(A, np.zeros((3, 4))), "b responds to no latent that varies"),
        (lambda: theory.rsa_uncentred(A, np.zeros((3, 4))), "b responds to no latent that varies"),
        (
            lambda: theory.cka(np.eye(4)[:1], B, np.diag([0.0, 1, 1, 1])),
            "a responds to no latent that varies; expected non-zero projections",
        ),
        (
            lambda: theory.cka_uncentred(np.eye(4)[:1], B, np.diag([0.0, 1, 1, 1])),
            "a responds to no latent that varies",
        ),
        (lambda: theory.cka(A.astype(complex), B), "a holds values of type complex128; expected real"),
        (lambda: theory.cka(A, np.ones(4)), r"b has shape \(4,\); expected \(…, units, latents\)"),
        (lambda: theory.cka(np.ones((0, 4)), B), r"a has shape \(0, 4\)"),
        (lambda: theory.cka(np.full((2, 4), np.nan), B), r"a has 8 NaN or infinite value\(s\)"),
        (lambda: theory.cka(A, B, np.eye(5)), r"covariance has shape \(5, 5\); expected a square matrix, \(…, 4, 4\)"),
        (lambda: theory.participation_ratio(np.ones((2, 3))), r"covariance has shape \(2, 3\); expected a square"),
        (lambda: theory.cka(A, B, np.zeros((4, 4))), "covariance is zero; expected latents that vary"),
        (lambda: theory.cka(A, B, np.triu(np.ones((4, 4)))), "covariance is not symmetric"),
        (lambda: theory.rsa_uncentred(A, B, mean=np.ones(3)), r"mean has shape \(3,\); expected one value per latent"),
        (lambda: theory.regression(A, B, score="R2"), "score is 'R2'; expected one of 'r', 'r2'"),
        (lambda: theory.regression(A, B, average="all"), "average is 'all'; expected one of 'pooled', 'units', None"),
        (lambda: theory.expected_regression(2, 2, 4, average=None), r"score and average is \('r', None\)"),
        (lambda: theory.expected_regression_coloured(2, np.eye(4), score="p"), "score is 'p'; expected one of"),
        (lambda: theory.expected_cka(0, 4, 9), "units_a is 0; expected a finite number of at least 1"),
        (lambda: theory.expected_cka(4, 4, 9, kurtosis=0.5), "kurtosis is 0.5; expected a finite number"),
        (lambda: theory.expected_cka(4, 4, (9, 9, 9)), r"latents is \(9, 9, 9\); expected the features of each"),
        (lambda: theory.expected_cka(4, 4, 9, overlap=1.1), "overlap is 1.1; expected 0 to 1, the most"),
        (lambda: theory.expected_cka(4, 4, 9, overlap=-0.1), "overlap is -0.1; expected 0 to 1"),
        (lambda: theory.expected_regression(4, 4, (9, 36), overlap=0.6), "expected 0 to 0.5, the most that 9 and 36"),
        (lambda: theory.expected_cka_orthonormal(10, 4, 9), "units exceed the 9 latents"),
        (lambda: theory.deflation(4, 4, 0, 5), "participation_a is 0; expected a finite number above 0"),
        (lambda: theory.latent_cka(0.5, 4, 4, 5, np.inf), "participation_b is inf; expected a finite number"),
        (
            lambda: theory.latent_participation(16, 15.5),
            "units / activity_participation - 1 is 0.0323; expected at least 0.05",
        ),
        (lambda: theory.latent_participation(16, 17), "record more units, or give the participation ratio"),
        (lambda: theory.participation_ratio(np.eye(3), -1.0), "sigma is -1.0; expected a finite number of at least 0"),
        (lambda: theory.expected_regression_coloured(2, np.ones((2, 3, 3))), r"expected one matrix, \(latents, lat"),
        (
            lambda: theory.expected_regression_coloured(2, np.diag([1.0, -1.0])),
            "covariance has the eigenvalue -1; expected none below zero",
        ),
        (lambda: theory.overlap_ratio(5, 4, 9), "shared is 5 with 4 and 9 features; expected no more than"),
        (lambda: theory.critical_units(4, 5), "active is 5 with 4 latents; expected active ≤ latents"),
        (lambda: theory.latent_covariance(4, 5), "active is 5 with 4 latents; expected 1 ≤ active"),
        (lambda: theory.latent_mean(4, 0), "active is 0 with 4 latents; expected 1 ≤ active"),
        (lambda: theory.latent_moments(4, 2, "beta"), "distribution is 'beta'; expected one of 'uniform'"),
        (lambda: theory.latent_fourth_moments(1, 1), "latents is 1; expected a finite number of at least 2"),
        (lambda: theory.adjusted_r2(0.5, 11, 10), "11 samples are too few for 10 predictors; expected at least 2"),
        (lambda: theory.in_sample_r2(0.5, 11, 10), "11 samples are too few for 10 predictors"),
        (lambda: theory.held_out_r2(0.5, 12, 10), "expected at least 3 more samples than predictors"),
        (lambda: theory.finite_sample_cka(A, B, 1), "samples is 1; expected a finite number of at least 2"),
    ],
)
def test_bad_arguments(call, message):
    with pytest.raises(DataError, match=message):
        call()


@pytest.mark.parametrize("units", [(5, 7), (9, 9), (14, 3)])
def test_all_limits_at_once_are_the_single_ones(units):
    draw = np.random.default_rng(3)
    a, b = (draw.normal(size=(2, m, 9)) for m in units)
    root, mean = draw.normal(size=(9, 9)), draw.normal(size=9)
    given = (a, b, root @ root.T)
    found = theory.limits(*given, mean)
    assert found.keys() == {"rsa", "cka", "rsa_uncentred", "cka_uncentred", "r2"}
    assert found["rsa"] == pytest.approx(theory.rsa(*given), rel=1e-14)
    assert found["cka"] == pytest.approx(theory.cka(*given), rel=1e-14)
    assert found["rsa_uncentred"] == pytest.approx(theory.rsa_uncentred(*given, mean), rel=1e-14)
    assert found["cka_uncentred"] == pytest.approx(theory.cka_uncentred(*given, mean), rel=1e-14)
    assert found["r2"] == pytest.approx(theory.regression(*given, score="r2"), rel=1e-14)


def test_dependent_units_are_cut_off_and_others_are_solved_alike():
    draw = np.random.default_rng(4)
    a, b = draw.normal(size=(5, 12)), draw.normal(size=(4, 12))
    doubled = np.concatenate([a, a[:2] + a[2:4]])
    assert theory.regression(doubled, b, score="r2") == pytest.approx(theory.regression(a, b, score="r2"), rel=1e-10)
