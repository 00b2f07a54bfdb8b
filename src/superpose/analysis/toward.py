"""Pairs of every other system with some."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from superpose.arrays import meant
from superpose.files import DataError, argument


def toward(systems: Iterable[str], targets: Sequence[str]) -> list[tuple[str, str]]:
    """Return the pairs of each other system with each target.

    Raises
    ------
    DataError
        For a target that is no system, or none.

    Examples
    --------
    >>> from superpose.analysis.toward import toward
    >>> toward(["layer1", "layer2", "V4"], ["V4"])
    [('layer1', 'V4'), ('layer2', 'V4')]
    """
    names = list(map(str, systems))
    for target in targets:
        if target not in names:
            raise DataError(
                f"{argument('targets')} is {target!r}; expected some of {', '.join(names)}.{meant(target, names)}"
            )
    pairs = [(name, target) for target in targets for name in names if name not in targets]
    if not pairs:
        raise DataError(f"{argument('targets')} names {len(targets)} of {len(names)} systems; expected some, not all.")
    return pairs
