"""Verdicts: what a table cannot decide is not tested, what it contradicts does not hold, however few its draws."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binom, chi2

from superpose.cli.show import show_claims
from superpose.paper.claims import Claim, Untested, judge, several, some
from superpose.paper.summary import excess, gap, least, most, smallest_step


def claim(number, **bounds):
    return Claim("Text.", "Section 1", "number", number, **bounds)


def verdict(number, table, **bounds):
    row = judge([claim(number, **bounds)], table).iloc[0]
    return row["verdict"], row["why"]


def scores(rng, draws, *, mean=0.0, settings=1):
    """Return scores about their theory, 0, with unit variance over draws."""
    table = pd.DataFrame({"units": np.repeat(range(settings), draws), "draw": list(range(draws)) * settings})
    return table.assign(metric="rsa", score=rng.normal(mean, 1, len(table)), theory=0.0, expected=0.0)


distance = gap(["units"], "rsa")


def test_a_number_that_is_not_finite_does_not_hold():
    assert verdict(lambda table: float("nan"), pd.DataFrame()) == ("does not hold", "")


def test_settings_that_are_missing_are_named():
    table = pd.DataFrame({"units": [4, 4], "draw": [0, 1]})
    wide = claim(lambda table: float(len(some(table[table["units"] > 4], "systems of more than 4 units"))))
    rise = claim(lambda table: float(len(several(table, "units"))))
    judged = judge([wide, rise], table)
    assert judged["number"].isna().all()
    assert judged["verdict"].eq("not tested").all()
    assert judged["why"].to_list() == [
        "the table has no systems of more than 4 units",
        "the table has one value of units",
    ]


def test_rows_that_are_there_pass_through():
    table = pd.DataFrame({"units": [4, 8]})
    assert some(table, "systems") is several(table, "units") is table
    with pytest.raises(Untested, match="the table has no systems"):
        some(table[:0], "systems")
    with pytest.raises(Untested, match="the table has one value of units"):
        several(table[:1], "units")


@pytest.mark.parametrize("draws", [2, 3, 5, 20])
def test_a_true_claim_fails_no_more_often_with_few_draws_than_with_many(draws):
    """Of tables whose mean is 0, as many are beyond chance as lie beyond three standard errors of many draws."""
    rng, tables = np.random.default_rng(draws), 300
    mean = claim(lambda t: excess(pd.Series([t["score"].mean()]), pd.Series([t["score"].sem()])), high=1e-6)
    found = [judge([mean], scores(rng, draws))["verdict"].item() for _ in range(tables)]
    assert found.count("does not hold") <= binom.ppf(0.999, tables, 0.0027)
    assert "holds" not in found


@pytest.mark.parametrize("draws", [5, 20, 200])
def test_a_claim_that_is_far_off_fails_however_wide_its_standard_error(draws):
    table = scores(np.random.default_rng(0), draws, mean=50, settings=3)
    assert verdict(distance, table, high=0.001) == ("does not hold", "")


@pytest.mark.parametrize("draws", [2, 4, 5, 20])
def test_a_claim_seldom_holds_where_its_bound_is_below_the_true_standard_error(draws):
    rng, tables = np.random.default_rng(draws), 300
    mean = claim(lambda t: excess(pd.Series([t["score"].mean()]), pd.Series([t["score"].sem()])), high=0.3 / draws**0.5)
    found = [judge([mean], scores(rng, draws))["verdict"].item() for _ in range(tables)]
    # Of five draws the standard error is below .3 of the true one with the chance that χ² of 4 is below 4 × .09.
    assert found.count("holds") <= (0 if draws < 5 else binom.ppf(0.999, tables, chi2.cdf(4 * 0.3**2, 4)))


def test_a_distance_that_the_draws_cannot_see_is_not_tested():
    table = scores(np.random.default_rng(0), 20, settings=3)
    found, why = verdict(distance, table, high=0.1)
    assert found == "not tested"
    largest = table.groupby("units")["score"].sem().max()
    assert why == f"the standard error of 20 draws is up to {largest:.2g}; allowed is a distance of 0.1"
    assert verdict(distance, table, high=1) == ("holds", "")


def test_a_single_draw_decides_nothing():
    assert verdict(distance, scores(np.random.default_rng(0), 1), high=5) == (
        "not tested",
        "one draw has no standard error",
    )


def test_numbers_by_arithmetic():
    means, errors = pd.Series([0.1, -0.5]), pd.Series([0.1, 0.1])
    assert excess(means, errors) == pytest.approx(0.2)
    assert excess(means, errors).allowing(1) == pytest.approx(0.4)
    assert excess(means, errors).error == 0.1
    assert least(means, errors) == pytest.approx(-0.8)
    assert most(means, errors) == pytest.approx(0.4)


def test_a_fall_that_chance_explains_is_not_tested_and_a_clear_one_fails():
    def curve(fall, draws):
        rng = np.random.default_rng(3)
        table = pd.concat([scores(rng, draws, mean=0).assign(m=1), scores(rng, draws, mean=-fall).assign(m=2)])
        return table.assign(units=0)

    def rise(table):
        groups = table.groupby(["m", "units", "metric"])["score"]
        points = pd.DataFrame({"score": groups.mean(), "error": groups.sem()}).reset_index()
        return smallest_step(points, "m", ["units"])

    assert verdict(rise, curve(0.1, 100), low=0)[0] == "holds"
    assert verdict(rise, curve(30, 100), low=0)[0] == "does not hold"
    beyond = rise(curve(12, 3))
    assert beyond < 0, "a fall of twelve is beyond three standard errors of three draws"
    assert verdict(rise, curve(12, 3), low=0) == ("not tested", "3 draws are too few to tell it from chance")


def test_a_lower_bound_that_the_mean_meets_and_its_error_does_not_is_not_tested():
    table = scores(np.random.default_rng(1), 10, mean=1)
    number = lambda table: least(*(pd.Series([f]) for f in (table["score"].mean(), table["score"].sem())))  # noqa: E731
    assert verdict(number, table, low=0.5) == ("not tested", "10 draws are too few to tell it from chance")
    assert verdict(number, table, low=3) == ("does not hold", "")
    assert verdict(number, table, low=-3) == ("holds", "")


def test_a_reader_on_a_terminal_sees_why_a_claim_is_not_tested(monkeypatch, capsys):
    table = pd.DataFrame({"units": [4], "draw": [0]})
    claims = [claim(lambda table: float(len(some(table[:0], "wide systems")))), claim(lambda table: 2.0, high=1)]
    judged = judge(claims, table)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    show_claims(judged, as_json=False)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "not tested: Text. (Section 1)"
    assert lines[2] == "    the table has no wide systems"
    assert lines[3] == "does not hold: Text. (Section 1)"
    assert len(lines) == 5
