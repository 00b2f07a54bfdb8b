"""Features that come together: what correlations between features add to how alike two sets of them are."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from superpose.metrics.cka import cka
from superpose.sharing.decoding import Decoded, Side

Array = NDArray[Any]


def together(a: Side, b: Side, ab: Decoded, ba: Decoded) -> float:
    """Return the CKA of two systems' features over what it would be if no two features were correlated.

    Seen from one system, the other holds the features that it shares, with the same codes, and its own private ones.
    The debiased CKA of the codes counts their correlations, the ratio of sums of squared variances does not. The result
    is the geometric mean of both views, 1 where nothing is shared.

    Parameters
    ----------
    a, b : Side
    ab, ba : Decoded
        What b holds of a's features, and a of b's.
    """
    views = [_view(a, b, ab, ba), _view(b, a, ba, ab)]
    return float(np.sqrt(np.prod(views)))


def _view(a: Side, b: Side, ab: Decoded, ba: Decoded) -> float:
    held, private = ab.table.held.to_numpy(), ~ba.table.held.to_numpy()
    if not held.any():
        return 1.0
    first = a.codes.astype(np.float64)
    second = np.hstack([first[:, held], b.codes[:, private].astype(np.float64)])
    own, other = np.square(first.var(axis=0)), np.square(second.var(axis=0))
    apart = float(own[held].sum() / np.sqrt(own.sum() * other.sum()))
    counted = float(cka(first, second, debiased=True))
    return counted / apart if apart > 0 and counted > 0 else 1.0
