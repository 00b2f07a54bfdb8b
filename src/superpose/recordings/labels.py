"""The names under which files keep stimulus ids, repeats and groups."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from superpose.arrays import to_numpy

# In order of preference, where an array or a coordinate has several.
LABELS = {
    "stimuli": (
        "stimulus",
        "stimuli",
        "stimulus_id",
        "stimulus_ids",
        "image",
        "image_id",
        "image_ids",
        "id",
        "__index_level_0__",
    ),
    "groups": ("group", "groups", "session", "sessions", "session_id"),
    "repeats": ("repeat", "repeats", "repetition", "repetitions", "trial", "trials"),
}
KINDS = {spelling: kind for kind, spellings in LABELS.items() for spelling in spellings}


def plain(values: ArrayLike) -> NDArray[Any]:
    """Return labels as integers or text, where they are whole floating numbers, bytes or text of another kind."""
    labels = np.asarray(to_numpy(values))
    if labels.dtype.kind == "T":
        return labels.astype(object)
    if labels.dtype.kind == "S":
        return np.char.decode(labels, "utf-8")
    # MATLAB's numbers are all floating, and so are integers that a mask has passed over.
    if labels.dtype.kind == "f" and (np.abs(labels) < 2**53).all() and (labels == np.trunc(labels)).all():
        return labels.astype(np.int64)
    return labels
