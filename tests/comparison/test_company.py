"""A score, its interval, null and p do not depend on the metrics beside it, their order, the engine or the memory."""

import numpy as np
import pytest

import superpose as sp
from superpose.metrics import ALL, MORE, OLS_R, OLS_R2, PLS_R, RIDGE_R, fixed_ridge
from superpose.metrics.pls import PartialLeastSquaresMetric
from superpose.metrics.regression import RegressionMetric

NUMBERS = ["score", "low", "high", "error", "null", "null_low", "null_high", "p", "p_adjusted", "calibrated"]
PENALISED = RegressionMetric("ols_penalised", ("r", "pooled"), fixed_ridge(100.0))
METRICS = (*ALL, *MORE, PENALISED)


def draw_systems(kind, samples=120, units=(12, 9, 7)):
    draw = np.random.default_rng(0)
    z = draw.normal(size=(samples, 10))
    mixed = (z @ draw.normal(size=(10, m)) + 0.5 * draw.normal(size=(samples, m)) for m in units)
    return {name: x.astype(kind) for name, x in zip("abc", mixed, strict=True)}


def numbers(table, metric):
    return table[table.metric == metric.name][NUMBERS].to_numpy(dtype=float)


@pytest.fixture(scope="module", params=[0, pytest.param(9, marks=pytest.mark.slow)], ids=["exact null", "permutations"])
def permutations(request):
    return request.param


@pytest.fixture(scope="module")
def tables(permutations):
    systems = draw_systems(np.float64)
    asked = {"permutations": permutations}
    return {
        "together": sp.compare(systems, metrics=METRICS, **asked),
        "in reverse": sp.compare(systems, metrics=METRICS[::-1], **asked),
        "by two processes": sp.compare(systems, metrics=METRICS, engine="local:2", **asked),
        "in little memory": sp.compare(systems, metrics=METRICS, memory=100_000, **asked),
    }


@pytest.mark.parametrize("metric", METRICS, ids=lambda m: m.name)
def test_a_metric_alone_and_in_company(metric, tables, permutations):
    alone = numbers(sp.compare(draw_systems(np.float64), metrics=[metric], permutations=permutations), metric)
    for company, table in tables.items():
        np.testing.assert_allclose(numbers(table, metric), alone, rtol=0, atol=1e-12, err_msg=company)


def test_fits_on_one_plan_have_errors_of_their_own():
    systems = draw_systems(np.float64)
    # Through as many components as there are units, partial least squares is least squares.
    few = PartialLeastSquaresMetric("few", ("r", "pooled"), components=2)
    table = sp.compare(systems, metrics=[OLS_R, RIDGE_R, few, PENALISED], permutations=0)
    errors = table.pivot_table(index=["system_a", "system_b"], columns="metric", values="error")
    assert (errors.nunique(axis=1) == 4).all()


@pytest.mark.parametrize("metrics", [[OLS_R, RIDGE_R, PLS_R], [PLS_R, RIDGE_R, OLS_R]], ids=["", "back"])
def test_differences_alone_and_in_company(metrics):
    systems = draw_systems(np.float64)
    table = sp.contrast(systems, target="c", metrics=metrics).set_index("metric")
    for metric in metrics:
        alone = sp.contrast(systems, target="c", metrics=[metric]).iloc[0]
        assert alone[["difference", "error", "p"]].tolist() == pytest.approx(
            table.loc[metric.name, ["difference", "error", "p"]].tolist(), rel=0, abs=1e-12
        )


def test_a_metric_of_ones_own_shares_nothing_but_equal_sums():
    """Equal functions of rows on other sums are other functions: the key names all that they depend on."""
    from dataclasses import replace

    from superpose.comparison.pairs import rows_key
    from superpose.metrics.splits import split_of

    plan = split_of(100).plan
    planned = [m.planned(plan) for m in (OLS_R, OLS_R2, RIDGE_R, PLS_R, PENALISED)]
    assert planned[0].family == planned[1].family
    assert len({m.family for m in planned}) == 4
    assert len({rows_key(m) for m in planned}) == 5
    assert rows_key(replace(planned[0], family=replace(planned[0].family, split=False))) != rows_key(planned[0])


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("units", [(12, 9, 7), (12, 9, 300)], ids=["narrow", "wide"])
def test_float32_and_wide_systems_alone_and_in_company(kind, units):
    systems = draw_systems(kind, units=units)
    metrics = METRICS[:12]
    # Kernels alone of wide systems go over tiles of samples, which add float32 in another order.
    known = 1e-6 if kind is np.float32 and max(units) > 240 else 1e-12
    table = sp.compare(systems, metrics=metrics, permutations=0)
    for metric in metrics:
        alone = numbers(sp.compare(systems, metrics=[metric], permutations=0), metric)
        np.testing.assert_allclose(numbers(table, metric), alone, rtol=0, atol=known, err_msg=metric.name)
