"""Neighbours, Gaussian kernels and Kendall's tau against whole matrices and loops."""

import sys
from itertools import combinations

import numpy as np
import oracles
import pytest
from conftest import related
from numpy.testing import assert_allclose
from scipy.spatial.distance import pdist, squareform

import superpose as sp
from superpose.files import DataError
from superpose.metrics import (
    CKA_RBF,
    CKA_RBF_DEBIASED,
    CKNNA,
    MUTUAL_KNN,
    RSA_KENDALL,
    cka_rbf,
    cknna,
    kendall,
    mutual_knn,
    pairwise,
    rbf,
    rsa_kendall,
)

SEEDS = range(10)


@pytest.fixture(autouse=True)
def small_tiles(monkeypatch):
    """Several tiles, the last of them short, on few samples."""
    monkeypatch.setattr(pairwise, "TILE", 300)


def systems(seed):
    """31 samples, more units than samples in half of the draws, dependent units in the other."""
    x, y = related(31, 4 + seed, 70 if seed % 2 else 6, seed=seed)
    return (x if seed % 2 else np.hstack([x, x[:, :2] - x[:, 1:3]])), y


def aligned(x, y, k):
    """Huh et al.'s equations: kernels less their row means, over the pairs that both systems have near."""

    def align(p, q):
        kernels = [gram - gram.mean(axis=1, keepdims=True) for gram in map(oracles.gram, (p, q))]
        return (oracles.near(p, k) * oracles.near(q, k) * kernels[0] * kernels[1]).sum()

    return align(x, y) / np.sqrt(align(x, x) * align(y, y))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("k", [1, 5, 29])
def test_neighbours_against_whole_matrices(seed, k):
    x, y = systems(seed)
    assert_allclose(mutual_knn(x, y, k=k), (oracles.near(x, k) & oracles.near(y, k)).sum() / (31 * k), atol=1e-12)
    assert_allclose(cknna(x, y, k=k), aligned(x, y, k), atol=1e-8)


def test_unrelated_systems_share_as_many_neighbours_as_chance():
    draw = np.random.default_rng(0)
    scores = [mutual_knn(*draw.normal(size=(2, 60, 30)), k=10) for _ in range(40)]
    assert abs(np.mean(scores) - 10 / 59) < 4 * np.std(scores) / np.sqrt(40)


def kernel(x, width):
    distances = pdist(x)
    return np.exp(-(squareform(distances) ** 2) / (2 * (width * np.median(distances)) ** 2))


def aligned_kernels(k, l):
    h = np.eye(len(k)) - 1 / len(k)
    return np.trace(k @ h @ l @ h) / np.sqrt(np.trace(k @ h @ k @ h) * np.trace(l @ h @ l @ h))


def unbiased_hsic(k, l):
    n, one = len(k), np.ones(len(k))
    k, l = (m - np.diag(np.diag(m)) for m in (k, l))
    return np.trace(k @ l) + one @ k @ one * (one @ l @ one) / (n - 1) / (n - 2) - 2 / (n - 2) * one @ k @ l @ one


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("width", [0.3, 1.0, 4.0])
def test_gaussian_kernels_against_whole_matrices(seed, width):
    x, y = systems(seed)
    k, l = kernel(x, width), kernel(y, width)
    assert_allclose(cka_rbf(x, y, width=width), aligned_kernels(k, l), atol=1e-8)
    expected = unbiased_hsic(k, l) / np.sqrt(unbiased_hsic(k, k) * unbiased_hsic(l, l))
    assert_allclose(cka_rbf(x, y, width=width, debiased=True), expected, atol=1e-8)


def test_a_wide_kernel_is_linear(pair):
    x, y = (z - z.mean(0) for z in pair)
    assert_allclose(cka_rbf(x, y, width=100), sp.cka(x, y), atol=1e-3)
    assert abs(cka_rbf(x, y, width=0.3) - sp.cka(x, y)) > 0.05


def test_unrelated_systems_under_a_gaussian_kernel():
    draw = np.random.default_rng(0)
    pairs = [draw.normal(size=(2, 40, 30)) for _ in range(20)]
    assert np.mean([cka_rbf(x, y) for x, y in pairs]) > 0.3
    assert abs(np.mean([cka_rbf(x, y, debiased=True) for x, y in pairs])) < 0.03


def test_equal_samples_leave_no_width():
    x, y = related(30, 4, 3, seed=0)
    x[:25] = x[0] + 0
    assert np.isnan(cka_rbf(x, y))
    table = sp.compare({"x": x, "y": y}, metrics=[CKA_RBF], cv=None, permutations=0)
    assert table.why[0].startswith("more than half the samples of a system are equal, or its debiased variance")


def test_many_pairs_are_sampled(monkeypatch, pair):
    x, y = pair
    exact = cka_rbf(x, y), rsa_kendall(x, y)
    monkeypatch.setattr(rbf, "RANKED_PAIRS", 1000)
    monkeypatch.setattr(sys.modules["superpose.metrics.rsa"], "RANKED_PAIRS", 1000)
    assert 0 < abs(cka_rbf(x, y) - exact[0]) < 0.02
    # Four of the standard errors that 1,000 entries have at most, √(2/1000).
    assert 0 < abs(rsa_kendall(x, y) - exact[1]) < 4 * np.sqrt(2 / 1000)


def tau_by_loops(a, b):
    signs = [np.sign((a[i] - a[j]) * (b[i] - b[j])) for i, j in combinations(range(len(a)), 2)]
    return np.mean(signs)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("rdm", ["dot", "euclidean", "correlation"])
def test_kendall_against_loops(seed, rdm):
    x, y = (z[:12] for z in systems(seed))
    assert_allclose(rsa_kendall(x, y, rdm=rdm), tau_by_loops(oracles.rdm(x, rdm), oracles.rdm(y, rdm)), atol=1e-10)


def test_tied_entries_count_as_neither():
    draw = np.random.default_rng(0)
    for _ in range(10):
        a, b = draw.integers(0, 4, size=(2, 30)).astype(float)
        assert_allclose(kendall.tau_a(a, b), tau_by_loops(a, b), atol=1e-12)
    assert kendall.tau_a(a, a) < 0.9
    assert np.isnan(kendall.tau_a(a, np.ones(30)))


def test_the_defaults_are_those_of_the_objects(pair):
    x, y = pair
    assert MUTUAL_KNN(x, y) == mutual_knn(x, y, k=10)
    assert CKNNA(x, y) == cknna(x, y, k=10)
    assert CKA_RBF(x, y) == cka_rbf(x, y)
    assert CKA_RBF_DEBIASED(x, y) == cka_rbf(x, y, debiased=True)
    assert RSA_KENDALL(x, y) == rsa_kendall(x, y)


@pytest.mark.parametrize("value", [0, 2.5, True, None])
@pytest.mark.parametrize("function", [mutual_knn, cknna])
def test_numbers_of_neighbours_that_are_none(pair, function, value):
    with pytest.raises(DataError, match=r"k is .*; expected how many neighbours, an integer of at least 1"):
        function(*pair, k=value)


def test_everyone_is_a_neighbour(pair):
    x, y = pair
    with pytest.raises(DataError, match=r"60 sample\(s\) are too few for this score; expected at least 61"):
        mutual_knn(x, y, k=59)
    table = sp.compare({"x": x[:11], "y": y[:11]}, metrics=[MUTUAL_KNN], cv=None, permutations=0)
    assert table.why[0] == "needs ≥ 12 samples; have 11"


@pytest.mark.parametrize("value", [0, -1.0, np.nan, np.inf, "wide", None, True])
def test_widths_that_are_none(pair, value):
    with pytest.raises(DataError, match=r"width is .*; expected a number of median distances, above 0 and below"):
        cka_rbf(*pair, width=value)


def test_matrices_that_are_none(pair):
    with pytest.raises(DataError, match="rdm is 'cosine'; expected one of 'dot', 'euclidean', 'correlation'"):
        rsa_kendall(*pair, rdm="cosine")


def test_memory_is_that_of_tiles(monkeypatch):
    """3,000 samples: a whole matrix would take 72 MB."""
    import tracemalloc

    monkeypatch.setattr(pairwise, "TILE", 2**18)
    x, y = related(3000, 3, 2, seed=0)
    tracemalloc.start()
    mutual_knn(x, y)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20e6
