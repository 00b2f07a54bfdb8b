"""Figure 1: matrices that follow from one another, scores that follow the theory, latents that come back."""

from itertools import combinations

import numpy as np
import pandas as pd
import pytest

from superpose.files import DataError
from superpose.paper import figure1
from superpose.paper.claims import judge
from superpose.paper.summary import over_draws

METRICS = {"rsa", "cka_debiased", "r2_adjusted"}


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    return figure1.study(samples=1000, draws=30).run(tmp_path_factory.mktemp("figure1"))


def matrix(rows, system, kind):
    chosen = rows[(rows["system"] == system) & (rows["matrix"] == kind)]
    return chosen.pivot(index="row", columns="column", values="value").to_numpy()


def scores(table, system):
    return table[(table["system"] == system) & table["metric"].isin(METRICS)]


def verdicts(table):
    return list(judge(figure1.CLAIMS, table)["verdict"] == "holds")


def test_the_smoke_study_gives_every_matrix_and_score_without_gaps(tmp_path):
    table = figure1.FIGURE.at("smoke").run(tmp_path)
    entries = table[table["matrix"] != "scores"]
    assert not entries[["system", "row", "column", "value"]].isna().any(axis=None)
    pair = entries[entries["draw"] == 0]
    shapes = {kind: matrix(rows, *kind).shape for kind, rows in pair.groupby(["system", "matrix"])}
    assert shapes == {
        ("both", "latents"): (6, 8),
        **{(system, "projection"): (3, 6) for system in "ab"},
        **{(system, "responses"): (3, 8) for system in "ab"},
        **{(system, "gram"): (6, 6) for system in "ab"},
        **{(system, "rsm"): (8, 8) for system in "ab"},
    }
    held = table[table["matrix"] == "scores"]
    assert not held[["system", "metric", "score", "theory", "expected"]].isna().any(axis=None)
    assert set(held.groupby(["system", "metric"]).size()) == {5}
    assert {system: set(rows["metric"]) for system, rows in held.groupby("system")} == {
        "a": {"exact"},
        "b": {"exact"},
        "both": METRICS,
        "recovered": METRICS,
        "latents": METRICS,
    }


def test_each_matrix_follows_from_latents_and_projection(table):
    for _, rows in table.groupby("draw"):
        z = matrix(rows, "both", "latents")
        assert ((z != 0).sum(axis=0) == 2).all()
        for system in "ab":
            weights, responses = matrix(rows, system, "projection"), matrix(rows, system, "responses")
            np.testing.assert_allclose(responses, weights @ z, atol=1e-12)
            np.testing.assert_allclose(matrix(rows, system, "gram"), weights.T @ weights, atol=1e-12)
            np.testing.assert_allclose(matrix(rows, system, "rsm"), responses.T @ responses, atol=1e-12)


def test_the_closed_forms_are_those_of_the_gram_matrices_in_the_table(table):
    theory = scores(table, "both").pivot(index="draw", columns="metric", values="theory")
    for draw, rows in table.groupby("draw"):
        a, b = (matrix(rows, system, "gram") for system in "ab")
        cosine = np.sum(a * b) / np.sqrt(np.sum(a * a) * np.sum(b * b))
        explained = np.trace(a @ np.linalg.pinv(a, rcond=1e-9) @ b) / np.trace(b)
        assert theory.loc[draw, "rsa"] == pytest.approx(cosine, rel=1e-9)
        assert theory.loc[draw, "cka_debiased"] == pytest.approx(cosine, rel=1e-9)
        assert theory.loc[draw, "r2_adjusted"] == pytest.approx(explained, rel=1e-9)


def test_measured_scores_have_the_closed_form_as_their_mean(table):
    points = over_draws(scores(table, "both"), ["system"])
    assert (points["gap"].abs() <= 4 * points["gap_error"]).all()
    # That test has power: the standard errors are small beside the differences between pairs.
    assert (points["gap_error"] < 0.1 * points["sd"]).all()


def test_identical_features_score_below_one_and_their_recovered_latents_one(table):
    assert scores(table, "both")["score"].max() < 0.95
    for system in ("recovered", "latents"):
        np.testing.assert_allclose(scores(table, system)["score"], 1, atol=1e-9)
    assert set(table.loc[table["metric"] == "exact", "score"]) == {1.0}


def test_the_best_of_all_supports_is_found():
    stream = np.random.default_rng(0)
    weights, responses = stream.normal(size=(4, 6)), stream.normal(size=(20, 4))
    found = figure1.recovered(responses, weights, 2)
    assert ((found != 0).sum(axis=1) == 2).all()
    for response, code in zip(responses, found, strict=True):
        misfits = [np.linalg.lstsq(weights[:, pair], response)[1].item() for pair in combinations(range(6), 2)]
        assert np.square(response - weights @ code).sum() == pytest.approx(min(misfits), rel=1e-9)


def test_latents_do_not_come_back_once_as_many_are_active_as_there_are_units(tmp_path):
    table = figure1.study(samples=500, draws=1, active=3).run(tmp_path)
    exact = table[table["metric"] == "exact"]
    # All 20 supports of three fit three units; one of them is taken.
    assert exact["score"].max() < 0.2
    assert exact["theory"].isna().all()
    assert scores(table, "recovered")["score"].max() < 0.9
    assert not any(verdicts(table)[1:3])


def test_systems_with_a_unit_for_each_latent_predict_each_other_but_still_look_different(tmp_path):
    table = figure1.study(samples=500, draws=3, units=6).run(tmp_path)
    measured = scores(table, "both").pivot(index="draw", columns="metric", values="score")
    np.testing.assert_allclose(measured["r2_adjusted"], 1, atol=1e-6)
    assert measured["rsa"].max() < 0.9


def test_other_sizes_of_a_draw_see_the_same_latents(table, tmp_path):
    wider = figure1.study(samples=1000, draws=1, units=4).run(tmp_path)
    first = table[table["draw"] == 0]
    np.testing.assert_array_equal(matrix(wider, "both", "latents"), matrix(first, "both", "latents"))
    assert matrix(wider, "a", "projection").shape == (4, 6)


def test_too_many_supports_are_refused():
    with pytest.raises(DataError, match=r"4 of 40 latents have 91,390 supports; expected at most 10,000"):
        figure1.recovered(np.zeros((1, 10)), np.zeros((10, 40)), 4)


def test_the_figure_shows_the_matrices_of_a_typical_pair(table):
    raw = scores(table, "both").pivot(index="draw", columns="metric", values="score")
    pair = table[table["draw"] == ((raw - raw.mean()) ** 2).sum(axis=1).idxmin()]
    figure = figure1.draw(table)
    pictures = {axes.get_title(): axes for axes in figure.axes if axes.images}
    assert len(pictures) == 9
    shown = {
        "$Z$": ("both", "latents", "8 stimuli", "6 latents"),
        "$A$": ("a", "projection", "6 latents", "3 units"),
        "$Y_b = BZ$": ("b", "responses", "8 stimuli", "3 units"),
        r"$G_a = A^\mathsf{T} A$": ("a", "gram", "6 latents", "6 latents"),
        r"$R_b = Y_b^\mathsf{T} Y_b$": ("b", "rsm", "8 stimuli", "8 stimuli"),
    }
    for title, (system, kind, x, y) in shown.items():
        axes = pictures[title]
        np.testing.assert_array_equal(axes.images[0].get_array(), matrix(pair, system, kind))
        assert (axes.get_xlabel(), axes.get_ylabel()) == (x, y)
    ranges = {title: axes.images[0].get_clim() for title, axes in pictures.items()}
    assert all(low == -high for low, high in ranges.values())
    assert ranges["$A$"] == ranges["$B$"]
    assert ranges["$A$"][1] == max(np.abs(matrix(pair, system, "projection")).max() for system in "ab")
    texts = [text.get_text() for text in figure.texts]
    assert {"system A", "system B", "Gram matrix", "RSM", "alignment of $A$ and $B$"} <= set(texts)


def test_the_figure_shows_the_scores_of_that_pair_and_explains_every_mark(table):
    raw = scores(table, "both").pivot(index="draw", columns="metric", values="score")
    typical = ((raw - raw.mean()) ** 2).sum(axis=1).idxmin()
    strip = next(axes for axes in figure1.draw(table).axes if axes.get_xlabel() == "score")
    assert [label.get_text() for label in strip.get_yticklabels()] == ["RSA", "CKA", "$R^2$"]
    marks = [line for line in strip.lines if line.get_marker() == "o"]
    drawn = [line.get_xdata()[0] for line in marks]
    np.testing.assert_array_equal(drawn, raw.loc[typical, ["rsa", "cka_debiased", "r2_adjusted"]])
    labels = [text.get_text() for text in strip.get_legend().get_texts()]
    assert labels == [
        "responses, 1,000 stimuli",
        "closed form from $G_a$, $G_b$",
        "expected of random $A$, $B$ (≈)",
        "90 % of 30 random pairs",
        "latents recovered from each",
        "latents $Z$ themselves",
    ]


def test_text_of_the_figure_stays_legible_and_inside(table):
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.text import Text

    figure = figure1.draw(table)
    FigureCanvasAgg(figure).draw()
    texts = [text for text in figure.findobj(Text) if text.get_text() and text.get_visible()]
    assert min(text.get_fontsize() for text in texts) >= 6.5
    for text in texts:
        box = text.get_window_extent()
        assert box.x0 >= 0
        assert box.y0 >= 0
        assert box.x1 <= figure.bbox.x1
        assert box.y1 <= figure.bbox.y1


def test_few_pairs_leave_two_claims_to_chance_and_fail_restricted_isometry_alone(table):
    judged = judge(figure1.CLAIMS, table)["verdict"].to_list()
    assert judged == ["holds"] * 6 + ["not tested"] * 2 + ["does not hold"]


def set_to(column, system, metric, value):
    def doctored(table):
        table.loc[(table["system"] == system) & (table["metric"] == metric), column] = value
        return table

    return doctored


def set_matrix(kind, value):
    def doctored(table):
        here = table["matrix"] == kind
        table.loc[here, "value"] = value(table[here])
        return table

    return doctored


def single(entries):
    return (entries["row"] == entries["column"]).astype(float)


@pytest.mark.parametrize(
    ("claim", "doctored", "holds"),
    [
        (0, set_to("score", "both", "rsa", 0.9), False),
        (1, set_to("score", "b", "exact", 0.9), False),
        (2, set_to("score", "recovered", "cka_debiased", 0.9), False),
        (3, set_matrix("projection", single), False),
        (4, set_matrix("rsm", lambda entries: entries["value"] + 1e-3), False),
        (5, set_to("theory", "both", "r2_adjusted", 0.1), False),
        (6, set_to("expected", "both", "rsa", 0.8), False),
        (7, set_to("expected", "both", "r2_adjusted", 0.8), False),
        (8, set_matrix("gram", single), True),
    ],
)
def test_each_claim_turns_with_the_numbers_that_it_is_about(table, claim, doctored, holds):
    assert verdicts(doctored(table.copy()))[claim] is np.bool_(holds).item()


def test_a_missing_score_decides_nothing_for_a_claim(table):
    assert not verdicts(set_to("score", "recovered", "rsa", np.nan)(table.copy()))[2]


def test_the_ratio_of_expectations_is_below_the_mean_in_so_few_units():
    stream = np.random.default_rng(0)
    a, b = stream.normal(size=(2, 4000, 3, 6))
    between, own_a, own_b = (np.square(x @ y.mT).sum(axis=(1, 2)) for x, y in ((a, b), (a, a), (b, b)))
    cosines = between / np.sqrt(own_a * own_b)
    error = cosines.std() / np.sqrt(len(cosines))
    assert cosines.mean() - 0.3 > 10 * error
    table = pd.DataFrame({"draw": range(4000), "system": "both", "metric": "rsa", "score": cosines})
    table = table.assign(theory=cosines, expected=0.3)
    assert figure1.CLAIMS[6].number(table) > figure1.CLAIMS[6].high
