"""Standard errors, intervals, p-values and re-pairings; influence values against brute force."""

import numpy as np
import pytest
from conftest import related
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy.stats import t as student

import superpose as sp
from superpose.arrays import contiguous_folds, group_folds
from superpose.comparison import over_rows
from superpose.files import DataError
from superpose.metrics import CKA, CKA_DEBIASED, REGRESSION_R, REGRESSION_R2, RSA
from superpose.metrics.regression import split_plan
from superpose.moments import of_pair, reader, row_blocks
from superpose.statistics import draw, interval, p_value, repairings, standard_error

SYMMETRIC = [CKA, CKA_DEBIASED, RSA]


def influence(metric, x, y, folds=None, held_out=(0,)):
    """The library's influence values on the scale of all samples, by the steps that `compare` takes."""
    x, y = x - x.mean(0), y - y.mean(0)
    moments = of_pair(x, y, folds)
    sums = metric.sums(moments)
    labels = np.zeros(len(x), dtype=np.int64) if folds is None else folds
    read = tuple(reader(a, np.zeros(a.shape[1]), len(a)) for a in (x, y))
    blocks = [(fold, index) for fold, index in row_blocks(len(x), len(x), labels) if fold in held_out]
    (rows,) = over_rows([metric.row_sums(moments, sums)], read, blocks)
    if metric.own_rows is not None:
        own_x, own_y = (metric.own_rows(own) for own in (moments.x, moments.y))
        rows = (rows, *over_rows([lambda x, y, _: own_x(x), lambda x, y, _: own_y(y)], read, blocks))
    values = metric.influence(sums, rows)
    found = np.zeros(len(x))
    found[np.concatenate([np.arange(len(x))[index] for _, index in blocks])] = values * len(x) / len(values)
    return found


def jackknife(score, x, y):
    """The pseudo-values of leaving out one sample, less their mean."""
    n = len(x)
    left_out = np.array([score(np.delete(x, i, 0), np.delete(y, i, 0)) for i in range(n)])
    return (n - 1) * (left_out.mean() - left_out)


class TestInfluence:
    @pytest.mark.parametrize("metric", SYMMETRIC, ids=lambda m: m.name)
    @pytest.mark.parametrize(("noise", "units"), [(0.5, (12, 8)), (5.0, (12, 8)), (1.0, (60, 90))])
    def test_against_the_jackknife(self, metric, noise, units):
        x, y = related(150, *units, seed=1, noise=noise)
        exact, ours = jackknife(metric, x, y), influence(metric, x, y)
        assert np.corrcoef(exact, ours)[0, 1] > 0.99
        assert_allclose(standard_error(ours), standard_error(exact), rtol=0.05)

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

    @pytest.mark.parametrize("metric", [REGRESSION_R, REGRESSION_R2], ids=lambda m: m.name)
    @pytest.mark.parametrize("split", ["folds", "shuffled folds", "test"])
    def test_regression_against_a_change_of_each_sample_s_weight(self, metric, split):
        x, y = related(60, 7, 5, seed=4, noise=2.0)
        options = {
            "folds": {"folds": 5, "test": None},
            "shuffled folds": {"folds": np.random.default_rng(0).permutation(contiguous_folds(60, 4)), "test": None},
            "test": {"folds": 5, "test": np.arange(60) % 3 == 0},
        }[split]
        folds, plan = split_plan(60, **options)
        fits = []
        for held_out, training in plan.rounds:
            train = np.isin(folds, training)
            design = np.column_stack([np.ones(60), x])
            fits.append((folds == held_out, design @ np.linalg.lstsq(design[train], y[train])[0]))

        def score(weight):
            values = []
            for rows, prediction in fits:
                w, t, p = weight[rows, None], y[rows], prediction[rows]
                t0, p0 = (a - (w * a).sum(0) / w.sum() for a in (t, p))
                values.append(
                    (w * t0 * p0).sum() / np.sqrt((w * t0**2).sum() * (w * p0**2).sum())
                    if metric is REGRESSION_R
                    else 1 - (w * (t - p) ** 2).sum() / (w * t0**2).sum()
                )
            return np.mean(values)

        step = 1e-5
        numeric = [(score(1 + step * unit) - score(1 - step * unit)) / (2 * step) * 60 for unit in np.eye(60)]
        planned = metric.planned(plan)
        assert_allclose(score(np.ones(60)), planned.score(planned.sums(of_pair(x, y, folds))), rtol=1e-10)
        assert_allclose(influence(planned, x, y, folds, plan.held_out), numeric, rtol=1e-5, atol=1e-6)


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
    @pytest.mark.parametrize("metric", [*SYMMETRIC, REGRESSION_R], ids=lambda m: m.name)
    def test_is_the_spread_over_fresh_samples(self, metric):
        draw = np.random.default_rng(5)
        a, b = draw.normal(size=(20, 8)), draw.normal(size=(20, 10))
        scores, errors = [], []
        folds, plan = split_plan(400, 5, None)
        directed = metric is REGRESSION_R
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
            row = sp.compare({"x": x, "y": y}, metrics=[CKA_DEBIASED]).iloc[0]
            covered += row.low <= truth <= row.high
        assert 0.90 <= covered / 200 <= 0.99


class TestPValue:
    def test_counts_itself(self):
        null = np.arange(99.0)
        assert p_value(1000.0, null) == 1 / 100
        assert p_value(-1.0, null) == 1.0
        assert p_value(90.0, null) == (1 + 9) / 100


class TestRepairings:
    @given(st.integers(2, 60), st.integers(1, 4), st.integers(0, 10))
    def test_samples_stay_in_their_fold(self, samples, folds, seed):
        label = np.arange(samples) % folds
        for index in repairings(samples, label).draw(3, seed):
            assert np.array_equal(np.sort(index), np.arange(samples))
            assert np.array_equal(label[index], label)

    @given(st.lists(st.integers(0, 9), min_size=6, max_size=50), st.integers(0, 10))
    def test_groups_stay_whole_and_in_their_fold(self, groups, seed):
        groups = np.unique(groups, return_inverse=True)[1]
        label = group_folds(groups, 2) if groups.max() else np.zeros(len(groups), dtype=int)
        for index in repairings(len(groups), label, groups).draw(3, seed):
            assert np.array_equal(np.sort(index), np.arange(len(groups)))
            assert np.array_equal(label[index], label)
            for fold in np.unique(label):
                rows = np.flatnonzero(label == fold)
                rows = rows[np.argsort(groups[rows], kind="stable")]
                order = groups[index][rows]
                assert np.sum(np.diff(order) != 0) + 1 == len(np.unique(order)), "a group was torn apart"
                for group in np.unique(order):
                    members = index[rows][order == group]
                    assert np.array_equal(members, np.flatnonzero(groups == group))

    def test_equal_groups_move_as_blocks(self):
        groups = np.repeat(np.arange(10), 4)
        for index in repairings(40, None, groups).draw(5, 0):
            assert np.array_equal(index.reshape(10, 4) % 4, np.tile(np.arange(4), (10, 1)))

    def test_every_order_is_as_likely(self):
        draws = [tuple(index) for index in repairings(3).draw(3000, 1)]
        counts = [draws.count(order) for order in set(draws)]
        assert len(counts) == 6
        assert max(abs(c - 500) for c in counts) < 5 * np.sqrt(500)

    def test_the_seed_decides_and_more_draws_extend_fewer(self):
        pairings = repairings(30)
        few, many = list(pairings.draw(3, 5)), list(pairings.draw(6, 5))
        assert np.array_equal(few, many[:3])
        assert not np.array_equal(few, list(pairings.draw(3, 6)))

    def test_they_are_counted(self):
        # 3! = 6 and 4! = 24 lie on either side of the 20 that a null needs; folds multiply.
        assert not repairings(3).enough([0])
        assert repairings(4).enough([0])
        two_folds = repairings(6, np.array([0, 0, 0, 1, 1, 1]))
        assert two_folds.enough([0, 1])
        assert not two_folds.enough([1])
        assert not repairings(6, None, np.array([0, 0, 1, 1, 2, 2])).enough([0])

    def test_interleaved_groups_meet_whole_groups(self):
        groups = np.arange(20) % 5
        (index,) = repairings(20, None, groups).draw(1, 3)
        partner = groups[index]
        assert all(len(set(partner[groups == g])) == 1 for g in range(5))
        assert not np.array_equal(partner, groups)

    def test_a_group_in_two_folds_is_refused(self):
        with pytest.raises(
            DataError, match=r"a group has samples in more than one fold; make the folds with superpose\.arr"
        ):
            repairings(4, np.array([0, 0, 1, 1]), np.array([0, 1, 1, 2]))


class TestDraw:
    """Intervals from some of the samples."""

    def influences(self, n=2000, seed=0):
        return np.random.default_rng(seed).normal(size=n) ** 3

    def test_none_draws_all_and_gives_the_interval_of_all(self):
        values = self.influences()
        drawn = draw(slice(100, 2100), np.zeros(2100, dtype=np.int64), None, None, 0)
        assert drawn.index.tolist() == list(range(100, 2100))
        expected = interval(0.2, standard_error(values), 2000, (-1.0, 1.0))
        assert drawn.interval(0.2, values, (-1.0, 1.0)) == expected

    def test_the_width_is_that_of_all_on_average(self):
        values, folds = self.influences(), np.zeros(2000, dtype=np.int64)
        whole = standard_error(values)
        square = []
        for seed in range(200):
            drawn = draw(slice(0, 2000), folds, None, 500, seed)
            assert len(drawn.index) == 500
            low, high = drawn.interval(0.0, values[drawn.index], (-np.inf, np.inf))
            square.append(((high - low) / 2 / student.ppf(0.975, 499)) ** 2)
        # The mean of 200 squares is known to its own standard error.
        assert abs(np.mean(square) - whole**2) < 4 * np.std(square) / np.sqrt(200)

    def test_groups_are_drawn_whole_and_their_width_is_that_of_all(self):
        groups = np.repeat(np.arange(400), 5)
        values = np.repeat(self.influences(400), 5) + self.influences(seed=1) / 10
        folds = np.sort(groups % 4)
        square = []
        for seed in range(200):
            drawn = draw(slice(0, 2000), folds, groups, 500, seed)
            names, sizes = np.unique(drawn.groups, return_counts=True)
            assert (sizes == 5).all()
            assert len(names) == 100
            low, high = drawn.interval(0.0, values[drawn.index], (-np.inf, np.inf))
            square.append(((high - low) / 2 / student.ppf(0.975, 99)) ** 2)
        assert abs(np.mean(square) - standard_error(values, groups) ** 2) < 4 * np.std(square) / np.sqrt(200)

    def test_blocks_hold_every_drawn_sample_once_in_its_fold(self):
        folds = np.repeat([0, 1, 2], [30, 50, 40])
        for most in (None, 25):
            drawn = draw(slice(30, 120), folds, None, most, 3)
            found = [(fold, np.arange(120)[index]) for fold, index in drawn.blocks(16)]
            assert np.concatenate([index for _, index in found]).tolist() == drawn.index.tolist()
            assert all((folds[index] == fold).all() and len(index) <= 16 for fold, index in found)


def test_intervals_of_few_samples_are_near_those_of_all():
    x, y = related(4000, 6, 5, seed=0)
    whole, part = (sp.compare({"x": x, "y": y}, interval_samples=n) for n in (None, 1000))
    np.testing.assert_array_equal(part.score, whole.score)
    # A width from n samples is known to about sqrt(kurtosis / 4n).
    assert_allclose(part.high - part.low, whole.high - whole.low, rtol=0.2)
    assert (part.low != whole.low).all()


@pytest.mark.parametrize("samples", [0, 1, 2.5, "all"])
def test_too_few_samples_for_intervals_are_refused(samples):
    x = np.random.default_rng(0).normal(size=(30, 2))
    with pytest.raises(DataError, match=r"interval_samples is .*; expected an integer of at least 2, or None for all"):
        sp.compare({"a": x, "b": x}, interval_samples=samples)
