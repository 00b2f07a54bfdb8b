"""Which folds are held out, and which train for them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from superpose.arrays import contiguous_folds
from superpose.files import DataError, argument, in_python
from superpose.tensors import as_array


@dataclass(frozen=True)
class Plan:
    """For each held-out fold, the folds that its weights are fitted on; whether samples come in groups."""

    rounds: tuple[tuple[int, tuple[int, ...]], ...]
    grouped: bool = False

    @property
    def held_out(self) -> tuple[int, ...]:
        """The folds that are scored."""
        return tuple(fold for fold, _ in self.rounds)


def split_plan(samples: int, folds: Any, test: Any) -> tuple[NDArray[np.int64] | None, Plan]:
    """Return the fold of each sample, and which folds train for which, from what the user asked."""
    if test is not None:
        mask = as_array(test, "test")
        if mask.shape != (samples,) or mask.dtype != bool:
            raise DataError(f"test has shape {mask.shape} and type {mask.dtype}; expected booleans, ({samples},).")
        if mask.all() or not mask.any():
            raise DataError(
                f"test marks {int(mask.sum())} of {samples} samples; expected some to score and some to fit."
            )
        return mask.astype(np.int64), Plan(((1, (0,)),))
    if folds is None:
        return None, Plan(((0, (0,)),))
    if isinstance(folds, int | np.integer):
        labels = contiguous_folds(samples, int(folds))
    else:
        labels = as_array(folds, "folds")
        if labels.shape != (samples,) or labels.dtype.kind not in "iu":
            raise DataError(
                f"{argument('folds')} has shape {labels.shape} and type {labels.dtype}; expected an integer, or the fold "
                f"of each sample as integers, ({samples},)."
            )
        labels = np.unique(labels, return_inverse=True)[1]
    count = int(labels.max()) + 1
    if count < 2:
        raise DataError(
            f"{argument('folds')} puts every sample in one fold; expected at least two"
            f"{in_python(', or None to score in-sample')}."
        )
    everything = range(count)
    return labels, Plan(tuple((f, tuple(g for g in everything if g != f)) for f in everything))
