"""The shape rule (…, samples, units), and validation of what users pass."""

from __future__ import annotations

import functools
import inspect
import itertools
import sys
from collections.abc import Callable, Iterator, Mapping
from mmap import mmap
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from superpose.arrays.labels import check_units
from superpose.arrays.tensors import as_array, to_numpy
from superpose.files import DataError, in_python, on_command_line
from superpose.numerics.float16 import all_finite, widened

# Beyond these, sums of fourth powers in float64, or of squares in float32, may overflow; by bytes of a number.
LARGEST = {2: 65504.0, 4: 1e15, 8: 1e60}

# What types are called that are no real numbers; NumPy saves those that are not its own, such as bfloat16, as bytes.
KINDS = {"c": "complex numbers", "O": "Python objects", "U": "text", "S": "text", "V": "records or raw bytes"}

F = TypeVar("F", bound=Callable[..., Any])


def like_input(function: F) -> F:
    """Let a function written for NumPy take torch tensors, and give tensors on the same device back.

    Positional arguments that are tensors become arrays (CPU tensors share their memory); if any was a tensor,
    array results, and those in a returned tuple, become tensors on the device of the first.
    """

    names = list(inspect.signature(function).parameters)

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        torch: Any = sys.modules.get("torch")
        tensors = [] if torch is None else [a for a in (*args, *kwargs.values()) if isinstance(a, torch.Tensor)]
        if not tensors:
            return function(*args, **kwargs)
        device = tensors[0].device

        def back(value: Any) -> Any:
            if isinstance(value, tuple):
                return tuple(back(v) for v in value)
            return torch.as_tensor(value, device=device) if isinstance(value, np.ndarray | np.generic) else value

        named = {key: to_numpy(value, key) for key, value in kwargs.items()}
        keys = itertools.chain(names, itertools.repeat("an array"))
        return back(function(*map(to_numpy, args, keys), **named))

    return wrapper  # type: ignore[return-value]


def as_responses(x: ArrayLike, name: str = "x") -> NDArray[Any]:
    """Return responses as a real floating array of shape (…, samples, units), without reading its values.

    Integers, booleans and longer floats become float64; float16, float32 and float64 stay, memory maps stay mapped.

    Raises
    ------
    DataError
        For objects, text, complex numbers, masked values, rows of different lengths, fewer than two axes, an empty
        axis, or a data frame with labels among its units.
    """
    check_units(x, name)
    array = as_array(x, name)
    if array.dtype.kind in "iub" or array.dtype == np.longdouble:
        array = array.astype(np.float64)
    if array.dtype.kind != "f":
        kind = KINDS.get(array.dtype.kind, f"values of type {array.dtype}")
        raise DataError(f"{name} holds {kind}; expected real numbers. Convert them to float32 or float64 first.")
    if array.ndim < 2:
        raise DataError(
            f"{name} has {array.ndim} dimension(s), shape {array.shape}; expected (samples, units), with any repeats "
            "in front. Reshape a single unit to (samples, 1)."
        )
    if 0 in array.shape:
        raise DataError(f"{name} is empty, shape {array.shape}; expected at least one sample and one unit.")
    return array


def is_mapped(x: Any) -> bool:
    """Return whether an array is a view of a file.

    Examples
    --------
    >>> import numpy as np
    >>> from superpose.arrays import is_mapped
    >>> is_mapped(np.ones(3))
    False
    """
    while x is not None and not isinstance(x, np.memmap | mmap):
        x = getattr(x, "base", None)
    return x is not None


def check_finite(x: NDArray[Any], name: str = "x") -> None:
    """Raise a DataError that counts and places the NaN and infinite values of `x`, if it has any."""
    _check_within(x, name, float(np.finfo(np.float64).max))


def check_moderate(x: NDArray[Any], name: str = "x") -> None:
    """Raise a DataError as `check_finite` does, and for values whose products would overflow."""
    _check_within(x, name, LARGEST[min(x.dtype.itemsize, 8)])


def _check_within(x: NDArray[Any], name: str, limit: float) -> None:
    if x.dtype.kind == "f":
        limit = min(limit, float(np.finfo(x.dtype).max))
    bad, first = 0, None
    for start, rows in chunks(x):
        if rows.dtype == np.float16 and all_finite(rows):
            continue
        rows = widened(rows)
        if -limit <= rows.min() <= rows.max() <= limit:
            continue
        where = np.argwhere(~(np.abs(rows) <= limit))
        if first is None:
            first = where[0].copy()
            first[-2] += start
        bad += len(where)
    if first is None:
        return
    value = x[tuple(first)]
    what = (
        "NaN or infinite value(s)" if not np.isfinite(value) else f"value(s) beyond {limit:g}, whose products overflow"
    )
    raise DataError(
        f"{name} has {bad} {what}, the first ({value}) at row {first[-2]}, unit {first[-1]}; remove those samples from "
        f"every system, or {'impute them' if not np.isfinite(value) else 'rescale it'}."
    )


def check_paired(systems: Mapping[str, NDArray[Any]]) -> int:
    """Return the number of samples that all systems share, or raise a DataError that says the two counts."""
    names = list(systems)
    samples = systems[names[0]].shape[-2]
    for name in names[1:]:
        if systems[name].shape[-2] != samples:
            raise DataError(
                f"{names[0]} has {samples} samples and {name} has {systems[name].shape[-2]}; every system must have "
                "seen the same stimuli in the same order. "
                f"{in_python('superpose.match pairs recordings by stimulus id.')}"
                f"{on_command_line('Files that label their stimuli are paired by label.')}"
            )
    return samples


def of_one_repeat(systems: Mapping[str, ArrayLike]) -> dict[str, NDArray[Any]]:
    """Return systems of samples × units alone, or raise a DataError that names one of more axes."""
    arrays = {str(name): as_responses(x, str(name)) for name, x in systems.items()}
    for name, x in arrays.items():
        if x.ndim > 2:
            raise DataError(f"{name} has shape {x.shape}; expected (samples, units). Pass one repeat at a time.")
    return arrays


def chunks(x: NDArray[Any], rows: int | None = None) -> Iterator[tuple[int, NDArray[Any]]]:
    """Yield (first row, view) over the samples axis; by default about 8 MiB a chunk, as float32 at least."""
    samples = x.shape[-2]
    if rows is None:
        rows = max(1, int(2**23 // max(1, max(x.itemsize, 4) * x.size // samples)))
    for start in range(0, samples, rows):
        yield start, x[..., start : start + rows, :]
