"""The columns of a table of scores, and scores on the scale of their null."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

IDENTITY = ("system_a", "system_b", "metric", "directed")
OF_NULL = ("null", "null_low", "null_high", "p", "p_adjusted", "calibrated")
SCORES = ("score", "low", "high", "error", *OF_NULL)
SIZES = ("samples", "units_a", "units_b")
COLUMNS = (*IDENTITY, *SCORES, "split", "null_kind", *SIZES, "why")


def calibrated(score: Any, null: Any, best: float = 1.0) -> Any:
    """Return where scores lie between their null, 0, and that of identical systems, 1 (Hubert & Arabie 1985)."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(null == best, np.nan, np.subtract(score, null) / np.subtract(best, null))
