"""Nulls: unrelated systems score nothing, and permuted scores are what chance gives."""

import numpy as np
import pytest
from conftest import related
from numpy.testing import assert_allclose
from scipy.stats import kstest

import superpose as sp
from superpose.arrays import group_folds, shuffled_folds
from superpose.metrics import ALL, CKA, CKA_DEBIASED, OLS_R, PROCRUSTES, RSA, PredictiveMetric
from superpose.metrics.splits import split_of
from superpose.statistics import p_value
from superpose.statistics.permutations import permutations


@pytest.mark.parametrize("seed", range(5))
def test_unrelated_systems_score_nothing(seed):
    draw = np.random.default_rng(seed)
    x = (draw.normal(size=(20_000, 64)) @ draw.normal(size=(64, 24))).astype(np.float32)
    y = (draw.normal(size=(20_000, 64)) @ draw.normal(size=(64, 40))).astype(np.float32)
    table = sp.compare({"x": x, "y": y}, permutations=0).set_index("metric")
    for name in ("cka_debiased", "rsa", "ridge_r"):
        assert np.abs(table.score[name]).max() < 0.03
    assert np.abs(table.score["ridge_r2"]).max() < 0.03


def test_p_is_one_plus_those_as_high_over_one_plus_all(monkeypatch):
    import superpose.comparison.nulls as nulls

    x, y = related(40, 4, 3, seed=0, noise=30.0)
    seen = {}

    def spy(score, null):
        seen["score"], seen["null"] = score, null
        return p_value(score, null)

    monkeypatch.setattr(nulls, "p_value", spy)
    row = sp.compare({"x": x, "y": y}, metrics=[RSA], permutations=39).iloc[0]
    assert len(seen["null"]) == 39
    assert row.p == (1 + np.sum(seen["null"] >= row.score)) / 40
    assert_allclose(row.null, seen["null"].mean())
    assert_allclose((row.null_low, row.null_high), np.quantile(seen["null"], (0.025, 0.975)))


def test_related_systems_have_the_smallest_p():
    x, y = related(60, 6, 4, seed=0)
    table = sp.compare({"x": x, "y": y}, metrics=ALL, permutations=49)
    assert_allclose(table.p, 1 / 50)


def test_a_distance_counts_those_as_small():
    draw = np.random.default_rng(0)
    x, y = related(60, 6, 4, seed=0)
    assert sp.compare({"x": x, "y": y}, metrics=[PROCRUSTES], permutations=49).p[0] == 1 / 50
    far = {"x": x[:, :2], "y": draw.normal(size=(60, 2))}
    assert sp.compare(far, metrics=[PROCRUSTES], permutations=49).p[0] > 1 / 50


@pytest.mark.slow
@pytest.mark.parametrize("metric", [CKA_DEBIASED, RSA, OLS_R, PROCRUSTES], ids=lambda m: m.name)
def test_p_is_uniform_for_unrelated_systems(metric):
    draw = np.random.default_rng(1)
    values = []
    for seed in range(200):
        systems = {"x": draw.normal(size=(30, 4)), "y": draw.normal(size=(30, 3))}
        p = sp.compare(systems, metrics=[metric], permutations=19, seed=seed).p[0]
        # p lies on a grid of 1/20; a uniform draw within each step makes it continuous.
        values.append(p - draw.uniform() / 20)
    assert kstest(values, "uniform").pvalue > 1e-3


@pytest.mark.slow
def test_p_is_uniform_for_unrelated_groups():
    """Sentences: strong dependence inside groups, none between systems; without groups p is far too small."""
    draw = np.random.default_rng(2)
    groups = np.repeat(np.arange(20), 4)
    honest, naive = [], []
    for seed in range(150):
        systems = {name: np.repeat(draw.normal(size=(20, 3)), 4, axis=0) for name in "xy"}
        systems = {name: x + 0.1 * draw.normal(size=x.shape) for name, x in systems.items()}
        options = {"metrics": [RSA], "permutations": 39, "seed": seed}
        honest.append(sp.compare(systems, groups=groups, cv=None, **options).p[0] - draw.uniform() / 40)
        naive.append(sp.compare(systems, cv=None, **options).p[0])
    assert kstest(honest, "uniform").pvalue > 1e-3
    assert np.mean(np.array(naive) <= 0.05) > 0.2


@pytest.mark.parametrize("metric", [CKA, CKA_DEBIASED, RSA], ids=lambda m: m.name)
@pytest.mark.parametrize("related_by", [0.5, 50.0])
def test_the_closed_form_is_the_mean_over_re_pairings(metric, related_by):
    x, y = related(60, 20, 15, seed=3, noise=related_by)
    exact = sp.compare({"x": x, "y": y}, metrics=[metric], cv=None, permutations=0).iloc[0]
    assert "exact mean over all permutations of samples, folds and groups aside" in exact.null_kind
    drawn = sp.compare({"x": x, "y": y}, metrics=[metric], cv=None, permutations=800).iloc[0]
    assert "800 permutations of samples" in drawn.null_kind
    spread = (drawn.null_high - drawn.null_low) / (2 * 1.96)
    assert abs(drawn.null - exact.null) < 4 * spread / np.sqrt(800)
    assert np.isnan(exact.p)


def test_re_paired_scores_are_those_of_the_metric_on_re_paired_samples():
    x, y = related(60, 6, 4, seed=0)
    groups = np.arange(60) // 4
    for kept, cv, label in (
        (None, 5, shuffled_folds(60, 5)),
        (groups, 5, group_folds(groups, 5, seed=0)),
        (None, None, None),
    ):
        table = sp.compare({"x": x, "y": y}, metrics=ALL, permutations=1, groups=kept, cv=cv)
        again = y[next(permutations(60, label, kept).draw(1, 0))]
        for metric in ALL:
            null = table[table.metric == metric.name].null.iloc[0]
            assert_allclose(null, score(metric, x, again, label), rtol=1e-9, atol=1e-12, err_msg=metric.name)


def score(metric, x, y, label):
    """Return what a metric gives of two arrays, fitted over labelled folds where it predicts."""
    if not isinstance(metric, PredictiveMetric):
        return float(metric(x, y))
    made, average = metric.kind
    if metric.name.startswith("ols"):
        return float(sp.regression(x, y, cv=label, score=made, average=average))
    # One fold leaves none to choose a penalty on.
    return np.nan if label is None else float(sp.metrics.ridge(x, y, cv=label, score=made, average=average))


def test_the_other_direction_is_fitted_anew():
    x, y = related(60, 6, 4, seed=0)
    table = sp.compare({"x": x, "y": y}, metrics=[OLS_R], permutations=1)
    index = next(permutations(60, shuffled_folds(60, 5)).draw(1, 0))
    assert_allclose(table.null[1], sp.regression(y[index], x), rtol=1e-9)


def test_a_split_is_re_paired_on_either_side_of_it():
    x, y = related(60, 6, 4, seed=0)
    mask = np.arange(60) % 3 == 0
    table = sp.compare({"x": x, "y": y}, metrics=[CKA, OLS_R], permutations=1, test=mask)
    # Inside each of the training samples' folds too, on which penalties are chosen.
    folds = split_of(60, test=mask).folds
    index = next(permutations(60, folds).draw(1, 0))
    assert np.array_equal(folds[index], folds)
    assert np.array_equal(folds == folds.max(), mask)
    assert_allclose(table.null[0], sp.cka(x[mask], y[index][mask]), rtol=1e-9)
    assert_allclose(table.null[1], sp.regression(x, y[index], test=mask), rtol=1e-9)


def test_the_seed_decides():
    x, y = related(60, 6, 4, seed=0)
    options = {"permutations": 9, "cv": shuffled_folds(60, 5)}
    first, again, other = (sp.compare({"x": x, "y": y}, seed=seed, **options) for seed in (1, 1, 2))
    assert first.equals(again)
    assert_allclose(first.score, other.score)
    assert (first.null != other.null).all()


def test_the_seed_draws_the_folds():
    x, y = related(60, 6, 4, seed=0)
    first, again, other = (sp.compare({"x": x, "y": y}, seed=seed, permutations=0) for seed in (1, 1, 2))
    assert first.equals(again)
    assert np.isclose(first.score, other.score, rtol=1e-9).tolist() == [not directed for directed in first.directed]
    given = sp.compare({"x": x, "y": y}, cv=shuffled_folds(60, 5, seed=1), permutations=0)
    assert given.equals(first)


def test_global_random_state_is_left_alone():
    np.random.seed(0)  # noqa: NPY002
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    x, y = related(40, 6, 4, seed=0)
    sp.compare({"x": x, "y": y}, permutations=3)
    sp.rsa(x, y, comparator="spearman")
    assert np.array_equal(np.random.get_state()[1], before)  # noqa: NPY002
