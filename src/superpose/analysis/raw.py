"""Raw alignment: the scores of `superpose.compare`, what they mean and what a reader must know."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from numpy.typing import ArrayLike, NDArray

from superpose.analysis.caveats import caveats
from superpose.analysis.found import Analysis
from superpose.analysis.grouping import of_groups
from superpose.analysis.job import varying
from superpose.analysis.planning import performed
from superpose.analysis.scores import METRICS, ORDER, alone, settings_of
from superpose.analysis.toward import toward
from superpose.arrays import check_paired
from superpose.comparison import (
    INTERVALS,
    Design,
    Progress,
    Systems,
    checked_pairs,
    checked_systems,
    design_of,
    planned_for,
    table_of,
    warn_of_order,
)
from superpose.messages.deprecation import renamed
from superpose.metrics import Metric, resolved
from superpose.moments.wide import is_wide
from superpose.recordings.systems import paired
from superpose.running.engines import processes

Array = NDArray[Any]


def planned_raw(
    systems: Systems,
    *,
    pairs: Sequence[tuple[str, str]] | None = None,
    targets: Sequence[str] | None = None,
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
) -> Callable[[], Analysis]:
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
    workers = processes(engine)
    chosen = resolved(metrics)
    systems, groups, labels, test, cv = paired(systems, groups, labels=labels, test=test, cv=cv)
    arrays, dropped = _varying(checked_systems(systems))
    couples = checked_pairs(arrays, pairs if targets is None else toward(arrays, targets))
    design = design_of(
        check_paired(arrays),
        cv=cv,
        test=test,
        groups=groups,
        labels=labels,
        permutations=permutations,
        interval_samples=interval_samples,
        one_way=targets is not None,
        seed=seed,
        memory=memory,
        progress=progress,
    )
    planned_for(chosen, design)
    settings = settings_of(couples, chosen, design) | {"permutations": permutations, "engine": engine}
    return partial(_found, arrays, couples, chosen, design, workers, dropped, settings)


raw = renamed(folds="cv")(performed(planned_raw, "raw"))


def _varying(arrays: dict[str, Array]) -> tuple[dict[str, Array], dict[str, list[int]]]:
    """Drop units that are constant, but not of wide systems: they change no score, and the rest would be copied."""
    narrow, dropped = varying({name: x for name, x in arrays.items() if not is_wide(x)})
    return {name: narrow.get(name, x) for name, x in arrays.items()}, dropped


def _found(
    arrays: dict[str, Array],
    pairs: list[tuple[str, str]],
    metrics: Sequence[Metric],
    design: Design,
    workers: int,
    dropped: dict[str, list[int]],
    settings: dict[str, Any],
) -> Analysis:
    warn_of_order(arrays, design)
    table = alone(table_of(arrays, pairs, metrics, design, workers), design.training)[list(ORDER)]
    warnings = list(caveats(table, arrays, dropped, 0))
    if design.groups is not None:
        tested = {name: x[design.scored] for name, x in arrays.items()}
        groups = design.groups[design.scored]
        warnings += of_groups(tested, pairs, groups, seed=design.seed, memory=design.memory)
    return Analysis(table, tuple(warnings), settings)
