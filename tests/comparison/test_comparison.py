"""The table of all pairs: its rows and columns, its scores, and its honesty about what is missing."""

import itertools
import sys
import tracemalloc
from dataclasses import dataclass, replace

import numpy as np
import oracles
import pandas as pd
import pytest
from conftest import related
from numpy.testing import assert_allclose
from pandas.testing import assert_frame_equal

import superpose as sp
from superpose.arrays import group_folds, shuffled_folds
from superpose.comparison import COLUMNS, tiles
from superpose.files import DataError
from superpose.metrics import (
    ALL,
    CKA,
    CKA_DEBIASED,
    DEFAULT,
    OLS_R,
    OLS_R2,
    PROCRUSTES,
    RSA,
    SHAPE,
    RegressionMetric,
)
from superpose.metrics.regression import fixed_ridge
from superpose.metrics.solving import factored


@pytest.fixture(scope="module")
def systems():
    draw = np.random.default_rng(0)
    z = draw.normal(size=(120, 10))
    return {
        "v1": z @ draw.normal(size=(10, 7)) + 3,
        "v4": z @ draw.normal(size=(10, 5)) + draw.normal(size=(120, 5)),
        "noise": draw.normal(size=(120, 6)) - 2,
    }


def score(table, a, b, metric):
    rows = table[(table.system_a == a) & (table.system_b == b) & (table.metric == metric)]
    assert len(rows) == 1
    return rows.iloc[0]


class TestTable:
    def test_rows_and_columns(self, systems):
        table = sp.compare(systems, permutations=0)
        assert tuple(table.columns) == COLUMNS
        pairs = [("v1", "v4"), ("v1", "noise"), ("v4", "noise")]
        for metric in DEFAULT:
            rows = table[table.metric == metric.name]
            found = list(zip(rows.system_a, rows.system_b, strict=True))
            expected = [way for a, b in pairs for way in ([(a, b), (b, a)] if metric.directed else [(a, b)])]
            assert found == expected
            assert (rows.directed == metric.directed).all()
        assert not (table.system_a == table.system_b).any()
        assert (table.samples == 120).all()
        assert score(table, "v1", "noise", "cka")[["units_a", "units_b"]].tolist() == [7, 6]
        assert score(table, "noise", "v1", "ridge_r")[["units_a", "units_b"]].tolist() == [6, 7]

    @pytest.mark.parametrize("permutations", [0, 3])
    def test_scores_are_those_of_the_metrics(self, systems, permutations):
        table = sp.compare(systems, metrics=ALL, permutations=permutations)
        for metric in ALL:
            for _, row in table[table.metric == metric.name].iterrows():
                expected = float(metric(systems[row.system_a], systems[row.system_b]))
                assert_allclose(row.score, expected, rtol=1e-9, err_msg=metric.name)

    def test_a_direction_is_first_predicts_second(self, systems):
        table = sp.compare(systems, metrics=[OLS_R], permutations=0)
        label = shuffled_folds(120, 5)
        for a, b in (("v1", "v4"), ("v4", "v1")):
            expected = oracles.regression(systems[a], systems[b], label)
            assert_allclose(score(table, a, b, "ols_r").score, expected, rtol=1e-9)

    def test_chosen_pairs_alone(self, systems):
        table = sp.compare(systems, pairs=[("noise", "v1")], metrics=[CKA, OLS_R], permutations=2)
        ways = [("noise", "v1"), ("noise", "v1"), ("v1", "noise")]
        assert list(zip(table.system_a, table.system_b, strict=True)) == ways
        assert_allclose(table.score[2], float(OLS_R(systems["v1"], systems["noise"])), rtol=1e-9)

    def test_float32_and_tensors_and_lists(self, systems):
        import torch

        expected = sp.compare(systems, permutations=0)
        for convert, tolerance in (
            (lambda x: x.astype(np.float32), 1e-5),
            (torch.tensor, 1e-12),
            (lambda x: x.tolist(), 1e-12),
        ):
            table = sp.compare({name: convert(x) for name, x in systems.items()}, permutations=0)
            assert_allclose(table.score, expected.score, atol=tolerance)
            assert_allclose(table.low, expected.low, atol=10 * tolerance)

    def test_repeats_are_numbered_and_scored_one_by_one(self):
        x, y = related(50, 4, 3, seed=0, repeats=(2, 2))
        table = sp.compare({"x": x, "y": y}, permutations=4)
        assert table.repeat.tolist() == sorted(table.repeat)
        assert set(table.repeat) == {0, 1, 2, 3}
        for number, index in enumerate(np.ndindex(2, 2)):
            single = sp.compare({"x": x[index], "y": y[index]}, permutations=4)
            part = table[table.repeat == number].drop(columns="repeat").reset_index(drop=True)
            pd.testing.assert_frame_equal(part, single)

    def test_the_inputs_are_left_alone(self, systems):
        before = {name: x.copy() for name, x in systems.items()}
        sp.compare(systems, permutations=2)
        assert all(np.array_equal(before[name], x) for name, x in systems.items())

    def test_progress_counts_to_the_end(self, systems):
        calls = []
        sp.compare(systems, permutations=2, progress=lambda *call: calls.append(call))
        pairs = [call for call in calls if call[0] == "pairs"]
        assert [done for _, done, _ in pairs] == [1, 2, 3]
        assert all(total == 3 for *_, total in pairs)
        nulls = {what: (done, total) for what, done, total in calls if what.startswith("null")}
        assert list(nulls.values()) == [(2, 2)] * 3


class TestDesign:
    def test_labelled_folds(self, systems):
        label = np.random.default_rng(1).integers(0, 4, 120)
        row = score(sp.compare(systems, metrics=[OLS_R], cv=label, permutations=0), "v1", "v4", "ols_r")
        assert_allclose(row.score, oracles.regression(systems["v1"], systems["v4"], label), rtol=1e-9)

    def test_in_sample(self, systems):
        row = score(sp.compare(systems, metrics=[OLS_R2], cv=None, permutations=0), "v1", "v4", "ols_r2")
        assert_allclose(row.score, sp.regression(systems["v1"], systems["v4"], cv=None, score="r2"), rtol=1e-9)

    def test_groups_make_folds_that_keep_them_whole(self, systems):
        groups = np.random.default_rng(1).integers(0, 30, 120)
        table = sp.compare(systems, metrics=[OLS_R], groups=groups, permutations=0)
        label = group_folds(groups, 5, seed=0)
        assert len(np.unique(label)) == 5
        assert_allclose(
            score(table, "v1", "v4", "ols_r").score, oracles.regression(systems["v1"], systems["v4"], label), rtol=1e-9
        )

    def test_groups_widen_intervals(self):
        draw = np.random.default_rng(2)
        z = np.repeat(draw.normal(size=(30, 6)), 6, axis=0)
        systems = {"x": z @ draw.normal(size=(6, 4)), "y": z @ draw.normal(size=(6, 4))}
        groups = np.repeat(np.arange(30), 6)
        label = group_folds(groups, 5, seed=0)
        apart, together = (
            sp.compare(systems, cv=label, permutations=0),
            sp.compare(systems, groups=groups, permutations=0),
        )
        assert_allclose(apart.score, together.score)
        assert ((together.high - together.low) > 1.5 * (apart.high - apart.low)).all()

    def test_one_fixed_split_scores_every_metric_on_the_test_samples(self, systems):
        mask = np.random.default_rng(3).random(120) < 0.4
        table = sp.compare(systems, test=mask, metrics=ALL, permutations=0)
        x, y = systems["v1"], systems["v4"]
        assert (table.samples == mask.sum()).all()
        assert_allclose(score(table, "v1", "v4", "cka").score, sp.cka(x[mask], y[mask]), rtol=1e-9)
        assert_allclose(score(table, "v1", "v4", "rsa").score, sp.rsa(x[mask], y[mask]), rtol=1e-9)
        expected = sp.regression(x, y, test=mask)
        assert_allclose(score(table, "v1", "v4", "ols_r").score, expected, rtol=1e-9)
        alone = sp.compare({"v1": x[mask], "v4": y[mask]}, permutations=0)
        for name in ("cka", "cka_debiased", "rsa"):
            ours, theirs = score(table, "v1", "v4", name), score(alone, "v1", "v4", name)
            assert_allclose(ours[["low", "high", "null"]].astype(float), theirs[["low", "high", "null"]].astype(float))

    def test_wide_systems(self):
        x, y = related(40, 300, 200, seed=1)
        table = sp.compare({"x": x, "y": y}, metrics=[*DEFAULT, OLS_R], permutations=3)
        assert_allclose(score(table, "x", "y", "cka").score, oracles.biased_cka(x, y), rtol=1e-9)
        assert score(table, "x", "y", "cka").units_a == 300
        missing = score(table, "x", "y", "ols_r")
        assert np.isnan(missing[["score", "low", "high", "null", "p"]].astype(float)).all()
        assert missing.why == (
            "32 training samples are not more than the predictors: no unique least-squares fit; use a ridge"
        )

    def test_a_ridge_of_one_s_own(self):
        x, y = related(40, 300, 200, seed=1)
        metric = RegressionMetric("ridge", ("r", "pooled"), fixed_ridge(3.0))
        row = score(sp.compare({"x": x, "y": y}, metrics=[metric], permutations=0), "x", "y", "ridge")
        assert_allclose(row.score, oracles.regression(x, y, shuffled_folds(40, 5), ridge=3.0), rtol=1e-8)


class TestOwnMetric:
    @dataclass(frozen=True)
    class Overlap:
        name: str = "overlap"
        directed: bool = True
        invariances: frozenset[str] = frozenset({"scale"})
        minimum_samples: int = 10

        def __call__(self, x, y):
            return np.corrcoef(x[:, 0], y[:, 1])[0, 1]

    def test_callables_are_scored_in_both_directions_with_a_null(self, systems):
        table = sp.compare(systems, metrics=[self.Overlap(), CKA], permutations=25)
        row = score(table, "v4", "v1", "overlap")
        assert_allclose(row.score, np.corrcoef(systems["v4"][:, 0], systems["v1"][:, 1])[0, 1])
        assert "no interval for this metric" in row.why
        assert np.isfinite(row.null)
        assert 0 < row.p <= 1

    def test_they_see_the_scored_samples_alone(self, systems):
        mask = np.arange(120) % 2 == 0
        row = score(sp.compare(systems, metrics=[self.Overlap()], test=mask, permutations=0), "v1", "v4", "overlap")
        assert_allclose(row.score, np.corrcoef(systems["v1"][mask, 0], systems["v4"][mask, 1])[0, 1])

    def test_too_few_samples_for_one_metric_leave_the_others(self, systems):
        few = {name: x[:8] for name, x in systems.items()}
        table = sp.compare(few, metrics=[self.Overlap(), CKA], cv=2, permutations=2)
        row = score(table, "v1", "v4", "overlap")
        assert np.isnan(row.score)
        assert row.why == "needs ≥ 10 samples; have 8"
        assert np.isfinite(score(table, "v1", "v4", "cka").score)


class TestMissing:
    def test_a_system_that_is_constant_over_the_scored_samples(self, systems, recwarn):
        mask = np.arange(120) < 30
        still = systems["v1"].copy()
        still[mask] = 0.1
        table = sp.compare({"still": still, "v4": systems["v4"]}, test=mask, permutations=3)
        whys = table.set_index(["system_a", "metric"]).why
        assert table.set_index(["system_a", "metric"]).score[("still", "cka")] is not None
        assert np.isnan(score(table, "still", "v4", "cka").score)
        assert whys[("still", "cka")] == "a system does not vary"
        assert whys[("still", "rsa")] == "a system's inner products do not vary over pairs of samples"
        assert whys[("still", "cka_debiased")] == "a system does not vary"
        assert "a target does not vary in a held-out fold" in whys[("v4", "ridge_r")]
        assert not [w for w in recwarn if issubclass(w.category, RuntimeWarning)]

    def test_three_samples_have_no_debiased_score(self):
        x, y = related(8, 2, 2, seed=0)
        table = sp.compare({"x": x, "y": y}, test=np.arange(8) < 3, permutations=0)
        assert score(table, "x", "y", "cka_debiased").why == "needs ≥ 4 samples; have 3"
        assert np.isfinite(score(table, "x", "y", "cka").score)

    def test_few_re_pairings_make_no_null(self, systems):
        groups = np.repeat([0, 1, 2], 40)
        row = score(sp.compare(systems, groups=groups, cv=3, permutations=5), "v1", "v4", "rsa")
        assert np.isnan(row.p)
        assert np.isnan(row.null)
        assert "no null: fewer than 20 distinct permutations" in row.why

    def test_metrics_without_an_interval_say_so(self, systems):
        row = score(sp.compare(systems, metrics=[replace(SHAPE, influence=None)], permutations=0), "v1", "v4", "shape")
        assert np.isnan(row.low)
        assert "no interval for this metric" in row.why


def test_a_re_pairing_that_is_the_true_one_counts_whatever_its_rounding():
    """Of four groups one in 24 permutations is the true one: no p is below about that share."""
    draw = np.random.default_rng(1)
    x = draw.normal(size=(200, 6))
    y = x + 0.5 * draw.normal(size=x.shape)
    for kind in (np.float32, np.float64):
        table = sp.compare(
            {"x": x.astype(kind), "y": y.astype(kind)},
            groups=np.repeat(np.arange(4), 50),
            metrics=[CKA, CKA_DEBIASED, RSA, OLS_R, OLS_R2],
            cv=None,
            permutations=499,
        )
        # The share of 499 draws has standard error √(1/24 · 23/24 / 499) = .009.
        assert (np.abs(table.p - 1 / 24) < 4 * 0.009).all()
        assert (table.p == table.p_adjusted).all()


class TestRefusals:
    @pytest.mark.parametrize("pair", [("v1", "v2"), ("v1", "v1"), ("v1",), ("v1", "v4", "noise")])
    def test_what_is_no_pair(self, systems, pair):
        with pytest.raises(DataError, match="is no pair of two systems; expected two of v1, v4, noise"):
            sp.compare(systems, pairs=[pair])

    @pytest.mark.parametrize("few", [{}, {"v1": np.ones((5, 2))}, [], [np.ones((5, 2))]])
    def test_fewer_than_two_systems(self, few):
        with pytest.raises(DataError, match=r"expected at least two systems, as \{name: array\}"):
            sp.compare(few)

    def test_a_constant_system_is_named(self, systems):
        with pytest.raises(DataError, match="dead does not vary: every unit is constant"):
            sp.compare({**systems, "dead": np.ones((120, 3))})
        with pytest.raises(DataError, match="y does not vary: every unit is constant"):
            sp.compare([systems["v1"], np.ones((120, 3))])

    def test_a_nan_is_named(self, systems):
        bad = systems["v4"].copy()
        bad[7, 2] = np.nan
        with pytest.raises(DataError, match=r"v4 has 1 NaN or infinite value\(s\), the first \(nan\) at row 7, unit 2"):
            sp.compare({**systems, "v4": bad})

    def test_unpaired_systems(self, systems):
        with pytest.raises(DataError, match="v1 has 120 samples and short has 100"):
            sp.compare({**systems, "short": np.random.default_rng(0).normal(size=(100, 3))})

    def test_unequal_repeats(self, systems):
        with pytest.raises(
            DataError, match=r"the systems have repeats \[\(\), \(2,\)\]; expected the same leading axes"
        ):
            sp.compare({"v1": systems["v1"], "v4": np.stack([systems["v4"]] * 2)})

    @pytest.mark.parametrize("permutations", [-1, 2.5, "many"])
    def test_permutations(self, systems, permutations):
        with pytest.raises(DataError, match=r"permutations is .*; expected an integer of at least 0"):
            sp.compare(systems, permutations=permutations)

    def test_two_metrics_of_one_name(self, systems):
        weak, strong = (RegressionMetric("ridge", ("r", "pooled"), fixed_ridge(alpha)) for alpha in (1.0, 1e4))
        with pytest.raises(DataError, match="two metrics have the same name, among ridge, ridge; give each its own"):
            sp.compare(systems, metrics=[weak, strong])

    def test_groups_of_another_length(self, systems):
        with pytest.raises(DataError, match=r"groups has shape \(5,\); expected one label per sample, \(120,\)"):
            sp.compare(systems, groups=[1, 2, 3, 4, 5])

    def test_groups_across_folds(self, systems):
        groups = np.repeat(np.arange(30), 4)
        with pytest.raises(DataError, match="a group has samples in more than one fold"):
            sp.compare(systems, groups=groups, cv=np.arange(120) % 5)

    def test_fewer_groups_than_folds(self, systems):
        with pytest.raises(DataError, match=r"cv is 5 with 3 group\(s\)"):
            sp.compare(systems, groups=np.repeat([0, 1, 2], 40))


def test_symmetric_scores_do_not_depend_on_order(systems):
    forward = sp.compare(systems, metrics=[CKA, CKA_DEBIASED, RSA, PROCRUSTES], permutations=0)
    backward = sp.compare(dict(reversed(systems.items())), metrics=[CKA, CKA_DEBIASED, RSA, PROCRUSTES], permutations=0)
    for _, row in forward.iterrows():
        twin = score(backward, row.system_b, row.system_a, row.metric)
        assert_allclose(row.score, twin.score, rtol=1e-12)
        assert_allclose([row.low, row.high], [twin.low, twin.high], rtol=1e-10)


@pytest.mark.parametrize(("memory", "times"), [("1GB", 4), (8 * 4 * 5 * 8 * 12**2 - 1, 5)])
def test_each_predictor_is_factored_once_a_fold_where_there_is_room(memory, times, monkeypatch):
    made = []
    # The function `regression` hides its module from a dotted name.
    module = sys.modules["superpose.metrics.regression"]
    monkeypatch.setattr(module, "factored", lambda gram, precision: made.append(1) or factored(gram, precision))
    systems = dict(zip("abcd", np.random.default_rng(0).normal(size=(4, 200, 12)), strict=True))
    sp.compare(systems, metrics=[sp.metrics.OLS_R], memory=memory, permutations=0)
    assert len(made) == 5 * times


def test_what_has_no_one_solution_is_not_factored(monkeypatch):
    module = sys.modules["superpose.metrics.regression"]
    monkeypatch.setattr(module, "factored", lambda gram, precision: pytest.fail("factored"))
    x, y = np.random.default_rng(0).normal(size=(2, 20, 30))
    assert sp.compare({"x": x, "y": y}, metrics=[sp.metrics.OLS_R], permutations=0).score.isna().all()


def test_tiles_give_the_scores_of_one_pass():
    draw = np.random.default_rng(0)
    z = draw.normal(size=(400, 6))
    systems = {name: z @ draw.normal(size=(6, 12)) + draw.normal(size=(400, 12)) for name in "abcdefg"}
    options = {"permutations": 5, "test": np.arange(400) % 4 == 0, "metrics": ALL}
    whole = sp.compare(systems, **options)
    square = 8 * 2 * 12**2
    # An eighth is for what fits make of systems' own sums.
    limit = (7 + 12 + 4) * square * 8 // 7 + 8
    grouped = tiles(list(itertools.combinations("abcdefg", 2)), dict.fromkeys("abcdefg", 12), 2, limit)
    # Blocks of two: (a b), (c d), (e f), (g), each with itself and with each other.
    assert len(grouped) == 9
    assert max(len(some) for some in grouped) == 4
    assert_frame_equal(sp.compare(systems, memory=limit, **options), whole, rtol=1e-9)
    assert_frame_equal(sp.compare(systems, memory="1B", **options), whole, rtol=1e-9)


@pytest.mark.slow
def test_a_tile_reads_each_of_its_systems_and_keeps_none(tmp_path):
    """Nothing of the size of the data is allocated, whatever is scored."""
    draw = np.random.default_rng(0)
    for name in "ab":
        np.save(tmp_path / f"{name}.npy", draw.normal(size=(120_000, 128)).astype(np.float16))
    systems = {name: np.load(tmp_path / f"{name}.npy", mmap_mode="r") for name in "ab"}
    # Long float16 arrays are widened by torch, whose import is no part of the sums.
    pytest.importorskip("torch")
    sp.compare({name: x[:1000] for name, x in systems.items()}, permutations=20)
    tracemalloc.start()
    sp.compare(systems, permutations=20)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 120_000 * 128 * 4


@pytest.mark.parametrize("memory", ["much", "0", "-1GB", "5 XB", 0])
def test_a_limit_that_is_none_is_refused(memory):
    x = np.random.default_rng(0).normal(size=(30, 2))
    with pytest.raises(DataError, match="expected a number of bytes, or text such as 512MB"):
        sp.compare({"a": x, "b": x}, memory=memory)


def test_files_that_are_mapped_give_the_table_of_arrays(tmp_path):
    systems = dict(zip("xy", related(200, 6, 5, seed=0), strict=True))
    mapped = {}
    for name, x in systems.items():
        np.save(tmp_path / f"{name}.npy", x.astype(np.float32))
        mapped[name] = np.load(tmp_path / f"{name}.npy", mmap_mode="r")
    held = {name: np.array(x) for name, x in mapped.items()}
    for options in ({}, {"test": np.arange(200) >= 150}, {"cv": None}, {"permutations": 5}):
        asked = {"permutations": 0, **options}
        assert_frame_equal(sp.compare(mapped, **asked), sp.compare(held, **asked), rtol=1e-5)


class TestWorkers:
    @pytest.mark.slow
    def test_scores_of_several_processes_are_those_of_one(self):
        draw = np.random.default_rng(0)
        z = draw.normal(size=(120, 4))
        systems = {name: z @ draw.normal(size=(4, 6)) + draw.normal(size=(120, 6)) for name in "abcde"}
        options = {"permutations": 25, "metrics": [*DEFAULT, TestOwnMetric.Overlap()], "groups": np.arange(120) // 2}
        told = []
        shared = sp.compare(systems, engine="local:2", progress=lambda *done: told.append(done), **options)
        assert_frame_equal(shared, sp.compare(systems, **options), rtol=1e-9)
        assert told[-1] == ("pairs", 10, 10)

    def test_repeats_and_one_pair(self):
        x, y = np.random.default_rng(0).normal(size=(2, 3, 40, 4))
        assert_frame_equal(
            sp.compare({"x": x, "y": y}, engine="local:3", permutations=0),
            sp.compare({"x": x, "y": y}, permutations=0),
            rtol=1e-9,
        )

    @pytest.mark.parametrize("engine", ["local:0", "local", "dask:2", 2, None])
    def test_engines_that_are_refused(self, engine):
        x, y = np.random.default_rng(0).normal(size=(2, 40, 4))
        with pytest.raises(DataError, match="expected 'serial', or 'local:N' for N processes"):
            sp.compare({"x": x, "y": y}, engine=engine)


def test_a_fold_of_one_group_has_no_interval(systems):
    table = sp.compare(systems, metrics=[OLS_R, RSA], groups=np.repeat(np.arange(5), 24), permutations=0)
    fitted = table[table.metric == "ols_r"]
    assert fitted.score.notna().all()
    assert fitted.error.isna().all()
    assert (fitted.why == "no interval: a held-out fold is of one group; use fewer folds").all()
    assert table[table.metric == "rsa"].error.notna().all()
    found = sp.contrast(systems, target="v1", metrics=[OLS_R], groups=np.repeat(np.arange(5), 24)).iloc[0]
    assert np.isnan(found.p)
    assert "a held-out fold is of one group" in found.why
