"""Each row's influence as a quadratic form in its coordinates on two systems' own directions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from superpose.metrics.metric import Shares
from superpose.moments import Moments
from superpose.moments.blocks import inner

Array = NDArray[Any]


@dataclass(frozen=True)
class RowForm:
    """A row's x and y add u A u' + v B v' + u C v' to a score, with u = x · of_x and v = y · of_y.

    Coordinates on directions of like variance keep their digits in float32 where those of the units would not.
    """

    of_x: Array
    of_y: Array
    xx: Array
    yy: Array
    xy: Array

    def shares(self, sums: Moments) -> Callable[[Array, Array, Array], Shares]:
        """Return what gives each row's share, from rows about the means: what it adds less what an average row does."""
        whole = sums.merged()
        samples = int(whole.x.samples[0])
        total = sum(
            float(np.sum(form * (left.T @ product @ right)))
            for form, left, product, right in (
                (self.xx, self.of_x, whole.x.square[0], self.of_x),
                (self.yy, self.of_y, whole.y.square[0], self.of_y),
                (self.xy, self.of_x, whole.cross.product[0], self.of_y),
            )
        )

        def shares(x: Array, y: Array, folds: Array) -> Shares:
            u, v = x @ self.of_x.astype(x.dtype), y @ self.of_y.astype(y.dtype)
            xx, xy, yy = (form.astype(u.dtype) for form in (self.xx, self.xy, self.yy))
            return Shares(samples * (inner(u @ xx, u) + inner(u @ xy, v) + inner(v @ yy, v)) - total)

        return shares
