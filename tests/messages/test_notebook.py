"""What a notebook shows of results, and that everything that is returned can be pickled."""

import pickle
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

import superpose as sp
from superpose.messages.notebook import html

HOSTILE = "<img src=x>"


@pytest.fixture(scope="module")
def results():
    """Return what the public calls give, of two systems that hold the same features."""
    draw = np.random.default_rng(0)
    z = (draw.random((2_000, 24)) < 0.08) * draw.exponential(size=(2_000, 24))
    systems = {"left": z @ draw.normal(size=(24, 14)), HOSTILE: z @ draw.normal(size=(24, 14))}
    analysis = sp.analyse(systems, permutations=19)
    labels = [f"stimulus {i // 2}" for i in range(40)]
    recording = sp.Recording("V1", systems["left"][:40], stimuli=labels, groups=[i // 4 for i in range(40)])
    with pytest.warns(UserWarning, match="are averaged"):
        matched = sp.match([recording])
    return {
        "analysis": analysis,
        "content": analysis.content,
        "features": analysis.content.found["left"],
        "recording": recording,
        "matched": matched,
        "table": sp.compare(systems, permutations=0),
        "costs": sp.costs.predict(systems),
        "layers": sp.layers({"one": systems["left"], "two": systems[HOSTILE]}, target=z[:, :5], permutations=0),
        "contrast": sp.contrast(systems | {"third": z}, target="third"),
        "study": sp.grid(units=[1, 2], seed=[0]),
    }


SHOWN = ("analysis", "content", "features", "recording", "layers")


class Tags(HTMLParser):
    """Collects the names of tags."""

    def __init__(self, text):
        super().__init__()
        self.found = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.found.append(tag)


@pytest.mark.parametrize("name", SHOWN)
def test_a_repr_is_short_and_says_what_was_found(results, name):
    said = repr(results[name])
    assert len(said.splitlines()) < 20
    assert "array(" not in said
    assert "dtype" not in said


def test_reprs_name_sizes_and_verdicts(results):
    assert repr(results["analysis"]).startswith("Analysis of 1 pair: 9 scores")
    assert results["analysis"].sentences[0] in repr(results["analysis"])
    assert repr(results["content"]).startswith("Content of 1 pair of 2 systems\nleft and <img src=x>: ")
    count = len(results["features"])
    assert repr(results["features"]).startswith(f"{count} features of 14 units, found in both halves")
    assert repr(results["recording"]) == "Recording V1: 40 rows of 14 units; 20 stimuli, 2 repeats, 10 groups"


@pytest.mark.parametrize("name", SHOWN)
def test_notebooks_get_text_as_text(results, name):
    shown = results[name]._repr_html_()
    assert "img" not in Tags(shown).found
    assert set(Tags(shown).found) <= {"p", "b", "table", "thead", "tbody", "tr", "th", "td"}
    assert len(shown) < 20_000


def test_notebooks_get_the_scores_that_matter(results):
    shown = results["analysis"]._repr_html_()
    for row in results["analysis"].table.itertuples():
        if row.metric in ("cka_debiased", "ridge_r"):
            assert f"{row.score:.3g}" in shown
    assert "ridge_r2" not in shown


def test_an_analysis_draws_its_scores(results):
    first, *directed = results["analysis"].plot().axes
    assert first.get_title() == "debiased CKA"
    assert len(directed) == 2


def test_long_tables_and_many_sentences_are_cut_and_say_so():
    shown = html("Head", [f"Sentence {i}." for i in range(20)], pd.DataFrame({"score": np.arange(30.0)}))
    assert "… 8 more sentences" in shown
    assert "… 30 rows" in shown
    assert shown.count("<tr") == 11


@pytest.mark.parametrize(
    "name", ["analysis", "content", "features", "recording", "matched", "table", "costs", "layers", "contrast", "study"]
)
def test_everything_that_is_returned_pickles(results, name):
    again = pickle.loads(pickle.dumps(results[name]))
    assert type(again) is type(results[name])
    assert repr(again) == repr(results[name])


def test_pickled_features_give_the_same_codes(results):
    x = np.random.default_rng(1).normal(size=(5, 14))
    features = results["features"]
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(features)).codes(x), features.codes(x))


def test_methods_are_to_be_pasted(results):
    told, _, *works = results["analysis"].methods.split("\n")
    assert told.startswith("Alignment was measured with superpose ")
    assert "permutations" in told
    assert works[0].startswith("Liu, S.")
