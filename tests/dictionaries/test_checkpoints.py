"""Checkpoints: what goes in comes back, and what is damaged or of another call is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from superpose.dictionaries.checkpoints import fingerprint, read, restore, state, write
from superpose.files import DataError

SETTINGS = {"seed": "0", "steps": "10"}


@pytest.fixture
def path(tmp_path):
    write(tmp_path / "run.safetensors", {"a": torch.arange(6.0).reshape(2, 3).mT, "n": torch.tensor(3)}, SETTINGS)
    return tmp_path / "run.safetensors"


def test_what_goes_in_comes_back(path):
    tensors = read(path, SETTINGS)
    assert torch.equal(tensors["a"], torch.arange(6.0).reshape(2, 3).mT)
    assert (tensors["n"].dtype, tensors["n"].shape) == (torch.int64, ())
    assert [p.name for p in path.parent.iterdir()] == ["run.safetensors"]
    assert set(load_file(path)) == {"a", "n"}


def test_a_file_that_is_not_there_is_empty_but_its_folder_must_be(tmp_path):
    assert read(tmp_path / "none.safetensors", SETTINGS) == {}
    with pytest.raises(DataError, match=r"the folder of the checkpoint .* does not exist; make it first"):
        read(tmp_path / "no" / "none.safetensors", SETTINGS)


def test_other_settings_are_refused_by_name(path):
    with pytest.raises(DataError, match=r"checkpoint of other settings: steps was 10, now 20. Repeat the call"):
        read(path, SETTINGS | {"steps": "20"})
    with pytest.raises(DataError, match=r"seed was 0, now absent; warmup was absent, now 0.1"):
        read(path, {"steps": "10", "warmup": "0.1"})


def test_every_changed_byte_is_noticed(path):
    raw = path.read_bytes()
    size = 8 + int.from_bytes(raw[:8], "little")
    for place in [*range(size, len(raw)), *np.linspace(0, size - 1, 40).astype(int)]:
        changed = bytearray(raw)
        changed[place] ^= 1
        path.write_bytes(changed)
        with pytest.raises(DataError, match=r"delete it to train from the start|give fit a file of its own"):
            read(path, SETTINGS)


def test_cut_files_and_other_files_are_refused(path):
    raw = path.read_bytes()
    for length in (0, 7, 50, len(raw) - 1):
        path.write_bytes(raw[:length])
        with pytest.raises(DataError, match=r"is not a whole checkpoint .*; delete it to train from the start"):
            read(path, SETTINGS)
    save_file({"a": torch.zeros(2)}, path, {"format": "superpose.sae", "version": "1"})
    with pytest.raises(DataError, match="is not a checkpoint that this release of fit wrote; give fit a file"):
        read(path, SETTINGS)
    path.unlink()
    path.mkdir()
    with pytest.raises(DataError, match="is not a whole checkpoint"):
        read(path, SETTINGS)


def test_metadata_say_what_made_it(path):
    raw = path.read_bytes()
    header = json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])
    assert json.loads(header["__metadata__"]["settings"]) == SETTINGS


@pytest.mark.parametrize("fused", [True, False])
def test_a_restored_optimizer_takes_the_same_next_step(fused, tmp_path):
    def train(module, optimizer, steps):
        for _ in steps:
            optimizer.zero_grad()
            module[0](torch.ones(4, 3)).square().sum().backward()
            optimizer.step()

    def begin(seed):
        torch.manual_seed(seed)
        module = torch.nn.ModuleList([torch.nn.Linear(3, 2), torch.nn.Linear(2, 2)])  # the second gets no gradient
        return module, torch.optim.Adam(module.parameters(), fused=fused)

    with torch.random.fork_rng():
        one, other = begin(0), begin(1)
    train(*one, range(5))
    write(tmp_path / "run", state(*one), SETTINGS)
    restore(*other, read(tmp_path / "run", SETTINGS))
    train(*one, range(5))
    train(*other, range(5))
    for name, tensor in one[0].state_dict().items():
        assert torch.equal(other[0].state_dict()[name], tensor)


def test_fingerprints_tell_arrays_apart():
    x = np.arange(12.0).reshape(6, 2)
    others = [x + 1, x.astype(np.float32), x[:5], x[None], np.zeros((6, 2)), np.random.default_rng(0).random((5000, 2))]
    assert len({fingerprint(y) for y in [x, *others]}) == 7
    assert fingerprint(np.asfortranarray(x)) == fingerprint(x)
    big = np.zeros((5000, 2))
    ends = big.copy()
    ends[-1, 0] = 1
    assert fingerprint(ends) != fingerprint(big)
