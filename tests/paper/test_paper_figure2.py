"""Figure 2: the simulation against closed forms, the scores against the public metrics, the claims, the drawing."""

import numpy as np
import pandas as pd
import pytest
import torch

import superpose as sp
from superpose import systems, theory
from superpose.paper import figure2
from superpose.paper.claims import judge
from superpose.paper.simulation import drawn_latents, expected, predictions, scores, stream
from superpose.paper.summary import excess, over_draws, smallest_step


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    return figure2.FIGURE.at("smoke").run(tmp_path_factory.mktemp("figure2"))


@pytest.fixture(scope="module")
def system():
    z = drawn_latents(5, 2000, 48, 6, "uniform")
    a, b = (systems.gaussian_projection(m, 48, generator=stream(5, m)).numpy() for m in (12, 20))
    return z, a, b


class TestScores:
    """Every score of one pass equals the public function of the same name, in float64."""

    @pytest.fixture
    def pair(self, system):
        z, a, b = (part.astype(np.float64) for part in system)
        return z @ a.T, z @ b.T

    def test_they_are_the_public_metrics(self, pair):
        x, y = pair
        found = scores(x, y)
        r2 = theory.adjusted_r2(sp.regression(x, y, cv=None, score="r2"), *x.shape)
        oracles = {
            "rsa": sp.rsa(x, y),
            "cka_debiased": sp.cka(x, y, debiased=True),
            "cka": sp.cka(x, y),
            "r2_adjusted": r2,
            "r_adjusted": np.sqrt(r2),
            "rsa_uncentred": sp.rsa(x, y, centre=False),
        }
        assert found.keys() - oracles.keys() == {"cka_uncentred"}
        assert {name: found[name] for name in oracles} == pytest.approx(
            {name: float(value) for name, value in oracles.items()}, rel=1e-10
        )

    def test_uncentred_cka_is_the_cosine_of_the_gram_matrices(self, pair):
        x, y = pair
        k, l = x @ x.T, y @ y.T
        cosine = (k * l).sum() / np.sqrt((k * k).sum() * (l * l).sum())
        assert scores(x, y)["cka_uncentred"] == pytest.approx(cosine, rel=1e-10)


@pytest.mark.parametrize("distribution", ["uniform", "signed", "gaussian"])
def test_predictions_are_the_closed_forms_with_the_latents_full_covariance(system, distribution):
    _, a, b = system
    covariance = theory.latent_covariance(48, 6, distribution)
    mean = np.full(48, theory.latent_moments(48, 6, distribution).mean)
    found = predictions(a, b, 6, distribution)
    assert found["rsa"] == found["cka"] == found["cka_debiased"]
    assert found["rsa"] == pytest.approx(theory.rsa(a, b, covariance), rel=1e-9)
    assert found["r2_adjusted"] == pytest.approx(theory.regression(a, b, covariance, score="r2"), rel=1e-9)
    assert found["r_adjusted"] == pytest.approx(theory.regression(a, b, covariance), rel=1e-9)
    assert found["rsa_uncentred"] == pytest.approx(theory.rsa_uncentred(a, b, covariance, mean), rel=1e-9)
    assert found["cka_uncentred"] == pytest.approx(theory.cka_uncentred(a, b, covariance, mean), rel=1e-9)


def test_every_ensemble_has_an_expectation():
    laws = {entries: expected(8, 16, 64, entries)["rsa"] for entries in systems.ENTRIES}
    assert laws["gaussian"] == pytest.approx(np.sqrt(8 * 16 / (73 * 81)))
    assert laws["haar"] == pytest.approx(np.sqrt(8 * 16) / 64)
    assert laws["sparse"] < laws["gaussian"] < laws["uniform"] < laws["rademacher"] < laws["haar"]


class TestDraws:
    def test_streams_differ_by_seed_and_name_and_by_nothing_else(self):
        def first(*names):
            return torch.rand(1, generator=stream(*names)).item()

        assert first(1, "a") == first(1, "a")
        assert len({first(1, "a"), first(1, "b"), first(2, "a"), first(1, "a", 2), first(1, "a", "2")}) == 5

    def test_latents_are_kept_and_cannot_be_changed(self):
        z = drawn_latents(1, 50, 8, 2, "uniform")
        assert drawn_latents(1, 50, 8, 2, "uniform") is z
        with pytest.raises(ValueError, match="read-only"):
            z[0] = 1
        assert not np.array_equal(drawn_latents(2, 50, 8, 2, "uniform"), z)

    def test_sizes_and_ensembles_of_a_draw_share_its_latents(self):
        jobs = figure2.study(latents=16, units=(2, 4), active=(2,), draws=2).jobs()
        other = figure2.study(latents=16, units=(8,), active=(2,), draws=2, entries="haar").jobs()
        seeds = {draw: {job.seed for job in jobs + other if job.cell["draw"] == draw} for draw in (0, 1)}
        assert [len(found) for found in seeds.values()] == [1, 1]
        assert seeds[0] != seeds[1]


class TestSummary:
    def test_means_spreads_and_gaps(self):
        rows = pd.DataFrame({"units": 4, "metric": "rsa", "draw": range(4), "score": [0.1, 0.2, 0.3, 0.4]})
        point = over_draws(rows.assign(theory=rows.score - 0.01, expected=0.2), ["units"]).iloc[0]
        sd = np.std([0.1, 0.2, 0.3, 0.4], ddof=1)
        assert point[["score", "sd", "error", "gap", "draws"]].tolist() == pytest.approx([0.25, sd, sd / 2, 0.01, 4])
        assert point["gap_error"] == pytest.approx(0, abs=1e-12)

    def test_excess_is_what_three_standard_errors_leave(self):
        assert excess(pd.Series([0.1, -0.5]), pd.Series([0.1, 0.1])) == pytest.approx(0.2)
        assert excess(pd.Series([0.1, -0.2]), pd.Series([0.1, 0.1])) == 0
        assert excess(pd.Series([0.1]), pd.Series([np.nan])) == pytest.approx(0.1)

    def test_a_fall_is_found_in_any_curve(self):
        points = pd.DataFrame({"k": [1, 1, 1, 2, 2], "m": [1, 2, 3, 1, 2], "score": [0.1, 0.2, 0.3, 0.2, 0.15]})
        points = points.assign(metric="rsa", error=0.001)
        assert smallest_step(points, "m", ["k"]) == pytest.approx(-0.05 + 3 * np.sqrt(2) * 0.001)
        assert smallest_step(points[points.k == 1], "m", ["k"]) > 0


class TestStudy:
    def test_the_table_is_tidy_and_complete(self, table):
        assert list(table.columns[:8]) == [
            "latents", "samples", "active", "distribution", "entries", "draw", "units", "metric",
        ]  # fmt: skip
        assert len(table) == 2 * 5 * 3 * 7
        assert not table.isna().any().any()

    def test_other_sizes_are_added_without_measuring_again(self, tmp_path):
        small = figure2.study(latents=16, samples=100, units=(2, 4), active=(2,), draws=2)
        more = figure2.study(latents=16, samples=100, units=(2, 4, 8), active=(2,), draws=3)
        first = small.run(tmp_path)
        counts = []
        grown = more.run(tmp_path, progress=lambda name, done, total: counts.append((done, total)))
        assert counts[0][0] > len(small.cells)
        assert counts[-1] == (9, 9)
        kept = grown[(grown.units < 8) & (grown.draw < 2)].reset_index(drop=True)
        pd.testing.assert_frame_equal(kept, first, check_exact=True)
        fresh = more.run(tmp_path / "fresh")
        pd.testing.assert_frame_equal(grown, fresh, check_exact=True)

    def test_the_paper_scale_is_the_papers(self):
        cells = pd.DataFrame(figure2.FIGURE.at("paper").cells)
        assert len(cells) == 200 * 16 * 6
        assert sorted(cells.active.unique()) == [2, 4, 8, 16, 32, 64]
        assert (cells.units.min(), cells.units.max()) == (4, 256)


def test_simulation_sits_on_the_closed_forms(tmp_path):
    """n = 256, N = 2,000, 10 draws: RSA and debiased CKA within .004, the expectation within .005, R² within .006."""
    table = figure2.study(samples=2000, active=(4, 64), units=(8, 64, 256), draws=10).run(tmp_path)
    points = over_draws(table, figure2.BY).set_index("metric")
    for metric, bound in {"rsa": 0.004, "cka_debiased": 0.004, "r2_adjusted": 0.006}.items():
        assert points.loc[metric, "gap"].abs().max() <= bound
    assert (points.loc["rsa", "theory"] - points.loc["rsa", "expected"]).abs().max() <= 0.005
    assert (points.loc["r2_adjusted", "score"] - points.loc["r2_adjusted", "units"] / 256).abs().max() <= 0.006
    literal = points.loc["rsa_uncentred"]
    assert literal["gap"].abs().max() <= 0.01, "the law with the mean holds"
    dense = literal[(literal.active == 64) & (literal.units == 256)]
    assert float(dense["score"].iloc[0]) < 0.42, "and is far below the centred one, .5"


class TestClaims:
    def test_all_are_judged(self, table):
        verdicts = judge(figure2.CLAIMS, table)
        assert set(verdicts.verdict) == {"holds", "does not hold", "not tested"}
        assert (verdicts.why.ne("") == verdicts.verdict.eq("not tested")).all()
        assert np.isfinite(verdicts.number).sum() == len(verdicts) - 1
        found = verdicts.set_index("claim").verdict
        assert found["The three metrics track one another tightly: R² has the value of RSA."] == "does not hold"
        assert found["RSA and CKA have the same limit."] == "holds"

    @pytest.mark.parametrize(
        ("change", "fails"),
        [
            (lambda t: t.score.where(t.metric != "rsa", t.theory + 0.02), "match simulation: RSA"),
            (lambda t: t.score.where(t.metric != "cka_debiased", t.theory + 0.02), "match simulation: CKA"),
            (lambda t: t.score.where(t.metric != "r2_adjusted", t.theory - 0.02), "match simulation: regression"),
            (lambda t: t.score.where(t.units < 64, 0.01), "monotonically"),
            (lambda t: t.score + 0.02, "ratio of expectations"),
            (lambda t: t.score.where(t.units > 4, 0.2), "m/n for m ≪ n"),
            (lambda t: t.score.where(t.metric != "rsa", t.score + 0.01), "the same limit"),
            (lambda t: t.score.where(t.metric != "r2_adjusted", -t.score), "orders the sizes"),
            (lambda t: t.score.where(t.active > 2, t.score + 0.5), "Sparsity does not matter"),
        ],
    )  # fmt: skip
    def test_each_can_fail(self, table, change, fails):
        doctored = judge(figure2.CLAIMS, table.assign(score=change(table)))
        verdict = doctored[doctored.claim.str.contains(fails, regex=False)].verdict
        assert verdict.tolist() == ["does not hold"]

    def test_near_zero_alignment_is_asked_of_small_systems_alone(self, table):
        (claim,) = (claim for claim in figure2.CLAIMS if "near-zero" in claim.text)
        many = table.assign(latents=256)
        tables = [table, many, many.assign(score=many.score - 0.02)]
        judged = pd.concat(judge([claim], one) for one in tables)
        assert judged.verdict.tolist() == ["not tested", "does not hold", "holds"]
        assert judged.why.iloc[0] == "the table has no systems of a unit for 32 latents or fewer"


class TestDrawing:
    @pytest.mark.parametrize("reading", ["centred", "literal"])
    def test_a_panel_a_sparsity_with_labels_and_a_full_legend(self, table, reading):
        figure = figure2.draw(table, reading=reading)
        shown = [axes for axes in figure.axes if axes.axison]
        assert [axes.get_title() for axes in shown] == ["$k = 2$", "$k = 16$"]
        assert all("units" in axes.get_xlabel() for axes in shown)
        assert shown[0].get_ylabel() == "alignment"
        names = [text.get_text() for text in figure.legends[0].get_texts()]
        assert len(names) == 6
        assert ("RSA, mean kept" in names) == (reading == "literal")

    def test_the_dots_are_the_means_over_draws(self, table):
        axes = figure2.draw(table).axes[0]
        means = table[(table.active == 2) & (table.metric == "rsa")].groupby("units").score.mean()
        drawn = [container.lines[0].get_ydata() for container in axes.containers]
        assert any(np.allclose(values, means) for values in drawn)

    def test_an_unknown_reading(self, table):
        with pytest.raises(sp.DataError, match="reading is 'both'; expected one of"):
            figure2.draw(table, reading="both")
