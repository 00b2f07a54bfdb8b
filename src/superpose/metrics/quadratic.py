"""Quadratic forms of paired rows: what each row adds to a score, in one product of the rows for each matrix."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import get_blas_funcs

from superpose.moments import Array
from superpose.moments.blocks import inner


@dataclass(frozen=True)
class QuadraticForm:
    """The form x A y' + x B x' + y²·c + x·u + y·v + w of paired rows x and y.

    A, B, c, u, v and w are `xy`, `xx`, `yy`, `x`, `y` and `one`; of B only the sum with its transpose matters.
    """

    xy: Array
    xx: Array
    yy: Array
    x: Array
    y: Array
    one: float

    def __add__(self, other: QuadraticForm) -> QuadraticForm:
        return QuadraticForm(
            self.xy + other.xy,
            self.xx + other.xx,
            self.yy + other.yy,
            self.x + other.x,
            self.y + other.y,
            self.one + other.one,
        )

    def __sub__(self, other: QuadraticForm) -> QuadraticForm:
        return QuadraticForm(
            self.xy - other.xy,
            self.xx - other.xx,
            self.yy - other.yy,
            self.x - other.x,
            self.y - other.y,
            self.one - other.one,
        )

    def folded(self) -> QuadraticForm:
        """Return the same form whose `xx` counts on and above its diagonal alone: half of a product."""
        folded = self.xx + self.xx.T
        np.einsum("ii->i", folded)[...] /= 2
        return QuadraticForm(self.xy, folded, self.yy, self.x, self.y, self.one)

    def values(self, x: Array, y: Array) -> Array:
        """Return the value of each row, (rows,), of a folded form: products in the precision of the rows."""
        parts = (self.xy, self.xx, self.yy, self.x, self.y)
        xy, xx, yy, by_x, by_y = (part.astype(x.dtype, copy=False) for part in parts)
        (trmm,) = get_blas_funcs(("trmm",), (x,))
        # BLAS takes rows for columns: (x B)' = B'x', with B' lower.
        turned = trmm(1.0, xx.T, x.T, lower=1).T
        return inner(x @ xy, y) + inner(turned, x) + inner(y * yy, y) + (x @ by_x + y @ by_y) + self.one


def against_residual(a: Array, g: Array, weights: Array, intercept: Array) -> QuadraticForm:
    """Return (x A + g) · (y − x W − i), what rows of that residual move through A and g."""
    return QuadraticForm(
        xy=a,
        xx=-(a @ weights.T),
        yy=np.zeros(a.shape[-1]),
        x=-(a @ intercept + weights @ g),
        y=g,
        one=-float(g @ intercept),
    )
