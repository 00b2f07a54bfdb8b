"""The memory that a comparison cannot do without, and what fits where there is less."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from superpose.comparison.design import Design
from superpose.comparison.kernel_tiles import bytes_held
from superpose.comparison.routes import kernels_alone
from superpose.files import DataError, argument
from superpose.metrics import MomentMetric, PairwiseMetric

FLOAT = 8
# Squares of the wider system of a pair that kernels take: a product, its factor, and what rows are multiplied with.
KERNEL = 6
# In each round of a regression, squares of the wider system and products of both: as it is solved, and for each kind of
# score the forms that rows are put into.
SQUARES, SQUARES_A_KIND = 3.4, 1.2
PRODUCTS, PRODUCTS_A_KIND = 5.0, 2.0
# What a pair takes is told within this factor: a comparison is refused beyond it.
COARSE = 2
# What a chunk of rows takes in any case.
LITTLE = 2**25


def bytes_of_pair(units: Mapping[str, int], couple: tuple[str, str], metrics: Sequence[Any], design: Design) -> int:
    """Return what sums of all systems and the work of one pair take, after measurement at 800 and 1,600 units.

    `units` are directions, of systems that are turned.
    """
    p, q = sorted((units[name] for name in couple), reverse=True)
    folds, rounds = int(design.folds.max()) + 1, len(design.plan.rounds)
    squares = folds * (sum(width**2 for width in units.values()) + p * q)
    kinds = len({metric.name for metric in metrics if isinstance(metric, MomentMetric) and metric.family.split})
    solving = (SQUARES + SQUARES_A_KIND * kinds) * p**2 + (PRODUCTS + PRODUCTS_A_KIND * kinds) * p * q
    return int(FLOAT * (squares + max(KERNEL * p**2, rounds * solving if kinds else 0)))


def least_bytes(
    samples: int, units: Mapping[str, int], couples: Sequence[tuple[str, str]], metrics: Sequence[Any], design: Design
) -> int:
    """Return what one pair at a time takes, or tiles of kernels, where these are all that is asked for.

    Parameters
    ----------
    samples : int
        Of each system: those of more units are turned onto so many directions.
    units : mapping of int
        Of each system.
    couples, metrics, design
        As in `superpose.comparison.over_pairs`.
    """
    turned = {name: min(width, samples) for name, width in units.items()}
    if kernels_alone(couples, metrics, turned, design):
        return bytes_held(list(turned.values()), samples, len(design.drawn.index))
    whole = units if any(_takes_units(metric) for metric in metrics) else turned
    return max(bytes_of_pair(whole, couple, metrics, design) for couple in couples)


def check_room(
    samples: int, units: Mapping[str, int], couples: Sequence[tuple[str, str]], metrics: Sequence[Any], design: Design
) -> None:
    """Raise a DataError that names what fits unless one pair at a time fits in the memory; as `least_bytes`."""
    memory, room = max(design.memory, LITTLE), COARSE * max(design.memory, LITTLE)
    counted = [metric for metric in metrics if isinstance(metric, MomentMetric | PairwiseMetric)]
    least = partial(least_bytes, samples, units, couples, design=design)
    if not counted or least(counted) <= room:
        return
    fitting = [metric.name for metric in counted if least([metric]) <= room]
    raise DataError(
        f"{argument('memory')} of {_in_words(memory)} is too little: the sums of one pair take up to "
        f"{_in_words(least(counted))}. "
        + (f"Alone would fit {', '.join(fitting)}; or raise it" if fitting else "Raise it")
        + ", or take fewer samples or units."
    )


def _takes_units(metric: Any) -> bool:
    """Say whether a metric takes products of the units of a wide system with each other."""
    bound = isinstance(metric, MomentMetric) and metric.in_parts is None and "rotation" not in metric.invariances
    return bound and metric.family.squares


def _in_words(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{-(-size // 10**6)} MB"
