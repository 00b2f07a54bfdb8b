"""What a paper says about a figure, each statement judged by a number from the figure's own table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import pandas as pd
from scipy.stats import norm
from scipy.stats import t as student

# Standard errors that a number allows for.
ERRORS = 3.0
# Draws that show at least that a distance is small. The standard error of five is below .3 of the true one in 1 % of
# tables, that of two in 24 %.
FEWEST = 5


Rows = TypeVar("Rows", pd.DataFrame, "pd.Series[float]")


class Untested(Exception):
    """The table lacks what a claim is about; the message says what."""


class Estimate(float):
    """A number taken from means over draws, which allows for three of their standard errors.

    Attributes
    ----------
    allowing : callable
        Standard errors to allow for → the number.
    error : float
        The largest standard error; 0 where the number has no scale to compare it with.
    """

    allowing: Callable[[float], float]
    error: float

    def __new__(cls, allowing: Callable[[float], float], error: float = 0.0) -> Estimate:
        number = super().__new__(cls, allowing(ERRORS))
        number.allowing, number.error = allowing, error
        return number


@dataclass(frozen=True)
class Claim:
    """A statement and the number that decides it.

    Attributes
    ----------
    text : str
        What is claimed.
    source : str
        Where: a section or appendix of the paper, or "beyond the paper".
    quantity : str
        What the number is, in words.
    number : callable
        The figure's table → the number, an `Estimate` where it allows for standard errors. Raises `Untested` for a
        table without the settings that the claim is about.
    low, high : float
        The claim holds for a number between the two, both included.
    """

    text: str
    source: str
    quantity: str
    number: Callable[[pd.DataFrame], float]
    low: float = float("-inf")
    high: float = float("inf")

    def holds(self, number: float) -> bool:
        """Return whether a number is within the bounds; one that is not finite is not."""
        return self.low <= number <= self.high


def judge(claims: Sequence[Claim], table: pd.DataFrame) -> pd.DataFrame:
    """Return one row a claim: text, source, quantity, number, low, high, verdict and why.

    The verdict is "holds", "does not hold", or "not tested" for the reason in `why`: the table lacks the settings that
    the claim is about, or its draws are too few. They are too few where another number of standard errors would change
    the verdict, either none or as many as make Student's t as rare as three of many draws; a distance is small only by
    five draws or more, whose standard errors are no larger than the distance allowed. A number that is not finite does
    not hold.

    Examples
    --------
    >>> import pandas as pd
    >>> from superpose.paper.claims import Claim, judge
    >>> claim = Claim("It rises.", "Section 1", "smallest step", lambda table: table.y.diff().min(), low=0)
    >>> judge([claim], pd.DataFrame({"y": [1, 2, 4]})).verdict[0]
    'holds'
    """
    rows = []
    for claim in claims:
        number, why = _number(claim, table)
        rows.append(
            {
                "claim": claim.text,
                "source": claim.source,
                "quantity": claim.quantity,
                "number": number,
                "low": claim.low,
                "high": claim.high,
                "verdict": "not tested" if why else "holds" if claim.holds(number) else "does not hold",
                "why": why,
            }
        )
    return pd.DataFrame(rows)


def some(rows: Rows, what: str, *, least: int = 1) -> Rows:
    """Return the rows of a table that a claim is about; raise `Untested` if there are none, or fewer than `least`."""
    if len(rows) < least:
        raise Untested(f"the table has {len(rows) or 'no'} {what}" + (f"; expected {least}" if least > 1 else ""))
    return rows


def several(rows: pd.DataFrame, column: str) -> pd.DataFrame:
    """Return the rows of a table that a claim compares along a column; raise `Untested` if it has a single value."""
    if rows[column].nunique() < 2:
        raise Untested(f"the table has one value of {column}")
    return rows


def _number(claim: Claim, table: pd.DataFrame) -> tuple[float, str]:
    """Return the number of a claim, and why it decides nothing, if so."""
    try:
        number = claim.number(table)
    except Untested as missing:
        return float("nan"), str(missing)
    why = _chance(claim, number, table["draw"].nunique()) if isinstance(number, Estimate) else ""
    return float(number), why


def _chance(claim: Claim, number: Estimate, draws: int) -> str:
    """Return why so many draws leave a claim to chance; nothing where they decide it."""
    if draws < 2:
        return "one draw has no standard error"
    # As rare for few draws as three standard errors are for many.
    rare = float(student.ppf(norm.cdf(ERRORS), draws - 1))
    few = f"{draws} draws are too few to tell it from chance"
    if not claim.holds(number):
        return few if any(claim.holds(number.allowing(errors)) for errors in (0.0, rare)) else ""
    if not claim.holds(number.allowing(rare)):
        return few
    if draws < FEWEST and claim.high < float("inf"):
        return few
    if number.error > claim.high:
        return (
            f"the standard error of {draws} draws is up to {number.error:.2g}; allowed is a distance of {claim.high:g}"
        )
    return ""
