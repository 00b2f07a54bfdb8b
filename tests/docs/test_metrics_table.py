"""The table of metrics holds every public one, and what it says is what a comparison measures."""

import functools
import importlib.util
import operator
from pathlib import Path

import numpy as np
import pytest

import superpose as sp
from superpose.metrics import Metric
from superpose.report.plots import metric_name, metric_title

pytest.importorskip("docutils")
DOCS = Path(__file__).parents[2] / "docs"
SPEC = importlib.util.spec_from_file_location("metrics_page", DOCS / "metrics.py")
page = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(page)

# Whatever else the module offers by name is no metric.
PUBLIC = {one.name: one for one in map(vars(sp.metrics).get, sp.metrics.__all__) if not isinstance(one, type | tuple)
          and isinstance(one, Metric)}  # fmt: skip
COMPARED = [one for one in PUBLIC.values() if not hasattr(one, "over")]


def cells(column):
    return {name: said for names, (said,) in page.rows([column]) for name in names}


@pytest.fixture(scope="module")
def table():
    draw = np.random.default_rng(0)
    # Ten components of partial least squares need a hundred samples.
    z = draw.normal(size=(120, 4))
    systems = {name: z @ draw.normal(size=(4, 3)) + draw.normal(size=(120, 3)) for name in "ab"}
    return sp.compare(systems, metrics=COMPARED, permutations=0)


@pytest.mark.parametrize("column", page.COLUMNS)
def test_every_public_metric_has_a_row(column):
    said = cells(column)
    assert said.keys() == PUBLIC.keys()
    assert len(PUBLIC) > 25
    assert all(said.values())


def test_the_page_shows_every_column():
    shown = [
        line.split("::")[1].split()
        for line in (DOCS / "metrics.rst").read_text().splitlines()
        if ".. metrics::" in line
    ]
    assert sorted(functools.reduce(operator.iadd, shown, [])) == sorted(page.COLUMNS)  # fmt: skip


def test_directions_intervals_and_exact_means_are_those_of_a_table(table):
    rows = table.groupby("metric")
    assert {name: said == "x → y" for name, said in cells("directed").items() if name in rows.groups} == dict(
        rows.size() == 2
    )
    assert {name: said == "yes" for name, said in cells("interval").items() if name in rows.groups} == dict(
        rows.low.count() > 0
    )
    assert {name: "exact" in said for name, said in cells("null").items() if name in rows.groups} == dict(
        rows.null.count() > 0
    )


def test_ranges_hold_scores(table):
    assert {
        name for name, said in cells("range").items() if "distance" in said
    } == {one.name for one in PUBLIC.values() if not getattr(one, "higher_is_closer", True)}  # fmt: skip
    lows = {"−1": -1.0, "0": 0.0, "below": -np.inf}
    for name, score in zip(table.metric, table.score, strict=True):
        said = cells("range")[name].split()
        high = np.pi / 2 if said[-1] == "distance" else 1.0
        assert lows[said[0]] <= score <= high, name


@pytest.mark.parametrize("metric", PUBLIC.values(), ids=lambda metric: metric.name)
def test_every_metric_has_a_title_of_its_own(metric):
    title = metric_title(metric.name)
    assert title != metric.name
    assert "$" not in metric_name(metric.name)
    assert [name for name in PUBLIC if metric_title(name) == title] == [metric.name]


def test_a_metric_of_ones_own_goes_by_its_name():
    assert metric_title("mine") == metric_name("mine") == "mine"
