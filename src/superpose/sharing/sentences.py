"""What a table of content means, in plain words: the verdict on each pair first, then what it rests on."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from superpose.sharing.verdict import FEWEST

# What features leave of a system is told where it is more than this part of the variance.
LITTLE = 0.05
PACKED = {
    "alike": "packed alike",
    "differently": "packed differently",
    "cannot tell": "whether they are packed alike cannot be told",
}


def sentences(table: pd.DataFrame) -> list[str]:
    """Return two sentences a pair: the verdict with the features behind it, and raw = content × packing.

    Parameters
    ----------
    table : pandas.DataFrame
        Of `superpose.content`.
    """
    return [text for row in table.itertuples() for text in (_verdict(row), _decomposition(row)) if text]


def _verdict(row: Any) -> str:
    a, b = row.system_a, row.system_b
    found = (
        f"{row.features_a} features found in both halves of {a} ({_percent(row.explained_a)} of its variance) and "
        f"{row.features_b} of {b} ({_percent(row.explained_b)})"
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
        f"{_percent(held)} of what its features leave of {name} ({_percent(1 - explained)})"
        for name, explained, held in ((a, row.explained_a, row.residual_a), (b, row.explained_b, row.residual_b))
        if 1 - explained > LITTLE
    ]
    rest = f" The other system predicts {' and '.join(left)}, of what can be." if left else ""
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
    return f"{share:.0%}" if np.isfinite(share) else "an unknown part"
