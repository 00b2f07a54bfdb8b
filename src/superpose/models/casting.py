"""Numbers in the type that a model takes, where they survive it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from superpose.files import DataError


def cast(value: NDArray[Any], dtype: DTypeLike, name: str) -> NDArray[Any]:
    """Return numbers in another type; floats may lose digits, and nothing else is lost.

    Raises
    ------
    DataError
        If a whole number is not the same in it, a fraction would be cut off, or a float would become infinite.

    Examples
    --------
    >>> import numpy as np
    >>> from superpose.models.casting import cast
    >>> cast(np.array([0.0, 255.0]), np.uint8, "x")
    array([  0, 255], dtype=uint8)
    """
    wanted = np.dtype(dtype)
    if value.dtype == wanted:
        return value
    with np.errstate(all="ignore"):
        made = (value if wanted.kind == "c" else value.real).astype(wanted)
        exact = value.dtype.kind in "iubc" or wanted.kind in "iub"
        kept = made == value if exact else np.isfinite(made.astype(np.float64)) | ~np.isfinite(value)
    if not kept.all():
        raise DataError(
            f"{name} holds {value[~kept].flat[0]}, and {wanted} is expected, which cannot hold that; give numbers of "
            "that type."
        )
    return made
