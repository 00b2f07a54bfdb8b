"""Intervals of metrics of pairs of samples: against leaving out each sample, and the spread over fresh draws."""

import sys
import tracemalloc
from dataclasses import replace
from functools import partial
from itertools import product

import numpy as np
import oracles
import pytest
from conftest import related
from jackknives import jackknife
from numpy.testing import assert_allclose

import superpose as sp
from superpose.metrics import (
    CKA_RBF,
    CKA_RBF_DEBIASED,
    CKNNA,
    MUTUAL_KNN,
    PWCCA,
    RSA_KENDALL,
    SHAPE,
    cka_rbf,
    cknna,
    pairwise,
    rbf,
)
from superpose.metrics.concordance import concordance
from superpose.metrics.neighbour_influence import aligned_influence, shared_influence
from superpose.statistics import standard_error

PAIRWISE = [MUTUAL_KNN, CKNNA, CKA_RBF, CKA_RBF_DEBIASED, RSA_KENDALL]
by_name = pytest.mark.parametrize("metric", PAIRWISE, ids=lambda m: m.name)
SAMPLES = 70
DEGENERATE = "no interval: without one of the samples a system's kernel does not vary"


@pytest.fixture(autouse=True)
def small_tiles(monkeypatch):
    """Several tiles, the last of them short, on few samples."""
    monkeypatch.setattr(pairwise, "TILE", 3000)


def sparse(samples, seed, repeats=1):
    """Two projections of few features that are active at a time; each sample `repeats` times, with some noise."""
    draw = np.random.default_rng(seed)
    a, b = (np.random.default_rng(i).normal(size=(24, units)) for i, units in enumerate((12, 10)))
    z = np.repeat(draw.random((samples, 24)) * (draw.random((samples, 24)) < 0.15), repeats, axis=0)
    return tuple(z @ p + 0.1 * draw.normal(size=(len(z), p.shape[1])) for p in (a, b))


def gaussian(samples, seed):
    return related(samples, 12, 8, seed=seed, noise=2.0)


KINDS = {"gaussian": gaussian, "sparse": sparse}


class TestLeavingOut:
    @pytest.mark.parametrize("kind", KINDS)
    @by_name
    def test_each_sample(self, metric, kind):
        x, y = KINDS[kind](SAMPLES, seed=1)
        exact, ours = jackknife(metric, x, y), metric.influences(x, y)
        assert_allclose(standard_error(ours), standard_error(exact), rtol=0.1)
        assert np.corrcoef(exact, ours)[0, 1] > 0.98
        assert abs(ours.mean()) < 1e-10

    @pytest.mark.parametrize(("k", "seed"), list(product([1, 5, 38], range(3))))
    def test_neighbours_to_the_last_digit(self, k, seed):
        x, y = KINDS["sparse"](40, seed)
        exact = jackknife(lambda p, q: (oracles.near(p, k) & oracles.near(q, k)).sum() / (k * len(p)), x, y)
        assert_allclose(shared_influence(x - x.mean(0), y - y.mean(0), k), exact, atol=1e-9)

    @pytest.mark.parametrize("k", [2, 30])
    def test_kernels_of_neighbours(self, k):
        x, y = gaussian(90, seed=2)
        exact, ours = jackknife(partial(cknna, k=k), x, y), aligned_influence(x - x.mean(0), y - y.mean(0), k)
        assert_allclose(standard_error(ours), standard_error(exact), rtol=0.05)
        assert np.corrcoef(exact, ours)[0, 1] > 0.999

    @pytest.mark.parametrize(("width", "debiased", "kind"), list(product([0.4, 3.0], [False, True], KINDS)))
    def test_kernels_of_any_width(self, width, debiased, kind):
        x, y = KINDS[kind](100, seed=3)
        exact = jackknife(partial(cka_rbf, width=width, debiased=debiased), x, y)
        hsic = CKA_RBF_DEBIASED.influence.keywords["hsic"] if debiased else CKA_RBF.influence.keywords["hsic"]
        metric = replace(CKA_RBF, influence=partial(CKA_RBF.influence.func, width=width, hsic=hsic))
        ours = metric.influences(x, y)
        # With the median as given these would lie at .9 and 1.17.
        assert np.corrcoef(exact, ours)[0, 1] > 0.99
        assert_allclose(standard_error(ours), standard_error(exact), rtol=0.06)

    def test_the_mean_of_heavy_tails_moves_kendall_s_tau(self):
        draw = np.random.default_rng(1)
        z = draw.normal(size=(80, 4)) * np.exp(draw.normal(size=(80, 1)))
        x, y = z @ draw.normal(size=(4, 6)), z @ draw.normal(size=(4, 5)) + 0.3 * draw.normal(size=(80, 5))
        exact, ours = jackknife(RSA_KENDALL, x, y), RSA_KENDALL.influences(x, y)
        # Of .8 and .78 without it.
        assert np.corrcoef(exact, ours)[0, 1] > 0.98
        assert_allclose(standard_error(ours), standard_error(exact), rtol=0.12)

    def test_many_pairs_are_sampled(self, monkeypatch):
        x, y = gaussian(150, seed=4)
        whole = {metric.name: standard_error(metric.influences(x, y)) for metric in (CKA_RBF, RSA_KENDALL)}
        monkeypatch.setattr(rbf, "RANKED_PAIRS", 5000)
        monkeypatch.setattr(sys.modules["superpose.metrics.rsa"], "RANKED_PAIRS", 5000)
        assert_allclose(standard_error(CKA_RBF.influences(x, y)), whole["cka_rbf"], rtol=0.01)
        # 5,000 entries have a variance of tau of at most 2/5000 of their own, counted once for either of their samples.
        widest = np.hypot(whole["rsa_kendall"], np.sqrt(4 / 5000))
        assert whole["rsa_kendall"] < standard_error(RSA_KENDALL.influences(x, y)) < widest

    def test_memory_is_that_of_tiles(self, monkeypatch):
        """3,000 samples: a whole matrix would take 72 MB."""
        monkeypatch.setattr(pairwise, "TILE", 2**18)
        x, y = related(3000, 3, 2, seed=0)
        tracemalloc.start()
        CKNNA.influences(x, y)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 30e6


def shares_by_loops(a, b):
    return (np.sign(a[:, None] - a) * np.sign(b[:, None] - b)).mean(axis=1)


def shares(a, b):
    found = concordance(a, b)
    return found.shares[found.cells]


class TestConcordance:
    @pytest.mark.parametrize("count", [2, 50, 120])
    def test_of_few_numbers_is_exact(self, count):
        a, b = np.random.default_rng(count).normal(size=(2, count))
        assert_allclose(shares(a, b), shares_by_loops(a, b), atol=1e-12)

    def test_of_many_is_that_of_a_grid(self):
        a, noise = np.random.default_rng(0).normal(size=(2, 3000))
        found = shares(a, np.exp(a + noise))
        exact = shares_by_loops(a, a + noise)
        # A bin holds one number in 128, and the others of its row and its column count as ties.
        assert np.abs(found - exact).max() < 4 / 128
        assert abs(found.mean() - exact.mean()) < 1e-3

    def test_values_that_many_share_have_a_bin_to_themselves(self):
        draw = np.random.default_rng(0)
        a, b = draw.integers(0, 3, size=(2, 2000)).astype(float)
        assert_allclose(shares(a, b), shares_by_loops(a, b), atol=1e-12)
        rare = np.where(np.arange(2000) == 7, 5.0, 0.0)
        assert_allclose(shares(rare, b), shares_by_loops(rare, b), atol=1e-12)
        assert np.isfinite(concordance(rare, b).slope_a).all()

    def test_a_constant_agrees_with_nothing(self):
        found = concordance(np.ones(300), np.arange(300.0))
        assert not np.any(found[1:])

    def test_slopes_are_those_of_the_gaussian(self):
        """C(a, b) = 4 Φ₂(a, b) − 2 Φ(a) − 2 Φ(b) + 1, of independent a and b: (2 Φ(a) − 1)(2 Φ(b) − 1)."""
        a, b = np.random.default_rng(0).normal(size=(2, 100_000))
        found = concordance(a, b)
        middle = (np.abs(a) < 1) & (np.abs(b) < 1)
        sign_b = 2 * np.searchsorted(np.sort(b), b) / len(b) - 1
        expected = 2 * np.exp(-(a**2) / 2) / np.sqrt(2 * np.pi) * sign_b
        # The count between two of 16 bins, 6,000, is known to 1.3 %, and a share to .003.
        assert_allclose(found.slope_a[found.cells[middle]], expected[middle], atol=0.06)


class TestTables:
    @by_name
    def test_intervals_are_of_influence(self, metric):
        x, y = sparse(SAMPLES, seed=0)
        row = sp.compare({"x": x, "y": y}, metrics=[metric], cv=None, permutations=0).iloc[0]
        assert_allclose(row.error, standard_error(metric.influences(x, y)), rtol=1e-10)
        assert row.low < row.score < row.high
        assert row.why == ""

    @by_name
    def test_groups_are_whole(self, metric):
        x, y = sparse(30, seed=1, repeats=3)
        order = np.random.default_rng(0).permutation(90)
        groups = np.repeat(np.arange(30), 3)
        row = sp.compare(
            {"x": x[order], "y": y[order]}, metrics=[metric], cv=3, groups=groups[order], permutations=0
        ).iloc[0]
        assert_allclose(row.error, standard_error(metric.influences(x, y), groups), rtol=1e-8)
        assert row.error > 1.1 * standard_error(metric.influences(x, y))

    @by_name
    def test_repeats_are_scored_one_by_one(self, metric):
        x, y = related(40, 6, 5, seed=0, repeats=(2,))
        table = sp.compare({"x": x, "y": y}, metrics=[metric], permutations=0)
        for number, row in enumerate(table.itertuples()):
            assert_allclose(row.error, standard_error(metric.influences(x[number], y[number])), rtol=1e-8)

    @by_name
    def test_of_what_is_scored_alone(self, metric):
        x, y = sparse(90, seed=2)
        test = np.arange(90) % 2 == 0
        row = sp.compare({"x": x, "y": y}, metrics=[metric], test=test, permutations=0).iloc[0]
        assert_allclose(row.error, standard_error(metric.influences(x[test], y[test])), rtol=1e-8)

    @by_name
    @pytest.mark.filterwarnings("error")
    def test_identical_systems_have_no_error(self, metric):
        x, _ = gaussian(60, seed=0)
        row = sp.compare({"x": x, "same": 1 - 2 * x[:, ::-1]}, metrics=[metric], permutations=0).iloc[0]
        assert_allclose((row.score, row.high), 1, atol=1e-8)
        # Entries in one bin of Kendall's grid count as ties.
        assert row.error < (2e-3 if metric is RSA_KENDALL else 1e-7)

    @pytest.mark.parametrize("metric", PAIRWISE[:3], ids=lambda m: m.name)
    def test_some_samples_tell_the_width(self, metric):
        draw = np.random.default_rng(3)
        x, y = (z + draw.normal(size=z.shape) for z in sparse(300, seed=3))
        # A thousand groups are always taken.
        x, y = np.tile(x, (5, 1)), np.tile(y, (5, 1)) + 0.3 * draw.normal(size=(1500, y.shape[1]))
        whole, some = (
            sp.compare({"x": x, "y": y}, metrics=[metric], interval_samples=count, permutations=0).iloc[0]
            for count in (None, 1000)
        )
        # Standard error of a standard deviation of 1,000 samples, at a kurtosis of up to 10: 5 %.
        assert_allclose(some.error, whole.error, rtol=0.15)
        assert some.error != whole.error

    def test_without_an_interval_there_is_a_reason(self):
        x, y = gaussian(40, seed=0)
        none = replace(CKA_RBF, name="none", influence=None, no_interval=pairwise.NO_INTERVAL)
        unknown = replace(CKA_RBF, name="unknown", influence=lambda x, y: np.full(len(x), np.nan))
        table = sp.compare({"x": x, "y": y}, metrics=[none, unknown], cv=None, permutations=0).set_index("metric")
        assert table.error.isna().all()
        assert table.why["none"] == "no interval for this metric"
        assert table.why["unknown"] == DEGENERATE

    @pytest.mark.filterwarnings("error")
    @pytest.mark.parametrize("metric", [CKA_RBF_DEBIASED, CKA_RBF], ids=lambda m: m.name)
    def test_a_variance_that_hangs_on_one_sample(self, metric):
        """All samples but one at equal distances: without it, no pair differs from another."""
        x = np.eye(6)
        x[5] *= 3
        y = np.random.default_rng(0).normal(size=(6, 4))
        row = sp.compare({"x": x, "y": y}, metrics=[metric], cv=None, permutations=0).iloc[0]
        assert np.isfinite(row.score)
        assert np.isfinite(row.error) == (metric is CKA_RBF)
        assert row.why == ("" if metric is CKA_RBF else DEGENERATE)

    @pytest.mark.filterwarnings("error")
    def test_a_median_beside_which_many_distances_are_none(self):
        """Of 435 pairs 190 are of equal samples: the quantile .4 is 0, and the median is not."""
        x, y = gaussian(30, seed=0)
        x[:20] = x[0]
        row = sp.compare({"x": x, "y": y}, metrics=[CKA_RBF], cv=None, permutations=0).iloc[0]
        exact = jackknife(partial(cka_rbf), x, y)
        assert_allclose(row.error, standard_error(exact), rtol=0.5)

    def test_four_samples_are_too_few_to_leave_one_out(self):
        x, y = gaussian(4, seed=0)
        row = sp.compare({"x": x, "y": y}, metrics=[CKA_RBF_DEBIASED], cv=None, permutations=0).iloc[0]
        assert np.isnan(row.error)

    def test_one_group_has_no_interval(self):
        x, y = gaussian(40, seed=0)
        table = sp.compare(
            {"x": x, "y": y}, metrics=[MUTUAL_KNN, SHAPE], cv=None, groups=np.zeros(40, dtype=int), permutations=0
        )
        assert table.error.isna().all()
        assert (table.why == "no interval: all that is scored is of one group").all()


@pytest.mark.parametrize("metric", [MUTUAL_KNN, CKNNA, CKA_RBF], ids=lambda m: m.name)
def test_error_of_groups_against_fresh_draws(metric):
    groups = np.repeat(np.arange(50), 3)
    scores, errors, naive = [], [], []
    for seed in range(60):
        x, y = sparse(50, seed, repeats=3)
        scores.append(metric(x, y))
        errors.append(standard_error(metric.influences(x, y), groups))
        naive.append(standard_error(metric.influences(x, y)))
    spread = np.std(scores, ddof=1)
    # The spread of 60 scores is known to 9 %.
    assert np.mean(errors) > 0.75 * spread
    assert np.mean(naive) < np.mean(errors)


@pytest.mark.parametrize("kind", KINDS)
def test_intervals_hold_what_scores_tend_to(kind):
    metrics = [PWCCA, SHAPE, *PAIRWISE]
    draw = {"sparse": lambda seed: sparse(80, seed), "gaussian": fixed_gaussian}[kind]
    found = []
    for seed in range(100):
        x, y = draw(seed)
        table = sp.compare({"x": x, "y": y}, metrics=metrics, cv=None, permutations=0)
        found.append(table[table.system_a == "x"][["score", "low", "high", "error"]].to_numpy())
    scores, low, high, errors = np.moveaxis(found, 2, 0)
    held = ((low <= scores.mean(axis=0)) & (scores.mean(axis=0) <= high)).mean(axis=0)
    # Standard error of a share of .95 among 100 is .022. Leaving out samples is rather too wide (Efron & Stein 1981).
    assert (held >= 0.95 - 3 * 0.022).all(), dict(zip([m.name for m in metrics], held, strict=True))
    ratio = errors.mean(axis=0) / scores.std(axis=0, ddof=1)
    # The spread of 100 scores is known to 7 %: never too narrow, and by neighbours up to half too wide.
    assert (ratio > 0.8).all(), ratio
    assert (ratio[[1, 4, 5, 6]] < 1.45).all(), ratio
    assert (ratio < 1.9).all(), ratio


def fixed_gaussian(seed):
    a, b = (np.random.default_rng(i).normal(size=(24, units)) for i, units in enumerate((12, 10)))
    draw = np.random.default_rng(seed)
    z = draw.normal(size=(80, 24))
    return tuple(z @ p + 0.5 * draw.normal(size=(80, p.shape[1])) for p in (a, b))
