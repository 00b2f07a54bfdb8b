"""Layers and a target: against `compare` and `contrast`, loops of scikit-learn and NumPy, and brute-force maxima."""

import doctest
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from oracles import chosen_by_loops, debiased_cka, mean_score
from pandas.testing import assert_frame_equal
from scipy.stats import f_oneway

import superpose as sp
from superpose.ceilings import Trials, of_units
from superpose.comparison import design_of
from superpose.depth.tables import BEST, DIFFERENCES, TABLE, UNITS
from superpose.files import DataError
from superpose.metrics import CKA_DEBIASED, OLS_R2, RIDGE_R, RIDGE_R2, SHAPE

SAMPLES, UNITS_OF_TARGET, REPEATS = 120, 9, 4
SPREADS = (3.0, 1.0, 0.4, 0.5, 2.0)


def network(seed=0, widths=(6, 7, 8, 7, 6)):
    """Layers that share five latents with a target, the third the most; two of its units hold noise alone."""
    draw = np.random.default_rng(seed)
    z = draw.normal(size=(SAMPLES, 5))
    layers = {
        f"layer{i}": z @ draw.normal(size=(5, width)) + spread * draw.normal(size=(SAMPLES, width))
        for i, (spread, width) in enumerate(zip(SPREADS, widths, strict=True), start=1)
    }
    gain = np.r_[0, 0, np.linspace(0.5, 2, UNITS_OF_TARGET - 2)]
    signal = gain * (z @ draw.normal(size=(5, UNITS_OF_TARGET)))
    return layers, signal + draw.normal(size=(REPEATS, SAMPLES, UNITS_OF_TARGET))


@pytest.fixture(scope="module")
def data():
    return network()


@pytest.fixture(scope="module")
def found(data):
    layers, trials = data
    return sp.layers(layers, target=trials, metrics=[RIDGE_R, CKA_DEBIASED], permutations=49)


class TestTable:
    def test_columns_and_order(self, found):
        timeless = {"time"}
        for table, columns in ((found.table, TABLE), (found.best, BEST), (found.differences, DIFFERENCES)):
            assert tuple(table.columns) == tuple(c for c in columns if c not in timeless)
        assert tuple(found.units.columns) == tuple(c for c in UNITS if c != "time")
        assert found.table.layer.tolist() == [f"layer{i}" for i in range(1, 6)] * 2
        assert found.table.depth.tolist() == list(range(5)) * 2

    def test_scores_are_those_of_compare(self, data, found):
        layers, trials = data
        systems = {**layers, "target": trials.mean(axis=0)}
        expected = sp.compare(systems, targets=["target"], metrics=[RIDGE_R, CKA_DEBIASED], permutations=49)
        expected = expected.sort_values("metric", ascending=False, kind="stable", ignore_index=True)
        shown = ["score", "low", "high", "error", "null", "null_low", "null_high", "p", "p_adjusted", "calibrated"]
        ours = found.table[["metric", *shown]]
        assert_frame_equal(ours, expected[["metric", *shown]], rtol=1e-10, check_dtype=False)

    def test_ridge_by_loops_of_scikit_learn(self, data, found):
        layers, trials = data
        mean = trials.mean(axis=0)
        folds = design_of(SAMPLES).folds
        ridge = found.table[found.table.metric == "ridge_r"].set_index("layer")
        units = found.units.set_index(["layer", "unit"])
        for name, x in layers.items():
            parts = list(chosen_by_loops(x, mean, folds))
            assert_allclose(ridge.score[name], mean_score(parts), atol=1e-6)
            each = mean_score(parts, "r", None)
            assert_allclose(units.score[name].to_numpy(), each, atol=1e-6)
            assert_allclose(ridge["median"][name], np.median(each), atol=1e-6)

    def test_ceilings_by_hand(self, data, found):
        """Per fold: noise of the mean, from trials about their means and those of repeats, over its variance."""
        _, trials = data
        folds = design_of(SAMPLES).folds
        lost, pooled = [], []
        for fold in range(5):
            x = trials[:, folds == fold]
            n, mean = x.shape[1], x.mean(axis=0)
            left = x - mean - x.mean(axis=1, keepdims=True) + mean.mean(axis=0)
            noise = (left**2).sum(axis=(0, 1)) / ((REPEATS - 1) * (n - 1)) / REPEATS
            variance = mean.var(axis=0, ddof=1)
            lost.append(noise / variance)
            pooled.append(noise.sum() / variance.sum())
        ridge = found.table[found.table.metric == "ridge_r"]
        assert_allclose(ridge.ceiling, np.sqrt(1 - np.mean(pooled)), rtol=1e-6)
        assert_allclose(ridge.ratio, ridge.score / ridge.ceiling, rtol=1e-12)
        expected = np.sqrt(np.maximum(1 - np.mean(lost, axis=0), 0))
        for _, rows in found.units.groupby("layer"):
            assert_allclose(rows.ceiling, expected, rtol=1e-6)
            sure = rows[rows.reliable]
            assert_allclose(sure.ratio, sure.score / expected[rows.reliable], rtol=1e-6)
            assert rows.ratio[~rows.reliable].isna().all()

    def test_kernel_ceilings_are_those_of_pairs(self, data, found):
        layers, trials = data
        table = sp.ceilings.of_pairs(
            {**layers, "target": trials}, pairs=[(name, "target") for name in layers], metrics=[CKA_DEBIASED]
        )
        ours = found.table[found.table.metric == "cka_debiased"]
        columns = ["ceiling", "ceiling_low", "ceiling_high"]
        assert_allclose(ours[columns], table[columns], rtol=1e-12)
        assert (ours.why == "").all()

    def test_a_target_without_trials_has_no_ceiling(self, data):
        layers, trials = data
        result = sp.layers(layers, target=trials[0], permutations=0)
        assert result.table.ceiling.isna().all()
        assert result.units.ceiling.isna().all()
        assert result.table["median"].notna().all()
        assert result.table.median_ratio.isna().all()

    def test_one_of_the_systems_by_its_name(self, data):
        layers, trials = data
        named = sp.layers({"V4": trials.mean(axis=0), **layers}, target="V4", permutations=0)
        given = sp.layers(layers, target=trials.mean(axis=0), permutations=0)
        assert named.table.target.unique().tolist() == ["V4"]
        assert_frame_equal(named.table.drop(columns="target"), given.table.drop(columns="target"))


class TestChoice:
    def test_the_maximum_over_permutations_by_brute_force(self, data, found):
        layers, trials = data
        mean = trials.mean(axis=0)
        orders = list(design_of(SAMPLES, permutations=49).exchange.draw(49, 0))
        nulls = np.array([[debiased_cka(x, mean[order]) for order in orders] for x in layers.values()])
        scores = np.array([debiased_cka(x, mean) for x in layers.values()])
        row = found.best[found.best.metric == "cka_debiased"].iloc[0]
        largest = nulls.max(axis=0)
        assert row.layer == list(layers)[scores.argmax()]
        assert_allclose(row.null, largest.mean(), atol=1e-6)
        assert row.p == (1 + (largest >= scores.max()).sum()) / 50
        critical = np.quantile(np.append(largest, scores.max()), 0.95)
        assert_allclose(row.critical, critical, atol=1e-6)
        assert_allclose(row.calibrated, (scores.max() - largest.mean()) / (1 - largest.mean()), atol=1e-6)
        assert_allclose(row.gated, (scores.max() - critical) / (1 - critical), atol=1e-6)

    def test_a_distance_is_best_where_it_is_least(self, data):
        layers, trials = data
        result = sp.layers(layers, target=trials.mean(axis=0), metrics=[SHAPE], permutations=19)
        row = result.best.iloc[0]
        assert row.score == result.table.score.min()
        assert row.critical < row.null
        assert 0 < row.gated < row.calibrated < 1
        assert row.p == 0.05

    def test_unrelated_layers_gate_to_zero(self):
        draw = np.random.default_rng(0)
        layers = {f"layer{i}": draw.normal(size=(60, 5)) for i in range(4)}
        row = sp.layers(layers, target=draw.normal(size=(60, 5)), permutations=99).best.iloc[0]
        assert row.p > 0.05
        assert row.gated == 0

    def test_copies_of_the_best_layer_are_not_told_from_it(self, data):
        layers, trials = data
        turned = layers["layer3"] @ np.linalg.qr(np.random.default_rng(0).normal(size=(8, 8)))[0]
        result = sp.layers({**layers, "turned": turned}, target=trials, permutations=0)
        table = result.table.set_index("layer")
        assert table.best_p["layer3"] > 0.05
        assert table.best_p["turned"] > 0.05
        assert table.best_p["layer1"] < 0.05
        assert {result.best.layer[0], *result.best.rivals[0].split(", ")} >= {"layer3", "turned"}

    def test_neighbours_differ_as_in_contrast(self, data, found):
        layers, trials = data
        table = sp.contrast({**layers, "V4": trials.mean(axis=0)}, target="V4", metrics=[RIDGE_R, CKA_DEBIASED])
        expected = table.set_index(["metric", "system_a", "system_b"])
        for row in found.differences.itertuples():
            other = expected.loc[(row.metric, row.layer_a, row.layer_b)]
            assert_allclose(row.difference, -other.difference, rtol=1e-9)
            assert_allclose([row.low, row.high, row.error], [-other.high, -other.low, other.error], rtol=1e-9)
            assert_allclose(row.p, other.p, rtol=1e-9)

    def test_no_permutations_no_p(self, data):
        layers, trials = data
        result = sp.layers(layers, target=trials, permutations=0)
        assert result.best.p.isna().all()
        assert "no p-value was computed" in result.sentences[0]


class TestUnits:
    def test_signal_by_analysis_of_variance(self, data):
        """Without the means of repeats, of which the trials here have none but by chance."""
        _, trials = data
        x = trials - trials.mean(axis=1, keepdims=True)
        table = of_units(trials)
        for unit, p in enumerate(table.signal_p):
            statistic = f_oneway(*x[:, :, unit].T).statistic
            within = SAMPLES * (REPEATS - 1)
            # f_oneway counts the means of repeats among the degrees of freedom.
            ours = statistic * (within - (REPEATS - 1)) / within
            from scipy.stats import f

            assert_allclose(p, f.sf(ours, SAMPLES - 1, within - (REPEATS - 1)), rtol=1e-8, atol=1e-300)

    def test_units_without_signal_are_named(self, found):
        unreliable = set(found.units.unit[~found.units.reliable.astype(bool)])
        assert unreliable >= {0, 1} or found.units[found.units.unit < 2].signal_p.min() < 0.05
        assert any("units show no reliable signal" in warning for warning in found.warnings)

    def test_a_score_above_its_ceiling_is_said(self, data):
        """The target's own mean over trials as a layer: it predicts the noise as well."""
        layers, trials = data
        result = sp.layers({**layers, "itself": trials.mean(axis=0)}, target=trials, permutations=0)
        units = result.units[result.units.layer == "itself"]
        above = units[units.ratio > 1]
        assert len(above) > 3
        assert above.why.str.contains("above its ceiling").all()
        assert any("scores of units are above their ceiling" in w and "itself" in w for w in result.warnings)
        assert any("score above its ceiling" in warning for warning in result.warnings)

    def test_a_wide_target_keeps_its_units(self):
        draw = np.random.default_rng(0)
        z = draw.normal(size=(30, 3))
        layers = {name: z + draw.normal(size=z.shape) for name in "ab"}
        target = z @ draw.normal(size=(3, 70)) + draw.normal(size=(30, 70))
        result = sp.layers(layers, target=target, permutations=5)
        for name, x in layers.items():
            units = result.units[result.units.layer == name]
            assert_allclose(units.score, sp.metrics.ridge(x, target, average=None), atol=1e-8)
        assert result.table.metric.unique().tolist() == ["ridge_r"]

    def test_mean_over_units_and_pooled_share_their_units(self, data):
        layers, trials = data
        result = sp.layers(layers, target=trials, metrics=["ridge_r", "ridge_r_units", "ridge_r2"], permutations=0)
        units = result.units.set_index(["metric", "layer", "unit"]).score
        assert_allclose(units["ridge_r"], units["ridge_r_units"], rtol=1e-12)
        mean = result.table[result.table.metric == "ridge_r_units"].set_index("layer").score
        for layer in layers:
            assert_allclose(units["ridge_r_units"][layer].mean(), mean[layer], rtol=1e-10)


class TestTimes:
    @pytest.fixture(scope="class")
    @staticmethod
    def moving(data):
        """Responses that follow the layers one after the other, (repeats, samples, units, times)."""
        layers, _ = data
        draw = np.random.default_rng(5)
        names = ["layer3", "layer4", "layer1"]
        signals = [layers[name] @ draw.normal(size=(layers[name].shape[1], 4)) for name in names]
        still = draw.normal(size=(SAMPLES, 4))
        return np.stack([still, *signals], axis=-1) + draw.normal(size=(3, SAMPLES, 4, 4))

    @pytest.mark.slow
    def test_each_time_is_a_target_of_its_own(self, data, moving):
        layers, _ = data
        result = sp.layers(layers, target=moving, times=[0, 50, 100, 150], permutations=19)
        assert result.table.time.tolist() == np.repeat([0, 50, 100, 150], 5).tolist()
        for place, time in enumerate([0, 50, 100, 150]):
            alone = sp.layers(layers, target=moving[..., place], permutations=19)
            for name in ("table", "differences", "units"):
                ours = getattr(result, name)
                ours = ours[ours.time == time].drop(columns=["time", "p_adjusted"], errors="ignore")
                other = getattr(alone, name).drop(columns="p_adjusted", errors="ignore")
                assert_frame_equal(ours.reset_index(drop=True), other, check_dtype=False, rtol=1e-9)
        assert result.best.layer.tolist()[1:] == ["layer3", "layer4", "layer1"]

    def test_other_ways_of_saying_times(self, data, moving):
        xarray = pytest.importorskip("xarray")
        layers, _ = data
        mean = moving.mean(axis=0)
        plain = sp.layers(layers, target=mean, times=[0.0, 0.1, 0.2, 0.3], permutations=0)
        mapped = {time: mean[..., i] for i, time in enumerate((0.0, 0.1, 0.2, 0.3))}
        named = xarray.DataArray(mean, dims=("x", "unit", "time"), coords={"time": [0.0, 0.1, 0.2, 0.3]})
        for target in (mapped, named):
            assert_frame_equal(sp.layers(layers, target=target, permutations=0).table, plain.table)

    def test_of_unrelated_responses_no_time_is_told_from_chance(self, data):
        layers, _ = data
        noise = np.random.default_rng(8).normal(size=(SAMPLES, 4, 2))
        result = sp.layers(layers, target=noise, times=[0, 50], permutations=9)
        assert result.sentences[1] == (
            "At no time is the best layer closer to target than chance takes the best of 5 layers and 2 times."
        )

    def test_sentences_and_picture(self, data, moving):
        layers, _ = data
        result = sp.layers(layers, target=moving, times=[0, 50, 100, 150], permutations=19)
        assert result.sentences[0].startswith("target is predicted best at ")
        assert len(result.plot().axes) == 2

    @pytest.mark.parametrize(
        ("times", "shape", "words"),
        [
            ([0, 1], (20, 3, 3), "has shape (20, 3, 3) for 2 times; expected (samples, units, times)"),
            ([0, 1], (20, 2), "has shape (20, 2) for 2 times"),
            ([1, 1], (20, 3, 2), "times names a time twice"),
        ],
    )
    def test_times_that_do_not_fit(self, times, shape, words):
        layers = {name: np.random.default_rng(0).normal(size=(20, 3)) for name in "ab"}
        with pytest.raises(DataError) as error:
            sp.layers(layers, target=np.zeros(shape), times=times)
        assert words in str(error.value)


class TestRecordings:
    def labelled(self, data):
        layers, trials = data
        draw = np.random.default_rng(3)
        order = draw.permutation(REPEATS * SAMPLES)
        names = np.array([f"image{i}" for i in range(SAMPLES)])
        rows = trials.reshape(-1, UNITS_OF_TARGET)
        v4 = sp.Recording(
            "V4", rows[order], np.tile(names, REPEATS)[order], repeats=np.repeat(np.arange(REPEATS), SAMPLES)[order]
        )
        return {name: pd.DataFrame(x, index=names) for name, x in layers.items()}, v4

    def test_trials_of_a_recording_give_the_ceiling(self, data, found):
        frames, v4 = self.labelled(data)
        with pytest.warns(UserWarning, match="480 trials of 120 stimuli are averaged"):
            result = sp.layers(frames, target=v4, metrics=[RIDGE_R, CKA_DEBIASED], permutations=49)
        assert result.table.target.unique().tolist() == ["V4"]
        shown = ["score", "low", "high", "ceiling", "ceiling_low", "p", "median_ratio"]
        # Passes over the stimuli are told apart by the order in which they first appear: halves differ.
        ridge = result.table.metric == "ridge_r"
        assert_allclose(result.table[ridge][shown], found.table[ridge][shown], rtol=1e-8)
        assert_allclose(result.table.ceiling, found.table.ceiling, rtol=0.05)

    def test_trials_as_they_are(self, data, found):
        layers, trials = data
        given = Trials("V4", trials, np.ones(trials.shape[:2], dtype=bool))
        result = sp.layers(layers, target=given, permutations=0)
        assert_allclose(result.table.ceiling, found.table.ceiling[found.table.metric == "ridge_r"], rtol=1e-12)
        assert result.table.target[0] == "V4"


class TestErrors:
    @pytest.mark.parametrize(
        ("systems", "target", "words"),
        [
            ({"a": np.eye(9), "b": np.eye(9)}, "c", "target is 'c'; expected one of a, b"),
            ({"a": np.eye(9), "b": np.eye(9)}, "b", "1 layer(s) beside b; expected at least two"),
            ([np.eye(9), np.eye(9)], np.eye(9), "expected layers as {name: array}"),
            ({"a": np.ones((2, 9, 3)), "b": np.eye(9)}, np.eye(9), "a has shape (2, 9, 3); expected a layer"),
            ({"target": np.eye(9), "b": np.eye(9)}, np.eye(9), "target is the name of a layer as well"),
            ({"a": np.eye(9), "b": np.eye(9)}, {}, "is a mapping of 0 times"),
        ],
    )
    def test_in_words(self, systems, target, words):
        with pytest.raises(DataError) as error:
            sp.layers(systems, target=target)
        assert words in str(error.value)

    def test_a_regression_without_a_score_says_why(self):
        draw = np.random.default_rng(0)
        layers = {"a": draw.normal(size=(20, 30)), "b": draw.normal(size=(20, 4))}
        result = sp.layers(layers, target=draw.normal(size=(20, 3)), metrics=[OLS_R2, RIDGE_R2], permutations=0)
        row = result.table[(result.table.metric == "ols_r2") & (result.table.layer == "a")].iloc[0]
        assert np.isnan(row.score)
        assert "no unique least-squares fit" in row.why
        assert result.best.layer[result.best.metric == "ols_r2"].tolist() == ["b"]
        assert "No other layer has a score of OLS, held-out R²." in result.sentences


def test_no_score_at_all_is_said_and_drawn():
    draw = np.random.default_rng(0)
    layers = {name: draw.normal(size=(20, 30)) for name in "ab"}
    result = sp.layers(layers, target=draw.normal(size=(20, 3)), metrics=[OLS_R2, RIDGE_R], permutations=0)
    assert result.best.metric.tolist() == ["ridge_r"]
    assert result.sentences[0].startswith(
        "No layer has a score of OLS, held-out R² (16 training samples are not more than"
    )
    assert len(result.plot().axes) == 2
    alone = sp.layers(layers, target=draw.normal(size=(20, 3)), metrics=[OLS_R2], permutations=0)
    assert alone.best.empty
    assert len(alone.sentences) == 1
    assert alone.plot().axes


def test_groups_of_unequal_size_give_the_maximum_of_those_that_take_part(data):
    layers, trials = data
    sizes = np.random.default_rng(1).permutation(np.repeat([2, 3, 4], [12, 12, 15]))
    groups = np.repeat(np.arange(39), sizes)
    result = sp.layers(layers, target=trials, groups=groups, permutations=19)
    expected = sp.compare(
        {**layers, "target": trials.mean(axis=0)}, targets=["target"], metrics=[RIDGE_R], groups=groups, permutations=19
    )
    assert_allclose(result.table.p, expected.p)
    assert_allclose(result.table.p_adjusted, expected.p_adjusted)
    assert result.best.p[0] == 0.05


def test_pictures_and_sentences(found):
    assert [axes.get_ylabel() for axes in found.plot().axes] == ["held-out $r$", "debiased CKA"]
    text = " ".join(found.sentences)
    for words in ("layer3 is the best of 5 layers for target", "% of its ceiling", "Median score over ceiling"):
        assert words in text


def test_methods_say_what_was_done_and_no_more(found, data):
    methods, _, works = found.methods.partition("\n\n")
    assert "The 5 layers were scored on target (" in methods
    assert "the correlation of held-out ridge predictions and debiased CKA, with 5-fold" in methods
    assert "permutation of the maximum over layers" in methods
    assert "Westfall" in works
    assert "Hsu" in works
    without = sp.layers(data[0], target=data[1].mean(axis=0), permutations=0).methods
    assert "permutation" not in without
    assert "ceiling" not in without
    assert "Westfall" not in without


def test_a_page_has_a_row_a_layer(found, tmp_path):
    page = found.report(tmp_path / "layers.html").read_text()
    assert all(f">{layer}<" in page for layer in found.table.layer)
    assert "Methods paragraph" in page


@pytest.mark.slow
def test_the_numbers_of_the_page_are_computed():
    page = Path(__file__).parents[2] / "docs" / "layers.rst"
    found = doctest.testfile(str(page), module_relative=False, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert found.attempted > 12
    assert found.failed == 0
