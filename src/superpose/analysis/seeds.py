"""Scores over dictionaries of several seeds, with the error that samples bring and the one that seeds bring."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.stats import t as student

KEYS = ["system_a", "system_b", "metric", "directed", "space", "fit", "control"]


def over_seeds(table: pd.DataFrame) -> pd.DataFrame:
    """Return the mean of each score over the seeds of its dictionaries, and an interval of both their errors.

    The rows that are scored are the same for every seed, so that their error stays; that of the seeds falls with the
    number of them. A score of dictionaries of one seed has no interval here: how much another seed would change it is
    not known.

    Parameters
    ----------
    table : pandas.DataFrame
        Of `Analysis`.

    Returns
    -------
    pandas.DataFrame
        One row per pair, metric, space, fit and control: `seeds`, the mean `score`, `error_samples`, `error_seeds` (of
        the mean), and `low`, `high`, with Student's quantile at the degrees of freedom of Satterthwaite (1946).

    Examples
    --------
    >>> import pandas as pd
    >>> from superpose.analysis.seeds import over_seeds
    >>> same = dict.fromkeys(["system_a", "system_b", "metric", "space", "fit", "control"], "x") | {"directed": False}
    >>> rows = [{**same, "seed": seed, "score": 0.6 + 0.1 * seed, "error": 0.03} for seed in range(3)]
    >>> over_seeds(pd.DataFrame(rows))[["seeds", "score", "error_samples", "error_seeds"]].round(3).values.tolist()
    [[3.0, 0.7, 0.03, 0.058]]
    """
    rows = []
    for key, found in table.groupby(KEYS, sort=False, dropna=False):
        # What involves no dictionary has no fit, one row, and no error of seeds.
        count, drawn = len(found), bool(key[KEYS.index("fit")])
        samples = float(np.sqrt(np.square(found["error"]).mean()))
        seeds = float(found["score"].std(ddof=1) / np.sqrt(count)) if count > 1 else (np.nan if drawn else 0.0)
        total = np.hypot(samples, seeds)
        freedom = (count - 1) * (total / seeds) ** 4 if seeds > 0 else np.inf
        half = total * float(student.ppf(0.975, freedom)) if np.isfinite(total) else np.nan
        score = float(found["score"].mean(skipna=False))
        numbers = {"seeds": count, "score": score, "error_samples": samples, "error_seeds": seeds}
        rows.append(dict(zip(KEYS, key, strict=True)) | numbers | {"low": score - half, "high": score + half})
    return pd.DataFrame(rows)
