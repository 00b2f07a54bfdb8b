"""Simulated systems: sparse latents, random projections of them, shared and private features, noise."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

import numpy as np
import torch

from superpose.arrays import meant
from superpose.files import DataError, argument
from superpose.numerics.topk import is_largest

T = TypeVar("T")
Shape = tuple[int, int]
Draw = Callable[[Shape, torch.Generator], torch.Tensor]

KURTOSIS: dict[str, float] = {"gaussian": 3.0, "uniform": 1.8, "rademacher": 1.0, "sparse": 30.0}
"""Fourth moment over squared variance of the independent entries that `projection` draws."""


def sparse_latents(
    samples: int,
    latents: int,
    active: int,
    *,
    distribution: str = "uniform",
    repeats: tuple[int, ...] = (),
    generator: torch.Generator | None = None,
) -> torch.Tensor:
    """Draw latents of which each sample has exactly `active` non-zero ones: the largest of independent draws.

    The simulated stimuli of the paper's experiments (appendices D and E): independent entries, of which the
    `active` largest in magnitude are kept and the others set to zero. "uniform" latents are positive and
    slightly correlated; "signed" latents are white up to their scale and have no mean.
    `superpose.theory.latent_covariance` gives the exact moments of each.

    Parameters
    ----------
    samples, latents : int
        Rows and columns of each draw.
    active : int
        Non-zero latents per sample, k; from 1 to `latents`.
    distribution : {"uniform", "signed", "gaussian"}
        Uniform on [0, 1]; uniform on [-1, 1]; normal with mean 0 and variance 1.
    repeats : tuple of int
        Leading axes of independent draws.
    generator : torch.Generator, optional
        Advanced by one integer; repeat r depends on that integer and r alone, so that more repeats extend
        fewer. None draws fresh entropy. The result lies on the generator's device.

    Returns
    -------
    torch.Tensor, (*repeats, samples, latents), float32

    Raises
    ------
    DataError
        If a size is not a positive integer, `active` exceeds `latents`, or `distribution` is unknown.

    Examples
    --------
    >>> import torch
    >>> from superpose.systems import sparse_latents
    >>> z = sparse_latents(5, 20, 3, repeats=(2,), generator=torch.Generator().manual_seed(0))
    >>> z.shape, (z != 0).sum(-1).unique()
    (torch.Size([2, 5, 20]), tensor([3]))
    """
    _positive(samples=samples, latents=latents, active=active)
    if active > latents:
        raise DataError(f"{argument('active')} is {active} with {latents} latents; expected active ≤ latents.")
    draw = _choose(DISTRIBUTIONS, "distribution", distribution)
    shape = (samples, latents)
    return _repeated(lambda child: _keep_largest(draw(shape, child), active), shape, repeats, generator)


def gaussian_projection(
    units: int, latents: int, *, repeats: tuple[int, ...] = (), generator: torch.Generator | None = None
) -> torch.Tensor:
    """Draw projections with independent entries of mean 0 and variance 1, Eq. (6).

    Parameters
    ----------
    units, latents : int
        Rows and columns: m units that each mix n latents.
    repeats, generator
        As in `sparse_latents`.

    Returns
    -------
    torch.Tensor, (*repeats, units, latents), float32

    Raises
    ------
    DataError
        If a size is not a positive integer.

    Examples
    --------
    >>> from superpose.systems import gaussian_projection
    >>> gaussian_projection(8, 64, repeats=(10,)).shape
    torch.Size([10, 8, 64])
    """
    return projection(units, latents, repeats=repeats, generator=generator)


def projection(
    units: int,
    latents: int,
    *,
    entries: str = "gaussian",
    repeats: tuple[int, ...] = (),
    generator: torch.Generator | None = None,
) -> torch.Tensor:
    """Draw random projections of one of six ensembles (Section 3.1 uses the first).

    Parameters
    ----------
    units, latents : int
        Rows and columns.
    entries : {"gaussian", "uniform", "rademacher", "sparse", "haar", "unit_norm"}
        The first four have independent entries of mean 0 and variance 1, and kurtosis (fourth moment) 3, 1.8,
        1 and 30: normal; uniform; a random sign; normal with variance 10 in a tenth of the places and 0
        elsewhere. "haar": orthonormal rows, uniformly distributed (needs units ≤ latents). "unit_norm":
        normal columns scaled to length 1.
    repeats, generator
        As in `sparse_latents`.

    Returns
    -------
    torch.Tensor, (*repeats, units, latents), float32

    Raises
    ------
    DataError
        If a size is not a positive integer, `entries` is unknown, or orthonormal rows do not fit.

    Examples
    --------
    >>> import torch
    >>> from superpose.systems import projection
    >>> a = projection(3, 10, entries="haar")
    >>> bool(torch.allclose(a @ a.mT, torch.eye(3), atol=1e-6))
    True
    """
    _positive(units=units, latents=latents)
    draw = _choose(ENTRIES, "entries", entries)
    if draw is _haar and units > latents:
        raise DataError(
            f"{units} orthonormal rows do not fit in {latents} latents; lower units or choose other entries."
        )
    shape = (units, latents)
    return _repeated(lambda child: draw(shape, child), shape, repeats, generator)


def overlapping_projections(
    units_a: int,
    units_b: int,
    features_a: int,
    features_b: int,
    shared: int,
    *,
    repeats: tuple[int, ...] = (),
    generator: torch.Generator | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw Gaussian projections of two systems that share only some features (Section 3.4).

    The columns run over the union of both feature sets, in the order a-only, shared, b-only; each system's
    columns for features that it lacks are zero.

    Parameters
    ----------
    units_a, units_b : int
        Rows of A and B.
    features_a, features_b : int
        Features that each system represents.
    shared : int
        How many of them both represent; 0 to the smaller of the two.
    repeats, generator
        As in `sparse_latents`. One call advances the generator by one integer for both matrices.

    Returns
    -------
    a, b : torch.Tensor, (*repeats, units, features_a + features_b - shared), float32

    Raises
    ------
    DataError
        If a size is not a positive integer, or `shared` is negative or exceeds a feature set.

    Examples
    --------
    >>> from superpose.systems import overlapping_projections
    >>> a, b = overlapping_projections(2, 3, features_a=4, features_b=3, shared=2)
    >>> (a != 0).any(0).int().tolist(), (b != 0).any(0).int().tolist()
    ([1, 1, 1, 1, 0], [0, 0, 1, 1, 1])
    """
    _positive(units_a=units_a, units_b=units_b, features_a=features_a, features_b=features_b)
    if not isinstance(shared, int | np.integer) or not 0 <= shared <= min(features_a, features_b):
        raise DataError(
            f"shared is {shared!r} with {features_a} and {features_b} features; expected an integer from "
            "0 to the smaller of the two."
        )
    union = features_a + features_b - shared
    children = list(_children(repeats, generator))
    device = children[0].device
    a = torch.zeros(len(children), units_a, union, device=device)
    b = torch.zeros(len(children), units_b, union, device=device)
    for r, child in enumerate(children):
        a[r, :, :features_a] = _gaussian((units_a, features_a), child)
        b[r, :, features_a - shared :] = _gaussian((units_b, features_b), child)
    return a.reshape(*repeats, units_a, union), b.reshape(*repeats, units_b, union)


def respond(latents: Any, projection: Any) -> Any:
    """Return the activity y = A z of each sample (Definition 2.1), as rows: Z Aᵀ.

    Parameters
    ----------
    latents : tensor or array, (…, samples, latents)
    projection : tensor or array, (…, units, latents)
        Leading axes broadcast against those of `latents`: one set of stimuli can drive many systems.

    Returns
    -------
    tensor or array, (…, samples, units)

    Raises
    ------
    DataError
        If the two disagree in their number of latents.

    Examples
    --------
    >>> from superpose.systems import gaussian_projection, respond, sparse_latents
    >>> respond(sparse_latents(100, 64, 4), gaussian_projection(16, 64, repeats=(5,))).shape
    torch.Size([5, 100, 16])
    """
    if latents.shape[-1] != projection.shape[-1]:
        raise DataError(
            f"latents have {latents.shape[-1]} columns and the projection {projection.shape[-1]}; expected "
            "the same number of latents in the last axis of both."
        )
    return latents @ projection.swapaxes(-1, -2)


def noise(responses: torch.Tensor, sigma: float, *, generator: torch.Generator | None = None) -> torch.Tensor:
    """Return responses with independent normal noise added to every entry.

    Parameters
    ----------
    responses : torch.Tensor, (…, samples, units)
        Leading axes are repeats; repeat r has noise of its own, as in `sparse_latents`.
    sigma : float
        Standard deviation, in the units of the responses; at least 0.
    generator : torch.Generator, optional
        As in `sparse_latents`.

    Returns
    -------
    torch.Tensor, (…, samples, units)
        Of the type and on the device of `responses`.

    Raises
    ------
    DataError
        If `responses` is not a floating-point tensor with samples and units, or `sigma` is negative or
        not finite.

    Examples
    --------
    >>> import torch
    >>> from superpose.systems import noise
    >>> y = noise(torch.zeros(1000, 10), 2.0, generator=torch.Generator().manual_seed(0))
    >>> round(float(y.std()), 1)
    2.0
    """
    if not isinstance(responses, torch.Tensor) or responses.ndim < 2 or not responses.is_floating_point():
        raise DataError(
            "responses must be a tensor of floating-point numbers, (…, samples, units); "
            "torch.as_tensor makes one of an array."
        )
    if not (math.isfinite(sigma) and sigma >= 0):
        raise DataError(f"sigma is {sigma!r}; expected a finite standard deviation of at least 0.")
    *repeats, samples, units = responses.shape
    _positive(samples=samples, units=units)
    shape = (samples, units)
    drawn = _repeated(lambda child: _gaussian(shape, child), shape, tuple(repeats), generator)
    return responses + sigma * drawn.to(responses)


def _uniform(shape: Shape, generator: torch.Generator) -> torch.Tensor:
    return torch.rand(shape, generator=generator, device=generator.device)


def _signed(shape: Shape, generator: torch.Generator) -> torch.Tensor:
    return 2 * _uniform(shape, generator) - 1


def _gaussian(shape: Shape, generator: torch.Generator) -> torch.Tensor:
    return torch.randn(shape, generator=generator, device=generator.device)


def _unit_variance_uniform(shape: Shape, generator: torch.Generator) -> torch.Tensor:
    return math.sqrt(3) * _signed(shape, generator)


def _rademacher(shape: Shape, generator: torch.Generator) -> torch.Tensor:
    return 2.0 * torch.randint(2, shape, generator=generator, device=generator.device) - 1


def _sparse(shape: Shape, generator: torch.Generator) -> torch.Tensor:
    return (_uniform(shape, generator) < 0.1) * math.sqrt(10) * _gaussian(shape, generator)


def _haar(shape: Shape, generator: torch.Generator) -> torch.Tensor:
    # The signs make the QR factorisation unique, hence Q uniformly distributed (Mezzadri 2007).
    q, r = torch.linalg.qr(_gaussian(shape, generator).mT.double())
    return (q * r.diagonal().sign()).mT.float()


def _unit_norm(shape: Shape, generator: torch.Generator) -> torch.Tensor:
    columns = _gaussian(shape, generator)
    return columns / columns.norm(dim=0)


DISTRIBUTIONS: dict[str, Draw] = {"uniform": _uniform, "signed": _signed, "gaussian": _gaussian}
ENTRIES: dict[str, Draw] = {
    "gaussian": _gaussian,
    "uniform": _unit_variance_uniform,
    "rademacher": _rademacher,
    "sparse": _sparse,
    "haar": _haar,
    "unit_norm": _unit_norm,
}


def _keep_largest(values: torch.Tensor, active: int) -> torch.Tensor:
    return torch.where(is_largest(values.abs(), active), values, 0.0)


def _repeated(
    draw: Callable[[torch.Generator], torch.Tensor],
    shape: Shape,
    repeats: tuple[int, ...],
    generator: torch.Generator | None,
) -> torch.Tensor:
    """Fill (*repeats, *shape), each repeat from its own generator and one at a time, to bound the memory."""
    children = list(_children(repeats, generator))
    out = torch.empty(len(children), *shape, device=children[0].device)
    for slot, child in zip(out, children, strict=True):
        slot.copy_(draw(child))
    return out.reshape(*repeats, *shape)


def _children(repeats: tuple[int, ...], generator: torch.Generator | None) -> Iterator[torch.Generator]:
    """Yield one generator a repeat, seeded from one integer of `generator` and the repeat's flat index."""
    if not isinstance(repeats, tuple) or not all(isinstance(r, int | np.integer) and r > 0 for r in repeats):
        raise DataError(f"repeats is {repeats!r}; expected a tuple of positive integers, as (50,), or () for one draw.")
    if generator is not None and not isinstance(generator, torch.Generator):
        raise DataError(
            f"generator is {generator!r}; expected a torch.Generator, as torch.Generator().manual_seed(0), "
            "or None for fresh entropy."
        )
    device = torch.device("cpu") if generator is None else generator.device
    root = (
        torch.Generator().seed()
        if generator is None
        else int(torch.randint(2**62, (), generator=generator, device=device))
    )
    for r in range(math.prod(repeats)):
        seed = int(np.random.SeedSequence((root, r)).generate_state(1, np.uint64)[0])
        yield torch.Generator(device).manual_seed(seed)


def _positive(**sizes: int) -> None:
    for name, size in sizes.items():
        if isinstance(size, bool) or not isinstance(size, int | np.integer) or size < 1:
            raise DataError(f"{argument(name)} is {size!r}; expected a positive integer.")


def _choose(table: Mapping[str, T], name: str, value: str) -> T:
    if value not in table:
        raise DataError(f"{argument(name)} is {value!r}; expected one of {', '.join(table)}.{meant(value, table)}")
    return table[value]
