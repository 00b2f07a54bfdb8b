"""The nonlinear line: raw activity predicted from raw activity by kernel ridge regression."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.fft import dct
from scipy.linalg import block_diag, cholesky, solve_triangular

from superpose.analysis.job import Job
from superpose.analysis.scores import described, noted, predicted
from superpose.analysis.spaces import derived_seed
from superpose.arrays import chunks, contiguous_folds, group_folds
from superpose.numerics.products import matmul

Array = NDArray[Any]

# Landmarks of the kernel: at most so many, and fewer where they would be many for the training rows.
LANDMARKS = 4096
ROWS_A_LANDMARK = 8
# Added to the kernel of the landmarks, 1 for each with itself, so that near duplicates among them do no harm.
JITTER = 1e-4
# Kernel widths tried, as multiples of the median squared distance, on so many training rows and landmarks at most.
WIDTHS = (0.125, 0.25, 0.5, 1.0, 2.0)
FOLDS = 5
TRIAL_ROWS = 8192
TRIAL_LANDMARKS = 512


def nonlinear(job: Job, *, source: str) -> pd.DataFrame:
    """Score how well nonlinear functions of one system's activity predict the raw activity of others.

    An encoder that is nonlinear can score above linear regression without any superposition; this is how much. The
    width of the kernel is chosen on training rows, of which a fifth (whole groups, and more where those are fewer than
    five) is kept aside for that. A single group leaves nothing to choose on: the width is then the middle one.

    Parameters
    ----------
    job : Job
    source : str
        The system that predicts all that it is compared with.
    """
    targets = {name: job.arrays[name] for name in job.partners(source)}
    seed = derived_seed(job.design.seed, f"nonlinear {source}")
    width = _width(job, source, targets, seed)
    features = kernel_features(job.arrays[source], job.training, width, LANDMARKS, seed)
    table = described(predicted(job, source, features, targets), job, space="nonlinear", fit="")
    note = f"kernel ridge, width {width:g} of the median squared distance"
    return noted(table, note).assign(predictors=features.shape[-1])


def kernel_features(x: Array, training: int, width: float, landmarks: int, seed: int) -> Array:
    """Return features whose inner products approximate a Gaussian kernel, beside the units themselves.

    Nyström features (Williams & Seeger 2001): K(x, L) R⁻¹ with R'R = K(L, L), for landmarks L drawn from the training
    rows, of the kernel exp(−‖x − x'‖²/(2 w m)) with m the median squared distance of training rows. Ridge regression on
    them is kernel ridge regression restricted to the span of the landmarks. The units, scaled to a total variance of
    one, are predictors too, so that nothing linear is lost. All are rotated at random, which no ridge notices.

    Parameters
    ----------
    x : ndarray, (samples, units)
        Activity, training rows first.
    training : int
        How many rows landmarks, centre and scales are taken from.
    width : float
        w, the kernel's width.
    landmarks : int
        At most so many; no more than one for every 8 training rows.
    seed : int
        Draws the landmarks.

    Returns
    -------
    ndarray, (samples, units + landmarks), float32

    References
    ----------
    Williams, C. & Seeger, M. (2001). Using the Nyström method to speed up kernel machines. Advances in Neural
    Information Processing Systems 13. Ailon, N. & Chazelle, B. (2009). The fast Johnson-Lindenstrauss transform and
    approximate nearest neighbors. SIAM Journal on Computing 39, 302-322.

    Examples
    --------
    >>> import numpy as np
    >>> from superpose.analysis.nonlinear import kernel_features
    >>> x = np.random.default_rng(0).normal(size=(64, 2))
    >>> kernel_features(x, 48, 0.5, 100, seed=0).shape
    (64, 8)
    """
    draw = np.random.default_rng(seed)
    centre = x[:training].mean(axis=0, dtype=np.float64)
    count = max(1, min(landmarks, training // ROWS_A_LANDMARK))
    chosen = np.sort(draw.choice(training, count, replace=False))
    marks = _rows(x[chosen], centre)
    # Distances of rows that are no landmarks of each other, in pairs.
    one, other = (_rows(x[draw.integers(0, training, 1024)], centre).astype(np.float64) for _ in range(2))
    distance = float(np.median(np.square(one - other).sum(axis=-1)))
    scale = -0.5 / (width * (distance or 1.0))
    within = _kernel(marks.astype(np.float64), marks.astype(np.float64), scale)
    factor = cholesky(within + JITTER * np.eye(count), lower=True)
    whitening = solve_triangular(factor, np.eye(count), lower=True).T
    # A rotation changes no ridge regression, and spreads the variance evenly over the predictors: none then has so much
    # that the penalty is lost in the rounding of float32 beside it. Cosines of random signs do (Ailon & Chazelle 2009).
    signs = draw.choice([-1.0, 1.0], size=x.shape[-1] + count)
    rotated = dct(block_diag(np.eye(x.shape[-1]), whitening) * signs, norm="ortho").astype(np.float32)
    of_units, of_kernel = rotated[: x.shape[-1]], rotated[x.shape[-1] :]
    squares = (np.square(_rows(rows, centre), dtype=np.float64).sum() for _, rows in chunks(x[:training]))
    size = np.sqrt(sum(squares) / training)
    features = np.empty((len(x), len(rotated)), dtype=np.float32)
    for start, rows in chunks(x):
        centred = _rows(rows, centre)
        linear = matmul(np.divide(centred, size, dtype=np.float32), of_units)
        features[start : start + len(rows)] = linear + matmul(_kernel(centred, marks, scale), of_kernel)
    return features


def _width(job: Job, source: str, targets: dict[str, Array], seed: int) -> float:
    """Return the width that predicts best what it was not fitted on, among training rows."""
    groups = None if job.design.groups is None else job.design.groups[: job.training]
    folds = min(FOLDS, job.training // 2 if groups is None else len(np.unique(groups)))
    if folds < 2:
        # Nothing to choose on.
        return WIDTHS[len(WIDTHS) // 2]
    fold = contiguous_folds(job.training, folds) if groups is None else group_folds(groups, folds)
    draw = np.random.default_rng((seed, 1))
    sides = [np.flatnonzero(fold < folds - 1), np.flatnonzero(fold == folds - 1)]
    sizes = (TRIAL_ROWS, TRIAL_ROWS // 4)
    few = [np.sort(draw.permutation(side)[:most]) for side, most in zip(sides, sizes, strict=True)]
    rows = np.concatenate(few)
    trial = job.only([source, *targets]).rows(rows, np.arange(len(rows)) >= len(few[0]))
    x = trial.arrays[source]
    unseen = {name: trial.arrays[name] for name in targets}

    def score(width: float) -> float:
        features = kernel_features(x, trial.training, width, TRIAL_LANDMARKS, seed)
        table = predicted(trial, source, features, unseen)
        return float(table[table.metric == trial.correlations[0]].score.mean())

    return max(WIDTHS, key=score)


def _kernel(x: Array, marks: Array, scale: float) -> Array:
    squares = np.square(x).sum(axis=-1)[:, None] + np.square(marks).sum(axis=-1)
    distances = np.maximum(squares - 2 * matmul(x, np.ascontiguousarray(marks.T)), 0)
    return np.exp(np.asarray(scale, dtype=x.dtype) * distances)


def _rows(x: Array, centre: Array) -> Array:
    return np.asarray(x - centre, dtype=np.float32)
