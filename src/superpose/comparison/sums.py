"""The sums of several systems and pairs, as many at once as the memory holds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from superpose.comparison.design import Design
from superpose.comparison.pairs import Directions, Pair
from superpose.moments import (
    Moments,
    Own,
    Precision,
    accumulate_about_means,
    chunk_rows,
    reader,
    row_blocks,
)

Array = NDArray[Any]

# Sums of one pair, own or crossed, that a regression has in hand at once.
SOLVING = 12
# The part of the memory that what fits made of systems' own sums may take.
FACTORS = 8
# The part of those that one system's may take, of the two in hand.
SHELVES = 2
# Bytes of a row's share in a system's own sums, and the part of the memory that such shares may take.
ROW, SHARE = 16, 16
# What drawn rows add to a system's own sums, by system and by what takes it.
OwnRows = dict[tuple[str, Callable[..., Any]], Any]


@dataclass
class Held:
    """What is known of systems, each taken once for all pairs: means, own sums, `exact` ones, what rows add to those.

    Exact sums are of products in float64, where some metric needed them though others do not.
    """

    means: dict[str, Array]
    sums: dict[str, Own]
    exact: dict[str, Own]
    rows: OwnRows
    partners: Counter[str]

    def shelve(self, own: Mapping[str, Own], design: Design) -> None:
        """Say how much of what fits make of systems' sums is kept for further partners, or permutations of one."""
        for name, sums in own.items():
            sums.kept.room = design.memory / FACTORS / SHELVES
            sums.kept.further = self.partners[name] > 1 or design.permutations > 0

    def let_go(self, names: tuple[str, str], memory: int) -> None:
        """Leave exact sums, and what fits made of sums, only where they have room; first of what was asked for last."""
        for name in names:
            # The last in order are the last that were used.
            self.sums[name] = self.sums.pop(name)
            if name in self.exact:
                self.exact[name] = self.exact.pop(name)
        free = memory / FACTORS
        for name, own in reversed(list(self.sums.items())):
            exact = self.exact.get(name)
            if exact is not None:
                free -= exact.square.nbytes + exact.kept.nbytes
                if free < 0:
                    del self.exact[name]
            free -= own.kept.nbytes
            if free < 0:
                own.kept.clear()


def shares_held(systems: int, rows: int, memory: int) -> bool:
    """Return whether what so many rows of so many systems add to their own sums may be kept for further pairs."""
    return systems * rows * ROW <= memory / SHARE


class Sums:
    """The moments of some systems and pairs, and readers of the same rows, in one precision."""

    def __init__(
        self,
        arrays: Mapping[str, Array],
        couples: Sequence[tuple[str, str]],
        design: Design,
        means: Mapping[str, Array],
        precision: Precision | None = None,
        known: Mapping[str, Own] | None = None,
    ) -> None:
        self.design = design
        self.own, self.cross = accumulate_about_means(
            arrays, couples, design.folds, means, targets=known or (), precision=precision
        )
        self.own |= known or {}
        self.rows = min(chunk_rows(arrays.values()), len(design.folds))
        self.read = {name: reader(x, means[name], self.rows, precision) for name, x in arrays.items()}

    def directions(self, a: str, b: str, units: Mapping[str, int]) -> Directions:
        """Return one pair of them, both ways."""
        moments = Moments(self.own[a], self.own[b], self.cross[a, b])
        over = (moments, moments.merged(self.design.plan.held_out))
        blocks = list(row_blocks(len(self.design.folds), self.rows, self.design.folds))
        pair = Pair((a, b), (self.read[a], self.read[b]), (units[a], units[b]), over, blocks)
        return pair, pair.swapped()


def tiles(
    couples: Sequence[tuple[str, str]], units: Mapping[str, int], folds: int, memory: int
) -> list[list[tuple[str, str]]]:
    """Return the pairs in groups whose sums fit in so many bytes: of blocks of systems, each block with each.

    With L systems in blocks of b, the rows of each are read L/b times, by chunks, and never held.

    Examples
    --------
    >>> from superpose.comparison import tiles
    >>> pairs = [("a", "b"), ("a", "c"), ("b", "c")]
    >>> tiles(pairs, dict.fromkeys("abc", 100), 1, 10**9)
    [[('a', 'b'), ('a', 'c'), ('b', 'c')]]
    >>> tiles(pairs, dict.fromkeys("abc", 100), 1, 10**6)
    [[('a', 'b')], [('a', 'c')], [('b', 'c')]]
    """
    names = list(dict.fromkeys(name for couple in couples for name in couple))
    square = 8 * folds * max(units[name] for name in names) ** 2
    # Every system's own sums are kept, and solving one pair takes the like of some more.
    free = memory - memory // FACTORS - (len(names) + SOLVING) * square
    block = next((b for b in range(len(names), 1, -1) if b**2 * square <= free), 1)
    if block >= len(names) / 2 and len(couples) * square <= free:
        return [list(couples)]
    place = {name: number // block for number, name in enumerate(names)}
    found: dict[tuple[int, int], list[tuple[str, str]]] = {}
    for a, b in couples:
        low, high = sorted((place[a], place[b]))
        found.setdefault((low, high), []).append((a, b))
    return list(found.values())
