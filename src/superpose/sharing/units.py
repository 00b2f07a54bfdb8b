"""Units as a sample: the CKA of the populations that recorded units are drawn from, however many were recorded."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from superpose.arrays import as_responses, check_moderate, group_folds, group_labels, shuffled_folds
from superpose.files import DataError
from superpose.statistics import jackknife_variance

Array = NDArray[Any]

# Blocks of units and of samples that are left out in turn; the normal quantile of a 90 % interval.
BLOCKS, QUANTILE = 20, 1.645
# Fewer units of a system say nothing of a population; fewer samples leave squared covariances without estimate.
FEWEST_UNITS, FEWEST_SAMPLES = 4, 10
# Units of equal number that resemble each other by so many standard errors more than others share a basis.
SHARED_BASIS = 4.0
WITHOUT = "units of a system hardly covary: nothing tells what they are drawn from"


class Population(NamedTuple):
    """CKA of two populations of units with its 90 % interval, NaN with the reason why where there is none."""

    value: float
    low: float
    high: float
    why: str = ""


def cka_units(x: ArrayLike, y: ArrayLike, *, groups: ArrayLike | None = None, seed: int = 0) -> Population:
    """Return the CKA of the populations of units that two systems' units are drawn from.

    The CKA of two systems depends on how many of their units were recorded. Where units are independent draws from a
    population, squared covariances of different units have the population's expectation, those of a unit with itself do
    not. The score takes the first alone, each without bias over samples.

    Parameters
    ----------
    x, y : array-like, (samples, units)
        At least four units each, and ten samples.
    groups : array-like, (samples,), optional
        Which samples belong together: left out together for the interval.
    seed : int
        Draws the blocks of units and samples that are left out in turn.

    Returns
    -------
    Population
        Value and a 90 % interval (jackknife over blocks of either system's units and of samples; variances add up).
        Without a value where the assumption is refuted: the interval lies above 1, or units of the same number in both
        systems resemble each other more than others do (layers of one residual stream share a basis).

    Raises
    ------
    DataError
        For arrays that cannot be paired, or fewer units or samples than it takes.

    References
    ----------
    Chun, C. et al. (2025). Estimating neural representation alignment from sparsely sampled inputs and features.
    arXiv 2502.15104.

    Examples
    --------
    >>> import torch, superpose as sp
    >>> from superpose.sharing import cka_units
    >>> draw = torch.Generator().manual_seed(0)
    >>> z = torch.randn(2_000, 64, generator=draw)
    >>> a, b = sp.systems.gaussian_projection(24, 64, repeats=(2,), generator=draw)
    >>> found = cka_units(z @ a.T, z @ b.T)
    >>> float(sp.cka(z @ a.T, z @ b.T, debiased=True)) < 0.4, found.low < 1 < found.high
    (True, True)
    """
    a, b = (_checked(one, name) for one, name in ((x, "x"), (y, "y")))
    if len(a) != len(b):
        raise DataError(f"x has {len(a)} samples and y {len(b)}; expected the same samples in both.")
    if groups is None:
        of = shuffled_folds(len(a), min(BLOCKS, len(a)), seed=seed)
    else:
        labels = group_labels(groups, len(a))
        of = group_folds(labels, min(BLOCKS, int(labels.max()) + 1), seed=seed)
    blocks = [np.flatnonzero(of == block) for block in range(int(of.max()) + 1)]
    total = _Sums.of(a[blocks[0]], b[blocks[0]])
    for block in blocks[1:]:
        total = total + _Sums.of(a[block], b[block])
    squares = total.squares()
    value = _score(squares)
    if not np.isfinite(value):
        return Population(np.nan, np.nan, np.nan, "a system does not vary beyond what samples leave unsure")
    if _share_basis(squares):
        why = "units of the same number resemble each other: the systems share a basis, and are no draws of units"
        return Population(np.nan, np.nan, np.nan, why)
    draw = np.random.default_rng((seed, 5))
    # Sums of each block are taken twice: to keep them all would take twenty times the memory.
    parts = [[_score((total - _Sums.of(a[block], b[block])).squares()) for block in blocks]]
    for side, size in enumerate((a.shape[1], b.shape[1])):
        some = np.array_split(draw.permutation(size), min(BLOCKS, size // 2))
        parts.append([_score(_without(squares, block, side)) for block in some])
    half = QUANTILE * float(np.sqrt(sum(jackknife_variance(np.array(left)) for left in parts)))
    if not np.isfinite(half):
        return Population(np.nan, np.nan, np.nan, WITHOUT)
    low, high = max(value - half, 0.0), value + half
    if low > 1:
        why = f"the interval, {low:.2f} to {high:.2f}, lies above 1: units are no draws from one population"
        return Population(np.nan, np.nan, np.nan, why)
    return Population(value, low, high)


def unit_curve(x: ArrayLike, y: ArrayLike, *, draws: int = 50, seed: int = 0) -> pd.DataFrame:
    """Return the debiased CKA of as many units of each system, drawn at random: how it rises with the units recorded.

    Parameters
    ----------
    x, y : array-like, (samples, units)
        As in `cka_units`.
    draws : int
        Subsets of each size.
    seed : int
        Draws them.

    Returns
    -------
    pandas.DataFrame
        Columns `units` (powers of two from 4, and the smaller system's number), `score` and `sd`, over draws, and
        `limit`, the value of `cka_units` (NaN where it has none).

    Raises
    ------
    DataError
        As in `cka_units`.

    Examples
    --------
    >>> import torch, superpose as sp
    >>> from superpose.sharing import unit_curve
    >>> draw = torch.Generator().manual_seed(0)
    >>> z = torch.randn(2_000, 64, generator=draw)
    >>> a, b = sp.systems.gaussian_projection(32, 64, repeats=(2,), generator=draw)
    >>> unit_curve(z @ a.T, z @ b.T).score.is_monotonic_increasing
    True
    """
    limit = cka_units(x, y, seed=seed).value
    a, b = _checked(x, "x"), _checked(y, "y")
    between, first, second = _Sums.of(a, b).squares()
    draw = np.random.default_rng((seed, 6))
    most = min(between.shape)
    sizes = sorted({most, *(2**power for power in range(2, most.bit_length()) if 2**power <= most)})
    rows = []
    for size in sizes:
        scores = []
        for _ in range(draws):
            one, other = (np.sort(draw.permutation(count)[:size]) for count in between.shape)
            spread = first[np.ix_(one, one)].sum() * second[np.ix_(other, other)].sum()
            scores.append(between[np.ix_(one, other)].sum() / np.sqrt(spread) if spread > 0 else np.nan)
        rows.append({"units": size, "score": np.nanmean(scores), "sd": np.nanstd(scores), "limit": limit})
    return pd.DataFrame(rows)


class _Sums(NamedTuple):
    """Sums over samples: of units, of products of two, and of products of their squares (a with b, a, and b alone)."""

    number: int
    sums: tuple[Array, Array]
    products: tuple[Array, Array, Array]
    fourth: tuple[Array, Array, Array]

    @classmethod
    def of(cls, a: Array, b: Array) -> _Sums:
        pairs = ((a, b), (a, a), (b, b))
        products = [one.T @ other for one, other in pairs]
        fourth = [np.square(one).T @ np.square(other) for one, other in pairs]
        return cls(
            len(a),
            (a.sum(axis=0), b.sum(axis=0)),
            (products[0], products[1], products[2]),
            (fourth[0], fourth[1], fourth[2]),
        )

    def __add__(self, other: _Sums) -> _Sums:  # type: ignore[override]
        return self._joined(other, 1)

    def __sub__(self, other: _Sums) -> _Sums:
        return self._joined(other, -1)

    def _joined(self, other: _Sums, sign: int) -> _Sums:
        def joined(first: Any, second: Any) -> Any:
            return tuple(one + sign * more for one, more in zip(first, second, strict=True))

        return _Sums(
            self.number + sign * other.number,
            joined(self.sums, other.sums),
            joined(self.products, other.products),
            joined(self.fourth, other.fourth),
        )

    def squares(self) -> tuple[Array, Array, Array]:
        """Return the squared covariance of each two units, without bias (HSIC of their linear kernels, Song 2012)."""
        n = self.number
        first, second = self.sums
        found = []
        for place, (one, other) in enumerate(((first, second), (first, first), (second, second))):
            product = self.products[place] - np.outer(one, other) / n
            variance = [
                np.diagonal(self.products[side]) - self.sums[side - 1] ** 2 / n
                for side in ((1, 2), (1, 1), (2, 2))[place]
            ]
            fourth = self.fourth[place]
            total = np.square(product) - fourth * n / (n - 2) + np.outer(*variance) / ((n - 1) * (n - 2))
            found.append(total / (n * (n - 3)))
        return found[0], found[1], found[2]


def _checked(x: Any, name: str) -> Array:
    activity = as_responses(x, name)
    if activity.ndim != 2 or activity.shape[0] < FEWEST_SAMPLES or activity.shape[1] < FEWEST_UNITS:
        raise DataError(
            f"{name} has shape {activity.shape}; expected (samples, units), "
            f"at least {FEWEST_SAMPLES} and {FEWEST_UNITS}."
        )
    check_moderate(activity, name)
    centred = activity - activity.mean(axis=0, dtype=np.float64)
    return np.asarray(centred / (np.sqrt(np.square(centred).mean()) or 1.0))


def _score(squares: tuple[Array, Array, Array]) -> float:
    between, *own = squares
    alone = [(one.sum() - np.trace(one)) / (len(one) * (len(one) - 1)) for one in own]
    return float(between.mean() / np.sqrt(alone[0] * alone[1])) if min(alone) > 0 else np.nan


def _without(squares: tuple[Array, Array, Array], block: Array, side: int) -> tuple[Array, Array, Array]:
    own = [squares[1], squares[2]]
    own[side] = np.delete(np.delete(own[side], block, axis=0), block, axis=1)
    return np.delete(squares[0], block, axis=side), own[0], own[1]


def _share_basis(squares: tuple[Array, Array, Array]) -> bool:
    """Return whether units of the same number have larger squared correlations than others."""
    between, *own = squares
    if between.shape[0] != between.shape[1]:
        return False
    alone = [np.sqrt(np.maximum(np.diagonal(one), 1e-12)) for one in own]
    between = between / np.outer(*alone)
    same = np.diagonal(between)
    others = (between.sum() - same.sum()) / (between.size - len(same))
    error = same.std(ddof=1) / np.sqrt(len(same))
    return bool(same.mean() - others > SHARED_BASIS * error)
