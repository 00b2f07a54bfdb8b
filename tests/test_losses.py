"""Every loss against a plain dense version of it, differentiated by autograd."""

from __future__ import annotations

import functools

import pytest
import torch

from superpose.files import DataError
from superpose.losses import DEAD_AFTER, REVIVED, auxiliary, joint, reconstruction, supervised
from superpose.sae import SparseAutoencoder
from superpose.sparsity import TopK

GRADIENTS = ["mask", "straight_through"]


def _sae(units=6, latents=20, k=4, gradient="mask", repeats=(), seed=0):
    draw = torch.Generator().manual_seed(seed)
    sae = SparseAutoencoder(units, latents, TopK(k, gradient), repeats=repeats, generator=draw).double()
    for parameter in sae.parameters():
        parameter.data.add_(0.3 * torch.randn(parameter.shape, generator=draw, dtype=torch.float64))
    sae.centre.copy_(torch.randn(sae.centre.shape, generator=draw, dtype=torch.float64))
    sae.scale.copy_(1 + torch.rand(sae.scale.shape, generator=draw, dtype=torch.float64))
    return sae


def _x(*shape, seed=9):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _codes(sae, y):
    """The same codes by dense products and autograd's own rules."""
    values = y @ sae.encoder.mT + sae.encoder_bias.unsqueeze(-2)
    kept = torch.zeros_like(values).scatter(-1, values.topk(sae.sparsity.k, dim=-1).indices, 1.0)
    codes = (values * kept).relu()
    return values + (codes - values).detach() if sae.sparsity.gradient == "straight_through" else codes


def _decoded(dictionary, bias, codes):
    return codes @ dictionary + bias.unsqueeze(-2)


def _mean_square(error):
    return error.square().sum(-1).mean(-1) / error.shape[-1]


def _gradients(value, modules):
    weights = torch.arange(1.0, value.numel() + 1, dtype=value.dtype).reshape(value.shape)
    for module in modules:
        module.zero_grad()
    (value * weights).sum().backward()
    return [None if p.grad is None else p.grad.clone() for m in modules for p in m.parameters()]


def _agree(ours, naive, modules):
    torch.testing.assert_close(ours, naive, rtol=1e-11, atol=1e-12)
    for a, b in zip(_gradients(ours, modules), _gradients(naive, modules), strict=True):
        a, b = (torch.zeros(()).double() if g is None else g for g in (a, b))
        torch.testing.assert_close(*torch.broadcast_tensors(a, b), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("gradient", GRADIENTS)
@pytest.mark.parametrize("repeats", [(), (3,)])
@pytest.mark.parametrize("shared", [False, True])
def test_supervised(gradient, repeats, shared):
    sae, z = _sae(gradient=gradient, repeats=repeats), _x(*(() if shared else repeats), 9, 20)
    y = _decoded(sae.dictionary, sae.decoder_bias, z)
    _agree(supervised(sae, z), (z - _codes(sae, y)).square().sum(-1).mean(-1), [sae])


@pytest.mark.parametrize("gradient", GRADIENTS)
@pytest.mark.parametrize("repeats", [(), (3,)])
@pytest.mark.parametrize("shared", [False, True])
def test_reconstruction(gradient, repeats, shared):
    sae, x = _sae(gradient=gradient, repeats=repeats), _x(*(() if shared else repeats), 9, 6)
    y = sae.standardise(x)
    naive = _mean_square(y - _decoded(sae.dictionary, sae.decoder_bias, _codes(sae, y)))
    _agree(reconstruction(sae, x), naive, [sae])
    assert reconstruction(sae, x).shape == repeats


def _systems(widths=(6, 5, 8), repeats=(), gradient="mask"):
    saes = torch.nn.ModuleList(
        _sae(units, repeats=repeats, gradient=gradient, seed=i) for i, units in enumerate(widths)
    )
    return saes, [_x(*repeats, 9, units, seed=20 + i) for i, units in enumerate(widths)]


def _naive_joint(saes, xs, mode):
    ys = [sae.standardise(x) for sae, x in zip(saes, xs, strict=True)]
    codes = [_codes(sae, y) for sae, y in zip(saes, ys, strict=True)]
    total = 0.0
    for s in range(len(saes)):
        for t in range(len(saes)):
            dictionary, bias = saes[t].dictionary, saes[t].decoder_bias
            if s == t:
                total = total + _mean_square(ys[t] - _decoded(dictionary, bias, codes[s]))
            elif mode != "separate":
                if mode == "detached":
                    dictionary, bias = dictionary.detach(), bias.detach()
                error = _mean_square(ys[t] - _decoded(dictionary, bias, codes[s]))
                total = total + error / (len(saes) - 1)
    return total


@pytest.mark.parametrize("mode", ["separate", "cross", "detached"])
@pytest.mark.parametrize("gradient", GRADIENTS)
@pytest.mark.parametrize("widths", [(6, 5), (6, 5, 8)])
@pytest.mark.parametrize("repeats", [(), (2,)])
def test_joint(mode, gradient, widths, repeats):
    saes, xs = _systems(widths, repeats, gradient)
    _agree(joint(saes, *xs, mode=mode), _naive_joint(saes, xs, mode), list(saes))


@pytest.mark.parametrize("loss", ["supervised", "reconstruction", "cross"])
def test_gradients_match_finite_differences(loss):
    saes, xs = _systems((3, 4))
    sae, z = _sae(3, 8, 2), _x(4, 8)
    value, modules = {
        "supervised": (lambda: supervised(sae, z), [sae]),
        "reconstruction": (lambda: reconstruction(sae, xs[0][:4]), [sae]),
        "cross": (lambda: joint(saes, *xs, mode="cross"), list(saes)),
    }[loss]
    gradients = _gradients(value(), modules)
    parameters = [p for m in modules for p in m.parameters()]
    draw = torch.Generator().manual_seed(3)
    for parameter, gradient in zip(parameters, gradients, strict=True):
        direction = torch.randn(parameter.shape, generator=draw, dtype=torch.float64)
        step = 1e-7
        with torch.no_grad():
            parameter.add_(direction, alpha=step)
            above = value()
            parameter.add_(direction, alpha=-2 * step)
            below = value()
            parameter.add_(direction, alpha=step)
        slope = (above - below) / (2 * step)
        torch.testing.assert_close((gradient * direction).sum(), slope, rtol=1e-5, atol=1e-6)


def test_detached_cross_terms_leave_the_other_dictionary_alone_and_cross_terms_do_not():
    saes, xs = _systems((6, 5))

    def from_cross_terms(mode):
        separate = _gradients(joint(saes, *xs, mode="separate"), list(saes))
        with_cross = _gradients(joint(saes, *xs, mode=mode), list(saes))
        names = [name for sae in saes for name, _ in sae.named_parameters()]
        difference = zip(names, with_cross, separate, strict=True)
        return [(name, float((a - b).abs().max())) for name, a, b in difference]

    for name, change in from_cross_terms("detached"):
        assert (change == 0) == (name in {"dictionary", "decoder_bias"}), name
    assert all(change > 1e-4 for _, change in from_cross_terms("cross"))


def test_a_system_weighs_the_same_whatever_its_width():
    """A system copied side by side into twice the units has the same error."""
    sae, x = _sae(), _x(9, 6)
    wide = SparseAutoencoder(12, 20, TopK(4)).double()
    with torch.no_grad():
        wide.encoder.copy_(torch.cat([sae.encoder, sae.encoder], -1) / 2)
        wide.dictionary.copy_(torch.cat([sae.dictionary, sae.dictionary], -1))
        wide.encoder_bias.copy_(sae.encoder_bias)
        wide.decoder_bias.copy_(torch.cat([sae.decoder_bias, sae.decoder_bias], -1))
        wide.centre.copy_(torch.cat([sae.centre, sae.centre], -1))
        wide.scale.copy_(sae.scale)
    torch.testing.assert_close(reconstruction(wide, torch.cat([x, x], -1)), reconstruction(sae, x))


def _kill(sae, dead):
    sae.steps_since_active.zero_()
    sae.steps_since_active[dead] = DEAD_AFTER
    return sae


def test_auxiliary_is_zero_while_all_live_and_counts_rows_from_the_buffer():
    sae, y = _sae(), _x(9, 6)
    sae.steps_since_active.fill_(DEAD_AFTER - 1)
    assert auxiliary(sae, y, y).item() == 0
    sae.steps_since_active[3] = DEAD_AFTER
    assert auxiliary(sae, y, y).item() > 0


@pytest.mark.parametrize("latents", [20, 200])
def test_auxiliary_against_a_plain_version(latents):
    """Dead latents alone, at most 64, and the decoder's bias in the residual only."""
    dead = torch.arange(0, latents, 2)
    sae, y = _kill(_sae(latents=latents), dead), _x(9, 6)
    residual = (y - _decoded(sae.dictionary, sae.decoder_bias, _codes(sae, y))).detach()
    values = y @ sae.encoder[dead].mT + sae.encoder_bias[dead]
    kept = torch.zeros_like(values).scatter(-1, values.topk(min(REVIVED, len(dead)), dim=-1).indices, 1.0)
    naive = _mean_square((values * kept).relu() @ sae.dictionary[dead] - residual)
    _agree(auxiliary(sae, y, residual), naive, [sae])
    x = y * sae.scale + sae.centre
    alone = reconstruction(sae, x, auxiliary_weight=0.0)
    torch.testing.assert_close(reconstruction(sae, x), alone + naive / 32)


def test_auxiliary_gives_gradients_to_dead_latents_only_and_none_to_the_bias():
    dead = torch.tensor([1, 5, 7])
    sae, y = _kill(_sae(), dead), _x(50, 6)
    residual = y.clone().requires_grad_()
    auxiliary(sae, y, residual).backward()
    moved = {name: p.grad for name, p in sae.named_parameters()}
    assert moved["decoder_bias"] is None
    assert residual.grad is None
    for name in ("encoder", "encoder_bias", "dictionary"):
        norms = moved[name].reshape(20, -1).norm(dim=-1)
        assert set(norms.nonzero().flatten().tolist()) == {1, 5, 7}, name


def test_auxiliary_of_a_batch_is_that_of_each_repeat():
    sae, y, residual = _sae(repeats=(3,)), _x(3, 9, 6), _x(3, 9, 6, seed=4)
    sae.steps_since_active[0, :7] = DEAD_AFTER
    sae.steps_since_active[2, 3] = DEAD_AFTER
    batched = auxiliary(sae, y, residual)
    for r in range(3):
        single = _sae()
        single.load_state_dict({key: value[r] for key, value in sae.state_dict().items()})
        torch.testing.assert_close(batched[r], auxiliary(single, y[r], residual[r]))
    assert batched[1].item() == 0


def test_joint_revives_each_system_too():
    saes, xs = _systems((6, 5))
    plain = joint(saes, *xs)
    _kill(saes[1], torch.tensor([2]))
    y = saes[1].standardise(xs[1])
    residual = y - _decoded(saes[1].dictionary, saes[1].decoder_bias, _codes(saes[1], y))
    torch.testing.assert_close(joint(saes, *xs), plain + auxiliary(saes[1], y, residual) / 32)
    torch.testing.assert_close(joint(saes, *xs, auxiliary_weight=0.0), plain)


def test_a_loss_can_be_partly_filled_in():
    saes, xs = _systems((6, 5))
    filled = functools.partial(joint, mode="cross")
    torch.testing.assert_close(filled(saes, *xs), joint(saes, *xs, mode="cross"))


def test_joint_refuses_what_it_cannot_pair():
    saes, xs = _systems((6, 5))
    with pytest.raises(DataError, match="mode is 'both'; expected one of 'separate', 'cross', 'detached'"):
        joint(saes, *xs, mode="both")
    with pytest.raises(DataError, match="2 dictionaries and 1 systems; expected one dictionary a system"):
        joint(saes, xs[0])
    with pytest.raises(DataError, match="joint training got 1 dictionary; expected at least two"):
        joint(saes[:1], xs[0])
    with pytest.raises(DataError, match=r"\[20, 24\] latents; joint training needs the same number"):
        joint([saes[0], _sae(5, 24)], *xs)
