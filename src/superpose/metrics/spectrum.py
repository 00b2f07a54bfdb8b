"""Directions of predictors in which ridge regression shrinks, and the folds that its penalties are chosen on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
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
from superpose.metrics.solving import TINY
from superpose.metrics.splits import Plan
from superpose.moments import Moments, Own

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


def by_training(
    plan: Plan, errors: Callable[[tuple[int, ...], Sequence[int]], Iterable[Array]]
) -> dict[tuple[int, ...], list[Array]]:
    """Return, for each set of training folds, the errors on each of its folds of fits on its others.

    `errors` gives them from the folds of a fit and those that it is tried on: two rounds share it.
    """
    found: dict[tuple[int, ...], list[Array]] = {}
    for rest, cases in inner(plan).items():
        for (_, training), error in zip(cases, errors(rest, [left_out for left_out, _ in cases]), strict=True):
            found.setdefault(training, []).append(error)
    return found


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

    @property
    def known(self) -> NDArray[np.bool_]:
        """Directions in which rows vary by more than rounding."""
        found: NDArray[np.bool_] = self.values > LOST * np.finfo(self.vectors.dtype).eps * self.values.max(
            axis=-1, keepdims=True
        )
        return found

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


@dataclass(frozen=True)
class LeftOut:
    """The squared error on left-out rows of weights V D V'X'Y: `target` − 2 d·`linear` + d'`square` d, D = diag(d)."""

    target: Array
    linear: Array
    square: Array


def left_out_errors(moments: Moments, s: Spectrum, fit: Array, left_outs: Sequence[int]) -> Iterator[LeftOut]:
    """Yield the error on some folds of weights from others, of spectrum `s` and of `fit` = `trained` of them."""
    x, y = moments.x, moments.y
    w = over(y.total, s.rows.folds) / s.rows.samples
    squares = fit @ np.swapaxes(fit, -1, -2)
    for left_out in left_outs:
        n, total_y = x.samples[left_out], y.total[left_out]
        target = np.maximum((y.diagonal[left_out] - 2 * w * total_y + n * w**2).sum(-1), TINY)
        yield LeftOut(target, _linear(moments, s, left_out, fit, w), turned(x, s, left_out) * squares)


def trained(moments: Moments, s: Spectrum) -> Array:
    """Return V'X'Y of the training rows about their means."""
    x, partners = moments.x, moments.cross.partners
    if x.rows is None or partners is None:
        found: Array = np.swapaxes(s.vectors, -1, -2) @ s.rows.joint(moments)
        return found
    # About their mean, coordinates add up to nothing: targets need not be.
    targets = partners[0][..., np.isin(x.rows.folds, s.rows.folds), :]
    return coordinates(x, s, s.rows.folds).T @ targets


def _linear(moments: Moments, s: Spectrum, left_out: int, fit: Array, mean_y: Array) -> Array:
    """Return the diagonal of V'X'Y Z', of rows of one fold about the means of the training rows, with Z = `fit`."""
    x, y, partners = moments.x, moments.y, moments.cross.partners
    if x.rows is not None and partners is not None:
        targets = partners[0][..., x.rows.folds == left_out, :] - mean_y.astype(fit.dtype)
        return np.einsum("...ij,...ij->...i", fit, coordinates(x, s, (left_out,)).T @ targets).astype(np.float64)
    u, n, total_x, total_y = s.rows.mean, x.samples[left_out], x.total[left_out], y.total[left_out]
    back = np.swapaxes(s.vectors, -1, -2)
    joint = back @ moments.cross.product[left_out].astype(x.precision)
    linear: Array = np.einsum("...ij,...ij->...i", fit, joint).astype(np.float64)
    for by_x, by_y in ((u, total_y), (total_x - n * u, mean_y)):
        linear -= _times(back, by_x) * _times(fit, by_y)
    return linear


def _times(matrix: Array, vector: Array) -> Array:
    """Return matrix · vector, repeats apart."""
    product: Array = (matrix @ vector.astype(matrix.dtype)[..., None])[..., 0]
    return product
