"""Numbers of a table as text, and the cells that hold them."""

from __future__ import annotations

import math
from collections.abc import Callable
from html import escape
from typing import Any, NamedTuple

import pandas as pd

Row = dict[Any, Any]


class Cell(NamedTuple):
    """What a cell shows, as HTML, and the number that it is sorted and exported by, if that is another."""

    html: str = ""
    value: float | None = None


class Column(NamedTuple):
    """A column of a table; one that is empty in all rows is left out."""

    heading: str
    meaning: str
    cell: Callable[[Row], Cell]
    kind: str = "number"
    # Whether readers choose rows by its values.
    filtered: bool = False


def number(value: Any, form: str = ".3f") -> str:
    """Return a number in a fixed form with a true minus sign, and nothing for NaN."""
    if missing(value):
        return ""
    text = format(value, form).replace("%", "\u00a0%")
    return text.replace("-", "−") if text.strip("-0.\u00a0%") else text.lstrip("-")


def missing(value: Any) -> bool:
    """Whether a value is None or NaN."""
    return value is None or bool(pd.isna(value))


def interval(low: Any, high: Any, form: str = ".3f") -> str:
    """Return the two ends of an interval, or nothing where one is missing."""
    ends = [number(end, form) for end in (low, high)]
    return f"[{ends[0]},\u00a0{ends[1]}]" if all(ends) else ""


def text(name: str) -> Callable[[Row], Cell]:
    """Return what fills a column with words of a row."""
    return lambda row: Cell(escape("" if missing(row.get(name)) else str(row[name])))


def figure(name: str, form: str = ".3f") -> Callable[[Row], Cell]:
    """Return what fills a column with a number of a row."""
    return lambda row: valued(row.get(name), form)


def valued(value: Any, form: str = ".3f") -> Cell:
    """Return a cell of one number."""
    return Cell() if missing(value) else Cell(number(value, form), rounded(value))


def pair_of(name: str, form: str) -> Callable[[Row], Cell]:
    """Return what fills a column with the two numbers of a pair of systems."""

    def cell(row: Row) -> Cell:
        values = [number(row.get(f"{name}_{side}"), form) for side in "ab"]
        return Cell(", ".join(value or "–" for value in values) if any(values) else "")

    return cell


def rounded(value: Any) -> float | None:
    """Return a number to five digits, None for what JSON and CSV have no number for."""
    return None if missing(value) or not math.isfinite(value) else float(f"{value:.5g}")


def pair_name(row: Row) -> str:
    """Return the systems of a row: "a → b" where a predicts b, "a – b" where the score is symmetric."""
    return f"{row['system_a']} {'→' if row.get('directed') else '–'} {row['system_b']}"
