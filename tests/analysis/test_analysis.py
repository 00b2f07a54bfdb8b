"""The main job on simulated systems: what rises, what is null, and that one split serves everything."""

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.testing import assert_allclose
from oracles import chosen_by_loops, mean_score

import superpose as sp
from superpose.analysis import analyse, latent, raw, spaces
from superpose.arrays import group_labels
from superpose.dictionaries import training
from superpose.dictionaries.diagnostics import fvu, l0, match_latents, same_index_share
from superpose.dictionaries.sparsity import TopK
from superpose.files import DataError
from superpose.metrics import CKA_DEBIASED, splits
from superpose.report.plots import comparable

TRAINING = {"steps": 20, "batch": 64, "learning_rate": 1e-2}
SIZES = {"latents": 8, "active": 2, "training": TRAINING}
QUICK = SIZES | {"permutations": 0}
SIX = ["cka", "cka_debiased", "rsa", "ridge_r", "ridge_r2", "ridge_r_units"]
# Which of 120 rows are held out unless told otherwise.
HELD_OUT = splits.marked(120, 0.2, None, 0)
DIRECTED = ["ridge_r", "ridge_r2", "ridge_r_units"]


def packed(samples, seed, *, units=16, latents=32, active=2):
    """Return two Gaussian packings of the same sparse latents."""
    draw = torch.Generator().manual_seed(seed)
    z = sp.systems.sparse_latents(samples, latents, active, generator=draw)
    a, b = sp.systems.gaussian_projection(units, latents, repeats=(2,), generator=draw)
    return {"a": (z @ a.T).numpy(), "b": (z @ b.T).numpy()}


def small(samples=120, seed=0):
    """Return three related systems of 5, 4 and 6 units."""
    draw = np.random.default_rng(seed)
    z = draw.normal(size=(samples, 6)) * (draw.random((samples, 6)) < 0.5)
    return {name: z @ draw.normal(size=(6, units)) for name, units in (("x", 5), ("y", 4), ("w", 6))}


def two(samples=120, seed=0):
    return {name: small(samples, seed)[name] for name in "xy"}


def scores(table, metric="ridge_r", space="latent", control="none"):
    table = comparable(table)
    return table[(table.metric == metric) & (table.space == space) & (table.control == control)].score.to_numpy()


@pytest.fixture
def fitted(monkeypatch):
    """Record every call of the fit "pairwise": its systems and its dictionaries."""
    calls = []
    grouping, genuine = spaces.FITS["pairwise"]

    def spy(systems, recipe):
        made = genuine(systems, recipe)
        calls.append((systems, made, recipe))
        return made

    monkeypatch.setitem(spaces.FITS, "pairwise", (grouping, spy))
    return calls


@pytest.fixture(scope="module")
def risen():
    settings = {"latents": 32, "active": 2, "training": TRAINING | {"steps": 400, "batch": 256}}
    return analyse(packed(4000, 0), permutations=19, **settings)


def test_recovered_features_of_packed_systems_are_closer_than_the_units(risen):
    table = risen.table
    for metric in ("cka_debiased", "ridge_r"):
        assert scores(table, metric).min() > scores(table, metric, "raw").max() + 0.1
    assert scores(table, "cka_debiased", "latent").item() > 0.75
    # The closed form on recovered decoders tells what the packing makes of equal content.
    assert abs(scores(table, "cka_debiased", "predicted").item() - scores(table, "cka_debiased", "raw").item()) < 0.1
    assert np.abs(table[table.control == "shuffled_fit"].query("metric in ['cka_debiased', 'rsa']").score).max() < 0.03
    told = risen.sentences
    assert told[0].startswith("a and b: the same features, packed differently.")
    assert "it rises" in told[2]
    assert "A rise alone is no evidence of superposition" in told[3]
    assert (table[table.space == "latent"].same_index.where(table.control == "none").dropna() > 0.8).all()


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow), pytest.param(2, marks=pytest.mark.slow)])
def test_unrelated_systems_are_not_made_alike_by_joint_training(seed):
    systems = {"a": packed(20_000, 10 + seed)["a"], "b": packed(20_000, 20 + seed)["b"]}
    recipe = TRAINING | {"steps": 200, "batch": 256}
    found = analyse(systems, latents=32, active=2, training=recipe, permutations=19, seed=seed)
    for control in ("none", "shuffled_fit"):
        for space in ("raw", "reconstruction", "latent"):
            for metric in ("cka_debiased", "rsa", "ridge_r"):
                values = scores(found.table, metric, space, control)
                assert np.abs(values).max(initial=0) < 0.03, (control, space, metric)
    told = found.sentences
    assert told[0].startswith("a and b: different features.")
    assert ": not significant)" in told[2]
    assert "no clear change" in told[2]
    assert len(told) == 3


@pytest.fixture(scope="module")
def found():
    return analyse(small(), **QUICK | {"permutations": 3})


class TestTable:
    def test_columns(self, found):
        assert list(found.table.columns) == [
            "system_a", "system_b", "metric", "directed", "space", "fit", "control", "seed",
            "score", "low", "high", "error", "null", "null_low", "null_high", "p", "p_adjusted", "calibrated",
            "split", "null_kind", "samples", "units_a", "units_b",
            "training_samples", "predictors", "fvu_a", "fvu_b", "dead_a", "dead_b",
            "rare_a", "rare_b", "l0_a", "l0_b", "same_index", "why",
        ]  # fmt: skip

    def test_one_row_a_symmetric_pair_and_two_a_directed_one(self, found):
        keys = ["system_a", "system_b", "metric", "space", "control", "split"]
        assert not found.table.duplicated(keys).any()
        counts = comparable(found.table).groupby(["space", "control", "metric"]).size()
        for (space, _control, metric), count in counts.items():
            assert count == (6 if metric in DIRECTED else 3), (space, metric)
        assert set(counts.index) == {
            *((space, "none", metric) for space in ("raw", "reconstruction", "latent") for metric in SIX),
            *((space, "shuffled_fit", metric) for space in ("reconstruction", "latent") for metric in SIX),
            ("predicted", "none", "cka_debiased"),
        }
        assert not (found.table.system_a == found.table.system_b).any()

    def test_directed_rows_name_their_predictors(self, found):
        directed = found.table[found.table.directed.astype(bool)]
        assert (directed.predictors == directed.units_a).all()
        assert found.table[~found.table.directed.astype(bool)].predictors.isna().all()
        assert set(found.table.training_samples) == {96}
        assert found.table.groupby("split").samples.unique().map(list).to_dict() == {"cv=5": [120], "test": [24]}

    def test_the_null_of_a_latent_score_is_its_shuffled_control(self, found):
        table = found.table
        keys = ["system_a", "system_b", "metric", "space"]
        control = table[table.control == "shuffled_fit"].set_index(keys)
        own = table[(table.control == "none") & table.space.isin(["latent", "reconstruction"])].set_index(keys)
        assert_allclose(own.null, control.score.loc[own.index])
        assert set(own.null_kind) == {"dictionaries refitted on shuffled pairs"}
        assert own[["null_low", "null_high", "p"]].isna().all(axis=None)
        assert control[["null", "null_low", "null_high", "p"]].isna().all(axis=None)
        assert set(control.null_kind) == {""}
        raws = table[table.space == "raw"]
        assert set(raws.null_kind[raws.split == "cv=5"]) == {"3 permutations of samples within folds"}
        assert (raws.fit == "").all()
        assert raws[["fvu_a", "dead_b", "l0_a", "same_index"]].isna().all(axis=None)

    def test_raw_rows_are_those_of_compare(self, found):
        raws = found.table.query("space == 'raw' and metric == 'cka_debiased'")
        for split, permutations in (({"test": HELD_OUT}, 0), ({"cv": 5}, 3)):
            expected = sp.compare(small(), permutations=permutations, metrics=[CKA_DEBIASED], **split)
            got = raws[raws.split == expected.split[0]]
            for name in ("score", "low", "high", "null", "p", "p_adjusted", "calibrated"):
                assert_allclose(got[name], expected[name], rtol=1e-12)

    def test_settings_tell_what_the_numbers_follow_from(self, found):
        assert found.settings == {
            "pairs": [["x", "y"], ["x", "w"], ["y", "w"]], "groups": None, "labels": None, "training_samples": 96,
            "test_samples": 24, "interval_samples": 5000, "split": "cv=5",
            "seed": 0, "test": 0.2, "metrics": SIX,
            "latents": 8, "active": 2, "fit": "pairwise", "mode": "detached", "controls": ["shuffled_fit"],
            "permutations": 3, "steps": 20, "batch": 64, "learning_rate": 1e-2, "seeds": 1, "engine": "serial",
            "device": "cpu", "dictionaries": {}, "preset": "default",
        }  # fmt: skip

    def test_report(self, found, tmp_path):
        page = found.report(tmp_path / "report.html", title="Three systems").read_text(encoding="utf-8")
        assert "Three systems" in page
        assert found.sentences[0].partition(":")[0] in page


def test_latent_scores_are_the_metrics_on_held_out_codes_of_living_latents(fitted):
    systems, test = two(), HELD_OUT
    table = analyse(systems, **QUICK).table
    (_, saes, _), (shuffled, control, _) = fitted
    codes = {name: sae.encode(systems[name]) for name, sae in saes.items()}
    alive = {name: (z[~test] != 0).any(axis=0) for name, z in codes.items()}
    z = {name: codes[name][:, alive[name]].astype(np.float64) for name in codes}
    assert_allclose(scores(table, "cka_debiased"), sp.cka(z["x"][test], z["y"][test], debiased=True), rtol=1e-5)
    assert_allclose(scores(table), [ridge_r(z["x"], z["y"], test), ridge_r(z["y"], z["x"], test)], rtol=1e-5)
    rebuilt = {name: sae.decode(codes[name]).astype(np.float64) for name, sae in saes.items()}
    expected = sp.cka(rebuilt["x"][test], rebuilt["y"][test], debiased=True)
    assert_allclose(scores(table, "cka_debiased", "reconstruction"), expected, rtol=1e-5)
    assert_allclose(scores(table, space="raw")[0], ridge_r(systems["x"], systems["y"], test), rtol=1e-9)
    row = table.query("space == 'latent' and metric == 'cka' and control == 'none'").iloc[0]
    assert_allclose(row.fvu_b, fvu(systems["y"][test], rebuilt["y"][test]), rtol=1e-6)
    assert_allclose(row.dead_a, 1 - alive["x"].mean())
    assert_allclose(row.l0_a, l0(codes["x"][test]))
    assert_allclose(row.same_index, same_index_share(codes["x"][test], codes["y"][test]))
    # The control: dictionaries fitted on, and scored on, pairs that were shuffled on either side of the split.
    assert_allclose(shuffled["x"], systems["x"][~test])
    assert_allclose(np.sort(shuffled["y"], axis=0), np.sort(systems["y"][~test], axis=0))
    assert (shuffled["y"] == systems["y"][~test]).all(axis=1).mean() < 0.2
    assert not torch.equal(control["x"].dictionary, saes["x"].dictionary)


def ridge_r(x, y, test):
    """Return the pooled held-out correlation of ridge regression, its penalty chosen over five training folds."""
    label = splits.split_of(len(x), test=test).folds
    return mean_score(chosen_by_loops(x, y, label, held_out=label.max()))


def test_the_prediction_is_the_closed_form_on_the_matched_decoders(fitted):
    systems, test = two(), HELD_OUT
    table = analyse(systems, **QUICK).table
    saes = fitted[0][1]
    codes = {name: sae.encode(systems[name][test]) for name, sae in saes.items()}
    partner, correlation = match_latents(codes["x"], codes["y"])
    kept = correlation > 0
    expected = sp.theory.cka(saes["x"].decoder.numpy()[:, kept], saes["y"].decoder.numpy()[:, partner[kept]])
    row = table[table.space == "predicted"].iloc[0]
    assert_allclose(row.score, float(expected), rtol=1e-6)
    assert f"{kept.sum()} matched latents" in row.why
    assert (row.metric, row.directed, row.control) == ("cka_debiased", False, "none")


def test_training_never_sees_a_held_out_row(fitted):
    """Permute the held-out rows: dictionaries and weights stay as they are to the last bit, scores do not."""
    systems = two()
    first = analyse(systems, **QUICK)
    altered = {name: x.copy() for name, x in systems.items()}
    altered["y"][HELD_OUT] = 3 * systems["y"][HELD_OUT][::-1] + 1
    second = analyse(altered, **QUICK)
    before, after = fitted[0][1], fitted[2][1]
    for name in "xy":
        for key, value in before[name].state_dict().items():
            assert torch.equal(value, after[name].state_dict()[key]), key
    for space in ("raw", "reconstruction", "latent"):
        assert (scores(first.table, space=space) != scores(second.table, space=space)).all()


def test_a_leak_would_be_seen(fitted):
    """The same check with a training row altered fails, so it can."""
    systems = two()
    analyse(systems, **QUICK)
    altered = systems["y"].copy()
    altered[np.flatnonzero(~HELD_OUT)[-1]] += 5
    analyse({"x": systems["x"], "y": altered}, **QUICK)
    assert not torch.equal(fitted[0][1]["y"].dictionary, fitted[2][1]["y"].dictionary)


def test_a_test_mask_is_the_split(fitted):
    test = np.arange(120) % 3 == 0
    systems = two()
    found = analyse(systems, test=test, **QUICK)
    assert_allclose(fitted[0][0]["x"], systems["x"][~test])
    assert found.settings["test"] == "as given"
    assert found.settings["test_samples"] == 40
    assert_allclose(scores(found.table, space="raw")[0], ridge_r(systems["x"], systems["y"], test), rtol=1e-9)


def marked(groups):
    """Return two systems whose last unit tells the group of a row."""
    return {name: np.column_stack([x, np.asarray(groups) + 1.0]) for name, x in two().items()}


INTERLEAVED = np.random.default_rng(0).permutation(np.repeat(np.arange(24), 5))


@pytest.mark.parametrize("groups", [np.repeat(np.arange(24), 5), INTERLEAVED], ids=["contiguous", "interleaved"])
def test_groups_stay_whole_in_the_split(fitted, groups):
    systems = marked(groups)
    found = analyse(systems, groups=[f"s{g}" for g in groups], **QUICK)
    held_out = splits.marked(120, 0.2, group_labels(groups), 0)
    trained = fitted[0][0]
    for name in "xy":
        assert_allclose(trained[name], systems[name][~held_out])
    assert not set(trained["x"][:, -1]) & set(systems["x"][held_out][:, -1])
    assert found.settings["groups"] == 24
    assert set(comparable(found.table).samples) == {int(held_out.sum())}


@pytest.mark.parametrize(
    "groups",
    [
        np.repeat(np.arange(24), 5),
        INTERLEAVED,
    ],
    ids=["contiguous", "interleaved"],
)
def test_groups_stay_whole_in_the_shuffle(fitted, groups):
    analyse(marked(groups), groups=groups, **QUICK)
    (systems, _, _), (shuffled, _, _) = fitted
    assert_allclose(shuffled["x"], systems["x"])
    assert_allclose(np.sort(shuffled["y"], axis=0), np.sort(systems["y"], axis=0))
    first, second = shuffled["x"][:, -1], shuffled["y"][:, -1]
    # Groups of one size meet whole groups.
    assert len(set(zip(first, second, strict=True))) == len(set(first)) == len(set(second)) > 1
    assert (first != second).mean() > 0.5


def test_groups_across_a_test_mask_are_refused():
    with pytest.raises(DataError, match="a group has samples in more than one fold"):
        analyse(two(), groups=np.arange(120) // 5, test=np.arange(120) % 2 == 0, **QUICK)


def test_pairs_are_the_only_ones_compared(fitted):
    found = analyse(small(), pairs=[("w", "x")], **QUICK)
    assert {frozenset(pair) for pair in zip(found.table.system_a, found.table.system_b, strict=True)} == {
        frozenset("wx")
    }
    symmetric = found.table[~found.table.directed.astype(bool)]
    assert set(zip(symmetric.system_a, symmetric.system_b, strict=True)) == {("w", "x")}
    assert [list(made) for _, made, _ in fitted] == [["w", "x"], ["w", "x"]]


@pytest.mark.parametrize(
    ("fit", "dictionaries"), [("pairwise", 3), ("all", 1), ("independent", 1)], ids=["pairwise", "all", "independent"]
)
def test_fits(monkeypatch, fit, dictionaries):
    sets = []
    grouping, genuine = spaces.FITS[fit]
    monkeypatch.setitem(spaces.FITS, fit, (grouping, lambda *given: sets.append(genuine(*given)) or sets[-1]))
    table = analyse(small(), fit=fit, **QUICK).table
    # Once as the systems are, once on shuffled pairs.
    assert len(sets) == 2 * dictionaries
    assert set(table[table.space != "raw"].fit) == {fit}
    assert len(scores(table)) == 6
    assert np.isfinite(scores(table)).all()
    assert len(scores(table, "cka_debiased", "predicted")) == 3


def test_an_independent_dictionary_does_not_depend_on_the_other_systems():
    systems = small()
    recipe = spaces.Recipe(8, 2, "detached", 5, 64, 1e-2, 0, lambda what, done, total: None)
    all_three = spaces.apart(systems, recipe)
    alone = spaces.apart({"w": systems["w"]}, recipe)
    assert torch.equal(all_three["w"].dictionary, alone["w"].dictionary)


def test_each_seed_has_rows_of_its_own():
    table = analyse(two(), seeds=2, **QUICK).table
    latent = table[(table.space == "latent") & (table.metric == "cka_debiased") & (table.control == "none")]
    assert latent.seed.tolist() == [0, 1]
    assert latent.score.nunique() == 2
    assert set(table[table.space == "raw"].seed) == {0}
    keys = ["system_a", "system_b", "metric", "space", "control", "seed"]
    assert not table.duplicated([*keys, "split"]).any()
    control = table[(table.control == "shuffled_fit")].set_index([*keys[:4], "seed"]).score
    own = table[(table.control == "none") & table.space.isin(["latent", "reconstruction"])].set_index(
        [*keys[:4], "seed"]
    )
    assert_allclose(own.null, control.loc[own.index])
    one = analyse(two(), seeds=1, **QUICK).table
    pd.testing.assert_frame_equal(one, table[table.seed == 0].reset_index(drop=True))


def test_the_same_seed_gives_the_same_table_to_the_last_bit():
    first, again, other = (analyse(two(), seed=seed, **QUICK | {"permutations": 3}).table for seed in (1, 1, 2))
    pd.testing.assert_frame_equal(first, again, check_exact=True)
    assert (scores(first) != scores(other)).all()


@pytest.mark.slow
def test_local_processes_give_the_table_of_one_process():
    reports = []
    serial = analyse(small(), **QUICK).table
    local = analyse(small(), engine="local:2", progress=lambda *report: reports.append(report), **QUICK).table
    pd.testing.assert_frame_equal(serial, local, rtol=1e-4, atol=1e-5)
    # Three pairs, each fitted as they are and shuffled.
    assert ("scores and dictionaries", 6, 6) in reports


def test_tensors_lists_and_float32_are_taken():
    systems = two()
    expected = raw(systems, permutations=0).table
    given = raw({"x": torch.as_tensor(systems["x"]), "y": systems["y"].tolist()}, permutations=0).table
    pd.testing.assert_frame_equal(expected, given)
    single = raw({name: x.astype(np.float32) for name, x in systems.items()}, permutations=0).table
    assert_allclose(single.score, expected.score, atol=1e-4)


@pytest.mark.slow
def test_raw_scores_of_several_processes_are_those_of_one():
    systems = small()
    together = raw(systems, permutations=19, engine="local:2").table
    pd.testing.assert_frame_equal(together, raw(systems, permutations=19).table, rtol=1e-9)


def test_an_analysis_without_dictionaries_is_raw_and_content():
    systems = packed(3_000, 3)
    found = analyse(systems, permutations=0)
    pd.testing.assert_frame_equal(found.table, raw(systems, permutations=0).table)
    pd.testing.assert_frame_equal(found.content.table, sp.content(systems).table)
    assert found.sentences[: len(found.content.sentences)] == found.content.sentences
    assert set(analyse(systems, permutations=0, fit="pairwise", training={"steps": 2}).table.space) > {"raw", "latent"}


def test_samples_too_few_for_features_are_told_of():
    found = analyse(two(), permutations=0)
    assert found.content is None
    assert found.warnings[0] == (
        "Features were not looked for: 96 training samples; expected at least 100 to find features twice."
    )


def test_an_analysis_is_its_two_parts():
    systems = two()
    whole = analyse(systems, **QUICK | {"permutations": 3})
    parts = raw(systems, permutations=3), latent(systems, **SIZES)
    expected = pd.concat([part.table for part in parts], ignore_index=True)
    pd.testing.assert_frame_equal(whole.table, expected, check_dtype=False)
    assert set(whole.warnings) > {*parts[0].warnings, *parts[1].warnings}
    assert parts[0].settings["split"] == whole.settings["split"] == "cv=5"


@pytest.mark.parametrize(("samples", "recovered"), [(40, True), (39, False)])
def test_too_few_training_rows_leave_the_raw_scores(samples, recovered):
    """16 latents need 32 training rows, four fifths of 40."""
    found = analyse(two(samples), latents=16, active=2, training={"steps": 2}, permutations=0)
    table = found.table
    assert np.isfinite(scores(table, space="raw")).all()
    latent = table[(table.space == "latent") & (table.control == "none")]
    assert np.isfinite(latent.score).all() == recovered
    if not recovered:
        assert latent.metric.tolist() == ["cka"]
        assert latent.why.str.contains("needs ≥ 32 training samples for 16 latents; have 31").all()
        assert set(table.space) == {"raw", "latent"}
        assert "could not be computed (needs ≥ 32 training samples" in found.sentences[0]
        assert not any("dictionaries fit noise" in text for text in found.warnings)


def test_constant_units_are_dropped_and_named():
    systems = two()
    x = np.insert(systems["x"], [0, 3], 7.0, axis=1)
    found = analyse({"x": x, "y": systems["y"]}, **QUICK)
    pd.testing.assert_frame_equal(found.table, analyse(systems, **QUICK).table)
    assert "x: 2 unit(s) are constant over the samples and were dropped: 0, 4." in found.warnings


def test_a_unit_that_stops_varying_in_the_held_out_rows_is_no_error():
    systems = two()
    systems["x"][HELD_OUT, 1] = 0.0
    table = analyse(systems, **QUICK).table
    assert np.isfinite(scores(table)).all()


@pytest.mark.parametrize(
    ("samples", "units", "latents", "active"),
    [
        # Four times the widest where there is a latent for every 16 training rows (1280 / 16 = 80).
        (1600, (5, 20), 80, 5),
        (1500, (5, 20), 75, 4),
        # Never fewer than the widest has units.
        (200, (5, 20), 20, 1),
        (13_600, (3, 170), 680, 32),
    ],
)
def test_default_sizes(monkeypatch, samples, units, latents, active):
    draw = np.random.default_rng(0)
    systems = {f"s{i}": draw.normal(size=(samples, n)) for i, n in enumerate(units)}
    seen = []

    def stop(systems, recipe):
        seen.append(recipe)
        raise InterruptedError

    monkeypatch.setitem(spaces.FITS, "pairwise", (spaces.each_pair, stop))
    with pytest.raises(InterruptedError):
        latent(systems)
    assert (seen[0].latents, seen[0].active) == (latents, active)
    assert (seen[0].steps, seen[0].batch, seen[0].learning_rate) == (1000, 512, 5e-3)


def test_progress_tells_what_is_done():
    reports = []
    analyse(two(), progress=lambda *report: reports.append(report), **QUICK | {"permutations": 3})
    assert ("null x y", 3, 3) in reports
    assert ("dictionary x y", 20, 20) in reports


def test_the_callers_random_state_is_left_alone():
    torch.manual_seed(0)
    before = torch.get_rng_state().clone()
    analyse(two(), **QUICK)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"fit": "both"}, "fit is 'both'; expected one of 'pairwise', 'all', 'independent'"),
        ({"fit": ""}, "fit is ''; expected one of"),
        ({"mode": "sum"}, "mode is 'sum'; expected one of"),
        ({"latents": 0}, "latents is 0; expected a positive integer"),
        ({"latents": 8.0}, "latents is 8.0; expected a positive integer"),
        ({"active": True}, "active is True; expected a positive integer"),
        ({"active": 9}, "active is 9 of 8 latents; expected at most that many"),
        ({"training": {"steps": 0}}, "steps is 0; expected a positive integer"),
        ({"training": {"batch": -1}}, "batch is -1; expected a positive integer"),
        ({"training": {"epochs": 3}}, "training is 'epochs'; expected one of 'steps', 'preset'"),
        ({"seeds": 0}, "seeds is 0; expected a positive integer"),
        ({"seed": -1}, "seed is -1; expected an integer of at least 0"),
        ({"seed": 0.5}, r"seed is 0\.5; expected an integer of at least 0"),
        ({"engine": "local"}, "engine is 'local'; expected 'serial', or 'local:N' for N processes"),
        ({"training": {"learning_rate": 0.0}}, "learning_rate is 0.0; expected a positive number"),
        ({"permutations": -1}, "permutations is -1; expected an integer of at least 0"),
        ({"test": 0.0}, "test is 0.0; expected a share between 0 and 1, or a boolean for each sample"),
        ({"test": np.ones(60, dtype=bool)}, r"test has shape \(60,\) and type bool; expected booleans, \(120,\)"),
        ({"groups": [0] * 120}, "test marks 120 of 120 samples; expected some to score and some to fit"),
        ({"groups": [0, 1]}, r"groups has shape \(2,\)"),
        ({"test": np.ones(120, dtype=bool)}, "test marks 120 of 120 samples"),
        ({"pairs": [("x", "z")]}, r"\('x', 'z'\) is no pair of two systems; expected two of x, y"),
        ({"pairs": []}, r"pairs is \[\]; expected at least one pair of systems, each once"),
        ({"pairs": [("x", "y"), ("y", "x")]}, "expected at least one pair of systems, each once"),
    ],
)
def test_bad_settings(change, words):
    with pytest.raises(DataError, match=words):
        analyse(two(), **QUICK | change)


@pytest.mark.parametrize(
    ("systems", "words"),
    [
        ({"x": np.eye(9)}, "expected at least two systems"),
        ({"x": np.ones((9, 2)), "y": np.eye(9)}, "x does not vary: every unit is constant"),
        ({"x": np.eye(9), "y": np.eye(8)}, "x has 9 samples and y has 8"),
        ({"x": np.eye(9), "y": np.full((9, 2), np.nan)}, r"y has 18 NaN or infinite value\(s\), the first"),
        ({name: np.random.default_rng(0).normal(size=(3, 9, 2)) for name in "xy"}, "Repeats are analysed one by one"),
    ],
)
@pytest.mark.parametrize("function", [analyse, raw])
def test_bad_systems(function, systems, words):
    with pytest.raises(DataError, match=words):
        function(systems)


def test_the_papers_recipe_is_taken_to_the_letter(monkeypatch):
    """Appendix G: all rows in every step, AdamW at a constant rate of 0.001, N(0, 1), neither centred nor scaled."""
    seen = {}

    def fit(module, loss, *data, **settings):
        seen.update(settings, sae=module[0], rows=len(data[0]))
        return training.fit(module, loss, *data, **settings)

    monkeypatch.setattr(spaces, "fit", fit)
    sizes = {"latents": 64, "active": 2, "training": {"steps": 2, "preset": "paper"}, "permutations": 0}
    found = analyse(two(400, 20), controls=[], **sizes)
    assert (seen["preset"], seen["batch"], seen["learning_rate"], seen["weight_decay"]) == ("paper", np.inf, 1e-3, 0.01)
    assert repr(seen["sae"].sparsity) == repr(TopK(2, "straight_through"))
    assert 0.9 < float(seen["sae"].encoder.detach().std()) < 1.1
    assert float(seen["sae"].scale) == 1
    assert found.settings["batch"] == "all rows"
    with pytest.raises(DataError, match="preset is 'best'; expected one of 'default', 'paper'"):
        analyse(two(), **QUICK | {"training": {"preset": "best"}})
