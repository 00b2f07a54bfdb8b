"""What a metric is: a callable of two arrays that says its name, direction, invariances and needs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from superpose.arrays import as_responses, check_moderate, check_paired, like_input
from superpose.arrays.labels import check_rows
from superpose.files import DataError
from superpose.metrics.about import About
from superpose.moments import Moments, of_pair
from superpose.moments.wide import compact, turned

Array = NDArray[Any]

# What a score may not change under. "linear" (any invertible map of the units) includes the first three.
INVARIANCES = frozenset({"rotation", "scale", "permutation", "translation", "linear"})


NO_INTERVAL = "no interval for this metric"
STILL = "a system does not vary"


@runtime_checkable
class Metric(Protocol):
    """Anything that scores two paired arrays and describes itself.

    Attributes
    ----------
    name : str
        Its name in tables.
    directed : bool
        Whether the score of (x, y) differs from that of (y, x).
    invariances : frozenset of str
        Changes of one system's units that leave the score as it is, out of `INVARIANCES`.
    minimum_samples : int
        Below this many samples there is no score.
    """

    @property
    def name(self) -> str: ...
    @property
    def directed(self) -> bool: ...
    @property
    def invariances(self) -> frozenset[str]: ...
    @property
    def minimum_samples(self) -> int: ...
    def __call__(self, x: Any, y: Any) -> Any: ...


@dataclass(frozen=True)
class Family:
    """The few sums that several metrics are functions of: metrics of equal families share them.

    Attributes
    ----------
    sums : callable
        Moments → sums.
    permuted : callable
        (sums, moments) → the sums after y's rows were permuted within folds, both about their means.
    several : bool
        Whether `permuted` takes the products of several permutations at once, along an axis behind the folds.
    split : bool
        Whether something is fitted on some folds and scored on others, and so needs the moments of all.
    exact : bool
        Whether products in float32 never do: near a tie of what is chosen, their rounding would decide.
    squares : bool
        Whether it takes products of a system's units with each other, other than each with itself.
    """

    sums: Callable[[Moments], Any]
    permuted: Callable[[Any, Moments], Any]
    several: bool = False
    split: bool = False
    exact: bool = False
    squares: bool = True


@dataclass(frozen=True)
class Shares:
    """Each row's influence on a score: what it adds, less what an average row does, times the samples, (rows,)."""

    values: Array


def of_shares(sums: Any, rows: Shares) -> Array:
    """Return each row's influence on the score."""
    return rows.values


@dataclass(frozen=True)
class Influence:
    """How each row's influence on a score is taken, from which its interval follows.

    Attributes
    ----------
    rows : callable
        (moments, sums) → (x, y, folds) → what each row adds to each sum, a dataclass of arrays, for rows of one fold
        about the column means; equal functions are evaluated once a pair.
    values : callable
        (sums, what rows add) → the influence of each row, (rows,): over all samples, their squared sum over samples²
        is the score's variance. With `own`, what rows add are three: the pair's and each system's own.
    own : callable or None
        Own sums → x → what each row adds to the sums of one system, a dataclass of arrays; equal functions are
        evaluated once a system.
    fewest_groups : callable or None
        Sums → over how many independent samples, or groups of them, there is an interval.
    """

    rows: Callable[..., Any]
    values: Callable[[Any, Any], Array] = of_shares
    own: Callable[..., Any] | None = None
    fewest_groups: Callable[[Any], int] | None = None


@dataclass(frozen=True)
class MomentMetric:
    """A metric that is a function of a pair's moments over the scored rows.

    Attributes
    ----------
    name, directed, invariances, minimum_samples
        As in `Metric`.
    family : Family
        The sums it is a function of.
    score : callable
        Those sums → the score, (…); NaN where it does not exist.
    why : callable
        Those sums → the reason for a NaN.
    null_mean : callable or None
        Those sums → the score's exact mean over all permutations, where it has a closed form.
    influence : Influence or None
        How its interval is taken.
    no_interval : str
        Why there is no interval, where influence does not exist.
    bounds : tuple of float
        The range of the score.
    higher_is_closer : bool
        False for a distance.
    in_parts : InParts or None
        For a mean over y's units that sees no rotation of x's: how it is made up of parts of y's units.
    about : About or None
        Its name and source in words.
    """

    name: str
    directed: bool
    invariances: frozenset[str]
    minimum_samples: int
    family: Family
    score: Callable[[Any], Array]
    why: Callable[[Any], str]
    null_mean: Callable[[Any], Array] | None = None
    influence: Influence | None = None
    no_interval: str = NO_INTERVAL
    bounds: tuple[float, float] = (-1.0, 1.0)
    higher_is_closer: bool = True
    in_parts: InParts | None = None
    about: About | None = field(default=None, compare=False, kw_only=True)

    def __call__(self, x: ArrayLike, y: ArrayLike) -> Any:
        """Score paired responses, (…, samples, units_x) and (…, samples, units_y), to (…)."""
        return like_input(self._evaluate)(x, y)

    def _evaluate(self, x: ArrayLike, y: ArrayLike) -> Array:
        first, second = paired(x, y, self.minimum_samples)
        if "rotation" in self.invariances:
            narrowed = turned if "translation" in self.invariances else compact
            first, second = narrowed(first), narrowed(second)
        return self.score(self.family.sums(of_pair(first, second)))


@dataclass(frozen=True)
class InParts:
    """How a mean over y's units is made up of that of parts of them, which weigh as their units count.

    Attributes
    ----------
    counted : callable
        Sums → how many units the score is a mean over.
    settled : callable or None
        Moments of x and of all units of y, which may be rotated → `sums` of any part of them, where what is chosen for
        all units at once is chosen already. Without it, all units are taken at once.
    """

    counted: Callable[[Any], int]
    settled: Callable[[Moments], Callable[[Moments], Any]] | None = None


def paired(x: ArrayLike, y: ArrayLike, minimum_samples: int = 2) -> tuple[Array, Array]:
    """Return two validated, finite, paired arrays with at least `minimum_samples` samples, not constant.

    Raises
    ------
    DataError
        Otherwise, saying which and why.
    """
    check_rows({"x": x, "y": y})
    first, second = as_responses(x, "x"), as_responses(y, "y")
    samples = check_paired({"x": first, "y": second})
    if samples < minimum_samples:
        raise DataError(f"{samples} sample(s) are too few for this score; expected at least {minimum_samples}.")
    try:
        np.broadcast_shapes(first.shape[:-2], second.shape[:-2])
    except ValueError:
        raise DataError(
            f"x has repeats {first.shape[:-2]} and y has {second.shape[:-2]}; expected equal (or broadcastable) "
            "leading axes."
        ) from None
    for name, array in (("x", first), ("y", second)):
        check_moderate(array, name)
        if is_constant(array):
            raise DataError(
                f"{name} does not vary: every unit is constant over the samples, so there is nothing to compare."
            )
    return first, second


def is_constant(x: Array) -> bool:
    """Return whether every unit of some repeat is constant over the samples; a few rows mostly tell."""
    return all(bool(constant_units(rows).all(axis=-1).any()) for rows in (x[..., :16, :], x))


def constant_units(x: Array) -> NDArray[np.bool_]:
    """Return which units are constant over the samples, (…, units), reading on only while some still are."""
    constant = np.ones((*x.shape[:-2], x.shape[-1]), dtype=bool)
    first = x[..., :1, :]
    start, rows = 0, 64
    while start < x.shape[-2] and constant.any():
        candidates = np.flatnonzero(constant.reshape(-1, x.shape[-1]).any(axis=0))
        part = x[..., start : start + rows, candidates]
        constant[..., candidates] &= (part == first[..., candidates]).all(axis=-2)
        start, rows = start + rows, 4 * rows
    return constant
