"""Whether a metric keeps its word: hostile numbers, precision, the invariances that it declares, and good manners."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from superpose.arrays import shuffled_folds
from superpose.files import DataError
from superpose.metrics.metric import INVARIANCES, Metric

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[Any]
Pair = tuple[Array, Array]

# Neighbours lie in one contiguous fold, for any usual number of folds of this many samples.
SAMPLES = 120
PRECISION = 1e-5
ROUNDING = 1e-6


@dataclass(frozen=True)
class Finding:
    """What one check of a metric found: a row of the table."""

    check: str
    property: str
    passed: bool
    draws: int
    detail: str = ""


def check_metric(metric: Metric, *, draws: int = 20, seed: int = 0) -> pd.DataFrame:
    """Try a metric on hostile numbers, in float32, under the invariances that it declares, and on what it touches.

    A check that fails is a row of the table, never an exception. In a test of your own metric::

        assert superpose.check_metric(metric).passed.all()

    Parameters
    ----------
    metric : Metric
        A callable of two arrays with `name`, `directed`, `invariances` and `minimum_samples`, and
        `higher_is_closer = False` if it is a distance.
    draws : int
        How many random pairs each property is tried on.
    seed : int
        Determines the pairs.

    Returns
    -------
    pandas.DataFrame
        One row a property:

        - `check`: "description" (what the metric says of itself); "numbers" (NaN, infinities, complex numbers,
          constant or unpaired systems, no samples or too few must give no score: a ValueError or TypeError with a
          message, or NaN; units that outnumber the samples must not make unrelated systems equal; integers, booleans
          and float16 score as float64); "precision" (float32 against float64, within 1e-5); "invariance" (declared
          ones hold on either side, so do exchanging the systems of a symmetric metric, reordering samples, and the
          score of a system with itself, 1, or 0 for a distance; an undeclared one should fail); "manners" (equal
          calls give equal bits, nothing is written to, memory layout does not matter, leading axes are independent
          repeats or are refused).
        - `property`: what was tried.
        - `passed`: whether it held. An undeclared invariance that holds passes, and is noted in `detail`.
        - `draws`: on how many pairs.
        - `detail`: what went wrong, how far off, or what there is to note.

    Raises
    ------
    DataError
        If what is given is not a metric, or draws is not at least 1.

    Notes
    -----
    Samples of a symmetric metric may be reordered at will. For a directed one neighbours exchange places that
    `superpose.compare` draws into one fold, which leaves its folds and contiguous ones alone: a score over other folds
    that are drawn from the order of rows fails.

    Examples
    --------
    >>> import superpose as sp
    >>> table = sp.check_metric(sp.metrics.CKA, draws=5)
    >>> bool(table.passed.all()), sorted(set(table.check))
    (True, ['description', 'invariance', 'manners', 'numbers', 'precision'])
    """
    import pandas as pd

    lacking = [name for name in ("name", "directed", "invariances", "minimum_samples") if not hasattr(metric, name)]
    if lacking or not callable(metric):
        raise DataError(
            f"check_metric was given {type(metric).__name__}, which lacks {', '.join(lacking) or '__call__'}; expected "
            "a metric: a callable of two arrays with name, directed, invariances and minimum_samples."
        )
    if not isinstance(draws, int | np.integer) or draws < 1:
        raise DataError(f"draws is {draws!r}; expected an integer of at least 1.")
    seeds = [int(s) for s in np.random.SeedSequence(seed).generate_state(draws)]
    with warnings.catch_warnings(action="ignore"):
        rows = [asdict(finding) for check in CHECKS for finding in check(metric, seeds)]
    return pd.DataFrame(rows)


def random_pair(seed: int, samples: int = SAMPLES, units: tuple[int, int] | None = None) -> tuple[Any, Array, Array]:
    """Return a generator, and two systems of 2 to 8 units that share latents, with offsets and noise."""
    draw = np.random.default_rng(seed)
    wide_x, wide_y = units or (int(draw.integers(2, 9)), int(draw.integers(2, 9)))
    z = draw.normal(size=(samples, 10))
    x = z @ draw.normal(size=(10, wide_x)) + 2.0
    y = z @ draw.normal(size=(10, wide_y)) - 1.0
    return draw, x, y + 0.5 * draw.normal(size=y.shape)


def rotated(draw: np.random.Generator, x: Array) -> Array:
    """Return the responses in another orthonormal basis."""
    return x @ _orthogonal(draw, x.shape[1])


def scaled(draw: np.random.Generator, x: Array) -> Array:
    """Return the responses in another unit of measurement."""
    return x * np.exp(draw.uniform(-8, 8))


def permuted(draw: np.random.Generator, x: Array) -> Array:
    """Return the responses with their units in another order."""
    return x[:, draw.permutation(x.shape[1])]


def translated(draw: np.random.Generator, x: Array) -> Array:
    """Return the responses with another mean."""
    return x + 20 * draw.normal(size=x.shape[1])


def mapped(draw: np.random.Generator, x: Array) -> Array:
    """Return the responses under an invertible map, of condition at most exp(4)."""
    width = x.shape[1]
    return x @ (_orthogonal(draw, width) * np.exp(draw.uniform(-2, 2, width))) @ _orthogonal(draw, width)


CHANGES: dict[str, Callable[[np.random.Generator, Array], Array]] = {
    "linear": mapped,
    "permutation": permuted,
    "rotation": rotated,
    "scale": scaled,
    "translation": translated,
}


def _orthogonal(draw: np.random.Generator, width: int) -> Array:
    return np.linalg.qr(draw.normal(size=(width, width)))[0]


class _Refused(Exception):
    """The metric gave no score, in words."""


class _Fault(Exception):
    """The metric did what no metric may do."""


def _score(metric: Metric, x: Any, y: Any) -> float:
    """Return a score; raise _Refused where there is none by right, _Fault for any other outcome."""
    try:
        value = metric(x, y)
    except (ValueError, TypeError) as error:
        if not str(error).strip():
            raise _Fault(f"raised {type(error).__name__} without a message") from None
        raise _Refused(" ".join(str(error).split())) from None
    except Exception as error:
        raise _Fault(f"raised {type(error).__name__}: {error}") from None
    array = np.asarray(value)
    if array.shape != () or array.dtype.kind not in "fiu":
        raise _Fault(f"returned {type(value).__name__} of shape {array.shape}; expected one real number")
    return float(array)


def _distance(a: float, b: float) -> float:
    """Return how far apart two scores are, relative to their size where that is above 1; both NaN are equal."""
    if np.isnan(a) and np.isnan(b):
        return 0.0
    gap = abs(a - b) / max(1.0, abs(a))
    return float(gap) if np.isfinite(gap) else float("inf")


def _worst(gaps: Iterable[float]) -> tuple[float, str]:
    """Return the largest of some differences, and the fault or refusal that kept one from being taken."""
    worst = 0.0
    try:
        for gap in gaps:
            worst = max(worst, gap)
    except (_Fault, _Refused) as error:
        return float("inf"), f"{'refused: ' if isinstance(error, _Refused) else ''}{error}"
    return worst, ""


def _held(check: str, name: str, gaps: Iterable[float], limit: float, draws: int) -> Finding:
    worst, fault = _worst(gaps)
    detail = fault or f"the score changes by up to {worst:.1e}; at most {limit:g} is rounding"
    return Finding(check, name, worst <= limit, draws, "" if worst <= limit else detail)


def _description(metric: Metric, seeds: list[int]) -> Iterator[Finding]:
    wanted = {
        "name": isinstance(metric.name, str) and metric.name != "",
        "directed": isinstance(metric.directed, bool),
        "invariances": isinstance(metric.invariances, frozenset) and metric.invariances <= INVARIANCES,
        "minimum_samples": isinstance(metric.minimum_samples, int) and metric.minimum_samples >= 1,
    }
    expected = {
        "name": "text",
        "directed": "True or False",
        "invariances": f"a frozenset out of {', '.join(sorted(INVARIANCES))}",
        "minimum_samples": "an integer of at least 1",
    }
    for name, good in wanted.items():
        detail = "" if good else f"is {getattr(metric, name)!r}; expected {expected[name]}"
        yield Finding("description", name, good, 1, detail)


def _without_score(metric: Metric, seeds: list[int]) -> Iterator[Finding]:
    """Yield what must not give a score: on either side, for every draw."""
    for name, spoil in SPOILED.items():
        yield _none("numbers", name, metric, (pair for seed in seeds for pair in _sides(seed, spoil)), 2 * len(seeds))
    pairs = [random_pair(seed)[1:] for seed in seeds]
    yield _none("numbers", "unpaired samples", metric, ((x[:-1], y) for x, y in pairs), len(seeds))
    for samples in range(min(3, max(metric.minimum_samples, 1))):
        few = (tuple(z[:samples] for z in pair) for pair in pairs)
        yield _none("numbers", f"{samples} sample(s)", metric, few, len(seeds))


def _none(check: str, name: str, metric: Metric, pairs: Iterable[Any], draws: int) -> Finding:
    for x, y in pairs:
        try:
            score = _score(metric, x, y)
        except _Refused:
            continue
        except _Fault as fault:
            return Finding(check, name, False, draws, str(fault))
        if not np.isnan(score):
            return Finding(check, name, False, draws, f"scored {score:.6g}; expected an error in words, or NaN")
    return Finding(check, name, True, draws)


def _sides(seed: int, spoil: Callable[[np.random.Generator, Array], Array]) -> Iterator[Pair]:
    draw, x, y = random_pair(seed)
    yield spoil(draw, x.copy()), y
    yield x, spoil(draw, y.copy())


def _one_value(value: float) -> Callable[[np.random.Generator, Array], Array]:
    def spoil(draw: np.random.Generator, x: Array) -> Array:
        x[draw.integers(len(x)), draw.integers(x.shape[1])] = value
        return x

    return spoil


def _column_of_nan(draw: np.random.Generator, x: Array) -> Array:
    x[:, draw.integers(x.shape[1])] = np.nan
    return x


SPOILED: dict[str, Callable[[np.random.Generator, Array], Array]] = {
    "NaN": _one_value(np.nan),
    "a unit of NaN": _column_of_nan,
    "infinity": _one_value(np.inf),
    "minus infinity": _one_value(-np.inf),
    "complex numbers": lambda draw, x: x + 1j * draw.normal(size=x.shape),
    "text": lambda draw, x: x.astype(str),
    "one dimension": lambda draw, x: x[:, 0],
    "no units": lambda draw, x: x[:, :0],
    "a constant system": lambda draw, x: np.broadcast_to(x[:1], x.shape).copy(),
    "a system of zeros": lambda draw, x: np.zeros_like(x),
}


def _numbers(metric: Metric, seeds: list[int]) -> Iterator[Finding]:
    """Yield what must give a score, or refuse it in words: unusual types and degenerate shapes."""
    for kind in ("int8", "uint16", "int64", "bool", "float16", ">f4", "longdouble"):
        gaps = (_against_float64(metric, seed, kind) for seed in seeds)
        limit = PRECISION if kind in ("float16", ">f4") else ROUNDING
        finding = _held("numbers", f"{kind} as float64", gaps, limit, len(seeds))
        yield _may_refuse(finding)
    yield _scores("numbers", "constant units among others", metric, (_with_constants(seed) for seed in seeds), seeds)
    yield _scores("numbers", "one unit a system", metric, (random_pair(s, units=(1, 1))[1:] for s in seeds), seeds)
    yield _more_units_than_samples(metric, seeds)


def _may_refuse(finding: Finding) -> Finding:
    if not finding.detail.startswith("refused: "):
        return finding
    return Finding(finding.check, finding.property, True, finding.draws, finding.detail)


def _against_float64(metric: Metric, seed: int, kind: str) -> float:
    x, y = (np.clip(np.round(10 * z) + 40, 0, 120) for z in random_pair(seed)[1:])
    if kind == "bool":
        x, y = (z > np.median(z, axis=0) for z in (x, y))
    return _distance(
        _score(metric, x.astype(np.float64), y.astype(np.float64)), _score(metric, x.astype(kind), y.astype(kind))
    )


def _with_constants(seed: int) -> Pair:
    _, x, y = random_pair(seed)
    return np.hstack([x, np.full((len(x), 2), 0.1)]), np.hstack([np.zeros((len(y), 1)), y])


def _scores(check: str, name: str, metric: Metric, pairs: Iterable[Any], seeds: list[int]) -> Finding:
    """Return whether all pairs give finite scores, or are refused in words."""
    note = ""
    for x, y in pairs:
        try:
            score = _score(metric, x, y)
        except _Refused as words:
            note = f"refused: {words}"
            continue
        except _Fault as fault:
            return Finding(check, name, False, len(seeds), str(fault))
        if not np.isfinite(score):
            return Finding(check, name, False, len(seeds), f"scored {score}; expected a number, or an error in words")
    return Finding(check, name, True, len(seeds), note)


def _more_units_than_samples(metric: Metric, seeds: list[int]) -> Finding:
    """Return whether unrelated systems stay apart where the units outnumber the samples."""
    name = "more units than samples"
    for seed in seeds:
        draw = np.random.default_rng(seed)
        x, y = draw.normal(size=(12, 40)), draw.normal(size=(12, 30))
        try:
            score = _score(metric, x, y)
        except _Refused:
            continue
        except _Fault as fault:
            return Finding("numbers", name, False, len(seeds), str(fault))
        if abs(score - _of_itself(metric)) < ROUNDING:
            detail = f"scored unrelated systems {score:.6g}, as if they were equal; expected NaN, or an error in words"
            return Finding("numbers", name, False, len(seeds), detail)
    return Finding("numbers", name, True, len(seeds))


def _of_itself(metric: Metric) -> float:
    return 1.0 if getattr(metric, "higher_is_closer", True) else 0.0


def _precision(metric: Metric, seeds: list[int]) -> Iterator[Finding]:
    """Yield the difference between the same numbers in float32 and in float64, with and without an offset."""
    for offset in (0, 1000):
        gaps = (_between_precisions(metric, seed, offset) for seed in seeds)
        yield _held("precision", f"float32, offset {offset}", gaps, PRECISION, len(seeds))


def _between_precisions(metric: Metric, seed: int, offset: float) -> float:
    x, y = ((z + offset).astype(np.float32) for z in random_pair(seed)[1:])
    return _distance(_score(metric, x.astype(np.float64), y.astype(np.float64)), _score(metric, x, y))


def _invariances(metric: Metric, seeds: list[int]) -> Iterator[Finding]:
    for name in sorted(CHANGES):
        if name in metric.invariances:
            gaps = (max(changes(metric, name, seed)) for seed in seeds)
            yield _held("invariance", name, gaps, ROUNDING, len(seeds))
        else:
            worst, fault = _worst(max(changes(metric, name, seed)) for seed in seeds)
            note = "" if worst > ROUNDING else "holds, though it is not declared"
            yield Finding("invariance", f"{name} (not declared)", not fault, len(seeds), fault or note)
    exchange = (exchanged(metric, seed) for seed in seeds)
    if metric.directed:
        worst, fault = _worst(exchange)
        note = "" if worst > ROUNDING else "the score is symmetric, though it is declared directed"
        yield Finding("invariance", "direction", not fault, len(seeds), fault or note)
    else:
        yield _held("invariance", "symmetry", exchange, ROUNDING, len(seeds))
    yield _held("invariance", "order of samples", (reordered(metric, s) for s in seeds), ROUNDING, len(seeds))
    yield _held("invariance", "a system is itself", (from_itself(metric, s) for s in seeds), ROUNDING, len(seeds))


def changes(metric: Metric, name: str, seed: int) -> tuple[float, float]:
    """Return how much the score changes where x, and where y, is changed in a way that an invariance names."""
    draw, x, y = random_pair(seed)
    change = CHANGES[name]
    before = _score(metric, x, y)
    first, second = _score(metric, change(draw, x), y), _score(metric, x, change(draw, y))
    return _distance(before, first), _distance(before, second)


def exchanged(metric: Metric, seed: int) -> float:
    """Return how much the score changes where the systems exchange places."""
    _, x, y = random_pair(seed)
    return _distance(_score(metric, x, y), _score(metric, y, x))


def reordered(metric: Metric, seed: int) -> float:
    """Return how much the score changes where the samples of both systems are reordered alike."""
    draw, x, y = random_pair(seed)
    order = draw.permutation(len(x))
    if metric.directed:
        pairs = np.arange(len(x)).reshape(-1, 2)
        together = np.diff(shuffled_folds(len(x), 5)[pairs]) == 0
        order = (pairs ^ (together * draw.integers(2, size=together.shape))).ravel()
    return _distance(_score(metric, x, y), _score(metric, x[order], y[order]))


def from_itself(metric: Metric, seed: int) -> float:
    """Return how far the score of a system with itself is from what it should be."""
    x = random_pair(seed)[1]
    return _distance(_of_itself(metric), _score(metric, x, x))


def _manners(metric: Metric, seeds: list[int]) -> Iterator[Finding]:
    yield _held("manners", "equal calls, equal bits", (_again(metric, s) for s in seeds), 0.0, len(seeds))
    for name, view in LAYOUTS.items():
        yield _held("manners", name, (_laid_out(metric, view, seed) for seed in seeds), ROUNDING, len(seeds))
    yield Finding("manners", "nothing is written to", *_untouched(metric, seeds))
    yield _repeats(metric, seeds)


def _again(metric: Metric, seed: int) -> float:
    _, x, y = random_pair(seed)
    return _distance(_score(metric, x, y), _score(metric, x.copy(), y.copy()))


def _every_other(x: Array) -> Array:
    wide = np.zeros((2 * len(x), 2 * x.shape[1]))
    wide[::2, 1::2] = x
    return wide[::2, 1::2]


def _read_only(x: Array) -> Array:
    x = x.copy()
    x.flags.writeable = False
    return x


LAYOUTS: dict[str, Callable[[Array], Array]] = {
    "columns first in memory": np.asfortranarray,
    "strided": _every_other,
    "reversed in memory": lambda x: np.ascontiguousarray(x[::-1])[::-1],
    "read-only": _read_only,
}


def _laid_out(metric: Metric, view: Callable[[Array], Array], seed: int) -> float:
    _, x, y = random_pair(seed)
    return _distance(_score(metric, x, y), _score(metric, view(x), view(y)))


def _untouched(metric: Metric, seeds: list[int]) -> tuple[bool, int, str]:
    for seed in seeds:
        _, x, y = random_pair(seed)
        kept = x.copy(), y.copy()
        _, fault = _worst(0.0 * abs(_score(metric, *pair)) for pair in [(x, y)])
        if fault:
            return False, len(seeds), fault
        for name, now, before in zip("xy", (x, y), kept, strict=True):
            if not np.array_equal(now, before):
                return False, len(seeds), f"{name} was changed"
    return True, len(seeds), ""


def _repeats(metric: Metric, seeds: list[int]) -> Finding:
    """Return whether leading axes are independent repeats, each scored as if it were alone."""
    name = "leading axes are repeats"
    pairs = [random_pair(seed, units=(5, 4))[1:] for seed in seeds]
    x, y = (np.stack(systems) for systems in zip(*pairs, strict=True))
    try:
        scores = np.asarray(metric(x, y))
    except (ValueError, TypeError) as words:
        return Finding("manners", name, True, len(seeds), f"refused: {' '.join(str(words).split())}")
    except Exception as error:
        return Finding("manners", name, False, len(seeds), f"raised {type(error).__name__}: {error}")
    if scores.shape != (len(seeds),):
        return Finding("manners", name, False, len(seeds), f"{x.shape} gives {scores.shape}; expected ({len(seeds)},)")
    gaps = (_distance(_score(metric, *pair), float(score)) for pair, score in zip(pairs, scores, strict=True))
    return _held("manners", name, gaps, ROUNDING, len(seeds))


CHECKS = (_description, _without_score, _numbers, _precision, _invariances, _manners)
