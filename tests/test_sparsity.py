"""TopK by hand, its two gradients by hand, and sparse products against dense ones."""

from __future__ import annotations

import pytest
import torch

from superpose.files import DataError
from superpose.selection import largest
from superpose.sparsity import DenseCodes, Support, TopK, preactivations

GRADIENTS = ["mask", "straight_through"]


def _problem(repeats=(), samples=9, units=6, latents=20, dtype=torch.float64, seed=0):
    draw = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*repeats, *shape, generator=draw, dtype=dtype)

    return normal(samples, units), normal(latents, units), normal(latents), normal(units)


def _naive(values, k):
    """Row by row, in the plainest way: the k largest, rectified."""
    codes = torch.zeros_like(values)
    for row, code in zip(values.reshape(-1, values.shape[-1]), codes.view(-1, values.shape[-1]), strict=True):
        for j in sorted(range(len(row)), key=lambda j: -float(row[j]))[:k]:
            code[j] = max(float(row[j]), 0.0)
    return codes


@pytest.mark.parametrize("gradient", GRADIENTS)
@pytest.mark.parametrize("repeats", [(), (3,), (2, 2)])
def test_codes_are_the_k_largest_rectified(gradient, repeats):
    y, weight, bias, _ = _problem(repeats)
    topk = TopK(5, gradient)
    values = preactivations(y, weight, bias)
    expected = _naive(values, 5)
    assert torch.equal(topk(values), expected)
    assert torch.equal(topk.encode(y, weight, bias).dense(), expected)
    assert (expected < 0).sum() == 0
    assert (topk(values - 100) == 0).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_ties_still_give_exactly_k(dtype):
    values = torch.zeros(4, 10, dtype=dtype)
    values[1, 3] = 1
    indices = largest(values, 3)
    assert indices.shape == (4, 3)
    assert all(len(set(row.tolist())) == 3 for row in indices)
    assert 3 in indices[1]


def test_all_latents_may_be_kept():
    values = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
    assert torch.equal(TopK(4)(values), values.relu())


def test_masked_gradient_by_hand():
    values = torch.tensor([[3.0, -1.0, 2.0, 1.0], [1.0, -2.0, -3.0, -4.0]], requires_grad=True)
    weights = torch.tensor([[1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]])
    (TopK(2)(values) * weights).sum().backward()
    # kept and positive: entries 0 and 2 of the first row; entry 0 of the second, whose second largest is negative
    assert torch.equal(values.grad, torch.tensor([[1.0, 0.0, 3.0, 0.0], [5.0, 0.0, 0.0, 0.0]]))


def test_straight_through_gradient_by_hand():
    values = torch.tensor([[3.0, -1.0, 2.0, 1.0]], requires_grad=True)
    weights = torch.tensor([[1.0, 2.0, 3.0, 4.0]])
    (TopK(2, "straight_through")(values) * weights).sum().backward()
    assert torch.equal(values.grad, weights)


@pytest.mark.parametrize("repeats", [(), (3,)])
def test_sparse_encoding_has_the_gradients_of_the_dense_one(repeats):
    inputs = [t.requires_grad_() for t in _problem(repeats)[:3]]
    twins = [t.detach().clone().requires_grad_() for t in inputs]
    target = torch.randn(*repeats, 9, 20, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    (TopK(4).encode(*inputs).dense() * target).sum().backward()
    y, weight, bias = twins
    (TopK(4)(y @ weight.mT + bias.unsqueeze(-2)) * target).sum().backward()
    for ours, theirs in zip(inputs, twins, strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-12, atol=1e-12)


def test_one_input_serves_many_repeats():
    y, *_ = _problem()
    _, weight, bias, _ = _problem((3,))
    y, weight = y.requires_grad_(), weight.requires_grad_()
    codes = TopK(4).encode(y, weight, bias).dense()
    codes.sum().backward()
    ours = y.grad.clone(), weight.grad.clone()
    y.grad = weight.grad = None
    TopK(4)(y @ weight.mT + bias.unsqueeze(-2)).sum().backward()
    torch.testing.assert_close(ours, (y.grad, weight.grad), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("gradient", GRADIENTS)
@pytest.mark.parametrize("repeats", [(), (2,)])
def test_error_and_its_gradients_match_autograd(gradient, repeats):
    y, rows, bias_rows, bias = _problem(repeats)
    leaves = [t.requires_grad_() for t in (rows, bias_rows, bias)]

    def gradients(codes_of):
        error, residual = codes_of()
        for leaf in leaves:
            leaf.grad = None
        (error * torch.arange(1.0, error.numel() + 1, dtype=torch.float64).reshape(error.shape)).sum().backward()
        return error.detach(), residual, *(leaf.grad.clone() for leaf in leaves)

    def ours():
        return TopK(4, gradient).encode(y, rows, bias_rows).error(rows, bias, y)

    def naive():
        codes = TopK(4, gradient)(y @ rows.mT + bias_rows.unsqueeze(-2))
        residual = y - codes @ rows - bias.unsqueeze(-2)
        return residual.square().mean((-2, -1)), residual.detach()

    for a, b in zip(gradients(ours), gradients(naive), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-11, atol=1e-12)


def test_error_gradients_match_finite_differences():
    y, rows, bias_rows, bias = (t.requires_grad_() for t in _problem(samples=4, units=3, latents=7))
    y = y.detach()
    assert torch.autograd.gradcheck(
        lambda rows, bias_rows, bias: TopK(2).encode(y, rows, bias_rows).error(rows, bias, y)[0],
        (rows, bias_rows, bias),
        eps=1e-7,
        atol=1e-5,
    )


def test_a_constant_dictionary_gets_no_gradient():
    y, rows, bias_rows, bias = _problem()
    rows.requires_grad_()
    TopK(3).encode(y, rows.detach(), bias_rows.requires_grad_()).error(rows.detach(), bias, y)[0].backward()
    assert rows.grad is None
    assert bias_rows.grad.abs().sum() > 0


@pytest.mark.parametrize("gradient", GRADIENTS)
def test_fired_says_which_latents_were_active(gradient):
    y, weight, bias, _ = _problem((2,), latents=40)
    codes = TopK(2, gradient).encode(y, weight, bias)
    assert torch.equal(codes.fired(), (codes.dense() != 0).any(-2))


def test_support_products_match_dense_ones():
    y, weight, bias, _ = _problem((3,))
    support = Support(largest(preactivations(y, weight, bias), 4), 20)
    values = torch.randn(3, 9, 4, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    dense = torch.zeros(3, 9, 20, dtype=torch.float64).scatter(-1, support.indices, values)
    torch.testing.assert_close(support.gather(values, weight), dense @ weight, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(support.spread(values, y), dense.mT @ y, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(support.total(values), dense.sum(-2), rtol=1e-12, atol=1e-12)


def test_more_latents_than_sixteen_bits():
    latents = 70_000
    indices = torch.tensor([[69_999, 3], [3, 65_537]])
    support = Support(indices, latents)
    spread = support.spread(torch.ones(2, 2), torch.tensor([[1.0], [10.0]]))
    assert {i: float(spread[i]) for i in (3, 65_537, 69_999, 1)} == {3: 11.0, 65_537: 10.0, 69_999: 1.0, 1: 0.0}


def test_rule_rebuilds_the_module():
    topk = TopK(7, "straight_through")
    assert TopK(**topk.rule()).rule() == {"k": 7, "gradient": "straight_through"}
    assert repr(topk) == "TopK(7, gradient='straight_through')"


@pytest.mark.parametrize("k", [0, -1, 2.5, True, "3"])
def test_k_must_be_a_positive_integer(k):
    with pytest.raises(DataError, match=r"k is .*; expected a positive integer"):
        TopK(k)


def test_unknown_gradient():
    with pytest.raises(DataError, match="gradient is 'soft'; expected one of 'mask', 'straight_through'"):
        TopK(3, "soft")


def test_too_few_latents():
    with pytest.raises(DataError, match="TopK keeps 5 latents and there are 4; lower k, or raise latents"):
        TopK(5)(torch.zeros(2, 4))
    with pytest.raises(DataError, match="TopK keeps 5 latents and there are 4"):
        TopK(5).encode(torch.zeros(2, 3), torch.zeros(4, 3), torch.zeros(4))


def test_dense_codes_are_what_they_hold():
    values = torch.eye(3)
    assert DenseCodes(values).dense() is values
