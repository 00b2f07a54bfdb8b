"""Models of pictures and of sentences at once, as CLIP: each input goes through the tower that it is for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from superpose.models.parts import Batch

# The module of each tower in the models of transformers that have two.
TOWERS = {"vision": "vision_model", "text": "text_model"}
ALONE = {"pixel_values": "get_image_features", "input_ids": "get_text_features"}


def is_whole(model: Any) -> bool:
    """Return whether a model has a tower for pictures and one for sentences."""
    return all(hasattr(model, name) for name in (*TOWERS.values(), *ALONE.values()))


def tower_of(inputs: Any) -> str:
    """Return the tower that inputs are for: tokens by name, or an array of whole numbers in two axes."""
    if isinstance(inputs, Mapping):
        return "text" if "input_ids" in inputs else "vision"
    return "text" if isinstance(inputs, np.ndarray) and inputs.ndim == 2 and inputs.dtype.kind in "iu" else "vision"


def forward(model: Any, some: Batch) -> tuple[Callable[..., Any], Batch]:
    """Return what runs a batch and its arguments by name: of a whole model, the tower of all that is given."""
    if not is_whole(model):
        return model, some
    first = "input_ids" if None in some and tower_of(some[None]) == "text" else "pixel_values"
    named: Batch = {first if key is None else key: value for key, value in some.items()}
    given = [key for key in ALONE if key in named]
    return (getattr(model, ALONE[given[0]]) if len(given) == 1 else model), named
