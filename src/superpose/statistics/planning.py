"""How many samples a difference needs, from a pilot's standard error."""

from __future__ import annotations

from math import ceil

import numpy as np
from scipy.stats import norm

from superpose.files import DataError


def power(difference: float, error: float, samples: int, planned: int, *, level: float = 0.05) -> float:
    """Return how likely a two-sided test finds a difference with so many samples, from a pilot's standard error.

    A standard error falls with the square root of the samples (or groups, where whole groups are sampled).

    Parameters
    ----------
    difference : float
        What is to be found: between two scores, or between a score and its null.
    error : float
        Standard error of that difference in the pilot, as the column `error` of `superpose.compare` has it.
    samples : int
        Samples of the pilot.
    planned : int
        Samples of the experiment to come.
    level : float
        Of the test.

    Examples
    --------
    >>> from superpose.statistics import power
    >>> round(power(0.1, error=0.05, samples=100, planned=200), 2)
    0.81
    """
    _check_pilot(difference, error, samples, level)
    if not planned >= 1:
        raise DataError(f"planned is {planned!r}; expected at least 1 sample.")
    shift = abs(difference) / (error * np.sqrt(samples / planned))
    critical = norm.isf(level / 2)
    return float(norm.sf(critical - shift) + norm.sf(critical + shift))


def samples_needed(difference: float, error: float, samples: int, *, power: float = 0.8, level: float = 0.05) -> int:
    """Return how many samples find a difference with the given power: the inverse of `power`, up to its far tail.

    Parameters
    ----------
    difference, error, samples, level
        As in `superpose.statistics.power`.
    power : float
        How likely the difference is to be found.

    Examples
    --------
    >>> from superpose.statistics import samples_needed
    >>> samples_needed(0.1, error=0.05, samples=100)
    197
    """
    _check_pilot(difference, error, samples, level)
    if not 0 < power < 1:
        raise DataError(f"power is {power!r}; expected a number between 0 and 1.")
    wanted = max(norm.isf(level / 2) + norm.ppf(power), 0.0)
    return max(1, ceil(samples * (wanted * error / difference) ** 2))


def _check_pilot(difference: float, error: float, samples: int, level: float) -> None:
    if not (np.isfinite(difference) and difference):
        raise DataError(f"difference is {difference!r}; expected a number other than 0.")
    if not 0 < error < np.inf or not samples >= 2:
        raise DataError(
            f"a standard error of {error!r} from {samples!r} samples; expected one above 0, from 2 or more."
        )
    if not 0 < level < 1:
        raise DataError(f"level is {level!r}; expected a number between 0 and 1.")
