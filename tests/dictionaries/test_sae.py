"""The autoencoder's shapes and units, and the file it is kept in."""

from __future__ import annotations

import functools
import json
import pickle
import struct

import numpy as np
import pytest
import torch

from superpose.arrays import chunks
from superpose.dictionaries.diagnostics import fvu, l0
from superpose.dictionaries.losses import reconstruction
from superpose.dictionaries.sae import SparseAutoencoder, load, save
from superpose.dictionaries.sparsity import BatchTopK, JumpReLU, ReLU, TopK
from superpose.dictionaries.training import fit
from superpose.files import DataError

RULES = [
    pytest.param(TopK(4), id="TopK"),
    pytest.param(TopK(4, "straight_through"), id="TopK-straight-through"),
    pytest.param(BatchTopK(4), id="BatchTopK"),
    pytest.param(JumpReLU(0.5), id="JumpReLU"),
    pytest.param(ReLU(), id="ReLU"),
]


def _sae(repeats=(), rule=TopK(4), seed=0):  # noqa: B008
    """A dictionary with nothing at its first value, the sparsity's state neither."""
    sae = SparseAutoencoder(6, 20, rule, repeats=repeats, generator=torch.Generator().manual_seed(seed))
    draw = torch.Generator().manual_seed(seed + 1)
    for tensor in (sae.encoder_bias.data, sae.decoder_bias.data, sae.centre, sae.encoder.data):
        tensor.copy_(torch.randn(tensor.shape, generator=draw))
    for tensor in sae.sparsity.state_dict().values():
        tensor.copy_(0.5 + torch.rand(tensor.shape, generator=draw))
    sae.scale.copy_(torch.rand(sae.scale.shape, generator=draw) + 1)
    sae.steps_since_active.fill_(7)
    return sae


def _x(*shape, seed=9):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("repeats", [(), (3,), (2, 2)])
def test_encode_and_decode_are_the_published_maps_in_the_units_of_the_activity(rule, repeats):
    sae, x = _sae(repeats, rule).eval(), _x(*repeats, 9, 6)
    codes = sae.encode(x)
    y = (x - sae.centre.unsqueeze(-2)) / sae.scale[..., None, None]
    expected = sae.sparsity(y @ sae.encoder.mT + sae.encoder_bias.unsqueeze(-2))
    torch.testing.assert_close(codes, expected)
    back = (codes @ sae.dictionary + sae.decoder_bias.unsqueeze(-2)) * sae.scale[..., None, None]
    torch.testing.assert_close(sae.decode(codes), back + sae.centre.unsqueeze(-2))
    assert codes.shape == (*repeats, 9, 20)
    assert (sae.units, sae.latents, sae.repeats) == (6, 20, repeats)


@pytest.mark.parametrize("rule", RULES)
def test_scaled_and_shifted_activity_has_the_same_codes(rule):
    sae, x = _sae(rule=rule), _x(9, 6)
    codes = sae.encode(x)
    sae.centre.mul_(3).add_(5)
    sae.scale.mul_(3)
    torch.testing.assert_close(sae.encode(3 * x + 5), codes, rtol=1e-4, atol=1e-4)


def test_it_starts_tied_with_unit_norm_and_repeats_are_children_of_one_integer():
    one = SparseAutoencoder(6, 20, TopK(4), generator=torch.Generator().manual_seed(0))
    many = SparseAutoencoder(6, 20, TopK(4), repeats=(3,), generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(one.dictionary.norm(dim=-1), torch.ones(20))
    assert torch.equal(one.encoder, one.dictionary)
    assert torch.equal(many.dictionary[0], one.dictionary)
    assert not torch.equal(many.dictionary[1], many.dictionary[0])
    fresh = [SparseAutoencoder(6, 20, TopK(4)) for _ in range(2)]
    assert not torch.equal(fresh[0].dictionary, fresh[1].dictionary)


def test_decoder_is_the_unit_norm_dictionary_as_projections_are_laid_out():
    sae = _sae((2,))
    sae.dictionary.data.mul_(3)
    assert sae.decoder.shape == (2, 6, 20)
    torch.testing.assert_close(sae.decoder.norm(dim=-2), torch.ones(2, 20))
    torch.testing.assert_close(sae.decoder * 3, sae.dictionary.detach().mT)


@pytest.mark.parametrize("rule", RULES)
def test_tensors_and_arrays_give_the_same_in_their_own_kind(rule):
    sae, x = _sae(rule=rule), _x(9, 6)
    codes, array = sae.encode(x), sae.encode(x.numpy())
    assert isinstance(array, np.ndarray)
    assert codes.requires_grad
    np.testing.assert_array_equal(array, codes.detach().numpy())
    np.testing.assert_array_equal(sae.decode(array), sae.decode(codes).detach().numpy())
    assert sae.encode(x.double().numpy()).dtype == np.float32
    assert sae.encode(x.numpy().astype(np.float16)).shape == (9, 20)


@pytest.mark.parametrize("rule", RULES)
def test_arrays_are_read_by_rows_from_a_memory_map(tmp_path, rule):
    sae, x = _sae(rule=rule), _x(400_000, 6).numpy()
    np.save(tmp_path / "x.npy", x)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    codes = sae.encode(mapped)
    assert len(list(chunks(mapped))) > 1
    np.testing.assert_allclose(codes[[0, 350_000, -1]], sae.encode(x[[0, 350_000, -1]]), rtol=1e-5, atol=1e-5)
    assert codes.shape == (400_000, 20)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("repeats", [(), (2,)])
def test_a_code_does_not_depend_on_the_rows_beside_it_and_reading_changes_nothing(rule, training, repeats):
    sae, x = _sae(repeats, rule).train(training), _x(*repeats, 64, 6)
    before = {key: value.clone() for key, value in sae.state_dict().items()}
    together = sae.encode(x)
    for parts in (x.split(1, -2), x.split([5, 19, 40], -2)):
        torch.testing.assert_close(torch.cat([sae.encode(part) for part in parts], -2), together)
    assert sae.training == training
    assert all(torch.equal(value, before[key]) for key, value in sae.state_dict().items())


@pytest.mark.parametrize("rule", RULES)
def test_one_activity_serves_all_repeats(rule):
    sae, x = _sae((3,), rule), _x(9, 6)
    assert sae(x).dense().shape == (3, 9, 20)
    assert sae.encode(x).shape == (3, 9, 20)
    assert sae.encode(x.numpy()).shape == (3, 9, 20)


def test_encode_gives_gradients_to_the_activity():
    sae, x = _sae(), _x(9, 6).requires_grad_()
    sae.encode(x).sum().backward()
    mask = (sae.encode(x.detach()) > 0).float()
    torch.testing.assert_close(x.grad, mask @ sae.encoder.detach() / sae.scale)


def test_the_unit_norm_step_and_the_projected_gradient():
    sae = _sae((2,))
    sae.project_gradient_()
    assert sae.dictionary.grad is None
    sae.dictionary.data.mul_(3)
    sae.normalise_()
    torch.testing.assert_close(sae.dictionary.norm(dim=-1), torch.ones(2, 20))
    sae.dictionary.grad = _x(2, 20, 6)
    sae.project_gradient_()
    along = (sae.dictionary.grad * sae.dictionary).sum(-1)
    torch.testing.assert_close(along, torch.zeros(2, 20), rtol=0, atol=1e-5)


@pytest.mark.parametrize("repeats", [(), (3,)])
@pytest.mark.parametrize("rule", RULES)
def test_a_saved_dictionary_comes_back_to_the_last_bit(tmp_path, repeats, rule):
    sae, x = _sae(repeats, rule), _x(*repeats, 9, 6)
    save(sae, tmp_path / "sae.safetensors")
    again = load(tmp_path / "sae.safetensors")
    assert torch.equal(again.encode(x), sae.encode(x))
    assert torch.equal(again.decode(sae.encode(x)), sae.decode(sae.encode(x)))
    assert torch.equal(again.steps_since_active, sae.steps_since_active)
    assert type(again.sparsity) is type(sae.sparsity)
    assert again.sparsity.rule() == sae.sparsity.rule()
    assert again.state_dict().keys() == sae.state_dict().keys()
    assert all(torch.equal(value, sae.state_dict()[key]) for key, value in again.state_dict().items())
    assert again.repeats == repeats
    assert [p.name for p in tmp_path.iterdir()] == ["sae.safetensors"]


def test_the_file_is_plain_safetensors(tmp_path):
    from safetensors import safe_open

    save(_sae(), tmp_path / "sae.safetensors")
    with safe_open(tmp_path / "sae.safetensors", "np") as file:
        assert json.loads(file.metadata()["sparsity"]) == {"name": "TopK", "k": 4, "gradient": "mask"}
        assert file.get_tensor("encoder").shape == (20, 6)


def _header(path):
    raw = path.read_bytes()
    (size,) = struct.unpack("<Q", raw[:8])
    return json.loads(raw[8 : 8 + size]), raw[8 + size :]


def _rewrite(path, header, body):
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + body)


@pytest.mark.parametrize("place", [0.02, 0.5, 1.0])
def test_one_altered_byte_of_the_tensors_is_refused(tmp_path, place):
    path = tmp_path / "sae.safetensors"
    save(_sae(), path)
    header, body = _header(path)
    altered = bytearray(body)
    altered[int(place * (len(body) - 1))] ^= 1
    _rewrite(path, header, bytes(altered))
    with pytest.raises(DataError, match="does not match its own SHA-256 digest: it was altered or damaged"):
        load(path)


def test_an_altered_rule_is_refused(tmp_path):
    path = tmp_path / "sae.safetensors"
    save(_sae(), path)
    header, body = _header(path)
    header["__metadata__"]["sparsity"] = header["__metadata__"]["sparsity"].replace('"k": 4', '"k": 5')
    _rewrite(path, header, body)
    with pytest.raises(DataError, match="does not match its own SHA-256 digest"):
        load(path)


def test_a_truncated_file_is_refused(tmp_path):
    path = tmp_path / "sae.safetensors"
    save(_sae(), path)
    raw = path.read_bytes()
    for size in (0, 5, 100, len(raw) - 1):
        path.write_bytes(raw[:size])
        with pytest.raises(DataError, match="is not a whole safetensors file"):
            load(path)


class _Trap:
    sprung = False

    def __reduce__(self):
        return (setattr, (_Trap, "sprung", True))


def test_a_pickle_is_never_run(tmp_path):
    path = tmp_path / "sae.pt"
    path.write_bytes(pickle.dumps(_Trap()))
    with pytest.raises(DataError, match="Pickled files are never read"):
        load(path)
    torch.save(_sae().state_dict(), path)
    with pytest.raises(DataError, match="Pickled files are never read"):
        load(path)
    assert not _Trap.sprung


def test_a_missing_file_and_a_folder(tmp_path):
    with pytest.raises(DataError, match=r"nowhere.safetensors does not exist; expected a file that superpose.save"):
        load(tmp_path / "nowhere.safetensors")
    with pytest.raises(DataError, match="is not a whole safetensors file"):
        load(tmp_path)


def test_files_of_others_newer_versions_and_unknown_rules_are_refused(tmp_path, monkeypatch):
    from safetensors.torch import save_file

    path = tmp_path / "sae.safetensors"
    save_file({"W": torch.zeros(2)}, path)
    with pytest.raises(DataError, match=r"holds safetensors that superpose.save did not write"):
        load(path)
    monkeypatch.setattr("superpose.dictionaries.sae._VERSION", "2")
    save(_sae(), path)
    monkeypatch.undo()
    with pytest.raises(DataError, match=r"has format version 2; this release reads version 1. Update superpose"):
        load(path)

    class Sparser(TopK):
        pass

    with pytest.raises(DataError, match="sparsity is a Sparser, which a file cannot describe; expected one of TopK, B"):
        save(SparseAutoencoder(6, 20, Sparser(4)), path)
    monkeypatch.setattr("superpose.dictionaries.sae._RULES", {"TopK": TopK, "Sparser": Sparser})
    save(SparseAutoencoder(6, 20, Sparser(4)), path)
    monkeypatch.undo()
    with pytest.raises(
        DataError, match=r"follows the rule Sparser; this release knows TopK, BatchTopK, JumpReLU, ReLU"
    ):
        load(path)


def test_wrong_widths_and_values():
    sae = _sae()
    with pytest.raises(DataError, match=r"shape \(9, 5\); expected \(…, samples, 6\), as this dictionary has 6 units"):
        sae.encode(_x(9, 5))
    with pytest.raises(DataError, match=r"shape \(9, 6\); expected \(…, samples, 20\), .* has 20 latents"):
        sae.decode(_x(9, 6).numpy())
    with pytest.raises(DataError, match="expected real numbers"):
        sae.encode(np.array([["a"] * 6]))
    with pytest.raises(DataError, match=r"shape \(6,\)"):
        sae.encode(_x(6))
    with pytest.raises(DataError, match="expected a module such as TopK"):
        SparseAutoencoder(6, 20, 4)
    with pytest.raises(DataError, match="units is 0; expected a positive integer"):
        SparseAutoencoder(0, 20, TopK(4))
    with pytest.raises(DataError, match="BatchTopK keeps 21 latents and there are 20; lower k, or raise latents"):
        SparseAutoencoder(6, 20, BatchTopK(21))


@pytest.mark.parametrize("rule", [BatchTopK(4), JumpReLU(0.5)])
def test_dictionaries_share_settings_and_never_what_they_learn(rule):
    first, second = SparseAutoencoder(6, 20, rule), SparseAutoencoder(6, 20, rule, repeats=(2,))
    third = SparseAutoencoder(6, 20, first.sparsity)
    for value in first.sparsity.state_dict().values():
        value.fill_(7.0)
    for other in (rule, second.sparsity, third.sparsity):
        assert all((value != 7).all() for value in other.state_dict().values())
    assert third.sparsity.rule() == rule.rule()


def test_a_rule_without_state_is_the_one_that_was_passed():
    rule = TopK(4)
    assert SparseAutoencoder(6, 20, rule).sparsity is rule


def _planted(samples, seed, *, units=16, latents=24, active=2):
    draw = torch.Generator().manual_seed(seed)
    values, order = torch.rand(2, samples, latents, generator=draw)
    z = torch.zeros(samples, latents).scatter(-1, order.topk(active).indices, values)
    return z @ torch.randn(latents, units, generator=torch.Generator().manual_seed(100))


PRICED = [
    pytest.param(TopK(2), 0.0, id="TopK"),
    pytest.param(BatchTopK(2), 0.0, id="BatchTopK"),
    pytest.param(JumpReLU(), 0.02, id="JumpReLU"),
    pytest.param(ReLU(), 0.05, id="ReLU"),
]


@pytest.mark.parametrize(("rule", "price"), PRICED)
def test_planted_dictionaries_are_learned(rule, price):
    """Codes of about as many latents as were planted explain what those of random directions do not."""
    x, test = _planted(2000, 0), _planted(500, 1).numpy()
    sae = SparseAutoencoder(16, 24, rule, generator=torch.Generator().manual_seed(2))
    random = SparseAutoencoder(16, 24, TopK(2), generator=torch.Generator().manual_seed(2))
    random.centre.copy_(x.mean(0))
    loss = functools.partial(reconstruction, sparsity_weight=price)
    fit(sae, loss, x, steps=300, batch=128, learning_rate=2e-2)
    codes = sae.encode(test)
    assert fvu(test, sae.decode(codes)) < 0.15
    assert fvu(test, random.decode(random.encode(test))) > 0.5
    assert l0(codes) < 5


@pytest.mark.parametrize(("rule", "price"), PRICED)
def test_a_batched_fit_is_the_single_fits(rule, price):
    x = torch.stack([_planted(400, seed) for seed in range(3)])
    loss = functools.partial(reconstruction, sparsity_weight=price)
    batched = SparseAutoencoder(16, 24, rule, repeats=(3,), generator=torch.Generator().manual_seed(2))
    singles = [SparseAutoencoder(16, 24, rule) for _ in range(3)]
    for r, single in enumerate(singles):
        single.load_state_dict({key: value[r] for key, value in batched.state_dict().items()})
    fit(batched, loss, x, steps=40, batch=64)
    for r, single in enumerate(singles):
        fit(single, loss, x[r], steps=40, batch=64)
        for key, value in single.state_dict().items():
            torch.testing.assert_close(batched.state_dict()[key][r], value, rtol=0, atol=1e-5)


def test_fit_learns_thresholds():
    x = _planted(400, 0)
    for rule, price in ((BatchTopK(2), 0.0), (JumpReLU(0.3, 0.3), 0.02)):
        sae = SparseAutoencoder(16, 24, rule, generator=torch.Generator().manual_seed(2))
        before = sae.sparsity.threshold.clone()
        fit(sae, functools.partial(reconstruction, sparsity_weight=price), x, steps=5)
        assert (sae.sparsity.threshold != before).any()
