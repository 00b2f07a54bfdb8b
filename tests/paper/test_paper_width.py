"""Width: the law of each ensemble, what it misses, and the claims about bigger models."""

import math

import numpy as np
import pytest

from superpose.paper import width
from superpose.paper.claims import judge
from superpose.theory import expected_cka, expected_cka_orthonormal

SETTINGS = {"latents": 32, "samples": 1000, "active": 4, "distribution": "signed"}


@pytest.fixture(scope="module")
def smoke(tmp_path_factory):
    return width.FIGURE.at("smoke").run(tmp_path_factory.mktemp("width"))


@pytest.fixture(scope="module")
def larger(tmp_path_factory):
    settings = {"latents": 32, "samples": 600, "entries": ("gaussian", "sparse", "haar"), "draws": 15}
    return width.study(**settings, units=(4, 16, 32, 128), small=4).run(tmp_path_factory.mktemp("larger"))


def verdicts(table):
    found = judge(width.CLAIMS, table)
    return dict(zip(found["claim"], found["verdict"], strict=True))


def numbers(table):
    found = judge(width.CLAIMS, table)
    return dict(zip(found["claim"], found["number"], strict=True))


def claim(start):
    return next(one for one in width.CLAIMS if one.text.startswith(start))


def test_the_smoke_study_has_every_pair_and_no_hole(smoke):
    assert set(smoke["metric"]) == {*width.METRICS, "cka_closed"}
    assert not smoke.isna().any().any()
    pairs = set(zip(smoke["units_a"], smoke["units_b"], strict=True))
    assert pairs == {(4, 4), (8, 8), (32, 32), (128, 128), (8, 4), (8, 32), (8, 128)}


def test_orthonormal_rows_end_where_units_reach_latents(smoke):
    haar = smoke[smoke["entries"] == "haar"]
    assert haar[["units_a", "units_b"]].max().max() == 32
    assert smoke.loc[smoke["entries"] == "gaussian", "units_b"].max() == 128


def test_default_widths_run_from_a_32nd_of_the_latents_to_four_times():
    cells = width.study(draws=1).cells
    assert sorted({cell["units_b"] for cell in cells}) == [4, 8, 16, 32, 64, 128, 256, 512]
    assert {cell["units_a"] for cell in cells if cell["units_a"] != cell["units_b"]} == {16}


@pytest.mark.parametrize("entries", list(width.ENSEMBLES))
def test_scores_are_those_of_the_draws_own_closed_form(entries):
    rows = {
        row["metric"]: row
        for row in width.measure(1, **{**SETTINGS, "samples": 20_000}, draw=0, entries=entries, units_a=8, units_b=16)
    }
    for name in width.METRICS:
        # Over 20,000 samples the standard error of each is about 1 / √20,000 = .007 at most.
        assert rows[name]["score"] == pytest.approx(rows[name]["theory"], abs=0.02)


def test_a_wider_second_system_leaves_r2_of_the_first_alone():
    rows = {row["metric"]: row for row in width.measure(1, **SETTINGS, draw=0, entries="haar", units_a=8, units_b=32)}
    assert rows["r2_adjusted"]["expected"] == 8 / 32
    assert rows["r2_adjusted"]["score"] == pytest.approx(8 / 32, abs=0.01)
    assert rows["cka_debiased"]["expected"] == float(expected_cka_orthonormal(8, 32, 32))


def test_heavy_tailed_square_projections_still_predict_all():
    # Their condition number reaches thousands: single precision loses directions of them.
    for draw in range(10):
        rows = width.measure(
            draw, **{**SETTINGS, "latents": 128}, draw=draw, entries="sparse", units_a=128, units_b=128
        )
        r2 = next(row["score"] for row in rows if row["metric"] == "r2_adjusted")
        assert r2 == pytest.approx(1, abs=1e-6)


def test_means_follow_the_law_of_their_ensemble(larger):
    both = larger[(larger["units_a"] == larger["units_b"]) & (larger["metric"] == "cka_debiased")]
    for (entries, units), here in both.groupby(["entries", "units_a"]):
        law = {
            "gaussian": lambda m: m / (m + 33),
            "sparse": lambda m: m / (m + 60),
            "haar": lambda m: m / 32,
        }[entries](units)
        error = here["score"].std() / math.sqrt(len(here))
        # The ratio of expectations is low by up to .02 at kurtosis 30 and 32 latents.
        assert abs(here["score"].mean() - law) < 4 * error + (0.02 if entries == "sparse" else 0.002)


def test_the_ratio_of_expectations_is_low_for_heavy_tails_alone(larger):
    found = numbers(larger)
    heavy = found["The ratio of expectations is the expectation: kurtosis 30."]
    light = found[claim("The ratio of expectations is the expectation: kurtosis up").text]
    assert heavy > 0.04
    assert light < 0.02


def test_heavy_tails_by_an_independent_route():
    """0.085 for 0.080 at kurtosis 30, 64 latents and 8 units: by NumPy's own draws and the plain formula."""
    draw = np.random.default_rng(0)
    found = []
    for _ in range(3000):
        a, b = (draw.normal(size=(8, 64)) * (draw.random((8, 64)) < 0.1) for _ in range(2))
        g, h = a.T @ a, b.T @ b
        found.append(np.sum(g * h) / np.linalg.norm(g) / np.linalg.norm(h))
    error = np.std(found) / math.sqrt(len(found))
    closed = [width._closed_form(seed, 64, "sparse", 8, 8) for seed in range(40)]
    assert abs(np.mean(closed) - np.mean(found)) < 4 * math.hypot(error, np.std(closed) / math.sqrt(len(closed)))
    assert np.mean(found) - float(expected_cka(8, 8, 64, kurtosis=30.0)) > 3 * error


def test_claims_on_the_larger_study(larger):
    judged = verdicts(larger)
    assert judged[claim("Alignment of equal features increases").text] == "holds"
    assert judged[claim("Smaller models achieve lower").text] == "holds"
    assert judged[claim("A narrow model bounds").text] == "holds"
    full = "Without superposition, at m = n, equal features align fully: "
    assert judged[full + "orthonormal rows."] == "holds"
    assert judged[full + "Gaussian projections."] == "does not hold"
    assert judged[claim("Four units a feature").text] == "does not hold"
    found = numbers(larger)
    assert found[full + "Gaussian projections."] == pytest.approx(32 / 65, abs=0.02)
    assert found[claim("Four units a feature").text] == pytest.approx(128 / 161, abs=0.02)
    assert found[claim("A narrow model bounds").text] == pytest.approx(math.sqrt(128 / 161), abs=0.06)


def test_every_claim_can_fail(larger):
    reversed_widths = larger.assign(score=1 - larger["score"])
    judged = verdicts(reversed_widths)
    assert set(judged.values()) == {"does not hold"}


def test_a_size_that_the_study_lacks_decides_nothing(larger):
    without = larger[larger["units_b"] < 128]
    assert math.isnan(numbers(without)[claim("Four units a feature").text])
    assert verdicts(without)[claim("Four units a feature").text] == "not tested"


def test_every_ensemble_is_in_the_legend_and_every_axis_labelled(smoke):
    figure = width.draw(smoke)
    assert figure.get_size_inches()[0] == 3.5
    shown = [text.get_text() for text in figure.legends[0].get_texts()]
    assert shown == [*width.ENSEMBLES.values(), "expectation", "$m = n$"]
    assert len(figure.axes) == 4
    assert all(axes.get_ylabel() for axes in figure.axes)
    assert all("m/n" in axes.get_xlabel() for axes in figure.axes[2:])
    assert figure.axes[2].get_title() == "$n/4$ units beside $m$"


def test_the_legend_names_only_what_is_drawn(larger):
    shown = [text.get_text() for text in width.draw(larger).legends[0].get_texts()]
    assert shown[:3] == ["Gaussian", "sparse, $\\kappa = 30$", "orthonormal rows"]
    assert len(shown) == 5
