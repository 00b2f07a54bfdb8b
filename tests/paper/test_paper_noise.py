"""Noise: closed forms with it, laws over projections, and the correction by two repeats."""

import numpy as np
import pytest

from superpose.paper import noise
from superpose.paper.claims import judge
from superpose.paper.summary import over_draws

RAW = ["rsa", "cka_debiased", "r2_adjusted"]


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    return noise.study(samples=2000, noises=(0.0, 0.5, 1.0, 2.0), draws=24).run(tmp_path_factory.mktemp("noise"))


def fails(table):
    judged = judge(noise.CLAIMS, table)
    return set(judged.index[judged["verdict"] == "does not hold"])


def test_the_smoke_study_gives_every_score(tmp_path):
    table = noise.FIGURE.at("smoke").run(tmp_path)
    assert len(table) == 4 * 2 * 3 * 4
    assert set(table["metric"]) == {*RAW, "cka_corrected"}
    assert not table[["score", "theory", "expected", "why"]].isna().any(axis=None)


def test_the_closed_forms_have_the_noise_in_the_covariances_of_the_units():
    draw = np.random.default_rng(0)
    a, b, sigma = draw.normal(size=(5, 12)), draw.normal(size=(8, 12)), 1.7
    c_aa, c_ab, c_bb = a @ a.T + sigma**2 * np.eye(5), a @ b.T, b @ b.T + sigma**2 * np.eye(8)
    found = noise.predictions(a, b, sigma)
    limit = np.sum(c_ab**2) / np.sqrt(np.sum(c_aa**2) * np.sum(c_bb**2))
    assert found["rsa"] == found["cka_debiased"] == pytest.approx(limit, rel=1e-12)
    explained = np.trace(c_ab.T @ np.linalg.solve(c_aa, c_ab))
    assert found["r2_adjusted"] == pytest.approx(explained / np.trace(c_bb), rel=1e-10)


def test_scores_have_their_closed_form_as_mean_at_every_level_of_noise(table):
    points = over_draws(table[table["metric"].isin(RAW)], noise.BY)
    # 24 points: four standard errors, and the rounding of float32 in a square regression without noise.
    assert (points["gap"].abs() <= 4 * points["gap_error"] + 1e-4).all()
    assert points["gap_error"].max() < 0.002


def test_closed_forms_have_their_expectation_as_mean(table):
    points = over_draws(table.assign(score=table["theory"]), noise.BY)
    assert ((points["score"] - points["expected"]).abs() <= 4 * points["error"] + 2e-3).all()
    # Noise of half the signal's standard deviation, by hand: σ² = n/4, and m/(m + 1 + (n + σ²)²/n).
    half = points.query("metric == 'rsa' and units == 16 and noise == 0.5")
    assert half["expected"].item() == pytest.approx(16 / (17 + (64 + 16) ** 2 / 64))


def test_two_repeats_give_back_the_alignment_without_noise(table):
    corrected = over_draws(table[table["metric"] == "cka_corrected"], noise.BY)
    assert (corrected["gap"].abs() <= 4 * corrected["gap_error"]).all()
    # The largest noise lowers CKA from 0.2 to 0.01, and from 0.5 to 0.04: many standard errors.
    assert corrected["gap_error"].max() < 0.01
    assert corrected.groupby("units")["theory"].nunique().eq(1).all()


def test_a_refused_correction_is_missing_with_its_reason():
    settings = {"latents": 64, "samples": 10, "active": 4, "units": 4, "draw": 0}
    rows = noise.measure(0, noise=20.0, **settings)
    assert rows[-1]["score"] is None
    assert "record more samples" in rows[-1]["why"]


def test_every_claim_holds_and_fails_where_the_table_contradicts_it(table):
    judged = judge(noise.CLAIMS, table)
    assert (judged["verdict"] == "holds").all(), judged[["claim", "number"]]
    raw, corrected = table["metric"].isin(RAW), table["metric"] == "cka_corrected"
    assert fails(table.assign(score=table["score"] + 0.1)) == {0, 1, 2, 3, 5, 6}
    assert fails(table.assign(score=table["score"].where(~raw, table["noise"]))) >= {0, 1, 2, 3, 4, 5}
    uncorrected = table["score"].where(~corrected, table["score"] / (1 + table["noise"] ** 2))
    assert fails(table.assign(score=uncorrected)) == {6}


def test_the_figure_has_a_panel_for_each_size_with_every_score(table):
    figure = noise.draw(table)
    assert [axes.get_title() for axes in figure.axes] == ["$m = 16$, $n = 64$", "$m = 64$, $n = 64$"]
    assert {axes.get_xlabel() for axes in figure.axes} == {"noise s.d. / signal s.d."}
    assert figure.axes[0].get_ylabel() == "alignment"
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        *("RSA", "CKA (debiased)", "$R^2$ (adjusted)", "CKA of two repeats"),
        *("closed form", "its expectation"),
    ]
    points = over_draws(table, noise.BY)
    for axes, units in zip(figure.axes, (16, 64), strict=True):
        for container, name in zip(axes.containers, [*RAW, "cka_corrected"], strict=True):
            means = points[(points["metric"] == name) & (points["units"] == units)].sort_values("noise")["score"]
            np.testing.assert_allclose(container.lines[0].get_ydata().astype(float), means)
