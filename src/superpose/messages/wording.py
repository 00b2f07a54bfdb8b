"""Numbers as people write them in a paper."""

from __future__ import annotations

import math


def p_value(p: float | None, permutations: int | None = None) -> str:
    """Return a p-value in words, and that it is the smallest that so many permutations can give, where it is.

    Parameters
    ----------
    p : float
        NaN gives nothing.
    permutations : int, optional
        How many it was taken from, (1 + b) / (1 + permutations).

    Examples
    --------
    >>> from superpose.messages.wording import p_value
    >>> p_value(0.0004), p_value(0.0126), p_value(0.41), p_value(0.001, 999)
    ('p < .001', 'p = .013', 'p = .41', 'p = .001, the smallest possible of 999 permutations')
    """
    if p is None or math.isnan(p):
        return ""
    said = f"p {p_number(p)}" if p < 0.0005 else f"p = {p_number(p)}"
    least = permutations and p <= 1.0001 / (1 + permutations)
    return f"{said}, the smallest possible of {permutations:,} permutations" if least else said


def percent(share: float, places: int = 0) -> str:
    """Return a share as a percentage.

    Examples
    --------
    >>> from superpose.messages.wording import percent
    >>> percent(0.97), percent(0.0123, 1)
    ('97 %', '1.2 %')
    """
    return f"{100 * share:.{places}f} %"


def p_number(p: float | None) -> str:
    """Return the number alone, to two digits and three places: .013, .41, < .001; nothing for NaN.

    Examples
    --------
    >>> from superpose.messages.wording import p_number
    >>> [p_number(p) for p in (0.0126, 0.41, 0.0002, 1.0)]
    ['.013', '.41', '< .001', '1']
    """
    if p is None or math.isnan(p):
        return ""
    if p < 0.0005:
        return "< .001"
    return f"{round(p, 3):.2g}".removeprefix("0")
