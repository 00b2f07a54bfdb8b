"""Labels that look alike and are not: in other Unicode forms, blanks, case, or ways to write a number."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

NUMBER = re.compile(r"[+-]?\d+(\.\d+)?([eE][+-]?\d+)?")
HOW = "in Unicode form, blanks, case or how a number is written"


def alike(labels: NDArray[np.str_], others: Sequence[tuple[str, NDArray[np.str_]]]) -> str:
    """Return how many of some labels look like ones of other systems that have them not, as part of a sentence.

    Examples
    --------
    >>> import numpy as np
    >>> from superpose.recordings.likeness import alike
    >>> alike(np.array(["Cat ", "7", "dog"]), [("b", np.array(["cat", "007", "dog"]))])
    '; 2 look like those of b, and differ in Unicode form, blanks, case or how a number is written'
    """
    for name, theirs in others:
        looks = {_look(label) for label in theirs.tolist()}
        count = sum(_look(label) in looks for label in set(labels.tolist()).difference(theirs.tolist()))
        if count:
            return f"; {count} look like those of {name}, and differ {HOW}"
    return ""


def look_alikes(name: str, labels: NDArray[np.str_]) -> list[str]:
    """Return a sentence on labels of one system that differ in Unicode form or blanks alone, if there are any."""
    first: dict[str, str] = {}
    pairs = []
    for label in dict.fromkeys(labels.tolist()):
        look = unicodedata.normalize("NFC", label).strip()
        if first.setdefault(look, label) != label:
            pairs.append(f"{first[look]!a} and {label!a}")
    if not pairs:
        return []
    return [
        f"{name}: {len(pairs)} stimuli differ from others in Unicode form or blanks alone ({pairs[0]}), and are taken "
        "for stimuli of their own."
    ]


def _look(label: str) -> str:
    text = unicodedata.normalize("NFKC", label).strip().casefold()
    return str(float(text)) if NUMBER.fullmatch(text) else text
