"""What encoders share: rows from layers of known content, claims and the picture from a table."""

import numpy as np
import pandas as pd
import pytest
import torch

import superpose as sp
from superpose.files import DataError
from superpose.paper import encoders
from superpose.paper.claims import judge
from superpose.paper.figure5.inputs import Inputs


@pytest.fixture
def known(monkeypatch):
    """Two layers of one network that hold the same features, and a layer of another with features of its own."""
    draw = torch.Generator().manual_seed(0)
    z, own = (sp.systems.sparse_latents(6_000, 24, 2, generator=draw) for _ in range(2))
    packings = sp.systems.gaussian_projection(18, 24, repeats=(3,), generator=draw)
    layers = dict(zip(("A_1", "A_2", "B_1"), (z, z, own), strict=True))
    systems = {name: (of @ a.T).numpy() for (name, of), a in zip(layers.items(), packings, strict=True)}
    test = np.arange(6_000) >= 5_000
    labels = np.random.default_rng(0).integers(0, 49, 6_000)
    found = Inputs(systems, np.arange(6_000) // 2, labels, test)
    monkeypatch.setattr(encoders, "load", lambda *asked: found)


def rows(control, layers):
    asked = {"inputs": "vision", "samples": 5_000, "held_out": 1_000}
    found = encoders.measure(0, layers=layers, control=control, **asked)
    return [{**asked, "control": control, **row} for row in found]


def test_rows_of_known_content(known):
    table = pd.DataFrame(rows("none", "A_1 A_2 B_1") + rows("permuted", "A_1 A_2"))
    pairs = table[table.kind == "pair"].set_index(["control", "system_a", "system_b"])
    same, apart = pairs.loc["none", "A_1", "A_2"], pairs.loc["none", "A_2", "B_1"]
    assert (same.relation, apart.relation) == ("next layer", "two networks")
    assert min(same.held_by_a, same.held_by_b) > 0.9
    # Labels are drawn at random: what they leave of a feature is the feature.
    assert same.within_place_by_b > 0.9
    assert max(apart.held_by_a, apart.held_by_b) < 0.2
    assert pairs.loc["permuted", "A_1", "A_2"].held_by_b < 0.2
    features = table[(table.kind == "feature") & (table.control == "none")]
    assert features.groupby("system").size()["A_1"] == same.features_a
    assert set(features.held[features.system == "A_1"]) == {1}
    assert features.strongest.str.match(r"row \d, column \d").all()


def test_claims_and_picture():
    pairs = [("L6_1", "L6_2", "next layer", 0.9), ("L6_2", "L3_1", "two networks", 0.6)]
    given = {"kind": "pair", "inputs": "language", "samples": 40_000, "control": "none", "verdict": "same"}
    table = pd.DataFrame(
        {**given, "system_a": a, "system_b": b, "relation": relation, "shared": share}
        | {f"{what}_by_{side}": share for what in ("held", "within_word") for side in "ab"}
        for a, b, relation, share in pairs
    )
    verdicts = judge(encoders.CLAIMS, table).verdict.tolist()
    assert verdicts == ["holds", "holds", "not tested", "holds", "holds", "holds", "not tested", "not tested"]
    axes = encoders.draw(table).axes
    shown = [text.get_text() for text in axes[0].texts]
    assert sorted(shown) == ["0.60", "0.60", "0.90", "0.90"]


@pytest.mark.parametrize("asked", [{"inputs": ["smell"]}, {"layers": ["L6_99"]}, {"controls": ["none", "shaken"]}])
def test_what_there_is_not_is_refused(asked):
    with pytest.raises(DataError):
        encoders.study(**asked)
