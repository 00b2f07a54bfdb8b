"""One training loop for any loss."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from superpose.arrays import as_responses, check_finite, check_paired, chunks
from superpose.diagnostics import unit_means
from superpose.files import DataError
from superpose.sae import SparseAutoencoder
from superpose.sparsity import Codes

Module = TypeVar("Module", bound=nn.Module)


def fit(
    module: Module,
    loss: Callable[..., Tensor],
    *data: ArrayLike | Tensor,
    steps: int,
    batch: int = 512,
    learning_rate: float = 5e-3,
    warmup: float = 0.05,
    seed: int = 0,
    progress: Callable[[int, Tensor], None] | None = None,
) -> Module:
    """Train dictionaries in place by minimising `loss(module, *minibatch)`, summed over repeats.

    Adam with a linear warm-up and a cosine decay to zero. The rows of step t are a function of (seed, t) alone: the
    same for every repeat and system, whatever ran before. Repeats are independent dictionaries trained at once.

    A loss of activity (`reconstruction`, `joint`) first sets each dictionary's centre and scale from all rows given,
    and keeps its rows at unit norm throughout. `supervised` leaves both alone.

    Parameters
    ----------
    module : torch.nn.Module
        A `SparseAutoencoder`, or for `joint` a `torch.nn.ModuleList` with one a system.
    loss : callable
        As `reconstruction`, or `functools.partial(joint, mode="cross")`.
    *data : array-like, (…, samples, width)
        One a system, of equally many samples: arrays, tensors or memory maps. Only the rows of a minibatch are
        ever converted.
    steps : int
        Minibatches.
    batch : int
        Rows of a minibatch, drawn with replacement; all rows in order where there are no more than that.
    learning_rate : float
        Its peak. 0.005 suits hundreds of units, 0.01 tens.
    warmup : float
        Share of the steps over which the rate rises.
    seed : int
        Draws the minibatches. The first dictionary is drawn by the module's own generator.
    progress : callable, optional
        Called after each step with the number of steps done and the losses, one value a repeat.

    Returns
    -------
    torch.nn.Module
        The module that was passed.

    Raises
    ------
    DataError
        If there is nothing to train, the data do not fit the module or hold NaN or infinite values, a unit-less
        system is constant, a number is out of range, or the loss diverges.

    References
    ----------
    Kingma and Ba, Adam (2015). Unit-norm rows with the gradient projected: Bricken et al., Towards
    monosemanticity (2023).

    Examples
    --------
    >>> import torch
    >>> from superpose.losses import reconstruction
    >>> from superpose.sae import SparseAutoencoder
    >>> from superpose.sparsity import TopK
    >>> from superpose.training import fit
    >>> draw = torch.Generator().manual_seed(0)
    >>> x = torch.randn(500, 8, generator=draw)
    >>> losses = []
    >>> sae = SparseAutoencoder(8, 32, TopK(2), generator=draw)
    >>> sae = fit(sae, reconstruction, x, steps=100, progress=lambda step, loss: losses.append(float(loss)))
    >>> losses[-1] < 0.8 * losses[0]
    True
    """
    saes = [m for m in module.modules() if isinstance(m, SparseAutoencoder)]
    _check_settings(saes, data, steps, batch, learning_rate, warmup)
    sources = [_source(x, f"data {i}") for i, x in enumerate(data)]
    samples = check_paired({f"data {i}": x for i, x in enumerate(sources)})
    finish_step = _free
    if _is_on_activity(loss):
        _prepare(saes, sources)
        finish_step = _unit_norm
    hooks = [sae.register_forward_hook(_count_rows) for sae in saes]
    try:
        _run(
            module, loss, saes, sources, finish_step, progress,
            steps=steps, batch=batch, rate=learning_rate, warmup=warmup, seed=seed, samples=samples,
        )  # fmt: skip
    finally:
        for hook in hooks:
            hook.remove()
    return module


def minibatch(seed: int, step: int, samples: int, batch: int) -> NDArray[np.int64]:
    """Return the rows of one step, ascending: a function of its arguments alone, (batch,).

    Examples
    --------
    >>> from superpose.training import minibatch
    >>> minibatch(0, 7, 1000, 5)
    array([ 38, 225, 564, 777, 796])
    """
    if batch >= samples:
        return np.arange(samples)
    draw = np.random.default_rng(np.random.SeedSequence((seed, step)))
    return np.sort(draw.integers(0, samples, batch))


def _run(
    module: nn.Module,
    loss: Callable[..., Tensor],
    saes: list[SparseAutoencoder],
    sources: list[NDArray[Any]],
    finish_step: Callable[[list[SparseAutoencoder], torch.optim.Optimizer], None],
    progress: Callable[[int, Tensor], None] | None,
    *,
    steps: int,
    batch: int,
    rate: float,
    warmup: float,
    seed: int,
    samples: int,
) -> None:
    optimizer = torch.optim.Adam(module.parameters(), lr=rate, eps=1e-10, fused=True)
    device = saes[0].dictionary.device
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = rate * _schedule(step, steps, warmup)
        rows = minibatch(seed, step, samples, batch)
        values = loss(module, *(_rows(x, rows).to(device) for x in sources))
        optimizer.zero_grad()
        values.sum().backward()
        finish_step(saes, optimizer)
        if progress is not None:
            progress(step + 1, values.detach())
    if not bool(torch.isfinite(values).all()):
        raise DataError(f"the loss diverged within {steps} steps; lower learning_rate, now {rate}.")


def _schedule(step: int, steps: int, warmup: float) -> float:
    """Return the rate of a step as a share of its peak: a linear rise times a cosine fall to zero."""
    rise = min(1.0, (step + 1) / max(1.0, warmup * steps))
    return rise * 0.5 * (1 + math.cos(math.pi * step / steps))


def _free(saes: list[SparseAutoencoder], optimizer: torch.optim.Optimizer) -> None:
    optimizer.step()


def _unit_norm(saes: list[SparseAutoencoder], optimizer: torch.optim.Optimizer) -> None:
    for sae in saes:
        sae.project_gradient_()
    optimizer.step()
    for sae in saes:
        sae.normalise_()


def _is_on_activity(loss: Any) -> bool:
    while isinstance(loss, functools.partial):
        loss = loss.func
    return getattr(loss, "on_activity", False)


def _count_rows(sae: SparseAutoencoder, args: tuple[Tensor, ...], codes: Codes) -> None:
    """Advance the rows that each latent has been silent for; those that fired start again from zero."""
    sae.steps_since_active.add_(args[0].shape[-2]).masked_fill_(codes.fired(), 0)


def _prepare(saes: list[SparseAutoencoder], sources: list[NDArray[Any]]) -> None:
    if len(saes) != len(sources):
        raise DataError(f"{len(saes)} dictionaries and {len(sources)} systems; expected one dictionary a system.")
    for i, (sae, x) in enumerate(zip(saes, sources, strict=True)):
        if x.shape[-1] != sae.units:
            raise DataError(f"data {i} has {x.shape[-1]} units; its dictionary expects {sae.units}.")
        centre, scale = _centre_and_scale(x)
        if not (scale > 0).all():
            raise DataError(f"all units of data {i} are constant; there is nothing to train on. Drop this system.")
        sae.centre.copy_(torch.from_numpy(centre))
        sae.scale.copy_(torch.from_numpy(scale))
        sae.normalise_()


def _centre_and_scale(x: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the mean of each unit and the root mean square about it over samples and units."""
    samples, units = x.shape[-2:]
    centre = unit_means(x)
    squares = sum(np.square(rows - centre[..., None, :]).sum((-2, -1)) for _, rows in chunks(x))
    return centre, np.asarray(np.sqrt(squares / (samples * units)))


def _source(x: ArrayLike | Tensor, name: str) -> NDArray[Any]:
    array = as_responses(x, name)
    check_finite(array, name)
    return array


def _rows(x: NDArray[Any], rows: NDArray[np.int64]) -> Tensor:
    return torch.from_numpy(np.asarray(x[..., rows, :], dtype=np.float32))


def _check_settings(
    saes: list[SparseAutoencoder],
    data: tuple[Any, ...],
    steps: int,
    batch: int,
    learning_rate: float,
    warmup: float,
) -> None:
    if not saes:
        raise DataError("the module holds no SparseAutoencoder; pass one, or a torch.nn.ModuleList of them.")
    if not data:
        raise DataError("no data to train on; pass one array a system after the loss.")
    for name, value in (("steps", steps), ("batch", batch)):
        if not isinstance(value, int | np.integer) or isinstance(value, bool) or value < 1:
            raise DataError(f"{name} is {value!r}; expected a positive integer.")
    if not 0 < learning_rate < math.inf:
        raise DataError(f"learning_rate is {learning_rate!r}; expected a positive number.")
    if not 0 <= warmup <= 1:
        raise DataError(f"warmup is {warmup!r}; expected a share of the steps, from 0 to 1.")
