"""The main job: how alike systems are raw, in reconstruction, as predicted, and in recovered features."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from superpose.analysis.caveats import caveats
from superpose.analysis.controls import LINES, Cell, cells_of, chosen
from superpose.analysis.given import cells_of_given, checked
from superpose.analysis.grouping import of_groups
from superpose.analysis.job import Job, prepare, varying
from superpose.analysis.scores import METRICS, ORDER, alone, described, scored
from superpose.analysis.seeds import over_seeds
from superpose.analysis.spaces import FITS, PRESETS, Recipe, derived_seed
from superpose.analysis.verdict import sentences
from superpose.arrays import check_paired, choose, group_labels
from superpose.comparison import (
    INTERVALS,
    OF_NULL,
    SCORES,
    Progress,
    Systems,
    calibrated,
    checked_pairs,
    checked_systems,
    compare,
    silent,
)
from superpose.deprecation import renamed
from superpose.engines import Engine, serial
from superpose.engines import engine as engine_of
from superpose.files import DataError, argument
from superpose.losses import SCORABLE_MODES
from superpose.metrics import Metric, resolved
from superpose.metrics.splits import split_of
from superpose.permutations import FEWEST
from superpose.recordings.systems import paired
from superpose.sae import SparseAutoencoder
from superpose.statistics import holm
from superpose.tensors import checked_device
from superpose.training import PRESETS as TRAINING

RETRAINED_NULL = "null: dictionaries refitted on shuffled pairs"
NOT_ASKED = "no null: the control 'shuffled_fit' was not asked for"
KEYS = ["system_a", "system_b", "metric", "space", "fit", "control", "seed"]
UNPAIRED = f"no null: fewer than {FEWEST} permutations of training or of held-out rows"


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
        return sentences(self.table, self.settings.get("permutations"))

    @property
    def over_seeds(self) -> pd.DataFrame:
        """The table with each score's mean over the seeds of its dictionaries, and an interval of both errors."""
        return over_seeds(self.table)

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


@renamed({"folds": lambda folds: 1 / folds}, folds="test")
def analyse(
    systems: Systems,
    *,
    pairs: Sequence[tuple[str, str]] | None = None,
    latents: int | None = None,
    active: int | None = None,
    fit: str = "pairwise",
    mode: str = "detached",
    controls: str | Sequence[str] = "shuffled_fit",
    metrics: Sequence[Metric | str] = METRICS,
    test: float | ArrayLike = 0.2,
    groups: ArrayLike | None = None,
    labels: ArrayLike | None = None,
    dictionaries: Mapping[str, SparseAutoencoder] | None = None,
    permutations: int = 999,
    interval_samples: int | None = INTERVALS,
    steps: int = 1000,
    preset: str = "default",
    batch: int | None = None,
    learning_rate: float | None = None,
    seeds: int = 1,
    seed: int = 0,
    memory: int | str | None = None,
    device: str = "cpu",
    engine: str = "serial",
    keep: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
) -> Analysis:
    """Compare systems raw, in their dictionaries' reconstructions, as their decoders predict, and in latents.

    One split serves everything: dictionaries and regressions, raw or latent, are fitted on training rows, and
    every score is taken on rows that neither saw. A latent score above the raw one is not by itself evidence of
    superposition: `controls` names what it is held against.

    Parameters
    ----------
    systems : mapping of str to array or tensor, (samples, units), data frame, xarray array or Recording
        At least two systems that saw the same samples, paired as in `superpose.compare`.
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
    controls : "all", or sequence of str
        What the latent scores are held against, each in rows of its own (`space` and `control` say which):

        - "shuffled_fit": samples re-paired and the dictionaries refitted. Where systems share nothing, joint training
          alone must not make them alike.
        - "nonlinear": raw activity predicted from raw activity by kernel ridge regression.
        - "linear_selection": what remains of two systems when each is reduced to its canonical variates with the
          other until as much variance is unexplained as by its dictionary.
        - "latent_to_raw": raw activity predicted from the other system's latents, the same targets as raw scores have.
        - "closed_form": the CKA of reconstructions as Theorem 3.2 gives it from decoders and codes.
        - "untrained": latents of dictionaries drawn at random.
        - "within_labels": samples re-paired with others of the same label, and the dictionaries refitted.
        - "independent": two dictionaries a system, each fitted on its own; their scores against each other (space
          "two_seeds"), and those of different systems with that noise divided out ("corrected"); the same of untrained
          ones.
        - "pca_code": the largest principal components of each sample, as many as latents are active.
        - "rotated": each system against a rotation of itself.
        - "planted": two Gaussian packings of each system's own codes, and what the closed form says of them.
    metrics : sequence of Metric
        What every space is scored by, as in `superpose.compare`.
    test : float, or boolean array, (samples,)
        The share of samples, drawn at random by `seed` in whole groups, that is held out; or those that are.
    groups : array-like, (samples,), optional
        Which samples belong together (sentence, trial, photograph): the split, intervals, permutations and the
        shuffled control take groups whole.
    labels : array-like, (samples,), optional
        What a sample shows (a word, a class), for the control "within_labels"; the folds of the training samples, on
        which penalties are chosen, get an equal share of each.
    dictionaries : mapping of str to SparseAutoencoder, optional
        Dictionaries that exist already (`superpose.load`, `superpose.formats.read`), by system, of any sizes and
        sparsities. Pairs of which both have one get rows with `fit` "given", beside those of the dictionaries fitted
        here. Whether these have seen the held-out rows, only their makers know.
    permutations : int
        Permutations behind the null of each raw score, as in `superpose.compare`, which says what they cost.
    interval_samples : int, optional
        From how many held-out rows the width of intervals is estimated, as in `superpose.compare`; None takes all.
    steps, batch, learning_rate
        Training of the dictionaries, as in `superpose.fit`.
    preset : {"default", "paper"}
        As in `superpose.fit`. "paper" is Appendix G: all rows in every step, AdamW at a constant rate, the straight-
        through gradient, encoders and dictionaries drawn from N(0, 1). It names two million steps.
    seeds : int
        How many times the dictionaries are fitted from other seeds, each in rows of its own; `Analysis.over_seeds`
        brings them together. Intervals of single rows take their dictionaries as given.
    seed : int
        The one seed that everything random is derived from.
    memory : int or str, optional
        How many bytes the sums behind scores may take, as in `superpose.compare`.
    device : str
        Where dictionaries are trained and applied, in torch's words ("cuda"). Scores are computed on the CPU.
    engine : str
        Where dictionaries are fitted and scored: "serial", or "local:N" for N processes that share the cores.
        Sums depend on the number of threads in their last digits.
    keep : path-like, optional
        A folder for every dictionary that is finished: an analysis that was interrupted, of the same rows and
        settings, takes those that it holds.
    progress : callable, optional
        Called with (what, done, total); None is as in `superpose.compare`.

    Returns
    -------
    Analysis
        `.table`, `.warnings`, `.sentences`, `.settings` and `.report(path)`.

    Raises
    ------
    DataError
        For systems that cannot be compared, settings out of range, or a device that is not there.

    Examples
    --------
    >>> import superpose as sp, torch
    >>> draw = torch.Generator().manual_seed(0)
    >>> z = sp.systems.sparse_latents(4000, 32, 2, generator=draw)
    >>> a, b = sp.systems.gaussian_projection(16, 32, repeats=(2,), generator=draw)
    >>> found = sp.analyse({"a": z @ a.T, "b": z @ b.T}, latents=32, active=2, steps=50, permutations=99)
    >>> sorted(found.table.space.unique())
    ['latent', 'predicted', 'raw', 'reconstruction']
    """
    choose(FITS, "fit", fit)
    seeds, steps = _size(seeds, 1, "seeds"), _size(steps, 1, "steps")
    choose(PRESETS, "preset", preset)
    usual = TRAINING[preset][1]
    minibatch = usual["batch"] if batch is None else _size(batch, 1, "batch")
    rate = usual["learning_rate"] if learning_rate is None else learning_rate
    run = engine_of(engine)
    checked_device(device)
    asked = chosen(controls)
    systems, groups, labels, test = paired(systems, groups, labels=labels, test=test)
    job, dropped = prepare(
        systems,
        pairs=pairs,
        fit=fit,
        metrics=resolved(metrics),
        groups=groups,
        labels=labels,
        test=test,
        interval_samples=interval_samples,
        seed=seed,
        memory=memory,
        progress=progress,
    )
    rows = job.training
    widest = max(x.shape[-1] for x in job.arrays.values())
    latents = _size(latents, max(widest, min(4 * widest, rows // 16)), "latents")
    active = _size(active, max(1, min(32, latents // 16)), "active")
    if active > latents:
        raise DataError(f"{argument('active')} is {active} of {latents} latents; expected at most that many.")
    choose(dict.fromkeys(SCORABLE_MODES), "mode", mode)
    recipes = [
        Recipe(
            latents,
            active,
            mode,
            steps,
            minibatch,
            rate,
            derived_seed(seed, f"fit {number}"),
            silent,
            preset,
            device,
            None if keep is None else Path(keep),
        )
        for number in range(seeds)
    ]
    cells: list[Cell] = [partial(_raw_cell, pair=pair, permutations=permutations) for pair in job.pairs]
    able = rows >= 2 * latents
    cells += [cell for number, recipe in enumerate(recipes) for cell in cells_of(job, recipe, number, asked, able)]
    given = checked(dictionaries, checked_systems(systems), dropped) if dictionaries else {}
    cells += cells_of_given(job, given, [LINES[name] for name in asked if name in LINES])
    tables = _computed(job, cells, run)
    if not able:
        tables.append(_refused(pd.concat(tables[: len(job.pairs)]), rows, latents, fit))
    # Independent dictionaries are the same ones, whether the fit or a control asks for them.
    table = pd.concat(tables, ignore_index=True).drop_duplicates(KEYS, ignore_index=True)
    source = RETRAINED_NULL if job.repairable else UNPAIRED
    table = _with_control_as_null(table, fit, source if "shuffled_fit" in asked else NOT_ASKED)[list(ORDER)]
    settings = job.settings | {
        "test": test if isinstance(test, float) else "as given",
        "latents": latents,
        "active": active,
        "fit": fit,
        "mode": mode,
        "controls": list(asked),
        "dictionaries": {name: repr(sae.sparsity) for name, sae in given.items()},
        "permutations": permutations,
        "steps": steps,
        "preset": preset,
        "batch": "all rows" if minibatch == math.inf else minibatch,
        "learning_rate": rate,
        "seeds": seeds,
        "device": device,
        "engine": engine,
    }
    held_out = {name: x[rows:] for name, x in job.arrays.items()}
    belonging = None if job.groups is None else job.groups[rows:]
    alike = of_groups(held_out, job.pairs, belonging, seed=seed, memory=memory)
    warnings = [*caveats(table, job.arrays, dropped, latents, asked), *alike]
    return Analysis(table, tuple(warnings), settings)


@renamed(folds="cv")
def raw(
    systems: Systems,
    *,
    pairs: Sequence[tuple[str, str]] | None = None,
    metrics: Sequence[Metric | str] = METRICS,
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
) -> Analysis:
    """Compare systems raw only, as `superpose.compare` does, with the sentences and warnings of `analyse`.

    Parameters and errors are those of `superpose.compare`.

    Examples
    --------
    >>> import numpy as np
    >>> from superpose.analysis import raw
    >>> x = np.random.default_rng(0).normal(size=(200, 5))
    >>> raw({"x": x, "y": 2 * x + 1}, permutations=99).table.score.round(3).unique().tolist()
    [1.0]
    """
    metrics = resolved(metrics)
    systems, groups, labels, test, cv = paired(systems, groups, labels=labels, test=test, cv=cv)
    arrays, dropped = varying(checked_systems(systems))
    samples = check_paired(arrays)
    chosen_pairs = checked_pairs(arrays, pairs)
    table = compare(
        arrays,
        pairs=chosen_pairs,
        metrics=metrics,
        cv=cv,
        test=test,
        groups=groups,
        labels=labels,
        permutations=permutations,
        interval_samples=interval_samples,
        seed=seed,
        memory=memory,
        engine=engine,
        progress=progress,
    )
    kept = None if groups is None else group_labels(groups, samples)
    shown = None if labels is None else group_labels(labels, samples, "labels")
    split = split_of(samples, cv=cv, test=test, groups=kept, labels=shown, seed=seed)
    scored_rows = np.flatnonzero(np.isin(split.folds, split.plan.held_out))
    training = split.training
    table = alone(table, training)[list(ORDER)]
    tested = {name: x[scored_rows] for name, x in arrays.items()} if kept is not None else {}
    alike = of_groups(
        tested, chosen_pairs, None if kept is None else kept[scored_rows], seed=seed, memory=memory
    )
    settings = {
        "pairs": [list(pair) for pair in chosen_pairs],
        "metrics": [metric.name for metric in metrics],
        "split": split.name,
        "groups": None if kept is None else int(kept.max()) + 1,
        "training_samples": training,
        "test_samples": len(scored_rows),
        "interval_samples": interval_samples,
        "permutations": permutations,
        "seed": seed,
        "engine": engine,
    }
    return Analysis(table, (*caveats(table, arrays, dropped, 0), *alike), settings)


def _computed(job: Job, cells: list[Cell], run: Engine) -> list[pd.DataFrame]:
    """Return the table of each cell, in their order, wherever and whenever the engine computes it."""
    if run is serial:
        return list(run(partial(_compute, job), cells))
    tables: dict[int, pd.DataFrame] = {}
    # Progress inside another process cannot be seen from here: cells are counted as they finish.
    for number, table in run(partial(_compute_numbered, job.quiet()), enumerate(cells)):
        tables[number] = table
        job.progress("scores and dictionaries", len(tables), len(cells))
    return [tables[number] for number in range(len(cells))]


def _compute(job: Job, cell: Cell) -> pd.DataFrame:
    return cell(job)


def _compute_numbered(job: Job, cell: tuple[int, Cell]) -> tuple[int, pd.DataFrame]:
    return cell[0], cell[1](job)


def _raw_cell(job: Job, *, pair: tuple[str, str], permutations: int) -> pd.DataFrame:
    """Score one pair as it is."""
    systems = {name: job.arrays[name] for name in pair}
    return described(scored(job, systems, permutations), job, space="raw", fit="")


def _with_control_as_null(table: pd.DataFrame, fit: str, source: str) -> pd.DataFrame:
    """Enter each score's shuffled control as its null, and say so; rows of a control have no null of their own.

    Pairs are scored one by one, so that their p-values are adjusted here, for all pairs of a metric.
    """
    keys = ["system_a", "system_b", "metric", "space", "seed"]
    shuffled = table[table.control == "shuffled_fit"].set_index(keys).score
    recovered = table.space.isin(["latent", "reconstruction"]) & table.score.notna()
    own = recovered & (table.control == "none") & (table.fit == fit)
    bare = (recovered | (table.control != "none")) & ~own
    table.loc[recovered | bare, list(OF_NULL)] = np.nan
    table.loc[own, "null"] = [shuffled.get(tuple(row), np.nan) for row in table.loc[own, keys].itertuples(index=False)]
    table.loc[own, "calibrated"] = calibrated(table.score[own], table.null[own])
    for index in table.groupby(["metric", "space", "control"]).groups.values():
        table.loc[index, "p_adjusted"] = holm(table.p[index].to_numpy())
    for chosen_rows, name in ((bare, ""), (own, source)):
        table.loc[chosen_rows, "why"] = [_renamed(why, name) for why in table.loc[chosen_rows, "why"]]
    return table


def _renamed(why: str, source: str) -> str:
    kept = [part for part in why.split("; ") if part and not part.startswith("null:")]
    return "; ".join([*kept, source] if source else kept)


def _refused(raw: pd.DataFrame, training: int, size: int, fit: str) -> pd.DataFrame:
    why = (
        f"needs ≥ {2 * size} training samples for {size} latents; have {training}, for which at most {training // 2} "
        "latents would fit"
    )
    blank = dict.fromkeys([*SCORES, "predictors"], np.nan)
    # Rows of one metric say it as well as those of all.
    return raw[raw.metric == raw.metric.iloc[0]].assign(space="latent", fit=fit, why=why, **blank)


def _size(value: int | None, default: int, name: str) -> int:
    if value is None:
        return default
    if not isinstance(value, int | np.integer) or isinstance(value, bool) or value < 1:
        raise DataError(f"{argument(name)} is {value!r}; expected a positive integer.")
    return int(value)
