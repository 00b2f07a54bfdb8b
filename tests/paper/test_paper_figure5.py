"""Figure 5: what is read off its table, the claims, and the drawing."""

import itertools

import numpy as np
import pandas as pd
import pytest
from packaged import installed

from superpose.examples.encoders import L3, L6
from superpose.files import DataError
from superpose.paper import figure5
from superpose.paper.claims import judge
from superpose.paper.figure5 import inputs, picture
from superpose.paper.figure5.costs import _units
from superpose.paper.figure5.points import beside, depths, kind, scores, share_above
from superpose.store import build, read

LAYERS = ("L6_1", "L6_2", "L3_1")
PAIR = ("L6_1", "L3_1")
# As the paper tells it, pooled r by space, fit and control; and a world in which nothing of it is true.
PAPER = {
    ("raw", "", "none"): 0.5,
    ("latent", "pairwise", "none"): 0.8,
    ("latent", "all", "none"): 0.79,
    ("latent", "independent", "none"): 0.7,
    ("reconstruction", "pairwise", "none"): 0.6,
    ("closed_form", "pairwise", "none"): 0.6,
    ("latent", "pairwise", "shuffled_fit"): 0.001,
    ("latent", "all", "shuffled_fit"): -0.002,
    ("linear_selection", "pairwise", "none"): 0.6,
    ("latent_to_raw", "pairwise", "none"): 0.7,
    ("nonlinear", "", "none"): 0.6,
    ("raw", "", "within_labels"): 0.2,
    ("corrected", "independent", "none"): 0.95,
    ("corrected", "independent", "untrained"): 0.7,
    ("latent", "pairwise", "untrained"): 0.3,
    ("pca_code", "", "none"): 0.4,
    ("latent", "pairwise", "planted"): 0.9,
    ("raw", "", "planted"): 0.6,
    ("predicted", "", "planted"): 0.6,
}
OPPOSITE = {
    line: {0.8: 0.4, 0.79: 0.45, 0.7: 0.3, 0.001: 0.2, -0.002: 0.2, 0.9: 0.5, 0.95: 0.7, 0.2: 0.45}.get(score, score)
    for line, score in PAPER.items()
} | {
    ("closed_form", "pairwise", "none"): 0.9,
    ("predicted", "", "planted"): 0.9,
    ("pca_code", "", "none"): 0.9,
    ("latent", "pairwise", "untrained"): 0.9,
    ("corrected", "independent", "untrained"): 0.7,
}  # fmt: skip


def invented(world, fvu=0.2):
    """Return a table of all pairs of three layers, in both directions."""
    rows = []
    for (space, fit, control), score in world.items():
        for a, b in itertools.permutations(LAYERS, 2):
            for metric in ("regression_r", "regression_r_units", "cka", "cka_debiased"):
                left = fvu if fit == "pairwise" else 0.2
                rows.append(
                    {
                        "layers": " ".join(LAYERS), "samples": 40_000, "steps": 1_000,
                        "number": 0, "system_a": a, "system_b": b, "metric": metric,
                        "space": space, "fit": fit, "control": control, "score": score, "fvu_a": left, "fvu_b": left,
                    }
                )  # fmt: skip
    return pd.DataFrame(rows)


def test_a_score_is_the_mean_over_seeds_of_its_line():
    table = invented(PAPER)
    again = table.assign(number=1, score=table["score"] + 0.1)
    found = scores(pd.concat([table, again]), "latent", "all")
    assert len(found) == 6
    assert np.allclose(found, 0.84)


def test_pairs_are_matched_by_direction_and_those_without_both_are_left_out():
    x = pd.Series({("a", "b"): 1.0, ("b", "a"): 2.0})
    y = pd.Series({("b", "a"): 4.0, ("a", "c"): 5.0})
    x.index.names = y.index.names = ["system_a", "system_b"]
    assert beside(x, y).to_dict("list") == {"x": [2.0], "y": [4.0]}


def test_the_interval_of_a_share_is_over_layers():
    """One odd layer of six is in a third of the pairs: counting those as independent would be far too sure."""
    names = list("abcdef")
    index = pd.MultiIndex.from_tuples(itertools.combinations(names, 2))
    y = [0.0 if "a" in pair else 1.0 for pair in index]
    share, low, high = share_above(pd.DataFrame({"x": 0.5, "y": y}, index=index))
    assert share == pytest.approx(10 / 15)
    draw = np.random.default_rng(1)
    drawn = []
    for _ in range(4000):
        chosen = draw.integers(0, 6, 6)
        found = [0.0 if 0 in (i, j) else 1.0 for i, j in itertools.combinations(chosen, 2) if i != j]
        drawn += [np.mean(found)] if found else []
    assert low == pytest.approx(np.quantile(drawn, 0.025), abs=0.06)
    assert high == pytest.approx(np.quantile(drawn, 0.975), abs=0.06)


def test_kinds_of_pairs():
    last = depths(["L6_1", "L6_6", "L3_3", "L3_1"])
    assert last == {"L6": 6, "L3": 3}
    assert depths(["CLIP.resid_post_11", "CLIP.mlp_out_3", "V1"]) == {"CLIP": 12, "V1": 1}
    assert kind("CLIP.resid_post_0", "CLIP.mlp_out_3", {"CLIP": 12}) == "one network"
    assert kind("L6_1", "L6_6", last) == "one network"
    assert kind("L6_4", "L3_2", last) == kind("L3_3", "L6_6", last) == "two, same depth"
    assert kind("L6_3", "L3_2", last) == "two networks"


def test_the_papers_account_holds_in_a_table_made_of_it():
    found = judge(figure5.CLAIMS, invented(PAPER))
    assert found["verdict"].eq("holds").all(), found[found["verdict"] != "holds"]


def test_every_claim_can_fail():
    found = judge(figure5.CLAIMS, invented(OPPOSITE, fvu=0.4))
    assert found["verdict"].eq("does not hold").all(), found[found["verdict"] == "holds"]


def test_the_study_has_every_pair_once_and_what_takes_longest_first():
    study = figure5.FIGURE.at("laptop")
    works = [cell["work"] for cell in study.cells]
    assert works[:5] == ["together", "independent", *["held against"] * 3]
    pairs = [cell["layers"] for cell in study.cells if cell["work"] in ("pair", "held against")]
    assert len(pairs) == len(set(pairs)) == 36
    assert len({job.seed for job in study.jobs()}) == len(study.cells)
    assert len(figure5.FIGURE.at("paper").cells) == 3 * len(study.cells)


def test_the_drawing_counts_points_on_either_side_and_has_a_row_a_line():
    table = invented(PAPER)
    table = table[~(table["space"].eq("nonlinear") & ~table["system_a"].isin(PAIR))]
    figure = figure5.draw(table)
    texts = [text.get_text() for axes in figure.axes[:4] for text in axes.texts]
    assert texts[0].startswith("6 above: 100 %")
    assert texts[1] == "0 below"
    assert all(axes.get_xlabel() and axes.get_ylabel() for axes in figure.axes[:4])
    below = figure.axes[4]
    # Nobody gave dictionaries of others, and the invented world has no unit means of some lines.
    drawn = {line for _, line, _ in picture.ROWS} & set(PAPER)
    assert len(below.get_yticks()) == len(drawn)
    assert "r" in below.get_xlabel()


def test_without_pairs_that_were_held_against_controls_the_scatters_are_drawn_alone():
    few = {line: score for line, score in PAPER.items() if line[0] != "nonlinear"}
    assert len(figure5.draw(invented(few)).axes) == 4


def test_a_text_that_is_too_short_is_refused(monkeypatch):
    monkeypatch.setattr(inputs, "packaged", lambda name: {"tokenizer.json": None})
    pieces = np.array([[101, 7, 7, 102], [101, 7, 102, 0]] * 5)
    monkeypatch.setattr(inputs, "tokenize", lambda path, text, length: {"input_ids": pieces})
    assert inputs._enough([""] * 10, 6, 3) == (4, 2)
    with pytest.raises(DataError, match=r"the text has 15 word pieces; expected at least 12 \+ 4"):
        inputs._enough([""] * 10, 12, 4)
    with pytest.raises(DataError, match="inputs is 'noise'; expected one of 'language'"):
        inputs.load("noise", 1, 1)


@pytest.mark.packages
@pytest.mark.skipif(not installed(L6, L3), reason="the packaged encoders are not installed")
def test_sentences_are_split_whole_and_recorded_once(monkeypatch, tmp_path):
    monkeypatch.setenv("SUPERPOSE_CACHE", str(tmp_path))
    found = inputs.load("language", 300, 100)
    assert list(found.systems) == [*(f"L6_{i}" for i in range(1, 7)), *(f"L3_{i}" for i in range(1, 4))]
    assert {x.shape for x in found.systems.values()} == {(len(found.test), 384)}
    assert (~found.test).sum() >= 300
    assert found.test.sum() >= 100
    assert not set(found.groups[found.test]) & set(found.groups[~found.test])
    written = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.npy")}
    assert written
    inputs._language.cache_clear()
    again = inputs.load("language", 300, 100)
    assert all(np.array_equal(again.systems[name], x) for name, x in found.systems.items())
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.npy")} == written


def test_pictures_are_split_whole_and_labelled_by_place_and_subject(monkeypatch):
    drawings = [f"{subject}/{i}.png" for i in range(4) for subject in ("animals", "tools")]
    seen = []

    def layers(folder, pictures, tokens):
        seen.append((pictures.names, tokens))
        return {"ViT_1": np.zeros((49 * len(pictures.names), 3))}

    monkeypatch.setattr(inputs, "clipart", lambda: drawings)
    monkeypatch.setattr(inputs, "vision_layers", layers)
    found = inputs._vision(100, 60)
    assert seen == [(tuple(drawings[:5]), "grid")]
    assert (found.test.sum(), (~found.test).sum()) == (98, 147)
    assert not set(found.groups[found.test]) & set(found.groups[~found.test])
    # 49 places of two subjects; the same place of pictures of one subject shares a label.
    assert len(set(found.labels)) == 98
    np.testing.assert_array_equal(found.labels[:49], found.labels[98:147])
    with pytest.raises(DataError, match=r"holds 8 pictures; expected at least 7 \+ 2"):
        inputs._vision(7 * 49, 60)


@pytest.fixture
def stores(tmp_path):
    """Return two stores of the same 40 groups of 3 rows, and one of other rows."""
    draw = np.random.default_rng(0)
    groups = np.repeat(np.arange(40), 3)
    made = []
    for name, labels in (("A", groups), ("B", groups), ("other", groups[::-1])):
        arrays = {f"resid_post_{i}": draw.normal(size=(120, 4 + i)) for i in range(2)}
        arrays |= {"groups": labels, "ids": np.full(120, -1)}
        build(tmp_path / name, {}, 1, lambda i, arrays=arrays: arrays)
        made.append(str(tmp_path / name))
    return made


def test_recorded_stores_are_paired_and_split_by_group(stores):
    found = inputs.load("", 60, 30, stores[:2])
    assert list(found.systems) == ["A.resid_post_0", "A.resid_post_1", "B.resid_post_0", "B.resid_post_1"]
    assert found.systems["B.resid_post_1"].shape == (len(found.test), 5)
    assert (~found.test).sum() >= 60
    assert found.test.sum() >= 30
    assert not set(found.groups[found.test]) & set(found.groups[~found.test])
    rows = np.isin(read(stores[0])["resid_post_0"], found.systems["A.resid_post_0"]).all(axis=1)
    np.testing.assert_array_equal(read(stores[1])["resid_post_1"][rows], found.systems["B.resid_post_1"])
    with pytest.raises(DataError, match=r"holds 120 rows; expected at least 100 \+ 30"):
        inputs.load("", 100, 30, stores[:2])
    with pytest.raises(DataError, match="hold different samples; record the same inputs, and the same tokens"):
        inputs.load("", 60, 30, stores[::2])
    with pytest.raises(DataError, match="expected a finished store, whose name differs"):
        inputs.recorded_layers([stores[0], stores[0]])


def test_recorded_stores_make_a_study_of_their_layers(stores):
    study = figure5.study(recorded=stores[:2], samples=60, held_out=30)
    assert [cell["work"] for cell in study.cells] == ["together", "independent", *["pair"] * 6]
    assert {cell["inputs"] for cell in study.cells} == {"A B"}
    assert len({cell["contents"] for cell in study.cells}) == 1
    other = figure5.study(recorded=stores[::2], samples=60, held_out=30)
    assert other.cells[0]["contents"] != study.cells[0]["contents"]
    assert _units(study.cells[0]) == [4, 5, 4, 5]


def test_all_pairs_or_those_named_are_held_against_the_controls():
    def judged(**options):
        cells = figure5.study(**options).cells
        return [cell["layers"] for cell in cells if cell["work"] == "held against"]

    assert judged() == ["L6_1 L6_6", "L6_3 L3_2", "L6_6 L3_3"]
    assert judged(inputs="vision") == ["ViT_3 ViT_12", "ViT_9 Lite0_12", "ViT_12 Lite0_16"]
    assert judged(named=["L6_1-L6_2"]) == ["L6_1 L6_2"]
    assert len(judged(controls="all")) == 36
    with pytest.raises(DataError, match="controls is 'some'; expected one of 'named', 'all'"):
        judged(controls="some")
    with pytest.raises(DataError, match="a layer is 'L6_7'; expected one of 'L6_1'"):
        judged(layers=["L6_7"])
    assert len(figure5.study(inputs="vision", layers=["ViT_1", "Lite0_2"]).cells) == 3


def test_costs_are_counted_and_timed():
    """A pair trains 2 dictionaries, each an encoding and a decoding of every row of every step."""
    few = {"layers": ["L6_1", "L6_2"], "named": ["L6_1-L3_1"], "expansion": 1, "active": 4, "steps": 10, "batch": 100}
    found = figure5.costs(figure5.study(**few)).set_index("work")
    assert list(found.index) == ["together", "independent", "pair"]
    trained = 2 * 10 * 100 * 4 * 384**2
    coded = 2 * 50_000 * 4 * 384**2
    scored = 3 * (6 * 50_000 * 384**2 + 6 * 384**3)
    assert found.flops["pair"] == trained + coded + scored
    assert (found.hours_gpu > 0).all()
    assert (found.hours_gpu < found.hours).all()
    longer = figure5.costs(figure5.study(**few | {"steps": 10_000})).set_index("work")
    assert (longer.hours > 3 * found.hours).all()
