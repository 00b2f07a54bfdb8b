"""The figure that CONTRIBUTING.md shows is one: reproduced, judged and offered as a command like any other."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from superpose import paper
from superpose.cli.reproduce import command
from superpose.paper.reproduction import reproduce

ROOT = Path(__file__).parents[2]
(CODE,) = re.findall(r"```python\n([^`]*\nFIGURE = [^`]*)```", (ROOT / "CONTRIBUTING.md").read_text())


@pytest.fixture
def part(tmp_path, monkeypatch):
    path = tmp_path / "part.py"
    path.write_text(CODE)
    spec = importlib.util.spec_from_file_location("superpose.paper.part", path)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    monkeypatch.setattr(paper, "part", module, raising=False)
    monkeypatch.setattr(paper, "FIGURES", (*paper.FIGURES, "part"))
    spec.loader.exec_module(module)
    return module


def test_it_is_reproduced(part, tmp_path):
    claims = reproduce("part", tmp_path / "out", scale="smoke")
    assert claims["verdict"].eq("holds").all(), claims[["number", "why"]]
    assert {path.suffix for path in (tmp_path / "out").glob("part*")} == {".csv", ".parquet", ".png", ".svg", ".json"}
    table = pd.read_parquet(tmp_path / "out" / "part.parquet")
    whole = table[table["recorded"] == table["units"]]
    np.testing.assert_allclose(whole["score"], 1, rtol=1e-5)
    # A ratio of expectations: within some per cent of the mean over projections.
    means = table.groupby("recorded")[["score", "expected"]].mean()
    np.testing.assert_allclose(means["score"], means["expected"], rtol=0.05)


def test_its_claims_can_fail(part, tmp_path):
    table = part.FIGURE.at("smoke").run(tmp_path)
    off = table.assign(theory=table["theory"] + 0.3, score=1 - table["score"])
    assert [claim.holds(claim.number(off)) for claim in part.FIGURE.claims] == [False, False]


def test_its_options_are_those_of_a_command(part):
    assert {"out", "scale", "latents", "recorded", "draws"} <= set(command("part").__signature__.parameters)


def test_it_is_written_as_the_rest_of_the_code():
    where = ["--stdin-filename", str(ROOT / "src/superpose/paper/part.py"), "-"]
    for check in (["check", "--quiet"], ["format", "--check", "--quiet"]):
        ruff = [Path(sys.executable).with_name("ruff"), *check, *where]
        result = subprocess.run(ruff, input=CODE, text=True, capture_output=True, cwd=ROOT)
        assert result.returncode == 0, result.stdout + result.stderr
