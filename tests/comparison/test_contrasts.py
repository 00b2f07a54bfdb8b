"""Differences of scores on the same samples: against the scores themselves, the jackknife, and fresh draws."""

from dataclasses import replace

import numpy as np
import pytest
from conftest import related
from numpy.testing import assert_allclose
from scipy.stats import kstest

import superpose as sp
from superpose.comparison.contrasts import COLUMNS, METRICS
from superpose.comparison.partitions import PARTS
from superpose.files import DataError
from superpose.metrics import (
    CCA,
    CKA_DEBIASED,
    CKA_RBF,
    MUTUAL_KNN,
    OLS_R,
    OLS_R2,
    PROCRUSTES,
    PWCCA,
    RIDGE_R2,
    RSA,
    SHAPE,
)


@pytest.fixture(scope="module")
def systems():
    draw = np.random.default_rng(0)
    v4 = draw.normal(size=(200, 6)) @ draw.normal(size=(6, 9))
    noisy = {f"layer {i}": v4 @ draw.normal(size=(9, 8)) + 4 * i * draw.normal(size=(200, 8)) for i in (1, 2, 3)}
    return {"layer 1": noisy["layer 1"], "V4": v4, "layer 2": noisy["layer 2"], "layer 3": noisy["layer 3"]}


class TestContrast:
    def test_differences_are_those_of_compare(self, systems):
        table = sp.contrast(systems, target="V4")
        assert tuple(table.columns) == COLUMNS
        assert len(table) == 3 * len(METRICS)
        scores = (
            sp.compare(systems, metrics=METRICS, permutations=0).set_index(["metric", "system_a", "system_b"]).score
        )
        for row in table.itertuples():
            for side in "ab":
                name = getattr(row, f"system_{side}")
                pair = (name, "V4") if row.directed or (row.metric, name, "V4") in scores.index else ("V4", name)
                assert_allclose(getattr(row, f"score_{side}"), scores[(row.metric, *pair)], rtol=1e-10)
        assert_allclose(table.difference, table.score_a - table.score_b, rtol=1e-12)
        assert ((table.low < table.difference) & (table.difference < table.high)).all()
        assert (table.p_adjusted >= table.p).all()
        assert (table.p_adjusted <= 3 * table.p + 1e-15).all()

    @pytest.mark.parametrize(
        "metric", [CKA_DEBIASED, RSA, CCA, PROCRUSTES, SHAPE, MUTUAL_KNN, CKA_RBF], ids=lambda m: m.name
    )
    def test_error_against_the_jackknife(self, systems, metric):
        row = sp.contrast(systems, target="V4", metrics=[metric]).iloc[0]
        a, b, v4 = (systems[name] for name in (row.system_a, row.system_b, "V4"))
        left_out = []
        for i in range(len(v4)):
            few = [np.delete(x, i, 0) for x in (a, b, v4)]
            left_out.append(metric(few[0], few[2]) - metric(few[1], few[2]))
        n = len(v4)
        assert_allclose(row.error, np.sqrt((n - 1) / n * np.square(left_out - np.mean(left_out)).sum()), rtol=0.1)

    def test_a_system_and_its_rotation_do_not_differ(self, systems):
        turned = systems["layer 1"] @ np.linalg.qr(np.random.default_rng(0).normal(size=(8, 8)))[0]
        table = sp.contrast({"V4": systems["V4"], "a": systems["layer 1"], "b": turned}, target="V4")
        assert np.abs(table.difference).max() < 1e-10
        assert np.abs(table.error).max() < 1e-10

    def test_a_difference_of_scores_without_an_interval(self, systems):
        """A system and its copy: canonical correlations tie, and nothing is left without a kernel."""
        table = sp.contrast({**systems, "copy": systems["V4"].copy()}, target="V4", metrics=[PWCCA])
        tied = table.system_b == "copy"
        assert table.difference.notna().all()
        assert (table.error.isna() == tied).all()
        assert (
            table.why[tied] == "copy: no interval: canonical correlations tie, so that the weights are not unique"
        ).all()
        few = {name: x[:9] for name, x in systems.items()}
        row = sp.contrast(few, target="V4", metrics=[MUTUAL_KNN], cv=None).iloc[0]
        assert np.isnan(row.difference)
        assert row.why.startswith("layer 1: needs ≥ 12 samples; have 9")
        still = {**systems, "layer 1": np.where(np.arange(200)[:, None] < 180, 0.0, systems["layer 1"])}
        row = sp.contrast(still, target="V4", metrics=[CKA_RBF]).iloc[0]
        assert np.isnan(row.difference)
        assert row.why.startswith("layer 1: more than half the samples of a system are equal")

    @pytest.mark.parametrize("kind", [np.float32, np.float64])
    @pytest.mark.parametrize("samples", [200, 20_000])
    def test_rounding_is_no_evidence(self, systems, kind, samples):
        """Influences on the scores of a system and of its rotation are equal: any difference is beyond its error."""
        draw = np.random.default_rng(0)
        many = {n: np.repeat(x, samples // 200, axis=0) for n, x in systems.items()}
        many["layer 1"] = many["layer 1"] + draw.normal(size=many["layer 1"].shape)
        turned = many["layer 1"] @ np.linalg.qr(draw.normal(size=(8, 8)))[0]
        few = {"V4": many["V4"] + 5, "a": many["layer 1"] + 3, "b": turned + 3}
        table = sp.contrast({name: x.astype(kind) for name, x in few.items()}, target="V4")
        assert (table.difference == 0).all()
        assert (table.p == 1).all()

    def test_groups_widen(self, systems):
        repeated = {name: np.repeat(x, 4, axis=0) for name, x in systems.items()}
        groups = np.repeat(np.arange(200), 4)
        naive = sp.contrast(repeated, target="V4", metrics=[CKA_DEBIASED])
        whole = sp.contrast(repeated, target="V4", metrics=[CKA_DEBIASED], groups=groups)
        assert_allclose(whole.error / naive.error, 2, rtol=0.05)

    def test_a_score_that_does_not_exist(self):
        draw = np.random.default_rng(0)
        wide = {name: draw.normal(size=(30, units)) for name, units in (("v4", 5), ("a", 40), ("b", 4))}
        row = sp.contrast(wide, target="v4", metrics=[OLS_R]).iloc[0]
        assert np.isnan(row.difference)
        assert np.isnan(row.p)
        assert "a: 24 training samples are not more than the predictors" in row.why
        few = sp.contrast({name: x[:3] for name, x in wide.items()}, target="v4", metrics=[CKA_DEBIASED], cv=None)
        assert "a: needs ≥ 4 samples; have 3" in few.why[0]

    @pytest.mark.slow
    @pytest.mark.parametrize("metric", [CKA_DEBIASED, OLS_R], ids=lambda m: m.name)
    def test_p_is_uniform_where_two_systems_are_as_close(self, metric):
        draw = np.random.default_rng(1)
        a, b = draw.normal(size=(2, 12, 6))
        p = []
        for _ in range(400):
            z = draw.normal(size=(300, 12))
            noise = draw.normal(size=(2, 300, 6))
            found = {"v4": z @ b, "one": z @ a + 2 * noise[0], "other": z @ a + 2 * noise[1]}
            p.append(sp.contrast(found, target="v4", metrics=[metric]).p[0])
        assert kstest(p, "uniform").pvalue > 0.001

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            ({"target": "V5"}, "target is 'V5'; expected one of at least three systems; there are layer 1, V4"),
            ({"metrics": [replace(SHAPE, influence=None)]}, "shape has no interval, so that its differences have none"),
            ({"metrics": [replace(MUTUAL_KNN, influence=None)]}, "mutual_knn has no interval, .*; leave it out"),
        ],
    )
    def test_refusals(self, systems, change, words):
        with pytest.raises(DataError, match=words):
            sp.contrast(systems, **({"target": "V4"} | change))

    @pytest.mark.parametrize("stacked", [{"V4"}, {"layer 2"}, {"V4", "layer 1", "layer 2", "layer 3"}])
    def test_repeats_one_by_one(self, systems, stacked):
        given = {name: np.stack([x, x]) if name in stacked else x for name, x in systems.items()}
        with pytest.raises(DataError, match=r"has shape \(2, 200, \d\); expected \(samples, units\). Pass one repeat"):
            sp.contrast(given, target="V4")
        with pytest.raises(DataError, match=r"has shape \(2, 200, \d\); expected \(samples, units\). Pass one repeat"):
            sp.partition(given, target="V4")


@pytest.mark.parametrize(
    "table",
    [
        lambda systems, **options: sp.contrast(systems, target="V4", metrics=[CKA_DEBIASED, OLS_R], **options),
        lambda systems, **options: sp.partition(systems, target="V4", metrics=OLS_R2, **options),
    ],
    ids=["contrast", "partition"],
)
class TestIntervalSamples:
    def test_widths_are_of_so_many_and_the_rest_of_all(self, monkeypatch, systems, table):
        monkeypatch.setattr("superpose.statistics.sampling.GROUPS", 2)
        whole, few = (table(systems, interval_samples=n) for n in (None, 120))
        value = "difference" if "difference" in whole else "score"
        assert (few[value] == whole[value]).all()
        # A width of n samples is known to √(kurtosis/4n): with tails of kurtosis 9 to 14 %.
        assert_allclose(few.error, whole.error, rtol=4 * 0.14)
        assert (few.error != whole.error).all()

    def test_what_is_no_number_of_samples(self, systems, table):
        with pytest.raises(DataError, match="interval_samples is 1; expected an integer of at least 2, or None for"):
            table(systems, interval_samples=1)


@pytest.fixture(scope="module")
def parts():
    draw = np.random.default_rng(2)
    common, own_a, own_b = draw.normal(size=(3, 500, 3))
    a = np.hstack([common, own_a]) @ draw.normal(size=(6, 6)) * 100
    b = np.hstack([common, own_b]) @ draw.normal(size=(6, 6))
    v4 = np.hstack([common, own_a, 2 * draw.normal(size=(500, 3))])
    return {"a": a, "b": b, "V4": v4}


class TestPartition:
    @pytest.mark.parametrize("metric", [RIDGE_R2, OLS_R2], ids=lambda m: m.name)
    def test_parts_are_differences_of_held_out_scores(self, parts, metric):
        table = sp.partition(parts, target="V4", metrics=metric).set_index("part")
        assert set(table.reset_index().columns) == set(PARTS)
        a, b = (parts[name] / np.sqrt(parts[name].var(0).sum()) for name in "ab")
        alone_a, alone_b, both = (float(metric(x, parts["V4"])) for x in (a, b, np.hstack([a, b])))
        expected = [alone_a, alone_b, both, both - alone_b, both - alone_a, alone_a + alone_b - both]
        assert_allclose(table.score, expected, rtol=1e-8, atol=1e-10)
        assert_allclose(table.score[["a beyond the rest", "b beyond the rest", "shared"]].sum(), both, rtol=1e-8)

    def test_what_is_there_is_found_and_what_is_not_is_not(self, parts):
        table = sp.partition(parts, target="V4").set_index("part")
        # Of the target's variance 3 parts are common, 3 are a's own and 12 are noise.
        for part, share in (("a", 6 / 18), ("b", 3 / 18), ("a beyond the rest", 3 / 18), ("shared", 3 / 18)):
            row = table.loc[part]
            assert row.low - 0.01 < share < row.high + 0.01, part
        assert table.p["a beyond the rest"] < 1e-6
        assert table.p["b beyond the rest"] > 0.05
        assert table.p_adjusted.notna().sum() == 2

    def test_three_systems_and_their_shared_part(self, parts):
        more = {**parts, "c": parts["a"][:, :2] + np.random.default_rng(0).normal(size=(500, 2))}
        table = sp.partition(more, target="V4", metrics=OLS_R2).set_index("part").score
        beyond = [name for name in table.index if name.endswith("beyond the rest")]
        assert len(beyond) == 3
        assert_allclose(table["shared"], table["a + b + c"] - table[beyond].sum(), rtol=1e-9)
        assert_allclose(
            table["c beyond the rest"],
            table["a + b + c"] - OLS_R2(np.hstack([parts["a"], parts["b"]]), parts["V4"]),
            atol=1e-9,
        )

    @pytest.mark.slow
    def test_intervals_cover_and_false_alarms_are_rare(self):
        """What is b worth beyond a? Where nothing, p < .05 in at most 5 % of draws; else intervals hold the mean."""
        draw = np.random.default_rng(3)
        alarms, covered, scores, bounds = [], [], [], []
        for _ in range(300):
            a, b, noise = draw.normal(size=(3, 250, 3))
            y = a + noise
            alarms.append(sp.partition({"a": a, "b": b, "y": y}, target="y", metrics=OLS_R2).p[4] < 0.05)
            row = sp.partition({"a": a, "b": b, "y": y + b}, target="y", metrics=OLS_R2).iloc[4]
            scores.append(row.score)
            bounds.append((row.low, row.high))
        covered = [low < np.mean(scores) < high for low, high in bounds]
        # Standard errors √(.05 · .95 / 300) = .0126.
        assert np.mean(alarms) < 0.05 + 3 * 0.0126
        assert abs(np.mean(covered) - 0.95) < 4 * 0.0126

    @pytest.mark.parametrize("kind", [np.float32, np.float64])
    def test_rounding_is_no_evidence(self, kind):
        """Where one system leaves nothing to explain, what another adds is rounding, beyond its error or not."""
        for seed in range(10):
            draw = np.random.default_rng(seed)
            all_of_it, nothing = draw.normal(size=(2, 300, 5))
            target = all_of_it @ draw.normal(size=(5, 4)) + 3
            systems = {"all": all_of_it, "nothing": nothing, "V4": target}
            given = {name: x.astype(kind) for name, x in systems.items()}
            table = sp.partition(given, target="V4", metrics=OLS_R2).set_index("part")
            assert table.score["nothing beyond the rest"] == 0
            assert table.p["nothing beyond the rest"] == 0.5

    def test_a_name_that_several_systems_together_have(self, parts):
        more = {"a": parts["a"], "b": parts["b"], "all but a": parts["a"][:, :2], "V4": parts["V4"]}
        with pytest.raises(DataError, match="'all but a' is also what several systems together are called; rename it"):
            sp.partition(more, target="V4")
        with pytest.raises(DataError, match=r"'a \+ b' is also what several systems together are called; rename it"):
            sp.partition({"a": parts["a"], "b": parts["b"], "a + b": parts["V4"]}, target="a + b")

    def test_refusals(self, parts):
        with pytest.raises(DataError, match="target is 'V5'; expected one of at least three systems"):
            sp.partition(parts, target="V5")
        with pytest.raises(DataError, match="target is 'V4'; expected one of at least three systems"):
            sp.partition({"a": parts["a"], "V4": parts["V4"]}, target="V4")
        with pytest.raises(DataError, match="samples"):
            sp.partition(parts | {"b": parts["b"][:-1]}, target="V4")
        with pytest.raises(DataError, match=r"cka_debiased predicts nothing, .* expected regressions"):
            sp.partition(parts, target="V4", metrics=["ridge_r2", "cka_debiased"])

    def test_several_metrics_are_each_their_own_table(self, parts):
        both = sp.partition(parts, target="V4", metrics=["ridge_r2", "ols_r2"])
        for metric, rows in both.groupby("metric", sort=False):
            alone = sp.partition(parts, target="V4", metrics=metric)
            assert_allclose(rows.score, alone.score, rtol=1e-9)
            assert_allclose(rows.p_adjusted, alone.p_adjusted, rtol=1e-6)

    def test_more_predictors_than_samples_is_a_reason(self):
        x, y = related(40, 30, 5, seed=1)
        table = sp.partition({"x": x, "x2": x + 1, "y": y}, target="y", metrics=OLS_R2).set_index("part")
        assert np.isfinite(table.score["x"])
        assert np.isnan(table.score["x + x2"])
        assert "32 training samples are not more than the predictors" in table.why["shared"]


def test_old_names_still_work_and_warn(systems):
    with pytest.warns(FutureWarning, match="contrast: to= is now target="):
        old = sp.contrast(systems, to="V4", metrics=["rsa"])
    assert old.equals(sp.contrast(systems, target="V4", metrics=["rsa"]))
    with pytest.warns(FutureWarning, match="partition: metric= is now metrics="):
        old = sp.partition(systems, target="V4", metric=RIDGE_R2)
    assert old.equals(sp.partition(systems, target="V4"))
