"""Principal components that two halves of the samples both show, where units are many or one of them dominates."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from superpose.messages.wording import percent

Array = NDArray[Any]

# More units than this part of the samples leave too few samples per latent.
UNITS_A_SAMPLE = 0.1
# A unit with more of the variance than this decides alone what is found.
DOMINANT = 0.5
# Mean squared cosine between what the halves' first components span, down to which components are reproduced.
REPRODUCED = 0.9


def why_reduced(x: Array) -> str:
    """Return why activity of training samples, centred, is reduced to principal components; "" where it is not."""
    if x.shape[1] > UNITS_A_SAMPLE * len(x):
        return f"{x.shape[1]} units are more than a tenth of {len(x)} training samples"
    variance = np.square(x).sum(axis=0, dtype=np.float64)
    share = variance.max() / variance.sum()
    if x.shape[1] > 1 and share > DOMINANT:
        return f"unit {int(variance.argmax())} has {percent(share)} of the variance"
    return ""


def reproduced_components(halves: tuple[Array, Array]) -> Array:
    """Return the principal components, (units, components), that two halves of centred activity both show.

    The first r components of each half span nearly the same: the mean squared cosine between them is at least .9. They
    are taken from all samples. At least one is returned, and at most as many as a tenth of the samples.

    Examples
    --------
    >>> import numpy as np
    >>> from superpose.sharing.reduction import reproduced_components
    >>> x = np.random.default_rng(0).normal(size=(400, 60)) * np.r_[9.0, 6.0, 4.0, np.full(57, 0.1)]
    >>> reproduced_components((x[:200], x[200:])).shape
    (60, 3)
    """
    samples = sum(len(half) for half in halves)
    most = max(1, min(int(UNITS_A_SAMPLE * samples), halves[0].shape[1], *(len(half) - 1 for half in halves)))
    first, second = (_directions(half, most) for half in halves)
    squares = np.square(first @ second.T)
    ranks = np.arange(1, most + 1)
    overlap = squares.cumsum(axis=0).cumsum(axis=1).diagonal() / ranks
    good = ranks[overlap >= REPRODUCED]
    return _directions(np.concatenate(halves), int(good.max()) if len(good) else 1).T


def _directions(x: Array, count: int) -> Array:
    """Return the first principal directions of centred rows, (count, units), from the smaller Gram matrix."""
    if x.shape[1] <= len(x):
        found = np.linalg.eigh(x.T.astype(np.float64) @ x)[1][:, ::-1][:, :count].T
    else:
        left = np.linalg.eigh(x.astype(np.float64) @ x.T)[1][:, ::-1][:, :count]
        found = left.T @ x
    return np.asarray(found / np.linalg.norm(found, axis=1, keepdims=True))
