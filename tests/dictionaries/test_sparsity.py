"""Every rule against the plainest one, its gradients by hand, and sparse products against dense ones."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from superpose.dictionaries.sparsity import (
    BatchTopK,
    DenseCodes,
    JumpReLU,
    RaggedSupport,
    ReLU,
    Support,
    TopK,
    preactivations,
)
from superpose.files import DataError
from superpose.numerics.topk import largest

GRADIENTS = ["mask", "straight_through"]
RULES = [
    pytest.param(lambda: TopK(2), id="TopK-sparse"),
    pytest.param(lambda: TopK(4), id="TopK-crowded"),
    pytest.param(lambda: TopK(4, "straight_through"), id="TopK-straight-through"),
    pytest.param(lambda: BatchTopK(4), id="BatchTopK"),
    pytest.param(lambda: JumpReLU(0.8, 0.9), id="JumpReLU"),
    pytest.param(lambda: ReLU(), id="ReLU"),
]


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


def _bound(rule, repeats, latents=20):
    return (rule.bind(repeats, latents) if hasattr(rule, "bind") else rule).double()


def _naive_batch(values, k):
    """Repeat by repeat: the largest of the batch, k a sample, where they are positive."""
    codes = torch.zeros_like(values)
    shape = (-1, *values.shape[-2:])
    for batch, code in zip(values.reshape(shape), codes.view(shape), strict=True):
        places = sorted(np.ndindex(*batch.shape), key=lambda place: -float(batch[place]))
        for place in places[: k * len(batch)]:
            code[place] = max(float(batch[place]), 0.0)
    return codes


@pytest.mark.parametrize("k", [2, 5])
@pytest.mark.parametrize("gradient", GRADIENTS)
@pytest.mark.parametrize("repeats", [(), (3,), (2, 2)])
def test_codes_are_the_k_largest_rectified(k, gradient, repeats):
    y, weight, bias, _ = _problem(repeats)
    topk = TopK(k, gradient)
    values = preactivations(y, weight, bias)
    expected = _naive(values, k)
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


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("repeats", [(), (3,)])
def test_sparse_encoding_has_the_gradients_of_the_dense_one(rule, repeats):
    inputs = [t.requires_grad_() for t in _problem(repeats)[:3]]
    twins = [t.detach().clone().requires_grad_() for t in inputs]
    target = torch.randn(*repeats, 9, 20, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    (rule().encode(*inputs).dense() * target).sum().backward()
    y, weight, bias = twins
    (rule()(y @ weight.mT + bias.unsqueeze(-2)) * target).sum().backward()
    for ours, theirs in zip(inputs, twins, strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("rule", RULES)
def test_one_input_serves_many_repeats(rule):
    y, *_ = _problem()
    _, weight, bias, _ = _problem((3,))
    y, weight = y.requires_grad_(), weight.requires_grad_()
    codes = rule().encode(y, weight, bias).dense()
    codes.sum().backward()
    ours = y.grad.clone(), weight.grad.clone()
    y.grad = weight.grad = None
    rule()(y @ weight.mT + bias.unsqueeze(-2)).sum().backward()
    torch.testing.assert_close(ours, (y.grad, weight.grad), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("repeats", [(), (2,)])
def test_error_and_its_gradients_match_autograd(rule, repeats):
    y, rows, bias_rows, bias = _problem(repeats)
    rule = _bound(rule(), repeats)
    leaves = [t.requires_grad_() for t in (rows, bias_rows, bias, *rule.parameters())]

    def gradients(codes_of):
        error, residual = codes_of()
        for leaf in leaves:
            leaf.grad = None
        (error * torch.arange(1.0, error.numel() + 1, dtype=torch.float64).reshape(error.shape)).sum().backward()
        return error.detach(), residual, *(leaf.grad.clone() for leaf in leaves)

    def ours():
        return rule.encode(y, rows, bias_rows).error(rows, bias, y)

    def naive():
        codes = rule(y @ rows.mT + bias_rows.unsqueeze(-2))
        residual = y - codes @ rows - bias.unsqueeze(-2)
        return residual.square().mean((-2, -1)), residual.detach()

    for a, b in zip(gradients(ours), gradients(naive), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("repeats", [(), (2,)])
def test_distance_and_its_gradients_match_autograd(rule, repeats):
    y, *leaves, _ = _problem(repeats)
    z = torch.rand(9, 20, generator=torch.Generator().manual_seed(7), dtype=torch.float64)
    rule = _bound(rule(), repeats)
    leaves = [t.requires_grad_() for t in (y, *leaves, *rule.parameters())]

    def gradients(distance):
        for leaf in leaves:
            leaf.grad = None
        weights = torch.arange(1.0, distance.numel() + 1, dtype=torch.float64).reshape(distance.shape)
        (distance * weights).sum().backward()
        return distance.detach(), *(leaf.grad.clone() for leaf in leaves)

    ours = gradients(rule.encode(*leaves[:3]).distance(z))
    codes = rule(leaves[0] @ leaves[1].mT + leaves[2].unsqueeze(-2))
    naive = gradients((codes - z).square().sum(-1).mean(-1))
    for a, b in zip(ours, naive, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize(
    "rule", [lambda: TopK(1), lambda: TopK(2), lambda: BatchTopK(2), lambda: ReLU(), lambda: JumpReLU(0.5)]
)
def test_error_gradients_match_finite_differences(rule):
    y, rows, bias_rows, bias = (t.requires_grad_() for t in _problem(samples=4, units=3, latents=9))
    y = y.detach()
    assert torch.autograd.gradcheck(
        lambda rows, bias_rows, bias: rule().encode(y, rows, bias_rows).error(rows, bias, y)[0],
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


@pytest.mark.parametrize("rule", RULES)
def test_fired_says_which_latents_were_active(rule):
    y, weight, bias, _ = _problem((2,), latents=40)
    codes = rule().encode(y, weight, bias - 2)
    assert not codes.fired().all()
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


@pytest.mark.parametrize(
    ("rule", "settings", "text"),
    [
        (
            TopK(7, "straight_through"),
            {"k": 7, "gradient": "straight_through"},
            "TopK(7, gradient='straight_through')",
        ),
        (BatchTopK(np.int64(7)), {"k": 7}, "BatchTopK(7)"),
        (JumpReLU(np.float32(0.5), 1), {"threshold": 0.5, "bandwidth": 1.0}, "JumpReLU(threshold=0.5, bandwidth=1.0)"),
        (ReLU(), {}, "ReLU()"),
    ],
)
def test_rule_rebuilds_the_module(rule, settings, text):
    assert rule.rule() == settings
    assert type(rule)(**rule.rule()).rule() == settings
    assert repr(rule) == text


@pytest.mark.parametrize("rule", [TopK, BatchTopK])
@pytest.mark.parametrize("k", [0, -1, 2.5, True, "3", math.nan, None])
def test_k_must_be_a_positive_integer(rule, k):
    with pytest.raises(DataError, match=r"k is .*; expected a positive integer"):
        rule(k)


@pytest.mark.parametrize("name", ["threshold", "bandwidth"])
@pytest.mark.parametrize("value", [0, -1.0, math.nan, math.inf, True, "0.1", None])
def test_thresholds_and_bandwidths_must_be_positive_numbers(name, value):
    with pytest.raises(DataError, match=rf"{name} is .*; expected a positive number, in units of the pre-activations"):
        JumpReLU(**{name: value})


def test_unknown_gradient():
    with pytest.raises(DataError, match="gradient is 'soft'; expected one of 'mask', 'straight_through'"):
        TopK(3, "soft")


def test_too_few_latents():
    with pytest.raises(DataError, match="TopK keeps 5 latents and there are 4; lower k, or raise latents"):
        TopK(5)(torch.zeros(2, 4))
    with pytest.raises(DataError, match="TopK keeps 5 latents and there are 4"):
        TopK(5).encode(torch.zeros(2, 3), torch.zeros(4, 3), torch.zeros(4))
    with pytest.raises(DataError, match="BatchTopK keeps 5 latents and there are 4; lower k, or raise latents"):
        BatchTopK(5)(torch.zeros(2, 4))
    with pytest.raises(DataError, match="BatchTopK keeps 5 latents and there are 4"):
        BatchTopK(5).bind((), 4)


def test_dense_codes_are_what_they_hold():
    values = torch.eye(3)
    assert DenseCodes(values).dense() is values


@pytest.mark.parametrize("repeats", [(), (3,), (2, 2)])
@pytest.mark.parametrize("shift", [0.0, -4.0])
def test_batch_codes_are_the_largest_of_each_repeat_s_batch(repeats, shift):
    y, weight, bias, _ = _problem(repeats)
    values = preactivations(y, weight, bias + shift)
    expected = _naive_batch(values, 5)
    assert torch.equal(BatchTopK(5)(values), expected)
    codes = BatchTopK(5).encode(y, weight, bias + shift)
    assert torch.equal(codes.dense(), expected)
    counts = (expected != 0).sum(-1)
    assert counts.min() != counts.max()
    assert torch.equal(codes.support.counts, counts)
    assert ((counts.sum(-1) == 5 * 9) if shift == 0 else (counts.sum(-1) < 5 * 9)).all()


def test_batch_ties_still_give_exactly_k_a_sample():
    assert (BatchTopK(3)(torch.ones(4, 10)) != 0).sum() == 12
    assert (BatchTopK(10)(torch.ones(4, 10)) != 0).all()


def test_batch_gradient_by_hand():
    values = torch.tensor([[3.0, -1.0, 2.0, 1.5], [1.0, -2.0, 0.5, -4.0]], requires_grad=True)
    (BatchTopK(1)(values) * torch.arange(1.0, 9).reshape(2, 4)).sum().backward()
    assert torch.equal(values.grad, torch.tensor([[1.0, 0.0, 3.0, 0.0], [0.0, 0.0, 0.0, 0.0]]))


def test_a_batch_without_positive_values_has_codes_and_gradients_of_zero():
    y, weight, bias, decoder_bias = (t.requires_grad_() for t in _problem((2,)))
    codes = BatchTopK(3).encode(y, weight, bias - 100)
    assert not codes.dense().any()
    assert not codes.fired().any()
    error, residual = codes.error(weight, decoder_bias, y)
    torch.testing.assert_close(residual, y - decoder_bias.unsqueeze(-2))
    error.sum().backward()
    assert not weight.grad.any()


def test_the_threshold_is_a_running_mean_of_the_smallest_value_kept():
    draw = torch.Generator().manual_seed(0)
    rule = BatchTopK(2).bind((3,), 20)
    assert torch.equal(rule.threshold, torch.zeros(3))
    batches = torch.randn(200, 3, 16, 20, generator=draw)
    smallest = torch.stack([torch.stack([b[b > 0].min() for b in _naive_batch(v, 2)]) for v in batches[:4]])
    rule(batches[0])
    torch.testing.assert_close(rule.threshold, smallest[0])
    for values in batches[1:4]:
        rule(values)
    weights = torch.tensor([0.95**3, 0.05 * 0.95**2, 0.05 * 0.95, 0.05])
    torch.testing.assert_close(rule.threshold, (weights[:, None] * smallest).sum(0))
    for values in batches[4:]:
        rule(values)
    # a tenth of a normal variable lies above 1.2816, and k of n is a tenth
    torch.testing.assert_close(rule.threshold, torch.full((3,), 1.2816), rtol=0, atol=0.05)


def test_the_threshold_moves_in_training_alone():
    y, weight, bias, _ = _problem((2,), dtype=torch.float32)
    rule = BatchTopK(3).bind((2,), 20)
    rule.encode(y, weight, bias)
    learned = rule.threshold.clone()
    assert (learned > 0).all()
    rule.infer(y + 1, weight, bias)
    rule.eval()
    rule.encode(y + 1, weight, bias)
    rule(preactivations(y + 1, weight, bias))
    assert torch.equal(rule.threshold, learned)
    rule.train()
    rule.encode(y + 1, weight, bias)
    assert not torch.equal(rule.threshold, learned)


def test_a_repeat_that_keeps_nothing_learns_nothing_and_leaves_the_others_alone():
    values = torch.randn(2, 9, 20, generator=torch.Generator().manual_seed(0))
    rule, alone = BatchTopK(3).bind((2,), 20), BatchTopK(3)
    for shift in (0.0, 0.5):
        rule(torch.stack([values[0] + shift, values[1] - 100]))
        alone(values[0] + shift)
    assert torch.equal(rule.threshold, torch.stack([alone.threshold, torch.zeros(())]))


def test_codes_in_use_exceed_the_threshold_and_do_not_depend_on_the_batch():
    y, weight, bias, _ = _problem((2,))
    rule = _bound(BatchTopK(3), (2,))
    rule.encode(y, weight, bias)
    values = preactivations(y, weight, bias)
    expected = torch.where(values > rule.threshold[:, None, None], values, 0.0)
    assert torch.equal(rule.infer(y, weight, bias).dense(), expected)
    parts = [rule.infer(rows, weight, bias).dense() for rows in y.split([1, 5, 3], dim=-2)]
    torch.testing.assert_close(torch.cat(parts, -2), expected, rtol=1e-12, atol=1e-12)
    rule.eval()
    assert torch.equal(rule.encode(y, weight, bias).dense(), expected)
    assert torch.equal(rule(values), expected)
    untrained = BatchTopK(3).bind((2,), 20).double()
    assert torch.equal(untrained.infer(y, weight, bias).dense(), values.relu())


@pytest.mark.parametrize("rule", [BatchTopK(3), JumpReLU(0.4, 0.2)])
def test_a_bound_rule_has_the_settings_and_state_of_its_own(rule):
    first, second = rule.bind((2,), 20), rule.bind((), 20)
    assert first.rule() == second.rule() == rule.rule()
    before = {key: value.clone() for key, value in rule.state_dict().items()}
    for value in first.state_dict().values():
        value.fill_(7.0)
    for other in (rule, second, first.bind((2,), 20)):
        assert all((value < 7).all() for value in other.state_dict().values())
    assert all(torch.equal(value, before[key]) for key, value in rule.state_dict().items())


@pytest.mark.parametrize("rule", RULES)
def test_rules_of_many_repeats_are_the_single_ones(rule):
    y, weight, bias, _ = _problem((3,))
    batched = _bound(rule(), (3,))
    with torch.no_grad():
        for parameter in batched.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    state = {key: value.clone() for key, value in batched.state_dict().items()}
    together = batched.encode(y, weight, bias)
    for r in range(3):
        single = _bound(rule(), ())
        single.load_state_dict({key: value[r] for key, value in state.items()})
        alone = single.encode(y[r], weight[r], bias[r])
        torch.testing.assert_close(together.dense()[r], alone.dense(), rtol=1e-12, atol=1e-12)
        if hasattr(single, "penalty"):
            torch.testing.assert_close(batched.penalty(together)[r], single.penalty(alone))
        for key, value in single.state_dict().items():
            torch.testing.assert_close(batched.state_dict()[key][r], value)


def test_jump_codes_are_what_exceeds_each_latent_s_threshold():
    y, weight, bias, _ = _problem((2,))
    rule = _bound(JumpReLU(), (2,))
    with torch.no_grad():
        rule.log_threshold.copy_(torch.randn(2, 20, generator=torch.Generator().manual_seed(1)))
    values = preactivations(y, weight, bias)
    expected = values * (values > rule.log_threshold.detach().exp()[:, None, :])
    assert torch.equal(rule(values), expected)
    codes = rule.encode(y, weight, bias)
    assert torch.equal(codes.dense(), expected)
    torch.testing.assert_close(rule.penalty(codes), (expected != 0).double().sum(-1).mean(-1))
    torch.testing.assert_close(rule.threshold, rule.log_threshold.exp())


def test_jump_gradients_by_hand():
    values = torch.tensor([[0.74, 0.76, 1.2, 1.3], [-2.0, 1.0, 0.9, 5.0]], requires_grad=True)
    weights = torch.arange(1.0, 9).reshape(2, 4)
    rule = JumpReLU(1.0, 0.5).bind((), 4)
    (rule(values) * weights).sum().backward()
    # kept: above 1
    assert torch.equal(values.grad, torch.tensor([[0.0, 0.0, 3.0, 4.0], [0.0, 0.0, 0.0, 8.0]]))
    # d code / dθ = -θ / ε = -2 from 0.75 to 1.25, kept or not; θ = 1, so d θ / d log θ = 1
    torch.testing.assert_close(rule.log_threshold.grad, torch.tensor([0.0, -2.0 * (2 + 6), -2.0 * (3 + 7), 0.0]))


def test_jump_penalty_gradients_by_hand():
    weight = torch.eye(4).requires_grad_()
    y = torch.tensor([[1.48, 1.52, 2.4, 2.6], [-2.0, 2.0, 1.8, 5.0]])
    rule = JumpReLU(2.0, 1.0).bind((), 4)
    penalty = rule.penalty(rule.encode(y, weight, torch.zeros(4)))
    assert penalty == 3 / 2
    (3 * penalty).backward()
    # -θ / ε = -2 a log-threshold, from 1.5 to 2.5, over two samples, times 3
    torch.testing.assert_close(rule.log_threshold.grad, torch.tensor([0.0, -6.0, -6.0, 0.0]))
    assert weight.grad is None or not weight.grad.any()


def test_jump_gradients_estimate_those_of_the_expected_loss():
    """Over z of density φ, as θ grows, E H(z - θ) falls by φ(θ) and E (t - code)² rises by φ(θ) (t² - (t - θ)²).

    That is what the pseudo-gradients are for: a narrow kernel over many samples sees just these slopes.
    """
    grid = (torch.arange(400_000, dtype=torch.float64) + 0.5) / 400_000
    z = torch.special.ndtri(grid)[None, :, None]
    rule, target, threshold = JumpReLU(0.7, 0.01).bind((1,), 1).double(), 0.5, 0.7
    density = math.exp(-(threshold**2) / 2) / math.sqrt(2 * math.pi)
    codes = rule.encode(z, torch.ones_like(z[:, :1]), torch.zeros_like(z[:, 0]))
    (slope,) = torch.autograd.grad(rule.penalty(codes).sum(), rule.log_threshold)
    assert slope.item() / threshold == pytest.approx(-density, rel=0.02)
    (slope,) = torch.autograd.grad((target - codes.dense()).square().mean(), rule.log_threshold)
    assert slope.item() / threshold == pytest.approx(density * (target**2 - (target - threshold) ** 2), rel=0.02)


def test_the_penalty_of_relu_is_the_l1_norm_of_a_code():
    y, weight, bias, _ = (t.requires_grad_() for t in _problem((2,), samples=4, units=3, latents=7))
    penalty = ReLU().penalty(ReLU().encode(y, weight, bias))
    torch.testing.assert_close(penalty, (y @ weight.mT + bias.unsqueeze(-2)).relu().abs().sum((-2, -1)) / 4)
    assert torch.autograd.gradcheck(lambda w, b: ReLU().penalty(ReLU().encode(y, w, b)), (weight, bias))


def test_a_price_on_sparsity_makes_codes_sparser():
    """Thresholds rise, pre-activations fall: one step down the gradient of a penalty lowers it."""
    y, weight, bias, _ = (t.requires_grad_() for t in _problem(samples=200))
    for rule in (JumpReLU(0.8, 0.5).bind((), 20).double(), ReLU()):
        parameters = [*rule.parameters()] or [weight, bias]
        before = rule.penalty(rule.encode(y, weight, bias))
        slopes = torch.autograd.grad(before, parameters)
        with torch.no_grad():
            for parameter, slope in zip(parameters, slopes, strict=True):
                parameter.sub_(0.1 * slope)
        assert rule.penalty(rule.encode(y, weight, bias)) < before


def test_ragged_products_match_dense_ones():
    y, weight, _, _ = _problem((3,))
    draw = torch.Generator().manual_seed(3)
    kept = torch.rand(3, 9, 20, generator=draw) < 0.2
    kept[1, 4:6] = False
    support = RaggedSupport(kept.nonzero()[:, -1], 20, kept.sum(-1))
    dense = torch.randn(3, 9, 20, generator=draw, dtype=torch.float64) * kept
    values = dense[kept]
    assert torch.equal(support.dense(values), dense)
    torch.testing.assert_close(support.gather(values, weight), dense @ weight, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(support.spread(values, y), dense.mT @ y, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(support.total(values), dense.sum(-2), rtol=1e-12, atol=1e-12)
