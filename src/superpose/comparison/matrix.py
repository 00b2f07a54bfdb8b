"""Scores of one metric as a matrix of systems."""

from __future__ import annotations

import pandas as pd

from superpose.arrays import choose
from superpose.files import DataError


def matrix(table: pd.DataFrame, metric: str, column: str = "score") -> pd.DataFrame:
    """Return a table of scores as systems × systems, for one metric.

    Parameters
    ----------
    table : pandas.DataFrame
        Of `superpose.compare`, or one space and control of the table of `superpose.analyse`.
    metric : str
        Its name in the table.
    column : str
        What to show: "score", "p", "calibrated", …

    Returns
    -------
    pandas.DataFrame
        Of a directed metric, the row predicts the column; of others both halves are equal. NaN on the diagonal, and for
        pairs that were not scored.

    Raises
    ------
    DataError
        For a metric that the table does not have, or a pair that it has more than once.

    Examples
    --------
    >>> import numpy as np, superpose as sp
    >>> x = np.random.default_rng(0).normal(size=(100, 8))
    >>> table = sp.compare({"a": x, "b": -x, "c": 2 * x}, metrics=["cka"], permutations=0)
    >>> sp.matrix(table, "cka").round(3).values.tolist()
    [[nan, 1.0, 1.0], [1.0, nan, 1.0], [1.0, 1.0, nan]]
    """
    choose(dict.fromkeys(table.metric), "metric", metric)
    rows = table[table.metric == metric]
    if column not in rows:
        raise DataError(f"column is {column!r}; expected one of {', '.join(rows.columns)}.")
    if rows.duplicated(["system_a", "system_b"]).any():
        raise DataError(
            f"the table has {metric} of a pair more than once; choose one repeat, space, fit, control and seed first."
        )
    names = list(dict.fromkeys([*table.system_a, *table.system_b]))
    found = rows.pivot(index="system_a", columns="system_b", values=column).reindex(index=names, columns=names)
    if not rows.directed.any():
        found = found.combine_first(found.T).reindex(index=names, columns=names)
    return found.rename_axis(index=None, columns=None)
