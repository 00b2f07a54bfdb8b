"""The size of a system: all that its costs depend on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from superpose.arrays import as_responses, check_paired, is_mapped
from superpose.files import DataError
from superpose.moments import working_type
from superpose.recordings.systems import paired


@dataclass(frozen=True)
class Size:
    """The size of a system that need not exist.

    Parameters
    ----------
    samples, units : int
        Of its responses.
    dtype : str
        The type they are kept in: float16, float32 or float64.
    mapped : bool
        Whether they lie on the disk, and every reading is one of the disk.

    Raises
    ------
    DataError
        For what is no size.

    Examples
    --------
    >>> from superpose.costs import Size
    >>> Size(10**9, 8192, "float16").bytes / 1e12
    16.384
    """

    samples: int
    units: int
    dtype: str = "float32"
    mapped: bool = True

    def __post_init__(self) -> None:
        if not all(isinstance(n, int | np.integer) and n > 0 for n in (self.samples, self.units)):
            raise DataError(
                f"a size of {self.samples!r} samples × {self.units!r} units; expected integers of at least 1."
            )
        if self.dtype not in ("float16", "float32", "float64"):
            raise DataError(f"dtype is {self.dtype!r}; expected float16, float32 or float64.")

    @property
    def shape(self) -> tuple[int, int]:
        """Samples and units."""
        return self.samples, self.units

    @property
    def bytes(self) -> int:
        """What one reading of it reads."""
        return self.samples * self.units * np.dtype(self.dtype).itemsize

    @property
    def working_bytes(self) -> int:
        """Bytes of a value in the precision of products."""
        return np.dtype(working_type(np.empty(0, self.dtype))).itemsize


def sizes_of(systems: Mapping[str, Any]) -> dict[str, Size]:
    """Return the sizes of arrays, of which no value is read, and of sizes.

    Raises
    ------
    DataError
        For fewer than two systems, or unequal samples.
    """
    if not isinstance(systems, Mapping) or len(systems) < 2:
        raise DataError("expected at least two systems, as {name: array or Size}.")
    systems, _ = paired(systems)
    sizes = {str(name): x if isinstance(x, Size) else _size(x, str(name)) for name, x in systems.items()}
    check_paired(sizes)  # type: ignore[arg-type]
    return sizes


def _size(x: Any, name: str) -> Size:
    array = as_responses(x, name)
    if array.ndim != 2:
        raise DataError(f"{name} has shape {array.shape}; costs are those of (samples, units), once for each repeat.")
    samples, units = array.shape
    return Size(samples, units, array.dtype.newbyteorder("=").name, is_mapped(array))
