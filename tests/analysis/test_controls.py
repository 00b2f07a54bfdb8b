"""What latent scores are held against: each line and control against an oracle, and on systems of known content."""

from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.testing import assert_allclose
from scipy.spatial.distance import pdist, squareform

import superpose as sp
from superpose import analysis
from superpose.analysis import nonlinear, spaces
from superpose.analysis.job import Job, prepare
from superpose.analysis.nonlinear import kernel_features
from superpose.analysis.permuting import shuffled, within_labels
from superpose.analysis.principal import largest_components
from superpose.analysis.recovery import Recovered
from superpose.analysis.scores import METRICS, predicted, scored
from superpose.analysis.selection import shared_parts
from superpose.dictionaries.diagnostics import fvu
from superpose.files import DataError

TRAINING = {"steps": 20, "batch": 64, "learning_rate": 1e-2}
QUICK = {"latents": 8, "active": 2, "training": TRAINING}
LONGER = {"training": TRAINING | {"steps": 300}}
EVERY = [
    "linear_selection", "latent_to_raw", "closed_form", "shuffled_fit", "nonlinear", "untrained", "within_labels",
    "independent", "pca_code", "rotated", "planted",
]  # fmt: skip


def small(samples=120, seed=0, names="xy"):
    """Return related systems of 5, 4 and 6 units."""
    draw = np.random.default_rng(seed)
    z = draw.normal(size=(samples, 6)) * (draw.random((samples, 6)) < 0.5)
    return {name: z @ draw.normal(size=(6, units)) for name, units in zip(names, (5, 4, 6), strict=False)}


def job_of(systems, *, held_out=None, groups=None, labels=None, pairs=None, interval_samples=5_000) -> Job:
    samples = len(next(iter(systems.values())))
    test = np.arange(samples) >= samples * 4 // 5 if held_out is None else held_out
    job, _ = prepare(
        systems, pairs=pairs, fit="pairwise", metrics=METRICS, groups=groups, labels=labels, test=test, seed=0,
        interval_samples=interval_samples,
    )  # fmt: skip
    return job


def r_of(table, space="latent", control="none", metric="ridge_r", fit=None):
    rows = table[(table.metric == metric) & (table.space == space) & (table.control == control)]
    return rows[rows.fit == fit].score.to_numpy() if fit else rows.score.to_numpy()


@pytest.fixture
def fitted(monkeypatch):
    """Record the systems and dictionaries of every fit."""
    calls = []
    for name, (grouping, genuine) in list(spaces.FITS.items()):

        def spy(systems, recipe, genuine=genuine):
            made = genuine(systems, recipe)
            calls.append((systems, made))
            return made

        monkeypatch.setitem(spaces.FITS, name, (grouping, spy))
    return calls


class TestPredicted:
    def test_from_the_units_themselves_it_is_the_raw_score(self):
        job = job_of(small(), groups=np.arange(120) // 4)
        expected = scored(job, job.arrays)
        expected = expected[expected.directed.astype(bool) & (expected.system_a == "x")].reset_index(drop=True)
        got = predicted(job, "x", job.arrays["x"], {"y": job.arrays["y"]})
        for name in ("score", "low", "high"):
            assert_allclose(got[name], expected[name], rtol=1e-9)
        for name in ("system_a", "system_b", "metric", "samples", "units_a", "units_b"):
            assert got[name].tolist() == expected[name].tolist()

    def test_its_interval_is_of_the_rows_that_raw_scores_draw(self, monkeypatch):
        monkeypatch.setattr("superpose.statistics.sampling.GROUPS", 2)
        whole = job_of(small(), groups=np.arange(120) // 2)
        few = job_of(small(), groups=np.arange(120) // 2, interval_samples=12)
        (_, of_all), (raw, of_few) = (
            (scored(job, job.arrays), predicted(job, "x", job.arrays["x"], {"y": job.arrays["y"]}))
            for job in (whole, few)
        )
        raw = raw[raw.directed.astype(bool) & (raw.system_a == "x")]
        assert_allclose(of_few.error, raw.error, rtol=1e-9)
        assert (of_few.error != of_all.error).all()
        assert (of_few.score == of_all.score).all()

    def test_float32_that_hides_a_direction_is_multiplied_in_float64(self):
        draw = np.random.default_rng(0)
        x = draw.normal(size=(500, 3))
        # A tiny part of nearly equal units carries the target.
        x[:, 1] = x[:, 0] + 1e-3 * x[:, 1]
        y = (x[:, :1] - x[:, 1:2]) * 1e3
        job = job_of({"x": x.astype(np.float32), "y": y.astype(np.float32)})
        wide = job_of({"x": x, "y": y})
        got = predicted(job, "x", job.arrays["x"], {"y": job.arrays["y"]}).score
        assert_allclose(got, predicted(wide, "x", wide.arrays["x"], {"y": wide.arrays["y"]}).score, atol=1e-3)

    def test_a_target_that_stands_still_has_its_reason(self):
        systems = small()
        systems["y"][96:] = 1.0
        job = job_of(systems)
        got = predicted(job, "x", job.arrays["x"], {"y": job.arrays["y"]})
        assert got.score.isna().all()
        assert (got.why == "a target does not vary in a held-out fold").all()


class TestNonlinear:
    @pytest.mark.parametrize(
        ("rows", "groups"), [(400, np.arange(400) // 100), (400, np.arange(400) // 200), (16, None)]
    )
    def test_its_width_is_chosen_on_as_many_folds_as_there_are(self, rows, groups):
        found = nonlinear.nonlinear(
            job_of(small(rows), held_out=np.arange(rows) >= rows // 2, groups=groups), source="x"
        )
        assert len(found) == 3
        assert np.isfinite(found.score).all()

    def test_with_all_rows_as_landmarks_products_of_features_are_the_kernel(self, monkeypatch):
        monkeypatch.setattr(nonlinear, "ROWS_A_LANDMARK", 1)
        x = np.random.default_rng(0).normal(size=(300, 3)) + 5
        features = kernel_features(x, 300, 0.5, 1000, seed=0).astype(np.float64)
        assert features.shape == (300, 303)
        about = x - x.mean(axis=0)
        gram = features @ features.T - about @ about.T / about.var(axis=0).sum()
        distances = squareform(pdist(x, "sqeuclidean"))
        near = np.triu(distances < 8, 1)
        rates = -np.log(gram[near]) / distances[near]
        # A Gaussian kernel, as wide as asked: the median is estimated on 1,024 pairs.
        assert_allclose(rates, rates.mean(), rtol=0.02)
        assert_allclose(rates.mean(), 1 / (2 * 0.5 * np.median(pdist(x, "sqeuclidean"))), rtol=0.1)
        assert_allclose(gram.diagonal(), 1, atol=1e-3)

    def test_it_predicts_as_well_as_kernel_ridge_regression(self, monkeypatch):
        from sklearn.kernel_ridge import KernelRidge

        monkeypatch.setattr(nonlinear, "ROWS_A_LANDMARK", 2)
        draw = np.random.default_rng(1)
        x = draw.normal(size=(800, 2))
        y = np.column_stack([np.sin(2 * x[:, 0]) * x[:, 1], np.cos(2 * x[:, 1])])
        job = job_of({"x": x, "y": y})
        table = nonlinear.nonlinear(job, source="x")
        median = np.median(pdist(x, "sqeuclidean"))
        train = job.training
        best = 0.0
        for width in nonlinear.WIDTHS:
            ridge = KernelRidge(alpha=1e-2, kernel="rbf", gamma=0.5 / (width * median)).fit(x[:train], y[:train])
            residual, target = y[train:] - ridge.predict(x[train:]), y[train:] - y[train:].mean(0)
            best = max(best, 1 - np.square(residual).sum() / np.square(target).sum())
        score = table[table.metric == "ridge_r2"].score.item()
        assert best > 0.9
        assert abs(score - best) < 0.03
        assert predicted(job, "x", x, {"y": y}).score.iloc[0] < 0.2

    def test_nothing_linear_is_lost(self):
        systems = small(2000)
        job = job_of(systems)
        table = nonlinear.nonlinear(job, source="x").assign(control="none")
        raw = predicted(job, "x", job.arrays["x"], {"y": job.arrays["y"]}).score.iloc[0]
        assert r_of(table, "nonlinear").item() > raw - 0.01

    def test_held_out_rows_choose_nothing(self):
        systems = small(400)
        job = job_of(systems)
        other = {name: x.copy() for name, x in systems.items()}
        other["x"][job.training :] *= 3
        kept = slice(None, job.training)
        seen = [kernel_features(job_of(s).arrays["x"], job.training, 0.5, 50, 0)[kept] for s in (systems, other)]
        assert_allclose(*seen)

    def test_widths_are_chosen_on_whole_groups(self, monkeypatch):
        seen = []
        genuine = nonlinear.predicted

        def spy(job, *given):
            seen.append(job)
            return genuine(job, *given)

        monkeypatch.setattr(nonlinear, "predicted", spy)
        groups = np.arange(400) // 4
        nonlinear.nonlinear(job_of(small(400), groups=groups), source="x")
        *trials, last = seen
        assert len(trials) == len(nonlinear.WIDTHS)
        for trial in trials:
            groups = trial.design.groups
            assert not set(groups[trial.held_out]) & set(groups[~trial.held_out])
            assert len(set(groups)) <= 80
        assert len(last.held_out) == 400


class TestLinearSelection:
    def test_it_is_least_squares_on_the_leading_canonical_variates(self):
        draw = np.random.default_rng(2)
        turns = [np.linalg.qr(draw.normal(size=(units, units)))[0] for units in (6, 5)]
        common = draw.normal(size=(3000, 3)) * [1.5, 1.2, 1.0]
        x = np.hstack([common, draw.normal(size=(3000, 3))]) @ turns[0] + 3
        y = np.hstack([common + draw.normal(size=(3000, 3)) * [0.2, 0.4, 0.6], draw.normal(size=(3000, 2))]) @ turns[1]
        (first, second), ranks = shared_parts(x, y, (0.2, 0.3), 2400)
        centred = [part[:2400] - part[:2400].mean(0) for part in (x, y)]
        bases = [np.linalg.qr(part)[0] for part in centred]
        left, _, right = np.linalg.svd(bases[0].T @ bases[1])
        for part, kept, basis, turn, share, rank in zip(
            centred, (first, second), bases, (left, right.T), (0.2, 0.3), ranks, strict=True
        ):
            variates = basis @ turn
            explained = [np.square(variates[:, :k].T @ part).sum() / np.square(part).sum() for k in range(1, rank + 1)]
            # The ridge of a thousandth turns the directions by about as much.
            assert explained[-1] > 1 - share - 3e-3
            assert rank == 1 or explained[-2] < 1 - share + 3e-3
            expected = variates[:, :rank] @ (variates[:, :rank].T @ part)
            got = kept[:2400] - kept[:2400].mean(0)
            assert np.square(got - expected).sum() < 3e-3 * np.square(expected).sum()

    def test_what_is_left_when_private_content_is_dropped_is_equal(self):
        draw = np.random.default_rng(0)
        common, private = draw.normal(size=(2, 4000, 4))
        x, y = np.hstack([common, private[:, :2]]), np.hstack([common @ draw.normal(size=(4, 4)), private[:, 2:]])
        (first, second), _ = shared_parts(x, y, (1 / 3 + 0.01, 0.2), 3200)
        test = np.arange(4000) >= 3200
        assert float(sp.regression(x, y, test=test)) < 0.95
        assert float(sp.regression(first, second, test=test, ridge=1e-3)) > 0.99

    @pytest.mark.parametrize("kind", [np.float32, np.float64])
    @pytest.mark.parametrize(("samples", "features", "units"), [(100, 5, 8), (100, 3, 60), (60, 200, 200)])
    def test_units_that_depend_on_others_or_are_many_beside_rows(self, kind, samples, features, units):
        draw = np.random.default_rng(0)
        z, training = draw.normal(size=(samples, features)), samples * 4 // 5
        x, y = ((z @ draw.normal(size=(features, n)) + 7).astype(kind) for n in (units, units // 2))
        (whole, part), ranks = shared_parts(x, y, (0.0, 0.2), training)
        assert ranks[1] <= min(features, training)
        assert_allclose(whole[:training], x[:training], atol=2e-3 * x.std())
        left = part[:training] - y[:training]
        assert (left**2).sum() <= (0.2 + 1e-3) * ((y[:training] - y[:training].mean(0)) ** 2).sum()

    def test_a_poor_dictionary_leaves_one_direction_and_a_perfect_one_all(self):
        x, y = small(400).values()
        _, ranks = shared_parts(x, y, (1.5, 0.0), 320)
        assert ranks == (1, 4)

    def test_the_row_matches_the_dictionaries_share(self):
        systems = small(2000)
        few = QUICK | {"active": 1, "training": TRAINING | {"steps": 60}}
        table = analysis.latent(systems, controls=["linear_selection"], **few).table
        rows = table[(table.space == "linear_selection") & (table.metric == "ridge_r")]
        latent = table[(table.space == "latent") & (table.metric == "ridge_r") & (table.control == "none")]
        # No more unexplained than by the dictionary, but for the difference between the rows.
        assert (rows.fvu_a.to_numpy() < latent.fvu_a.to_numpy() + 0.03).all()
        assert rows.why.str.contains("canonical directions").all()
        assert (rows.predictors <= rows.units_a).all()
        assert (rows.predictors < rows.units_a).any()
        assert rows.dead_a.isna().all()


class TestClosedForm:
    def test_reconstructions_are_where_the_theory_must_hold(self):
        systems = small(600)
        systems["y"] = np.hstack([systems["y"], systems["y"][:, :1] ** 2])
        table = analysis.latent(systems, controls=["closed_form"], **QUICK | LONGER).table
        cka = table[table.metric == "cka"].set_index("space").score
        assert cka["closed_form"] == pytest.approx(cka["reconstruction"], abs=1e-5)
        assert abs(cka["closed_form"] - cka["raw"]) > 1e-3


class TestComparableTargets:
    def test_latents_predict_what_raw_scores_predict(self, fitted):
        systems, test = small(), np.arange(120) >= 96
        table = analysis.latent(systems, controls=["latent_to_raw"], test=test, **QUICK).table
        ((_, saes),) = fitted
        z = saes["x"].encode(systems["x"])
        z = z[:, z[~test].any(axis=0)].astype(np.float64)
        expected = sp.metrics.ridge(z, systems["y"], test=test)
        rows = table[(table.space == "latent_to_raw") & (table.metric == "ridge_r")]
        row = rows[rows.system_a == "x"].iloc[0]
        assert_allclose(row.score, expected, rtol=1e-5)
        assert (row.units_a, row.units_b, row.predictors) == (5, 4, z.shape[1])


class TestWithinLabels:
    @pytest.mark.parametrize("names", ["xy", "xyw"])
    @pytest.mark.parametrize("grouped", [False, True])
    def test_rows_meet_others_of_their_label_and_of_other_groups(self, names, grouped):
        draw = np.random.default_rng(3)
        index = np.arange(600.0)
        systems = {name: np.column_stack([index, draw.normal(size=600)]) for name in names}
        labels = draw.integers(0, 40, 600)
        labels[:7] = 100 + np.arange(7)
        groups = np.arange(600) // 3 if grouped else None
        job = job_of(systems, held_out=np.arange(600) >= 450, labels=labels, groups=groups)
        altered = within_labels(job)
        meets = {name: x[:, 0].astype(int) for name, x in altered.arrays.items()}
        first = meets["x"]
        assert_allclose(first, np.sort(first))
        assert_allclose(altered.held_out, first >= 450)
        belongs = index.astype(int) if groups is None else groups
        for number, one in enumerate(names):
            assert sorted(meets[one]) == first.tolist()
            for other in names[:number]:
                assert (labels[meets[one]] == labels[meets[other]]).all()
                assert (belongs[meets[one]] != belongs[meets[other]]).all()
                assert ((meets[one] >= 450) == (meets[other] >= 450)).all()
        # Left out: labels of which one group holds more rows than all systems can avoid.
        for side in (index < 450, index >= 450):
            for label in np.unique(labels[side]):
                rows = np.flatnonzero(side & (labels == label))
                largest = np.unique(belongs[rows], return_counts=True)[1].max()
                assert np.isin(rows, first).all() == (len(rows) >= len(names) * largest)
                assert np.isin(rows, first).any() == (len(rows) >= len(names) * largest)
        of_label = {(a, b) for a, b in zip(altered.design.labels, labels[first], strict=True)}
        assert len(of_label) == len(set(labels[first])) == len(set(altered.design.labels))

    @pytest.fixture(scope="class")
    @staticmethod
    def table():
        """One pair shares what the label tells, the other what only the row tells."""
        draw = np.random.default_rng(0)
        labels = draw.integers(0, 30, 3000)
        shown = draw.normal(size=(30, 6))[labels]
        row = draw.normal(size=(3000, 6))
        systems = {
            "a": shown @ draw.normal(size=(6, 6)) + 0.3 * draw.normal(size=(3000, 6)),
            "b": shown @ draw.normal(size=(6, 6)) + 0.3 * draw.normal(size=(3000, 6)),
            "c": row @ draw.normal(size=(6, 6)),
            "d": row @ draw.normal(size=(6, 6)),
        }
        found = analysis.latent(
            systems, pairs=[("a", "b"), ("c", "d")], labels=labels, controls=["within_labels"],
            **QUICK | {"latents": 24, "training": TRAINING | {"steps": 200}},
        )  # fmt: skip
        return found

    def test_what_the_label_tells_is_kept_and_nothing_else(self, table):
        for space in ("raw", "latent"):
            own, kept = (r_of(table.table, space, control) for control in ("none", "within_labels"))
            assert_allclose(kept[:2], own[:2], atol=0.03)
            assert np.abs(kept[2:]).max() < 0.1 < own[2:].min()
        said = [text for text in table.warnings if "mostly the identity" in text]
        assert [text.partition(":")[0] for text in said] == ["a to b", "b to a"] * 2

    def test_no_null_is_claimed(self, table):
        rows = table.table[table.table.space.isin(["latent", "raw"]) & (table.table.control == "within_labels")]
        assert rows.null.isna().all()
        assert "no null: the control 'shuffled_fit' was not asked for" in set(
            table.table[(table.table.space == "latent") & (table.table.control == "none")].why
        )
        assert not any("permutations" in text for text in table.warnings)

    def test_rows_left_out_are_counted(self):
        labels = np.concatenate([np.arange(24), np.zeros(96)])
        table = analysis.latent(small(), labels=labels, controls=["within_labels"], **QUICK).table
        rows = table[table.control == "within_labels"]
        # 24 labels of one row each but one, which the others share.
        assert rows.why.str.startswith("19.2 % of the rows left out").all()

    def test_labels_that_never_recur_are_refused(self):
        with pytest.raises(DataError, match="no label has rows in 2 or more groups of equal size among the training"):
            analysis.latent(small(), labels=np.arange(120), controls=["within_labels"], **QUICK)

    def test_labels_are_needed(self):
        with pytest.raises(DataError, match="the control 'within_labels' needs one label per row; give labels"):
            analysis.latent(small(), controls=["within_labels"], **QUICK)

    @pytest.mark.parametrize(
        ("labels", "words"),
        [
            ([1, 2], r"labels has shape \(2,\); expected one label per sample"),
            ([np.nan, *range(119)], r"labels has 1 missing label\(s\) \(NaN\); give every sample one"),
        ],
    )
    def test_bad_labels(self, labels, words):
        with pytest.raises(DataError, match=words):
            analysis.latent(small(), labels=labels, **QUICK)


class TestUntrained:
    def test_dictionaries_are_random_and_standardised(self):
        x = small(samples=100)["x"] + 7
        recipe = spaces.Recipe(8, 2, "detached", 5, 64, 1e-2, 0, lambda what, done, total: None)
        sae, other = (spaces.untrained({name: x}, recipe)[name] for name in ("x", "y"))
        assert_allclose(sae.centre, x.mean(0), rtol=1e-6)
        assert_allclose(float(sae.scale), np.sqrt(np.square(x - x.mean(0)).mean()), rtol=1e-6)
        assert_allclose(sae.dictionary.detach().norm(dim=-1), 1, rtol=1e-6)
        assert not torch.equal(sae.dictionary, other.dictionary)
        again = spaces.untrained({"x": x}, recipe)["x"]
        assert torch.equal(sae.dictionary, again.dictionary)

    def test_its_codes_are_scored_like_any(self):
        systems, test = small(), np.arange(120) >= 96
        table = analysis.latent(systems, controls=["untrained"], test=test, **QUICK).table
        recipe = spaces.Recipe(8, 2, "detached", 20, 64, 1e-2, spaces.derived_seed(0, "fit 0"), lambda *_: None)
        saes = spaces.untrained({name: x[~test] for name, x in systems.items()}, recipe)
        codes = {name: saes[name].encode(x) for name, x in systems.items()}
        used = [z[:, z[~test].any(axis=0)][test].astype(np.float64) for z in codes.values()]
        assert_allclose(r_of(table, "latent", "untrained", "cka_debiased"), sp.cka(*used, debiased=True), rtol=1e-5)


class TestIndependent:
    @pytest.fixture(scope="class")
    @staticmethod
    def found():
        pairs, test = [("x", "y"), ("y", "w")], np.arange(400) >= 320
        return analysis.latent(small(400, names="xyw"), pairs=pairs, controls=["independent"], test=test, **QUICK)

    @pytest.mark.parametrize("control", ["none", "untrained"])
    @pytest.mark.parametrize("metric", ["cka_debiased", "ridge_r", "ridge_r_units"])
    def test_the_correction_is_spearmans(self, found, control, metric):
        rows = found.table[(found.table.metric == metric) & (found.table.control == control)]
        own = {
            name: g.score.mean() for name, g in rows[rows.space == "two_seeds"].groupby(lambda i: rows.system_a[i][0])
        }
        assert set(own) == {"x", "y", "w"}
        between = rows[(rows.space == "latent") & (rows.fit == "independent")]
        corrected = rows[rows.space == "corrected"]
        assert len(between) == len(corrected) == (2 if metric == "cka_debiased" else 4)
        expected = [
            s / np.sqrt(own[a] * own[b])
            for s, a, b in zip(between.score, between.system_a, between.system_b, strict=True)
        ]
        assert_allclose(corrected.score, expected, rtol=1e-12)
        assert corrected[["low", "high", "null", "p"]].isna().all(axis=None)

    def test_never_without_the_untrained_twin(self, found):
        for space in ("latent", "two_seeds", "corrected"):
            rows = found.table[(found.table.space == space) & (found.table.fit == "independent")]
            counts = rows.groupby("control").size()
            assert counts["none"] == counts["untrained"]
        said = [text for text in found.sentences if "noise divided out" in text]
        assert len(said) == 2
        assert all("untrained ones" in text for text in said)

    def test_two_seeds_are_two_dictionaries_of_one_system(self, found):
        rows = found.table[(found.table.space == "two_seeds") & (found.table.control == "none")]
        systems, test = small(400, names="xyw"), np.arange(400) >= 320
        recipe = spaces.Recipe(8, 2, "detached", 20, 64, 1e-2, spaces.derived_seed(0, "fit 0"), lambda *_: None)
        twin = replace(recipe, seed=spaces.derived_seed(recipe.seed, "second seed"))
        codes = []
        for each in (recipe, twin):
            z = spaces.apart({"x": systems["x"][~test]}, each)["x"].encode(systems["x"])
            codes.append(z[:, z[~test].any(axis=0)][test].astype(np.float64))
        row = rows[(rows.metric == "cka_debiased") & (rows.system_a == "x")].iloc[0]
        assert row.system_b == "x, second seed"
        assert_allclose(row.score, sp.cka(*codes, debiased=True), rtol=1e-5)

    def test_each_row_comes_once_where_the_fit_is_independent(self):
        table = analysis.latent(small(400), fit="independent", controls=["independent", "untrained"], **QUICK).table
        keys = ["system_a", "system_b", "metric", "space", "fit", "control", "seed"]
        assert not table.duplicated(keys).any()
        assert len(r_of(table)) == 2

    def test_without_agreement_there_is_no_correction(self):
        draw = np.random.default_rng(0)
        noise = {name: draw.normal(size=(60, 40)) for name in "xy"}
        table = analysis.latent(noise, controls=["independent"], latents=16, active=1, training={"steps": 1}).table
        rows = table[(table.space == "corrected") & (table.control == "none") & (table.metric == "ridge_r")]
        two = r_of(table, "two_seeds").reshape(2, 2).mean(axis=1)
        assert rows.score.isna().all() == (two.min() <= 0)


class TestPrincipalCodes:
    def test_the_largest_components_of_each_sample(self):
        from sklearn.decomposition import PCA

        x = small(400)["x"] + 2
        codes, rebuilt = largest_components(x, 300, 2)
        pca = PCA().fit(x[:300])
        expected = pca.transform(x)
        for row in expected:
            row[np.argsort(-np.abs(row))[2:]] = 0
        assert_allclose(np.sort(np.abs(codes)), np.sort(np.abs(expected)), atol=1e-9)
        assert_allclose(rebuilt, pca.inverse_transform(expected), atol=1e-9)

    def test_its_row_carries_what_is_lost(self):
        systems = small(400)
        table = analysis.latent(systems, controls=["pca_code"], test=np.arange(400) >= 320, **QUICK).table
        row = table[(table.space == "pca_code") & (table.metric == "cka_debiased")].iloc[0]
        x, y = (largest_components(part, 320, 2) for part in systems.values())
        assert_allclose(row.score, sp.cka(x[0][320:], y[0][320:], debiased=True), rtol=1e-9)
        assert_allclose(row.fvu_b, fvu(systems["y"][320:], y[1][320:]))
        assert (row.l0_a, row.l0_b) == (2, 2)


class TestCopies:
    def test_a_rotated_copy_is_a_rotation(self, fitted):
        analysis.latent(small(), controls=["rotated"], **QUICK)
        systems = [given for given, _ in fitted if "x, rotated" in given]
        (copies,) = systems
        assert_allclose(copies["x, rotated"] @ copies["x, rotated"].T, copies["x"] @ copies["x"].T, atol=1e-9)
        assert np.abs(copies["x, rotated"] - copies["x"]).max() > 0.1

    def test_a_rotated_copy_is_nearly_the_ceiling(self):
        longer = QUICK | {"latents": 12, "training": TRAINING | {"steps": 300}}
        table = analysis.latent(small(2000), controls=["rotated"], **longer).table
        rotated = r_of(table, "latent", "rotated")
        assert len(rotated) == 4
        assert rotated.min() > 0.9 > r_of(table).max() - 0.1

    def test_planted_content_follows_the_law(self):
        draw = torch.Generator().manual_seed(0)
        z = sp.systems.sparse_latents(5000, 48, 3, generator=draw)
        maps = sp.systems.gaussian_projection(24, 48, repeats=(2,), generator=draw)
        systems = {name: (z @ a.T).numpy() for name, a in zip("ab", maps, strict=True)}
        table = analysis.latent(
            systems, controls=["planted"], latents=48, active=3, training=TRAINING | {"steps": 200, "batch": 256}
        ).table
        planted = table[table.control == "planted"]
        for metric in ("cka_debiased", "ridge_r"):
            raw, law = (planted[(planted.space == s) & (planted.metric == metric)] for s in ("raw", "predicted"))
            assert raw.system_a.tolist() == law.system_a.tolist()
            assert_allclose(raw.score, law.score, atol=0.03)
            latent = planted[(planted.space == "latent") & (planted.metric == metric)].score
            assert latent.min() > raw.score.max()
        assert set(planted.system_a) == {f"{name}, packed {time}" for name in "ab" for time in ("once", "twice")}


@pytest.mark.slow
def test_packed_equal_content_is_above_every_line():
    """Sparse latents in enough units: what the paper's story is about, and no line explains the rise."""
    draw = torch.Generator().manual_seed(0)
    z = sp.systems.sparse_latents(10_000, 256, 8, generator=draw)
    maps = sp.systems.gaussian_projection(96, 256, repeats=(2,), generator=draw)
    systems = {name: (z @ a.T).numpy() for name, a in zip("ab", maps, strict=True)}
    found = analysis.latent(
        systems, controls=["nonlinear", "linear_selection", "latent_to_raw"], latents=256, active=8,
        training=TRAINING | {"steps": 600, "batch": 256},
    )  # fmt: skip
    latent = min(r_of(found.table).min(), r_of(found.table, "latent_to_raw").min())
    for space in ("raw", "nonlinear", "linear_selection"):
        assert r_of(found.table, space).max() < latent - 0.02, space
    assert not any("not evidence" in text for text in found.sentences)


def test_shared_nonlinear_content_is_under_the_nonlinear_line():
    draw = np.random.default_rng(0)
    x = draw.normal(size=(4000, 3))
    systems = {"x": x, "y": np.column_stack([np.abs(x), np.square(x)]) + 0.3 * x[:, :1]}
    found = analysis.latent(systems, controls=["nonlinear"], **QUICK | LONGER | {"latents": 16})
    forward = found.table[(found.table.metric == "ridge_r") & (found.table.system_a == "x")].set_index("space").score
    assert forward["nonlinear"] > 0.95 > forward["raw"] + 0.3
    assert any("nonlinear regression on raw activity" in text and "not evidence" in text for text in found.sentences)


class TestChoice:
    def test_all_runs_everything_once(self):
        labels = np.arange(120) % 10
        found = analysis.latent(small(), controls="all", labels=labels, **QUICK)
        assert found.settings["controls"] == EVERY
        assert found.settings["labels"] == 10
        table = found.table
        assert set(table.space) == {
            "raw", "reconstruction", "predicted", "latent", "linear_selection", "latent_to_raw", "nonlinear",
            "two_seeds", "corrected", "pca_code", "closed_form",
        }  # fmt: skip
        assert set(table.control) == {"none", "shuffled_fit", "untrained", "within_labels", "rotated", "planted"}
        assert not table.duplicated(["system_a", "system_b", "metric", "space", "fit", "control", "seed"]).any()
        assert not any("Not run here" in text for text in found.sentences)

    def test_seeds_repeat_only_what_depends_on_them(self):
        table = analysis.latent(small(), controls="all", labels=np.arange(120) % 10, seeds=2, **QUICK).table
        again = set(table[table.seed == 1].space)
        assert again == {
            "reconstruction", "predicted", "latent", "linear_selection", "latent_to_raw", "two_seeds", "corrected",
            "raw", "closed_form",
        }  # fmt: skip
        assert set(table[(table.seed == 1) & (table.space == "raw")].control) == {"planted"}
        assert not table.duplicated(["system_a", "system_b", "metric", "space", "fit", "control", "seed"]).any()

    def test_no_control(self):
        found = analysis.latent(small(), controls=(), **QUICK)
        assert set(found.table.control) == {"none"}
        assert found.settings["controls"] == []
        assert not any("permutations" in text for text in found.warnings)

    @pytest.mark.parametrize("controls", ["nonlinear", ["nonlinear"], ["nonlinear", "nonlinear"]])
    def test_one_name_or_several(self, controls):
        assert analysis.latent(small(), controls=controls, **QUICK).settings["controls"] == ["nonlinear"]

    @pytest.mark.parametrize("controls", ["sleep", ["nonlinear", "sleep"], ["all", "sleep"]])
    def test_an_unknown_name(self, controls):
        with pytest.raises(DataError, match=r"controls is '(sleep|all)'; expected one of 'linear_selection'"):
            analysis.latent(small(), controls=controls, **QUICK)

    def test_what_needs_no_dictionary_is_left_where_rows_are_few(self):
        found = analysis.latent(small(40), controls=["nonlinear", "pca_code", "untrained"], latents=100, active=2)
        assert set(found.table.space) == {"raw", "latent", "nonlinear", "pca_code"}
        assert np.isnan(r_of(found.table)).all()
        assert np.isfinite(r_of(found.table, "nonlinear")).all()

    def test_the_same_seed_gives_the_same_table(self):
        run = partial(analysis.latent, small(), controls="all", labels=np.arange(120) % 10, **QUICK)
        pd.testing.assert_frame_equal(run().table, run().table, check_exact=True)

    @pytest.mark.slow
    def test_local_processes_run_them(self):
        run = partial(analysis.latent, small(), controls="all", labels=np.arange(120) % 10, **QUICK)
        pd.testing.assert_frame_equal(run().table, run(engine="local:2").table, rtol=1e-3, atol=1e-4)


def test_rare_latents_are_those_that_hardly_fire():
    job = job_of(small(2000))
    recipe = spaces.Recipe(8, 2, "detached", 5, 64, 1e-2, 0, lambda *_: None)
    recovered = Recovered(job, spaces.untrained(job.arrays, recipe))
    z = np.zeros((2000, 8), dtype=np.float32)
    z[:, :4] = 1
    # Of 1,600 training rows: seven rows are under a hundredth of the mean rate of about a half, nine are over.
    z[:7, 4], z[:9, 5] = 1, 1
    recovered.__dict__["codes"] = {"x": z, "y": np.ones_like(z)}
    recovered.__dict__["rebuilt"] = job.arrays
    assert recovered.quality["x"] == {"fvu": 0.0, "dead": 0.25, "rare": 0.375, "l0": 4.0}
    assert recovered.quality["y"] == {"fvu": 0.0, "dead": 0.0, "rare": 0.0, "l0": 8.0}


def test_shuffled_pairs_keep_the_first_system():
    job = job_of(small(names="xyw"))
    altered = shuffled(job)
    assert_allclose(altered.arrays["x"], job.arrays["x"])
    for name in "yw":
        assert (altered.arrays[name] == job.arrays[name]).all(axis=1).mean() < 0.2
