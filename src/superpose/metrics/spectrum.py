"""Directions of predictors in which ridge regression shrinks, and the folds that its penalties are chosen on."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh

from superpose.metrics.prediction import (
    Training,
    over,
    training_of,
    training_rows,
)
from superpose.metrics.splits import Plan
from superpose.moments import Own

Array = NDArray[Any]


# Penalties, as fractions of the predictors' mean variance: from none to speak of to all but the mean, by quarters of a
# decade. Between half-decades a choice fell one way or the other, which widened the spread of R² by a quarter.
GRID = tuple(10.0 ** (power / 4) for power in range(-36, 13))
# Eigenvalues of so many roundings of the largest are noise.
LOST = 8


def inner(plan: Plan) -> dict[tuple[int, ...], list[tuple[int, tuple[int, ...]]]]:
    """Return the folds of each inner fit, with the folds it is tried on and the training folds that these are of."""
    uses: dict[tuple[int, ...], list[tuple[int, tuple[int, ...]]]] = {}
    for _, training in plan.rounds:
        for left_out in training if len(training) > 1 else ():
            uses.setdefault(tuple(f for f in training if f != left_out), []).append((left_out, training))
    return uses


@dataclass(frozen=True)
class Spectrum:
    """The predictors of some training rows: eigenvalues and vectors of X'X, and the unit of its penalties.

    Without directions in which rows do not vary but for rounding; `least` is the least eigenvalue that the rows have.
    """

    rows: Training
    values: Array
    vectors: Array
    unit: Array
    least: Array

    @property
    def nbytes(self) -> int:
        """What is held, to speak of."""
        return int(self.vectors.nbytes)

    def shrinkage(self, fractions: Array) -> Array:
        """Return 1/(eigenvalue + penalty) for penalties (penalties, …): (penalties, …, directions)."""
        sums = self.values + (fractions * self.unit)[..., None]
        return np.where(sums > 0, 1 / np.where(sums > 0, sums, 1.0), 0.0)


def spectrum_of(x: Own, folds: tuple[int, ...]) -> Spectrum:
    """Return the spectrum of the predictors over some folds, kept for further partners."""
    by_rows = x.rows is not None and int(over(x.samples, folds)) <= x.square.shape[-1]
    return x.keep_for_partners((spectrum_of, folds), partial(_of_rows if by_rows else _of_units, x, folds))


def _of_units(x: Own, folds: tuple[int, ...]) -> Spectrum:
    rows, gram = training_rows(x, folds)
    vectors = gram.astype(x.precision)
    values = np.empty(vectors.shape[:-1])
    for index in np.ndindex(values.shape[:-1]):
        values[index], vectors[index] = eigh(vectors[index], driver="evd", check_finite=False)
    values = np.maximum(values, 0)
    unit = np.einsum("...ii->...", gram) / rows.dimensions
    return Spectrum(rows, values, vectors, unit, values.min(-1))


def _of_rows(x: Own, folds: tuple[int, ...]) -> Spectrum:
    """Return the spectrum of fewer rows than units by that of XX': with its vectors U, those of X'X are X'U/√λ."""
    rows = training_of(x, folds)
    about = _about(x, rows, folds)
    values, vectors = eigh(about @ about.T, driver="evd", overwrite_a=True, check_finite=False)
    values = np.maximum(values.astype(np.float64), 0)
    unit = values.sum() / rows.dimensions
    # Rows about their mean leave one direction empty.
    first = max(1, int((values <= LOST * np.finfo(x.precision).eps * values[-1]).sum()))
    kept = slice(min(first, len(values) - 1), None)
    scale = np.sqrt(np.where(values[kept] > 0, values[kept], 1.0)).astype(x.precision)
    return Spectrum(rows, values[kept], about.T @ (vectors[:, kept] / scale), unit, values[1:2].sum())


def _about(x: Own, rows: Training, folds: tuple[int, ...]) -> Array:
    """Return rows of some folds about the mean of training rows, 0 for predictors that are constant in these."""
    assert x.rows is not None
    values = x.rows.of(folds)
    values -= rows.mean.astype(values.dtype)
    values[:, rows.still] = 0
    return values


def coordinates(x: Own, s: Spectrum, folds: tuple[int, ...]) -> Array:
    """Return rows of some folds, about the mean of training rows, in the directions of those: kept as they are."""
    return x.keep_for_partners((coordinates, s.rows.folds, folds), lambda: _about(x, s.rows, folds) @ s.vectors)


def turned(x: Own, s: Spectrum, left_out: int) -> Array:
    """Return V'X'X V of the rows of one fold about the mean of others, in the directions of those, kept as they are."""

    def made() -> Array:
        if x.rows is not None:
            rows = coordinates(x, s, (left_out,))
            return rows.T @ rows
        u, n = s.rows.mean.astype(x.precision), int(x.samples[left_out])
        total = x.total[left_out].astype(x.precision)
        gram = x.square[left_out].astype(x.precision)
        gram -= u[..., :, None] * total[..., None, :] + (total - n * u)[..., :, None] * u[..., None, :]
        found: Array = np.swapaxes(s.vectors, -1, -2) @ gram @ s.vectors
        return found

    return x.keep_for_partners((turned, s.rows.folds, left_out), made)
