"""What a paper says about a figure, each statement judged by a number from the figure's own table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pandas as pd


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
        The figure's table → the number.
    low, high : float
        The claim holds for a number between the two, both included.
    """

    text: str
    source: str
    quantity: str
    number: Callable[[pd.DataFrame], float]
    low: float = float("-inf")
    high: float = float("inf")


def judge(claims: Sequence[Claim], table: pd.DataFrame) -> pd.DataFrame:
    """Return one row a claim: text, source, quantity, number, low, high, verdict ("holds" or "does not hold").

    A number that is not finite decides nothing for a claim: it does not hold.

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
        number = float(claim.number(table))
        rows.append(
            {
                "claim": claim.text,
                "source": claim.source,
                "quantity": claim.quantity,
                "number": number,
                "low": claim.low,
                "high": claim.high,
                "verdict": "holds" if claim.low <= number <= claim.high else "does not hold",
            }
        )
    return pd.DataFrame(rows)
