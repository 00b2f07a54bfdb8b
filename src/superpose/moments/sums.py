"""Second moments and row-norm sums of paired responses: exact algebra on what was accumulated."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Collection, Hashable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from superpose.moments.rows import Array, Precision

# What is not a sum over rows.
FIXED = ("shift", "resolution", "rows", "partners")


@runtime_checkable
class Sized(Protocol):
    """Anything that says how many bytes it takes."""

    @property
    def nbytes(self) -> int: ...


Kept = TypeVar("Kept", bound=Sized)


class Shelf(dict[Hashable, Any]):
    """What is kept under keys, in as many bytes as there is `room`; `further`: other partners will ask for it."""

    room: float = math.inf
    further: bool = True

    @property
    def nbytes(self) -> int:
        """What is kept takes so many bytes."""
        return sum(one.nbytes for one in self.values())


@dataclass(frozen=True)
class FoldRows:
    """The rows of one system less the shift of its sums, (rows, units), and the fold of each."""

    values: Array
    folds: NDArray[np.int64]

    def of(self, folds: Collection[int]) -> Array:
        """Return the rows of some folds."""
        return self.values[np.isin(self.folds, list(folds))]


@dataclass(frozen=True)
class Own:
    """Sums over the rows of one system about `shift`; the leading axis of each sum is the fold.

    With x a row less `shift` and d = |x|²: `total` Σx, `diagonal` Σx², `square` Σxx', `norm` Σd,
    `norm_square` Σd², `norm_total` Σdx. `square` is empty, (fold, …, 0, 0), for a system that is only predicted.
    `resolution` is the relative rounding error of one product. `rows` are those summed over, where they are so few that
    their inner products are sooner taken than `square` is worked on.
    """

    samples: NDArray[np.int64]
    shift: Array
    total: Array
    diagonal: Array
    square: Array
    norm: Array
    norm_square: Array
    norm_total: Array
    resolution: float
    rows: FoldRows | None = None

    @functools.cached_property
    def kept(self) -> Shelf:
        """What was made of these sums alone, as factors of `square`: there for further partners until it is cleared."""
        return Shelf()

    def keep(self, key: Hashable, make: Callable[[], Kept]) -> Kept:
        """Return what is kept under the key, made if it is not there, and kept where it has room."""
        if key in self.kept:
            found: Kept = self.kept[key]
            return found
        found = make()
        if self.kept.nbytes + found.nbytes <= self.kept.room:
            self.kept[key] = found
        return found

    def keep_for_partners(self, key: Hashable, make: Callable[[], Kept]) -> Kept:
        """Return what one pair asks for once, kept where others will ask for it."""
        return self.keep(key, make) if self.kept.further else make()

    @property
    def precision(self) -> Precision:
        """The type that products ran in."""
        return np.float64 if self.resolution <= np.finfo(np.float64).eps else np.float32

    @property
    def crossed(self) -> Cross:
        """The same sums as those of the system paired with itself."""
        return Cross(self.square, self.norm_square, self.norm_total, self.norm_total)

    def about(self, shift: Array) -> Own:
        """Return the same sums about another shift, exactly (one line of algebra a sum)."""
        u = shift - self.shift
        n = _column(self.samples, u.ndim + 1)
        crossed = self.crossed.about(self, self, u, u)
        return Own(
            samples=self.samples,
            shift=shift,
            total=self.total - n * u,
            diagonal=self.diagonal - 2 * u * self.total + n * u**2,
            square=crossed.product,
            norm=self.norm - 2 * (u * self.total).sum(-1) + n[..., 0] * (u * u).sum(-1),
            norm_square=crossed.norms,
            norm_total=crossed.norm_y,
            resolution=self.resolution,
        )


@dataclass(frozen=True)
class Cross:
    """Sums over the paired rows of two systems: `product` Σxy', `norms` Σde, `norm_y` Σdy, `norm_x` Σex.

    `partners` are the rows of y that each row of x is paired with, in the order of x, and those of x in that of y:
    where rows are few, some of what follows from `product` is sooner taken of these.
    """

    product: Array
    norms: Array
    norm_y: Array
    norm_x: Array
    partners: tuple[Array, Array] | None = None

    def merged(self, folds: Sequence[int]) -> Cross:
        """Return the sums over the given folds as one fold."""
        merged: Cross = _over_folds(self, list(folds))
        return merged

    def about(self, x: Own, y: Own, u: Array, w: Array) -> Cross:
        """Return the same sums with the shifts of the two systems moved by u and w, exactly."""
        n = _column(x.samples, u.ndim + 1)
        uu, ww = (u * u).sum(-1), (w * w).sum(-1)
        ux, wy = (u * x.total).sum(-1), (w * y.total).sum(-1)
        product_w = np.einsum("f...ij,...j->f...i", self.product, w)
        product_u = np.einsum("f...ij,...i->f...j", self.product, u)
        return Cross(
            product=self.product
            - x.total[..., :, None] * w[..., None, :]
            - u[..., :, None] * (y.total - n * w)[..., None, :],
            norms=self.norms
            - 2 * (w * self.norm_y).sum(-1)
            + ww * x.norm
            - 2 * (u * self.norm_x).sum(-1)
            + 4 * (u * product_w).sum(-1)
            - 2 * ww * ux
            + uu * y.norm
            - 2 * uu * wy
            + n[..., 0] * uu * ww,
            norm_y=self.norm_y
            - w * x.norm[..., None]
            - 2 * product_u
            + 2 * w * ux[..., None]
            + uu[..., None] * (y.total - n * w),
            norm_x=self.norm_x
            - u * y.norm[..., None]
            - 2 * product_w
            + 2 * u * wy[..., None]
            + ww[..., None] * (x.total - n * u),
        )


@dataclass(frozen=True)
class Moments:
    """The sums of a pair of systems: their own and the crossed ones, fold by fold.

    Examples
    --------
    >>> import numpy as np
    >>> from superpose.moments import of_pair
    >>> rows = np.arange(12.0).reshape(4, 3)
    >>> pair = of_pair(rows, rows[:, :2]).centred()
    >>> pair.cross.product.shape, float(pair.x.total.sum())
    ((1, 3, 2), 0.0)
    """

    x: Own
    y: Own
    cross: Cross

    def merged(self, folds: Sequence[int] | None = None) -> Moments:
        """Return the sums over the given folds, or all, as one fold."""
        chosen = range(len(self.x.samples)) if folds is None else folds
        return Moments(*(_over_folds(sums, chosen) for sums in (self.x, self.y, self.cross)))

    def swapped(self) -> Moments:
        """Return the same pair with the systems exchanged."""
        c = self.cross
        partners = None if c.partners is None else c.partners[::-1]
        return Moments(self.y, self.x, Cross(np.swapaxes(c.product, -1, -2), c.norms, c.norm_x, c.norm_y, partners))

    def centred(self) -> Moments:
        """Return the sums over all folds about the column means."""
        whole = self.merged()
        return whole.about(*(own.shift + own.total[0] / own.samples[0] for own in (whole.x, whole.y)))

    def uncentred(self) -> Moments:
        """Return the sums over all folds about zero."""
        whole = self.merged()
        zeros = [np.zeros_like(own.shift) for own in (whole.x, whole.y)]
        return whole.about(*zeros) if whole.x.shift.any() or whole.y.shift.any() else whole

    def about(self, shift_x: Array, shift_y: Array) -> Moments:
        """Return the same sums about other shifts."""
        x, y = self.x, self.y
        cross = self.cross.about(x, y, shift_x - x.shift, shift_y - y.shift)
        return Moments(x.about(shift_x), y.about(shift_y), cross)


def merge(first: Moments, second: Moments) -> Moments:
    """Add the moments of other rows of the same pair, accumulated about the same shifts.

    Raises
    ------
    ValueError
        If the shifts differ.
    """
    for a, b in ((first.x, second.x), (first.y, second.y)):
        if not np.array_equal(a.shift, b.shift):
            raise ValueError("the two sets of moments are about different shifts; pass the same `shifts` to both")
    return Moments(
        replace(_add(first.x, second.x), shift=first.x.shift),
        replace(_add(first.y, second.y), shift=first.y.shift),
        _add(first.cross, second.cross),
    )


def _column(samples: NDArray[np.int64], ndim: int) -> Array:
    return samples.reshape(-1, *(1,) * (ndim - 1)).astype(np.float64)


def _over_folds(sums: Any, folds: Sequence[int]) -> Any:
    # Added one by one: choosing folds by a list would copy them first, and one fold is its own sum.
    return _without_rows(
        replace(
            sums,
            **{
                f.name: functools.reduce(np.add, (getattr(sums, f.name)[fold] for fold in folds))[None]
                for f in fields(sums)
                if f.name not in FIXED
            },
        )
    )


def _without_rows(sums: Any) -> Any:
    return replace(sums, rows=None) if isinstance(sums, Own) else replace(sums, partners=None)


def _add(first: Any, second: Any) -> Any:
    both = {f.name: getattr(first, f.name) + getattr(second, f.name) for f in fields(first) if f.name not in FIXED}
    return _without_rows(replace(first, **both))
