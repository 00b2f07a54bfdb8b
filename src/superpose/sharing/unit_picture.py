"""The picture of a score against how many units were recorded."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def unit_picture(curve: pd.DataFrame) -> Figure:
    """Draw CKA against the number of units of each system, with its limit for a population of units.

    Parameters
    ----------
    curve : pandas.DataFrame
        Of `unit_curve`.

    Returns
    -------
    matplotlib.figure.Figure
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3.5, 2.4), layout="constrained")
    axes = figure.subplots()
    limit = float(curve["limit"].iloc[0])
    if np.isfinite(limit):
        axes.axhline(limit, color="0.4", ls="--", lw=1, label=f"all units of the population: {limit:.2f}")
    axes.errorbar(
        curve["units"],
        curve["score"],
        curve["sd"],
        color="#0072B2",
        marker="o",
        ms=3.5,
        lw=1,
        label="units drawn (± sd)",
    )
    axes.set_xscale("log", base=2)
    axes.set_xticks(curve["units"], [f"{size}" for size in curve["units"]], fontsize=7)
    axes.minorticks_off()
    axes.set_xlabel("units of each system", fontsize=8)
    axes.set_ylabel("debiased CKA", fontsize=8)
    axes.tick_params(labelsize=7)
    axes.set_ylim(0, max(1.0, limit if np.isfinite(limit) else 0.0) * 1.08)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(fontsize=7, frameon=False, loc="best")
    return figure
