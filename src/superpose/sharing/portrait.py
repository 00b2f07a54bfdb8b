"""The picture of one system's features: how strong each is, and how alike both halves found it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from superpose.sharing.features import Features

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Okabe and Ito (2008).
STRENGTH, STABILITY = "#0072B2", "#D55E00"


def portrait(found: Features, *, width: float = 7.0) -> Figure:
    """Draw the features of a system from the strongest down.

    Left: the share of held-out variance that is lost without each. Right: how often each is active, against the cosine
    between the two halves' atoms (given dictionaries have none).

    Parameters
    ----------
    found : Features
        Of `superpose.features`.
    width : float
        In inches.

    Returns
    -------
    matplotlib.figure.Figure
        A figure of its own, unknown to pyplot; `superpose.report.plots.save` writes it.

    Examples
    --------
    >>> import numpy as np, superpose as sp
    >>> from superpose.sharing.portrait import portrait
    >>> found = sp.features(np.random.default_rng(0).exponential(size=(500, 4)), dictionary=np.eye(4))
    >>> [axes.get_ylabel() for axes in portrait(found).axes]
    ['held-out variance lost without it', 'share of samples that have it']
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import SymmetricalLogLocator

    figure = Figure(figsize=(width, 0.42 * width), layout="constrained")
    strength, stability = figure.subplots(1, 2)
    table = found.table
    strength.plot(table.feature + 1, table.variance, ".-", color=STRENGTH, markersize=4, linewidth=0.8)
    strength.set_xlabel("feature, from the strongest down")
    strength.set_ylabel("held-out variance lost without it")
    stability.plot(table.halves, table.active, ".", color=STABILITY)
    stability.set_xlabel("cosine between the two halves")
    stability.set_ylabel("share of samples that have it")
    # Shares run over decades, and one of a feature that no held-out sample has is 0.
    stability.set_yscale("symlog", linthresh=1e-3)
    stability.yaxis.set_major_locator(SymmetricalLogLocator(base=10, linthresh=1e-3, subs=(1, 2, 3, 5, 7)))
    stability.yaxis.set_major_formatter("{x:g}")
    for axes in (strength, stability):
        axes.grid(color="0.9")
        axes.spines[["top", "right"]].set_visible(False)
    return figure
