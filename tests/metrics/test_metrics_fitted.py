"""Ridge with a chosen penalty and partial least squares against scikit-learn, fold by fold."""

import warnings

import numpy as np
import pytest
from conftest import related
from jackknives import influence
from numpy.testing import assert_allclose
from oracles import chosen_by_loops, mean_score
from sklearn.cross_decomposition import PLSRegression
from sklearn.linear_model import LinearRegression

import superpose as sp
from superpose.arrays import group_folds, shuffled_folds
from superpose.files import DataError
from superpose.metrics import (
    PCR_R,
    PLS_CHOSEN_R,
    PLS_R,
    RIDGE_R,
    RIDGE_R2,
    RIDGE_UNIT_R,
    RIDGE_UNIT_R2,
    RIDGE_UNIT_R_UNITS,
    PrincipalComponentsMetric,
    pcr,
    pls,
    ridge,
)
from superpose.metrics.ridge import RidgeMetric, _choices
from superpose.metrics.spectrum import GRID
from superpose.metrics.splits import Plan, split_of
from superpose.moments import of_pair

SEEDS = range(10)


def noisy(seed, samples=43, units=None):
    draw = np.random.default_rng(seed)
    units = int(draw.integers(4, 60)) if units is None else units
    z = draw.normal(size=(samples, 6))
    x = z @ draw.normal(size=(6, units)) + 2 * draw.normal(size=(samples, units)) + 3
    return x, z[:, :3] + draw.normal(size=(samples, 3))


@pytest.mark.parametrize("seed", SEEDS)
def test_ridge_against_loops(seed):
    """43 samples in 5 folds of unequal size, more predictors than samples among the draws."""
    x, y = noisy(seed)
    parts = list(chosen_by_loops(x, y, shuffled_folds(43, 5)))
    for score in ("r", "r2"):
        for average in ("pooled", "units", None):
            expected = mean_score(parts, score, average)
            assert_allclose(ridge(x, y, score=score, average=average), expected, atol=1e-8)
    assert RIDGE_R(x, y) == ridge(x, y)
    assert RIDGE_R2(x, y) == ridge(x, y, score="r2")


@pytest.mark.parametrize("units", [8, 90], ids=["few units", "more units than samples"])
@pytest.mark.parametrize("grouped", [False, True], ids=["samples", "groups"])
def test_penalties_of_one_fixed_split_are_chosen_over_five_folds_of_its_training_samples(units, grouped):
    x, y = noisy(3, samples=63, units=units)
    groups = np.random.default_rng(1).permutation(np.arange(63) // 3) if grouped else None
    mask = np.random.default_rng(2).random(63) < 0.3 if groups is None else groups % 4 == 1
    label = np.full(63, 5)
    inner = shuffled_folds((~mask).sum(), 5) if groups is None else group_folds(groups[~mask], 5, seed=0)
    label[~mask] = inner
    expected = mean_score(chosen_by_loops(x, y, label, held_out=5))
    if groups is None:
        assert_allclose(ridge(x, y, test=mask), expected, atol=1e-6)
    row = sp.compare({"x": x, "y": y}, metrics=[RIDGE_R], test=mask, groups=groups, permutations=0).iloc[0]
    assert_allclose(row.score, expected, atol=1e-6)
    assert (row.split, row.samples) == ("test", mask.sum())


@pytest.mark.slow
def test_the_penalty_differs_and_is_not_chosen_on_the_held_out_fold():
    """A fault the test above must catch: other penalties, hence other scores, where the held-out fold chooses."""
    taken, honest, leaking = set(), [], []
    for seed in SEEDS:
        x, y = noisy(seed)
        parts = list(chosen_by_loops(x, y, shuffled_folds(43, 5)))
        taken |= {fraction for *_, fraction in parts}
        honest.append(mean_score(parts, "r2"))
        leaking.append(mean_score(chosen_by_loops(x, y, shuffled_folds(43, 5), leak=True), "r2"))
    assert len(taken) >= 3
    assert np.min(np.array(leaking) - honest) >= 0
    assert np.max(np.array(leaking) - honest) > 1e-3


@pytest.mark.parametrize("seed", range(3))
def test_ridge_of_dependent_predictors_and_own_folds(seed):
    x, y = noisy(seed, units=5)
    x = np.hstack([x, x[:, :2] - x[:, 1:3], np.full((43, 1), 0.3)])
    label = np.random.default_rng(seed).integers(0, 4, 43)
    assert_allclose(ridge(x, y, cv=label), mean_score(chosen_by_loops(x, y, label)), atol=1e-8)


@pytest.mark.parametrize(
    "split", [{"cv": 2}, {"test": np.arange(60) >= 3}, {"cv": None}], ids=["two folds", "three samples", "in-sample"]
)
def test_one_training_fold_leaves_none_to_choose_on(pair, split):
    x, y = pair
    assert np.isnan(ridge(x, y, **split))
    table = sp.compare({"x": x, "y": y}, metrics=[RIDGE_R, RIDGE_R2], permutations=0, **split)
    assert table.score.isna().all()
    assert table.why.str.contains("one training fold leaves none to choose the penalty on; use more folds").all()


def test_grids_of_ones_own(pair):
    x, y = pair
    heavy = RidgeMetric("heavy", ("r2", "pooled"), (1e3,))
    assert heavy(x, y) < RIDGE_R2(x, y)
    table = sp.compare({"x": x, "y": y}, metrics=[heavy, RIDGE_R2], permutations=0)
    assert_allclose(table.score, [heavy(x, y), heavy(y, x), RIDGE_R2(x, y), RIDGE_R2(y, x)], rtol=1e-9)


def by_scikit(x, y, label, components):
    for fold in np.unique(label):
        train = label != fold
        model = PLSRegression(components, scale=False, tol=1e-28, max_iter=3000)
        with warnings.catch_warnings(action="ignore"):
            yield y[~train], model.fit(x[train], y[train]).predict(x[~train])


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("components", [1, 3])
def test_partial_least_squares_against_scikit_learn(seed, components):
    x, y = noisy(seed)
    y *= [1.0, 3.0, 0.3]
    parts = list(by_scikit(x, y, shuffled_folds(43, 5), components))
    for score in ("r", "r2"):
        for average in ("pooled", None):
            expected = mean_score(parts, score, average)
            assert_allclose(pls(x, y, components=components, score=score, average=average), expected, atol=1e-8)


def test_one_target(pair):
    x, y = pair
    expected = mean_score(by_scikit(x, y[:, :1], shuffled_folds(60, 5), 2))
    assert_allclose(pls(x, y[:, :1], components=2), expected, atol=1e-8)


def test_all_components_are_least_squares(pair):
    x, y = pair
    assert_allclose(PLS_R(x, y), sp.regression(x, y), rtol=1e-8)
    dependent = np.hstack([x, x[:, :3] + x[:, 1:4], np.ones((60, 1))])
    assert_allclose(PLS_R(dependent, y), sp.regression(x, y), rtol=1e-7)
    mask = np.arange(60) % 3 == 0
    assert_allclose(pls(x, y, test=mask), sp.regression(x, y, test=mask), rtol=1e-8)
    assert PLS_R(x, y) == pls(x, y, components=10)


def principal(x, y, components):
    mean = x.mean(0)
    directions = np.linalg.svd(x - mean, full_matrices=False)[2][:components].T
    fitted = LinearRegression().fit((x - mean) @ directions, y)
    return lambda rows: fitted.predict((rows - mean) @ directions)


def partial_least(x, y, components):
    with warnings.catch_warnings(action="ignore"):
        return PLSRegression(components, scale=False, tol=1e-28, max_iter=3000).fit(x, y).predict


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize(("measure", "peer"), [(pcr, principal), (pls, partial_least)], ids=["pcr", "pls"])
def test_the_number_of_components_against_a_search_of_all(measure, peer, seed):
    """43 samples in 5 folds of unequal size, more predictors than samples among the draws."""
    x, y = noisy(seed)
    label = shuffled_folds(43, 5)
    parts, taken = [], set()
    for fold in range(5):
        train = label != fold
        inner = [(train & (label != other), label == other) for other in range(5) if other != fold]
        most = min(30, x.shape[1], *(rows.sum() - 1 for rows, _ in inner))
        counts = range(1, most + 1)
        errors = [sum(((peer(x[r], y[r], k)(x[out]) - y[out]) ** 2).sum() for r, out in inner) for k in counts]
        best = counts[int(np.argmin(errors))]
        taken.add(best)
        parts.append((y[~train], peer(x[train], y[train], best)(x[~train])))
    assert len(taken) > 1
    for score in ("r", "r2"):
        for average in ("pooled", "units", None):
            found = measure(x, y, components="chosen", score=score, average=average)
            assert_allclose(found, mean_score(parts, score, average), atol=1e-7)
    assert_allclose(measure(x, y, components=best), mean_score(by_folds(peer, x, y, label, best)), atol=1e-8)


def by_folds(peer, x, y, label, components):
    for fold in np.unique(label):
        train = label != fold
        yield y[~train], peer(x[train], y[train], components)(x[~train])


@pytest.mark.parametrize("metric", [PCR_R, PLS_CHOSEN_R], ids=lambda m: m.name)
def test_a_number_that_is_chosen_at_the_doors(metric):
    x, y = noisy(0, samples=150, units=20)
    assert_allclose(metric(x, y), {"pcr_r": pcr, "pls_chosen_r": pls}[metric.name](x, y, components="chosen"))
    table = sp.compare({"x": x, "y": y}, metrics=[metric], permutations=19, targets=["y"])
    assert_allclose(table.score, metric(x, y), rtol=1e-9)
    assert table.p[0] == 0.05
    few = sp.compare({"x": x, "y": y}, metrics=[metric], permutations=0, cv=2)
    assert few.why.str.contains("none to choose the number of components on; use more folds").all()


@pytest.mark.parametrize("units", [12, 60], ids=["few units", "more units than samples"])
@pytest.mark.parametrize("kind", [("r", "pooled"), ("r2", "pooled")], ids=["r", "r2"])
def test_influence_through_components_against_finite_differences(kind, units):
    """A sample that weighs a little more, in training and where it is scored, moves the score by its influence."""
    x, y = noisy(1, samples=40, units=units)
    label = np.arange(40) % 4
    metric = PrincipalComponentsMetric("three", kind, 3)
    rounds = tuple((fold, tuple(f for f in range(4) if f != fold)) for fold in range(4))
    ours = influence(metric.planned(Plan(rounds)), x, y, label, range(4))

    def score(weight):
        parts = []
        for fold in range(4):
            train, w = label != fold, weight[label != fold][:, None]
            mean_x, mean_y = (w * x[train]).sum(0) / w.sum(), (w * y[train]).sum(0) / w.sum()
            about, target = (x[train] - mean_x) * np.sqrt(w), (y[train] - mean_y) * np.sqrt(w)
            kept = np.linalg.svd(about, full_matrices=False)[2][:3].T
            fit = kept @ np.linalg.lstsq(about @ kept, target, rcond=None)[0]
            v = weight[~train][:, None]
            p, t = (x[~train] - mean_x) @ fit, y[~train] - mean_y
            residual = (v * (t - p) ** 2).sum()
            p, t = (z - (v * z).sum(0) / v.sum() for z in (p, t))
            r = (v * p * t).sum() / np.sqrt((v * p**2).sum() * (v * t**2).sum())
            parts.append(r if kind[0] == "r" else 1 - residual / (v * t**2).sum())
        return np.mean(parts)

    step, ones = 1e-4, np.ones(40)
    moved = [(score(ones + step * unit) - score(ones - step * unit)) / (2 * step) for unit in np.eye(40)]
    exact = 40 * np.array(moved)
    assert_allclose(ours - ours.mean(), exact - exact.mean(), atol=1e-3 * np.abs(exact).max())


@pytest.mark.parametrize("value", [0, 2.5, True, None])
def test_components_that_are_none(pair, value):
    with pytest.raises(DataError, match=r"components is .*; expected an integer of at least 1, or 'chosen'"):
        pls(*pair, components=value)


def test_float32_is_fitted_in_float64():
    x, y = (z.astype(np.float32) for z in related(60, 6, 4, seed=0))
    expected = PLS_R(x.astype(float), y.astype(float))
    assert_allclose(PLS_R(x, y), expected, rtol=1e-9)
    assert_allclose(sp.compare({"x": x, "y": y}, metrics=[PLS_R], permutations=0).score[0], expected, atol=1e-6)


@pytest.mark.parametrize("samples", [60, 200, 1000])
@pytest.mark.parametrize("steep", [0, 1, 7], ids=["level", "steep", "steeper"])
def test_penalties_from_float32_products_are_those_of_float64(samples, steep):
    """Where products in float32 leave a doubt the choice is made on those of float64."""
    certain = 0
    for seed in SEEDS:
        draw = np.random.default_rng(seed)
        z = draw.normal(size=(samples, 6))
        x = z @ draw.normal(size=(6, 40)) + 2 * draw.normal(size=(samples, 40))
        x, y = x * np.geomspace(1, 10.0**-steep, 40), z[:, :3] + 0.3 * x[:, :3]
        x, y = x.astype(np.float32), y.astype(np.float32)
        moments = of_pair(x, y, shuffled_folds(samples, 5))
        rough = _choices(moments, split_of(samples).plan, np.array(GRID))
        certain += all(choice.certain for choice in rough.values())
        expected = ridge(x.astype(float), y.astype(float))
        assert_allclose(ridge(x, y), expected, atol=2e-6)
        table = sp.compare({"x": x, "y": y}, metrics=["cka", "ridge_r"], permutations=0)
        assert_allclose(table.score[1], expected, atol=2e-6)
    assert (certain > 0) == (steep < 7)


def test_penalties_that_differ_are_told_apart_in_float64():
    """Predictors of a steep spectrum, targets along its tail: float32 cannot tell penalties apart, float64 must."""
    draw = np.random.default_rng(0)
    x = (draw.normal(size=(200, 20)) * np.geomspace(1, 1e-5, 20)).astype(np.float32)
    y = (x[:, 15:] * 1e5 + draw.normal(size=(200, 5))).astype(np.float32)
    choices = _choices(of_pair(x, y, shuffled_folds(200, 5)), split_of(200).plan, np.array(GRID))
    assert not any(choice.certain for choice in choices.values())
    assert_allclose(ridge(x, y), ridge(x.astype(float), y.astype(float)), rtol=1e-9)


def test_penalties_that_do_not_differ_need_no_float64():
    """Of many samples with little noise all small penalties are as good."""
    draw = np.random.default_rng(0)
    x = draw.normal(size=(3000, 5)).astype(np.float32)
    y = (x @ np.ones((5, 2)) + 0.1 * draw.normal(size=(3000, 2))).astype(np.float32)
    choices = _choices(of_pair(x, y, shuffled_folds(3000, 5)), split_of(3000).plan, np.array(GRID))
    assert all(choice.certain for choice in choices.values())
    assert_allclose(ridge(x, y), ridge(x.astype(float), y.astype(float)), atol=1e-6)


class TestPenaltiesByUnit:
    """Each unit as if it were the only one."""

    @staticmethod
    def targets(units=8, seed=0):
        draw = np.random.default_rng(seed)
        x = draw.normal(size=(43, units)) @ draw.normal(size=(units, units))
        noise = np.array([0.1, 1, 3, 10, 30])
        return x, x[:, :3] @ draw.normal(size=(3, 5)) + noise * draw.normal(size=(43, 5))

    @pytest.mark.parametrize("units", [8, 60], ids=["few units", "more units than samples"])
    def test_against_loops_of_scikit_learn(self, units):
        """Twice the same target: scikit-learn drops the axis of a single one."""
        x, y = self.targets(units)
        folds = shuffled_folds(43, 5)
        parts = [list(chosen_by_loops(x, y[:, [j, j]], folds)) for j in range(5)]
        assert len({part[0][2] for part in parts}) > 1
        for score in ("r", "r2"):
            expected = [mean_score(part, score) for part in parts]
            assert_allclose(ridge(x, y, penalty="unit", score=score, average=None), expected, atol=1e-6)
        alone = [float(ridge(x, y[:, [j]])) for j in range(5)]
        assert_allclose(ridge(x, y, penalty="unit", average="units"), np.mean(alone), atol=1e-6)

    def test_pooled_scores_by_loops(self):
        x, y = self.targets()
        each = [list(chosen_by_loops(x, y[:, [j, j]], shuffled_folds(43, 5))) for j in range(5)]
        parts = []
        for of_fold in zip(*each, strict=True):
            targets, predictions = (np.stack([one[side][:, 0] for one in of_fold], axis=1) for side in (0, 1))
            parts.append((targets, predictions))
        for score, metric in (("r", RIDGE_UNIT_R), ("r2", RIDGE_UNIT_R2)):
            expected = mean_score(parts, score)
            assert_allclose(ridge(x, y, penalty="unit", score=score), expected, atol=1e-6)
            row = sp.compare({"x": x, "y": y}, targets=["y"], metrics=[metric], permutations=0).iloc[0]
            assert_allclose(row.score, expected, atol=1e-6)

    def test_one_unit_has_the_penalty_of_its_pair(self):
        x, y = self.targets()
        assert_allclose(ridge(x, y[:, :1], penalty="unit"), ridge(x, y[:, :1]), atol=1e-7)

    @pytest.mark.parametrize("shape", [(30, 6, 4), (30, 50, 4), (30, 6, 70)], ids=["narrow", "wide", "wide target"])
    def test_units_of_wide_systems_are_those_of_two_arrays(self, shape):
        samples, units, targets = shape
        draw = np.random.default_rng(3)
        x = draw.normal(size=(samples, units))
        y = x[:, :3] @ draw.normal(size=(3, targets)) + draw.gamma(1, 2, size=targets) * draw.normal(
            size=(samples, targets)
        )
        each = ridge(x, y, penalty="unit", average=None)
        table = sp.compare(
            {"x": x, "y": y}, targets=["y"], metrics=[RIDGE_UNIT_R, RIDGE_UNIT_R_UNITS], permutations=3
        ).set_index("metric")
        assert_allclose(table.score["ridge_unit_r_units"], each.mean(), atol=1e-7)
        assert_allclose(table.score["ridge_unit_r"], ridge(x, y, penalty="unit"), atol=1e-7)
        assert table.error.notna().all()

    @pytest.mark.parametrize("kind", [("r", "pooled"), ("r2", "units")], ids=["r", "r2 by unit"])
    def test_influence_is_the_derivative_by_a_samples_weight(self, kind):
        """Under given penalties: one heavy one, so that none is chosen anew."""
        from superpose.metrics.unit_ridge import UnitRidgeMetric

        x, y = self.targets()
        fixed, pooled = UnitRidgeMetric("fixed", kind, (0.1,)), RidgeMetric("pooled", kind, (0.1,))
        table = sp.compare({"x": x, "y": y}, targets=["y"], metrics=[fixed, pooled], permutations=0)
        assert_allclose(table.score[0], table.score[1], rtol=1e-9)
        assert_allclose(table.error[0], table.error[1], rtol=1e-7)

    def test_repeats_are_scored_one_by_one(self):
        x, y = (np.stack(pair) for pair in zip(self.targets(seed=0), self.targets(seed=1), strict=True))
        expected = [ridge(one, other, penalty="unit") for one, other in zip(x, y, strict=True)]
        assert_allclose(ridge(x, y, penalty="unit"), expected, atol=1e-9)

    def test_units_of_unequal_noise_gain(self):
        draw = np.random.default_rng(0)
        x = draw.normal(size=(120, 80))
        y = x @ draw.normal(size=(80, 20)) + np.linspace(0.1, 40, 20) * draw.normal(size=(120, 20))
        by_unit, together = (ridge(x, y, penalty=p, score="r2", average="units") for p in ("unit", "pair"))
        assert by_unit > together + 0.02

    def test_an_unknown_penalty(self):
        with pytest.raises(DataError, match=r"penalty is 'units'; expected one of 'pair', 'unit'.*Did you mean 'unit'"):
            ridge(*self.targets(), penalty="units")
