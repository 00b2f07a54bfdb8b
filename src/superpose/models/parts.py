"""What the readers of models share: a model is a function from a batch of inputs to {layer: output}."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Batch = dict[str | None, NDArray[Any]]
Run = Callable[[Batch], dict[str, NDArray[Any]]]
# Torch's names of what a forward pass computes in.
PRECISIONS = {"float32": "float32", "bfloat16": "bfloat16", "float16": "float16"}
INSTALL = 'pip install "superpose[models]"'


class Opened(NamedTuple):
    """A model that is ready to run.

    Attributes
    ----------
    run : callable
        Takes a batch, (samples, …) arrays by argument name, and returns {layer: (samples, …)}.
    digest : callable
        Returns what tells this model's weights from others'.
    """

    run: Run
    digest: Callable[[], str]


def digest(arrays: Iterable[NDArray[Any]]) -> str:
    """Return the SHA-256 digest of arrays, their types and their shapes, in hexadecimal."""
    total = hashlib.sha256()
    for array in arrays:
        total.update(f"{array.dtype.str}{array.shape}".encode())
        total.update(np.ascontiguousarray(array).tobytes())
    return total.hexdigest()


def first_line(error: Exception) -> str:
    """Return what an error says, on one line."""
    return " ".join(str(error).split())[:200] or type(error).__name__
