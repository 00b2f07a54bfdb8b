"""What tables of differences say: who is closer, what is left open, and what was not computed."""

import numpy as np
import pandas as pd
import pytest

import superpose as sp
from superpose.comparison.contrasts import COLUMNS
from superpose.comparison.partitions import PARTS
from superpose.files import DataError
from superpose.report.differences import contrast_picture, contrast_sentences, partition_picture, partition_sentences


def contrasted(**rows):
    """Return a table of one pair, with (score_a, score_b, p) by metric."""
    table = pd.DataFrame([dict.fromkeys(COLUMNS, np.nan) | {"metric": metric} for metric in rows])
    table["score_a"], table["score_b"], table["p"] = zip(*rows.values(), strict=True)
    table["difference"] = table.score_a - table.score_b
    return table.assign(target="V4", system_a="one", system_b="two", p_adjusted=table.p, why="few")


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ({"rsa": (0.5, 0.3, 0.01)}, "one is closer to V4 than two by RSA (0.500 against 0.300, p = .01)."),
        ({"rsa": (0.3, 0.5, 1e-9)}, "two is closer to V4 than one by RSA (0.500 against 0.300, p < .001)."),
        # For a distance the lesser is the closer.
        ({"shape": (0.3, 0.5, 0.01)}, "one is closer to V4 than two by shape distance (0.300 against 0.500, p = .01)."),
        (
            {"rsa": (0.3, 0.31, 0.4), "cka": (0.3, 0.31, 0.5)},
            "one and two do not differ significantly in closeness to V4 by RSA (0.300 and 0.310, p = .4) and CKA "
            "(0.300 and 0.310, p = .5).",
        ),
        ({"rsa": (0.3, np.nan, np.nan)}, "not computed: RSA (few)."),
    ],
)
def test_who_is_closer(rows, words):
    assert contrast_sentences(contrasted(**rows)) == [words]


def test_metrics_that_disagree_are_both_said():
    (found,) = contrast_sentences(contrasted(rsa=(0.5, 0.3, 0.01), ridge_r=(0.3, 0.5, 0.01)))
    assert found.startswith("one is closer to V4 than two by RSA (")
    assert "; two is closer to V4 than one by held-out r (" in found


@pytest.fixture(scope="module")
def parts():
    draw = np.random.default_rng(0)
    shape, colour, noise = draw.normal(size=(3, 200, 3))
    return {"shape": shape, "colour": colour, "V4": shape + 0.1 * noise}


def test_what_each_adds(parts):
    table = sp.partition(parts, target="V4", metrics=["ridge_r2", "ridge_r"])
    squared, correlated = partition_sentences(table)
    score = table.score.iloc[2]
    assert squared.startswith(f"V4 from shape and colour together: held-out R² is {score:.3f} (")
    assert "colour adds nothing significant (" in squared
    assert squared.endswith(" is shared.")
    # Parts of r do not add up.
    assert "shared" not in correlated


def test_parts_that_could_not_be_computed():
    table = pd.DataFrame([dict.fromkeys(PARTS, np.nan) | {"part": p} for p in ("a + b", "a beyond the rest", "shared")])
    table = table.assign(target="V4", metric="ols_r2", why="few samples")
    whole = pd.concat([table, table.iloc[[1]].assign(part="b beyond the rest")])
    assert partition_sentences(whole) == ["V4: OLS, held-out R² could not be computed (few samples)."]
    whole.loc[whole.part == "a + b", ["score", "low", "high"]] = 0.5, 0.4, 0.6
    assert "what a adds could not be computed (few samples)" in partition_sentences(whole)[0]


def test_pictures_show_every_row_and_its_score(parts):
    table = sp.contrast({**parts, "IT": parts["V4"][:, :2]}, target="V4", metrics=["rsa", "ridge_r"])
    figure = contrast_picture(table)
    assert [axes.get_xlabel() for axes in figure.axes] == ["RSA: difference", "held-out $r$: difference"]
    for axes, metric in zip(figure.axes, ("rsa", "ridge_r"), strict=True):
        rows = table[table.metric == metric]
        shown = [text.get_text() for text in axes.texts]
        told = [f"{row.score_a:.2f} − {row.score_b:.2f}" for row in rows.itertuples()]
        assert shown == [words.replace("-0.00", "0.00").replace("-", "−") for words in told]
        markers = [line for line in axes.lines if line.get_marker() == "o"]
        assert [float(line.get_xdata()[0]) for line in markers] == rows.difference.tolist()
        full = [line.get_markerfacecolor() != "white" for line in markers]
        assert full == (rows.p_adjusted <= 0.05).tolist()
    assert figure.get_figwidth() == 3.5
    figure = partition_picture(sp.partition(parts, target="V4", metrics=["ridge_r2"]))
    assert figure.axes[0].get_xlabel() == "held-out $R^2$"
    assert len(figure.axes[0].texts) == 6


def test_many_metrics_take_the_width_of_a_page_or_more():
    widths = [
        contrast_picture(contrasted(**{f"metric {i}": (0.3, 0.2, 0.4) for i in range(n)})).get_figwidth()
        for n in (2, 4, 9)
    ]
    assert widths[:2] == [3.5, 7.0]
    assert widths[2] > 9


def test_a_score_that_there_is_not_and_a_table_without_rows():
    figure = contrast_picture(contrasted(rsa=(0.3, np.nan, np.nan)))
    assert [text.get_text() for text in figure.axes[0].texts] == ["n/a"]
    with pytest.raises(DataError, match=r"the table has no row; expected that of superpose\.contrast or"):
        contrast_picture(contrasted(rsa=(0.3, 0.2, 0.1)).iloc[:0])
