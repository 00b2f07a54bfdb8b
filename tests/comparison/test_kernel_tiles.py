"""Sums over tiles of samples against products of units, and against kernels as they are defined."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from pandas.testing import assert_frame_equal

import superpose as sp
from superpose.comparison import kernel_tiles
from superpose.comparison import routes as comparison
from superpose.comparison.kernel_tiles import are_cheaper
from superpose.metrics import CKA, CKA_DEBIASED, OLS_R, RSA

KERNELS = [CKA, CKA_DEBIASED, RSA]


def systems(samples, units, dtype="float64", seed=0):
    draw = np.random.default_rng(seed)
    z = draw.normal(size=(samples, 8))
    made = {f"s{i}": z @ draw.normal(size=(8, p)) + draw.normal(size=(samples, p)) + i for i, p in enumerate(units)}
    return {name: x.astype(dtype) for name, x in made.items()}


@pytest.fixture
def routes(monkeypatch):
    """Count how often either route is taken, and take the one asked for."""
    taken = []

    def choose(tiled, side=40):
        def over(*arguments, **options):
            taken.append("tiles")
            return real(*arguments, **options)

        real = kernel_tiles.kernel_tiles
        monkeypatch.setattr(comparison, "are_cheaper", lambda *arguments: tiled)
        monkeypatch.setattr(comparison, "kernel_tiles", over)
        for module in (comparison, kernel_tiles):
            monkeypatch.setattr(module, "SIDE", side)
        return taken

    return choose


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"test": np.arange(130) % 3 == 0},
        {"groups": np.repeat(np.arange(26), 5)},
        {"pairs": [("s2", "s0"), ("s1", "s2")]},
    ],
    ids=["folds", "split", "groups", "pairs"],
)
@pytest.mark.parametrize(
    ("side", "units"),
    [(40, (5, 9, 3)), (65, (5, 9, 3)), (500, (5, 9, 3)), (65, (5, 200, 3)), (500, (131, 200, 3))],
    ids=["pieces", "halves", "whole", "one wide", "two wide"],
)
def test_both_routes_give_one_table(routes, options, side, units):
    given = systems(130, units)
    tables = []
    for tiled in (False, True):
        taken = routes(tiled, side)
        tables.append(sp.compare(given, metrics=KERNELS, permutations=0, **options))
    assert taken == ["tiles"]
    assert_frame_equal(*tables, rtol=1e-9)


def test_rows_that_are_drawn(routes, monkeypatch):
    monkeypatch.setattr("superpose.statistics.sampling.GROUPS", 2)
    given = systems(130, (5, 9, 3))
    tables = []
    for tiled in (False, True):
        routes(tiled)
        tables.append(sp.compare(given, metrics=KERNELS, interval_samples=20, permutations=0))
    assert_frame_equal(*tables, rtol=1e-9)


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_shorter_numbers(routes, dtype):
    given = systems(130, (5, 9, 3), dtype)
    routes(True)
    found = sp.compare(given, metrics=KERNELS, permutations=0)
    exact = sp.compare({name: x.astype(np.float64) for name, x in given.items()}, metrics=KERNELS, permutations=0)
    assert_allclose(found.score, exact.score, atol=1e-5)
    assert_allclose(found.error, exact.error, rtol=1e-3)


def test_against_kernels_themselves(routes):
    given = systems(90, (5, 9))
    x, y = (a - a.mean(0) for a in given.values())
    k, l = x @ x.T, y @ y.T
    routes(True)
    table = sp.compare(given, metrics=KERNELS, permutations=0).set_index("metric").score
    upper = np.triu_indices(90, 1)
    assert_allclose(table["cka"], (k * l).sum() / np.sqrt((k * k).sum() * (l * l).sum()), rtol=1e-10)
    assert_allclose(table["rsa"], np.corrcoef(k[upper], l[upper])[0, 1], rtol=1e-10)


@pytest.mark.parametrize(
    "options",
    [{"metrics": [RSA, OLS_R]}, {"metrics": [RSA], "permutations": 3}, {"metrics": [RSA], "memory": "1KB"}],
)
def test_other_work_goes_by_products_of_units(routes, options):
    taken = routes(True)
    sp.compare(systems(60, (4, 3, 5)), **{"permutations": 0, **options})
    assert taken == []


def test_many_systems_of_few_samples_go_by_tiles():
    draw = np.random.default_rng(0)
    given = {f"s{i}": draw.normal(size=(60, 200)) for i in range(12)}
    units = [200] * 12
    assert are_cheaper(units, [(200, 200)] * 66, 60, 60)
    reached = []
    sp.compare(
        given, metrics=KERNELS, progress=lambda what, done, total: reached.append((what, done, total)), permutations=0
    )
    assert ("tiles of samples", 1, 1) in reached
    assert reached[-1] == ("pairs", 66, 66)
