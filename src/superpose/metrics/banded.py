"""Ridge regression on several systems together, each under a penalty of its own: banded ridge regression."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache, partial
from itertools import product
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from superpose.arrays import check_paired, choose, like_input, of_one_repeat
from superpose.files import DataError
from superpose.metrics.about import About
from superpose.metrics.metric import MomentMetric
from superpose.metrics.prediction import FINISH, Fit, Fitted, fitted_sums, unchosen
from superpose.metrics.regression import PredictiveMetric, described, fitted_weights
from superpose.metrics.ridge import RidgeMetric, Share, errors_left_out
from superpose.metrics.spectrum import GRID, inner
from superpose.metrics.splits import Plan, split_of
from superpose.moments import Moments, of_pair
from superpose.moments.wide import turned

Array = NDArray[Any]
Folds = tuple[int, ...]
# The decimal logarithm of what each system is weighed by, 0 for the heaviest.
Levels = tuple[float, ...]

# The search for weights: steps in decades, halved from the first to the last, and how far two systems may be apart.
FIRST, LAST, REACH = 2.0, 0.25, 5.0
# Over 113 data sets of 300 images, the standard error of what noise adds was a third of its spread.
NO_INTERVAL = "no interval: how the penalties of several systems are chosen moves a score more than its samples do"
# A step must lower the error by more than rounding does.
LOWER = 1 - 1e-9


def banded_ridge(
    systems: Mapping[str, ArrayLike],
    y: ArrayLike,
    *,
    cv: int | ArrayLike = 5,
    test: float | ArrayLike | None = None,
    score: str = "r2",
    average: str | None = "pooled",
    seed: int = 0,
) -> Any:
    """Predict y from several systems together by ridge regression with a penalty for each, and score held out.

    Each system is brought to a total variance of 1, and weighed; one ridge regression on all of them with the weights w
    is ridge with penalties λ/w. Weights and λ are chosen inside the training folds, as the penalty of `ridge` is: λ
    from its grid, weights by steps of 2, 1, 1/2 and 1/4 decades from equal ones, each taken while it lowers the error
    on left-out training folds. A system that says nothing is weighed down instead of shrinking what the others say.
    Products run in float64.

    Parameters
    ----------
    systems : mapping of str to array or tensor, (samples, units)
        Predictors that saw the same samples.
    y : array or tensor, (samples, units_y)
        Targets.
    cv
        As in `ridge`.
    test, score, average, seed
        As in `regression`.

    Returns
    -------
    array or tensor, () or (units_y,) for `average=None`
        NaN as in `ridge`.

    Raises
    ------
    DataError
        For unusable responses, or folds that do not fit the samples.

    References
    ----------
    Nunez-Elizalde, Huth & Gallant, Voxelwise encoding models with non-spherical multivariate normal priors, NeuroImage
    197, 2019; Dupré la Tour, Eickenberg, Nunez-Elizalde & Gallant, Feature-space selection with banded ridge
    regression, NeuroImage 264, 2022.

    Examples
    --------
    >>> import numpy as np, superpose as sp
    >>> draw = np.random.default_rng(0)
    >>> shape, noise = draw.normal(size=(150, 5)), draw.normal(size=(150, 100))
    >>> v4 = shape + 0.5 * draw.normal(size=shape.shape)
    >>> together = sp.metrics.ridge(np.hstack([shape, noise]), v4, score="r2")
    >>> bool(sp.metrics.banded_ridge({"shape": shape, "noise": noise}, v4) > together + 0.1)
    True
    """
    finish = choose(FINISH, "(score, average)", (score, average))
    how = {"cv": cv, "test": test, "seed": seed}
    return like_input(_score)(y, *systems.values(), names=list(map(str, systems)), how=how, finish=finish)


def _score(
    y: ArrayLike, *systems: ArrayLike, names: list[str], how: Mapping[str, Any], finish: Callable[..., Array]
) -> Array:
    arrays = of_one_repeat(dict(zip([*names, "y"], [*systems, y], strict=True)))
    samples = check_paired(arrays)
    x, bands = side_by_side([as_band(arrays[name]) for name in names])
    split = split_of(samples, **how)
    moments = of_pair(x, arrays["y"].astype(np.float64), split.folds, targets=("y",))
    return finish(fitted_sums(moments, plan=split.plan, fit=_chosen(bands, GRID)))


def as_band(x: Array) -> Array:
    """Return a system in float64 with a total variance of 1, turned by itself if it is wide."""
    return of_unit_variance(turned(x, np.float64)).astype(np.float64)


def side_by_side(bands: list[Array]) -> tuple[Array, tuple[int, ...]]:
    """Return systems in one array, and how many columns each has."""
    return np.hstack(bands), tuple(band.shape[-1] for band in bands)


def of_unit_variance(x: Array) -> Array:
    """Return responses whose variances sum to 1 over the units."""
    total = x.var(axis=-2, dtype=np.float64).sum()
    return (x / np.sqrt(total if total > 0 else 1.0)).astype(np.result_type(x.dtype, np.float32))


def banded(moments: Moments, plan: Plan, *, bands: tuple[int, ...], grid: tuple[float, ...]) -> Iterator[Fitted]:
    """Yield each round's weights under the penalties of bands of predictors that predict its training folds best."""
    search = _Search(moments, plan, bands, grid)
    for _, training in plan.rounds:
        if len(training) < 2:
            yield unchosen(moments, "penalties")
            continue
        levels, fraction = search.best(training)
        scale = _scale(levels, bands)
        fitted = fitted_weights(_weighed(moments, scale), training, Share((fraction,), ()))
        yield Fitted(scale[:, None] * fitted.weights, blurred=fitted.blurred)


class _Search:
    """The error on left-out training folds by levels: what is left without two folds serves two rounds."""

    def __init__(self, moments: Moments, plan: Plan, bands: tuple[int, ...], grid: tuple[float, ...]) -> None:
        self.moments, self.bands, self.grid = moments, bands, np.array(grid)
        self.uses = inner(plan)
        self.known: dict[tuple[Levels, Folds, int], Array] = {}

    def best(self, training: Folds) -> tuple[Levels, float]:
        """Return the levels from which no step lowers the error, and the fraction of the penalty there."""
        at: Levels = (0.0,) * len(self.bands)
        error, fraction = self.tried(training, at)
        step = FIRST
        while step >= LAST:
            moved = False
            for band, by in product(range(len(self.bands)), (step, -step)):
                levels = _moved(at, band, by)
                if min(levels) < -REACH:
                    continue
                lower, its_fraction = self.tried(training, levels)
                if lower < LOWER * error:
                    at, error, fraction, moved = levels, lower, its_fraction, True
            step = step if moved else step / 2
        return at, fraction

    def tried(self, training: Folds, levels: Levels) -> tuple[float, float]:
        """Return the least squared error over the penalties, and the fraction that gives it."""
        cases = [(tuple(f for f in training if f != left_out), left_out) for left_out in training]
        missing = [rest for rest, left_out in cases if (levels, rest, left_out) not in self.known]
        weighed = _weighed(self.moments, _scale(levels, self.bands)) if missing else None
        for rest in missing:
            left_outs = [left_out for left_out, _ in self.uses[rest]]
            assert weighed is not None
            for left_out, errors in zip(left_outs, errors_left_out(weighed, rest, left_outs, self.grid), strict=True):
                self.known[levels, rest, left_out] = errors
        total = np.sum([self.known[levels, *case] for case in cases], axis=0)
        best = int(np.argmin(total))
        return float(total[best]), float(self.grid[best])


def _moved(levels: Levels, band: int, by: float) -> Levels:
    moved = [level + by * (number == band) for number, level in enumerate(levels)]
    return tuple(level - max(moved) for level in moved)


def _scale(levels: Levels, bands: tuple[int, ...]) -> Array:
    """Return what each predictor is multiplied by."""
    return np.repeat(10.0 ** (np.array(levels) / 2), bands)


def _weighed(moments: Moments, scale: Array) -> Moments:
    """Return the sums of scaled predictors, as far as regressions take them: no norms of rows."""
    x = moments.x
    own = replace(
        x,
        shift=x.shift * scale,
        total=x.total * scale,
        diagonal=x.diagonal * scale**2,
        square=x.square * np.outer(scale, scale),
        rows=None if x.rows is None else replace(x.rows, values=x.rows.values * scale),
    )
    return Moments(own, moments.y, replace(moments.cross, product=moments.cross.product * scale[:, None]))


@cache
def _chosen(bands: tuple[int, ...], grid: tuple[float, ...]) -> Fit:
    return partial(banded, bands=bands, grid=grid)


@dataclass(frozen=True)
class BandedRidgeMetric(PredictiveMetric):
    """Held-out banded ridge regression, for `superpose.partition`, which says how many columns each system has."""

    bands: tuple[int, ...] = ()
    grid: tuple[float, ...] = GRID
    exact: ClassVar[bool] = True

    def over(self, bands: tuple[int, ...]) -> BandedRidgeMetric:
        """Return the metric for systems side by side of so many columns each."""
        return replace(self, bands=bands)

    @property
    def alone(self) -> RidgeMetric:
        """The same of one system: ridge regression."""
        return RidgeMetric(self.name, self.kind, self.grid)

    @property
    def fit(self) -> Fit:
        """Ridge regression under the penalties that predict the training folds best."""
        return _chosen(self.bands, self.grid)

    @property
    def invariances(self) -> frozenset[str]:
        """As of other regressions, but for rotations, which mix the systems."""
        return frozenset({"scale", "translation"})

    def planned(self, plan: Plan) -> MomentMetric:
        """Return the metric for the folds of `plan`: of predictors as they are, each system apart."""
        if not self.bands:
            raise DataError(f"{self.name} is of several systems together; expected ridge_r2 or ridge_r for one.")
        return replace(super().planned(plan), in_parts=None, influence=None, no_interval=NO_INTERVAL)


BANDED = About(
    "banded ridge",
    "y and its prediction from several systems together, a penalty for each",
    "that of ridge_r for each weighing that is tried",
    "Dupré la Tour et al. 2022",
)
BANDED_R = described(BandedRidgeMetric("banded_r", ("r", "pooled")), BANDED)
BANDED_R2 = described(BandedRidgeMetric("banded_r2", ("r2", "pooled")), BANDED)
