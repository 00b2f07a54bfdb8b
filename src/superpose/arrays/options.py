"""Options that are names: what each stands for, and the nearest to a misspelt one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any, TypeVar

from superpose.files import DataError, argument

T = TypeVar("T")


def meant(value: Any, names: Iterable[Any]) -> str:
    """Return a sentence with the one of some names that a misspelt one comes near to, if any does."""
    plain = {str(name).casefold(): str(name) for name in names}
    near = get_close_matches(str(value).casefold(), plain, 1)
    return f" Did you mean {plain[near[0]]!r}?" if near else ""


def choose(table: Mapping[Any, T], name: str, value: Any) -> T:
    """Return what a public option stands for, or raise a DataError that lists what it can be."""
    if value not in table:
        raise DataError(
            f"{argument(name)} is {value!r}; expected one of {', '.join(map(repr, table))}.{meant(value, table)}"
        )
    return table[value]
