"""Simulated systems: shapes, exact sparsity, moments, ensembles, and the rule that repeats extend unchanged."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from superpose import systems
from superpose.files import DataError


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


DRAWS = {
    "sparse_latents": lambda repeats, g: systems.sparse_latents(7, 30, 3, repeats=repeats, generator=g),
    "signed": lambda repeats, g: systems.sparse_latents(7, 30, 3, distribution="signed", repeats=repeats, generator=g),
    "normal": lambda repeats, g: systems.sparse_latents(
        7, 30, 3, distribution="gaussian", repeats=repeats, generator=g
    ),
    **{
        entries: lambda repeats, g, entries=entries: systems.projection(
            5, 30, entries=entries, repeats=repeats, generator=g
        )
        for entries in ("gaussian", "uniform", "rademacher", "sparse", "haar", "unit_norm")
    },
    "overlapping": lambda repeats, g: torch.cat(
        systems.overlapping_projections(5, 4, 20, 10, 6, repeats=repeats, generator=g), -2
    ),
    "noise": lambda repeats, g: systems.noise(torch.zeros(*repeats, 7, 4), 1.5, generator=g),
}


@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS.keys())
def test_more_repeats_extend_fewer_and_equal_single_draws(draw):
    five = draw((5,), seeded())
    assert torch.equal(five[:3], draw((3,), seeded()))
    assert torch.equal(five[0], draw((), seeded()))
    grid = draw((2, 3), seeded())
    assert torch.equal(grid.flatten(0, 1)[:5], five)
    assert grid.dtype == torch.float32
    assert not torch.equal(five[0], five[1])


@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS.keys())
def test_generator_advances_by_one_integer_a_call(draw):
    used, counted = seeded(3), seeded(3)
    first, second = draw((4,), used), draw((4,), used)
    torch.randint(2**62, (), generator=counted)
    assert torch.equal(second, draw((4,), counted))
    assert not torch.equal(first, second)
    assert torch.equal(used.get_state(), counted.get_state())


@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS.keys())
def test_no_generator_is_fresh_and_leaves_the_global_state_alone(draw):
    before = torch.random.get_rng_state()
    assert not torch.equal(draw((), None), draw((), None))
    assert torch.equal(before, torch.random.get_rng_state())


def test_rejected_arguments_do_not_advance_the_generator():
    generator = seeded()
    before = generator.get_state()
    with pytest.raises(DataError):
        systems.sparse_latents(5, 4, 5, generator=generator)
    assert torch.equal(before, generator.get_state())


@pytest.mark.parametrize("distribution", ["uniform", "signed", "gaussian"])
def test_latents_keep_the_largest_magnitudes(distribution):
    dense = systems.sparse_latents(200, 40, 40, distribution=distribution, generator=seeded()).numpy()
    sparse = systems.sparse_latents(200, 40, 6, distribution=distribution, generator=seeded()).numpy()
    assert (np.count_nonzero(sparse, axis=1) == 6).all()
    for row, kept in zip(dense, sparse, strict=True):
        expected = np.where(np.isin(np.arange(40), np.argsort(-np.abs(row))[:6]), row, 0)
        np.testing.assert_array_equal(kept, expected)


def test_distributions_have_their_ranges():
    uniform, signed, normal = (
        systems.sparse_latents(20_000, 8, 8, distribution=d, generator=seeded())
        for d in ("uniform", "signed", "gaussian")
    )
    assert uniform.min() >= 0
    assert uniform.max() <= 1
    assert signed.min() < -0.99
    assert signed.max() > 0.99
    n = uniform.numel()
    assert abs(float(uniform.mean()) - 0.5) < 4 * (1 / 12 / n) ** 0.5
    assert abs(float(signed.mean())) < 4 * (1 / 3 / n) ** 0.5
    assert abs(float(normal.square().mean()) - 1) < 4 * (2 / n) ** 0.5


@pytest.mark.parametrize("entries", ["gaussian", "uniform", "rademacher", "sparse"])
def test_entries_have_unit_variance_and_the_stated_kurtosis(entries):
    a = systems.projection(400, 1000, entries=entries, generator=seeded()).double().numpy().ravel()
    for moment, expected in ((a, 0.0), (a**2, 1.0), (a**4, systems.KURTOSIS[entries])):
        error = moment.std() / np.sqrt(a.size)
        assert abs(moment.mean() - expected) <= 4 * error + 1e-12


def test_haar_rows_are_orthonormal_and_without_preferred_direction():
    a = systems.projection(3, 8, entries="haar", repeats=(4000,), generator=seeded()).double()
    torch.testing.assert_close(a @ a.mT, torch.eye(3).double().expand(4000, 3, 3), atol=1e-6, rtol=0)
    assert abs(float(a.mean())) < 4 / np.sqrt(8 * a.numel())
    # Invariance to rotation: A rotated by a fixed matrix has the same fourth moments as A.
    rotation = torch.linalg.qr(torch.randn(8, 8, generator=seeded(1)).double())[0]
    fourth, rotated = (a**4).mean((1, 2)), ((a @ rotation) ** 4).mean((1, 2))
    assert abs(float(fourth.mean()) - 3 / (8 * 10)) < 4 * float(fourth.std()) / 4000**0.5
    assert abs(float(rotated.mean()) - 3 / (8 * 10)) < 4 * float(rotated.std()) / 4000**0.5


def test_haar_square_is_orthogonal_and_wide_is_refused():
    square = systems.projection(6, 6, entries="haar", generator=seeded())
    torch.testing.assert_close(square.mT @ square, torch.eye(6), atol=1e-6, rtol=0)
    with pytest.raises(DataError, match="7 orthonormal rows do not fit in 6 latents"):
        systems.projection(7, 6, entries="haar")


def test_unit_norm_columns():
    a = systems.projection(9, 40, entries="unit_norm", repeats=(3,), generator=seeded())
    torch.testing.assert_close(a.norm(dim=-2), torch.ones(3, 40))


def test_gaussian_projection_is_the_default_projection():
    assert torch.equal(
        systems.gaussian_projection(4, 9, repeats=(2,), generator=seeded()),
        systems.projection(4, 9, repeats=(2,), generator=seeded()),
    )


@pytest.mark.parametrize("shared", [0, 4, 10])
def test_overlapping_columns(shared):
    a, b = systems.overlapping_projections(5, 3, 14, 10, shared, repeats=(2,), generator=seeded())
    union = 24 - shared
    assert a.shape == (2, 5, union)
    assert b.shape == (2, 3, union)
    in_a, in_b = (a != 0).any(-2).any(0), (b != 0).any(-2).any(0)
    assert in_a.tolist() == [True] * 14 + [False] * (union - 14)
    assert in_b.tolist() == [False] * (14 - shared) + [True] * 10
    assert int((in_a & in_b).sum()) == shared


def test_overlap_alone_changes_what_is_masked_not_what_is_drawn():
    a, b = systems.overlapping_projections(5, 3, 14, 10, 2, generator=seeded())
    a_more, b_more = systems.overlapping_projections(5, 3, 14, 10, 9, generator=seeded())
    assert torch.equal(a[:, :14], a_more[:, :14])
    assert torch.equal(b[:, 12:], b_more[:, 5:])


def test_respond_is_the_product_and_broadcasts():
    z = systems.sparse_latents(11, 20, 3, generator=seeded())
    a = systems.gaussian_projection(6, 20, repeats=(4,), generator=seeded(1))
    y = systems.respond(z, a)
    assert y.shape == (4, 11, 6)
    for r in range(4):
        for i in range(11):
            torch.testing.assert_close(y[r, i], a[r] @ z[i])
    np.testing.assert_allclose(systems.respond(z.numpy(), a.numpy()), y.numpy(), rtol=1e-5, atol=1e-6)


def test_noise_has_its_standard_deviation_and_keeps_the_type():
    y = torch.full((2, 5000, 20), 3.0, dtype=torch.float64)
    noisy = systems.noise(y, 2.5, generator=seeded())
    assert noisy.dtype == torch.float64
    residual = (noisy - y).flatten()
    assert abs(float(residual.std()) - 2.5) < 4 * 2.5 / (2 * residual.numel()) ** 0.5
    assert abs(float(torch.corrcoef((noisy - y).flatten(1))[0, 1])) < 4 / 100_000**0.5
    assert torch.equal(systems.noise(y, 0.0), y)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: systems.sparse_latents(0, 4, 1), "samples is 0; expected a positive integer"),
        (lambda: systems.sparse_latents(5, 4.5, 1), "latents is 4.5; expected a positive integer"),
        (lambda: systems.sparse_latents(5, 4, True), "active is True; expected a positive integer"),
        (lambda: systems.sparse_latents(5, 4, 5), "active is 5 with 4 latents; expected active ≤ latents"),
        (
            lambda: systems.sparse_latents(5, 4, 2, distribution="laplace"),
            "distribution is 'laplace'; expected one of uniform, signed, gaussian",
        ),
        (lambda: systems.projection(2, 3, entries="cauchy"), "entries is 'cauchy'; expected one of gaussian"),
        (lambda: systems.gaussian_projection(-1, 3), "units is -1; expected a positive integer"),
        (lambda: systems.overlapping_projections(1, 1, 4, 3, 4), "shared is 4 with 4 and 3 features"),
        (lambda: systems.overlapping_projections(1, 1, 4, 3, -1), "expected an integer from 0 to the smaller"),
        (lambda: systems.gaussian_projection(2, 3, repeats=5), "repeats is 5; expected a tuple of positive"),
        (lambda: systems.gaussian_projection(2, 3, repeats=(0,)), r"repeats is \(0,\); expected a tuple"),
        (lambda: systems.gaussian_projection(2, 3, generator=0), "generator is 0; expected a torch.Generator"),
        (
            lambda: systems.respond(torch.zeros(3, 4), torch.zeros(2, 5)),
            "latents have 4 columns and the projection 5",
        ),
        (lambda: systems.noise(np.zeros((3, 4)), 1.0), "responses must be a tensor of floating-point numbers"),
        (lambda: systems.noise(torch.zeros(3, 4, dtype=torch.int64), 1.0), "floating-point numbers"),
        (lambda: systems.noise(torch.zeros(3), 1.0), "responses must be a tensor"),
        (lambda: systems.noise(torch.zeros(3, 0), 1.0), "units is 0; expected a positive integer"),
        (lambda: systems.noise(torch.zeros(3, 4), -1.0), "sigma is -1.0; expected a finite standard deviation"),
    ],
)
def test_bad_arguments(call, message):
    with pytest.raises(DataError, match=message):
        call()
