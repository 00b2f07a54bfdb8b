"""Means over draws, with their standard errors: what the figures show and the claims are judged on."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd


def over_draws(table: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """Return one row a setting: means of score, theory and expected, and how sure they are.

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
    found = groups[["score", "theory", "expected", "gap"]].mean()
    spread = groups[["score", "gap"]].std()
    count = groups.size()
    found["sd"] = spread["score"]
    found["error"] = spread["score"] / np.sqrt(count)
    found["gap_error"] = spread["gap"] / np.sqrt(count)
    found["draws"] = count
    return found.reset_index()


def excess(means: pd.Series[float], errors: pd.Series[float]) -> float:
    """Return the largest mean that three standard errors do not explain, as a distance from zero; 0 if they all do.

    With a single draw, which has no standard error, nothing is explained: the largest distance itself.
    """
    return float((means.abs() - 3 * errors.fillna(0.0)).clip(lower=0).max())


def gap(by: Sequence[str], metric: str) -> Callable[[pd.DataFrame], float]:
    """Return what gives a table's largest distance of a metric's mean score from its theory, beyond chance."""

    def number(table: pd.DataFrame) -> float:
        points = over_draws(table[table["metric"] == metric], by)
        return excess(points["gap"], points["gap_error"])

    return number


def smallest_step(points: pd.DataFrame, along: str, by: Sequence[str]) -> float:
    """Return the smallest rise of the mean score between neighbours along an axis, plus three standard errors.

    Negative only where a curve falls by more than chance.
    """
    steps = []
    for _, curve in points.sort_values(along).groupby([*by, "metric"], dropna=False):
        error = np.sqrt(curve["error"].fillna(0.0) ** 2 + curve["error"].fillna(0.0).shift() ** 2)
        steps.append((curve["score"].diff() + 3 * error).min())
    return float(np.nanmin(steps))
