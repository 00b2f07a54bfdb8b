"""Content of pairs of known truth: which features both hold, what their packing makes of it, and the verdict."""

import html
import itertools
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

import superpose as sp
from superpose.files import DataError
from superpose.report import page
from superpose.report.plots import save
from superpose.sharing import cka_units
from superpose.sharing.packing import Packing
from superpose.sharing.picture import picture
from superpose.sharing.sentences import sentences
from superpose.sharing.shares import Share, geometric, held_share
from superpose.sharing.verdict import Evidence, verdict_of

SAMPLES, UNITS = 5_000, 20


def codes(features, seed, samples=SAMPLES, active=2):
    draw = np.random.default_rng(seed)
    return (draw.random((samples, features)) < active / features) * draw.exponential(size=(samples, features))


def packed(z, seed, units=UNITS):
    a = np.random.default_rng(seed).normal(size=(z.shape[1], units))
    return (z @ a).astype(np.float32), a.T


@pytest.fixture(scope="module")
def truth():
    """64 features: the first 40, the same packed otherwise, 16 of them and 24 others, and the last 24 alone."""
    z = codes(64, 0)
    held = {"a": slice(0, 40), "same": slice(0, 40), "half": slice(24, 64), "other": slice(40, 64)}
    made = {name: packed(z[:, part], seed) for seed, (name, part) in enumerate(held.items(), start=1)}
    return {name: x for name, (x, _) in made.items()}, {name: a for name, (_, a) in made.items()}, z, held


@pytest.fixture(scope="module")
def found(truth):
    systems, _, _, _ = truth
    rotation = np.linalg.qr(np.random.default_rng(9).normal(size=(UNITS, UNITS)))[0]
    systems = systems | {"rotated": systems["a"] @ rotation.astype(np.float32)}
    pairs = [("a", "same"), ("a", "rotated"), ("a", "half"), ("a", "other"), ("half", "other")]
    return sp.content(systems, pairs=pairs, permutations=999)


def row_of(found, a, b):
    table = found.table
    return table[(table.system_a == a) & (table.system_b == b)].iloc[0]


class TestPairs:
    def test_counts_are_those_of_the_truth(self, found):
        counts = {name: len(one) for name, one in found.found.items()}
        assert all(abs(counts[name] - 40) <= 2 for name in ("a", "same", "rotated", "half"))
        assert abs(counts["other"] - 24) <= 2

    @pytest.mark.parametrize(
        ("a", "b", "held_by_b", "held_by_a", "verdict", "packing"),
        [
            ("a", "same", 1, 1, "same", "differently"),
            ("a", "rotated", 1, 1, "same", "alike"),
            ("a", "half", 16 / 40, 16 / 40, "in part", "cannot tell"),
            ("a", "other", 0, 0, "different", ""),
            ("half", "other", 24 / 40, 1, "other among half", "differently"),
        ],
    )
    def test_shares_and_verdicts_are_those_of_the_truth(self, found, a, b, held_by_b, held_by_a, verdict, packing):
        row = row_of(found, a, b)
        assert abs(row.held_by_b - held_by_b) < 0.06
        assert abs(row.held_by_a - held_by_a) < 0.06
        assert abs(row.shared - np.sqrt(held_by_a * held_by_b)) < 0.06
        assert row.shared_low <= row.shared <= row.shared_high
        assert (row.verdict, row.packing) == (verdict, packing)

    @pytest.mark.parametrize(("other", "shared"), [("same", slice(0, 40)), ("half", slice(24, 40))])
    def test_packing_is_the_closed_form_on_the_shared_features(self, found, truth, other, shared):
        _, maps, z, held = truth
        first = maps["a"][:, shared]
        second = maps[other][:, shared.start - held[other].start : shared.stop - held[other].start]
        expected = float(sp.theory.cka(first, second, np.cov(z[:, shared], rowvar=False)))
        assert abs(row_of(found, "a", other).gram_cosine - expected) < 0.05

    def test_content_is_the_cka_of_the_latents(self, found, truth):
        _, _, z, held = truth
        for row in found.table.itertuples():
            parts = [z[:, held["a" if name == "rotated" else name]] for name in (row.system_a, row.system_b)]
            expected = float(sp.cka(*parts, debiased=True))
            assert abs(row.content - expected) < 0.06

    def test_packing_of_the_features_found_gives_the_raw_score(self, found):
        """Without noise nothing but packing and content makes the score (Theorem 3.2)."""
        assert np.abs(found.table.unexplained).max() < 0.05
        assert row_of(found, "a", "same").raw < 0.8 < row_of(found, "a", "same").content

    def test_units_that_are_draws_from_a_population_have_its_score(self, found, truth):
        systems, _, _, _ = truth
        row = row_of(found, "a", "same")
        expected = cka_units(systems["a"], systems["same"])
        assert (row.cka_units, row.cka_units_low, row.cka_units_high) == expected[:3]
        assert row.cka_units_low < 1 < row.cka_units_high

    @pytest.mark.parametrize(
        ("units", "widest", "why"),
        [(8, 1_024, "share a basis"), (3, 1_024, "at least 10 and 4"), (8, 7, "more than 7 units")],
    )
    def test_other_units_are_refused_with_the_reason(self, monkeypatch, units, widest, why):
        monkeypatch.setattr("superpose.sharing.units.WIDEST", widest)
        x = np.random.default_rng(0).exponential(size=(400, units))
        given = {name: np.eye(units) for name in "ab"}
        refused = sp.content({"a": x, "b": x + 0.01}, dictionaries=given, permutations=0)
        assert refused.table[["cka_units", "cka_units_low", "cka_units_high"]].isna().all(axis=None)
        (told,) = refused.warnings
        assert told.startswith("cka_units is not given for 1 pair (a – b): ")
        assert why in told

    def test_the_raw_order_is_wrong_where_that_of_content_is_right(self, truth):
        """Half the features, packed alike, score higher than all of them packed otherwise."""
        systems, maps, z, _ = truth
        maps = np.hstack([maps["a"], np.random.default_rng(5).normal(size=(UNITS, 24))])
        alike = (z[:, 24:64] @ maps[:, 24:64].T).astype(np.float32)
        table = sp.content({"a": systems["a"], "b": systems["same"], "c": alike}, pairs=[("a", "b"), ("a", "c")]).table
        assert table.content[0] > table.content[1] + 0.3
        assert table.shared[0] > table.shared[1] + 0.3

    def test_features_name_their_strongest_samples(self, found, truth):
        _, _, z, _ = truth
        rows = found.features[(found.features.system == "a") & (found.features.other == "same")]
        assert rows.held.all()
        assert (rows.q < 0.05).all()
        strongest = {int(sample) for samples in rows.samples for sample in samples}
        assert all((z[sample, :40] > 1).any() for sample in strongest)

    def test_sentences_tell_the_verdict_first(self, found):
        told = found.sentences
        assert told[0].startswith("a and same: the same features, packed differently. Of 40 features found")
        assert any(text.startswith("half and other: the features of other are among those of half") for text in told)
        assert sum("raw debiased CKA is" in text for text in told) == len(found.table)

    def test_the_same_seed_gives_the_same_bits(self, truth):
        systems, _, _, _ = truth
        few = {name: systems[name][:2_000] for name in ("a", "half")}
        first, second = (sp.content(few, permutations=99).table for _ in range(2))
        pd.testing.assert_frame_equal(first, second, check_exact=True)

    def test_the_order_of_a_pair_changes_nothing(self, truth):
        systems, _, _, _ = truth
        few = {name: systems[name][:2_000] for name in ("a", "half")}
        there, back = (
            sp.content(few, pairs=[pair], permutations=0).table.iloc[0] for pair in (("a", "half"), ("half", "a"))
        )
        assert (there.shared, there.content, there.verdict) == (back.shared, back.content, back.verdict)
        assert there.packed == pytest.approx(back.packed, rel=1e-9)
        assert (there.held_by_a, there.residual_a) == (back.held_by_b, back.residual_b)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_systems_of_known_truth_get_their_sentence(seed):
    """64 features in 28 units, 8 % of them active, noise of .3: the edge of where features can be found."""
    draw = np.random.default_rng(seed)
    z = (draw.random((SAMPLES, 128)) < 0.08) * draw.random((SAMPLES, 128))

    def recorded(features):
        x = z[:, features] @ draw.normal(size=(64, 28))
        return (x + 0.3 * x.std() * draw.normal(size=x.shape)).astype(np.float32)

    a = recorded(slice(0, 64))
    rotation = np.linalg.qr(draw.normal(size=(28, 28)))[0].astype(np.float32)
    expected = {
        "same": (recorded(slice(0, 64)), "the same features, packed differently."),
        "half": (recorded(slice(32, 96)), "features shared in part (0."),
        "other": (recorded(slice(64, 128)), "different features."),
        "rotated": (a @ rotation, "the same features, packed alike."),
    }
    systems = {"a": a} | {name: x for name, (x, _) in expected.items()}
    told = sp.content(systems, pairs=[("a", name) for name in expected], permutations=0).sentences
    for name, (_, sentence) in expected.items():
        assert any(text.startswith(f"a and {name}: {sentence}") for text in told), told


class TestWhatCannotBeTold:
    def test_dense_systems(self):
        draw = np.random.default_rng(0)
        x = draw.normal(size=(3_000, 12))
        table = sp.content({"x": x, "y": x @ draw.normal(size=(12, 12))}, permutations=0).table
        assert table.verdict[0] == "cannot tell"
        assert "both halves of x find" in table.why[0]

    def test_independent_systems_are_not_called_alike(self, truth):
        systems, _, _, _ = truth
        shuffled = systems["a"][np.random.default_rng(3).permutation(SAMPLES)]
        found = sp.content({"a": systems["a"], "shuffled": shuffled}, permutations=999)
        assert found.table.verdict[0] == "different"
        assert found.table.packing[0] == ""
        assert (found.features.q < 0.05).mean() < 0.1


EVIDENCE = Evidence(
    names=("a", "b"),
    found=(40, 40),
    assessable=(40, 40),
    held=(Share(1, 0.97, 1), Share(1, 0.97, 1)),
    shared=Share(1, 0.97, 1),
    median_ratio=0.95,
    middling=0.0,
    weak=0.0,
    able=(0.95, 0.95),
    explained=(0.9, 0.9),
    residual=(0.8, 0.8),
    packing=Packing(0.5, 0.3, 0.2, 0.4),
)
NONE = Share(0.02, 0.0, 0.08)


FEATURES, TRIALS, STIMULI = 12, 4, 2_000


@pytest.fixture(scope="module")
def noisy():
    """Three populations that hold the same features, with trials twice as noisy as the signal, and their atoms."""
    z, draw = codes(FEATURES, 5, STIMULI), np.random.default_rng(6)
    made = {name: packed(z, seed, 16) for seed, name in enumerate(("V4", "IT", "network"), start=7)}
    trials = {name: x + 2 * x.std() * draw.normal(size=(TRIALS, *x.shape)) for name, (x, _) in made.items()}
    return trials, {name: atoms for name, (_, atoms) in made.items()}


def recorded(trials, kind, draw):
    """Return trials as rows in any order, labelled by stimulus and repeat."""
    rows, order = trials.reshape(-1, trials.shape[-1]), draw.permutation(TRIALS * STIMULI)
    stimuli = np.tile([f"image{i}" for i in range(STIMULI)], TRIALS)[order]
    repeats = np.repeat(range(TRIALS), STIMULI)[order]
    if kind == "recording":
        return sp.Recording("of any name", rows[order], stimuli, repeats=repeats)
    frame = pd.DataFrame(rows[order]).add_prefix("unit ")
    return frame.assign(stimulus=stimuli, repeat=repeats)


class TestRepeats:
    @pytest.mark.parametrize("kind", ["recording", "frame"])
    def test_noise_of_recordings_is_not_taken_for_private_content(self, noisy, kind):
        trials, atoms = noisy
        draw = np.random.default_rng(0)
        pair = {name: recorded(trials[name], kind, draw) for name in ("V4", "IT")}
        means = {name: trials[name].mean(axis=0) for name in pair}
        given = {name: atoms[name] for name in pair}
        once = sp.content(means, dictionaries=given, permutations=0)
        with pytest.warns(UserWarning, match="8000 trials of 2000 stimuli are averaged"):
            found = sp.content(pair, dictionaries=given, permutations=0)
        assert found.settings["repeats"] == ["V4", "IT"]
        # A system shares the interference of its own packing, not its noise, with its other trials.
        assert (found.features.r_self < once.features.r_self).all()
        lacking = [1 - of.features.ratio.median() for of in (once, found)]
        assert lacking[1] < lacking[0] * 2 / 3
        assert found.table.raw[0] == pytest.approx(once.table.raw[0])

    def test_a_system_without_repeats_is_compared_on_means(self, noisy):
        trials, atoms = noisy
        means = {name: x.mean(axis=0) for name, x in trials.items()}
        known = {name: trials[name] for name in ("V4", "IT")}
        found = sp.content(means, dictionaries=atoms, repeats=known, permutations=0).features
        once = sp.content(means, dictionaries=atoms, permutations=0).features
        network = (found.system == "network") | (found.other == "network")
        pd.testing.assert_frame_equal(found[network], once[network])
        assert (found.r_self[~network] < once.r_self[~network]).all()

    def with_single_trials(self, trials, single):
        """Return two recordings in which the last of the stimuli have one trial, and the means of both."""
        some = {name: trials[name].copy() for name in ("V4", "IT")}
        some["V4"][1:, STIMULI - single :] = np.nan
        some["IT"][1:, STIMULI - single // 2 :] = np.nan
        return some, {name: np.nanmean(x, axis=0) for name, x in some.items()}

    @pytest.mark.parametrize("single", [1, 1000])
    def test_stimuli_of_one_trial_are_left_out_of_halves_alone(self, noisy, single):
        trials, atoms = noisy
        some, means = self.with_single_trials(trials, single)
        given = {name: atoms[name] for name in some}
        test = np.arange(STIMULI) % 5 == 0
        found = sp.content(means, dictionaries=given, repeats=some, test=test, permutations=0)
        assert found.settings["repeats"] == ["V4", "IT"]
        assert any(f"V4 and IT: both repeat {STIMULI - single:,} of 2,000" in text for text in found.warnings)
        # Noise of single trials would make shared features look private, by this much.
        once = sp.content(means, dictionaries=given, test=test, permutations=0)
        lacking = [1 - of.features.ratio.median() for of in (once, found)]
        assert lacking[1] < lacking[0] * 2 / 3
        pd.testing.assert_series_equal(found.table.raw, once.table.raw)

    def test_too_few_repeated_stimuli_leave_means_and_say_so(self, noisy):
        trials, atoms = noisy
        some, means = self.with_single_trials(trials, STIMULI - 50)
        given = {name: atoms[name] for name in some}
        found = sp.content(means, dictionaries=given, repeats=some, permutations=0)
        assert found.settings["repeats"] == []
        assert any("both repeat 50 of 2,000 stimuli" in text and "means over trials" in text for text in found.warnings)

    def test_each_pair_takes_the_stimuli_that_it_repeats(self, noisy):
        trials, atoms = noisy
        some, means = self.with_single_trials(trials, 400)
        some["network"] = trials["network"]
        means["network"] = trials["network"].mean(axis=0)
        found = sp.content(means, dictionaries=atoms, repeats=some, permutations=0)
        notes = [text.split(" stimuli")[0] for text in found.warnings]
        assert notes == [
            f"{pair}: both repeat {count} of 2,000"
            for pair, count in (("V4 and IT", "1,600"), ("V4 and network", "1,600"), ("IT and network", "1,800"))
        ]


class TestVerdict:
    @pytest.mark.parametrize(
        ("change", "content", "words"),
        [
            ({}, "same", ""),
            ({"found": (5, 40)}, "cannot tell", "both halves of a find 5 feature"),
            ({"assessable": (40, 3)}, "cannot tell", "b itself predicts 3 of its 40 features"),
            ({"middling": 0.5}, "cannot tell", "repeats of the stimuli would tell them apart"),
            ({"explained": (0.3, 0.9)}, "cannot tell", "the features explain 30 % of a"),
            ({"explained": (0.6, 0.9), "residual": (0.0, 0.8)}, "cannot tell", "of the rest the other system"),
            ({"median_ratio": 0.75}, "cannot tell", "0.75 times as well"),
            ({"held": (Share(1, 0.95, 1), Share(0.3, 0.2, 0.4))}, "a among b", ""),
            ({"held": (Share(0.3, 0.2, 0.4), Share(1, 0.95, 1))}, "b among a", ""),
            ({"shared": Share(0.7, 0.6, 0.8)}, "in part", ""),
            ({"shared": Share(0.6, 0.4, 0.75)}, "cannot tell", "the shared part lies between 0.40 and 0.75"),
            ({"shared": NONE}, "cannot tell", "of what they leave of a"),
            ({"shared": NONE, "residual": (0.1, 0.1)}, "different", ""),
            (
                {"shared": NONE, "residual": (0.1, 0.1), "able": (0.9, 0.5)},
                "cannot tell",
                "b predicts its own features",
            ),
            ({"shared": NONE, "residual": (0.1, 0.1), "weak": 0.5}, "cannot tell", "predicted weakly, but surely"),
            ({"middling": 0.5, "repeated": True}, "cannot tell", "held by half, as graded copies are"),
            ({"median_ratio": 0.75, "repeated": True}, "cannot tell", "its own: graded copies"),
            ({"shared": NONE, "residual": (0.1, 0.1), "weak": 0.5, "repeated": True}, "cannot tell", "in small part"),
        ],
    )
    def test_the_first_that_holds(self, change, content, words):
        found = verdict_of(replace(EVIDENCE, **change))
        assert found.content == content
        assert words in found.why
        assert bool(found.why) == (content == "cannot tell")

    @pytest.mark.parametrize(
        ("bounds", "packing"),
        [((0.9, 0.85, 0.95), "alike"), ((0.3, 0.2, 0.4), "differently"), ((0.7, 0.55, 0.85), "cannot tell")],
    )
    def test_packing(self, bounds, packing):
        assert verdict_of(replace(EVIDENCE, packing=Packing(0.5, *bounds))).packing == packing


class TestShares:
    def test_nothing_is_no_share(self):
        assert np.isnan(held_share(np.zeros(0))).all()

    def test_ends_are_closed(self):
        assert held_share(np.ones(30)).high == 1
        assert held_share(np.zeros(30)).low == 0

    def test_middling_ratios_widen(self):
        clear, middling = held_share(np.repeat([0.9, 0.1], 20)), held_share(np.repeat([0.9, 0.55, 0.1], [18, 4, 18]))
        assert middling.high - middling.low > clear.high - clear.low

    def test_of_a_population_that_is_known_whole_nothing_is_unsure(self):
        ratio = np.repeat([0.9, 0.1], [12, 28])
        assert held_share(ratio, missing=0) == pytest.approx((0.3, 0.3, 0.3))
        # Jeffreys' own interval, by draws from its beta distribution.
        draws = np.random.default_rng(0).beta(12.5, 28.5, 200_000)
        assert held_share(ratio, missing=1)[1:] == pytest.approx(np.quantile(draws, [0.05, 0.95]), abs=0.002)
        widths = [np.ptp(held_share(ratio, missing=part)[1:]) for part in (0.04, 0.16, 0.64)]
        assert np.divide(widths[1:], widths[:-1]) == pytest.approx([2, 2])

    def test_few_heavy_features_count_as_few(self):
        ratio = np.tile([0.9, 0.1], 30)
        heavy = np.where(np.arange(60) < 4, 100.0, 1.0)
        assert np.ptp(held_share(ratio, heavy)[1:]) > 2 * np.ptp(held_share(ratio)[1:])

    def test_the_mean_is_geometric(self):
        assert geometric(Share(0.25, 0.16, 0.36), Share(1, 1, 1)) == pytest.approx((0.5, 0.4, 0.6))


class TestTextAndPicture:
    def test_a_pair_that_cannot_be_told_says_why(self, found):
        row = found.table.iloc[[0]].assign(verdict="cannot tell", why="too little", content=np.nan)
        (told,) = sentences(row)
        assert "cannot tell whether they hold the same features (too little)" in told

    def test_given_features_are_not_said_to_be_found(self, truth):
        systems, atoms, _, _ = truth
        both = {name: systems[name] for name in ("a", "half")}
        told = sp.content(both, dictionaries={"half": atoms["half"]}, permutations=0)
        assert "features found in both halves of a (" in told.sentences[0]
        assert " and 40 given for half (" in told.sentences[0]
        paragraph = page(title="", sentences=[], warnings=[], **told.reported)
        assert "Features of half were taken from a previously trained dictionary." in paragraph
        assert "Features of the others were estimated" in paragraph

    def test_what_features_leave_is_told_of_each_system_that_it_is_much_of(self, found):
        row = found.table.iloc[[0]].assign(explained_a=0.7, residual_a=0.25, explained_b=0.99)
        assert sentences(row)[1].endswith(
            " Of the variance that features leave unexplained (30 % of a), the other system predicts 25 % of what can "
            "be predicted."
        )
        row = row.assign(explained_b=0.8, residual_b=0.5)
        assert "(30 % of a and 20 % of same), the other system predicts 25 % and 50 % of what" in sentences(row)[1]

    def test_too_few_features_are_not_decomposed(self, found):
        row = found.table.iloc[[0]].assign(verdict="cannot tell", why="few", features_b=2)
        _, told = sentences(row)
        assert told.endswith("too few features to say what packing makes of it.")
        assert f"{row.raw.iloc[0]:.2f}" in told

    def test_a_packing_that_is_not_known_is_not_told(self, found):
        row = found.table.iloc[[0]].assign(packed=np.nan, unexplained=np.nan)
        _, told = sentences(row)
        assert "nan" not in told
        assert "packed as they are" not in told

    def test_picture(self, found, tmp_path):
        figure = found.plot()
        assert [axes.get_xlabel() for axes in figure.axes] == ["CKA", "share of features held"]
        assert len(figure.axes[0].get_yticklabels()) == len(found.table)
        beside = [text.get_text() for text in figure.axes[1].texts]
        assert beside[0] == "same\npacked differently"
        assert beside[-1] == "other\namong half\npacked differently"
        save(picture(found.table), tmp_path / "content")

    @pytest.mark.parametrize("width", [3.5, 7.0])
    def test_words_of_the_picture_stay_in_it_and_apart(self, found, width):
        names = {"other": "a network of many letters, 2", "half": "another one of many letters"}
        table = found.table.replace({"system_a": names, "system_b": names})
        told = [
            f"{names['other']} among {names['half']}" if " among " in verdict else verdict for verdict in table.verdict
        ]
        figure = picture(table.assign(verdict=told), width=width)
        FigureCanvasAgg(figure).draw()
        scores, shares = figure.axes
        beside = [text.get_window_extent() for text in shares.texts]
        named = [label.get_window_extent() for label in scores.get_yticklabels()]
        keys = figure.legends[0].get_window_extent()
        page = figure.bbox
        for box in [*beside, *named, keys]:
            assert page.x0 <= box.x0 <= box.x1 <= page.x1
            assert page.y0 <= box.y0 <= box.y1 <= page.y1
        assert keys.y0 >= scores.bbox.y1
        assert all(upper.y0 >= lower.y1 for upper, lower in itertools.pairwise(beside))
        assert not scores.xaxis.label.get_window_extent().overlaps(shares.xaxis.label.get_window_extent())

    def test_report(self, found, tmp_path):
        page = found.report(tmp_path / "content.html", title="Five systems").read_text(encoding="utf-8")
        assert "<h1>Five systems</h1>" in page
        assert all(html.escape(sentence) in page for sentence in found.sentences)
        assert page.count('class="matrix"') == 3


class TestNames:
    def test_of_labelled_systems_are_their_stimuli(self, truth):
        systems, _, _, _ = truth
        order = np.random.default_rng(0).permutation(2_000)
        names = [f"picture {i}" for i in range(2_000)]
        frames = {name: pd.DataFrame(systems[name][:2_000], index=names).iloc[order] for name in ("a", "half")}
        bare = {name: systems[name][:2_000][order] for name in ("a", "half")}
        shown = sp.content(frames, permutations=0).features.samples
        numbered = sp.content(bare, permutations=0).features.samples
        assert [[names[order[int(row)]] for row in rows] for rows in numbered] == shown.tolist()
        analysed = sp.analyse(frames, permutations=0).content.features.samples
        assert analysed.tolist() == shown.tolist()

    def test_given_ones_go_first(self, truth):
        systems, _, _, _ = truth
        few = {name: systems[name][:2_000] for name in ("a", "half")}
        found = sp.analyse(few, stimuli=[f"word {i}" for i in range(2_000)], permutations=0).content
        assert all(name.startswith("word ") for names in found.features.samples for name in names)


class TestErrors:
    @pytest.mark.parametrize(
        ("change", "words"),
        [
            ({"dictionaries": {"z": np.eye(4)}}, "dictionaries names 'z'; expected some of 'x', 'y'"),
            ({"repeats": {"z": np.eye(4)}}, "repeats names 'z'; expected some of 'x', 'y'"),
            ({"repeats": {"x": np.ones((3, 200, 5))}}, r"repeats of x have shape \(200, 5\); expected \(200, 4\)"),
            ({"stimuli": ["one"]}, "stimuli names 1 samples; expected 200"),
            ({"pairs": [("x", "z")]}, "is no pair of two systems"),
            ({"groups": [0] * 200}, "expected some to score and some to fit"),
        ],
    )
    def test_settings(self, change, words):
        x, y = np.random.default_rng(0).normal(size=(2, 200, 4))
        with pytest.raises(DataError, match=words):
            sp.content({"x": x, "y": y}, **change)

    def test_trials_are_averaged_and_given_as_repeats(self):
        x = np.random.default_rng(0).normal(size=(2, 200, 4))
        with pytest.raises(DataError, match="average trials, and pass them as repeats="):
            sp.content({"x": x, "y": x})
