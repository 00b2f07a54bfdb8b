"""Activity, dictionary and codes as given, checked, and brought to one scale and type."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from superpose.arrays import as_responses, check_finite
from superpose.arrays.tensors import as_array
from superpose.files import DataError

Array = NDArray[Any]

# What remains of a unit vector after a projection, in rounding errors, below which it is taken as nothing.
ROUNDING = 64

# Values held at once by a step that works through samples, supports or columns: 32 MiB in float64.
CHUNK = 2**22


def normalised(rows: Array) -> tuple[Array, Array]:
    """Return rows of length 1 and their lengths, (rows, 1), without overflow; a zero row stays, with length 1."""
    largest = np.abs(rows).max(axis=-1, keepdims=True)
    largest = np.where(largest > 0, largest, 1.0)
    scaled = rows / largest
    norm = np.linalg.norm(scaled, axis=-1, keepdims=True)
    norm = np.where(norm > 0, norm, 1.0)
    return scaled / norm, largest * norm


def problem(y: Any, dictionary: Any) -> tuple[Array, Array]:
    """Return activity and dictionary in one floating type, or raise if they do not fit."""
    responses, columns = as_responses(y, "y"), as_dictionary(dictionary)
    check_finite(responses, "y")
    if responses.shape[-1] != columns.shape[-2]:
        raise DataError(
            f"y has {responses.shape[-1]} units and the dictionary {columns.shape[-2]}; expected y of shape "
            "(…, samples, units) and a dictionary of shape (…, units, latents)."
        )
    try:
        np.broadcast_shapes(responses.shape[:-2], columns.shape[:-2])
    except ValueError:
        raise DataError(
            f"y has the repeats {responses.shape[:-2]} and the dictionary {columns.shape[:-2]}; expected leading axes "
            "that broadcast."
        ) from None
    kind = np.result_type(responses, columns)
    return responses.astype(kind, copy=False), columns.astype(kind, copy=False)


def given_codes(codes: Any, y: Array, dictionary: Array) -> Array:
    """Return codes, or raise if they do not fit activity and dictionary."""
    given = as_responses(codes, "codes")
    check_finite(given, "codes")
    expected = (y.shape[-2], dictionary.shape[-1])
    if given.shape[-2:] != expected:
        raise DataError(
            f"codes have shape {given.shape}; expected (…, {expected[0]}, {expected[1]}), a row for each sample of y "
            "and a column for each of the dictionary."
        )
    repeats = np.broadcast_shapes(y.shape[:-2], dictionary.shape[:-2])
    try:
        np.broadcast_shapes(given.shape[:-2], repeats)
    except ValueError:
        raise DataError(
            f"codes have the repeats {given.shape[:-2]}, y and the dictionary {repeats}; expected leading axes that "
            "broadcast."
        ) from None
    return given


def as_dictionary(value: Any) -> Array:
    array = as_array(value, "dictionary")
    if array.dtype.kind not in "iubf":
        raise DataError(f"dictionary holds values of type {array.dtype}; expected real numbers.")
    if array.ndim < 2 or 0 in array.shape:
        raise DataError(f"dictionary has shape {array.shape}; expected (…, units, latents), none of them empty.")
    bad = int((~np.isfinite(array)).sum())
    if bad:
        raise DataError(f"dictionary has {bad} NaN or infinite value(s); expected none.")
    return array.astype(np.float32 if array.dtype in (np.float16, np.float32) else np.float64, copy=False)


def check_within(name: str, value: Any, most: int | None = None) -> None:
    fits = isinstance(value, int | np.integer) and not isinstance(value, bool) and value >= 1
    if not fits or (most is not None and value > most):
        limit = "of at least 1" if most is None else f"from 1 to {most}"
        raise DataError(f"{name} is {value!r}; expected an integer {limit}.")
