"""What a model is run on: arrays, or sources that give rows when they are asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from superpose.arrays.tensors import as_array
from superpose.files import DataError
from superpose.models.parts import digest


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
    found = {key: value if isinstance(value, Source) else _array(key, value) for key, value in named.items()}
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


def _array(key: str | None, value: Any) -> NDArray[Any]:
    """Return numbers that a model may take, in this machine's byte order."""
    name = "inputs" if key is None else str(key)
    if isinstance(value, list | tuple) and len({np.shape(row) for row in value if isinstance(row, list | tuple)}) > 1:
        raise DataError("inputs are ragged; expected arrays. Pad them, and give an attention_mask.")
    array = as_array(value, name)
    if array.dtype.kind not in "biufc":
        raise DataError(f"{name} are of type {array.dtype}; expected numbers. Text goes through tokenize() first.")
    return array.astype(np.float64 if array.dtype == np.longdouble else array.dtype.newbyteorder("="), copy=False)
