"""Scores of invented pairs, as tables have them."""

import itertools

import numpy as np
import pandas as pd


def scores(pairs, *, seed=0, spaces=("raw", "reconstruction", "predicted", "latent"), control=True):
    """Return an invented table of the full shape: both metrics, intervals, nulls, controls and one NaN."""
    random = np.random.default_rng(seed)
    rows = []
    for a, b in pairs:
        for space, (metric, x, y) in itertools.product(
            spaces, [("cka_debiased", a, b), ("ridge_r", a, b), ("ridge_r", b, a)]
        ):
            if space == "predicted" and metric == "ridge_r":
                continue
            score = random.uniform(0.3, 0.95)
            row = {
                "system_a": x, "system_b": y, "metric": metric, "directed": metric == "ridge_r",
                "space": space, "fit": "" if space == "raw" else "pairwise", "control": "none",
                "score": score, "low": score - 0.05, "high": score + 0.04,
                "null": 0.0, "null_low": -0.02, "null_high": 0.025, "p": 0.001,
                "samples": 10000, "units_a": 384, "units_b": 192, "predictors": 384,
                "fvu_a": 0.08, "fvu_b": 0.11, "dead_a": 0.01, "dead_b": 0.0, "l0_a": 32.0, "l0_b": 31.5,
                "same_index": 0.41, "why": "",
            }  # fmt: skip
            rows.append(row)
            if control and space == "latent":
                unknown = dict.fromkeys(["low", "high", "null", "null_low", "null_high", "p"], np.nan)
                rows.append(row | unknown | {"control": "shuffled_fit", "score": random.normal(0, 0.01)})
    return pd.DataFrame(rows)
