"""Coloured latents: closed forms, the participation-ratio law, and the latent CKA that activity alone points to."""

from itertools import permutations

import numpy as np
import pytest

from superpose import theory
from superpose.files import DataError
from superpose.paper import colour
from superpose.paper.canvas import COLOURS
from superpose.paper.claims import judge
from superpose.paper.simulation import stream
from superpose.paper.summary import over_draws
from superpose.systems import projection

RAW = ["rsa", "cka_debiased", "r2_adjusted"]


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    settings = {"latents": 64, "samples": 2000, "active": (64, 8), "alphas": (0.0, 1.0, 1.5), "units": (4, 32, 64)}
    return colour.study(**settings, draws=12).run(tmp_path_factory.mktemp("colour"))


def fails(table):
    judged = judge(colour.CLAIMS, table)
    return set(judged.index[judged["verdict"] == "does not hold"])


def test_the_smoke_study_gives_every_score_or_the_reason_why_not(tmp_path):
    table = colour.FIGURE.at("smoke").run(tmp_path)
    assert len(table) == 2 * 4 * 3 * 5 * 4
    assert set(table["metric"]) == {*RAW, "latent_cka_estimate"}
    assert not table[["theory", "expected", "why"]].isna().any(axis=None)
    refused = table["score"].isna()
    assert refused.any()
    assert (refused == (table["why"] != "")).all()
    assert set(table.loc[refused, "metric"]) == {"latent_cka_estimate"}
    assert table.loc[refused, "why"].str.contains("does not tell how many latents there are").all()


def test_the_closed_forms_are_those_of_the_projections_with_the_covariance_of_the_latents():
    settings = {"latents": 20, "samples": 50, "active": 3, "alpha": 1.5, "units": 6, "draw": 0}
    rows = {row["metric"]: row for row in colour.measure(7, **settings)}
    a, b = (projection(6, 20, generator=stream(7, system, 6)).numpy() for system in ("a", "b"))
    covariance = np.diag(1 / np.arange(1, 21) ** 1.5)
    for name in ("rsa", "cka_debiased"):
        assert rows[name]["theory"] == pytest.approx(float(theory.cka(a, b, covariance)), rel=1e-5)
    r2 = float(theory.regression(a, b, covariance, score="r2"))
    assert rows["r2_adjusted"]["theory"] == pytest.approx(r2, rel=1e-5)


def test_white_latents_have_the_expectations_of_the_paper():
    found = colour.expected(64, 0.0, 16)
    assert found["rsa"] == pytest.approx(16 / (16 + 64 + 1))
    assert found["r2_adjusted"] == pytest.approx(16 / 64)


def test_scores_have_their_closed_form_as_mean_whatever_the_spectrum_and_the_kind_of_latents(table):
    points = over_draws(table[table["metric"].isin(RAW)], colour.BY)
    # 54 points: four standard errors of 12 draws, and the rounding of float32 in a square regression.
    assert (points["gap"].abs() <= 4 * points["gap_error"] + 1e-3).all()
    assert points["gap_error"].max() < 0.01


def test_the_white_law_is_far_from_coloured_latents_and_the_participation_ratio_close(table):
    points = over_draws(table[table["metric"] == "cka_debiased"], colour.BY)
    steep = points[(points["alpha"] == 1) & (points["units"] == 32)]
    assert (steep["score"] > 2 * 32 / (32 + 64 + 1)).all()
    assert ((steep["score"] - steep["expected"]).abs() < 4 * steep["error"] + 0.01).all()


def test_spectra_and_sizes_of_a_draw_share_latents_and_projections():
    settings = {"latents": 16, "samples": 40, "active": 4, "units": 4, "draw": 0}
    same = [colour.measure(3, alpha=alpha, **settings)[0]["score"] for alpha in (0.0, 1e-9, 1.0)]
    assert same[0] == pytest.approx(same[1], rel=1e-4)
    assert same[0] != pytest.approx(same[2], rel=1e-2)


def test_the_participation_ratio_of_activity_is_the_ratio_of_two_means_over_four_samples():
    y = np.random.default_rng(0).normal(size=(7, 3)) * [3, 2, 1] + 5
    chosen = [tuple(y[list(four)]) for four in permutations(range(7), 4)]
    above = np.mean([np.sum((i - j) ** 2) / 2 * np.sum((k - l) ** 2) / 2 for i, j, k, l in chosen])
    below = np.mean([((i - j) @ (k - l)) ** 2 / 4 for i, j, k, l in chosen])
    assert colour.activity_participation(y) == pytest.approx(above / below, rel=1e-10)


def test_few_samples_do_not_lower_the_participation_ratio_of_activity():
    draws = np.random.default_rng(1).normal(size=(200, 60, 40))
    found = [colour.activity_participation(y) for y in draws]
    own = [float(theory.participation_ratio(np.cov(y.T))) for y in draws]
    assert abs(np.mean(found) - 40) < 4 * np.std(found) / np.sqrt(200) + 0.5
    assert np.mean(own) < 26


def test_the_estimate_is_that_of_the_theory_from_participation_ratios_of_activity():
    z = np.random.default_rng(2).normal(size=(3000, 40))
    a, b = (np.random.default_rng(seed).normal(size=(units, 40)) for seed, units in ((3, 60), (4, 90)))
    covariance = [np.cov((z @ p.T).T) for p in (a, b)]
    raw = float(theory.cka(a, b))
    ratios = [float(theory.latent_participation(len(c), theory.participation_ratio(c))) for c in covariance]
    found = colour.estimate(raw, z @ a.T, z @ b.T)
    assert found["why"] == ""
    # The ratios of this oracle are biased by a share of units/samples.
    assert found["score"] == pytest.approx(float(theory.latent_cka(raw, 60, 90, *ratios)), rel=0.03)
    assert found["score"] == pytest.approx(1, abs=0.1)


def test_an_estimate_from_activity_that_fills_its_units_is_refused():
    x, y = np.random.default_rng(5).normal(size=(2, 500, 8))
    found = colour.estimate(0.03, x, y)
    assert found["score"] is None
    assert "activity fills its units" in found["why"]


def test_a_participation_ratio_needs_four_samples_that_vary():
    with pytest.raises(DataError, match=r"responses have 3 samples; expected at least 4"):
        colour.activity_participation(np.eye(3))
    with pytest.raises(DataError, match=r"‖C‖² from 10 samples is not positive; expected activity that varies"):
        colour.activity_participation(np.ones((10, 2)))


def test_every_claim_is_judged_and_none_fails_but_the_bold_one(table):
    judged = judge(colour.CLAIMS, table).set_index("claim")
    assert len(judged) == len(colour.CLAIMS)
    assert np.isfinite(judged["number"]).all()
    bold = "Activity of any number of units does, where the estimate is not refused."
    assert judged.loc[bold, "verdict"] != "holds"
    assert "does not hold" not in set(judged["verdict"].drop(bold))


def test_claims_fail_where_the_table_contradicts_them(table):
    raw, estimate = table["metric"].isin(RAW), table["metric"] == "latent_cka_estimate"
    usual = fails(table)
    low = table.assign(score=table["score"].where(~raw, table["score"] * 0.8))
    assert fails(low) - usual >= {0, 1, 3, 4, 5, 6}
    white = table.assign(score=table["score"].where(~raw, table["units"] / (table["units"] + 65)))
    assert fails(white) - usual >= {0, 2}
    falls = table.assign(score=table["score"].where(~raw, -table["score"]))
    assert 7 in fails(falls)
    sparse = table.assign(score=table["score"].where(~raw | (table["active"] == 64), table["score"] + 0.2))
    assert 8 in fails(sparse)
    rsa = table.assign(score=table["score"].where(table["metric"] != "rsa", table["score"] + 0.1))
    assert 9 in fails(rsa)
    spread = table.assign(score=table["score"].where(~estimate, 1.5 + table["draw"] % 3))
    assert fails(spread) >= {10, 11, 12}
    assert 13 in fails(table.assign(score=table["score"].where(~estimate | (table["draw"] > 0))))


def test_the_figure_shows_every_spectrum_and_says_what_was_refused(table):
    few = (table["metric"] == "latent_cka_estimate") & (table["alpha"] == 0) & (table["units"] == 4)
    figure = colour.draw(table.assign(score=table["score"].mask(few)))
    cka, r2, law, recovery = figure.axes
    assert [axes.get_title() for axes in figure.axes] == [
        "raw CKA (debiased)",
        "raw $R^2$ (adjusted)",
        "the same CKA, one law",
        "latent CKA, estimated",
    ]
    assert all(axes.get_xlabel() for axes in figure.axes)
    assert cka.get_ylabel() == law.get_ylabel() == "alignment"
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        *(f"$\\alpha$ = {alpha}" for alpha in ("0", "1", "1.5")),
        *("dense", "sparse", "refused"),
        *("closed form", "its expectation", "law of white latents"),
    ]
    assert figure.get_size_inches()[0] == 3.5
    white = over_draws(table[table["metric"] == "r2_adjusted"], colour.BY).query("alpha == 0 and active == 64")
    shown = r2.containers[0].lines[0]
    np.testing.assert_allclose(shown.get_ydata().astype(float), white.sort_values("units")["score"])
    crosses = [line for line in recovery.lines if line.get_marker() == "x" and len(line.get_xdata())]
    assert len(crosses) == 1
    assert crosses[0].get_color() == COLOURS[0]
    assert len(crosses[0].get_xdata()) == 2
