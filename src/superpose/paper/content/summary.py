"""What a table of pairs says of each regime: errors, coverage, and how verdicts fared."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

# Truths of which the coverage of intervals is judged: a share of 0 or 1 is always covered.
INSIDE = (0.1, 0.95)
# Kinds of latents that are independent of one another: no private one is dependent on the other system.
INDEPENDENT = ("bernoulli", "exponential", "zipf")
# How far a count of features may be off.
OFF = 0.05


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """Return one row a regime, in the order of the study.

    Parameters
    ----------
    table : pandas.DataFrame
        Of `study(...).run(...)`.

    Returns
    -------
    pandas.DataFrame
        Columns regime, pairs, wrong (verdicts), not_told (share), bias, sd and error_90 (of the shared fraction: mean,
        standard deviation, 90 % of absolute errors), content_bias (of the CKA of latents), covered and width (of the
        interval of the shared fraction), counted (share of systems whose features are counted within 5 %) and
        told_apart (shared against private features). Errors are those of pairs that have a number.
    """
    return pd.DataFrame([{"regime": name, **_row(part)} for name, part in table.groupby("regime", sort=False)])


def errors(table: pd.DataFrame) -> pd.Series[float]:
    """Return the errors of the shared fraction, of pairs that have one."""
    return (table["shared"] - table["truth"]).dropna()


def content_errors(table: pd.DataFrame) -> pd.Series[float]:
    """Return the errors of the CKA of latents, of pairs that have one."""
    return (table["content"] - table["truth_content"]).dropna()


def covered(table: pd.DataFrame, of: str, truth: str) -> float:
    """Return the coverage of the intervals, of pairs that share part of their features."""
    inside = partial(table, of)
    low, high = inside[f"{of}_low"] - 1e-9, inside[f"{of}_high"] + 1e-9
    return float(inside[truth].between(low, high).mean())


def width(table: pd.DataFrame, of: str) -> float:
    """Return the mean width of intervals of pairs that share part of their features."""
    inside = partial(table, of)
    return float((inside[f"{of}_high"] - inside[f"{of}_low"]).mean())


def partial(table: pd.DataFrame, of: str) -> pd.DataFrame:
    """Return pairs that share part of their features, and have a number."""
    return table[table["truth"].between(*INSIDE) & table[of].notna()]


def counted(table: pd.DataFrame) -> float:
    """Return the share of systems whose features are counted within 5 %."""
    found = np.concatenate([table[f"features_{side}"] / table[f"drawn_features_{side}"] for side in "ab"])
    return float((np.abs(found - 1) <= OFF).mean())


def false_discoveries(table: pd.DataFrame) -> float:
    """Return the share of private features among the significant ones, where latents are independent."""
    independent = table[table["drawn_kind"].isin(INDEPENDENT)]
    return float(independent["false"].sum() / max(independent["discoveries"].sum(), 1))


def inverted(table: pd.DataFrame) -> pd.DataFrame:
    """Return pairs of pairs of which the one that clearly shares more scores clearly lower in raw activity.

    Columns `told`, whether both have a verdict, and `right`, whether the shared fractions found are in the true order.
    """
    pairs = table[["truth", "raw", "shared", "verdict"]]
    both = pairs.merge(pairs, how="cross", suffixes=("", "_less"))
    wrong = both[(both["truth"] > both["truth_less"] + 0.1) & (both["raw"] < both["raw_less"] - 0.02)]
    told = (wrong["verdict"] != "cannot tell") & (wrong["verdict_less"] != "cannot tell")
    return pd.DataFrame({"told": told, "right": wrong["shared"] > wrong["shared_less"]})


def _row(part: pd.DataFrame) -> dict[str, Any]:
    off = errors(part)
    return {
        "pairs": len(part),
        "wrong": int(part["wrong"].sum()),
        "not_told": float(1 - part["told"].mean()),
        "bias": off.mean(),
        "sd": off.std(),
        "error_90": off.abs().quantile(0.9),
        "content_bias": content_errors(part).mean(),
        "covered": covered(part, "shared", "truth"),
        "width": width(part, "shared"),
        "counted": counted(part),
        "told_apart": part["told_apart"].astype(float).mean(),
    }
