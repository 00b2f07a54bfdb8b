"""Few samples: the scores against the public metrics, the laws against simulation, the claims, the drawing."""

import numpy as np
import pandas as pd
import pytest

import superpose as sp
from superpose import theory
from superpose.arrays import contiguous_folds
from superpose.files import DataError
from superpose.paper import samples
from superpose.paper.claims import judge
from superpose.paper.simulation import drawn_latents, stream
from superpose.paper.summary import over_draws
from superpose.systems import projection

METRICS = {*samples.SIMILARITIES, *samples.EXPLAINED}
SETTINGS = {"latents": 200, "active": 200, "distribution": "gaussian", "entries": "gaussian"}


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    return samples.FIGURE.at("smoke").run(tmp_path_factory.mktemp("samples"))


@pytest.fixture(scope="module")
def figure(table):
    return samples.draw(table)


def measured(seed, **settings):
    return {(row["pair"], row["metric"]): row for row in samples.measure(seed, **SETTINGS, **settings, draw=seed)}


class TestMeasure:
    @pytest.mark.parametrize("pair", ["same", "unrelated"])
    def test_scores_are_the_public_metrics(self, pair):
        found = measured(3, samples=150, units=20)
        z, others = np.split(drawn_latents(3, 300, 200, 200, "gaussian"), 2)
        a, b = (projection(20, 200, generator=stream(3, s, "gaussian", 20)).numpy() for s in ("a", "b"))
        x, y = z @ a.T, (z if pair == "same" else others) @ b.T
        fitted = sp.regression(x, y, cv=None, score="r2")
        oracles = {
            "cka": sp.cka(x, y),
            "cka_debiased": sp.cka(x, y, debiased=True),
            "rsa": sp.rsa(x, y),
            "r2_in_sample": fitted,
            "r2_adjusted": theory.adjusted_r2(fitted, 150, 20),
            "r2_held_out": sp.regression(x, y, cv=contiguous_folds(150, 5), score="r2"),
        }
        assert {name: found[pair, name]["score"] for name in METRICS} == pytest.approx(
            {name: float(value) for name, value in oracles.items()}, abs=1e-5
        )

    def test_unrelated_systems_have_the_limit_zero(self):
        found = measured(1, samples=150, units=20)
        assert [found["unrelated", name]["expected"] for name in sorted(METRICS)] == [0.0] * 6
        assert all(found["same", name]["expected"] > 0.05 for name in METRICS)

    @pytest.mark.parametrize(
        ("units", "missing"),
        [(17, set()), (18, {"r2_held_out"}), (23, {"r2_held_out"}), (24, set(samples.EXPLAINED))],
    )
    def test_regressions_without_a_law_have_no_row(self, units, missing):
        assert {metric for _, metric in measured(0, samples=25, units=units)} == METRICS - missing

    def test_sizes_of_a_draw_share_their_projections(self):
        few, many = (measured(2, samples=n, units=10)["same", "rsa"]["expected"] for n in (50, 100))
        assert few == many

    def test_another_distribution_is_an_error(self):
        with pytest.raises(DataError, match=r"distribution is 'uniform'; expected one whose latents are white: signed"):
            samples.study(distribution="uniform")


def test_half_as_many_samples_as_units():
    """Fifty samples of 100 units: unrelated systems look more alike in biased CKA than identical features deserve."""
    rows = [measured(seed, samples=50, units=100) for seed in range(40)]
    for pair in ("same", "unrelated"):
        gaps = np.array([r[pair, "cka"]["score"] - r[pair, "cka"]["theory"] for r in rows])
        assert abs(gaps.mean()) <= 0.01
        debiased = np.array([r[pair, "cka_debiased"]["score"] - r[pair, "cka"]["expected"] for r in rows])
        assert abs(debiased.mean()) <= min(0.03, 4 * debiased.std() / np.sqrt(40))
    assert np.mean([r["unrelated", "cka"]["score"] for r in rows]) > 0.5
    assert np.mean([r["same", "cka"]["expected"] for r in rows]) == pytest.approx(100 / 301, abs=0.01)


class TestHeldOutLaw:
    def test_it_is_the_ratio_of_expectations(self):
        """Least squares of one normal target on five predictors, 50 samples, folds by hand."""
        generator = np.random.default_rng(0)
        residual, target = np.zeros(2000), np.zeros(2000)
        for repeat in range(2000):
            x = generator.normal(size=(50, 5))
            y = x.sum(1) + np.sqrt(5) * generator.normal(size=50)
            x = np.hstack([x, np.ones((50, 1))])
            weights = np.linalg.lstsq(x[10:], y[10:], rcond=None)[0]
            residual[repeat] = ((y[:10] - x[:10] @ weights) ** 2).sum()
            target[repeat] = ((y[:10] - y[:10].mean()) ** 2).sum()
        law = samples.held_out_law(0.5, 50, 5)
        error = (residual - (1 - law) * target).std() / np.sqrt(2000) / target.mean()
        assert 1 - residual.mean() / target.mean() == pytest.approx(law, abs=4 * error)
        assert abs(law - theory.held_out_r2(0.5, 40, 5)) > 4 * error

    @pytest.mark.parametrize("units", [16, 64, 128])
    def test_it_turns_positive_at_little_more_training_samples_than_latents(self, units):
        """Systems of 256 latents explain units/256 of each other; 318 samples train on 254, and 480 on 384."""
        few, many = (samples.held_out_law(units / 256, n, units) for n in (318, 480))
        assert few < 0 < many

    def test_too_few_samples_are_an_error(self):
        with pytest.raises(DataError, match="40 samples are too few for 38 predictors"):
            samples.held_out_law(0.5, 50, 38)


class TestStudy:
    def test_table(self, table):
        assert set(table["metric"]) == METRICS
        assert set(table["pair"]) == {"same", "unrelated"}
        assert table.notna().all(axis=None)

    def test_the_other_scales_are_the_same_study(self):
        assert samples.FIGURE.at("laptop").cells == samples.study(draws=16).cells
        assert {cell["samples"] for cell in samples.FIGURE.at("paper").cells} >= {50, 20_000}


class TestClaims:
    def test_all_hold_that_few_draws_can_tell(self, table):
        judged = judge(samples.CLAIMS, table)
        assert len(judged) == 11
        assert set(judged["verdict"].iloc[6:]) == {"holds"}
        assert judged["why"].iloc[:6].str.startswith("the standard error of 8 draws is up to").all()

    @pytest.mark.parametrize("metric", sorted(METRICS))
    def test_a_score_off_its_law_is_found(self, table, metric):
        off = table.assign(theory=table["theory"] - 0.2 * (table["metric"] == metric) * (2 - table["theory"]))
        judged = judge(samples.CLAIMS, off)
        assert (judged["verdict"] == "does not hold").sum() == 1

    def test_biased_scores_of_unrelated_systems_are_what_decides(self, table):
        debiased = table[table["metric"] == "cka_debiased"].assign(metric="cka")
        rest = table[table["metric"] != "cka"]
        judged = judge(samples.CLAIMS, pd.concat([rest, debiased])).set_index("claim")["verdict"]
        assert judged.filter(like="nrelated systems").to_list() == ["does not hold"] * 2

    def test_signs_of_held_out_scores_are_what_decides(self, table):
        turned = table.assign(score=-table["score"])
        judged = judge(samples.CLAIMS, turned).set_index("claim")["verdict"]
        assert judged.filter(regex="held out is (negative|positive)").to_list() == ["does not hold"] * 2


class TestDraw:
    def test_every_panel_is_labelled_and_shows_its_scores(self, figure):
        axes = figure.axes
        assert [place.get_title() for place in axes[:2]] == ["same latents, $m = 8$", "same latents, $m = 32$"]
        assert [place.get_ylabel() for place in axes[::2]] == ["similarity", "$R^2$", "similarity"]
        assert [place.get_xlabel() for place in axes[-2:]] == ["samples $N$"] * 2
        assert all(place.get_xscale() == "log" and len(place.containers) == 3 for place in axes)

    def test_dots_are_the_means(self, figure, table):
        points = over_draws(table, samples.BY)
        first = points[(points["pair"] == "same") & (points["units"] == 8) & (points["metric"] == "cka")]
        dots = figure.axes[0].containers[0].lines[0]
        assert np.allclose(dots.get_ydata(), first.sort_values("samples")["score"])

    def test_legend_is_complete_within_a_column(self, figure):
        assert figure.get_figwidth() == 3.5
        labels = [text.get_text() for text in figure.legends[0].get_texts()]
        assert len(labels) == len(set(labels)) == 9
