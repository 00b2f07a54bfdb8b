"""Pairs: the ceiling of each score of `superpose.compare`, by the score's own estimator on the same samples."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from superpose.arrays.labels import check_rows
from superpose.ceilings.explainable import R2, Greatest, R, parts_of, share_influence
from superpose.ceilings.halves import incomplete, repeated_stimuli
from superpose.ceilings.kernels import (
    FEWEST_SAMPLES,
    UNBIASED,
    Reliability,
    SplitKernels,
    grouped_reliability,
    kernel_reliability,
    split_kernels,
)
from superpose.ceilings.trials import Trials, as_trials, trials_of
from superpose.comparison import IDENTITY, Design, checked_pairs, design_of
from superpose.files import DataError
from superpose.messages.deprecation import renamed
from superpose.metrics import CKA_DEBIASED, CKA_GROUPED, DEFAULT, Metric, PredictiveMetric
from superpose.recordings import Recording
from superpose.recordings.systems import paired_with_stimuli, recorded
from superpose.statistics import uncertainty, within_folds

Array = NDArray[Any]

KEY = [*IDENTITY[:3], "split"]
CEILING = ("ceiling", "ceiling_low", "ceiling_high", "ceiling_kind")
COLUMNS = (*IDENTITY, "split", *CEILING, "ceiling_why")
HALVES, EXPLAINABLE = "split halves", "explainable variance"
BIASED = "noise raises CKA as first published where units are many beside samples; see that of cka_debiased"
NOISELESS = " has no repeats and is taken as free of noise"
UNKNOWN = "no ceiling is known for this metric; superpose.ceilings.split_half scores halves of the trials"
GROUPED = CKA_GROUPED.name
KERNELS = (*UNBIASED, GROUPED)
GREATEST = {"r": R, "r2": R2}


@renamed(folds="cv")
def of_pairs(
    systems: Mapping[str, ArrayLike | Trials | Recording],
    *,
    pairs: Sequence[tuple[str, str]] | None = None,
    metrics: Sequence[Metric] = DEFAULT,
    cv: int | ArrayLike | None = 5,
    test: float | ArrayLike | None = None,
    groups: ArrayLike | None = None,
    labels: ArrayLike | None = None,
    splits: int = 20,
    seed: int = 0,
) -> pd.DataFrame:
    """Return the most that each score of `superpose.compare`, on the means over trials, can be expected to reach.

    `cka_debiased`, `cka_grouped` and `rsa` of two noisy systems with equal signals: the geometric mean of c(X₁,
    X₂)/c(X, X) of both, with c the score's own agreement of kernels, X₁ and X₂ the means of two halves of the trials
    and X that of all. The score over its ceiling estimates the score without noise. A system without repeats is assumed
    to be free of noise, which can only raise the ceiling. Where some stimuli have a single trial, halves are of the
    others, taken as a random sample of the stimuli that are scored; X is of all.

    Regressions: what a predictor that knows the noiseless targets would reach on their mean over trials, fold by fold
    (`explainable_variance`). It holds for any predictor, hence also for noisy ones, which cannot reach it.

    Parameters
    ----------
    systems : mapping of str to array, (repeats, samples, units), Recording or Trials
        At least two systems of the same samples; what is missing is NaN. One without repeats is (samples, units).
        Recordings and data frames are paired by stimulus, as in `superpose.compare`; everything else is in one order.
    pairs, metrics, cv, test, groups, labels
        As in `superpose.compare`: a ceiling is that of the same samples in the same folds.
    splits : int
        Number of random splits into halves; identical ones count once.
    seed : int
        Seed of these splits.

    Returns
    -------
    pandas.DataFrame
        One row for each of `superpose.compare`, with its `split`: `ceiling`, at most 1; `ceiling_low`, `ceiling_high`:
        95 % interval from the influence of samples, or groups; `ceiling_kind`: "split halves" or "explainable
        variance"; `ceiling_why`: the reason for a NaN, an estimate that was cut, or what was assumed.

    Raises
    ------
    DataError
        For unusable or unpaired responses, or folds and groups that do not fit them.

    Examples
    --------
    >>> import numpy as np, superpose as sp
    >>> draw = np.random.default_rng(0)
    >>> signal = draw.normal(size=(500, 6))
    >>> trials = {name: signal + draw.normal(size=(4, 500, 6)) for name in ("V1", "V4")}
    >>> scores = sp.compare({name: x.mean(axis=0) for name, x in trials.items()}, permutations=0)
    >>> table = sp.ceilings.beside(scores, sp.ceilings.of_pairs(trials))
    >>> table.query("metric == 'cka_debiased'")[["score", "ceiling"]].round(1).to_numpy().tolist()
    [[0.6, 0.6]]
    """
    if not isinstance(systems, Mapping) or len(systems) < 2:
        raise DataError("expected at least two systems, as {name: array}.")
    known = _known(systems)
    samples = _shared_samples(known)
    chosen = checked_pairs(known, pairs)
    design = design_of(samples, cv=cv, test=test, groups=groups, labels=labels, seed=seed)
    scored = {name: trials.of(design.tested) for name, trials in known.items()}
    partings = Partings(design, splits)
    rows = []
    for a, b in chosen:
        for metric in metrics:
            for first, second in ((a, b), (b, a)) if metric.directed else ((a, b),):
                ceiling = _ceiling(metric, scored[first], scored[second], partings)
                rows.append((first, second, metric.name, metric.directed, design.split, *ceiling.row))
    return pd.DataFrame(rows, columns=COLUMNS)


def _known(systems: Mapping[str, Any]) -> dict[str, Trials]:
    """Return the trials of systems: beside a Recording, in the order in which `superpose.compare` pairs them."""
    if not any(isinstance(x, Recording) for x in systems.values()):
        check_rows(systems)
        return {str(name): as_trials(x, str(name)) for name, x in systems.items()}
    given = {str(name): recorded(x, str(name)) for name, x in systems.items()}
    with warnings.catch_warnings(action="ignore"):
        stimuli, arrays, *_ = paired_with_stimuli(given)
    if stimuli is None:
        return {name: as_trials(x, name) for name, x in arrays.items()}
    recorded_trials = trials_of([x for x in given.values() if isinstance(x, Recording)], stimuli)
    return {name: recorded_trials[name] if name in recorded_trials else as_trials(x, name) for name, x in given.items()}


def beside(scores: pd.DataFrame, found: pd.DataFrame) -> pd.DataFrame:
    """Return a table of scores with the columns `ceiling`, `ceiling_low`, `ceiling_high` and `ceiling_kind` added.

    Parameters
    ----------
    scores : pandas.DataFrame
        Of `superpose.compare` or `superpose.analyse`, on means over the trials. Only raw scores have ceilings.
    found : pandas.DataFrame
        Of `of_pairs`, with the same pairs, metrics and folds.

    Returns
    -------
    pandas.DataFrame
        Its rows in their order; `why` says, after "ceiling:", why one is missing, was cut or what it assumes.

    Raises
    ------
    DataError
        If `found` lacks a raw score's pair and metric, or has one twice.
    """
    raw = np.ones(len(scores), dtype=bool)
    for column, value in (("space", "raw"), ("control", "none")):
        if column in scores:
            raw &= (scores[column] == value).to_numpy()
    places = pd.MultiIndex.from_frame(scores[KEY])
    ceilings = found.set_index(KEY)
    if ceilings.index.has_duplicates or not places[raw].isin(ceilings.index).all():
        raise DataError("these ceilings are not of these scores; expected of_pairs(…) of the same pairs and metrics.")
    matched = ceilings.reindex(places)
    numbers = {name: np.where(raw, matched[name].to_numpy(dtype=float), np.nan) for name in CEILING[:3]}
    kinds = np.where(raw, matched["ceiling_kind"].fillna(""), "")
    notes = np.where(raw, matched["ceiling_why"].fillna(""), "")
    why = [
        "; ".join(filter(None, (said, f"ceiling: {note}" if note else "")))
        for said, note in zip(scores["why"], notes, strict=True)
    ]
    return scores.assign(**numbers, ceiling_kind=kinds, why=why)


@dataclass(frozen=True)
class Partings:
    """How trials are parted under a design, and what has been found of each system's."""

    design: Design
    splits: int
    split: dict[str, SplitKernels] = field(default_factory=dict)

    @property
    def folds(self) -> NDArray[np.int64]:
        """The fold of each scored sample."""
        return self.design.folds[self.design.tested]

    @property
    def groups(self) -> NDArray[np.int64] | None:
        """The group of each scored sample."""
        return None if self.design.groups is None else self.design.groups[self.design.tested]

    @property
    def rounds(self) -> list[NDArray[np.int64]]:
        """Of the scored samples, those of each held-out fold."""
        return [np.flatnonzero(self.folds == fold) for fold in self.design.plan.held_out]

    def bounded(self, value: float, influence: Array) -> tuple[float, float]:
        """Return the interval of a ceiling, whole groups resampled together."""
        interval = uncertainty(value, influence, (-np.inf, 1.0), self.groups)
        return interval.low, interval.high

    def few_groups(self, metric: str) -> str:
        """Return why a metric of samples of different groups has no ceiling, or nothing."""
        if metric != GROUPED or self.groups is None:
            return ""
        count = len(np.unique(self.groups))
        return f"needs ≥ {FEWEST_SAMPLES} groups; have {count}" if count < FEWEST_SAMPLES else ""

    def unsplittable(self, trials: Trials, metric: str) -> str:
        """Return why halves of a system's trials give no agreement of kernels, or nothing."""
        if reason := incomplete(trials):
            return reason
        rows = repeated_stimuli(trials)
        count, what = len(rows), "stimuli"
        if metric == GROUPED and self.groups is not None:
            count, what = len(np.unique(self.groups[rows])), "groups of stimuli"
        if count >= FEWEST_SAMPLES:
            return ""
        return f"{trials.name}: needs ≥ {FEWEST_SAMPLES} {what} with two trials or more; have {count}"

    def reliability(self, trials: Trials, metric: str) -> Reliability:
        """Return the reliability of a system's kernels by the metric's own agreement."""
        if metric != GROUPED:
            return kernel_reliability(self.kernels(trials), metric)
        if self.groups is None:
            # Each sample is a group of its own.
            return kernel_reliability(self.kernels(trials), CKA_DEBIASED.name)
        return grouped_reliability(trials, self.groups, self.splits, self.design.seed)

    def within_folds(self, influence: Array) -> Array:
        """Return influence on a mean over folds, as it is for the scores."""
        return within_folds(influence, self.folds, self.groups)

    def within_folds_of_each(self, influence: Array) -> Array:
        """Return the same of several means, (samples, means)."""
        return influence * self.within_folds(np.ones(len(influence)))[:, None]

    def kernels(self, trials: Trials) -> SplitKernels:
        """Return a system's kernels, computed once for all its pairs and metrics."""
        if trials.name not in self.split:
            self.split[trials.name] = split_kernels(trials, self.splits, self.design.seed)
        return self.split[trials.name]


@dataclass(frozen=True)
class Ceiling:
    """The most that a score can be, its interval, how it was found, and what a reader must know."""

    value: float = np.nan
    low: float = np.nan
    high: float = np.nan
    kind: str = ""
    why: str = ""

    @property
    def row(self) -> tuple[float, float, float, str, str]:
        """Its columns in a table."""
        return self.value, self.low, self.high, self.kind, self.why


def _shared_samples(systems: Mapping[str, Trials]) -> int:
    counts = {name: trials.samples for name, trials in systems.items()}
    if len(set(counts.values())) > 1:
        shown = ", ".join(f"{name} {count}" for name, count in counts.items())
        raise DataError(f"the systems differ in samples ({shown}); every one must have seen the same, in one order.")
    return next(iter(counts.values()))


def _ceiling(metric: Any, a: Trials, b: Trials, partings: Partings) -> Ceiling:
    if isinstance(metric, PredictiveMetric):
        return _predictive(b, metric.kind, partings)
    if metric.name in KERNELS:
        return _kernel(a, b, metric.name, partings)
    return Ceiling(why=BIASED if metric.name == "cka" else UNKNOWN)


def _kernel(a: Trials, b: Trials, metric: str, partings: Partings) -> Ceiling:
    """Return the score of two systems with the signals of either one and the noise of each."""
    noisy = [trials for trials in (a, b) if trials.repeated]
    if not noisy:
        return Ceiling(why=f"neither {a.name} nor {b.name} has repeats")
    if a.samples < FEWEST_SAMPLES:
        return Ceiling(why=f"needs ≥ {FEWEST_SAMPLES} samples; have {a.samples}")
    if reason := partings.few_groups(metric):
        return Ceiling(why=reason)
    if reasons := [reason for trials in noisy if (reason := partings.unsplittable(trials, metric))]:
        return Ceiling(why="; ".join(reasons))
    parts = [partings.reliability(trials, metric) for trials in noisy]
    notes = [part.why for part in parts if part.why]
    notes += [note for trials in noisy if (note := _of_part(trials))]
    notes += [f"{trials.name}{NOISELESS}" for trials in (a, b) if trials not in noisy]
    value = float(np.sqrt(np.prod([part.value for part in parts])))
    if not np.isfinite(value):
        return Ceiling(why="; ".join(notes))
    influence = value / 2 * np.sum([part.relative for part in parts], axis=0)
    return Ceiling(value, *partings.bounded(value, influence), HALVES, "; ".join(notes))


def _of_part(trials: Trials) -> str:
    """Return a note where only some of the scored stimuli have halves, or nothing."""
    repeated = len(repeated_stimuli(trials))
    if repeated == trials.samples:
        return ""
    return (
        f"{trials.name}: signal estimated from the {repeated:,} of {trials.samples:,} stimuli that have repeats, as a "
        "random sample of those that the score is of"
    )


def _predictive(target: Trials, kind: tuple[str, str], partings: Partings) -> Ceiling:
    """Return what knowing the noiseless target would reach on its mean over trials, as the mean over folds."""
    greatest = GREATEST[kind[0]]
    try:
        noise = lost_to_noise(target, greatest, COLUMNS_OF[kind[1]], partings)
    except DataError as error:
        return Ceiling(why=str(error).rstrip("."))
    loss = noise.share
    known, silent = np.isfinite(loss), loss >= 1
    if not known.any():
        return Ceiling(why=f"{target.name} does not vary in a held-out fold")
    if silent[known].all():
        return Ceiling(why=f"noise is all of the variance of {target.name}'s mean over trials")
    value = float(np.where(silent, 0.0, greatest.value(loss))[known].mean())
    influence = partings.within_folds(np.where(silent, 0.0, greatest.slope(loss) * noise.change)[:, known].mean(axis=1))
    why = f"{silent.sum()} of {len(loss)} units show no signal and count as 0" if silent.any() else ""
    return Ceiling(value, *partings.bounded(value, influence), EXPLAINABLE, why)


@dataclass(frozen=True)
class Lost:
    """What noise takes of the greatest R², of each column, and each sample's influence on it, (samples, columns)."""

    share: Array
    change: Array


def lost_to_noise(target: Trials, greatest: Greatest, columns: Callable[[Array], Array], partings: Partings) -> Lost:
    """Return what noise takes of the greatest R² of the scored samples, as the mean over held-out folds.

    Raises
    ------
    DataError
        For a target without repeats, or a held-out fold in which fewer than two samples have a second trial.
    """
    if not target.repeated:
        raise DataError(f"{target.name} has no repeats: the noise of what is predicted is unknown")
    losses = []
    change = np.zeros((target.samples, columns(target.values[0, :1]).shape[-1]))
    for index in partings.rounds:
        try:
            parts = parts_of(target.of(index))
        except DataError as error:
            raise DataError(f"in a held-out fold, {error}") from None
        noise, total, n = columns(parts.noise), columns(parts.total), len(index)
        with np.errstate(divide="ignore", invalid="ignore"):
            losses.append(greatest.loss(noise.sum(axis=0) / total.sum(axis=0), n))
        of = None if partings.groups is None else partings.groups[index]
        moved = greatest.loss(share_influence(noise, total, of), n)
        change[index] = moved * target.samples / (n * len(partings.rounds))
    # Before the root: it would take the chance of single folds for signal.
    return Lost(np.mean(losses, axis=0), change)


def _pooled(x: Array) -> Array:
    """Return units added up, as one column."""
    column: Array = x.sum(axis=-1, keepdims=True)
    return column


def one_each(x: Array) -> Array:
    """Return units as they are, a column each."""
    return x


COLUMNS_OF: dict[str, Callable[[Array], Array]] = {"pooled": _pooled, "units": one_each}
