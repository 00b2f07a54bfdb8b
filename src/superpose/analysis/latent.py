"""Latent alignment: what dictionaries recover of systems and make of them, and what that is held against."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from superpose.analysis.caveats import caveats
from superpose.analysis.controls import LINES, Cell, cells_of, chosen
from superpose.analysis.found import Analysis
from superpose.analysis.given import cells_of_given, checked
from superpose.analysis.job import Job, prepare
from superpose.analysis.planning import performed
from superpose.analysis.scores import METRICS, ORDER, described, noted, scored, settings_of
from superpose.analysis.spaces import FITS, PRESETS, Recipe, derived_seed, positive, sizes
from superpose.arrays import choose
from superpose.arrays.tensors import checked_device
from superpose.comparison import INTERVALS, OF_NULL, SCORES, Progress, Systems, calibrated, checked_systems
from superpose.dictionaries.losses import SCORABLE_MODES
from superpose.dictionaries.sae import SparseAutoencoder
from superpose.dictionaries.training import PRESETS as TRAINING
from superpose.metrics import Metric, resolved
from superpose.recordings.systems import paired
from superpose.running.engines import Engine, serial
from superpose.running.engines import engine as engine_of
from superpose.running.progress import silent
from superpose.statistics.permutations import FEWEST

RETRAINED_NULL = "dictionaries refitted on shuffled pairs"
NOT_ASKED = "no null: the control 'shuffled_fit' was not asked for"
KEYS = ["system_a", "system_b", "metric", "space", "fit", "control", "seed"]
UNPAIRED = f"no null: fewer than {FEWEST} permutations of training or of held-out rows"
# How dictionaries are trained, where nothing else is said.
TRAINED: dict[str, Any] = {"steps": 1000, "preset": "default", "batch": None, "learning_rate": None}


def planned_latent(
    systems: Systems,
    *,
    pairs: Sequence[tuple[str, str]] | None = None,
    metrics: Sequence[Metric | str] = METRICS,
    test: float | ArrayLike = 0.2,
    groups: ArrayLike | None = None,
    labels: ArrayLike | None = None,
    interval_samples: int | None = INTERVALS,
    fit: str = "pairwise",
    latents: int | None = None,
    active: int | None = None,
    mode: str = "detached",
    training: Mapping[str, Any] | None = None,
    seeds: int = 1,
    controls: str | Sequence[str] = "shuffled_fit",
    dictionaries: Mapping[str, SparseAutoencoder] | None = None,
    seed: int = 0,
    memory: int | str | None = None,
    device: str = "cpu",
    engine: str = "serial",
    keep: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
) -> Callable[[], Analysis]:
    """Compare systems in what dictionaries make of them, on held-out rows, beside the raw scores of those rows.

    Parameters and errors are those of `superpose.analyse`.

    Examples
    --------
    >>> import superpose as sp, torch
    >>> from superpose.analysis import latent
    >>> draw = torch.Generator().manual_seed(0)
    >>> z = sp.systems.sparse_latents(1000, 16, 2, generator=draw)
    >>> a, b = sp.systems.gaussian_projection(8, 16, repeats=(2,), generator=draw)
    >>> found = latent({"a": z @ a.T, "b": z @ b.T}, latents=16, active=2, training={"steps": 10})
    >>> found.table.split.unique().tolist()
    ['test']
    """
    choose(FITS, "fit", fit)
    how = _training(training)
    seeds = positive(seeds, 1, "seeds")
    run = engine_of(engine)
    asked = chosen(controls)
    systems, groups, labels, test = paired(systems, groups, labels=labels, test=test)
    checked_device(device)
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
    widest = max(x.shape[-1] for x in job.arrays.values())
    latents, active = sizes(latents, active, max(widest, min(4 * widest, job.training // 16)))
    choose(dict.fromkeys(SCORABLE_MODES), "mode", mode)
    recipe = Recipe(
        latents,
        active,
        mode,
        **how,
        seed=seed,
        progress=silent,
        device=device,
        folder=None if keep is None else Path(keep),
    )
    recipes = [replace(recipe, seed=derived_seed(seed, f"fit {number}")) for number in range(seeds)]
    given = checked(dictionaries, checked_systems(systems), dropped) if dictionaries else {}
    lonely = [name for name in given if not set(given).intersection(job.partners(name))]
    able = job.training >= 2 * latents
    cells = [cell for number, recipe in enumerate(recipes) for cell in cells_of(job, recipe, number, asked, able)]
    cells += cells_of_given(job, given, [LINES[name] for name in asked if name in LINES])
    settings = settings_of(job.pairs, job.metrics, job.design) | {
        "test": test if isinstance(test, float) else "as given",
        "latents": latents,
        "active": active,
        "fit": fit,
        "mode": mode,
        "controls": list(asked),
        "dictionaries": {name: repr(sae.sparsity) for name, sae in given.items()},
        **how,
        "batch": "all rows" if how["batch"] == math.inf else how["batch"],
        "seeds": seeds,
        "device": device,
        "engine": engine,
    }
    return partial(_found, job, cells, able, asked, dropped, run, settings, lonely)


latent = performed(planned_latent, "latent")


def _training(given: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return how dictionaries are trained: what is given, what its preset says of the rest, and what is usual."""
    trained = TRAINED | dict(given or {})
    for name in trained:
        choose(TRAINED, "training", name)
    choose(PRESETS, "preset", trained["preset"])
    usual = TRAINING[trained["preset"]][1]
    batch, rate = trained["batch"], trained["learning_rate"]
    return {
        "steps": positive(trained["steps"], 1, "steps"),
        "preset": trained["preset"],
        "batch": usual["batch"] if batch is None else positive(batch, 1, "batch"),
        "learning_rate": usual["learning_rate"] if rate is None else rate,
    }


def _found(
    job: Job,
    cells: list[Cell],
    able: bool,
    asked: Sequence[str],
    dropped: Mapping[str, list[int]],
    run: Engine,
    settings: dict[str, Any],
    lonely: Sequence[str],
) -> Analysis:
    raw, latents = described(scored(job, job.arrays), job, space="raw", fit=""), settings["latents"]
    # Raw scores of the split stand beside what was fitted on it, and nowhere else.
    tables = [raw, *_computed(job, cells, run)] if cells else []
    if not able:
        tables.append(_refused(raw, job.training, latents, job.fit))
    # Independent dictionaries are the same ones, whether the fit or a control asks for them.
    table = pd.concat(tables, ignore_index=True).drop_duplicates(KEYS, ignore_index=True)
    table = _with_control_as_null(table, job.fit, _without_null(job, asked))[list(ORDER)]
    unused = [
        f"{name} has a dictionary, and no system that it is compared with has one: no score is of its latents. "
        "superpose.content(…, dictionaries=…) says which of them the others hold."
        for name in lonely
    ]
    return Analysis(table, (*unused, *caveats(table, job.arrays, dropped, latents, asked)), settings)


def _computed(job: Job, cells: list[Cell], run: Engine) -> list[pd.DataFrame]:
    """Return the table of each cell, in their order, wherever and whenever the engine computes it."""
    if run is serial:
        return list(run(partial(_compute, job), cells))
    tables: dict[int, pd.DataFrame] = {}
    # Progress inside another process cannot be seen from here: cells are counted as they finish.
    for number, table in run(partial(_compute_numbered, job.quiet()), enumerate(cells)):
        tables[number] = table
        job.design.progress("scores and dictionaries", len(tables), len(cells))
    return [tables[number] for number in range(len(cells))]


def _compute(job: Job, cell: Cell) -> pd.DataFrame:
    return cell(job)


def _compute_numbered(job: Job, cell: tuple[int, Cell]) -> tuple[int, pd.DataFrame]:
    return cell[0], cell[1](job)


def _without_null(job: Job, asked: Sequence[str]) -> str:
    """Return why latent scores have no null, or nothing where they have one."""
    if "shuffled_fit" not in asked:
        return NOT_ASKED
    return "" if job.permutable else UNPAIRED


def _with_control_as_null(table: pd.DataFrame, fit: str, missing: str) -> pd.DataFrame:
    """Enter each score's shuffled control as its null; rows of a control have no null of their own.

    `missing` says why there is no such control, where there is none.
    """
    keys = ["system_a", "system_b", "metric", "space", "seed"]
    shuffled = table[table.control == "shuffled_fit"].set_index(keys).score
    recovered = table.space.isin(["latent", "reconstruction"]) & table.score.notna()
    own = recovered & (table.control == "none") & (table.fit == fit)
    without = recovered | (table.control != "none")
    table.loc[without, list(OF_NULL)] = np.nan
    table.loc[without, "null_kind"] = ""
    if missing:
        table = noted(table, missing, own)
    else:
        nulls = [shuffled.get(tuple(row), np.nan) for row in table.loc[own, keys].itertuples(index=False)]
        table.loc[own, "null"] = nulls
        table.loc[own, "calibrated"] = calibrated(table.score[own], table.null[own])
        table.loc[own, "null_kind"] = RETRAINED_NULL
    return table


def _refused(raw: pd.DataFrame, training: int, size: int, fit: str) -> pd.DataFrame:
    why = (
        f"needs ≥ {2 * size} training samples for {size} latents; have {training}, for which at most {training // 2} "
        "latents would fit"
    )
    blank = dict.fromkeys([*SCORES, "predictors"], np.nan)
    # Rows of one metric say it as well as those of all.
    return raw[raw.metric == raw.metric.iloc[0]].assign(space="latent", fit=fit, why=why, null_kind="", **blank)
