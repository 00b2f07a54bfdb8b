"""Shares of one system's features that another holds, with intervals."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta

from superpose.sharing.decoding import HELD

Array = NDArray[Any]

# The lower bound counts a feature only beyond the first ratio, the upper one all beyond the second.
SURELY, PERHAPS = 0.6, 0.35
LEVEL = 0.9
# The part of the features that is missing, where nothing tells how much is.
MISSING = 0.25


class Share(NamedTuple):
    """A share between 0 and 1 with its 90 % interval."""

    value: float
    low: float
    high: float

    def times(self, factor: float) -> Share:
        """Return the share and its bounds times a factor, at most 1."""
        return Share(*(min(part * factor, 1.0) for part in self))


UNKNOWN = Share(np.nan, np.nan, np.nan)


def held_share(ratio: Array, weights: Array | None = None, *, missing: float = MISSING) -> Share:
    """Return the share of features that the other system holds, weighted or not.

    Parameters
    ----------
    ratio : ndarray, (features,)
        Of assessable features: prediction from the other system over that from their own.
    weights : ndarray, (features,), optional
        What each counts; None counts all alike.
    missing : float
        The part of the features that were not found, between 0 and 1.

    Returns
    -------
    Share
        Bounds of Jeffreys' interval (Brown, Cai & DasGupta 2001) with as many features as the weights leave,
        (Σw)²/Σw², drawn in by √missing (the correction for a finite population, Cochran 1977), and with features of
        middling ratios counted against the share in the lower bound, and for it in the upper one.

    Examples
    --------
    >>> import numpy as np
    >>> from superpose.sharing.shares import held_share
    >>> [round(float(part), 2) for part in held_share(np.repeat([0.95, 0.05], 30))]
    [0.5, 0.45, 0.55]
    """
    counted = np.ones(len(ratio)) if weights is None else weights
    if not len(ratio) or not counted.sum() > 0:
        return UNKNOWN
    total = counted.sum()
    value, surely, perhaps = (float(counted[ratio > least].sum() / total) for least in (HELD, SURELY, PERHAPS))
    count = float(total**2 / np.square(counted).sum())
    tail, finite = (1 - LEVEL) / 2, float(np.sqrt(np.clip(missing, 0, 1)))
    low = surely - finite * (surely - _bound(surely, count, tail)) if surely > 0 else 0.0
    high = perhaps + finite * (_bound(perhaps, count, 1 - tail) - perhaps) if perhaps < 1 else 1.0
    return Share(value, min(low, value), max(high, value))


def geometric(first: Share, second: Share) -> Share:
    """Return the geometric mean of two shares, and that of their bounds: n_s / √(n_a n_b) from n_s / n_a, n_s / n_b."""
    return Share(*(float(np.sqrt(a * b)) for a, b in zip(first, second, strict=True)))


def _bound(share: float, count: float, quantile: float) -> float:
    return float(beta.ppf(quantile, share * count + 0.5, (1 - share) * count + 0.5))
