"""Means over draws, with their standard errors: what the figures show and the claims are judged on."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from superpose.paper.claims import Estimate, several, some


def over_draws(table: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """Return one row per setting: means of score, theory and expected, with their standard errors.

    Parameters
    ----------
    table : pandas.DataFrame
        With the columns `by`, `metric`, `draw`, `score`, `theory` and `expected`.
    by : sequence of str
        The settings that tell one point of a curve from another.

    Returns
    -------
    pandas.DataFrame
        Columns `by`, metric, score, theory, expected; `sd` and `error`, standard deviation and standard error of
        the score over draws; `gap` and `gap_error`, of score − theory in the same draws; `draws`.
    """
    rows = table.assign(gap=table["score"] - table["theory"])
    groups = rows.groupby([*by, "metric"], sort=False, dropna=False)
    points = groups[["score", "theory", "expected", "gap"]].mean()
    deviations = groups[["score", "gap"]].std()
    draws = groups.size()
    points["sd"] = deviations["score"]
    points["error"] = deviations["score"] / np.sqrt(draws)
    points["gap_error"] = deviations["gap"] / np.sqrt(draws)
    points["draws"] = draws
    return points.reset_index()


def excess(means: pd.Series[float], errors: pd.Series[float]) -> Estimate:
    """Return the largest mean that three standard errors do not explain, as a distance from zero; 0 if they all do.

    With a single draw, which has no standard error, it is the largest distance itself.
    """
    known = errors.fillna(0.0)
    return Estimate(
        lambda allowed: float((means.abs() - allowed * known).clip(lower=0).max()), error=float(known.max())
    )


def least(means: pd.Series[float], errors: pd.Series[float]) -> Estimate:
    """Return the smallest mean, less three standard errors."""
    known = errors.fillna(0.0)
    return Estimate(lambda allowed: float((means - allowed * known).min()))


def most(means: pd.Series[float], errors: pd.Series[float]) -> Estimate:
    """Return the largest mean, plus three standard errors."""
    known = errors.fillna(0.0)
    return Estimate(lambda allowed: float((means + allowed * known).max()))


def off_theory(points: pd.DataFrame) -> Estimate:
    """Return the largest distance of mean scores from the closed forms of the same draws, beyond chance."""
    return excess(points["gap"], points["gap_error"])


def off_expectation(points: pd.DataFrame) -> Estimate:
    """Return the largest distance of mean scores from their expectation, beyond chance."""
    return excess(points["score"] - points["expected"], points["error"])


def spread(points: pd.DataFrame, by: Sequence[str]) -> Estimate:
    """Return the largest range of mean scores that agree in some settings, beyond chance."""
    groups = points.groupby(list(by))
    return excess(groups["score"].max() - groups["score"].min(), np.sqrt(2) * groups["error"].max())


def apart(by: Sequence[str], first: str, second: str) -> Callable[[pd.DataFrame], float]:
    """Return a function: table → the largest distance between means of two metrics of the same draws, beyond chance."""

    def number(table: pd.DataFrame) -> float:
        wide = table.pivot(index=[*by, "draw"], columns="metric", values="score")
        difference = (wide[first] - wide[second]).groupby(list(by))
        return excess(difference.mean(), difference.sem())

    return number


def gap(by: Sequence[str], metric: str) -> Callable[[pd.DataFrame], float]:
    """Return a function: table → the largest distance of a metric's mean score from its theory, beyond chance."""

    def number(table: pd.DataFrame) -> float:
        return off_theory(over_draws(some(table[table["metric"] == metric], metric), by))

    return number


def smallest_step(points: pd.DataFrame, along: str, by: Sequence[str]) -> Estimate:
    """Return the smallest rise of the mean score between neighbours along an axis, plus three standard errors.

    Negative only where a curve falls by more than chance. Raises `Untested` where there are no neighbours.
    """
    steps, errors = [], []
    for _, curve in several(points, along).sort_values(along).groupby([*by, "metric"], dropna=False):
        known = curve["error"].fillna(0.0)
        steps += curve["score"].diff().tolist()
        errors += np.hypot(known, known.shift()).tolist()
    rise, unsure = np.array(steps), np.array(errors)
    return Estimate(lambda allowed: float(np.nanmin(rise + allowed * unsure)))
