"""Scores and influences where distances, ranks or spectra tie: the same in any order of the samples, and fair."""

import itertools
from functools import partial

import numpy as np
import pytest
from jackknives import jackknife
from numpy.testing import assert_allclose
from scipy.spatial.distance import cdist
from scipy.stats import spearmanr

import superpose as sp
from superpose.metrics import ALL, CKNNA, MORE, MUTUAL_KNN, PWCCA, cknna, mutual_knn, pairwise, rsa_kendall, svcca
from superpose.metrics.neighbour_influence import aligned_influence, shared_influence
from superpose.metrics.ties import levelled

SAMPLES = 60


def poisson(rate, *shape, seed):
    return np.random.default_rng(seed).poisson(rate, size=shape).astype(float)


def orthonormal(units, seed):
    x = np.random.default_rng(seed).normal(size=(SAMPLES, units))
    return np.linalg.qr(x - x.mean(axis=0))[0]


def shared_exactly():
    draw = np.random.default_rng(5)
    both = draw.normal(size=(SAMPLES, 3))
    return np.hstack([both, draw.normal(size=(SAMPLES, 2))]), np.hstack(
        [both * [1.0, 2.0, 3.0], draw.normal(size=(SAMPLES, 3))]
    )


# Pairs of systems, in which ties are many, of each sort.
KINDS = {
    "sparse counts": lambda: (poisson(0.05, SAMPLES, 10, seed=1), poisson(0.05, SAMPLES, 10, seed=2)),
    "counts": lambda: (poisson(0.3, SAMPLES, 12, seed=1), poisson(0.3, SAMPLES, 9, seed=2)),
    "duplicates": lambda: tuple(
        np.repeat(np.random.default_rng(s).normal(size=(SAMPLES // 3, 6)), 3, 0) for s in (1, 2)
    ),
    "categories": lambda: tuple(np.eye(8)[np.random.default_rng(s).integers(0, 8, SAMPLES)] for s in (1, 2)),
    "scales": lambda: tuple(np.random.default_rng(s).integers(1, 6, (SAMPLES, 3)).astype(float) for s in (1, 2)),
    "tenths far from 0": lambda: tuple(
        np.random.default_rng(s).integers(1, 6, (SAMPLES, 3)) / 10 + 100 for s in (1, 2)
    ),
    "equal units": lambda: tuple(
        np.repeat(np.random.default_rng(s).integers(0, 3, (SAMPLES, 4)), 2, 1) for s in (1, 2)
    ),
    "shared directions": shared_exactly,
    "equal variances": lambda: (orthonormal(40, 8), orthonormal(40, 8)[:, :20] + 0.5 * orthonormal(20, 9)),
}
METRICS = [metric for metric in (*ALL, *MORE) if metric.name != "cka_grouped"]
FUNCTIONS = {
    "spearman": partial(sp.rsa, comparator="spearman"),
    "spearman of distances": partial(sp.rsa, comparator="spearman", rdm="euclidean"),
    "kendall of distances": partial(rsa_kendall, rdm="euclidean"),
}


class TestAnyOrderOfSamples:
    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
    def test_scores_and_errors(self, metric, kind):
        x, y = KINDS[kind]()
        folds = np.arange(SAMPLES) % 5
        tables = []
        for seed in (None, 0, 1):
            order = np.arange(SAMPLES) if seed is None else np.random.default_rng(seed).permutation(SAMPLES)
            systems = {"x": x[order], "y": y[order]}
            tables.append(sp.compare(systems, metrics=[metric], cv=folds[order], permutations=0))
        for table in tables[1:]:
            assert_allclose(table.score, tables[0].score, atol=1e-9)
            assert_allclose(table.error, tables[0].error, rtol=1e-5, atol=1e-9)
            assert table.why.tolist() == tables[0].why.tolist()

    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize("name", FUNCTIONS)
    def test_matrices_by_ranks(self, name, kind):
        x, y = KINDS[kind]()
        order = np.random.default_rng(0).permutation(SAMPLES)
        assert_allclose(FUNCTIONS[name](x[order], y[order]), FUNCTIONS[name](x, y), atol=1e-9)

    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize("metric", [m for m in METRICS if hasattr(m, "influences")], ids=lambda m: m.name)
    def test_influences(self, metric, kind):
        x, y = (z.astype(float) for z in KINDS[kind]())
        order = np.random.default_rng(0).permutation(SAMPLES)
        influence = metric.influences(x, y)
        assert_allclose(metric.influences(x[order], y[order]), influence[order], atol=1e-7 * np.nanstd(influence))


def weights(x, k):
    """Return the probability of each j to be one of i's k nearest, ties broken at random, from exact distances."""
    distances = np.rint(cdist(x, x, "sqeuclidean")).astype(int)
    found = np.zeros(distances.shape)
    for i, row in enumerate(distances):
        others = [j for j in range(len(x)) if j != i]
        last = sorted(row[others])[k - 1]
        nearer, equal = [j for j in others if row[j] < last], [j for j in others if row[j] == last]
        found[i, nearer], found[i, equal] = 1.0, (k - len(nearer)) / len(equal)
    return found


class TestNeighbours:
    @pytest.mark.parametrize("seed", range(4))
    @pytest.mark.parametrize(("rate", "k"), [(0.02, 10), (0.3, 1), (0.3, 7), (1.0, 10), (1.0, 38)])
    def test_against_probabilities_of_every_pair(self, rate, k, seed, monkeypatch):
        monkeypatch.setattr(pairwise, "TILE", 300)
        x, y = poisson(rate, 40, 10, seed=2 * seed), poisson(rate, 40, 8, seed=2 * seed + 1)
        x[:12] = y[:12] = 0
        x[20:, 0] += np.arange(20) % 3
        w, v = weights(x, k), weights(y, k)
        assert_allclose(mutual_knn(x, y, k=k), (w * v).sum() / (40 * k), atol=1e-12)
        kernel, other = ((z - z.mean(0)) @ (z - z.mean(0)).T for z in (x, y))
        expected = (w * v * kernel * other).sum() / np.sqrt((w * kernel**2).sum() * (v * other**2).sum())
        assert_allclose(cknna(x, y, k=k), expected, atol=1e-12)

    def test_against_ties_broken_at_random(self):
        x, y = poisson(0.3, 30, 5, seed=1), poisson(0.3, 30, 5, seed=2)
        draw, scores = np.random.default_rng(0), []
        for _ in range(2000):
            near = []
            for z in (x, y):
                distances = cdist(z, z, "sqeuclidean") + draw.uniform(0, 0.1, size=(30, 30))
                np.fill_diagonal(distances, np.inf)
                near.append(distances <= np.sort(distances, axis=1)[:, [4]])
            scores.append((near[0] & near[1]).sum() / (30 * 5))
        assert abs(mutual_knn(x, y, k=5) - np.mean(scores)) < 4 * np.std(scores) / np.sqrt(2000)

    def test_the_mean_over_all_re_pairings_is_that_of_chance(self):
        x, y = poisson(0.4, 6, 3, seed=1), poisson(0.4, 6, 3, seed=2)
        scores = [mutual_knn(x, y[list(order)], k=2) for order in itertools.permutations(range(6))]
        assert_allclose(np.mean(scores), 2 / 5, atol=1e-12)
        assert np.ptp(scores) > 0.05

    @pytest.mark.parametrize("rate", [0.02, 0.3])
    def test_independent_counts_score_at_chance(self, rate):
        scores = [mutual_knn(*(poisson(rate, 300, 10, seed=2 * s + i) for i in (0, 1))) for s in range(30)]
        assert abs(np.mean(scores) - 10 / 299) < 4 * np.std(scores) / np.sqrt(30)

    def test_pairs_of_equal_samples(self):
        """With one neighbour each, equal samples have each other; with two, the next two share a place."""
        z = np.repeat(np.array([[0.0], [1.0], [3.0], [7.0]]), 2, axis=0)
        assert mutual_knn(z, z, k=1) == 1
        assert_allclose(mutual_knn(z, z, k=2), (1 + 2 * 0.25) / 2, atol=1e-15)

    def test_where_none_is_nearest(self):
        still = np.eye(20)
        other = np.random.default_rng(0).normal(size=(20, 3))
        assert np.isnan(mutual_knn(still, other))
        assert np.isnan(cknna(other, still))
        assert np.isnan(MUTUAL_KNN.influences(still, other)).all()
        assert np.isnan(CKNNA.influences(other, still)).all()

    def test_the_reason_where_none_is_nearest(self):
        systems = {"one-hot": np.eye(20), "other": np.random.default_rng(0).normal(size=(20, 3))}
        table = sp.compare(systems, metrics=[MUTUAL_KNN, CKNNA], cv=None, permutations=0)
        assert table.score.isna().all()
        assert table.why.str.contains("lie at the same distance from one another: none is nearest").all()

    @pytest.mark.parametrize(("rate", "k"), [(0.05, 5), (0.3, 1), (0.3, 6), (1.0, 20)])
    def test_influence_is_that_of_leaving_out(self, rate, k, monkeypatch):
        monkeypatch.setattr(pairwise, "TILE", 300)
        x, y = poisson(rate, 45, 8, seed=3), poisson(rate, 45, 8, seed=4)
        exact = jackknife(partial(mutual_knn, k=k), x, y)
        assert_allclose(shared_influence(x - x.mean(0), y - y.mean(0), k), exact, atol=1e-9)
        exact = jackknife(partial(cknna, k=k), x, y)
        assert np.corrcoef(aligned_influence(x - x.mean(0), y - y.mean(0), k), exact)[0, 1] > 0.99


class TestRanks:
    def test_matrices_of_exact_numbers(self):
        """Decimal fractions far from 0 rank as the whole numbers that they stand for."""
        whole = [np.random.default_rng(s).integers(1, 6, (40, 3)) for s in (1, 2)]
        i, j = np.triu_indices(40, 1)
        exact = [40 * z - z.sum(axis=0) for z in whole]
        entries = [(z[i] * z[j]).sum(axis=1) for z in exact]
        signs = [np.sign(e[:, None] - e) for e in entries]
        tau = np.triu(signs[0] * signs[1], 1).sum() / (len(i) * (len(i) - 1) / 2)
        for scale, shift in ((1, 0), (10, 0), (10, 3)):
            x, y = (z / scale + shift for z in whole)
            assert_allclose(sp.rsa(x, y, comparator="spearman"), spearmanr(*entries).statistic, atol=1e-12)
            assert_allclose(rsa_kendall(x, y), tau, atol=1e-12)

    def test_levels(self):
        values = np.array([[0.3, 0.1 + 0.2, 1.0, 0.1 + 0.2 + 1e-9], [2.0, 1.0, 2.0, 1.0 + 1e-16]])
        found = levelled(values, np.full(values.shape, 1e-15))
        assert len(np.unique(found[0])) == 3
        assert found[0, 0] == found[0, 1]
        assert found[1].tolist() == [2.0, 1.0, 2.0, 1.0]


class TestSpectra:
    def test_components_of_equal_variance_stay_together(self):
        """Of 40 equal variances, 95 % are 38 components; which two are left out would be rounding's choice."""
        x, y = orthonormal(40, 8), orthonormal(20, 9)
        assert_allclose(svcca(x, y, variance=0.95), sp.cca(x, y), atol=1e-9)

    def test_a_share_that_components_hold_exactly(self):
        x = orthonormal(5, 3) * np.sqrt([90.0, 9.0, 0.7, 0.2, 0.1])
        y = np.random.default_rng(0).normal(size=(SAMPLES, 2))
        assert_allclose(svcca(x, y), sp.cca(x[:, :2], y), atol=1e-9)

    def test_variates_of_equal_correlations_weigh_as_over_all_their_bases(self):
        x, y = shared_exactly()
        x, y = x - x.mean(0), y - y.mean(0)
        bases = [np.linalg.qr(z)[0] for z in (x, y)]
        left, rho, _ = np.linalg.svd(bases[0].T @ bases[1])
        variates, draw, weight = bases[0] @ left, np.random.default_rng(0), np.zeros(3)
        for _ in range(4000):
            turn = np.linalg.qr(draw.normal(size=(3, 3)))[0]
            weight += np.abs((variates[:, :3] @ turn).T @ x).sum(axis=1) / 4000
        rest = np.abs(variates[:, 3:5].T @ x).sum(axis=1)
        expected = (weight.sum() + (rest * rho[3:5]).sum()) / (weight.sum() + rest.sum())
        assert_allclose(PWCCA(x, y), expected, atol=2e-3)
