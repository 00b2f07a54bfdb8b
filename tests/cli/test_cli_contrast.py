"""`superpose contrast` and `partition`: the library's tables, from files."""

import html
import io
import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

import superpose as sp
import superpose.cli as cli


@pytest.fixture
def here(tmp_path, monkeypatch):
    draw = np.random.default_rng(0)
    v4 = draw.normal(size=(80, 5))
    for name, spread in (("layer5", 2.0), ("layer7", 0.5)):
        np.save(tmp_path / f"{name}.npy", v4 + spread * draw.normal(size=v4.shape))
    np.save(tmp_path / "V4.npy", v4)
    np.save(tmp_path / "photographs.npy", np.repeat(np.arange(40), 2))
    monkeypatch.chdir(tmp_path)


def systems():
    return {name: np.load(f"{name}.npy") for name in ("layer5", "layer7", "V4")}


FILES = ["layer5.npy", "layer7.npy", "V4.npy"]
COMMANDS = {
    "contrast": (["--target", "V4"], lambda **options: sp.contrast(systems(), target="V4", **options)),
    "partition": (["--target", "V4"], lambda **options: sp.partition(systems(), target="V4", **options)),
}


@pytest.mark.parametrize("name", COMMANDS)
class TestTable:
    def test_tab_separated_into_a_pipe(self, here, capsys, name):
        arguments, table = COMMANDS[name]
        assert cli.main([name, *FILES, *arguments, "--groups", "photographs.npy", "--cv", "4"]) == 0
        out = capsys.readouterr().out
        found = pd.read_csv(io.StringIO(out), sep="\t", na_values="nan", keep_default_na=False, comment="#")
        assert out.splitlines()[-1].startswith("# ")
        expected = table(groups=np.repeat(np.arange(40), 2), cv=4)
        assert_frame_equal(found.drop(columns="why"), expected.drop(columns="why"), check_dtype=False)

    @pytest.mark.parametrize(("asked", "samples"), [("20", 20), ("all", None)])
    def test_samples_of_intervals(self, here, capsys, monkeypatch, name, asked, samples):
        monkeypatch.setattr("superpose.statistics.sampling.GROUPS", 2)
        arguments, table = COMMANDS[name]
        assert cli.main([name, *FILES, *arguments, "--interval-samples", asked, "--json"]) == 0
        errors = [row["error"] for row in json.loads(capsys.readouterr().out)["table"]]
        np.testing.assert_allclose(errors, table(interval_samples=samples).error, rtol=1e-7)
        assert np.allclose(errors, table().error, rtol=1e-7) == (samples is None)

    def test_as_json(self, here, capsys, name):
        arguments, table = COMMANDS[name]
        assert cli.main([name, *FILES, *arguments, "--json"]) == 0
        found = json.loads(capsys.readouterr().out)
        rows = found["table"]
        assert all(sentence.endswith(".") for sentence in found["sentences"])
        assert len(rows) == len(table())
        assert rows[0].keys() == set(table().columns)

    def test_a_terminal_gets_what_is_known(self, here, capsys, monkeypatch, name):
        arguments, _ = COMMANDS[name]
        monkeypatch.setattr("sys.stdout.isatty", lambda: True)
        monkeypatch.setenv("COLUMNS", "80")
        assert cli.main([name, *FILES, *arguments, "--metrics", "ridge_r,ridge_r2"]) == 0
        lines = capsys.readouterr().out.splitlines()
        rows = [line for line in lines if line.startswith(("layer5", "held-out")) and "[" in line]
        # Each row is one line, and ends in a p-value as papers write it.
        assert len(rows) == len(COMMANDS[name][1](metrics=["ridge_r", "ridge_r2"]))
        assert all(re.search(r" (< )?[.]\d+$| 1$", row.rstrip()) for row in rows)

    def test_an_unknown_name(self, here, capsys, name):
        arguments, _ = COMMANDS[name]
        assert cli.main([name, *FILES, arguments[0], "V5"]) == 2
        assert (
            "--target is 'V5'; expected one of at least three systems; there are layer5, layer7, V4"
            in capsys.readouterr().err
        )

    def test_a_folder_of_results(self, here, capsys, name):
        arguments, table = COMMANDS[name]
        asked = [name, *FILES, *arguments, "--metrics", "ridge_r2,ols_r", "--seed", "3", "--out", "results"]
        assert cli.main([*asked, "--groups", "photographs.npy"]) == 0
        expected = table(metrics=["ridge_r2", "ols_r"], seed=3, groups=np.repeat(np.arange(40), 2))
        assert_frame_equal(pd.read_parquet(f"results/{name}.parquet"), expected, check_dtype=False)
        files = {"parquet", "csv", "png", "svg"}
        assert {path.name for path in Path("results").iterdir()} == {
            "run.json",
            "report.html",
            *(f"{name}.{ending}" for ending in files),
        }
        record = json.loads(Path("results/run.json").read_text())
        assert (record["settings"]["target"], record["settings"]["seed"]) == ("V4", 3)
        assert set(record["inputs"]) == {"layer5", "layer7", "V4"}
        assert {"versions", "threads", "sentences", "groups"} <= record.keys()
        page = Path("results/report.html").read_text(encoding="utf-8")
        assert f'<a href="{name}.csv">' in page
        assert all(html.escape(sentence) in page for sentence in record["sentences"])
        assert len(re.findall(r'<tr><th scope="row" class="text">', page)) == len(expected)
        capsys.readouterr()
        assert cli.main(asked) == 2
        assert "results already holds a run (run.json)" in capsys.readouterr().err
        assert cli.main([*asked, "--overwrite"]) == 0


def test_the_old_option_still_works_and_says_so(here, capsys):
    assert cli.main(["contrast", *FILES, "--to", "V4", "--metrics", "rsa", "--json"]) == 0
    found = capsys.readouterr()
    assert json.loads(found.out)["table"][0]["target"] == "V4"
    assert "--to is now --target" in found.err
