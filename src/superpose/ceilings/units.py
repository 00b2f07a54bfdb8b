"""The most that a prediction of each unit can reach, and which units show any signal at all."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.stats import f as fisher

from superpose.arrays import choose
from superpose.ceilings.explainable import parts_of
from superpose.ceilings.pairs import GREATEST, Partings, lost_to_noise, one_each
from superpose.ceilings.trials import Trials, as_trials
from superpose.comparison import Design, design_of
from superpose.recordings import Recording
from superpose.statistics import uncertainty

Array = NDArray[Any]

# A unit whose stimuli differ no more than this often by noise alone is taken to have no reliable signal.
LEVEL = 0.05
COLUMNS = ("unit", "ceiling", "ceiling_low", "ceiling_high", "signal_p", "reliable")


def of_units(
    x: ArrayLike | Trials | Recording,
    *,
    score: str = "r",
    cv: int | ArrayLike | None = 5,
    test: float | ArrayLike | None = None,
    groups: ArrayLike | None = None,
    labels: ArrayLike | None = None,
    seed: int = 0,
) -> pd.DataFrame:
    """Return the most that a held-out prediction of each unit's mean over trials can be expected to reach.

    What `of_pairs` gives for the mean over units, unit by unit: the score of a predictor that knows the noiseless
    responses, in the folds that are scored.

    Parameters
    ----------
    x : array-like, (repeats, samples, units), Recording or Trials
        A trial that is missing is NaN.
    score : {"r", "r2"}
        Correlation, or the share of variance explained.
    cv, test, groups, labels, seed
        As in `superpose.compare`: a ceiling is that of the same samples in the same folds.

    Returns
    -------
    pandas.DataFrame
        One row per unit: `ceiling` with its 95 % interval from the influence of samples, or groups, 0 where noise is
        all of a unit's variance; `signal_p`, of the F test that its stimuli do not differ (one-way analysis of
        variance, over the trials of all scored samples); `reliable`: whether that is at most .05.

    Raises
    ------
    DataError
        For a system without repeats, unusable responses, or a held-out fold in which fewer than two samples have a
        second trial.

    Examples
    --------
    >>> import numpy as np, superpose as sp
    >>> draw = np.random.default_rng(0)
    >>> signal = draw.normal(size=(400, 3)) * [2, 1, 0]
    >>> table = sp.ceilings.of_units(signal + draw.normal(size=(4, 400, 3)))
    >>> table.ceiling.round(1).tolist()[:2], table.reliable.tolist()
    ([1.0, 0.9], [True, True, False])
    """
    choose(GREATEST, "score", score)
    trials = as_trials(x)
    design = design_of(trials.samples, cv=cv, test=test, groups=groups, labels=labels, seed=seed)
    return unit_ceilings(trials, score, design)


def unit_ceilings(trials: Trials, score: str, design: Design) -> pd.DataFrame:
    """Return the table of `of_units` under a design, of all samples of a system in order."""
    scored, partings = trials.of(design.tested), Partings(design, 1)
    greatest = GREATEST[score]
    noise = lost_to_noise(scored, greatest, one_each, partings)
    silent = noise.share >= 1
    values = np.where(silent, 0.0, greatest.value(noise.share))
    with np.errstate(invalid="ignore"):
        influence = partings.within_folds_of_each(np.where(silent, 0.0, greatest.slope(noise.share)) * noise.change)
    bounds = [
        uncertainty(value, of_unit, (-np.inf, 1.0), partings.groups)
        for value, of_unit in zip(values, influence.T, strict=True)
    ]
    p = signal_p(scored)
    return pd.DataFrame(
        {
            "unit": np.arange(len(values)),
            "ceiling": values,
            "ceiling_low": [np.nan if none else sure.low for none, sure in zip(silent, bounds, strict=True)],
            "ceiling_high": [np.nan if none else sure.high for none, sure in zip(silent, bounds, strict=True)],
            "signal_p": p,
            "reliable": p <= LEVEL,
        },
        columns=list(COLUMNS),
    )


def signal_p(trials: Trials) -> Array:
    """Return the p-value that a unit's stimuli do not differ, (units,): F of their means against their trials.

    One-way analysis of variance; where no trial is missing, without what a repeat adds to all samples alike. Exact for
    normal noise. NaN for a unit that does not vary.
    """
    counts, mean, samples = trials.unit_counts, trials.mean(), trials.samples
    within = counts.sum(axis=0) - samples
    with np.errstate(divide="ignore", invalid="ignore"):
        if trials.complete:
            parts = parts_of(trials)
            ratio, within = parts.total.sum(axis=0) / parts.noise.sum(axis=0), within - (len(trials.values) - 1)
        else:
            between = counts * np.square(mean - (counts * mean).sum(axis=0) / counts.sum(axis=0))
            ratio = between.sum(axis=0) / (samples - 1) / (trials.squares(mean).sum(axis=0) / within)
    return np.asarray(fisher.sf(ratio, samples - 1, within))
