"""Figures as their users ask for them: files in a folder, the command line, interruptions."""

import inspect
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
from packaged import needs

from superpose import cli, paper
from superpose.examples.encoders import L3, L6
from superpose.files import DataError
from superpose.paper import FIGURES
from superpose.paper.claims import Claim
from superpose.paper.reproduction import figure, reproduce

SUFFIXES = ["-claims.csv", ".csv", ".json", ".parquet", ".png", ".svg"]
QUICK = ["--scale", "smoke", "--engine", "serial"]


# Some record networks whose weights are packages of their own.
# Of some figures the smallest scale takes more than ten seconds.
ENCODERS = [*needs(L6, L3), pytest.mark.slow]
MARKS = {"figure5": ENCODERS, "encoders": ENCODERS, "content": [pytest.mark.slow]}


@pytest.mark.parametrize("name", [pytest.param(name, marks=MARKS.get(name, [])) for name in FIGURES])
class TestEveryFigure:
    def test_has_a_study_at_three_scales_a_drawing_and_claims(self, name):
        record = figure(name)
        assert record.name == name
        assert list(record.scales) == ["smoke", "laptop", "paper"]
        for scale in record.scales:
            study = record.at(scale)
            assert study.name == name
            assert len(study.cells)
        assert all(isinstance(claim, Claim) and claim.source and claim.quantity for claim in record.claims)
        assert len({claim.text for claim in record.claims}) == len(record.claims)

    def test_documents_every_option(self, name):
        for function in (figure(name).study, figure(name).draw):
            for option in inspect.signature(function).parameters:
                header = rf"^(\w+, )*{option}(, \w+)* : "
                assert re.search(header, inspect.getdoc(function), re.M), f"{function.__name__}: {option}"

    def test_is_one_command(self, name, tmp_path, capsys):
        out = tmp_path / "figures"
        assert cli.main(["reproduce", name, "--out", str(out), *QUICK]) == 0
        said = capsys.readouterr()
        header, *rows = said.out.splitlines()
        assert header.split("\t") == ["claim", "source", "quantity", "number", "low", "high", "verdict", "why"]
        assert len(rows) == len(figure(name).claims)
        assert f"Written to {out}" in said.err
        suffixes = SUFFIXES if figure(name).summary is None else [*SUFFIXES, "-summary.csv"]
        assert {path.name for path in out.glob(f"{name}*")} == {f"{name}{suffix}" for suffix in suffixes}
        table = pd.read_parquet(out / f"{name}.parquet")
        pd.testing.assert_frame_equal(
            table, figure(name).at("smoke").run(out / "cells"), check_exact=True, check_dtype=False
        )
        # Infinity and NaN are no JSON.
        record = json.loads((out / f"{name}.json").read_text(), parse_constant=pytest.fail)
        assert record["figure"] == name
        assert {"versions", "threads", "seconds", "options", "study"} <= record.keys()

    def test_help_has_an_example_and_every_option(self, name, capsys):
        assert cli.main(["reproduce", name, "--help"]) == 0
        shown = capsys.readouterr().out
        assert f"Example: superpose reproduce {name}" in shown
        for option in inspect.signature(figure(name).study).parameters:
            described = re.search(rf"--{option.replace('_', '-')} [A-Z.]*(  --\S+ [A-Z]+)* +│?\s*(\S)", shown)
            assert described, option


class TestCommandLine:
    def test_options_replace_those_of_the_scale(self, tmp_path, capsys):
        arguments = ["reproduce", "figure2", "--out", str(tmp_path), *QUICK]
        assert cli.main([*arguments, "--units", "4", "8", "--draws", "2", "--reading", "literal", "--json"]) == 0
        claims = json.loads(capsys.readouterr().out)
        assert {claim["verdict"] for claim in claims} <= {"holds", "does not hold", "not tested"}
        table = pd.read_csv(tmp_path / "figure2.csv")
        assert sorted(table.units.unique()) == [4, 8]
        assert sorted(table.draw.unique()) == [0, 1]
        assert json.loads((tmp_path / "figure2.json").read_text())["drawing"] == {"reading": "literal"}

    def test_several_figures_share_a_folder_and_nothing_is_computed_twice(self, tmp_path):
        reproduce("figure2", tmp_path, scale="smoke")
        written = {path: path.stat().st_mtime_ns for path in (tmp_path / "cells").glob("*.sqlite")}
        reproduce("figure2", tmp_path, scale="smoke", drawing={"reading": "literal"})
        assert written == {path: path.stat().st_mtime_ns for path in (tmp_path / "cells").glob("*.sqlite")}

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (["figure9", "--out", "x"], "Unknown command"),
            (["figure2", *QUICK], "--out"),
            (["figure2", "--out", "x", "--scale", "huge"], "huge"),
            (["figure2", "--out", "x", "--scale", "smoke", "--engine", "abacus"], "engine is 'abacus'"),
            (["figure2", "--out", "x", *QUICK, "--reading", "both"], 'Invalid value "both" for --reading'),
        ],
    )
    def test_bad_usage_is_one_line(self, tmp_path, monkeypatch, capsys, arguments, words):
        monkeypatch.chdir(tmp_path)
        assert cli.main(["reproduce", *arguments]) == 2
        said = capsys.readouterr()
        assert said.err.count("\n") == 1
        assert words in said.err

    def test_failed_cells_are_named_and_the_status_is_one(self, tmp_path, capsys):
        asked = ["--entries", "haar", "--units", "4", "99"]
        assert cli.main(["reproduce", "figure2", "--out", str(tmp_path), *QUICK, *asked]) == 1
        said = capsys.readouterr().err
        assert "10 of 20 cells of figure2 failed; the others are kept" in said
        assert "DataError" in said

    def test_cells_that_cannot_be_are_refused_before_the_first(self, tmp_path, capsys):
        assert cli.main(["reproduce", "figure2", "--out", str(tmp_path / "x"), *QUICK, "--active", "4", "99"]) == 2
        assert "--active is 99 with 64 latents; expected active" in capsys.readouterr().err
        assert not (tmp_path / "x").exists()


def killed_after(seconds, arguments):
    """Start a command in a process group of its own, kill the group, and say whether it had ended before."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, "-m", "superpose", *arguments],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment, start_new_session=True,
    )  # fmt: skip
    try:
        process.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return False
    return True


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["serial", pytest.param("local:2", marks=pytest.mark.prove)])
def test_kill_at_any_moment_then_the_same_command(tmp_path, engine):
    """Figure 2 killed again and again until it ends gives the bytes of the uninterrupted table."""
    study = ["--scale", "laptop", "--latents", "64", "--draws", "20", "--samples", "1000"]
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    command = ["reproduce", "figure2", *study, "--engine", engine, "--out"]
    assert cli.main([*command, str(whole)]) == 0
    kills, seconds = 0, 5.0
    while not killed_after(seconds, [*command, str(broken)]):
        kills, seconds = kills + 1, seconds + 1.0
        assert kills < 60
    assert kills > 0
    for suffix in (".csv", ".parquet", "-claims.csv"):
        assert (broken / f"figure2{suffix}").read_bytes() == (whole / f"figure2{suffix}").read_bytes()


def test_an_unknown_figure_or_scale_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"a figure is 'figure9'; expected one of 'figure1', .*\. Did you mean"):
        reproduce("figure9", tmp_path)
    with pytest.raises(DataError, match="scale is 'huge'; expected one of 'smoke', 'laptop', 'paper'"):
        reproduce("figure2", tmp_path, scale="huge")
    assert not list(tmp_path.iterdir())


def test_parts_of_the_tree_exist():
    assert set(FIGURES) <= {path.stem for path in Path(paper.__file__).parent.iterdir()}


def test_the_clock_of_a_study_is_not_in_its_table(tmp_path):
    first = figure("figure2").at("smoke").run(tmp_path / "a")
    time.sleep(0.01)
    pd.testing.assert_frame_equal(first, figure("figure2").at("smoke").run(tmp_path / "b"), check_exact=True)
