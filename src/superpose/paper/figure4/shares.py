"""The share of the deflation of raw alignment that unsupervised dictionaries undo."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import t as student

SETTING = ["latents", "active", "units"]
# The activity that each kind of dictionary was trained on.
ACTIVITY = {"unsupervised": "raw", "unsupervised_learned": "raw_learned"}


def undone(table: pd.DataFrame) -> pd.DataFrame:
    """Return the share of the deflation that unsupervised dictionaries undo, one row per setting and kind.

    The ratio of means of unsupervised − raw and supervised − raw, in the same pairs of systems. `half` is half its 95 %
    interval: by the delta method, with Student's t. Without a deflation beyond 3 standard errors there is no row.

    Parameters
    ----------
    table : pandas.DataFrame
        Of `study(...).run(...)`.

    Returns
    -------
    pandas.DataFrame
        Columns latents, active, units, kind, share, half.
    """
    rows = []
    wide = table[table["metric"] == "r"].pivot(index=[*SETTING, "draw"], columns="kind", values="score")
    for setting, pairs in wide.groupby(SETTING):
        for kind, raw in ACTIVITY.items():
            activity = pairs[raw].to_numpy()
            gain, deflation = pairs[kind].to_numpy() - activity, pairs["supervised"].to_numpy() - activity
            if not deflation.mean() > 3 * _error(deflation):
                continue
            share = gain.mean() / deflation.mean()
            half = student.ppf(0.975, len(pairs) - 1) * _error(gain - share * deflation) / deflation.mean()
            rows.append({**dict(zip(SETTING, setting, strict=True)), "kind": kind, "share": share, "half": half})
    return pd.DataFrame(rows, columns=[*SETTING, "kind", "share", "half"])


def _error(values: NDArray[Any]) -> float:
    """Return the standard error of the mean; NaN of a single value."""
    return float(np.std(values, ddof=1) / np.sqrt(len(values))) if len(values) > 1 else float("nan")
