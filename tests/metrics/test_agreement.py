"""What the metrics measure on simulated systems is what the theory of the same name predicts."""

import inspect
from functools import partial

import numpy as np
import pytest
import torch

import superpose as sp
from superpose import systems, theory
from superpose.metrics import ALL, DEFAULT, PredictiveMetric

# metric → (its prediction from projections and the latents' covariance, largest deviation at N = 20,000)
TWINS = {
    "cka": (theory.cka, 0.006),
    "cka_debiased": (theory.cka, 0.006),
    "rsa": (theory.rsa, 0.006),
} | {
    # Of so many samples the penalty that is chosen is one of least squares.
    f"{estimator}_{name}": (partial(theory.regression, **options), 0.006)
    for estimator in ("ols", "ridge")
    for name, options in (("r", {}), ("r2", {"score": "r2"}), ("r_units", {"average": "units"}))
}


def simulated(samples, latents, units, active, *, seed, distribution="signed", repeats=()):
    generator = torch.Generator().manual_seed(seed)
    z = systems.sparse_latents(
        samples, latents, active, distribution=distribution, repeats=repeats, generator=generator
    )
    a, b = (systems.gaussian_projection(m, latents, repeats=repeats, generator=generator) for m in units)
    return a.double().numpy(), b.double().numpy(), z @ a.mT, z @ b.mT


def test_every_metric_with_a_namesake_in_theory_is_walked():
    predictive = {m.name for m in ALL if isinstance(m, PredictiveMetric)}
    others = {m.name for m in ALL if hasattr(theory, m.name.split("_")[0])}
    assert set(TWINS) == predictive | others
    assert set(TWINS) >= {m.name for m in DEFAULT}
    for name in ("rsa", "cka", "regression"):
        assert list(inspect.signature(getattr(theory, name)).parameters)[:3] == ["a", "b", "covariance"]


@pytest.mark.parametrize("distribution", ["signed", "gaussian", "uniform"])
@pytest.mark.parametrize(("units", "active"), [((16, 16), 4), ((24, 40), 8)])
def test_every_draw_lies_on_its_prediction(distribution, units, active):
    """64 latents, 20,000 samples: white latents by the theorems, coloured ones by their covariance."""
    for seed in range(3):
        a, b, x, y = simulated(20_000, 64, units, active, seed=seed, distribution=distribution)
        covariance = theory.latent_covariance(64, active, distribution) if distribution == "uniform" else None
        table = sp.compare({"x": x, "y": y}, metrics=[m for m in ALL if m.name in TWINS], permutations=0)
        for _, row in table.iterrows():
            predict, tolerance = TWINS[row.metric]
            sides = (a, b) if row.system_a == "x" else (b, a)
            assert abs(row.score - float(predict(*sides, covariance))) < tolerance, (row.metric, seed)


def test_the_tolerance_tells_the_mean_and_the_colour_of_the_latents():
    """Two faults that the walk above must catch: responses that are not centred, a covariance that is ignored."""
    a, b, x, y = simulated(20_000, 64, (16, 16), 16, seed=0, distribution="uniform")
    covariance = theory.latent_covariance(64, 16, "uniform")
    assert abs(float(sp.rsa(x, y)) - float(theory.rsa(a, b, covariance))) < 0.006
    assert abs(float(sp.rsa(x, y, centre=False)) - float(theory.rsa(a, b, covariance))) > 0.03
    coloured = np.diag(1.0 / np.arange(1, 65))
    z = np.random.default_rng(0).normal(size=(20_000, 64)) * np.sqrt(np.diag(coloured))
    measured = float(sp.cka(z @ a.T, z @ b.T))
    assert abs(measured - float(theory.cka(a, b, coloured))) < 0.01
    assert abs(measured - float(theory.cka(a, b))) > 0.1


@pytest.mark.slow
@pytest.mark.parametrize("units", [32, 128])
def test_means_over_draws_with_256_latents(units):
    """2,000 samples, 10 draws: the mean of centred RSA and debiased CKA within .004 of the mean Gram cosine."""
    a, b, x, y = simulated(2000, 256, (units, units), 8, seed=1, repeats=(10,), distribution="uniform")
    covariance = theory.latent_covariance(256, 8, "uniform")
    predicted = theory.cka(a, b, covariance).mean()
    assert abs(float(sp.rsa(x, y).mean()) - predicted) <= 0.004
    assert abs(float(sp.cka(x, y, debiased=True).mean()) - predicted) <= 0.004
    white = theory.cka(a, b).mean()
    assert abs(white - theory.expected_cka(units, units, 256)) <= 0.005
    in_sample = sp.regression(x, y, cv=None, score="r2").mean()
    assert abs(theory.adjusted_r2(float(in_sample), 2000, units) - units / 256) <= 0.006


def test_unrelated_systems_and_the_law_of_biased_cka():
    """200 latents, 100 units, 50 samples: debiased CKA near 0, biased CKA above .5 and where the law puts it."""
    a, b, x, y = simulated(50, 200, (100, 100), 200, seed=2, repeats=(40,), distribution="gaussian")
    unrelated = y.roll(1, dims=0)
    assert abs(float(sp.cka(x, unrelated, debiased=True).mean())) < 0.03
    assert abs(float(sp.rsa(x, unrelated).mean())) < 0.03
    assert float(sp.cka(x, unrelated).mean()) > 0.5
    law = np.mean(theory.finite_sample_cka(a, b, 50))
    assert abs(float(sp.cka(x, y).mean()) - law) < 0.01
    assert abs(float(sp.cka(x, y, debiased=True).mean()) - theory.cka(a, b).mean()) < 0.01
    assert law - theory.cka(a, b).mean() > 0.3


def test_held_out_r2_follows_its_law():
    """32 of 64 latents, 400 samples: the mean over draws of five-fold R² at training size 320."""
    a, b, x, y = simulated(400, 64, (32, 32), 64, seed=3, repeats=(40,), distribution="gaussian")
    population = theory.regression(a, b, score="r2").mean()
    measured = float(sp.regression(x, y, score="r2").mean())
    assert abs(measured - theory.held_out_r2(population, 320, 32)) < 0.015
    assert population - measured > 0.03
