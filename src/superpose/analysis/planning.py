"""Work that is checked first and done later."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


def performed(planned: Callable[P, Callable[[], T]], name: str) -> Callable[P, T]:
    """Return the function, of that name, that does at once what `planned` checks and returns as work.

    Examples
    --------
    >>> from superpose.analysis.planning import performed
    >>> performed(lambda x: lambda: 2 * x, "doubled")(3)
    6
    """

    @functools.wraps(planned)
    def perform(*args: P.args, **kwargs: P.kwargs) -> T:
        return planned(*args, **kwargs)()

    perform.__name__ = perform.__qualname__ = name
    return perform
