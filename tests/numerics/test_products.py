"""The product of this process: right, differentiable, and never surprising."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import superpose.numerics.products as products

ROUTES = ["torch", "numpy"]


@pytest.fixture(params=ROUTES)
def forced(request, monkeypatch):
    monkeypatch.setattr(products, "route", lambda: request.param)
    return request.param


def _pair(rows=7, inner=5, columns=3, dtype=torch.float32):
    draw = torch.Generator().manual_seed(0)
    return (
        torch.randn(rows, inner, generator=draw, dtype=dtype),
        torch.randn(inner, columns, generator=draw, dtype=dtype),
    )


def test_route_is_chosen_once_and_named():
    assert products.route() in ROUTES
    assert products.route() == products.route()


def test_choice_needs_a_clear_gain_and_the_same_exactness(monkeypatch):
    def wrong(a, b):
        return a @ b + 1

    seconds = {torch.matmul: 1.0, products._by_numpy: 0.9, wrong: 0.1}
    monkeypatch.setattr(products, "_BUDGET", 60.0)
    monkeypatch.setattr(products, "_seconds", lambda product, a, b: seconds[product])
    assert products._choose(torch.matmul, products._by_numpy) == "torch"
    seconds[products._by_numpy] = 0.5
    assert products._choose(torch.matmul, products._by_numpy) == "numpy"
    assert products._choose(torch.matmul, wrong) == "torch"


def test_rounds_that_a_busy_machine_slows_do_not_decide(monkeypatch):
    monkeypatch.setattr(products, "_BUDGET", 60.0)
    slow, fast = 9.0, {torch.matmul: 1.0, products._by_numpy: 0.5}
    calls = []

    def seconds(product, a, b):
        calls.append(product)
        return fast[product] if len(calls) in (5, 12) else slow

    monkeypatch.setattr(products, "_seconds", seconds)
    assert products._choose(torch.matmul, products._by_numpy) == "numpy"


def test_a_race_ends_early_on_a_slow_machine(monkeypatch):
    monkeypatch.setattr(products, "_BUDGET", 0.0)
    calls = []
    monkeypatch.setattr(products, "_seconds", lambda product, a, b: calls.append(product) or 1.0)
    assert products._choose(torch.matmul, products._by_numpy) == "torch"
    assert len(calls) == 2 * products._FEWEST


def test_a_route_that_is_taken_is_kept_within_its_block():
    usual = products.route()
    for name in ROUTES:
        with products.taking(name):
            assert products.route() == name
    assert products.route() == usual


@pytest.mark.parametrize("transposed", [False, True])
def test_every_route_multiplies_and_differentiates(forced, transposed):
    a, b = _pair()
    if transposed:
        a, b = b.mT.contiguous().mT, torch.randn(5, 3, generator=torch.Generator().manual_seed(1)).mT
        a = a.mT
        b = b.mT
    a, b = a.clone().requires_grad_(), b.clone().requires_grad_()
    exact_a, exact_b = (t.detach().double().requires_grad_() for t in (a, b))
    weight = torch.arange(a.shape[0] * b.shape[1], dtype=torch.float32).reshape(a.shape[0], b.shape[1])
    product = products.matmul(a, b)
    (product * weight).sum().backward()
    exact = exact_a @ exact_b
    (exact * weight.double()).sum().backward()
    for ours, theirs in ((product, exact), (a.grad, exact_a.grad), (b.grad, exact_b.grad)):
        torch.testing.assert_close(ours.double(), theirs, rtol=1e-5, atol=1e-4)


def test_gradient_of_one_operand_alone(forced):
    a, b = _pair()
    a.requires_grad_()
    products.matmul(a, b).sum().backward()
    torch.testing.assert_close(a.grad, b.sum(1).expand(7, 5))


def test_arrays_give_arrays(forced):
    a, b = (t.numpy() for t in _pair())
    expected = a.astype(np.float64) @ b.astype(np.float64)
    for left in (a, np.asfortranarray(a), np.repeat(a, 2, 0)[::2]):
        result = products.matmul(left, b)
        assert isinstance(result, np.ndarray)
        np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-5)
    backwards = a[::-1]
    np.testing.assert_allclose(products.matmul(backwards, b), expected[::-1], rtol=1e-5, atol=1e-5)


@pytest.mark.filterwarnings("error")
def test_read_only_memory_is_multiplied_without_a_warning(forced):
    a, b = (t.numpy() for t in _pair())
    a.flags.writeable = False
    np.testing.assert_allclose(products.matmul(a, b), a @ b, rtol=1e-6)


def test_other_types_and_dimensions_fall_through(forced):
    a, b = _pair(dtype=torch.float64)
    assert products.matmul(a, b).dtype == torch.float64
    assert torch.equal(products.matmul(a, b), a @ b)
    batch = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(0))
    assert torch.equal(products.matmul(batch, batch.mT), batch @ batch.mT)
    assert products.matmul(a.numpy(), b.numpy()).dtype == np.float64
