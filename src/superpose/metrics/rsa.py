"""Representational similarity analysis, without ever holding the samples × samples matrices."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata

from superpose.arrays import choose, like_input
from superpose.files import DataError
from superpose.metrics.about import About
from superpose.metrics.kernels import (
    KERNELS,
    VANISHING,
    KernelRows,
    KernelSums,
    cross_rows,
    kernel_sums,
    own_rows,
    pair_influence,
    pair_parts,
)
from superpose.metrics.metric import Influence, MomentMetric, paired
from superpose.metrics.ties import ROUNDING, TIED, levelled
from superpose.moments import Moments, of_pair, shifted_rows, working_type
from superpose.moments.wide import compact

Array = NDArray[Any]

# Ranks need the pairs themselves; beyond this many (about 4,000 samples) they come from a random sample of pairs.
RANKED_PAIRS = 8_000_000
# Values of the responses that are compared at a time.
PIECE = 2**22


def rsa(
    x: ArrayLike,
    y: ArrayLike,
    *,
    rdm: str = "dot",
    comparator: str = "pearson",
    centre: bool | None = None,
) -> Any:
    """Representational similarity of two systems: the correlation of their sample-by-sample matrices (Eq. (3)).

    With the default, inner products of centred responses (Eq. (1)) under Pearson correlation, it tends to the
    Gram cosine of the projections (Theorem 3.1), as `superpose.theory.rsa` gives. The other matrices have
    other limits. Pearson and cosine are computed from second moments in O(samples · units_x · units_y);
    Spearman from the pairs, above 8 million of them from that many drawn at random (its standard error is
    then below 4e-4).

    Parameters
    ----------
    x : array or tensor, (…, samples, units_x)
        Responses of one system.
    y : array or tensor, (…, samples, units_y)
        Responses of the other to the same samples; at least 3.
    rdm : {"dot", "euclidean", "correlation"}
        Inner products, squared Euclidean distances, or one minus the correlation over units.
    comparator : {"pearson", "cosine", "spearman"}
        How the entries i < j of the two matrices are compared.
    centre : bool, optional
        Subtract each unit's mean first. None is True for "dot" and False otherwise; False with "dot" is
        Eqs. (1) and (3) to the letter, which responses with a mean pull away from Theorem 3.1.

    Returns
    -------
    array or tensor, (…)
        In [-1, 1]. NaN where a matrix has no variance.

    Raises
    ------
    DataError
        For unusable responses, an unknown or a sample whose units are all equal under "correlation".

    References
    ----------
    Kriegeskorte, Mur & Bandettini, Representational similarity analysis, Front. Syst. Neurosci. 2, 2008.

    Examples
    --------
    >>> import numpy as np, superpose as sp
    >>> x = np.random.default_rng(0).normal(size=(100, 20))
    >>> round(float(sp.rsa(x, 3 * x[:, ::-1] + 1)), 6)
    1.0
    """
    as_given = choose(RDMS, "rdm", rdm)
    compare = choose(COMPARATORS, "comparator", comparator)
    about_mean = rdm == "dot" if centre is None else bool(centre)
    return like_input(_rsa)(x, y, CENTRED_RDMS[rdm] if about_mean else as_given, compare)


@dataclass(frozen=True)
class PairSums:
    """Sums over the pairs i < j of the entries of two matrices, and of their products."""

    pairs: int
    x: Array
    y: Array
    xx: Array
    yy: Array
    xy: Array


@dataclass(frozen=True)
class _Matrix:
    """One kind of sample-by-sample matrix: its sums from the moments of `rows`, its entries from `entry_rows`.

    `margins` says how exact entries are, from them and the norms of the two samples.
    """

    rows: Callable[[Array], Array]
    sums: Callable[[Moments], PairSums]
    entry_rows: Callable[[Array], Array]
    entries: Callable[[Array, NDArray[np.int64], NDArray[np.int64]], Array]
    margins: Callable[[Array, Array, Array], Array]

    def pair_sums(self, x: Array, y: Array) -> PairSums:
        """Return the sums over pairs of samples."""
        return self.sums(of_pair(*(compact(self.rows(responses)) for responses in (x, y))))

    def ranked(self, x: Array, pieces: Sequence[tuple[NDArray[np.int64], NDArray[np.int64]]]) -> Array:
        """Return the entries of `entry_rows` for ranks: those that are equal but for rounding are equal."""
        norms = np.sqrt(np.einsum("...ij,...ij->...i", x, x, dtype=np.float64))
        values = [self.entries(x, i, j) for i, j in pieces]
        margins = [self.margins(v, norms[..., i], norms[..., j]) for v, (i, j) in zip(values, pieces, strict=True)]
        return levelled(np.concatenate(values, axis=-1), np.concatenate(margins, axis=-1))


def _rsa(x: ArrayLike, y: ArrayLike, matrix: _Matrix, compare: Callable[..., Array]) -> Array:
    return compare(matrix, *paired(x, y, 3))


def _about_mean(x: Array) -> Array:
    return shifted_rows(x, x.mean(axis=-2, dtype=np.float64), slice(None))


def _centred_unit_rows(x: Array) -> Array:
    return _unit_rows(_about_mean(x))


def _about_exact_mean(x: Array) -> Array:
    """Return responses about each unit's mean, to the same bits in any order of the samples."""
    columns = np.swapaxes(x, -1, -2)
    means = [math.fsum(column) / len(column) for column in columns.reshape(-1, columns.shape[-1])]
    return x - np.reshape(means, (*columns.shape[:-2], 1, columns.shape[-2]))


def _exactly_centred_unit_rows(x: Array) -> Array:
    return _unit_rows(_about_exact_mean(x))


def _centred_dot_sums(moments: Moments) -> PairSums:
    s = kernel_sums(moments)
    # Over all i, j the centred inner products sum to zero, so over i ≠ j to −Σd.
    return PairSums(
        pairs=s.samples * (s.samples - 1) // 2,
        x=-s.d / 2,
        y=-s.e / 2,
        xx=(s.aa - s.dd) / 2,
        yy=(s.bb - s.ee) / 2,
        xy=(s.ab - s.de) / 2,
    )


def _dot_sums(moments: Moments) -> PairSums:
    raw = moments.uncentred()
    x, y, cross = raw.x, raw.y, raw.cross
    n = int(x.samples[0])

    def between(product: Array, diagonal: Array) -> Array:
        return (np.einsum("...ij,...ij->...", product, product) - diagonal) / 2

    return PairSums(
        pairs=n * (n - 1) // 2,
        x=((x.total[0] ** 2).sum(-1) - x.norm[0]) / 2,
        y=((y.total[0] ** 2).sum(-1) - y.norm[0]) / 2,
        xx=between(x.square[0], x.norm_square[0]),
        yy=between(y.square[0], y.norm_square[0]),
        xy=between(cross.product[0], cross.norms[0]),
    )


def _euclidean_sums(moments: Moments) -> PairSums:
    s = kernel_sums(moments)
    n = s.samples
    # Over all i, j: (d_i + d_j − 2 K_ij)(e_i + e_j − 2 L_ij), with rows about their mean.
    return PairSums(
        pairs=n * (n - 1) // 2,
        x=n * s.d,
        y=n * s.e,
        xx=n * s.dd + s.d**2 + 2 * s.aa,
        yy=n * s.ee + s.e**2 + 2 * s.bb,
        xy=n * s.de + s.d * s.e + 2 * s.ab,
    )


def _correlation_sums(moments: Moments) -> PairSums:
    s = _dot_sums(moments)
    m = s.pairs
    return PairSums(
        pairs=m,
        x=m - s.x,
        y=m - s.y,
        xx=m - 2 * s.x + s.xx,
        yy=m - 2 * s.y + s.yy,
        xy=m - s.x - s.y + s.xy,
    )


def _unit_rows(x: Array) -> Array:
    x = np.asarray(x, dtype=working_type(x))
    deviation = x - x.mean(axis=-1, keepdims=True)
    norm = np.sqrt(np.einsum("...ij,...ij->...i", deviation, deviation))[..., None]
    flat = np.argwhere(x.max(axis=-1) == x.min(axis=-1))
    if len(flat):
        raise DataError(
            f"{len(flat)} sample(s) have the same response in every unit, the first at row {flat[0][-1]}; the "
            "correlation distance needs responses that differ between units. Drop those samples, or use "
            'rdm="euclidean".'
        )
    return deviation / norm


def _same(x: Array) -> Array:
    return x


def _dot_entries(x: Array, i: NDArray[np.int64], j: NDArray[np.int64]) -> Array:
    return np.einsum("...ij,...ij->...i", x[..., i, :], x[..., j, :], dtype=np.float64)


def _euclidean_entries(x: Array, i: NDArray[np.int64], j: NDArray[np.int64]) -> Array:
    difference = x[..., i, :] - x[..., j, :]
    return np.einsum("...ij,...ij->...i", difference, difference, dtype=np.float64)


def _correlation_entries(x: Array, i: NDArray[np.int64], j: NDArray[np.int64]) -> Array:
    return 1 - _dot_entries(x, i, j)


def _dot_margins(entries: Array, one: Array, other: Array) -> Array:
    return TIED * one * other


def _euclidean_margins(entries: Array, one: Array, other: Array) -> Array:
    """Responses with a mean are known to the rounding of that, and so are their differences."""
    return TIED * entries + ROUNDING * (one + other) * np.sqrt(entries)


def _unit_margins(entries: Array, one: Array, other: Array) -> Array:
    return np.full(entries.shape, TIED)


def uncentred_rsa(moments: Moments) -> Array:
    """Return RSA by Eqs. (1) and (3) to the letter: inner products of responses whose mean is not removed."""
    return _correlation_of(_dot_sums(moments))


def _pearson(matrix: _Matrix, x: Array, y: Array) -> Array:
    return _correlation_of(matrix.pair_sums(x, y))


def _correlation_of(s: PairSums) -> Array:
    return _ratio(s.xy - s.x * s.y / s.pairs, s.xx - s.x**2 / s.pairs, s.yy - s.y**2 / s.pairs, s.xx, s.yy)


def _cosine(matrix: _Matrix, x: Array, y: Array) -> Array:
    s = matrix.pair_sums(x, y)
    return _ratio(s.xy, s.xx, s.yy)


def _spearman(matrix: _Matrix, x: Array, y: Array) -> Array:
    first, second = (compact(matrix.entry_rows(responses.astype(np.float64))) for responses in (x, y))
    ranks = []
    pairs = pair_pieces(first.shape[-2], max(a.size // a.shape[-2] for a in (first, second)))
    for responses in (first, second):
        rank = rankdata(matrix.ranked(responses, pairs), axis=-1)
        ranks.append(rank - rank.mean(axis=-1, keepdims=True))
    a, b = np.broadcast_arrays(*ranks)
    return _ratio(*(np.einsum("...i,...i->...", p, q) for p, q in ((a, b), (a, a), (b, b))))


def pair_pieces(samples: int, width: int) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Return all pairs i < j, or a fixed random sample of them where they are too many, in pieces of few megabytes."""
    total = samples * (samples - 1) // 2
    if total <= RANKED_PAIRS:
        i, j = np.triu_indices(samples, 1)
    else:
        generator = np.random.default_rng(samples)
        i = generator.integers(0, samples, RANKED_PAIRS)
        j = (i + generator.integers(1, samples, RANKED_PAIRS)) % samples
    pieces = max(1, len(i) * width // PIECE)
    return list(zip(np.array_split(i, pieces), np.array_split(j, pieces), strict=True))


def _ratio(xy: Array, xx: Array, yy: Array, scale_x: Any = 0.0, scale_y: Any = 0.0) -> Array:
    """Return xy/√(xx·yy), NaN where a variance is no more than the rounding of the terms of size `scale`."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where((xx > VANISHING * scale_x) & (yy > VANISHING * scale_y), xy / np.sqrt(xx * yy), np.nan)


RDMS = {
    "dot": _Matrix(_same, _dot_sums, _same, _dot_entries, _dot_margins),
    "euclidean": _Matrix(_same, _euclidean_sums, _same, _euclidean_entries, _euclidean_margins),
    "correlation": _Matrix(_unit_rows, _correlation_sums, _unit_rows, _correlation_entries, _unit_margins),
}
# Distances do not see the mean; sums of centred inner products follow from any moments.
CENTRED_RDMS = {
    "dot": _Matrix(_same, _centred_dot_sums, _about_exact_mean, _dot_entries, _dot_margins),
    "euclidean": RDMS["euclidean"],
    "correlation": _Matrix(
        _centred_unit_rows, _correlation_sums, _exactly_centred_unit_rows, _correlation_entries, _unit_margins
    ),
}
COMPARATORS = {"pearson": _pearson, "cosine": _cosine, "spearman": _spearman}


def _score(sums: KernelSums) -> Array:
    return _ratio(*pair_parts(sums), sums.aa, sums.bb)


def _influence(sums: KernelSums, rows: KernelRows) -> Array:
    return pair_influence(_score(sums), sums, rows)


RSA = MomentMetric(
    name="rsa",
    about=About("RSA", "inner products of pairs of samples, correlated", "N p q", "Kriegeskorte et al. 2008"),
    directed=False,
    invariances=frozenset({"rotation", "scale", "permutation", "translation"}),
    minimum_samples=3,
    family=KERNELS,
    score=_score,
    why=lambda sums: "a system's inner products do not vary over pairs of samples",
    null_mean=lambda sums: np.zeros_like(sums.ab),
    influence=Influence(cross_rows, _influence, own_rows),
)
