"""Names of one version ago, which still work and warn."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])


def renamed(converted: Mapping[str, Callable[[Any], Any]] | None = None, /, **names: str) -> Callable[[F], F]:
    """Let a function take arguments under the names that they had, given as old="new", with a warning.

    `converted` says what an old value is under the new name, where it is another.

    Examples
    --------
    >>> import warnings
    >>> from superpose.messages.deprecation import renamed
    >>> @renamed(folds="cv")
    ... def score(*, cv=5):
    ...     return cv
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always")
    ...     score(folds=3), str(caught[0].message)
    (3, 'score: folds= is now cv=; the next version will not accept the old name.')
    """

    def of(function: F) -> F:
        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            for old, new in names.items():
                if old in kwargs:
                    warnings.warn(
                        f"{function.__name__}: {old}= is now {new}=; the next version will not accept the old name.",
                        FutureWarning,
                        stacklevel=2,
                    )
                    value = kwargs.pop(old)
                    kwargs[new] = (converted or {}).get(old, _same)(value)
            return function(*args, **kwargs)

        return wrapper  # type: ignore[return-value]

    return of


def gathered(into: str, /, *names: str) -> Callable[[F], F]:
    """Let a function take arguments that are entries of a mapping now, with a warning.

    Examples
    --------
    >>> import warnings
    >>> from superpose.messages.deprecation import gathered
    >>> @gathered("training", "steps")
    ... def train(*, training=None):
    ...     return training
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always")
    ...     train(steps=3), str(caught[0].message)
    ({'steps': 3}, "train: steps= is now training={'steps': …}; the next version will not accept the old name.")
    """

    def of(function: F) -> F:
        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            old = {name: kwargs.pop(name) for name in names if name in kwargs}
            for name in old:
                warnings.warn(
                    f"{function.__name__}: {name}= is now {into}={{{name!r}: …}}; the next version will not "
                    "accept the old name.",
                    FutureWarning,
                    stacklevel=2,
                )
            if old:
                kwargs[into] = old | dict(kwargs.get(into) or {})
            return function(*args, **kwargs)

        return wrapper  # type: ignore[return-value]

    return of


def _same(value: Any) -> Any:
    return value
