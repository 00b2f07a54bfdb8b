"""The fastest exact float32 matrix product of this process, found once by a short race."""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

Matrix = TypeVar("Matrix", torch.Tensor, NDArray[Any])
Product = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]

_GAIN = 1.5  # a route must be this much faster than torch's own: nearer ones would change places from run to run
_ROUNDS = 9
_FEWEST = 5
_BUDGET = 0.05  # seconds

ROUTES = ("torch", "numpy")
_taken: ContextVar[str | None] = ContextVar("taken", default=None)


def matmul(a: Matrix, b: Matrix) -> Matrix:
    """Return `a @ b`, by the fastest route of this process for two float32 matrices on the CPU.

    Two libraries can multiply the same memory: the one torch was built with and the one NumPy was built with.
    Their speeds differ by a factor of several on some processors. The first call races them for a few
    milliseconds; torch's own stays unless the other is at least 1.5 times faster and as exact. Any other
    type, device or number of dimensions goes to the library that the operands belong to.

    Parameters
    ----------
    a, b : torch.Tensor or numpy.ndarray, (rows, inner) and (inner, columns)
        Two tensors, or two arrays. Tensors carry gradients.

    Returns
    -------
    torch.Tensor or numpy.ndarray, (rows, columns)
        Of the kind that came in.

    Examples
    --------
    >>> import numpy as np
    >>> from superpose.numerics.products import matmul
    >>> matmul(np.ones((2, 3), np.float32), np.ones((3, 2), np.float32))
    array([[3., 3.],
           [3., 3.]], dtype=float32)
    """
    if isinstance(a, np.ndarray):
        return _by_torch(a, b) if _eligible_arrays(a, b) and route() == "torch" else np.matmul(a, b)
    if not _eligible(a, b) or route() == "torch":
        return torch.matmul(a, b)
    return _Product.apply(a, b)


def route() -> str:
    """Return the route that `matmul` takes: that of `taking`, or else the faster one of this process.

    Examples
    --------
    >>> from superpose.numerics.products import ROUTES, route
    >>> route() in ROUTES
    True
    """
    return _taken.get() or _fastest()


@contextmanager
def taking(route: str) -> Iterator[None]:
    """Take one route within a block, whichever is faster: what was begun by it ends in the same bits.

    Parameters
    ----------
    route : {"torch", "numpy"}
        As `route` returned it.

    Examples
    --------
    >>> from superpose.numerics.products import route, taking
    >>> with taking("torch"):
    ...     route()
    'torch'
    """
    before = _taken.set(route)
    try:
        yield
    finally:
        _taken.reset(before)


@functools.cache
def _fastest() -> str:
    return _choose(torch.matmul, _by_numpy)


def _choose(default: Product, other: Product) -> str:
    """Race the routes on one product, and compare the fastest round of each.

    A busy machine slows rounds by chance, and never speeds one up: minima are what it would do if left alone.
    """
    draw = torch.Generator().manual_seed(0)
    a, b = torch.randn(256, 256, generator=draw), torch.randn(256, 384, generator=draw)
    exact = a.double() @ b.double()
    start = time.perf_counter()
    error = {product: float((product(a, b) - exact).abs().max()) for product in (default, other)}
    if error[other] > 2 * error[default]:
        return "torch"
    best = dict.fromkeys((default, other), math.inf)
    for number in range(_ROUNDS):
        if number >= _FEWEST and time.perf_counter() - start > _BUDGET:
            break
        best = {product: min(seconds, _seconds(product, a, b)) for product, seconds in best.items()}
    return "numpy" if best[default] > _GAIN * best[other] else "torch"


def _seconds(product: Product, a: torch.Tensor, b: torch.Tensor) -> float:
    start = time.perf_counter()
    product(a, b)
    return time.perf_counter() - start


def _by_numpy(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return torch.from_numpy(np.matmul(a.detach().numpy(), b.detach().numpy()))


def _by_torch(a: NDArray[Any], b: NDArray[Any]) -> NDArray[Any]:
    product: NDArray[Any] = torch.matmul(torch.from_numpy(a), torch.from_numpy(b)).numpy()
    return product


def _eligible(a: torch.Tensor, b: torch.Tensor) -> bool:
    return a.ndim == b.ndim == 2 and all(t.dtype == torch.float32 and t.device.type == "cpu" for t in (a, b))


def _eligible_arrays(a: NDArray[Any], b: NDArray[Any]) -> bool:
    """Say whether torch can share the memory: it takes neither read-only arrays nor reversed ones."""
    return a.ndim == b.ndim == 2 and all(
        t.dtype == np.float32 and t.flags.writeable and min(t.strides) >= 0 for t in (a, b)
    )


class _Product(torch.autograd.Function):
    """The NumPy route with its gradient: two more products by the same route."""

    @staticmethod
    def forward(ctx: Any, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(a, b)
        return _by_numpy(a, b)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, torch.Tensor | None]:
        a, b = ctx.saved_tensors
        for_a, for_b = ctx.needs_input_grad
        return (
            _by_numpy(gradient, b.mT) if for_a else None,
            _by_numpy(a.mT, gradient) if for_b else None,
        )
