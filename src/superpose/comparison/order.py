"""Whether the order of samples matters: those that stand next to each other are alike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from superpose.comparison.design import Design
from superpose.messages.cautions import warn
from superpose.moments import mean_of, shifted_rows
from superpose.moments.blocks import inner
from superpose.moments.wide import is_wide

Array = NDArray[Any]

# From so many samples, the first ones, it is told.
SAMPLES = 2_000
# Of so many values, where units are more than samples.
VALUES = 2**20
# A correlation of neighbours below this does not matter much; one beyond so many standard errors is no chance.
SMALLEST, ERRORS = 0.1, 5.0


def warn_of_order(systems: Mapping[str, Array], design: Design) -> None:
    """Warn of each system in which neighbours are alike though no group and no label says why, if folds mix them."""
    if not design.split.startswith("cv"):
        return
    for name, x in systems.items():
        if x.ndim > 2:
            continue
        likeness, pairs = neighbour_correlation(x, design.groups, design.labels)
        if pairs and likeness > max(SMALLEST, ERRORS / np.sqrt(pairs)):
            warn(
                f"{name}: samples next to each other are alike (correlation {likeness:.2f}), so that their order "
                "matters. Name what belongs together in groups (clips, blocks of time), or what samples show in labels "
                "where they are sorted by it: dependent samples make intervals too narrow, and predictions too good.",
            )


def neighbour_correlation(
    x: Array, groups: NDArray[np.int64] | None, labels: NDArray[np.int64] | None
) -> tuple[float, int]:
    """Return the correlation of samples with the next one, and of how many pairs: none of one group.

    With labels, of what their means leave.

    Examples
    --------
    >>> import numpy as np
    >>> from superpose.comparison.order import neighbour_correlation
    >>> noise = np.random.default_rng(0).normal(size=(1000, 5))
    >>> walk = np.cumsum(noise, axis=0)
    >>> [bool(neighbour_correlation(x, None, None)[0] > 0.5) for x in (noise, walk)]
    [False, True]
    """
    count = min(SAMPLES, len(x))
    of = None if labels is None else np.unique(labels[:count], return_inverse=True)[1]
    apart = np.ones(count - 1, dtype=bool) if groups is None else groups[1:count] != groups[: count - 1]
    # Of a wide system, some units at equal distances tell.
    step = -(-x.shape[1] // max(1, VALUES // count)) if is_wide(x) else 1
    rows = _about_means(x[:count, ::step], of)
    square = float(inner(rows, rows).mean())
    if not apart.any() or not square > 0:
        return 0.0, 0
    return float(inner(rows[:-1], rows[1:])[apart].mean()) / square, int(apart.sum())


def _about_means(x: Array, of: NDArray[np.int64] | None) -> Array:
    """Return responses about the mean of each unit, over all samples or over those of one label."""
    x = np.ascontiguousarray(x)
    rows = shifted_rows(x, mean_of(x, slice(0, len(x))), slice(0, len(x)))
    if of is None:
        return rows
    totals = np.zeros((of.max() + 1, rows.shape[1]))
    np.add.at(totals, of, rows)
    return rows - (totals / np.bincount(of)[:, None])[of]
