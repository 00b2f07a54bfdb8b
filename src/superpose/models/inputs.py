"""What a model is run on: arrays, or sources that give rows when they are asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from superpose.files import DataError
from superpose.models.parts import Batch, digest
from superpose.tensors import to_numpy


@runtime_checkable
class Source(Protocol):
    """Inputs too many to hold: `superpose.models.images` makes one of a folder of pictures.

    Rows are asked for by batch, as an increasing array of their numbers, and must be the same every time.
    """

    def __len__(self) -> int:
        """Return the number of samples."""

    def __getitem__(self, rows: NDArray[np.int64], /) -> NDArray[Any]:
        """Return the samples of these numbers, (rows, …)."""

    def digest(self) -> str:
        """Return what tells these samples from others."""


Inputs = dict[str | None, NDArray[Any] | Source]


def as_inputs(inputs: Any) -> Inputs:
    """Return inputs by argument name (None: the model's first), all of one number of samples.

    Raises
    ------
    DataError
        If an input is ragged, or their numbers of samples differ or are 0.
    """
    named: Mapping[str | None, Any] = inputs if isinstance(inputs, Mapping) else {None: inputs}
    try:
        found = {
            key: value if isinstance(value, Source) else np.asarray(to_numpy(value)) for key, value in named.items()
        }
    except ValueError:
        raise DataError("inputs are ragged; expected arrays. Pad them, and give an attention_mask.") from None
    shapes = {str(key): value.shape if isinstance(value, np.ndarray) else (len(value),) for key, value in found.items()}
    counts = {shape[0] if shape else 0 for shape in shapes.values()}
    if len(counts) != 1 or 0 in counts:
        raise DataError(f"inputs have shapes {shapes}; expected one number of samples, at least 1, in all.")
    return found


def input_digests(inputs: Inputs) -> dict[str, str]:
    """Return a SHA-256 digest of every input."""
    return {
        str(key): digest([value]) if isinstance(value, np.ndarray) else value.digest() for key, value in inputs.items()
    }


def batch_of(inputs: Inputs, rows: NDArray[np.int64]) -> Batch:
    """Return the rows of a batch; what is as long as the mask is cut to the last position that any of them uses."""
    some = {key: np.asarray(value[rows]) for key, value in inputs.items()}
    mask = some.get("attention_mask")
    if mask is None:
        return some
    end = int(np.flatnonzero(mask.any(axis=0)).max(initial=0)) + 1
    return {key: value[:, :end] if value.shape[:2] == mask.shape else value for key, value in some.items()}
