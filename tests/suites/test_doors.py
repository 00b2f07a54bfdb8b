"""The same data, name and split give the same score, interval and p through every door."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import superpose as sp
from superpose.analysis import raw
from superpose.cli import main
from superpose.metrics import ALL

NUMBERS = ["score", "low", "high", "error", "null", "null_low", "null_high", "p", "p_adjusted", "calibrated"]
KEYS = ["system_a", "system_b", "metric", "split", "samples"]
SPLITS = {"cross-validation": {"cv": 4}, "one test": {"test": 0.25}}
GROUPS = {"samples": None, "groups": np.random.default_rng(1).permutation(np.arange(96) // 3)}
LABELS = {"no labels": None, "labels": np.random.default_rng(2).choice(list("abcd"), 96)}


@pytest.fixture
def systems(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    draw = np.random.default_rng(0)
    z = draw.normal(size=(96, 6))
    made = {name: z @ draw.normal(size=(6, m)) + draw.normal(size=(96, m)) for name, m in (("x", 5), ("y", 4))}
    for name, x in made.items():
        np.save(f"{name}.npy", x)
    return made


@pytest.mark.parametrize("groups", GROUPS.values(), ids=GROUPS)
@pytest.mark.parametrize("split", SPLITS.values(), ids=SPLITS)
def test_tables_are_the_same(systems, split, groups):
    asked = {"permutations": 19, "seed": 3, **split}
    expected = sp.compare(systems, metrics=sp.analysis.scores.METRICS, groups=groups, **asked)
    found = raw(systems, groups=groups, **asked).table
    pd.testing.assert_frame_equal(found[KEYS + NUMBERS], expected[KEYS + NUMBERS], check_dtype=False)
    options = [f"--{name}={value}" for name, value in asked.items()]
    if groups is not None:
        np.save("groups.npy", groups)
        options.append("--groups=groups.npy")
    assert main(["compare", "x.npy", "y.npy", "--out", "out", "--raw", *options]) == 0
    written = pd.read_parquet("out/alignment.parquet")
    pd.testing.assert_frame_equal(written[KEYS + NUMBERS], expected[KEYS + NUMBERS], check_dtype=False)
    assert json.loads(Path("out/run.json").read_text())["settings"]["seed"] == 3


@pytest.mark.parametrize("split", SPLITS.values(), ids=SPLITS)
def test_functions_give_the_scores_of_the_table(systems, split):
    table = sp.compare(systems, metrics=ALL, seed=3, permutations=0, **split).set_index(["metric", "system_a"]).score
    for way in ("xy", "yx"):
        x, y = (systems[name] for name in way)
        for score in ("r", "r2"):
            for average in ("pooled", "units"):
                name = score if average == "pooled" else f"{score}_{average}"
                for estimator, function in (("ols", sp.regression), ("ridge", sp.metrics.ridge)):
                    if (f"{estimator}_{name}", way[0]) in table.index:
                        found = function(x, y, score=score, average=average, seed=3, **split)
                        assert found == pytest.approx(table[f"{estimator}_{name}", way[0]], rel=1e-9)


@pytest.mark.parametrize("labels", LABELS.values(), ids=LABELS)
@pytest.mark.parametrize("groups", GROUPS.values(), ids=GROUPS)
def test_raw_scores_of_an_analysis_are_those_of_both_its_splits(systems, groups, labels):
    asked = {"groups": groups, "labels": labels, "seed": 3}
    found = sp.analyse(systems, latents=8, active=2, training={"steps": 2}, cv=4, test=0.2, permutations=19, **asked)
    raws = found.table.query("space == 'raw'")
    for split, permutations in (({"cv": 4}, 19), ({"test": 0.2}, 0)):
        expected = sp.compare(
            systems, metrics=sp.analysis.scores.METRICS, permutations=permutations, **split, **asked
        )
        own = raws[raws.split == expected.split[0]].reset_index(drop=True)
        pd.testing.assert_frame_equal(own[KEYS + NUMBERS], expected[KEYS + NUMBERS], check_dtype=False)


def test_penalties_of_both_are_chosen_on_folds_of_the_same_labels():
    """Few samples of noisy systems: on other folds some of them choose another penalty."""
    differ = []
    for seed in range(6):
        draw = np.random.default_rng(seed)
        shown = draw.integers(0, 4, 80)
        z = draw.normal(size=(80, 6)) + 3 * draw.normal(size=(4, 6))[shown]
        x, y = (z @ draw.normal(size=(6, units)) + 8 * draw.normal(size=(80, units)) for units in (40, 20))
        systems = {"x": x, "y": y}
        asked = {"metrics": ["ridge_r", "ridge_r2"], "test": draw.permutation(80) < 16}
        tables = [sp.compare(systems, labels=labels, permutations=0, **asked) for labels in (shown, None)]
        expected, other = (table.score for table in tables)
        found = sp.analysis.latent(systems, labels=shown, latents=8, active=2, training={"steps": 2}, **asked).table
        np.testing.assert_allclose(found.query("space == 'raw'").score, expected, rtol=1e-9)
        differ.append(not np.allclose(expected, other, rtol=1e-3))
    assert any(differ)
