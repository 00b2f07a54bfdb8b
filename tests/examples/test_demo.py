"""The demo: the main job on two packaged encoders, made small, and on what it says when they are missing."""

import json
import os
import re
from importlib import metadata

import numpy as np
import pandas as pd
import pytest

import superpose as sp
from superpose import cli
from superpose.arrays import group_folds
from superpose.examples import demo, encoders

SCORES = ["alignment.csv", "alignment.parquet", "alignment.png", "alignment.svg"]
CONTENT = ["content.csv", "content.parquet", "content.png", "content.svg", "features.csv", "features.parquet"]
FILES = [*SCORES, *CONTENT, "report.html", "run.json"]


def invented(tokens=400):
    """Return activations as `demo.language` gives them, of few units: sentences of four tokens."""
    draw = np.random.default_rng(0)
    z = draw.normal(size=(tokens, 6))
    names = (*encoders.L6_LAYERS, *encoders.L3_LAYERS)
    systems = {name: (z @ draw.normal(size=(6, 8))).astype(np.float16) for name in names}
    return demo.Language(systems, np.repeat(np.arange(tokens // 4), 4), np.arange(tokens))


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(demo, "language", lambda cache, progress: invented())
    monkeypatch.setattr(demo, "sources", lambda: {"text": "invented"})
    monkeypatch.setattr(demo, "in_context", lambda inputs: [f"word {i}" for i in range(len(inputs.tokens))])


@pytest.mark.slow
def test_the_main_job_on_two_pairs_of_layers(small, tmp_path):
    found = demo.run(tmp_path, tmp_path / "cache", latents=16, steps=3, permutations=2)
    assert sorted(os.listdir(tmp_path)) == FILES
    table = pd.read_parquet(tmp_path / "alignment.parquet")
    symmetric = table[~table.directed.astype(bool)]
    assert set(zip(symmetric.system_a, symmetric.system_b, strict=True)) == {demo.DISSIMILAR, demo.SIMILAR}
    assert set(table.control) == {"none", "shuffled_fit"}
    groups = invented().groups
    assert set(table.samples[table.split == "test"]) == {int((group_folds(groups, 5) == 4).sum())}
    assert set(table.samples[table.split == "cv=5"]) == {len(groups)}
    record = json.loads((tmp_path / "run.json").read_text())
    assert record["inputs"] == {"text": "invented"}
    assert record["settings"]["groups"] == 100
    assert record["settings"]["pairs"] == [list(demo.DISSIMILAR), list(demo.SIMILAR)]
    assert record["sentences"] == found.sentences
    assert "Two language encoders, token by token" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_tokens_are_shown_between_their_neighbours(monkeypatch, tmp_path):
    vocabulary = {"the": 5, "fea": 6, "##ture": 7, "is": 8, "it": 9}
    (tmp_path / "tokenizer.json").write_text(json.dumps({"model": {"vocab": vocabulary}}))
    monkeypatch.setattr(demo, "packaged", lambda name: {"tokenizer.json": tmp_path / "tokenizer.json"})
    tokens = demo.Language({}, np.array([0, 0, 0, 0, 1]), np.array([5, 6, 7, 8, 9]))
    assert demo.in_context(tokens, around=1) == ["[the] fea", "the [fea]ture", "fea[ture] is", "ture [is]", "[it]"]


def test_layers_have_the_names_that_the_pairs_use():
    assert {*demo.DISSIMILAR, *demo.SIMILAR} <= {*encoders.L6_LAYERS, *encoders.L3_LAYERS}


def test_missing_encoders_are_one_line(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(encoders, "L6", "superpose-no-such-encoder")
    assert cli.main(["demo", "--out", str(tmp_path / "out"), "--cache", str(tmp_path / "cache")]) == 2
    err = capsys.readouterr().err
    assert re.fullmatch(
        r"superpose: the packaged encoder superpose-no-such-encoder is not installed; run `make demo`, or [^\n]+\n", err
    )
    assert os.listdir(tmp_path) == []


@pytest.mark.slow
@pytest.mark.packages
@pytest.mark.skipif(
    not all(any(metadata.distributions(name=name)) for name in (demo.L6, demo.L3)),
    reason="the demo's encoders are not installed",
)
def test_the_encoders_on_few_sentences(monkeypatch, capsys, tmp_path):
    text = demo.sentences()[:60]
    monkeypatch.setattr(demo, "sentences", lambda: text)
    arguments = ["demo", "--out", str(tmp_path / "out"), "--cache", str(tmp_path / "cache"), "--json"]
    settings = ["--latents", "64", "--steps", "20", "--permutations", "3"]
    assert cli.main([*arguments, *settings]) == 0
    out, _ = capsys.readouterr()
    content = json.loads(out)
    raw = {
        (row["system_a"], row["system_b"]): row["score"]
        for row in content["table"]
        if row["space"] == "raw" and row["metric"] == "cka_debiased" and row["split"] != "test"
    }
    assert raw[demo.SIMILAR] > raw[demo.DISSIMILAR] > 0.3
    assert {row["fit"] for row in content["table"]} == {"", "pairwise"}
    record = json.loads((tmp_path / "out" / "run.json").read_text())
    assert record["inputs"]["text"]["sentences"] == 60
    assert set(record["inputs"]["encoders"]) == {demo.L6, demo.L3}
    # What is analysed is the activations that are kept, which later runs map.
    kept = demo.language(tmp_path / "cache")
    systems = {name: kept.systems[name] for name in demo.SIMILAR}
    again = sp.compare(systems, metrics=["cka_debiased"], groups=kept.groups, permutations=0)
    assert again.score[0] == pytest.approx(raw[demo.SIMILAR], abs=1e-6)
