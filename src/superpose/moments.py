"""Second moments and row-norm sums of paired responses: everything the linear metrics need, in one pass.

Rows are read in chunks and shifted by a pilot before any product, so that a common offset costs no digits.
Products run in the precision of the input (float32 for float16), sums are kept in float64, one set a fold. Rows that
are mostly zeros, as sparse codes, are multiplied as such, in float64.
Sums about the same pilot add, whoever accumulated them.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray
from scipy.sparse import csr_array

from superpose.arrays import chunks
from superpose.blocks import DenseRows, Rows, SparseRows, is_sparse, product
from superpose.numerics.float16 import widen, widened

Array = NDArray[Any]
Labels = Int[np.ndarray, " samples"]
Index = slice | NDArray[np.int64]
# Chosen rows of a system → those rows about its shift.
RowReader = Callable[[Index], Array]
Precision = type[np.floating[Any]]
CHUNK_BYTES = 2**24
ALL_BYTES = 2**27
CACHE_BYTES = 2**20
# Enough for a pilot: it differs from the mean by a small part of a standard deviation.
PILOT_ROWS = 2**10
# Longer float32 sums lose digits.
CHUNK_ROWS = 2**14
# Rows of so many times the units, or fewer, are kept beside the sums: training folds may be fewer than the units.
FEW_ROWS = 2

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


def of_pair(
    x: Float[np.ndarray, "*repeats_x samples units_x"],
    y: Float[np.ndarray, "*repeats_y samples units_y"],
    folds: Labels | None = None,
    *,
    targets: Collection[str] = (),
) -> Moments:
    """Accumulate the moments of one pair.

    Parameters
    ----------
    x, y : ndarray, (…, samples, units_x) and (…, samples, units_y)
        Paired responses, in memory or memory-mapped; leading axes are independent repeats and must broadcast.
    folds : ndarray of int, (samples,), optional
        The fold of each sample; None keeps one.
    targets : collection of str
        ("y",) for a y that is only predicted, whose own products are left out.
    """
    if x.shape[:-2] != y.shape[:-2]:
        repeats = np.broadcast_shapes(x.shape[:-2], y.shape[:-2])
        x, y = (np.broadcast_to(a, repeats + a.shape[-2:]) for a in (x, y))
    own, cross = accumulate({"x": x, "y": y}, [("x", "y")], folds, targets=targets)
    return Moments(own["x"], own["y"], cross["x", "y"])


def accumulate(
    systems: Mapping[str, Array],
    pairs: Iterable[tuple[str, str]],
    folds: NDArray[np.int64] | None = None,
    shifts: Mapping[str, Array] | None = None,
    targets: Collection[str] = (),
    precision: Precision | None = None,
) -> tuple[dict[str, Own], dict[tuple[str, str], Cross]]:
    """Accumulate every system's own moments and every pair's crossed ones, reading each row once.

    Parameters
    ----------
    systems : mapping of ndarray, (…, samples, units)
        Paired responses under their names.
    pairs : iterable of (name, name)
        The pairs to cross.
    folds : ndarray of int, (samples,), optional
        The fold of each sample, from 0; None keeps one.
    shifts : mapping of ndarray, (…, units), optional
        The pilot of each system; by default the mean of its first rows. Sums merge only about equal pilots, so
        workers that share an array pass them.
    targets : collection of str
        Systems that are only predicted: their `square` is left empty.
    precision : type, optional
        Of the products, for all systems; None is each one's own, `working_type`.

    Returns
    -------
    own : dict of Own
    cross : dict of Cross
    """
    pairs = list(pairs)
    samples = next(iter(systems.values())).shape[-2]
    rows = min(chunk_rows(systems.values()), samples)
    shifts = shifts or {name: pilot(x, min(rows, PILOT_ROWS)) for name, x in systems.items()}
    count = 1 if folds is None else int(folds.max()) + 1
    own = {
        name: _empty_own(x, shifts[name], count, name not in targets, precision or working_type(x))
        for name, x in systems.items()
    }
    cross = {pair: _empty_cross(systems[pair[0]], systems[pair[1]], count) for pair in pairs}
    read = {name: _summed(x, shifts[name], rows, precision) for name, x in systems.items()}
    before = None
    for fold, index in row_blocks(samples, rows, folds):
        # What the first rows of a fold give is put where nothing is yet: adding it would read zeros.
        put, before = _add_into if fold == before else np.copyto, fold
        shifted = {name: take(index) for name, take in read.items()}
        norms = {name: x.norms() for name, x in shifted.items()}
        weighted = _weighted_totals(shifted, norms)
        for name, x in shifted.items():
            sums, d = own[name], norms[name]
            sums.samples[fold] += x.count
            sums.total[fold] += weighted[name][None]
            if name in targets:
                sums.diagonal[fold] += x.diagonal()
            else:
                square = product(x, x)
                sums.diagonal[fold] += np.einsum("...ii->...i", square)
                put(sums.square[fold], square)
            sums.norm[fold] += d.sum(axis=-1, dtype=np.float64)
            sums.norm_square[fold] += np.square(d, dtype=np.float64).sum(axis=-1)
            sums.norm_total[fold] += weighted[name][name]
        for a, b in pairs:
            both = cross[a, b]
            put(both.product[fold], product(shifted[a], shifted[b]))
            both.norms[fold] += np.multiply(norms[a], norms[b], dtype=np.float64).sum(axis=-1)
            both.norm_y[fold] += weighted[b][a]
            both.norm_x[fold] += weighted[a][b]
    for name in set(own) - set(targets):
        own[name] = replace(own[name], rows=_few_rows(systems[name], shifts[name], folds, precision))
    return own, cross


def accumulate_about_means(
    systems: Mapping[str, Array],
    pairs: Iterable[tuple[str, str]],
    folds: NDArray[np.int64] | None,
    means: Mapping[str, Array],
    targets: Collection[str] = (),
    precision: Precision | None = None,
) -> tuple[dict[str, Own], dict[tuple[str, str], Cross]]:
    """Accumulate as `accumulate` does, of rows about the means of those that are scored: see `mean_of`.

    The zeros of sparse rows are never filled.
    """
    own, cross = accumulate(systems, pairs, folds, means, targets, precision)
    return {name: replace(sums, shift=np.zeros_like(sums.shift)) for name, sums in own.items()}, cross


def mean_of(x: Float[np.ndarray, "*repeats samples units"], scored: Index) -> Float[np.ndarray, "*repeats units"]:
    """Return the mean of the scored rows, as exact as the working precision; rows are read by chunks."""
    if isinstance(scored, slice):
        part = x[..., scored, :]
        count, read = part.shape[-2], (rows for _, rows in chunks(part))
    else:
        count, size = len(scored), chunk_rows([x])
        read = (x[..., scored[start : start + size], :] for start in range(0, count, size))
    total = sum(widened(rows).sum(axis=-2, dtype=np.float64) for rows in read)
    mean: Array = (total / count).astype(working_type(x)).astype(np.float64)
    return mean


def reader(x: Array, shift: Array, rows: int, precision: Precision | None = None) -> RowReader:
    """Return what reads chosen rows, at most so many, about a shift; the next call may overwrite what one returned."""
    # The workspace is used again for every chunk: fresh memory would cost as much as the subtraction.
    space = np.empty((*x.shape[:-2], rows, x.shape[-1]), precision or working_type(x))
    return lambda index: shifted_rows(x, shift, index, space)


def _few_rows(x: Array, shift: Array, folds: NDArray[np.int64] | None, precision: Precision | None) -> FoldRows | None:
    """Return the rows less the shift where they are few."""
    samples, units = x.shape[-2:]
    if x.ndim > 2 or samples >= FEW_ROWS * units:
        return None
    values = shifted_rows(x, shift, slice(None), np.empty(x.shape, precision or working_type(x)))
    return FoldRows(values, np.zeros(samples, dtype=np.int64) if folds is None else folds)


def _add_into(sums: Array, part: Array) -> None:
    sums += part


def _summed(x: Array, shift: Array, rows: int, precision: Precision | None) -> Callable[[Index], Rows]:
    """Return what reads chosen rows for products: as sparse ones where most values are zero."""
    if is_sparse(x):
        return lambda index: SparseRows(csr_array(x[index], dtype=np.float64), shift)
    read = reader(x, shift, rows, precision)
    return lambda index: DenseRows(read(index))


def _weighted_totals(rows: Mapping[str, Rows], norms: Mapping[str, Array]) -> dict[str, dict[str | None, Array]]:
    """Return the sums of each system's rows, plain (under None) and weighted by every system's norms, in one pass."""
    weights = np.stack([np.ones_like(next(iter(norms.values()))), *norms.values()], axis=-2)
    totals = {name: x.totals(weights) for name, x in rows.items()}
    return {name: {key: total[..., i, :] for i, key in enumerate([None, *norms])} for name, total in totals.items()}


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


def chunk_rows(systems: Iterable[Array]) -> int:
    """Return how many rows a chunk takes: the widest system's fit in cache, or in `CHUNK_BYTES`; all in `ALL_BYTES`."""
    systems = list(systems)
    if any(is_sparse(x) for x in systems):
        return CHUNK_ROWS
    return rows_of([x.shape[-1] for x in systems], int(np.prod(systems[0].shape[:-2], dtype=int)))


def rows_of(units: Sequence[int], repeats: int = 1) -> int:
    """Return how many rows a chunk takes of dense systems of so many units."""
    widest = max(units)
    # Rows that stay in cache, but enough of them that adding up the products, units × units each, costs little.
    cached = max(CACHE_BYTES // (4 * repeats * widest), 8 * widest)
    together = max(512, ALL_BYTES // (4 * repeats * sum(units)))
    return min(max(256, CHUNK_BYTES // (4 * repeats * widest)), CHUNK_ROWS, cached, together)


def pilot(x: Float[np.ndarray, "*repeats samples units"], rows: int) -> Float[np.ndarray, "*repeats units"]:
    """Return the mean of the first rows, in float64: near enough to the mean for float32 products."""
    shift: Array = x[..., :rows, :].mean(axis=-2, dtype=np.float64)
    return shift.astype(working_type(x)).astype(np.float64)


def working_type(x: Array) -> type[np.floating[Any]]:
    """Return the precision of the products: float64 for float64 in any byte order, float32 for anything shorter."""
    return np.float64 if x.dtype.itemsize >= 8 else np.float32


def shifted_rows(
    x: Float[np.ndarray, "*repeats samples units"],
    shift: Float[np.ndarray, "*repeats units"],
    index: slice | Int[np.ndarray, " rows"],
    space: Array | None = None,
) -> Float[np.ndarray, "*repeats chosen units"]:
    """Return the chosen rows less the shift, in the working precision, written into `space` if it is given."""
    rows = x[..., index, :]
    kind = working_type(x) if space is None else space.dtype
    out = None if space is None else space[..., : rows.shape[-2], :]
    about = shift.astype(kind)[..., None, :]
    if rows.dtype == np.float16 and kind == np.float32:
        out = np.empty(rows.shape, kind) if out is None else out
        widen(rows, out)
        rows = out
    result: Array = np.subtract(rows, about, out=out, dtype=kind)
    return result


def row_blocks(
    samples: int, rows: int, folds: NDArray[np.int64] | None
) -> Iterator[tuple[int, slice | NDArray[np.int64]]]:
    """Yield (fold, rows of at most one chunk), as slices wherever a fold is contiguous."""
    if folds is None:
        folds = np.zeros(samples, dtype=np.int64)
    for fold in range(int(folds.max()) + 1):
        index = np.flatnonzero(folds == fold)
        contiguous = len(index) > 0 and index[-1] - index[0] + 1 == len(index)
        # Equal parts: a short last chunk would waste the product's set-up.
        parts = max(1, -(-len(index) // rows))
        for part in np.array_split(index, parts):
            if len(part):
                yield fold, slice(part[0], part[-1] + 1) if contiguous else part


def _empty_own(x: Array, shift: Array, folds: int, squared: bool, precision: Precision) -> Own:
    repeats, units = x.shape[:-2], x.shape[-1]
    side = units if squared else 0
    return Own(
        samples=np.zeros(folds, dtype=np.int64),
        shift=shift,
        total=np.zeros((folds, *repeats, units)),
        diagonal=np.zeros((folds, *repeats, units)),
        square=np.zeros((folds, *repeats, side, side)),
        norm=np.zeros((folds, *repeats)),
        norm_square=np.zeros((folds, *repeats)),
        norm_total=np.zeros((folds, *repeats, units)),
        resolution=float(np.finfo(precision).eps),
    )


def _empty_cross(x: Array, y: Array, folds: int) -> Cross:
    repeats = x.shape[:-2]
    return Cross(
        product=np.zeros((folds, *repeats, x.shape[-1], y.shape[-1])),
        norms=np.zeros((folds, *repeats)),
        norm_y=np.zeros((folds, *repeats, y.shape[-1])),
        norm_x=np.zeros((folds, *repeats, x.shape[-1])),
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
