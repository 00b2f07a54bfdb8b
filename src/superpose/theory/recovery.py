"""How many units latents can be recovered from."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from superpose.arrays import like_input
from superpose.files import DataError
from superpose.theory.algebra import at_least


@like_input
def critical_units(latents: ArrayLike, active: ArrayLike) -> Any:
    """Return the units that compressed sensing asks for: m* = k log(n/k), Eq. (38), natural logarithm.

    An order of magnitude, without its constant: recovery of 95 % takes about three times as many.

    Parameters
    ----------
    latents : number or array
        Latents n.
    active : number or array
        Non-zero latents per sample, k.

    Returns
    -------
    float or array

    Raises
    ------
    DataError
        If a count is under 1, or `active` exceeds `latents`.

    Examples
    --------
    >>> from superpose import theory
    >>> round(float(theory.critical_units(64, 4)), 2)
    11.09
    """
    n, k = at_least("latents", latents, 1), at_least("active", active, 1)
    if np.any(k > n):
        raise DataError(f"active is {active!r} with {latents!r} latents; expected active ≤ latents.")
    return k * np.log(n / k)
