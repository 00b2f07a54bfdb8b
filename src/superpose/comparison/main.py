"""All pairs of systems under all metrics, as one tidy table with an interval and a null for every score."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from superpose.arrays import check_paired
from superpose.comparison.design import (
    INTERVALS,
    Progress,
    Systems,
    checked_pairs,
    checked_systems,
    design_of,
    planned_for,
)
from superpose.comparison.order import warn_of_order
from superpose.comparison.table import table_of
from superpose.files import DataError, argument
from superpose.messages.deprecation import renamed
from superpose.metrics import DEFAULT, Metric, resolved
from superpose.recordings.systems import named, paired
from superpose.running.engines import processes


@renamed(folds="cv")
def compare(
    systems: Systems | Sequence[Any] | ArrayLike,
    *others: Any,
    pairs: Sequence[tuple[str, str]] | None = None,
    predictors: Sequence[str] | None = None,
    targets: Sequence[str] | None = None,
    metrics: Sequence[Metric | str] = DEFAULT,
    cv: int | ArrayLike | None = 5,
    test: float | ArrayLike | None = None,
    groups: ArrayLike | None = None,
    labels: ArrayLike | None = None,
    permutations: int = 999,
    interval_samples: int | None = INTERVALS,
    seed: int = 0,
    memory: int | str | None = None,
    engine: str = "serial",
    progress: Progress | None = None,
) -> pd.DataFrame:
    """Score every pair of systems under every metric.

    Parameters
    ----------
    systems : mapping of str to array or tensor, (…, samples, units), data frame, xarray array or Recording
        At least two systems that saw the same samples. Leading axes are repeats, equal in all systems, scored
        one by one and numbered in the column `repeat`.
        Data frames, xarray's arrays and recordings are paired by the labels of their rows, in the order of the first,
        and refused where they label other stimuli, or stand beside arrays without labels.
    pairs : sequence of (name, name), optional
        The pairs to score; None takes all.
    predictors, targets : sequence of str, optional
        Score each predictor with each target, in place of `pairs`; directed metrics predict the target from the
        predictor only. None is every other system.
    metrics : sequence of Metric or str
        Objects of `superpose.metrics`, their names in tables ("cka", "ridge_r"), or your own callables with `name`,
        `directed`, `invariances` and `minimum_samples`.
    cv : int, integer array (samples,) or None
        Cross-validation over that many folds, drawn at random by `seed`: all samples are scored. An array is the fold
        of each sample; None fits and scores in-sample. Folds never split groups.
    test : boolean array, (samples,), or float, optional
        One fixed split in place of `cv`: regressions are fitted where False, every score is taken where True; or the
        share of samples, drawn at random, that is scored.
    groups : array-like, (samples,), optional
        Which samples belong together (sentence, trial, photograph, session): folds, intervals and
        permutations never split groups. A pandas.Series of these, of labels, test or cv is matched by the labels of
        rows, where systems have them.
    labels : array-like, (samples,), optional
        What each sample shows (a category, a word): every fold gets an equal share of each.
    permutations : int
        Number of permutations of the null. Nearly all their cost is ridge, whose penalty is chosen anew on each: 999 of
        the default metrics take about 10 s a pair of 100 samples × 50 units on one core, 30 s of 300 × 100 and 8 min of
        2,000 × 300, without ridge 0.3 s, 0.4 s and 6 s. 0 leaves `p` out, and gives the exact mean of the null over all
        permutations of samples, folds and groups aside, where that has a closed form. Samples are permuted inside
        folds; with groups, whole groups among groups of equal size. Where too few are equal, groups of similar size
        exchange places, each with as many of its first samples as the smallest has: `null`, `p` and `calibrated` then
        belong to the score of those samples, and `null_kind` says how many they are
        (`superpose.statistics.permutations`).
    interval_samples : int, optional
        Number of test samples used for interval widths, drawn at random in whole groups, at least 1,000 of these; None
        takes all. 5,000 independent samples estimate the standard error to 1–2 %.
    seed : int
        Seed of the permutations and of that draw.
    memory : int or str, optional
        How many bytes sums may take, as 2_000_000_000 or "2GB"; None is a quarter of this machine's memory. Rows are
        read by chunks, from the disk where they are mapped; what does not fit is done by groups of pairs, and each
        system is read once a group.
    engine : str
        "serial", or "local:N" for N processes that score groups of pairs and share cores and memory; they take some
        seconds to start. Worth it where pairs are many: a solution, or a small product, gains little from a second
        thread. Scores agree to rounding.
    progress : callable, optional
        Called with (what, done, total). None shows progress on standard error, on a terminal or in
        a notebook.

    Returns
    -------
    pandas.DataFrame
        One row per pair for a symmetric metric, two for a directed one (system_a predicts system_b). `score`; `low`,
        `high`, `error`: 95 % interval and standard error from influence values; `null`, `null_low`, `null_high`: mean,
        2.5 % and 97.5 % quantile of the permutation null, regressions refitted on each; `p` = (1 + b)/(1 + B),
        one-sided; `p_adjusted`: the same for all pairs of a metric at once (`superpose.statistics.familywise`);
        `calibrated`: where the score lies between its null mean, 0, and that of identical systems, 1; `split`: how
        samples were split; `null_kind`: which null was taken; `samples` scored; `why`: the reason for a NaN.

    Raises
    ------
    DataError
        For fewer than two systems, unusable or unpaired responses, a constant system, or folds and groups
        that do not fit the samples.

    Examples
    --------
    >>> import numpy as np, superpose as sp
    >>> x = np.random.default_rng(0).normal(size=(100, 8))
    >>> mixed = x @ np.random.default_rng(1).normal(size=(8, 8))
    >>> table = sp.compare({"x": x, "mixed": mixed}, permutations=99)
    >>> table.query("metric == 'ridge_r'").score.round(3).tolist()
    [1.0, 1.0]
    """
    workers = processes(engine)
    metrics = resolved(metrics)
    known, groups, labels, test, cv = paired(named(systems, others), groups, labels=labels, test=test, cv=cv)
    arrays = checked_systems(known)
    one_way = predictors is not None or targets is not None
    couples = _across(arrays, pairs, predictors, targets) if one_way else checked_pairs(arrays, pairs)
    design = design_of(
        check_paired(arrays),
        cv=cv,
        test=test,
        groups=groups,
        labels=labels,
        interval_samples=interval_samples,
        permutations=permutations,
        one_way=one_way,
        seed=seed,
        memory=memory,
        progress=progress,
    )
    planned_for(metrics, design)
    warn_of_order({name: arrays[name] for name in dict.fromkeys(chain.from_iterable(couples))}, design)
    repeats = next(iter(arrays.values())).shape[:-2]
    if any(x.shape[:-2] != repeats for x in arrays.values()):
        raise DataError(
            f"the systems have repeats {sorted({x.shape[:-2] for x in arrays.values()})}; expected the same leading "
            "axes in all."
        )
    tables = []
    for number, index in enumerate(np.ndindex(repeats)):
        table = table_of({name: x[index] for name, x in arrays.items()}, couples, metrics, design, workers)
        tables.append(table.assign(**({"repeat": number} if repeats else {})))
    return pd.concat(tables, ignore_index=True)


def _across(
    systems: Systems,
    pairs: Sequence[tuple[str, str]] | None,
    predictors: Sequence[str] | None,
    targets: Sequence[str] | None,
) -> list[tuple[str, str]]:
    """Return each predictor with each target."""
    if pairs is not None:
        across = f"{argument('predictors')} and {argument('targets')}"
        raise DataError(f"expected {argument('pairs')}, or the systems of {across}; not both.")
    for name, chosen in (("predictors", predictors), ("targets", targets)):
        if isinstance(chosen, str) or not (chosen is None or (len(chosen) and set(chosen) <= set(systems))):
            known = ", ".join(map(str, systems))
            raise DataError(f"{argument(name)} is {chosen!r}; expected a list of some of {known}.")
    sources = [name for name in systems if name not in (targets or ())] if predictors is None else predictors
    goals = [name for name in systems if name not in sources] if targets is None else targets
    return checked_pairs(systems, [(a, b) for a in sources for b in goals if a != b])
