"""One generic nonlinear regression from a system's activity, factorised once for all that is predicted from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve

from superpose.moments.wide import turned

Array = NDArray[Any]

# Random Fourier features, fewer where training rows are scarce; training rows, at most.
FOURIER, ROWS_A_FEATURE, ROWS = 300, 8, 6_000
# Of the median distance between samples: the width of the kernel that Fourier features stand for.
WIDTH = 1 / 1.5
# Ridge, as part of the predictors' mean second moment.
PENALTY = 1e-3


@dataclass(frozen=True, eq=False)
class Decoder:
    """Ridge regression on a system's units and random Fourier features of them (Rahimi & Recht 2007).

    Attributes
    ----------
    training : ndarray of int, (rows,)
        The samples that maps are fitted on.
    held_out : ndarray of int, (rows,)
        The samples that are predicted.
    """

    training: NDArray[np.int64]
    held_out: NDArray[np.int64]
    predictors: Array
    unseen: Array
    factor: Any

    def predict(self, targets: Array) -> Array:
        """Return predictions of held-out targets, (held-out rows, targets), from targets of all samples."""
        known = targets[self.training]
        mean = known.mean(axis=0)
        weights = cho_solve(self.factor, (self.predictors.T @ (known - mean)).astype(np.float64))
        return self.unseen @ weights.astype(self.unseen.dtype) + mean

    def explained(self, targets: Array) -> float:
        """Return the share of all targets' held-out variance that is predicted, R² pooled over targets."""
        truth = targets[self.held_out]
        spread = np.square(truth - truth.mean(axis=0)).sum(dtype=np.float64)
        return (
            float(1 - np.square(truth - self.predict(targets)).sum(dtype=np.float64) / spread) if spread > 0 else np.nan
        )


def decoder(x: Array, held_out: NDArray[np.bool_], *, seed: int = 0) -> Decoder:
    """Return what predicts anything from a system's activity.

    Parameters
    ----------
    x : ndarray, (samples, units)
    held_out : ndarray of bool, (samples,)
        Samples that are predicted; maps are fitted on the others, on 6,000 of them at most, drawn at random.
    seed : int
        Draws training rows and Fourier features.

    References
    ----------
    Rahimi, A. & Recht, B. (2007). Random features for large-scale kernel machines. Advances in Neural Information
    Processing Systems 20.

    Examples
    --------
    >>> import numpy as np
    >>> from superpose.sharing.decoder import decoder
    >>> x = np.random.default_rng(0).normal(size=(2_000, 3))
    >>> found = decoder(x, np.arange(2_000) >= 1_500)
    >>> float(found.explained(np.abs(x))) > 0.8
    True
    """
    draw = np.random.default_rng((seed, 2))
    training = np.sort(draw.permutation(np.flatnonzero(~held_out))[:ROWS])
    rows = np.concatenate([training, np.flatnonzero(held_out)])
    # The ridge and the waves are the same in all directions: more units than samples are turned onto these.
    y = turned(np.asarray(x[rows], dtype=np.float64))
    y -= y[: len(training)].mean(axis=0)
    y /= np.sqrt(np.square(y[: len(training)]).sum(axis=1).mean()) or 1.0
    count = min(FOURIER, len(training) // ROWS_A_FEATURE)
    one, other = draw.integers(0, len(training), (2, 1_024))
    distance = float(np.sqrt(np.median(np.square(y[one] - y[other]).sum(axis=1)))) or 1.0
    waves = draw.normal(size=(y.shape[1], count)) / (WIDTH * distance)
    fourier = np.cos(y @ waves + draw.uniform(0, 2 * np.pi, count)) * np.sqrt(2 / max(count, 1))
    features = np.hstack([y, fourier]).astype(np.float32)
    features -= features[: len(training)].mean(axis=0)
    predictors, unseen = features[: len(training)], features[len(training) :]
    gram = (predictors.T @ predictors).astype(np.float64)
    gram[np.diag_indices_from(gram)] += PENALTY * gram.diagonal().mean()
    return Decoder(training, np.flatnonzero(held_out), predictors, unseen, cho_factor(gram))


def correlations(first: Array, second: Array) -> Array:
    """Return the correlation of each pair of columns; NaN where one is constant."""
    a, b = (x - x.mean(axis=0, dtype=np.float64) for x in (first, second))
    with np.errstate(divide="ignore", invalid="ignore"):
        found = (a * b).sum(axis=0) / np.sqrt(np.square(a).sum(axis=0) * np.square(b).sum(axis=0))
    return np.where(np.isfinite(found), found, np.nan)
