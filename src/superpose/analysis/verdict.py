"""The plain sentence: what rose, what fell, what did not move, and what that does not show."""

from __future__ import annotations

import numpy as np
import pandas as pd

# Scores closer than this are called equal, whatever their intervals say.
SMALLEST = 0.01
MISSING = (
    "A rise alone is no evidence of superposition: selecting shared content, a nonlinear encoder and the identity of "
    "the stimuli raise it too. Not run here: the nonlinear prediction, linear selection at equal variance explained, "
    "and independent dictionaries."
)


def sentences(table: pd.DataFrame) -> list[str]:
    """Return one sentence a pair of systems, and a last one on what a rise leaves open, if any rose.

    Parameters
    ----------
    table : pandas.DataFrame
        As `superpose.analyse` returns it.

    Returns
    -------
    list of str
    """
    said, rose = [], False
    for (a, b), rows in _by_pair(table):
        text, up = _sentence(a, b, rows)
        said.append(text)
        rose |= up
    return [*said, MISSING] if rose else said


def _by_pair(table: pd.DataFrame) -> list[tuple[tuple[str, str], pd.DataFrame]]:
    symmetric = table[~table.directed.astype(bool)]
    pairs = list(dict.fromkeys(zip(symmetric.system_a, symmetric.system_b, strict=True)))
    return [(pair, table[table.system_a.isin(pair) & table.system_b.isin(pair)]) for pair in pairs]


def _sentence(a: str, b: str, rows: pd.DataFrame) -> tuple[str, bool]:
    raw = _score(rows, "raw")
    if raw is None:
        return f"{a} and {b}: no raw score could be computed ({_reason(rows, 'raw')}).", False
    opening = f"{a} and {b}: held-out r is {raw.score:.3f} raw"
    related = _related(rows)
    if _select(rows, "latent").empty:
        return f"{opening}{related}; recovered features were not asked for.", False
    latent = _score(rows, "latent")
    if latent is None:
        return f"{opening}{related}; in recovered features it could not be computed ({_reason(rows, 'latent')}).", False
    change = latent.score - raw.score
    noise = max(SMALLEST, float(np.hypot(raw.half, latent.half)))
    shuffled = _score(rows, "latent", control="shuffled_fit")
    control = f" (shuffled pairs: {shuffled.score:.3f})" if shuffled is not None else ""
    if change > noise:
        return f"{opening}{related} and {latent.score:.3f} in recovered features{control}: it rises.", True
    if change < -noise:
        return (
            f"{opening}{related} and {latent.score:.3f} in recovered features{control}: it falls; the dictionaries "
            "lose more of what is shared than they untangle.",
            False,
        )
    return f"{opening}{related} and {latent.score:.3f} in recovered features{control}: no clear change.", False


class _Mean:
    """A score averaged over both directions and all seeds, and half the width of its interval."""

    def __init__(self, rows: pd.DataFrame) -> None:
        self.score = float(rows.score.mean())
        half = ((rows.high - rows.low) / 2).mean()
        self.half = float(half) if np.isfinite(half) else 0.0


def _score(rows: pd.DataFrame, space: str, control: str = "none") -> _Mean | None:
    chosen = _select(rows, space, control)
    known = chosen[np.isfinite(chosen.score)]
    return _Mean(known) if len(known) else None


def _select(rows: pd.DataFrame, space: str, control: str = "none") -> pd.DataFrame:
    return rows[(rows.metric == "regression_r") & (rows.space == space) & (rows.control == control)]


def _related(rows: pd.DataFrame) -> str:
    """Return what the raw scores' nulls say, if they were run."""
    p = _select(rows, "raw").p.dropna()
    if not len(p):
        return ""
    return f" (p = {p.max():.3g})" if p.max() <= 0.05 else f", no better than re-paired samples (p = {p.max():.2g})"


def _reason(rows: pd.DataFrame, space: str) -> str:
    reasons = [why for why in _select(rows, space).why if why]
    return reasons[0] if reasons else "no row"
