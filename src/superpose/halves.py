"""Responses in float16, widened to float32 exactly: NumPy does it ten times slower than a processor can."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

# NumPy widens so many values in the time that loading torch takes, without the 130 MB that it holds from then on.
FEW = 2**29
_by_numpy = [0]


def widen(halves: Array, out: Array) -> None:
    """Write float16 values into a float32 array of the same shape.

    Examples
    --------
    >>> import numpy as np
    >>> from superpose.halves import widen
    >>> out = np.empty(2, np.float32)
    >>> widen(np.array([0.5, 2.0], np.float16), out)
    >>> out
    array([0.5, 2. ], dtype=float32)
    """
    early = "torch" not in sys.modules and _by_numpy[0] + halves.size < FEW
    if early or not halves.dtype.isnative or min((0, *halves.strides, *out.strides)) < 0:
        _by_numpy[0] += halves.size
        out[...] = halves
        return
    import torch

    torch.from_numpy(out).copy_(torch.from_numpy(np.asarray(_Writeable(halves))))


def widened(x: Array) -> Array:
    """Return float16 as float32, and anything else as it is."""
    if x.dtype != np.float16:
        return x
    out = np.empty(x.shape, np.float32)
    widen(x, out)
    return out


class _Writeable:
    """The same memory, announced as writeable: torch warns of read-only memory, of a mapped file, even to be read."""

    def __init__(self, array: Array) -> None:
        self.array = array
        interface = array.__array_interface__
        self.__array_interface__ = {**interface, "data": (interface["data"][0], False)}
