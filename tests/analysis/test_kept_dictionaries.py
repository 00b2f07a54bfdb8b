"""Dictionaries that an interrupted analysis finished are not fitted again."""

import json
from functools import partial

import numpy as np
import pandas as pd
import pytest

from superpose import analyse, cli
from superpose.analysis import spaces

FITS = ("pairwise", "all", "independent")


@pytest.fixture
def systems():
    draw = np.random.default_rng(0)
    z = draw.normal(size=(80, 4))
    return {name: z @ draw.normal(size=(4, units)) for name, units in (("a", 5), ("b", 6), ("c", 7))}


@pytest.fixture
def counted(monkeypatch):
    """Return the number of fits, and what they stop after."""
    genuine, state = spaces.fit, {"fits": 0, "stop": None}

    def fit(*arguments, **options):
        if state["fits"] == state["stop"]:
            raise KeyboardInterrupt
        state["fits"] += 1
        return genuine(*arguments, **options)

    monkeypatch.setattr(spaces, "fit", fit)
    return state


run = partial(analyse, latents=16, active=2, steps=3, permutations=0)


@pytest.mark.parametrize("controls", [(), ("shuffled_fit",)])
@pytest.mark.parametrize("kind", FITS)
def test_what_was_finished_is_taken_as_it_is(systems, counted, tmp_path, kind, controls):
    whole = run(systems, fit=kind, controls=controls).table
    fits, counted["fits"] = counted["fits"], 0
    stop = counted["stop"] = fits // 2
    with pytest.raises(KeyboardInterrupt):
        run(systems, fit=kind, controls=controls, keep=tmp_path / "kept")
    counted["stop"], counted["fits"] = None, 0
    resumed = run(systems, fit=kind, controls=controls, keep=tmp_path / "kept").table
    # The shuffled control leaves one system as it is: the same rows are not fitted twice.
    assert 0 < counted["fits"] <= fits - stop
    pd.testing.assert_frame_equal(resumed, whole)


@pytest.mark.parametrize("change", [{"steps": 4}, {"seed": 1}, {"latents": 12}, {"active": 3}, {"mode": "separate"}])
def test_other_settings_are_fitted_anew(systems, counted, tmp_path, change):
    run(systems, controls=(), keep=tmp_path)
    counted["fits"] = 0
    run(systems, **{"controls": (), "keep": tmp_path, **change})
    assert counted["fits"] == 3


def test_other_rows_are_fitted_anew(systems, counted, tmp_path):
    run(systems, controls=(), keep=tmp_path)
    counted["fits"] = 0
    run({**systems, "a": systems["a"] + np.eye(80, 5)}, controls=(), keep=tmp_path)
    assert counted["fits"] == 2


def test_damaged_ones_are_fitted_anew(systems, counted, tmp_path):
    first = run(systems, controls=(), keep=tmp_path).table
    for file in tmp_path.iterdir():
        file.write_bytes(file.read_bytes()[:-1])
    counted["fits"] = 0
    pd.testing.assert_frame_equal(run(systems, controls=(), keep=tmp_path).table, first)
    assert counted["fits"] == 3


def test_the_command_resumes_and_leaves_the_results_alone(systems, counted, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for name, x in systems.items():
        np.save(f"{name}.npy", x)
    command = ["compare", "a.npy", "b.npy", "c.npy", "--latents", "16", "--steps", "3", "--permutations", "0", "--json"]
    assert cli.main([*command, "--out", "whole"]) == 0
    whole, fits = json.loads(capsys.readouterr().out), counted["fits"]
    counted.update(fits=0, stop=4)
    assert cli.main([*command, "--out", "torn"]) == 130
    capsys.readouterr()
    counted.update(fits=0, stop=None)
    assert cli.main([*command, "--out", "torn"]) == 0
    assert counted["fits"] == fits - 4
    assert json.loads(capsys.readouterr().out) == whole
    assert sorted(path.name for path in (tmp_path / "torn").iterdir()) == sorted(
        path.name for path in (tmp_path / "whole").iterdir()
    )
