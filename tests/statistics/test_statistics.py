"""Standard errors, intervals, p-values and permutations; influence values against brute force."""

from functools import partial

import numpy as np
import pytest
from conftest import related
from hypothesis import given
from hypothesis import strategies as st
from jackknives import influence, jackknife
from numpy.testing import assert_allclose
from scipy.stats import t as student

import superpose as sp
from superpose.arrays import contiguous_folds
from superpose.files import DataError
from superpose.metrics import (
    CCA,
    CKA,
    CKA_DEBIASED,
    MATCHING_HARD,
    MATCHING_SOFT,
    OLS_R,
    PROCRUSTES,
    RSA,
    SVCCA,
    RegressionMetric,
)
from superpose.metrics.pls import PartialLeastSquaresMetric
from superpose.metrics.regression import fixed_ridge, relative_ridge
from superpose.metrics.ridge import RidgeMetric
from superpose.metrics.splits import split_of
from superpose.moments import of_pair
from superpose.statistics import (
    draw,
    familywise,
    holm,
    interval,
    one_sided_p,
    p_value,
    power,
    samples_needed,
    standard_error,
    two_sided_p,
    uncertainty,
)

SYMMETRIC = [CKA, CKA_DEBIASED, RSA]
BY_SHARES = [CCA, SVCCA, PROCRUSTES, MATCHING_HARD, MATCHING_SOFT]
KINDS = [("r", "pooled"), ("r2", "pooled"), ("r", "units"), ("r2", "units")]


def penalised(gram, joint, *, alpha=0.0, relative=0.0):
    """Weights under a penalty that is fixed, or relative to the mean variance of the predictors."""
    return np.linalg.solve(gram + (alpha + relative * np.trace(gram) / len(gram)) * np.eye(len(gram)), joint)


def through_components(gram, joint, *, components):
    """Weights of partial least squares that deflates the predictors: here rows with such products."""
    rows = np.linalg.cholesky(gram).T
    targets, left, scores = np.linalg.solve(rows.T, joint), rows, []
    for _ in range(components):
        scores.append(left @ np.linalg.svd(left.T @ targets)[0][:, :1])
        left = left - scores[-1] @ (scores[-1].T @ left) / (scores[-1].T @ scores[-1])
    scores = np.hstack(scores)
    return np.linalg.solve(rows, scores @ np.linalg.lstsq(scores, targets)[0])


# A metric of a kind, and its weights by another way.
FITS = {
    "unpenalised": (lambda kind: RegressionMetric("tried", kind), penalised),
    "fixed": (lambda kind: RegressionMetric("tried", kind, fixed_ridge(30.0)), partial(penalised, alpha=30.0)),
    "relative": (lambda kind: RegressionMetric("tried", kind, relative_ridge(0.3)), partial(penalised, relative=0.3)),
    "chosen": (lambda kind: RidgeMetric("tried", kind, grid=(0.3,)), partial(penalised, relative=0.3)),
    "few components": (
        lambda kind: PartialLeastSquaresMetric("tried", kind, components=1),
        partial(through_components, components=1),
    ),
    "components": (
        lambda kind: PartialLeastSquaresMetric("tried", kind, components=4),
        partial(through_components, components=4),
    ),
}






class TestInfluence:
    @pytest.mark.parametrize("metric", SYMMETRIC, ids=lambda m: m.name)
    @pytest.mark.parametrize(("noise", "units"), [(0.5, (12, 8)), (5.0, (12, 8)), (1.0, (60, 90))])
    def test_against_the_jackknife(self, metric, noise, units):
        x, y = related(150, *units, seed=1, noise=noise)
        exact, ours = jackknife(metric, x, y), influence(metric, x, y)
        assert np.corrcoef(exact, ours)[0, 1] > 0.99
        assert_allclose(standard_error(ours), standard_error(exact), rtol=0.05)

    @pytest.mark.parametrize("metric", BY_SHARES, ids=lambda m: m.name)
    def test_of_matched_directions_against_the_jackknife(self, metric):
        x, y = related(400, 7, 5, seed=1, noise=2.0)
        exact, ours = jackknife(metric, x, y), influence(metric, x, y)
        assert np.corrcoef(exact, ours)[0, 1] > 0.98
        assert_allclose(standard_error(ours), standard_error(exact), rtol=0.06)
        assert abs(ours.mean()) < 1e-10

    def test_an_angle_of_nothing_cannot_move(self):
        x, _ = related(50, 6, 5, seed=1)
        assert np.abs(influence(PROCRUSTES, x, -2 * x)).max() < 1e-6

    @pytest.mark.parametrize("metric", [CKA_DEBIASED, RSA], ids=lambda m: m.name)
    def test_wide_systems(self, metric):
        x, y = related(100, 1000, 1500, seed=2, latents=40)
        assert_allclose(standard_error(influence(metric, x, y)), standard_error(jackknife(metric, x, y)), rtol=0.08)

    @pytest.mark.parametrize("metric", [CKA_DEBIASED, RSA], ids=lambda m: m.name)
    def test_unrelated_wide_systems(self, metric):
        draw = np.random.default_rng(3)
        x, y = draw.normal(size=(60, 2000)), draw.normal(size=(60, 2000))
        assert_allclose(standard_error(influence(metric, x, y)), standard_error(jackknife(metric, x, y)), rtol=0.15)

    def test_influences_sum_to_nothing(self):
        x, y = related(150, 12, 8, seed=1)
        for metric in (CKA, RSA):
            assert abs(influence(metric, x, y).mean()) < 1e-10

    @pytest.mark.parametrize("kind", KINDS, ids="-".join)
    @pytest.mark.parametrize("fit", FITS)
    @pytest.mark.parametrize("split", ["folds", "shuffled folds", "test"])
    def test_of_a_fit_is_the_change_with_each_sample_s_weight(self, kind, fit, split):
        make, weights_of = FITS[fit]
        metric, n = make(kind), 60 if split == "test" else 90
        x, y = related(n, 9, 5, seed=4, noise=2.0)
        x = x * np.linspace(2, 0.5, 9)
        options = {
            "folds": {"cv": contiguous_folds(n, 5)},
            "shuffled folds": {"cv": np.random.default_rng(0).permutation(contiguous_folds(n, 4))},
            "test": {"test": np.arange(n) % 3 == 0},
        }[split]
        found = split_of(n, **options)
        folds, plan = found.folds, found.plan

        def score(weight):
            values = []
            for held_out, training in plan.rounds:
                rows, train = folds == held_out, np.isin(folds, training)
                # One fixed split takes its weights as given.
                v = (weight if split != "test" else np.ones(n))[train, None]
                mean_x, mean_y = ((v * part[train]).sum(0) / v.sum() for part in (x, y))
                left, right = x[train] - mean_x, y[train] - mean_y
                w = weights_of(left.T @ (v * left), left.T @ (v * right))
                p, t, v = mean_y + (x[rows] - mean_x) @ w, y[rows], weight[rows, None]
                t0, p0 = (a - (v * a).sum(0) / v.sum() for a in (t, p))
                over = None if kind[1] == "pooled" else 0
                scores = (
                    (v * t0 * p0).sum(over) / np.sqrt((v * t0**2).sum(over) * (v * p0**2).sum(over))
                    if kind[0] == "r"
                    else 1 - (v * (t - p) ** 2).sum(over) / (v * t0**2).sum(over)
                )
                values.append(np.mean(scores))
            return np.mean(values)

        step = 1e-5
        numeric = [(score(1 + step * unit) - score(1 - step * unit)) / (2 * step) * n for unit in np.eye(n)]
        planned = metric.planned(plan)
        assert_allclose(score(np.ones(n)), planned.score(planned.family.sums(of_pair(x, y, folds))), rtol=1e-9)
        assert_allclose(influence(planned, x, y, folds, plan.held_out), numeric, rtol=1e-5, atol=1e-5)


class TestStandardError:
    def test_of_a_mean(self):
        x = np.random.default_rng(0).normal(size=30)
        assert_allclose(standard_error(x - x.mean()), x.std(ddof=1) / np.sqrt(30), rtol=1e-12)

    def test_groups_are_summed_first(self):
        values, groups = np.array([1.0, 2.0, -1.0, -2.0]), np.array([0, 0, 1, 1])
        assert_allclose(standard_error(values, groups), np.sqrt(2 * (9 + 9)) / 4)
        assert standard_error(values, groups) > standard_error(values)

    def test_groups_of_one_are_samples(self):
        values = np.random.default_rng(0).normal(size=20)
        assert_allclose(standard_error(values, np.arange(20)), standard_error(values), rtol=1e-12)

    def test_groups_without_a_sample_do_not_count(self):
        values, groups = np.array([1.0, 2.0, -1.0, -2.0]), np.array([3, 3, 7, 7])
        assert_allclose(standard_error(values, groups), standard_error(values, np.array([0, 0, 1, 1])))

    def test_one_group_has_none(self):
        assert np.isnan(standard_error(np.ones(4), np.zeros(4, dtype=int)))
        assert np.isnan(standard_error(np.ones(1)))

    @pytest.mark.slow
    @pytest.mark.parametrize("metric", [*SYMMETRIC, OLS_R], ids=lambda m: m.name)
    def test_is_the_spread_over_fresh_samples(self, metric):
        draw = np.random.default_rng(5)
        a, b = draw.normal(size=(20, 8)), draw.normal(size=(20, 10))
        scores, errors = [], []
        folds, plan = contiguous_folds(400, 5), split_of(400).plan
        directed = metric is OLS_R
        planned = metric.planned(plan) if directed else metric
        for _ in range(200):
            z = draw.normal(size=(400, 20))
            x, y = z @ a, z @ b + draw.normal(size=(400, 10))
            scores.append(float(metric(x, y)))
            split = (folds, plan.held_out) if directed else ()
            errors.append(standard_error(influence(planned, x, y, *split)))
        # The spread of 200 scores is known to 5 %; regression takes its fitted weights as given.
        assert_allclose(np.mean(errors), np.std(scores, ddof=1), rtol=0.2 if directed else 0.15)

    def test_of_grouped_samples_is_the_spread_over_fresh_groups(self):
        draw = np.random.default_rng(6)
        a, b = draw.normal(size=(6, 5)), draw.normal(size=(6, 5))
        groups = np.repeat(np.arange(60), 5)
        scores, errors, naive = [], [], []
        for _ in range(150):
            z = np.repeat(draw.normal(size=(60, 6)), 5, axis=0) + 0.2 * draw.normal(size=(300, 6))
            x, y = z @ a, z @ b + 2 * np.repeat(draw.normal(size=(60, 5)), 5, axis=0)
            scores.append(float(RSA(x, y)))
            values = influence(RSA, x, y)
            errors.append(standard_error(values, groups))
            naive.append(standard_error(values))
        spread = np.std(scores, ddof=1)
        assert_allclose(np.mean(errors), spread, rtol=0.2)
        assert np.mean(naive) < 0.6 * spread


class TestInterval:
    def test_has_student_s_width(self):
        low, high = interval(0.5, 0.1, 21, (-1.0, 1.0))
        assert_allclose((low, high), 0.5 + np.array([-0.1, 0.1]) * student.ppf(0.975, 20))
        assert_allclose(interval(0.5, 0.1, 21, (-1.0, 1.0), level=0.5)[1], 0.5 + 0.1 * student.ppf(0.75, 20))

    def test_is_cut_to_the_range(self):
        assert interval(0.95, 0.1, 21, (0.0, 1.0))[1] == 1.0
        assert interval(0.05, 0.1, 21, (0.0, 1.0))[0] == 0.0

    def test_without_an_error_is_missing(self):
        assert np.isnan(interval(0.5, float("nan"), 21, (0.0, 1.0))).all()
        assert np.isnan(interval(0.5, 0.1, 1, (0.0, 1.0))).all()

    @pytest.mark.parametrize("groups", [None, np.array([0, 0, 3, 3, 4, 4, 4, 9])], ids=["samples", "groups"])
    def test_comes_with_its_error_and_the_groups_that_hold_samples(self, groups):
        values = np.random.default_rng(0).normal(size=8)
        error, count = standard_error(values, groups), 8 if groups is None else 4
        expected = (*interval(0.5, error, count, (0.0, 1.0)), error, count)
        assert uncertainty(0.5, values, (0.0, 1.0), groups) == expected
        drawn = draw(np.arange(0, 8), np.zeros(8, dtype=np.int64), groups, None, 0)
        assert_allclose(drawn.uncertainty(0.5, values, (0.0, 1.0)), expected, rtol=1e-12)

    def test_of_a_mean_of_folds_is_that_of_means_about_which_each_is_taken(self):
        # Four groups of two in the one fold, two in the other: a mean over folds of means of groups.
        values = np.random.default_rng(1).normal(size=6)
        folds, groups = np.repeat([0, 1], [8, 4]), np.repeat(np.arange(6), 2)
        drawn = draw(np.arange(0, 12), folds, groups, None, 0)
        parts = np.split(values, [4])
        influence = np.concatenate([(part - part.mean()) / len(part) / 2 * 6 for part in parts])[groups]
        expected = np.sqrt(sum(part.var(ddof=1) / len(part) for part in parts)) / 2
        assert_allclose(drawn.error(drawn.within_folds(influence))[0], expected)
        assert np.isnan(draw(np.arange(0, 12), folds, np.repeat([0, 1], [8, 4]), None, 0).within_folds(influence)).all()

    @pytest.mark.slow
    def test_covers(self):
        """95 % intervals of debiased CKA at 200 samples; a binomial share of 200 has standard error 1.5 %."""
        draw = np.random.default_rng(7)
        a, b = draw.normal(size=(20, 8)), draw.normal(size=(20, 10))
        truth = np.linalg.norm(a.T @ b) ** 2 / np.linalg.norm(a.T @ a) / np.linalg.norm(b.T @ b + 9 * np.eye(10))
        covered = 0
        for _ in range(200):
            z = draw.normal(size=(200, 20))
            x, y = z @ a, z @ b + 3 * draw.normal(size=(200, 10))
            row = sp.compare({"x": x, "y": y}, metrics=[CKA_DEBIASED], permutations=0).iloc[0]
            covered += row.low <= truth <= row.high
        assert 0.90 <= covered / 200 <= 0.99


class TestPValue:
    def test_counts_itself(self):
        null = np.arange(99.0)
        assert p_value(1000.0, null) == 1 / 100
        assert p_value(-1.0, null) == 1.0
        assert p_value(90.0, null) == (1 + 9) / 100


class TestSeveralTests:
    def test_familywise_by_hand(self):
        draw = np.random.default_rng(0)
        scores, nulls = draw.normal(1, 2, size=4), draw.normal([[0.0], [1.0], [-3.0], [0.5]], 2, size=(4, 99))
        whole = np.column_stack([scores, nulls])
        z = (whole - whole.mean(1, keepdims=True)) / whole.std(1, keepdims=True)
        largest = z[:, 1:].max(0)
        expected = [(1 + sum(m >= one for m in largest)) / 100 for one in z[:, 0]]
        assert_allclose(familywise(scores, nulls), expected)

    def test_one_score_has_its_own_p(self):
        nulls = np.random.default_rng(0).normal(size=(1, 99))
        assert familywise(np.array([1.2]), nulls)[0] == p_value(1.2, nulls[0])

    def test_any_false_alarm_is_as_rare_as_stated(self):
        """Of 20 dependent scores without an effect, the least p is below .05 in 5 % of 2,000 experiments."""
        draw = np.random.default_rng(1)
        common = draw.normal(size=(2000, 1, 100))
        drawn = 0.7 * common + draw.normal(size=(2000, 20, 100)) * np.arange(1, 21)[:, None]
        least = np.array([familywise(one[:, 0], one[:, 1:]).min() for one in drawn])
        # Standard error √(.05 · .95 / 2000) = .0049.
        assert abs((least <= 0.05).mean() - 0.05) < 4 * 0.0049

    def test_what_is_missing_takes_no_part(self):
        nulls = np.random.default_rng(0).normal(size=(3, 99))
        nulls[1, 7] = np.nan
        found = familywise(np.array([3.0, 2.0, np.nan]), nulls)
        assert np.isnan(found[1:]).all()
        assert found[0] == familywise(np.array([3.0]), nulls[:1])[0]
        assert np.isnan(familywise(np.array([np.nan]), nulls[:1])).all()

    def test_a_null_without_spread(self):
        assert familywise(np.array([1.0]), np.ones((1, 19)))[0] == 1

    @given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
    def test_holm_by_its_definition(self, values):
        p = np.array(values)
        ranked = sorted(range(len(p)), key=lambda i: p[i])
        expected, reached = np.empty(len(p)), 0.0
        for rank, i in enumerate(ranked):
            reached = max(reached, (len(p) - rank) * p[i])
            expected[i] = min(reached, 1.0)
        assert_allclose(holm(p), expected)
        assert (holm(p) >= p).all()

    def test_one_and_two_sides(self):
        assert_allclose(two_sided_p(0.3, 0.1, 20), 2 * student.sf(3, 19))
        assert two_sided_p(-0.3, 0.1, 20) == two_sided_p(0.3, 0.1, 20)
        assert_allclose(one_sided_p(0.3, 0.1, 20), student.sf(3, 19))
        assert_allclose(one_sided_p(-0.3, 0.1, 20), student.cdf(3, 19))
        assert two_sided_p(0.0, 0.0, 20) == one_sided_p(0.0, 0.0, 20) == 1
        assert two_sided_p(0.1, 0.0, 20) == one_sided_p(0.1, 0.0, 20) == 0
        assert np.isnan(two_sided_p(0.1, np.nan, 20))
        assert np.isnan(one_sided_p(0.1, 0.1, 1))


class TestPower:
    def test_against_drawn_experiments(self):
        draw = np.random.default_rng(0)
        # A mean of .3 standard deviations, piloted with 50 samples and to be tested with 80.
        experiments = draw.normal(0.3, 1, size=(4000, 80))
        z = experiments.mean(1) / (1 / np.sqrt(80))
        # Standard error of a share of about .77 among 4,000 is .0067.
        assert abs((np.abs(z) > 1.959964).mean() - power(0.3, 1 / np.sqrt(50), 50, 80)) < 4 * 0.0067

    @given(st.floats(0.01, 1), st.floats(0.01, 1), st.integers(2, 500), st.floats(0.5, 0.99))
    def test_samples_needed_are_the_fewest(self, difference, error, samples, wanted):
        needed = samples_needed(difference, error, samples, power=wanted)
        assert power(difference, error, samples, needed) > wanted - 1e-9
        if needed > 1:
            # The far tail, which the inverse leaves out, is at most 2.5 %, and far less where power is above a half.
            assert power(difference, error, samples, needed - 1) < wanted + 1e-3
        assert needed == samples_needed(-difference, error, samples, power=wanted)

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            ((0.0, 0.1, 10, 20), "difference is 0.0; expected a number other than 0"),
            ((0.1, 0.0, 10, 20), "a standard error of 0.0 from 10 samples; expected one above 0, from 2 or more"),
            ((0.1, 0.1, 1, 20), "a standard error of 0.1 from 1 samples"),
            ((0.1, 0.1, 10, 0), "planned is 0; expected at least 1 sample"),
        ],
    )
    def test_refusals(self, arguments, words):
        with pytest.raises(DataError, match=words):
            power(*arguments)

    def test_shares_out_of_range(self):
        with pytest.raises(DataError, match="level is 1; expected a number between 0 and 1"):
            power(0.1, 0.1, 10, 20, level=1)
        with pytest.raises(DataError, match="power is 1; expected a number between 0 and 1"):
            samples_needed(0.1, 0.1, 10, power=1)


class TestDraw:
    """Intervals from some of the samples."""

    def influences(self, n=2000, seed=0):
        return np.random.default_rng(seed).normal(size=n) ** 3

    def test_none_draws_all_and_gives_the_interval_of_all(self):
        values = self.influences()
        drawn = draw(np.arange(100, 2100), np.zeros(2100, dtype=np.int64), None, None, 0)
        assert drawn.index.tolist() == list(range(100, 2100))
        assert drawn.error(values) == (standard_error(values), 2000)

    def test_at_least_a_thousand_groups(self):
        groups = np.repeat(np.arange(1500), 2)
        drawn = draw(np.arange(0, 3000), np.zeros(3000, dtype=np.int64), groups, 10, 0)
        assert len(np.unique(drawn.groups)) == 1000

    def test_the_width_is_that_of_all_on_average(self, monkeypatch):
        monkeypatch.setattr("superpose.statistics.sampling.GROUPS", 2)
        values, folds = self.influences(), np.zeros(2000, dtype=np.int64)
        whole = standard_error(values)
        square = []
        for seed in range(200):
            drawn = draw(np.arange(0, 2000), folds, None, 500, seed)
            assert len(drawn.index) == 500
            error, count = drawn.error(values[drawn.index])
            assert count == 500
            square.append(error**2)
        # The mean of 200 squares is known to its own standard error.
        assert abs(np.mean(square) - whole**2) < 4 * np.std(square) / np.sqrt(200)

    def test_groups_are_drawn_whole_and_their_width_is_that_of_all(self, monkeypatch):
        monkeypatch.setattr("superpose.statistics.sampling.GROUPS", 2)
        groups = np.repeat(np.arange(400), 5)
        values = np.repeat(self.influences(400), 5) + self.influences(seed=1) / 10
        folds = np.sort(groups % 4)
        square = []
        for seed in range(200):
            drawn = draw(np.arange(0, 2000), folds, groups, 500, seed)
            names, sizes = np.unique(drawn.groups, return_counts=True)
            assert (sizes == 5).all()
            assert len(names) == 100
            error, count = drawn.error(values[drawn.index])
            assert count == 100
            square.append(error**2)
        assert abs(np.mean(square) - standard_error(values, groups) ** 2) < 4 * np.std(square) / np.sqrt(200)

    def test_blocks_hold_every_drawn_sample_once_in_its_fold(self):
        folds = np.repeat([0, 1, 2], [30, 50, 40])
        for most in (None, 25):
            drawn = draw(np.arange(30, 120), folds, None, most, 3)
            found = [(fold, np.arange(120)[index]) for fold, index in drawn.blocks(16)]
            assert np.concatenate([index for _, index in found]).tolist() == drawn.index.tolist()
            assert all((folds[index] == fold).all() and len(index) <= 16 for fold, index in found)


def test_intervals_of_few_samples_are_near_those_of_all():
    x, y = related(4000, 6, 5, seed=0)
    whole, part = (sp.compare({"x": x, "y": y}, interval_samples=n, permutations=0) for n in (None, 1000))
    np.testing.assert_array_equal(part.score, whole.score)
    # A width from n samples is known to about sqrt(kurtosis / 4n).
    assert_allclose(part.high - part.low, whole.high - whole.low, rtol=0.2)
    assert (part.low != whole.low).all()


@pytest.mark.slow
def test_errors_of_debiased_scores_near_zero_are_those_of_the_jackknife():
    """Rows of one size in both systems: the terms that make HSIC unbiased are then as large as what is left of it."""
    ratios = []
    for seed in range(60):
        draw = np.random.default_rng((100, seed))
        size = np.exp(draw.normal(size=(100, 1)))
        x, y = size * draw.normal(size=(100, 4)), size * draw.normal(size=(100, 4))
        exact = standard_error(jackknife(CKA_DEBIASED, x, y))
        ratios.append(standard_error(influence(CKA_DEBIASED, x, y)) / exact)
    # With such tails neither is exact.
    assert 0.5 < np.median(ratios) < 1.1
    assert 0.2 < min(ratios) <= max(ratios) < 2


@pytest.mark.parametrize("samples", [0, 1, 2.5, "all"])
def test_too_few_samples_for_intervals_are_refused(samples):
    x = np.random.default_rng(0).normal(size=(30, 2))
    with pytest.raises(DataError, match=r"interval_samples is .*; expected an integer of at least 2, or None for all"):
        sp.compare({"a": x, "b": x}, interval_samples=samples)
