"""The columns of a table: units, labels, and pandas' index, which is never a unit and never lost."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from superpose.arrays.labels import KINDS, LABELS, SAMPLES, UNITS, UNNAMED
from superpose.files import DataError
from superpose.recordings.axes import TIMES
from superpose.recordings.choice import listed

# Fewer rows may count by chance.
COUNTED = 5
# Names of axes, and what ends in this, are no names of units.
ROWS = {*TIMES, *(name + plural for name in (*UNITS, *SAMPLES) for plural in ("", "s"))}
IDENTIFIER = re.compile(r"[ _-]?(ids?|index|number|nr|name)$")


class Columns(NamedTuple):
    """Which columns of a table are units, which labels of each kind, and which an index that is neither by name."""

    units: list[int]
    labels: dict[str, int]
    levels: list[int]


class Level(NamedTuple):
    """A level of an index: its name, "" where it has none, and its labels."""

    name: str
    labels: NDArray[Any]


def columns_of(what: str, titles: Sequence[str], count: int, index: Collection[int] = ()) -> Columns:
    """Part the columns of a table by their names; `index` are those that are known to be pandas' index.

    Raises
    ------
    DataError
        For two columns of one kind of labels, or no units.
    """
    names = [title.strip().lower() for title in titles]
    labels: dict[str, int] = {}
    for kind, spellings in LABELS.items():
        at = [i for i, name in enumerate(names) if name in spellings]
        if len(at) > 1:
            raise DataError(f"{what} has {len(at)} columns for {kind}; expected one of {', '.join(spellings[:2])}.")
        if at:
            labels[kind] = at[0]
    first = next((i for i, name in enumerate(names) if not UNNAMED.fullmatch(name)), len(names))
    made_up = {i for i, name in enumerate(names) if i < first or name.startswith(("unnamed: ", "__index_level_"))}
    levels = [i for i in range(count) if (i in made_up or i in index) and i not in labels.values()]
    units = [i for i in range(count) if i not in (*labels.values(), *levels)]
    _check_units(what, [names[i] for i in units if i < len(names)])
    return Columns(units, labels, levels)


def _check_units(what: str, names: Sequence[str]) -> None:
    """Raise a DataError if one of several columns of units tells rows apart by its name, as a long table has it."""
    for name in names if len(names) > 1 else ():
        of = IDENTIFIER.sub("", name)
        tells = of in ROWS or (name != of and of in KINDS)
        if tells and not any(re.fullmatch(rf"{re.escape(name)}[ ._]?\d+", other) for other in names):
            raise DataError(
                f"{what}: the column {listed([name])!r} tells rows apart by its name, and is no unit; name it "
                f"{_one_of_each()}, or leave it out. Turn a table of one response per row into one column per "
                "unit by frame.pivot(index='stimulus', columns='unit', values='response')."
            )


def title_of(title: str) -> str:
    """Return the name of a level, "" for one that pandas made up.

    Examples
    --------
    >>> from superpose.recordings.columns import title_of
    >>> title_of("Unnamed: 0"), title_of("photograph")
    ('', 'photograph')
    """
    return "" if UNNAMED.fullmatch(title.strip().lower()) else title


def counts(labels: NDArray[Any], start: int = 0) -> bool:
    """Return whether labels number the rows, as those of an index do that nobody chose."""
    return labels.tolist() == [str(row) for row in range(start, start + len(labels))]


def index_stimuli(what: str, levels: Sequence[Level], labels: Collection[str]) -> Level | None:
    """Return the stimuli that an index holds beside columns of some kinds of labels, or None.

    One that numbers the rows is an index that nobody chose: it gives way to a column of stimuli, and so does any index
    of numbers without a name, which is left of a larger table.

    Raises
    ------
    DataError
        If other levels would be lost.
    """
    own: list[Level] = []
    for level in levels:
        if not counts(level.labels) and not any(level.labels.tolist() == other.labels.tolist() for other in own):
            own.append(level)
    if "stimuli" in labels:
        own = [level for level in own if level.name or not _numbers(level.labels)]
        if own:
            raise DataError(
                f"{what} has a column of stimuli and an index {_shown(own)}; name the index {_one_of_each()}, or leave "
                "it out (reset_index(drop=True))."
            )
        return None
    if len(own) > 1:
        raise DataError(
            f"{what} has an index of several levels ({_shown(own)}); name them {_one_of_each()}, or join them into one."
        )
    if own:
        return own[0]
    return Level("", levels[0].labels) if levels else None


def check_no_counter(what: str, title: str, values: NDArray[Any]) -> None:
    """Raise a DataError if the first of several units numbers the rows, as an index does that pandas or R wrote."""
    rows = len(values)
    for start in (0, 1):
        if rows >= COUNTED and np.array_equal(values, np.arange(start, start + rows)):
            raise DataError(
                f"{what}: the first column, {title[:40]!r}, numbers the rows from {start}; name it stimulus if it is "
                "an index, or leave it out."
            )


def _numbers(labels: NDArray[Any]) -> bool:
    return all(re.fullmatch(r"-?\d+", str(label)) for label in labels)


def _shown(levels: Sequence[Level]) -> str:
    return ", ".join(f"{listed([level.name])!r}" if level.name else "without a name" for level in levels)


def _one_of_each() -> str:
    return ", ".join(spellings[0] for spellings in LABELS.values())
