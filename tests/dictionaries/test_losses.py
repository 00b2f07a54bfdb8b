"""Every loss against a plain dense version of it, differentiated by autograd."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import torch

from superpose.dictionaries.losses import (
    DEAD_AFTER,
    MODES,
    REVIVED,
    SCORABLE_MODES,
    auxiliary,
    joint,
    matryoshka,
    reconstruction,
    shared_code,
    supervised,
)
from superpose.dictionaries.sae import SparseAutoencoder
from superpose.dictionaries.sparsity import BatchTopK, JumpReLU, ReLU, TopK
from superpose.dictionaries.training import fit
from superpose.files import DataError

GRADIENTS = ["mask", "straight_through"]
PREFIXES = (2, 5, 0.5, 1.0)


def _sae(units=6, latents=20, k=4, gradient="mask", repeats=(), seed=0, rule=None):
    draw = torch.Generator().manual_seed(seed)
    sae = SparseAutoencoder(units, latents, rule or TopK(k, gradient), repeats=repeats, generator=draw).double()
    for parameter in (sae.encoder, sae.encoder_bias, sae.dictionary, sae.decoder_bias):
        parameter.data.add_(0.3 * torch.randn(parameter.shape, generator=draw, dtype=torch.float64))
    sae.centre.copy_(torch.randn(sae.centre.shape, generator=draw, dtype=torch.float64))
    sae.scale.copy_(1 + torch.rand(sae.scale.shape, generator=draw, dtype=torch.float64))
    return sae


def _x(*shape, seed=9):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _codes(sae, y):
    """The same codes by dense products and autograd's own rules."""
    return _kept(sae, _values(sae, y))


def _values(sae, y):
    return y @ sae.encoder.mT + sae.encoder_bias.unsqueeze(-2)


def _kept(sae, values):
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


def _systems(widths=(6, 5, 8), repeats=(), gradient="mask", rule=None):
    saes = torch.nn.ModuleList(
        _sae(units, repeats=repeats, gradient=gradient, seed=i, rule=rule) for i, units in enumerate(widths)
    )
    return saes, [_x(*repeats, 9, units, seed=20 + i) for i, units in enumerate(widths)]


def _naive_joint(saes, xs, mode):
    ys = [sae.standardise(x) for sae, x in zip(saes, xs, strict=True)]
    codes = [_codes(sae, y) for sae, y in zip(saes, ys, strict=True)]
    if mode == "crosscoder":
        codes = [_kept(saes[0], sum(_values(sae, y) for sae, y in zip(saes, ys, strict=True)))] * len(saes)
    count, total = len(saes), 0.0
    for s in range(count):
        total = total + _mean_square(ys[s] - _decoded(saes[s].dictionary, saes[s].decoder_bias, codes[s]))
        for t in range(count):
            if s != t and mode in ("cross", "detached"):
                dictionary, bias = saes[t].dictionary, saes[t].decoder_bias
                if mode == "detached":
                    dictionary, bias = dictionary.detach(), bias.detach()
                total = total + _mean_square(ys[t] - _decoded(dictionary, bias, codes[s])) / (count - 1)
            if s < t and mode == "agreement":
                difference = codes[s] / saes[s].units ** 0.5 - codes[t] / saes[t].units ** 0.5
                total = total + difference.square().sum(-1).mean(-1) / (count * (count - 1) / 2)
    return total


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("gradient", GRADIENTS)
@pytest.mark.parametrize("widths", [(6, 5), (6, 5, 8)])
@pytest.mark.parametrize("repeats", [(), (2,)])
def test_joint(mode, gradient, widths, repeats):
    saes, xs = _systems(widths, repeats, gradient)
    _agree(joint(saes, *xs, mode=mode), _naive_joint(saes, xs, mode), list(saes))


@pytest.mark.parametrize("loss", ["supervised", "reconstruction", "matryoshka", "cross", "agreement", "crosscoder"])
def test_gradients_match_finite_differences(loss):
    saes, xs = _systems((3, 4))
    sae, z = _sae(3, 8, 2), _x(4, 8)
    value, modules = {
        "supervised": (lambda: supervised(sae, z), [sae]),
        "reconstruction": (lambda: reconstruction(sae, xs[0][:4]), [sae]),
        "matryoshka": (lambda: matryoshka(sae, xs[0][:4], prefixes=(0.25, 1.0)), [sae]),
    }.get(loss, (lambda: joint(saes, *xs, mode=loss), list(saes)))
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


def test_codes_agree_whatever_the_widths():
    """A system beside its copy in twice the units, both with rows of unit norm, costs no agreement."""
    sae, x = _sae(), _x(9, 6)
    sae.normalise_()
    wide = SparseAutoencoder(12, 20, TopK(4)).double()
    with torch.no_grad():
        wide.encoder.copy_(torch.cat([sae.encoder, sae.encoder], -1) / 2**0.5)
        wide.dictionary.copy_(torch.cat([sae.dictionary, sae.dictionary], -1) / 2**0.5)
        wide.encoder_bias.copy_(sae.encoder_bias * 2**0.5)
        wide.decoder_bias.copy_(torch.cat([sae.decoder_bias, sae.decoder_bias], -1))
        wide.centre.copy_(torch.cat([sae.centre, sae.centre], -1))
        wide.scale.copy_(sae.scale)
    xs = x, torch.cat([x, x], -1)
    separate, agreement = (joint([sae, wide], *xs, mode=mode) for mode in ("separate", "agreement"))
    torch.testing.assert_close(agreement, separate, rtol=1e-12, atol=0)
    xs[1].neg_()
    assert joint([sae, wide], *xs, mode="agreement") > joint([sae, wide], *xs, mode="separate") + 0.01


@pytest.mark.parametrize("prefixes", [PREFIXES, (2, 5, 10, 20), (0.1, 0.25, 0.5, 1.0), (20,)])
@pytest.mark.parametrize("gradient", GRADIENTS)
@pytest.mark.parametrize("repeats", [(), (3,)])
def test_matryoshka(prefixes, gradient, repeats):
    sae, x = _sae(gradient=gradient, repeats=repeats), _x(*repeats, 9, 6)
    y = sae.standardise(x)
    codes = _codes(sae, y)
    errors = [
        _mean_square(y - _decoded(sae.dictionary[..., :p, :], sae.decoder_bias, codes[..., :p]))
        for p in ((20,) if len(prefixes) == 1 else (2, 5, 10, 20))
    ]
    _agree(matryoshka(sae, x, prefixes=prefixes), sum(errors) / len(errors), [sae])


def test_matryoshka_of_all_latents_is_the_reconstruction_and_revives_the_dead():
    sae, x = _kill(_sae(), torch.tensor([2, 11])), _x(9, 6)
    torch.testing.assert_close(matryoshka(sae, x, prefixes=[1.0]), reconstruction(sae, x))
    alone = matryoshka(sae, x, prefixes=PREFIXES, auxiliary_weight=0.0)
    revived = matryoshka(sae, x, prefixes=PREFIXES) - alone
    torch.testing.assert_close(revived, reconstruction(sae, x) - reconstruction(sae, x, auxiliary_weight=0.0))


def test_matryoshka_puts_what_explains_most_into_the_first_latents():
    """Trained by it, a dictionary cut after 4 of 16 latents explains more, and whole a little less."""
    draw = torch.Generator().manual_seed(0)
    latents = torch.rand(4000, 16, generator=draw) * (torch.rand(4000, 16, generator=draw) < 0.2)
    x = latents * torch.linspace(2, 0.5, 16) @ torch.randn(16, 12, generator=draw)

    def errors(loss):
        sae = SparseAutoencoder(12, 16, TopK(4), generator=torch.Generator().manual_seed(1))
        fit(sae, loss, x, steps=200, batch=256, learning_rate=1e-2)
        codes = sae.encode(x).detach()
        return [float((x - sae.decode(codes * (torch.arange(16) < p))).detach().square().mean()) for p in (4, 16)]

    nested, plain = errors(functools.partial(matryoshka, prefixes=(0.25, 0.5, 1.0))), errors(reconstruction)
    assert nested[0] < 0.9 * plain[0]
    assert nested[1] > plain[1]


@pytest.mark.parametrize(
    ("prefixes", "counts"),
    [((), r"\(\)"), ((8, 4, 1.0), r"\(8, 4, 20\)"), ((5, 0.25, 1.0), r"\(5, 5, 20\)"), ((0, 20), r"\(0, 20\)"),
     ((4, 10), r"\(4, 10\)"), ((4, 30), r"\(4, 30\)"), ((0.5, 2.0), r"\(10, 0\)"), ((float("nan"), 20), r"\(0, 20\)")],
)  # fmt: skip
def test_matryoshka_refuses_prefixes_that_do_not_ascend_to_all_latents(prefixes, counts):
    with pytest.raises(DataError, match=rf"prefixes are .*, that is {counts} of 20 latents; expected ascending"):
        matryoshka(_sae(), _x(9, 6), prefixes=prefixes)


class _Priced(TopK):
    """TopK with a price on the square of every value."""

    def penalty(self, codes):
        return codes.dense().square().sum(-1).mean(-1)


@pytest.mark.parametrize("rule", [_Priced(4), ReLU(), JumpReLU(0.5, 2.0)])
@pytest.mark.parametrize("repeats", [(), (3,)])
def test_a_penalty_is_added_by_its_weight(rule, repeats):
    saes, xs = _systems((6, 5), repeats, rule=rule)

    def charge(sae, x):
        return 0.3 * sae.sparsity.penalty(sae(sae.standardise(x)))

    assert charge(saes[0], xs[0]).shape == repeats
    assert (charge(saes[0], xs[0]) > 0).all()
    for loss in (reconstruction, functools.partial(matryoshka, prefixes=PREFIXES)):
        _agree(loss(saes[0], xs[0], sparsity_weight=0.3), loss(saes[0], xs[0]) + charge(saes[0], xs[0]), [saes[0]])
    for mode in SCORABLE_MODES:
        loss = functools.partial(joint, saes, *xs, mode=mode)
        _agree(loss(sparsity_weight=0.3), loss() + charge(saes[0], xs[0]) + charge(saes[1], xs[1]), list(saes))


def test_a_shared_code_pays_its_penalty_once():
    saes, xs = _systems((6, 5), rule=_Priced(4))
    charge = shared_code(saes, *xs).square().sum(-1).mean(-1)
    plain = joint(saes, *xs, mode="crosscoder")
    _agree(joint(saes, *xs, mode="crosscoder", sparsity_weight=0.3), plain + 0.3 * charge, list(saes))


def test_a_rule_without_a_penalty_takes_no_weight():
    saes, xs = _systems((6, 5))
    with pytest.raises(DataError, match=r"TopK\(4, gradient='mask'\) has no penalty, as it bounds the active latents"):
        reconstruction(saes[0], xs[0], sparsity_weight=0.1)
    with pytest.raises(DataError, match="leave sparsity_weight at 0"):
        joint(saes, *xs, mode="crosscoder", sparsity_weight=0.1)


@pytest.mark.parametrize("widths", [(6, 5), (6, 5, 8)])
@pytest.mark.parametrize("repeats", [(), (2,)])
def test_the_shared_code_is_what_a_crosscoder_decodes(widths, repeats):
    saes, xs = _systems(widths, repeats)
    codes = shared_code(saes, *xs)
    values = sum(_values(sae, sae.standardise(x)) for sae, x in zip(saes, xs, strict=True))
    torch.testing.assert_close(codes, _kept(saes[0], values))
    errors = [((x - s.decode(codes)) / s.scale[..., None, None]) for s, x in zip(saes, xs, strict=True)]
    torch.testing.assert_close(sum(map(_mean_square, errors)), joint(saes, *xs, mode="crosscoder"))
    assert not torch.allclose(codes, saes[0].encode(xs[0]))


def test_the_shared_code_of_arrays_is_read_by_rows(tmp_path):
    saes, _ = _systems((6, 5))
    saes.float()
    xs = [_x(180_000, 6), _x(180_000, 5, seed=8)]
    for i, x in enumerate(xs):
        np.save(tmp_path / f"{i}.npy", x.numpy())
    mapped = [np.load(tmp_path / f"{i}.npy", mmap_mode="r") for i in range(2)]
    codes = shared_code(saes, *mapped)
    assert isinstance(codes, np.ndarray)
    rows = [0, 1, 174_761, 174_762, -1]
    expected = shared_code(saes, *(x[rows] for x in xs))
    assert expected.requires_grad
    np.testing.assert_allclose(codes[rows], expected.detach().numpy(), rtol=1e-5, atol=1e-5)
    assert codes.shape == (180_000, 20)


def test_the_shared_code_of_a_sample_does_not_depend_on_those_beside_it():
    saes, xs = _systems((6, 5), rule=BatchTopK(4))
    for _ in range(3):
        joint(saes, *xs, mode="crosscoder")
    codes = shared_code(saes, *xs)
    torch.testing.assert_close(codes[:2], shared_code(saes, *(x[:2] for x in xs)))
    assert 0 < float((codes != 0).double().mean()) < 0.5


def test_the_modes_that_may_be_scored_are_all_but_the_crosscoder():
    assert set(MODES) - set(SCORABLE_MODES) == {"crosscoder"}


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
    crosscoders = [joint(saes, *xs, mode="crosscoder", auxiliary_weight=weight) for weight in (0.0, 1.0)]
    assert torch.equal(*crosscoders)


def test_a_loss_can_be_partly_filled_in():
    saes, xs = _systems((6, 5))
    filled = functools.partial(joint, mode="cross")
    torch.testing.assert_close(filled(saes, *xs), joint(saes, *xs, mode="cross"))


def test_joint_refuses_what_it_cannot_pair():
    saes, xs = _systems((6, 5))
    with pytest.raises(DataError, match="mode is 'both'; expected one of 'separate', 'cross', 'detached'"):
        joint(saes, *xs, mode="both")
    with pytest.raises(DataError, match="2 dictionaries and 1 systems; expected one dictionary per system"):
        joint(saes, xs[0])
    with pytest.raises(DataError, match="joint training got 1 dictionary; expected at least two"):
        joint(saes[:1], xs[0])
    with pytest.raises(DataError, match=r"\[20, 24\] latents; joint training needs the same number"):
        joint([saes[0], _sae(5, 24)], *xs)
    with pytest.raises(DataError, match=r"\[\(\), \(2,\)\] repeats; joint training needs the same in each"):
        joint([saes[0], _sae(5, repeats=(2,))], *xs)
    other = [saes[0], _sae(5, k=3)]
    for refused in (functools.partial(joint, mode="crosscoder"), shared_code):
        with pytest.raises(DataError, match=r"follow TopK\(4, .*, TopK\(3, .*; one code for all needs one sparsity"):
            refused(other, *xs)
    with pytest.raises(DataError, match="system 0 has 9 samples and system 1 has 8; every system must have"):
        shared_code(saes, xs[0], xs[1][:8])
    with pytest.raises(DataError, match="system 1 has 4 units; its dictionary expects 5"):
        shared_code(saes, xs[0], xs[1][:, :4])
    with pytest.raises(DataError, match="2 dictionaries and 1 systems"):
        shared_code(saes, xs[0])
