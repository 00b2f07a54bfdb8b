"""Metrics: frozen numbers, brute force, and peers; each oracle is shown to fail on a planted fault."""

from importlib import import_module

import numpy as np
import oracles
import pytest
from conftest import related
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy.stats import spearmanr

import superpose as sp
from superpose.arrays import contiguous_folds, group_folds, shuffled_folds
from superpose.files import DataError
from superpose.metrics import (
    ALL,
    CCA,
    CKA,
    CKA_DEBIASED,
    DEFAULT,
    PROCRUSTES,
    RSA,
    Metric,
    PredictiveMetric,
    RegressionMetric,
)
from superpose.metrics.regression import fixed_ridge, regression_sums, relative_ridge
from superpose.metrics.splits import Plan
from superpose.moments import of_pair


def contiguous(x, y, **options):
    return sp.regression(x, y, cv=contiguous_folds(len(x), 5), **options)


FROZEN = {
    "cka": (lambda x, y: sp.cka(x, y), 0.422368012222),
    "debiased": (lambda x, y: sp.cka(x, y, debiased=True), 0.391902521894),
    "rsa": (lambda x, y: sp.rsa(x, y), 0.391895693906),
    "rsa uncentred": (lambda x, y: sp.rsa(x, y, centre=False), 0.385992404907),
    "rsa euclidean": (lambda x, y: sp.rsa(x, y, rdm="euclidean"), 0.356944193561),
    "rsa euclidean cosine": (lambda x, y: sp.rsa(x, y, rdm="euclidean", comparator="cosine"), 0.901920898541),
    "rsa euclidean spearman": (lambda x, y: sp.rsa(x, y, rdm="euclidean", comparator="spearman"), 0.348759626352),
    "rsa correlation": (lambda x, y: sp.rsa(x, y, rdm="correlation"), 0.361371746871),
    "rsa correlation spearman": (lambda x, y: sp.rsa(x, y, rdm="correlation", comparator="spearman"), 0.352308901577),
    "cca": (lambda x, y: sp.cca(x, y), 0.79544061227),
    "procrustes": (lambda x, y: sp.procrustes(x, y), 0.914745854113),
    "unit r": (lambda x, y: contiguous(x, y, average="units"), 0.62529115164),
    "unit r2": (lambda x, y: contiguous(x, y, score="r2", average="units"), 0.362951726388),
    "pooled r": (lambda x, y: contiguous(x, y), 0.639980387),
    "ridge unit r": (lambda x, y: contiguous(x, y, ridge=1.0, average="units"), 0.625290553683),
    "ridge unit r2": (lambda x, y: contiguous(x, y, ridge=1.0, score="r2", average="units"), 0.362996572943),
}


@pytest.mark.parametrize("name", FROZEN)
def test_frozen_numbers(frozen, name):
    assert abs(frozen[0].sum() - 1202.90515117) < 1e-7
    assert abs(frozen[1].sum() - 636.627673055) < 1e-7
    measure, expected = FROZEN[name]
    assert abs(float(measure(*frozen)) - expected) < 1e-9


@pytest.mark.parametrize("offset", [0, 10, 100, 1000])
@pytest.mark.parametrize("metric", ALL, ids=lambda m: m.name)
def test_float32_agrees_with_float64_at_any_offset(frozen, metric, offset):
    x, y = ((z + sign * offset).astype(np.float32) for z, sign in zip(frozen, (1, -1), strict=True))
    assert abs(float(metric(x, y)) - float(metric(x.astype(np.float64), y.astype(np.float64)))) < 1e-5


def test_float32_sums_over_many_rows_keep_their_digits():
    draw = np.random.default_rng(0)
    z = draw.normal(size=(400_000, 2))
    x = (z @ draw.normal(size=(2, 2)) + np.linspace(0, 3, len(z))[:, None]).astype(np.float32)
    y = (z @ draw.normal(size=(2, 3)) + draw.normal(size=(len(z), 3))).astype(np.float32)
    for metric in (CKA, RSA, RegressionMetric("r", ("r", "units"))):
        assert abs(float(metric(x, y)) - float(metric(x.astype(np.float64), y.astype(np.float64)))) < 2e-6


@pytest.mark.parametrize("metric", ALL, ids=lambda m: m.name)
def test_repeats_are_scored_one_by_one(metric):
    x, y = related(50, 6, 4, seed=3, repeats=(3,))
    together = metric(x, y)
    assert together.shape == (3,)
    assert_allclose(together, [float(metric(a, b)) for a, b in zip(x, y, strict=True)], rtol=1e-12)
    assert np.shape(metric(x[0], y[0])) == ()
    assert_allclose(metric(x, y[1]), [float(metric(a, y[1])) for a in x], rtol=1e-12)
    square = x.reshape(3, 1, 50, 6), y[None]
    assert metric(*square).shape == (3, 3)


def test_metrics_describe_themselves():
    assert [m.name for m in DEFAULT] == ["cka", "cka_debiased", "rsa", "ridge_r", "ridge_r2"]
    assert len({m.name for m in ALL}) == len(ALL)
    for metric in ALL:
        assert isinstance(metric, Metric)
        assert metric.minimum_samples >= 3
        assert metric.directed is isinstance(metric, PredictiveMetric)


class TestDebiased:
    def test_against_the_mean_over_all_quadruples(self):
        x, y = related(9, 5, 4, seed=2, noise=2.0)
        exact = oracles.debiased_cka(x, y, oracles.hsic_over_quadruples)
        assert_allclose(sp.cka(x, y, debiased=True), exact, rtol=1e-12)
        assert_allclose(oracles.debiased_cka(x, y), exact, rtol=1e-12)

    def test_the_quadruples_tell_the_biased_form(self):
        x, y = related(9, 5, 4, seed=2, noise=2.0)
        exact = oracles.debiased_cka(x, y, oracles.hsic_over_quadruples)
        assert abs(float(sp.cka(x, y)) - exact) > 0.05

    def test_the_quadruples_tell_a_wrong_correction(self):
        """The form with (n − 2)² in place of n (n − 3), as some packages have, cancels; a dropped term does not."""
        x, y = related(9, 5, 4, seed=2, noise=2.0)

        def without_the_last_term(a, b):
            k, l = oracles.gram(a), oracles.gram(b)
            np.fill_diagonal(k, 0)
            np.fill_diagonal(l, 0)
            return np.trace(k @ l) + k.sum() * l.sum() / (8 * 7)

        wrong = oracles.debiased_cka(x, y, without_the_last_term)
        assert abs(wrong - oracles.debiased_cka(x, y, oracles.hsic_over_quadruples)) > 0.01

    @pytest.mark.parametrize("samples", [5, 7, 10, 30])
    def test_equidistant_samples_have_no_similarity_structure(self, samples):
        x, y = 0.7 * np.eye(samples) + 3, np.random.default_rng(0).normal(size=(samples, 3))
        assert np.isnan(sp.cka(x, y, debiased=True))
        assert np.isnan(sp.cka(x, 3 * x, debiased=True))
        assert np.isnan(sp.rsa(x, y))
        assert np.isnan(sp.rsa(y, x, rdm="euclidean"))
        assert np.isfinite(sp.cka(x, y))


class TestRSA:
    @pytest.mark.parametrize("kind", ["dot", "dot, uncentred", "euclidean", "correlation"])
    @pytest.mark.parametrize("comparator", ["pearson", "cosine", "spearman"])
    @pytest.mark.parametrize("shape", [(9, 5), (200, 150)], ids=["narrow", "wide"])
    def test_against_whole_matrices(self, kind, comparator, shape):
        x, y = related(40, *shape, seed=4)
        a, b = oracles.rdm(x, kind), oracles.rdm(y, kind)
        expected = {
            "pearson": np.corrcoef(a, b)[0, 1],
            "cosine": a @ b / np.sqrt(a @ a * (b @ b)),
            "spearman": spearmanr(a, b).statistic,
        }[comparator]
        centre = {"dot": None, "dot, uncentred": False}.get(kind)
        got = sp.rsa(x, y, rdm=kind.split(",")[0], comparator=comparator, centre=centre)
        assert_allclose(got, expected, rtol=1e-9, atol=1e-10)

    @pytest.mark.parametrize(
        ("comparator", "theirs"), [("pearson", "corr"), ("cosine", "cosine"), ("spearman", "spearman")]
    )
    @pytest.mark.parametrize(("rdm", "method"), [("euclidean", "euclidean"), ("correlation", "correlation")])
    def test_against_rsatoolbox(self, comparator, theirs, rdm, method):
        pytest.importorskip("rsatoolbox")
        from rsatoolbox.data import Dataset
        from rsatoolbox.rdm import calc_rdm, compare

        x, y = related(40, 9, 6, seed=5)
        rdms = [calc_rdm(Dataset(z), method=method) for z in (x, y)]
        expected = compare(*rdms, method=theirs).item()
        assert abs(float(sp.rsa(x, y, rdm=rdm, comparator=comparator)) - expected) < 1e-7

    def test_rho_a_is_spearman_without_ties(self):
        pytest.importorskip("rsatoolbox")
        from rsatoolbox.data import Dataset
        from rsatoolbox.rdm import calc_rdm, compare

        x, y = related(40, 9, 6, seed=5)
        rdms = [calc_rdm(Dataset(z), method="euclidean") for z in (x, y)]
        expected = compare(*rdms, method="rho-a").item()
        assert abs(float(sp.rsa(x, y, rdm="euclidean", comparator="spearman")) - expected) < 1e-7

    def test_ties_take_mean_ranks(self):
        draw = np.random.default_rng(0)
        x, y = (draw.integers(0, 2, (30, 3)).astype(float) for _ in range(2))
        a, b = (oracles.rdm(z, "euclidean") for z in (x, y))
        assert_allclose(sp.rsa(x, y, rdm="euclidean", comparator="spearman"), spearmanr(a, b).statistic, rtol=1e-10)

    def test_a_sample_of_pairs_is_within_its_error(self, monkeypatch):
        module = import_module("superpose.metrics.rsa")
        x, y = related(300, 9, 6, seed=6)
        exact = float(sp.rsa(x, y, rdm="euclidean", comparator="spearman"))
        pairs = 20_000
        monkeypatch.setattr(module, "RANKED_PAIRS", pairs)
        sampled = float(sp.rsa(x, y, rdm="euclidean", comparator="spearman"))
        assert sampled != exact
        assert abs(sampled - exact) < 3 / np.sqrt(pairs)
        assert float(sp.rsa(x, y, rdm="euclidean", comparator="spearman")) == sampled
        assert abs(float(sp.rsa(x, 2 * x, comparator="spearman")) - 1) < 1e-12

    def test_sampled_pairs_are_distinct_samples_and_uniform(self, monkeypatch):
        module = import_module("superpose.metrics.rsa")
        monkeypatch.setattr(module, "RANKED_PAIRS", 40_000)
        i, j = (np.concatenate(part) for part in zip(*module.pair_pieces(300, 2000), strict=True))
        assert len(i) == 40_000
        assert (i != j).all()
        for side in (i, j):
            assert side.min() == 0
            assert side.max() == 299
            assert np.abs(np.bincount(side) - 40_000 / 300).max() < 6 * np.sqrt(40_000 / 300)

    def test_repeats_of_ranked_matrices(self):
        x, y = related(30, 9, 6, seed=4, repeats=(3,))
        for rdm in ("dot", "euclidean", "correlation"):
            together = sp.rsa(x, y, rdm=rdm, comparator="spearman")
            single = [sp.rsa(a, b, rdm=rdm, comparator="spearman") for a, b in zip(x, y, strict=True)]
            assert_allclose(together, single, rtol=1e-12)

    def test_a_matrix_without_variance_is_nan(self):
        x = np.array([[1.0], [-1.0], [1.0]])
        equilateral = np.array([[1.0, 0, 0], [0, 1, 0], [0, 0, 1]])
        assert np.isnan(sp.rsa(equilateral, x, rdm="euclidean"))

    def test_a_sample_that_is_equal_in_all_units_has_no_correlation_distance(self):
        x, y = related(20, 7, 4, seed=0)
        for value in (0.0, 0.1, 1e6 / 3):
            x[[3, 8]] = value
            with pytest.raises(
                DataError, match=r"2 sample\(s\) have the same response in every unit, the first at row 3"
            ):
                sp.rsa(x, y, rdm="correlation")

    @pytest.mark.parametrize("rdm", ["dot", "euclidean", "correlation"])
    @pytest.mark.parametrize("comparator", ["pearson", "spearman"])
    def test_float16_is_as_exact_as_its_values(self, rdm, comparator):
        x, y = related(40, 9, 6, seed=5)
        short = [(50 * z + 300).astype(np.float16) for z in (x, y)]
        exact = [z.astype(np.float64) for z in short]
        got, expected = (float(sp.rsa(*z, rdm=rdm, comparator=comparator)) for z in (short, exact))
        assert abs(got - expected) < 1e-4

    @pytest.mark.parametrize(
        ("options", "words"),
        [
            ({"rdm": "cosine"}, "rdm is 'cosine'; expected one of 'dot', 'euclidean', 'correlation'"),
            ({"comparator": "kendall"}, "comparator is 'kendall'; expected one of 'pearson', 'cosine', 'spearman'"),
        ],
    )
    def test_unknown_options(self, pair, options, words):
        with pytest.raises(DataError, match=words):
            sp.rsa(*pair, **options)


class TestWide:
    """Units far beyond samples go through a rotation into fewer columns."""

    @pytest.mark.parametrize("offset", [0.0, 100.0])
    def test_against_brute_force(self, offset):
        x, y = related(30, 400, 300, seed=7)
        x, y = x + offset, y - offset
        assert_allclose(sp.cka(x, y), oracles.biased_cka(x, y), rtol=1e-10)
        assert_allclose(sp.cka(x, y, debiased=True), oracles.debiased_cka(x, y), rtol=1e-9)
        assert_allclose(sp.rsa(x, y), oracles.pearson_rsa(x, y), rtol=1e-9)
        assert_allclose(sp.procrustes(x, y), oracles.procrustes_angle(x, y), rtol=1e-9)
        label = shuffled_folds(30, 5)
        assert_allclose(sp.regression(x, y, ridge=2.0), oracles.regression(x, y, label, ridge=2.0), rtol=1e-8)
        units = sp.regression(x, y, ridge=2.0, average=None)
        assert_allclose(units, oracles.regression(x, y, label, ridge=2.0, average=None), rtol=1e-7, atol=1e-9)

    def test_relative_penalties_do_not_see_the_rotation(self):
        x, y = related(30, 400, 6, seed=7)
        metric = RegressionMetric("ridge", ("r", "pooled"), relative_ridge(1e-2))
        label = shuffled_folds(30, 5)
        scores = []
        for fold in range(5):
            train = x[label != fold]
            alpha = 1e-2 * len(train) * train.var(0).sum() / min(len(train), 400)
            scores.append(oracles.regression(x, y, label, ridge=alpha, folds=[fold]))
        assert_allclose(metric(x, y), np.mean(scores), rtol=1e-8)

    def test_the_relative_penalty_is_a_share_of_the_mean_predictor_variance(self):
        x, y = related(60, 7, 4, seed=7)
        metric = RegressionMetric("ridge", ("r2", "pooled"), relative_ridge(1e-1))
        label = shuffled_folds(60, 5)
        scores = []
        for fold in range(5):
            train = x[label != fold]
            alpha = 1e-1 * len(train) * train.var(0).mean()
            scores.append(oracles.regression(x, y, label, ridge=alpha, folds=[fold], score="r2"))
        assert_allclose(metric(x, y), np.mean(scores), rtol=1e-10)


class TestRegression:
    @pytest.mark.parametrize("score", ["r", "r2"])
    @pytest.mark.parametrize("average", ["pooled", "units", None])
    @pytest.mark.parametrize("ridge", [0.0, 0.3, 50.0])
    @pytest.mark.parametrize("folds", [2, 5, 7])
    def test_drawn_folds(self, pair, score, average, ridge, folds):
        expected = oracles.regression(*pair, shuffled_folds(60, folds), score=score, average=average, ridge=ridge)
        got = sp.regression(*pair, cv=folds, score=score, average=average, ridge=ridge)
        assert_allclose(got, expected, rtol=1e-9, atol=1e-10)

    @pytest.mark.parametrize("offset", [1e3, 1e5])
    def test_offsets_are_the_intercept_s(self, pair, offset):
        x, y = pair
        assert_allclose(sp.regression(x + offset, y - offset, score="r2"), sp.regression(x, y, score="r2"), rtol=1e-7)

    def test_the_oracle_tells_a_leak(self):
        x, y = related(60, 12, 5, seed=1, noise=5.0)
        label = shuffled_folds(60, 5)
        honest, leaking = (oracles.regression(x, y, label, score="r2", leak=leak) for leak in (False, True))
        assert leaking > honest + 0.2
        assert_allclose(sp.regression(x, y, score="r2"), honest, rtol=1e-9)
        # The same fault planted in the library: weights fitted on all folds.
        everything = tuple(range(5))
        plan = Plan(tuple((fold, everything) for fold in everything))
        sums = regression_sums(of_pair(x, y, label), plan=plan, penalty=fixed_ridge(0.0))
        planted = (1 - sums.residual.sum(-1) / sums.target.sum(-1)).mean()
        assert_allclose(planted, leaking, rtol=1e-9)
        assert abs(planted - honest) > 0.2

    def test_labelled_folds_in_any_order_and_of_any_name(self, pair):
        label = np.random.default_rng(0).integers(0, 4, 60)
        expected = oracles.regression(*pair, label)
        for names in (label, label * 10 - 7, label.astype(np.uint8)):
            assert_allclose(sp.regression(*pair, cv=names), expected, rtol=1e-10)

    def test_group_folds(self, pair):
        groups = np.random.default_rng(1).integers(0, 15, 60)
        label = group_folds(groups, 5)
        assert_allclose(sp.regression(*pair, cv=label), oracles.regression(*pair, label), rtol=1e-10)

    @pytest.mark.parametrize("score", ["r", "r2"])
    def test_one_fixed_split(self, pair, score):
        mask = np.random.default_rng(2).random(60) < 0.3
        expected = oracles.regression(*pair, mask, folds=[True], score=score, average=None)
        assert_allclose(sp.regression(*pair, test=mask, score=score, average=None), expected, rtol=1e-9)

    def test_in_sample(self, pair):
        x, y = pair
        label = np.zeros(60, dtype=int)
        for score in ("r", "r2"):
            expected = oracles.regression(x, y, label, leak=True, score=score)
            assert_allclose(sp.regression(x, y, cv=None, score=score), expected, rtol=1e-10)
        assert_allclose(sp.regression(x, y, cv=None) ** 2, sp.regression(x, y, cv=None, score="r2"), rtol=1e-10)

    def test_units_keep_their_axis_behind_repeats(self):
        x, y = related(50, 6, 4, seed=3, repeats=(3,))
        got = sp.regression(x, y, average=None)
        assert got.shape == (3, 4)
        for a, b, one in zip(x, y, got, strict=True):
            assert_allclose(one, oracles.regression(a, b, shuffled_folds(50, 5), average=None), rtol=1e-9)

    @pytest.mark.parametrize("kind", [np.float32, np.float64])
    def test_rank_deficient_predictors_take_the_least_norm(self, kind):
        x, y = related(80, 6, 4, seed=3)
        x = np.hstack([x, x[:, :3] @ np.random.default_rng(0).normal(size=(3, 5)), x[:, :1]]).astype(kind)
        exact = x.astype(np.float64)
        expected = oracles.regression(x[:, :6].astype(np.float64), y, shuffled_folds(80, 5))
        assert_allclose(sp.regression(x, y), expected, rtol=1e-9 if kind is np.float64 else 1e-5)
        if kind is np.float64:
            assert_allclose(sp.regression(x, y), oracles.regression(exact, y, shuffled_folds(80, 5)), rtol=1e-8)

    def test_constant_predictors_are_ignored(self):
        x, y = related(80, 6, 4, seed=3)
        wide = np.hstack([x, np.full((80, 2), 3.7)])
        assert_allclose(sp.regression(wide, y), sp.regression(x, y), rtol=1e-10)
        assert_allclose(sp.regression(wide, y), oracles.regression(wide, y, shuffled_folds(80, 5)), rtol=1e-8)

    @pytest.mark.parametrize("kind", [np.float32, np.float64])
    @pytest.mark.parametrize("rest", [0.0, 0.1, 100.1])
    @pytest.mark.parametrize("ridge", [0.0, 1.0])
    def test_predictors_that_vary_only_where_held_out_get_no_weight(self, kind, rest, ridge):
        x, y = related(80, 6, 4, seed=3)
        rare = np.full((80, 1), rest)
        rare[[3, 7], 0] += (1.0, 2.0)
        x = np.hstack([x, rare]).astype(kind)
        label = shuffled_folds(80, 5)
        expected = oracles.regression(x.astype(np.float64), y, label, ridge=ridge, score="r2")
        assert_allclose(
            sp.regression(x, y, ridge=ridge, score="r2"), expected, rtol=1e-9 if kind is np.float64 else 1e-5
        )

    @pytest.mark.parametrize("kind", [np.float32, np.float64])
    def test_a_target_that_is_constant_in_one_fold_has_no_score(self, kind):
        x, y = related(80, 6, 4, seed=3)
        y[shuffled_folds(80, 5) == 0, 1] = 0.1
        assert np.isnan(sp.regression(x, y.astype(kind), average=None)).tolist() == [False, True, False, False]

    def test_predictors_of_very_different_scale(self):
        x, y = related(80, 6, 4, seed=3)
        scaled = x * np.logspace(-6, 6, 6)
        assert_allclose(sp.regression(scaled, y), sp.regression(x, y), rtol=1e-8)

    def test_constant_targets_leave_the_mean_over_units(self):
        x, y = related(80, 6, 4, seed=3)
        y[:, 1] = 0.1
        units = sp.regression(x, y, average=None)
        assert np.isnan(units).tolist() == [False, True, False, False]
        assert_allclose(sp.regression(x, y, average="units"), units[[0, 2, 3]].mean(), rtol=1e-12)
        assert_allclose(sp.regression(x, y), sp.regression(x, y[:, [0, 2, 3]]), rtol=1e-10)

    def test_predictors_that_are_constant_where_fitted_predict_the_mean(self):
        x, y = related(80, 6, 4, seed=3)
        mask = np.arange(80) < 20
        x[~mask] = 1.0
        assert sp.regression(x, y, test=mask) == 0
        expected = oracles.regression(x, y, mask, folds=[True], score="r2")
        assert_allclose(sp.regression(x, y, test=mask, score="r2"), expected, rtol=1e-10)
        assert float(sp.regression(x, y, test=mask, score="r2")) < 0

    @pytest.mark.parametrize("units", [48, 60, 200])
    def test_no_least_squares_with_as_many_predictors_as_training_samples(self, units):
        x, y = related(60, units, 4, seed=3)
        for average, shape in (("pooled", ()), ("units", ()), (None, (4,))):
            got = sp.regression(x, y, average=average)
            assert got.shape == shape
            assert np.isnan(got).all()
        assert np.isfinite(sp.regression(x, y, ridge=1.0))

    def test_one_predictor_fewer_than_training_samples_is_enough(self):
        x, y = related(60, 47, 4, seed=3, latents=50)
        assert_allclose(sp.regression(x, y), oracles.regression(x, y, shuffled_folds(60, 5)), rtol=1e-5)

    @pytest.mark.parametrize(
        ("options", "words"),
        [
            ({"score": "rho"}, r"\(score, average\) is \('rho', 'pooled'\); expected one of \('r', 'pooled'\)"),
            ({"average": "mean"}, r"\(score, average\) is \('r', 'mean'\)"),
            ({"ridge": -1.0}, "ridge is -1.0; expected a finite number of at least 0"),
            ({"ridge": np.nan}, "ridge is nan; expected a finite number"),
            ({"ridge": "strong"}, "ridge is 'strong'; expected a finite number"),
            ({"cv": 1}, "cv is 1; expected an integer of at least 2"),
            ({"cv": 31}, "60 samples are too few for 31 folds"),
            ({"cv": np.zeros(60)}, r"cv has shape \(60,\) and type float64; expected an integer, or the fold of"),
            ({"cv": np.zeros(59, dtype=int)}, r"cv has shape \(59,\) and type int64"),
            ({"cv": np.zeros(60, dtype=int)}, "cv puts every sample in one fold; expected at least two"),
            ({"test": np.zeros(60)}, r"test has shape \(60,\) and type float64; expected booleans, \(60,\)"),
            ({"test": np.zeros(50, dtype=bool)}, r"test has shape \(50,\) and type bool"),
            ({"test": np.zeros(60, dtype=bool)}, "test marks 0 of 60 samples; expected some to score and some to fit"),
            ({"test": np.ones(60, dtype=bool)}, "test marks 60 of 60 samples"),
        ],
    )
    def test_what_does_not_fit_is_refused(self, pair, options, words):
        with pytest.raises(DataError, match=words):
            sp.regression(*pair, **options)

    @given(st.integers(0, 2**31), st.integers(2, 6), st.integers(1, 8), st.integers(1, 5))
    def test_against_scikit_learn(self, seed, folds, units_x, units_y):
        x, y = related(60, units_x, units_y, seed=seed)
        expected = oracles.regression(x, y, shuffled_folds(60, folds))
        assert_allclose(sp.regression(x, y, cv=folds), expected, rtol=1e-8, atol=1e-10)


class TestShape:
    @pytest.mark.parametrize("units", [(9, 5), (5, 9), (30, 20)])
    def test_against_bases_and_rotations(self, units):
        x, y = related(60, *units, seed=8, latents=40)
        assert_allclose(sp.cca(x, y), oracles.canonical_correlations(x, y).mean(), rtol=1e-8)
        assert_allclose(sp.procrustes(x, y), oracles.procrustes_angle(x, y), rtol=1e-9)

    @pytest.mark.parametrize("kind", [np.float32, np.float64])
    def test_canonical_correlations_count_dimensions_not_units(self, kind):
        x, y = related(400, 20, 25, seed=8, latents=6)
        few = oracles.canonical_correlations(x, y).mean()
        assert_allclose(sp.cca(x.astype(kind), y.astype(kind)), few, rtol=1e-6 if kind is np.float64 else 1e-3)

    @pytest.mark.parametrize("units", [29, 30, 40])
    def test_as_many_dimensions_as_samples_make_any_two_systems_equal_in_sample(self, units):
        draw = np.random.default_rng(0)
        wide, narrow = draw.normal(size=(30, units)), draw.normal(size=(30, 4))
        assert_allclose(oracles.canonical_correlations(wide, narrow), 1.0, rtol=1e-9)
        for pair in ((wide, narrow), (narrow, wide), (wide, wide)):
            assert np.isnan(sp.cca(*pair))
        assert sp.cca(wide[:, :28], narrow) < 1
        why = sp.compare({"wide": wide, "narrow": narrow}, metrics=(sp.metrics.CCA,), permutations=0).why[0]
        assert why.startswith("a system spans as many dimensions as the samples: any two would correlate perfectly")

    def test_unrelated_systems_are_far(self):
        draw = np.random.default_rng(0)
        assert float(sp.procrustes(draw.normal(size=(5000, 4)), draw.normal(size=(5000, 4)))) > 1.4


class TestInput:
    @pytest.mark.parametrize("metric", ALL, ids=lambda m: m.name)
    def test_tensors_give_tensors(self, metric, pair):
        torch = pytest.importorskip("torch")
        x, y = pair
        expected = metric(x, y)
        got = metric(torch.tensor(x), torch.tensor(y))
        assert isinstance(got, torch.Tensor)
        assert got.dtype == torch.float64
        assert got.device.type == "cpu"
        assert_allclose(got.numpy(), expected)
        assert isinstance(metric(torch.tensor(x), y), torch.Tensor)
        assert not isinstance(metric(x, y), torch.Tensor)

    def test_functions_take_tensors_too(self, pair):
        torch = pytest.importorskip("torch")
        x, y = (torch.tensor(z, requires_grad=True) for z in pair)
        folds = torch.arange(60) % 4
        assert_allclose(sp.regression(x, y, cv=folds), sp.regression(*pair, cv=folds.numpy()))
        assert_allclose(sp.regression(x, y, test=folds == 0), sp.regression(*pair, test=folds.numpy() == 0))
        for got in (sp.rsa(x, y), sp.cka(x, y), sp.regression(x, y), sp.cca(x, y), sp.procrustes(x, y)):
            assert isinstance(got, torch.Tensor)

    @pytest.mark.parametrize("metric", [CKA, CKA_DEBIASED, RSA, CCA, PROCRUSTES], ids=lambda m: m.name)
    def test_too_few_samples(self, metric):
        fewer = metric.minimum_samples - 1
        x, y = related(fewer, 2, 2, seed=0)
        with pytest.raises(DataError, match=rf"{fewer} sample\(s\) are too few for this score; expected at least"):
            metric(x, y)

    @pytest.mark.parametrize("metric", ALL, ids=lambda m: m.name)
    def test_repeats_that_do_not_broadcast(self, metric):
        with pytest.raises(DataError, match=r"x has repeats \(2,\) and y has \(3,\); expected equal"):
            metric(np.random.default_rng(0).normal(size=(2, 20, 3)), np.random.default_rng(1).normal(size=(3, 20, 3)))

    @pytest.mark.parametrize("metric", ALL, ids=lambda m: m.name)
    def test_constant_systems(self, metric):
        x, y = related(20, 3, 2, seed=0)
        with pytest.raises(DataError, match="y does not vary: every unit is constant over the samples"):
            metric(x, np.ones((20, 2)))
        with pytest.raises(DataError, match="x does not vary"):
            metric(np.stack([x, np.full_like(x, 2.0)]), np.stack([y, y]))


@pytest.mark.parametrize("steepness", [1.0, 1.5, 2.0])
def test_float32_regression_keeps_directions_that_float32_products_would_hide(steepness):
    rng = np.random.default_rng(3)
    sources = rng.normal(size=(2000, 128))
    x = (sources * np.arange(1, 129) ** -steepness @ np.linalg.qr(rng.normal(size=(128, 128)))[0]).astype(np.float32)
    # The targets load on the last directions, the ones with the least variance.
    y = (sources[:, -10:] + 0.1 * rng.normal(size=(2000, 10))).astype(np.float32)
    exact = sp.regression(x.astype(np.float64), y.astype(np.float64))
    assert abs(sp.regression(x, y) - exact) < 1e-4
    row = sp.compare({"x": x, "y": y}, metrics=[sp.metrics.OLS_R], permutations=0).score[0]
    assert abs(row - exact) < 1e-4
    assert exact > 0.99
