"""The fastest exact float32 matrix product of this process, found once by a short race."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

Matrix = TypeVar("Matrix", torch.Tensor, NDArray[Any])
Product = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]

_GAIN = 1.25  # a route must be this much faster than torch's own, so that noise never decides
_ROUNDS = 7
_BUDGET = 0.05  # seconds


def matmul(a: Matrix, b: Matrix) -> Matrix:
    """Return `a @ b`, by the fastest route of this process for two float32 matrices on the CPU.

    Two libraries can multiply the same memory: the one torch was built with and the one NumPy was built with.
    Their speeds differ by a factor of several on some processors. The first call races them for a few
    milliseconds; torch's own stays unless the other is at least 1.25 times faster, every time, and as exact. Any other
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
    >>> from superpose.products import matmul
    >>> matmul(np.ones((2, 3), np.float32), np.ones((3, 2), np.float32))
    array([[3., 3.],
           [3., 3.]], dtype=float32)
    """
    if isinstance(a, np.ndarray):
        return _by_torch(a, b) if _eligible_arrays(a, b) and route() == "torch" else np.matmul(a, b)
    if not _eligible(a, b) or route() == "torch":
        return torch.matmul(a, b)
    return _Product.apply(a, b)


@functools.cache
def route() -> str:
    """Return the route that `matmul` takes in this process: "torch" or "numpy".

    Examples
    --------
    >>> from superpose.products import route
    >>> route() in {"torch", "numpy"}
    True
    """
    return _choose(torch.matmul, _by_numpy)


def _choose(default: Product, other: Product) -> str:
    """Race the routes on one product; the default stays unless it loses every round, and clearly.

    A busy machine slows single rounds by chance, and never all of one side; a race that takes too long is void.
    """
    draw = torch.Generator().manual_seed(0)
    a, b = torch.randn(256, 256, generator=draw), torch.randn(256, 384, generator=draw)
    exact = a.double() @ b.double()
    start = time.perf_counter()
    error = {product: float((product(a, b) - exact).abs().max()) for product in (default, other)}
    if error[other] > 2 * error[default]:
        return "torch"
    for _ in range(_ROUNDS):
        slower = _seconds(default, a, b) < _GAIN * _seconds(other, a, b)
        if slower or time.perf_counter() - start > _BUDGET:
            return "torch"
    return "numpy"


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
