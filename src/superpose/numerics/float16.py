"""Responses in float16, widened to float32 exactly: NumPy does it ten times slower than a processor can."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

# NumPy widens so many values in the time that loading torch takes, without the 130 MB that it holds from then on.
FEW = 2**31
_by_numpy = [0]
# Values that stay in cache.
CACHED = 2**16
# The sign, and where exponent and digits of float16 lie in float32.
KEPT = np.array(0x8FFFE000, dtype=np.uint32).view(np.int32)
# The least float16 that is no number, read as an integer, positive and negative.
INFINITE, BELOW = 0x7C00, 0xFC00


def widen(halves: Array, out: Array) -> None:
    """Write float16 values into a float32 array of the same shape.

    Examples
    --------
    >>> import numpy as np
    >>> from superpose.numerics.float16 import widen
    >>> out = np.empty(2, np.float32)
    >>> widen(np.array([0.5, 2.0], np.float16), out)
    >>> out
    array([0.5, 2. ], dtype=float32)
    """
    early = "torch" not in sys.modules and _by_numpy[0] + halves.size < FEW
    if early or not halves.dtype.isnative or min((0, *halves.strides, *out.strides)) < 0:
        _by_numpy[0] += halves.size
        if halves.ndim < 2 or not out.flags.c_contiguous or not halves.dtype.isnative:
            out[...] = halves
            return
        rows = max(1, CACHED // halves.shape[-1])
        for start in range(0, halves.shape[-2], rows):
            part = np.s_[..., start : start + rows, :]
            _by_bits(halves[part], out[part])
        return
    import torch

    torch.from_numpy(out).copy_(torch.from_numpy(np.asarray(_Writeable(halves))))


def _by_bits(halves: Array, out: Array) -> None:
    """Widen as integers, in two fifths of the time: shifted into place, all but the sign is the value times 2⁻¹¹²."""
    if not all_finite(halves):
        out[...] = halves
        return
    bits = out.view(np.int32)
    # Of a negative number, every further bit on the left is set, so that one of them is where the sign belongs.
    bits[...] = halves.view(np.int16)
    bits <<= 13
    bits &= KEPT
    out *= np.float32(2.0**112)


def all_finite(halves: Array) -> bool:
    """Return whether no float16 value is infinite or NaN, from exponents alone: none of the others is too large.

    Examples
    --------
    >>> import numpy as np
    >>> from superpose.numerics.float16 import all_finite
    >>> all_finite(np.array([65504, -1e-7], np.float16)), all_finite(np.array([np.nan], np.float16))
    (True, False)
    """
    if not halves.dtype.isnative:
        return False
    return bool(halves.view(np.int16).max(initial=0) < INFINITE and halves.view(np.uint16).max(initial=0) < BELOW)


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
