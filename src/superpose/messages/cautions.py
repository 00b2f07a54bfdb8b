"""Warnings that point to the line of the caller."""

from __future__ import annotations

import sys
import warnings


def warn(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn at the first line of the stack that is none of ours, however deep in the package the reason was found.

    Examples
    --------
    >>> import warnings
    >>> from superpose.messages.cautions import warn
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always")
    ...     warn("samples next to each other are alike")
    >>> str(caught[0].message)
    'samples next to each other are alike'
    """
    level, frame = 1, sys._getframe()
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] == "superpose":
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level)
