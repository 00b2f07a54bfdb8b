"""What the further metrics tend to under superposition, y = A z: closed forms of the projections."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

import superpose as sp
from superpose import theory
from superpose.metrics import matching, matching_hard, matching_semi, matching_soft, pwcca, ridge, rsa_kendall

LATENTS = 64


def projections(units_a, units_b, seed):
    draw = np.random.default_rng(seed)
    return draw, draw.normal(size=(units_a, LATENTS)), draw.normal(size=(units_b, LATENTS))


def simulated(units_a, units_b, samples, seed):
    draw, a, b = projections(units_a, units_b, seed)
    z = draw.normal(size=(samples, LATENTS))
    return a, b, z @ a.T, z @ b.T


def orthonormal(a):
    """Return an orthonormal basis of the latents that a projection reads, in its symmetric form."""
    values, vectors = np.linalg.eigh(a @ a.T)
    return (vectors / np.sqrt(values)) @ vectors.T @ a


@pytest.mark.parametrize("units", [(8, 8), (16, 32), (24, 24)])
def test_scores_lie_on_the_closed_forms(units):
    a, b, x, y = simulated(*units, 20_000, seed=0)
    p, q = orthonormal(a), orthonormal(b)
    left, angles, _ = np.linalg.svd(p @ q.T, full_matrices=False)
    assert abs(sp.cca(x, y) - angles.mean()) < 0.006
    weights = np.abs(left.T @ p @ a.T).sum(axis=1)
    assert abs(pwcca(x, y) - weights @ angles / weights.sum()) < 0.006
    nuclear = np.linalg.svd(a @ b.T, compute_uv=False).sum()
    assert abs(np.cos(sp.procrustes(x, y)) - nuclear / np.linalg.norm(a) / np.linalg.norm(b)) < 0.006
    cosines = (a / np.linalg.norm(a, axis=1, keepdims=True)) @ (b / np.linalg.norm(b, axis=1, keepdims=True)).T
    assert abs(matching_hard(x, y) - (matching.assigned(cosines) * cosines).sum()) < 0.006
    assert abs(matching_soft(x, y) - (matching.transported(cosines) * cosines).sum()) < 0.006
    assert abs(matching_semi(x, y) - cosines.max(axis=0).mean()) < 0.006
    assert abs(ridge(x, y) - theory.regression(a, b)) < 0.006


@pytest.mark.parametrize("units", [(16, 16), (24, 40)])
def test_kendall_follows_gaussian_entries(units):
    """τ = (2/π) arcsin of the Gram cosine (Greiner), as sums over many latents are near Gaussian."""
    a, b, x, y = simulated(*units, 1000, seed=1)
    assert abs(rsa_kendall(x, y) - 2 / np.pi * np.arcsin(theory.cka(a, b))) < 0.015


def test_means_over_random_projections():
    """Mean squared canonical correlation max(m_a, m_b)/n, exactly; cosine of Procrustes 8/(3π) √(m/n) where m ≪ n."""
    squares, cosines = [], []
    for seed in range(200):
        _, a, b = projections(12, 20, seed)
        squares.append((np.linalg.svd(orthonormal(a) @ orthonormal(b).T, compute_uv=False) ** 2).mean())
        draw = np.random.default_rng(seed)
        a, b = draw.normal(size=(2, 16, 1024))
        cosines.append(np.linalg.svd(a @ b.T, compute_uv=False).sum() / np.linalg.norm(a) / np.linalg.norm(b))
    assert abs(np.mean(squares) - 20 / LATENTS) < 4 * np.std(squares) / np.sqrt(200)
    assert_allclose(np.mean(cosines), 8 / (3 * np.pi) * np.sqrt(16 / 1024), rtol=0.02)
