"""Recordings with repeats: what their noise leaves each raw score, beside it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from superpose.analysis.found import Analysis
from superpose.analysis.scores import METRICS
from superpose.arrays.labels import check_rows
from superpose.ceilings import Trials, as_trials, beside, of_pairs
from superpose.ceilings.pairs import KEY, NOISELESS
from superpose.messages.deprecation import renamed
from superpose.metrics import Metric
from superpose.metrics.metric import constant_units
from superpose.report.plots import metric_name


@renamed(folds="cv")
def with_ceilings(
    analysis: Analysis,
    trials: Mapping[str, ArrayLike | Trials],
    *,
    cv: int | ArrayLike | None = 5,
    test: float | ArrayLike | None = 0.2,
    groups: ArrayLike | None = None,
    labels: ArrayLike | None = None,
    metrics: Sequence[Metric] = METRICS,
    seed: int = 0,
) -> Analysis:
    """Return an analysis with the ceiling of each raw score beside it, on the same held-out rows.

    Parameters
    ----------
    analysis : Analysis
        Of the means over these trials, by `superpose.analyse` or `superpose.analysis.raw`.
    trials : mapping of str to array, (repeats, samples, units), or Trials
        Every system's trials, in the order of the rows that were analysed.
    cv, test, groups, labels, metrics, seed
        As they were for the analysis.

    Returns
    -------
    Analysis
        Its table has the columns of `superpose.ceilings.beside`, its warnings what of the ceilings a reader must know.

    Raises
    ------
    DataError
        As `superpose.ceilings.of_pairs`.

    Examples
    --------
    >>> import numpy as np
    >>> from superpose.analysis import raw, with_ceilings
    >>> draw = np.random.default_rng(0)
    >>> signal = draw.normal(size=(1000, 4))
    >>> trials = {name: signal + draw.normal(size=(4, 1000, 4)) for name in ("V1", "V4")}
    >>> found = with_ceilings(raw({name: x.mean(axis=0) for name, x in trials.items()}, permutations=0), trials)
    >>> found.table[found.table.metric == "ridge_r"].ceiling.round(1).tolist()
    [0.9, 0.9]
    """
    check_rows(trials)
    known = {name: _varying(as_trials(x, name)) for name, x in trials.items()}
    splits = set(analysis.table.split[analysis.table.space == "raw"])
    each: list[dict[str, Any]] = [{"test": test}] if "test" in splits else []
    each += [{"cv": cv}] if splits - {"test"} else []
    common: dict[str, Any] = {"metrics": metrics, "groups": groups, "labels": labels, "seed": seed}
    pairs = [(a, b) for a, b in analysis.settings["pairs"]]
    found = pd.concat([of_pairs(known, pairs=pairs, **split, **common) for split in each], ignore_index=True)
    table = beside(analysis.table, found)
    # Of pairs that are scored one way, the other has no ceiling to speak of.
    found = found[pd.MultiIndex.from_frame(found[KEY]).isin(pd.MultiIndex.from_frame(table[KEY]))]
    return replace(analysis, table=table, warnings=(*analysis.warnings, *_warnings(table, found)))


def _varying(trials: Trials) -> Trials:
    """Leave out the units whose mean over trials is constant, as the analysis does."""
    return trials.of_units(~constant_units(trials.mean()))


def _warnings(table: pd.DataFrame, found: pd.DataFrame) -> Iterator[str]:
    for row in table[table.score > table.ceiling_high].itertuples():
        yield (
            f"{row.system_a} and {row.system_b}: {metric_name(str(row.metric))} is {row.score:.3f}, above its noise "
            f"ceiling of {row.ceiling:.3f} (at most {row.ceiling_high:.3f}): trials that are not independent, or noise "
            "that both systems share, do that."
        )
    wanting = found[found.ceiling.isna() & (found.metric != "cka")]
    for why in dict.fromkeys(wanting.ceiling_why):
        metrics = "; ".join(map(metric_name, dict.fromkeys(wanting.metric[wanting.ceiling_why == why])))
        yield f"No noise ceiling of {metrics}: {why}."
    known = found[np.isfinite(found.ceiling)]
    notes = list(dict.fromkeys(note for why in known.ceiling_why for note in why.split("; ") if note))
    noiseless = [note.removesuffix(NOISELESS) for note in notes if note.endswith(NOISELESS)]
    if noiseless:
        yield f"Noise ceilings: without repeats, and taken as free of noise: {', '.join(noiseless)}."
    for note in notes:
        if not note.endswith(NOISELESS):
            yield f"Noise ceilings: {note}."
