"""The autoencoder's shapes and units, and the file it is kept in."""

from __future__ import annotations

import json
import pickle
import struct

import numpy as np
import pytest
import torch

from superpose.files import DataError
from superpose.sae import SparseAutoencoder, load, save
from superpose.sparsity import TopK


def _sae(repeats=(), gradient="mask", seed=0):
    sae = SparseAutoencoder(6, 20, TopK(4, gradient), repeats=repeats, generator=torch.Generator().manual_seed(seed))
    draw = torch.Generator().manual_seed(seed + 1)
    for tensor in (sae.encoder_bias.data, sae.decoder_bias.data, sae.centre, sae.encoder.data):
        tensor.copy_(torch.randn(tensor.shape, generator=draw))
    sae.scale.copy_(torch.rand(sae.scale.shape, generator=draw) + 1)
    sae.steps_since_active.fill_(7)
    return sae


def _x(*shape, seed=9):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("repeats", [(), (3,), (2, 2)])
def test_encode_and_decode_are_the_published_maps_in_the_units_of_the_activity(repeats):
    sae, x = _sae(repeats), _x(*repeats, 9, 6)
    codes = sae.encode(x)
    y = (x - sae.centre.unsqueeze(-2)) / sae.scale[..., None, None]
    expected = sae.sparsity(y @ sae.encoder.mT + sae.encoder_bias.unsqueeze(-2))
    torch.testing.assert_close(codes, expected)
    back = (codes @ sae.dictionary + sae.decoder_bias.unsqueeze(-2)) * sae.scale[..., None, None]
    torch.testing.assert_close(sae.decode(codes), back + sae.centre.unsqueeze(-2))
    assert codes.shape == (*repeats, 9, 20)
    assert (sae.units, sae.latents, sae.repeats) == (6, 20, repeats)


def test_scaled_and_shifted_activity_has_the_same_codes():
    sae, x = _sae(), _x(9, 6)
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


@pytest.mark.parametrize("gradient", ["mask", "straight_through"])
def test_tensors_and_arrays_give_the_same_in_their_own_kind(gradient):
    sae, x = _sae(gradient=gradient), _x(9, 6)
    codes, array = sae.encode(x), sae.encode(x.numpy())
    assert isinstance(array, np.ndarray)
    assert codes.requires_grad
    np.testing.assert_array_equal(array, codes.detach().numpy())
    np.testing.assert_array_equal(sae.decode(array), sae.decode(codes).detach().numpy())
    assert sae.encode(x.double().numpy()).dtype == np.float32
    assert sae.encode(x.numpy().astype(np.float16)).shape == (9, 20)


def test_arrays_are_read_by_rows_from_a_memory_map(tmp_path):
    sae, x = _sae(), _x(200_000, 6).numpy()
    np.save(tmp_path / "x.npy", x)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    codes = sae.encode(mapped)
    np.testing.assert_allclose(codes[[0, 150_000, -1]], sae.encode(x[[0, 150_000, -1]]), rtol=1e-5, atol=1e-5)
    assert codes.shape == (200_000, 20)


def test_one_activity_serves_all_repeats():
    sae, x = _sae((3,)), _x(9, 6)
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
@pytest.mark.parametrize("gradient", ["mask", "straight_through"])
def test_a_saved_dictionary_comes_back_to_the_last_bit(tmp_path, repeats, gradient):
    sae, x = _sae(repeats, gradient), _x(*repeats, 9, 6)
    save(sae, tmp_path / "sae.safetensors")
    again = load(tmp_path / "sae.safetensors")
    assert torch.equal(again.encode(x), sae.encode(x))
    assert torch.equal(again.decode(sae.encode(x)), sae.decode(sae.encode(x)))
    assert torch.equal(again.steps_since_active, sae.steps_since_active)
    assert again.sparsity.rule() == sae.sparsity.rule()
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
    monkeypatch.setattr("superpose.sae._VERSION", "2")
    save(_sae(), path)
    monkeypatch.undo()
    with pytest.raises(DataError, match=r"has format version 2; this release reads version 1. Update superpose"):
        load(path)

    class Sparser(TopK):
        pass

    with pytest.raises(DataError, match="sparsity is a Sparser, which a file cannot describe; expected one of TopK"):
        save(SparseAutoencoder(6, 20, Sparser(4)), path)
    monkeypatch.setattr("superpose.sae._RULES", {"TopK": TopK, "Sparser": Sparser})
    save(SparseAutoencoder(6, 20, Sparser(4)), path)
    monkeypatch.undo()
    with pytest.raises(DataError, match=r"follows the rule Sparser; this release knows TopK. Update superpose"):
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
