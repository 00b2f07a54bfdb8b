"""Every metric of the further families: what it promises, tables with it, tensors and repeats."""

import re

import numpy as np
import pytest
import torch
from conftest import related
from numpy.testing import assert_allclose

import superpose as sp
from superpose.metrics import ALL, MORE, PredictiveMetric, RidgeMetric

pytestmark = pytest.mark.usefixtures("as_installed")
by_name = pytest.mark.parametrize("metric", MORE, ids=lambda m: m.name)


@by_name
def test_it_keeps_its_word(metric):
    table = sp.check_metric(metric, draws=2)
    assert table.passed.all(), table[~table.passed].to_string()
    # Nothing is refused that need not be, and nothing holds that is not declared.
    assert (table.detail == "").all(), table[table.detail != ""].to_string()


def test_names_are_unique():
    assert len({m.name for m in (*ALL, *MORE)}) == len(ALL) + len(MORE)


@by_name
def test_tables_hold_its_scores(metric):
    x, y = related(60, 6, 4, seed=0)
    table = sp.compare({"x": x, "y": y}, metrics=[metric], permutations=19)
    expected = [float(metric(x, y)), float(metric(y, x))][: 1 + metric.directed]
    assert_allclose(table.score, expected, rtol=1e-8)
    assert_allclose(table.p, 1 / 20)
    assert (table.samples == 60).all()


@pytest.mark.parametrize("metric", [m for m in MORE if not isinstance(m, PredictiveMetric)], ids=lambda m: m.name)
def test_a_split_is_scored_where_it_is_held_out(metric):
    x, y = related(60, 6, 4, seed=0)
    mask = np.arange(60) % 3 == 0
    table = sp.compare({"x": x, "y": y}, metrics=[metric], test=mask, permutations=0)
    expected = [float(metric(x[mask], y[mask])), float(metric(y[mask], x[mask]))][: 1 + metric.directed]
    assert_allclose(table.score, expected, rtol=1e-8)


@pytest.mark.filterwarnings("error::RuntimeWarning")
@pytest.mark.parametrize("permutations", [0, 3])
@pytest.mark.parametrize("metric", [m for m in (*ALL, *MORE) if not isinstance(m, RidgeMetric)], ids=lambda m: m.name)
def test_a_system_that_stands_still_where_it_is_scored_has_no_score(metric, permutations):
    x, y = related(60, 6, 4, seed=0)
    mask = np.arange(60) < 30
    x[mask] = 0.1
    table = sp.compare({"y": y, "x": x}, metrics=[metric], test=mask, permutations=permutations)
    assert np.isnan(table.score[0])
    assert re.search("not vary|no unit of a system varies", table.why[0])


@by_name
def test_units_that_outnumber_the_samples_are_not_mixed(metric):
    """Wide systems are rotated into fewer columns only where that changes no score."""
    x, y = related(14, 40, 35, seed=0)
    order = np.random.default_rng(0).permutation(40)
    padded = [np.hstack([z, np.zeros((14, 60))]) for z in (x, y)]
    assert_allclose(metric(x[:, order], y), metric(x, y), rtol=1e-7)
    assert_allclose(metric(*padded), metric(x, y), rtol=1e-7)


@by_name
def test_tensors_in_tensors_out(metric):
    x, y = related(40, 5, 4, seed=1, repeats=(2,))
    scores = metric(torch.tensor(x), torch.tensor(y[0]))
    assert isinstance(scores, torch.Tensor)
    assert_allclose(scores, [float(metric(x[0], y[0])), float(metric(x[1], y[0]))], rtol=1e-9)
