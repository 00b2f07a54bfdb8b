"""What a table of content means, in plain words: the verdict on each pair first, then what it rests on."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
import pandas as pd

from superpose.messages.wording import percent
from superpose.sharing.verdict import FEWEST

# What features leave of a system is told where it is more than this part of the variance.
LITTLE = 0.05
PACKED = {
    "alike": "packed alike",
    "differently": "packed differently",
    "cannot tell": "whether they are packed alike cannot be told",
}


def sentences(table: pd.DataFrame, given: Collection[str] = ()) -> list[str]:
    """Return two sentences per pair: the verdict with the features behind it, and raw = content × packing.

    Parameters
    ----------
    table : pandas.DataFrame
        Of `superpose.content`.
    given : collection of str
        The systems whose features were given, not found.
    """
    return [text for row in table.itertuples() for text in (_verdict(row, given), _decomposition(row)) if text]


def _verdict(row: Any, given: Collection[str]) -> str:
    a, b = row.system_a, row.system_b
    origin_a, origin_b = ("given for" if name in given else "found in both halves of" for name in (a, b))
    found = (
        f"{row.features_a} features {origin_a} {a} ({_percent(row.explained_a)} of its variance) and "
        f"{row.features_b} {'of' if origin_b == origin_a else origin_b} {b} ({_percent(row.explained_b)})"
    )
    packing = f", {PACKED[row.packing]}" if row.packing else ""
    if row.verdict == "cannot tell":
        return f"{a} and {b}: cannot tell whether they hold the same features ({row.why}); {found}."
    held = f"{_percent(row.held_by_b)} of {a}'s are held by {b}, {_percent(row.held_by_a)} of {b}'s by {a}"
    told = {
        "same": "the same features",
        "in part": f"features shared in part ({row.shared:.2f}, {row.shared_low:.2f} to {row.shared_high:.2f})",
        "different": "different features",
    }
    opening = told.get(row.verdict)
    if opening is None:
        inner, outer = row.verdict.split(" among ", 1)
        opening = f"the features of {inner} are among those of {outer}"
    return f"{a} and {b}: {opening}{packing}. Of {found}, {held}."


def _decomposition(row: Any) -> str:
    if not np.isfinite(row.content):
        return ""
    a, b = row.system_a, row.system_b
    if min(row.features_a, row.features_b) < FEWEST:
        return f"{a} and {b}: raw debiased CKA is {row.raw:.2f}; too few features to say what packing makes of it."
    left = [
        (f"{_percent(1 - explained)} of {name}", _percent(held))
        for name, explained, held in ((a, row.explained_a, row.residual_a), (b, row.explained_b, row.residual_b))
        if 1 - explained > LITTLE
    ]
    unexplained, predicted = (" and ".join(texts) for texts in zip(*left, strict=True)) if left else ("", "")
    rest = (
        f" Of the variance that features leave unexplained ({unexplained}), the other system predicts {predicted} of "
        "what can be predicted."
        if left
        else ""
    )
    packed = (
        f", and packed as they are {row.packed:.2f}, which leaves {_left(row.unexplained)}"
        if np.isfinite(row.packed)
        else ""
    )
    return (
        f"{a} and {b}: raw debiased CKA is {row.raw:.2f}; the features alone give {row.content:.2f} "
        f"({row.content_low:.2f} to {row.content_high:.2f}){packed}.{rest}"
    )


def _left(unexplained: float) -> str:
    text = f"{unexplained:+.2f}"
    return "nothing" if text in ("+0.00", "-0.00") else text


def _percent(share: float) -> str:
    return percent(share) if np.isfinite(share) else "an unknown part"
