"""The metric that CONTRIBUTING.md shows is one: its score, its interval and all that it promises."""

import re
from pathlib import Path

import numpy as np
import pytest
from conftest import related
from jackknives import influence, jackknife
from numpy.testing import assert_allclose

import superpose as sp

ROOT = Path(__file__).parents[2]
(CODE,) = re.findall(r"```python\n([^`]*MomentMetric\([^`]*)```", (ROOT / "CONTRIBUTING.md").read_text())


@pytest.fixture(scope="module")
def metric():
    scope = {}
    exec(CODE, scope)
    return scope["RV_MODIFIED"]


def modified_rv(x, y):
    """Cosine of Gram matrices without their diagonals (Smilde et al. 2009, Eq. (5))."""
    k, l = (a @ a.T * (1 - np.eye(len(a))) for a in (x - x.mean(0), y - y.mean(0)))
    return np.sum(k * l) / np.linalg.norm(k) / np.linalg.norm(l)


def test_it_is_the_coefficient(metric):
    for seed in range(3):
        x, y = related(40, 7, 5, seed=seed)
        assert_allclose(metric(x, y), modified_rv(x, y), rtol=1e-10)


def test_it_keeps_what_it_promises(metric):
    table = sp.check_metric(metric)
    assert table.passed.all(), table[~table.passed]


def test_its_interval_is_that_of_leaving_samples_out(metric):
    x, y = related(300, 7, 5, seed=0)
    assert_allclose(np.std(influence(metric, x, y)), np.std(jackknife(modified_rv, x, y)), rtol=0.03)
    row = sp.compare({"x": x, "y": y}, metrics=[metric], permutations=99).iloc[0]
    assert row.low < row.score < row.high
    assert row.p == 0.01
