"""The main job: how alike systems are raw, in reconstruction, as predicted, and in recovered features."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from superpose.analysis.caveats import caveats
from superpose.analysis.spaces import FITS, Dictionaries, Recipe, decoded, derived_seed, encoded
from superpose.analysis.verdict import sentences
from superpose.arrays import check_paired, contiguous_folds, group_folds, group_labels
from superpose.comparison import COLUMNS, IDENTITY, SCORES, SIZES, checked_pairs, checked_seed, checked_systems, compare
from superpose.diagnostics import fvu, l0, match_latents, same_index_share
from superpose.engines import Engine, serial
from superpose.engines import engine as engine_of
from superpose.files import DataError
from superpose.losses import SCORABLE_MODES
from superpose.metrics import CKA, CKA_DEBIASED, RSA, RegressionMetric, relative_ridge
from superpose.metrics.metric import constant_units
from superpose.metrics.regression import split_plan
from superpose.statistics import FEWEST, Repairings, repairings
from superpose.theory import cka as gram_cosine

Array = NDArray[Any]
Progress = Callable[[str, int, int], None]
_Cell = Callable[["_Job"], pd.DataFrame]

# The same penalty in every space: small beside the mean variance of the predictors, so that a dead or
# duplicated predictor costs nothing.
PENALTY = relative_ridge(1e-3)
METRICS = (
    CKA,
    CKA_DEBIASED,
    RSA,
    RegressionMetric("regression_r", ("r", "pooled"), PENALTY),
    RegressionMetric("regression_r2", ("r2", "pooled"), PENALTY),
    RegressionMetric("regression_r_units", ("r", "units"), PENALTY),
)
FIT = ("space", "fit", "control", "seed")
QUALITY = ("fvu_a", "fvu_b", "dead_a", "dead_b", "l0_a", "l0_b", "same_index")
ORDER = (*IDENTITY, *FIT, *SCORES, *SIZES, "training_samples", "predictors", *QUALITY, "why")
RETRAINED_NULL = "null: dictionaries refitted on shuffled pairs"
UNPAIRED = f"no null: fewer than {FEWEST} re-pairings of training or of held-out rows"


@dataclass(frozen=True)
class Analysis:
    """What an analysis found.

    Attributes
    ----------
    table : pandas.DataFrame
        One row a score: the columns of `superpose.compare`, and `space` (raw, reconstruction, predicted,
        latent), `fit`, `control`, `seed`, `training_samples`, `predictors`, and per system the fraction of
        variance unexplained `fvu_*`, the share of dead latents `dead_*`, the active latents a sample `l0_*`;
        `same_index`, the share of matched latents that carry the same index in both.
    warnings : tuple of str
        What a reader of the scores must know.
    settings : dict
        Every setting that the numbers follow from.
    """

    table: pd.DataFrame
    warnings: tuple[str, ...]
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def sentences(self) -> list[str]:
        """What the table means, one plain sentence a pair."""
        return sentences(self.table)

    def report(self, path: str | os.PathLike[str], title: str = "Alignment") -> Path:
        """Write one self-contained HTML page: the sentences, warnings, a chart, the table and the settings."""
        from superpose.report import write

        return write(
            path,
            title=title,
            sentences=self.sentences,
            warnings=self.warnings,
            table=self.table,
            settings=self.settings,
        )


def analyse(
    systems: Mapping[str, ArrayLike],
    *,
    pairs: Sequence[tuple[str, str]] | None = None,
    latents: int | None = None,
    active: int | None = None,
    fit: str = "pairwise",
    mode: str = "detached",
    folds: int = 5,
    groups: ArrayLike | None = None,
    test: ArrayLike | None = None,
    permutations: int = 0,
    steps: int = 1000,
    batch: int = 512,
    learning_rate: float = 5e-3,
    seeds: int = 1,
    seed: int = 0,
    engine: str = "serial",
    progress: Progress | None = None,
) -> Analysis:
    """Compare systems raw, in their dictionaries' reconstructions, as their decoders predict, and in latents.

    One split serves everything: dictionaries and regressions, raw or latent, are fitted on training rows, and
    every score is taken on rows that neither saw. The control re-pairs the samples of the systems, refits the
    dictionaries on the shuffled pairs and scores them the same way: where systems share nothing, joint
    training alone must not make them alike.

    Parameters
    ----------
    systems : mapping of str to array or tensor, (samples, units)
        At least two systems that saw the same samples in the same order.
    pairs : sequence of (name, name), optional
        The pairs to compare; None is all of them.
    latents : int, optional
        Latents of each dictionary. None is four times the widest system, less where training rows are scarce
        (a sixteenth of them), but never fewer than the widest system's units.
    active : int, optional
        Latents a sample may use. None is 32, at most a sixteenth of the latents.
    fit : {"pairwise", "all", "independent"}
        One joint dictionary a pair, one for all systems, or one a system on its own.
    mode : {"detached", "cross", "separate", "agreement"}
        The cross terms of joint dictionaries, as in `superpose.losses.joint`.
    folds : int
        One of this many folds is held out: the last of contiguous ones, or of those that keep groups whole.
    groups : array-like, (samples,), optional
        Which samples belong together (sentence, trial, photograph): the split, intervals, re-pairings and the
        shuffled control take groups whole.
    test : boolean array, (samples,), optional
        The held-out rows, instead of `folds`.
    permutations : int
        Re-pairings behind the null of each raw score.
    steps, batch, learning_rate
        Training of the dictionaries, as in `superpose.fit`.
    seeds : int
        How many times the dictionaries are fitted from other seeds, each in rows of its own.
    seed : int
        The one seed that everything random is derived from.
    engine : str
        Where dictionaries are fitted and scored: "serial", or "local:N" for N processes that share the cores.
        Sums depend on the number of threads in their last digits.
    progress : callable, optional
        Called with (what, done, total).

    Returns
    -------
    Analysis
        `.table`, `.warnings`, `.sentences`, `.settings` and `.report(path)`.

    Raises
    ------
    DataError
        For systems that cannot be compared, or settings out of range.

    Examples
    --------
    >>> import superpose as sp, torch
    >>> draw = torch.Generator().manual_seed(0)
    >>> z = sp.systems.sparse_latents(4000, 32, 2, generator=draw)
    >>> a, b = sp.systems.gaussian_projection(16, 32, repeats=(2,), generator=draw)
    >>> found = sp.analyse({"a": z @ a.T, "b": z @ b.T}, latents=32, active=2, steps=50)
    >>> sorted(found.table.space.unique())
    ['latent', 'predicted', 'raw', 'reconstruction']
    """
    if fit not in FITS:
        raise DataError(f"fit is {fit!r}; expected one of {', '.join(map(repr, FITS))}.")
    seeds, steps, batch = _size(seeds, 1, "seeds"), _size(steps, 1, "steps"), _size(batch, 1, "batch")
    run = engine_of(engine)
    job, dropped = _job(systems, pairs, fit, folds, groups, test, seed, progress)
    training = job.training
    widest = max(x.shape[-1] for x in job.arrays.values())
    latents = _size(latents, max(widest, min(4 * widest, training // 16)), "latents")
    active = _size(active, max(1, min(32, latents // 16)), "active")
    if active > latents:
        raise DataError(f"active is {active} of {latents} latents; expected at most that many.")
    if mode not in SCORABLE_MODES:
        raise DataError(f"mode is {mode!r}; expected one of {', '.join(map(repr, SCORABLE_MODES))}.")
    recipes = [
        Recipe(latents, active, mode, steps, batch, learning_rate, derived_seed(seed, f"fit {number}"), _silent)
        for number in range(seeds)
    ]
    cells: list[_Cell] = [partial(_raw_cell, pair=pair, permutations=permutations) for pair in job.pairs]
    if training >= 2 * latents:
        cells += [cell for number, recipe in enumerate(recipes) for cell in _recovering(job, recipe, number)]
    tables = list(_computed(job, cells, run))
    if training < 2 * latents:
        tables.append(_refused(pd.concat(tables), training, latents, fit))
    table = _with_control_as_null(pd.concat(tables, ignore_index=True))[list(ORDER)]
    settings = job.settings | {
        "folds": folds if test is None else None,
        "latents": latents,
        "active": active,
        "fit": fit,
        "mode": mode,
        "permutations": permutations,
        "steps": steps,
        "batch": batch,
        "learning_rate": learning_rate,
        "seeds": seeds,
        "engine": engine,
    }
    return Analysis(table, tuple(caveats(table, job.arrays, dropped, latents)), settings)


def raw(
    systems: Mapping[str, ArrayLike],
    *,
    pairs: Sequence[tuple[str, str]] | None = None,
    folds: int = 5,
    groups: ArrayLike | None = None,
    test: ArrayLike | None = None,
    permutations: int = 0,
    seed: int = 0,
    progress: Progress | None = None,
) -> Analysis:
    """Compare systems raw only, on the same split and with the same scores as `analyse`, and fit no dictionary.

    Parameters and errors are those of `analyse`.

    Examples
    --------
    >>> import numpy as np
    >>> from superpose.analysis import raw
    >>> x = np.random.default_rng(0).normal(size=(200, 5))
    >>> raw({"x": x, "y": 2 * x + 1}).table.score.round(3).unique().tolist()
    [1.0]
    """
    job, dropped = _job(systems, pairs, "", folds, groups, test, seed, progress)
    table = _described(_score(job, job.arrays, permutations), job, space="raw")[list(ORDER)]
    settings = job.settings | {"folds": folds if test is None else None, "permutations": permutations}
    return Analysis(table, tuple(caveats(table, job.arrays, dropped, 0)), settings)


@dataclass(frozen=True)
class _Job:
    """What every step of one analysis shares; held-out rows are the last ones."""

    arrays: dict[str, Array]
    pairs: list[tuple[str, str]]
    held_out: NDArray[np.bool_]
    groups: NDArray[np.int64] | None
    fit: str
    seed: int
    progress: Progress

    @property
    def training(self) -> int:
        """How many rows, the first ones, dictionaries and regressions are fitted on."""
        return int((~self.held_out).sum())

    @property
    def repairings(self) -> Repairings:
        """The re-pairings of samples, or of whole groups, within training and within held-out rows."""
        return repairings(len(self.held_out), self.held_out.astype(np.int64), self.groups)

    @property
    def repairable(self) -> bool:
        """Whether there is enough to re-pair on either side of the split for a shuffled control to mean anything."""
        return self.repairings.enough([0]) and self.repairings.enough([1])

    @property
    def settings(self) -> dict[str, Any]:
        """The settings that every score follows from."""
        return {
            "pairs": [list(pair) for pair in self.pairs],
            "groups": None if self.groups is None else int(self.groups.max()) + 1,
            "training_samples": self.training,
            "test_samples": int(self.held_out.sum()),
            "ridge": "1e-3 of the mean variance of the predictors",
            "seed": self.seed,
        }

    def within(self, names: Iterable[str]) -> list[tuple[str, str]]:
        """Return the pairs to compare whose systems are both among `names`."""
        present = set(names)
        return [pair for pair in self.pairs if present.issuperset(pair)]


def _job(
    systems: Mapping[str, ArrayLike],
    pairs: Sequence[tuple[str, str]] | None,
    fit: str,
    folds: int,
    groups: ArrayLike | None,
    test: ArrayLike | None,
    seed: int,
    progress: Progress | None,
) -> tuple[_Job, dict[str, list[int]]]:
    """Return what every step shares, and which constant units of each system were dropped."""
    arrays, dropped = _varying(checked_systems(systems))
    samples = check_paired(arrays)
    checked_seed(seed)
    labels = None if groups is None else group_labels(groups, samples)
    held_out = _held_out(samples, folds, labels, test)
    # Held-out rows last: either side of the split is then a view of every array.
    order = np.argsort(held_out, kind="stable")
    if (np.diff(order) < 0).any():
        arrays = {name: x[order] for name, x in arrays.items()}
        held_out, labels = held_out[order], labels if labels is None else labels[order]
    chosen = checked_pairs(arrays, pairs)
    return _Job(arrays, chosen, held_out, labels, fit, seed, progress or _silent), dropped


def _recovering(job: _Job, recipe: Recipe, number: int) -> list[_Cell]:
    """Return the cells that fit and score dictionaries: each group of systems under each control."""
    grouping, _ = FITS[job.fit]
    controls = CONTROLS if job.repairable else ("none",)
    return [
        partial(_recovered_cell, recipe=recipe, control=control, names=names, number=number)
        for control in controls
        for names in grouping(list(job.arrays), job.pairs)
    ]


def _computed(job: _Job, cells: list[_Cell], run: Engine) -> Iterator[pd.DataFrame]:
    """Yield the table of each cell, wherever the engine computes it."""
    if run is serial:
        yield from run(partial(_compute, job), cells)
        return
    # Progress inside another process cannot be seen from here: cells are counted as they finish.
    silent = replace(job, progress=_silent)
    for done, table in enumerate(run(partial(_compute, silent), cells)):
        job.progress("scores and dictionaries", done + 1, len(cells))
        yield table


def _compute(job: _Job, cell: _Cell) -> pd.DataFrame:
    return cell(job)


def _raw_cell(job: _Job, *, pair: tuple[str, str], permutations: int) -> pd.DataFrame:
    """Score one pair as it is."""
    return _described(_score(job, {name: job.arrays[name] for name in pair}, permutations), job, space="raw")


def _recovered_cell(job: _Job, *, recipe: Recipe, control: str, names: tuple[str, ...], number: int) -> pd.DataFrame:
    """Fit the dictionaries of one group of systems under one control, and score them."""
    altered = CONTROLS[control](job)
    systems = {name: altered[name] for name in names}
    _, training = FITS[job.fit]
    heard = replace(recipe, progress=job.progress)
    dictionaries = training({name: x[: job.training] for name, x in systems.items()}, heard)
    return _scored(job, dictionaries, systems, control).assign(seed=number)


def _silent(what: str, done: int, total: int) -> None:
    pass


def _scored(job: _Job, dictionaries: Dictionaries, systems: dict[str, Array], control: str) -> pd.DataFrame:
    codes = encoded(dictionaries, systems)
    rebuilt = decoded(dictionaries, codes)
    unseen = {name: z[job.training :] for name, z in codes.items()}
    alive = {name: z[: job.training].any(axis=0) for name, z in codes.items()}
    quality = {
        name: {
            "fvu": float(fvu(systems[name][job.training :], rebuilt[name][job.training :])),
            "dead": float(1 - alive[name].mean()),
            "l0": float(l0(unseen[name])),
        }
        for name in codes
    }
    shared = {(a, b): same_index_share(unseen[a], unseen[b]) for a, b in job.within(codes)}
    used = {name: z if alive[name].all() else z[:, alive[name]] for name, z in codes.items()}
    rows = [
        _described(_score(job, rebuilt), job, space="reconstruction", control=control),
        _described(_score(job, used), job, space="latent", control=control),
    ]
    if control == "none":
        rows.append(_described(_predicted(job, dictionaries, unseen), job, space="predicted", control=control))
    table = pd.concat(rows, ignore_index=True)
    for side in ("a", "b"):
        for name in ("fvu", "dead", "l0"):
            table[f"{name}_{side}"] = [quality[system][name] for system in table[f"system_{side}"]]
    table["same_index"] = [
        shared.get((a, b), shared.get((b, a))) for a, b in zip(table.system_a, table.system_b, strict=True)
    ]
    return table


def _score(job: _Job, systems: Mapping[str, Array], permutations: int = 0) -> pd.DataFrame:
    """Return the scores of one space: the one pure function that every space and control goes through."""
    return compare(
        systems,
        pairs=job.within(systems),
        metrics=METRICS,
        test=job.held_out,
        groups=job.groups,
        permutations=permutations,
        seed=job.seed,
        progress=job.progress,
    )


def _predicted(job: _Job, dictionaries: Dictionaries, codes: dict[str, Array]) -> pd.DataFrame:
    """Return the closed form on the decoders (Theorem 3.2): what the packing alone would make of equal content."""
    rows = []
    for a, b in job.within(dictionaries):
        index, correlation = match_latents(codes[a], codes[b])
        matched = np.flatnonzero(np.asarray(correlation) > 0)
        first = dictionaries[a].decoder.numpy()[:, matched]
        second = dictionaries[b].decoder.numpy()[:, np.asarray(index)[matched]]
        rows.append(
            {
                "system_a": a,
                "system_b": b,
                "metric": CKA_DEBIASED.name,
                "directed": False,
                "score": float(gram_cosine(first, second)) if len(matched) else np.nan,
                "samples": len(codes[a]),
                "units_a": first.shape[0],
                "units_b": second.shape[0],
                "why": f"Gram cosine of the unit-norm decoders of {len(matched)} matched latents, taken as white",
            }
        )
    return pd.DataFrame(rows, columns=COLUMNS)


def _unaltered(job: _Job) -> dict[str, Array]:
    return job.arrays


def _shuffled(job: _Job) -> dict[str, Array]:
    """Re-pair every system but the first, within training and within held-out rows."""
    first, *others = job.arrays
    pairing = job.repairings
    shuffled = {first: job.arrays[first]}
    for name in others:
        (index,) = pairing.draw(1, derived_seed(job.seed, f"shuffle {name}"))
        shuffled[name] = job.arrays[name][index]
    return shuffled


CONTROLS: dict[str, Callable[[_Job], dict[str, Array]]] = {"none": _unaltered, "shuffled_fit": _shuffled}


def _described(table: pd.DataFrame, job: _Job, *, space: str, control: str = "none") -> pd.DataFrame:
    predictors = np.where(table.directed.astype(bool), table.units_a, np.nan)
    return table.assign(
        space=space,
        fit="" if space == "raw" else job.fit,
        control=control,
        seed=0,
        training_samples=job.training,
        predictors=predictors,
        **dict.fromkeys(QUALITY, np.nan),
    )


def _with_control_as_null(table: pd.DataFrame) -> pd.DataFrame:
    """Enter each score's shuffled control as its null, and say so."""
    keys = ["system_a", "system_b", "metric", "space", "seed"]
    shuffled = table[table.control == "shuffled_fit"].set_index(keys).score
    recovered = table.space.isin(["latent", "reconstruction"]) & table.score.notna()
    own = recovered & (table.control == "none")
    nulls = [shuffled.get(tuple(row), np.nan) for row in table.loc[own, keys].itertuples(index=False)]
    table.loc[recovered, "null"] = np.nan
    table.loc[own, "null"] = nulls
    source = RETRAINED_NULL if len(shuffled) else UNPAIRED
    for chosen, name in ((recovered & ~own, ""), (own, source)):
        table.loc[chosen, "why"] = [_renamed(why, name) for why in table.loc[chosen, "why"]]
    return table


def _renamed(why: str, source: str) -> str:
    kept = [part for part in why.split("; ") if part and not part.startswith("null:")]
    return "; ".join([*kept, source] if source else kept)


def _refused(raw: pd.DataFrame, training: int, size: int, fit: str) -> pd.DataFrame:
    why = f"{training} training rows are too few for {size} latents (at least twice as many rows)"
    blank = dict.fromkeys([*SCORES, "predictors"], np.nan)
    return raw.assign(space="latent", fit=fit, why=why, **blank)


def _varying(arrays: dict[str, Array]) -> tuple[dict[str, Array], dict[str, list[int]]]:
    """Drop units that are constant over the samples, and say which."""
    kept, dropped = {}, {}
    for name, x in arrays.items():
        if x.ndim != 2:
            raise DataError(f"{name} has shape {x.shape}; expected (samples, units). Repeats are analysed one by one.")
        constant = constant_units(x)
        kept[name] = x[:, ~constant] if constant.any() else x
        if constant.any():
            dropped[name] = np.flatnonzero(constant).tolist()
    return kept, dropped


def _held_out(samples: int, folds: int, labels: NDArray[np.int64] | None, test: ArrayLike | None) -> Array:
    if test is not None:
        mask, _ = split_plan(samples, None, test)
        return np.asarray(mask, dtype=bool)
    fold = contiguous_folds(samples, folds) if labels is None else group_folds(labels, folds)
    return fold == folds - 1


def _size(value: int | None, default: int, name: str) -> int:
    if value is None:
        return default
    if not isinstance(value, int | np.integer) or isinstance(value, bool) or value < 1:
        raise DataError(f"{name} is {value!r}; expected a positive integer.")
    return int(value)
