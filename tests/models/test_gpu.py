"""What runs on a CUDA device: activations equal those of the CPU, and nothing is moved that the caller placed."""

import numpy as np
import pytest
import torch

import superpose as sp
from superpose import cli
from superpose.models import activations, layer_names

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")]
SMALL = {"hidden_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 96}


@pytest.fixture
def model():
    transformers = pytest.importorskip("transformers")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return transformers.ViTModel(transformers.ViTConfig(image_size=28, patch_size=14, **SMALL))


PICTURES = np.random.default_rng(0).normal(size=(20, 3, 28, 28)).astype(np.float32)


def test_activations_equal_the_cpu_s(model, tmp_path):
    names = layer_names(model, ["resid_post", "mlp_out", "attn_out"])
    there = activations(model, PICTURES, names, batch=4, tokens="cls")
    model.cuda()
    here = activations(model, PICTURES, names, batch=4, tokens="cls", store=tmp_path)
    for name, x in here.layers.items():
        # Products of 64 to 96 terms of size one, in TF32 at worst: ten binary digits.
        np.testing.assert_allclose(x, there.layers[name], atol=0.02)
        assert isinstance(x, np.memmap)
    assert all(parameter.is_cuda for parameter in model.parameters())


def test_the_same_bits_twice(model):
    names = layer_names(model.cuda(), "resid_post")
    first, second = (activations(model, torch.tensor(PICTURES).cuda(), names, batch=4) for _ in range(2))
    for name, x in first.layers.items():
        np.testing.assert_array_equal(x, second.layers[name])


@pytest.mark.parametrize(("precision", "digits"), [("bfloat16", 8), ("float16", 11)])
def test_mixed_precision(model, precision, digits):
    names = layer_names(model.cuda(), "resid_post")
    exact, mixed = (activations(model, PICTURES, names, precision=p).layers for p in ("float32", precision))
    for name, x in exact.items():
        error = np.linalg.norm(mixed[name] - x) / np.linalg.norm(x)
        # On the CPU the error is 0.72 of a unit in the last digit kept.
        assert 0 < error < 4 * 2.0**-digits
    assert not torch.is_autocast_enabled("cuda")


def test_the_command_line(model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model.save_pretrained(tmp_path / "vit")
    np.save(tmp_path / "x.npy", PICTURES)
    asked = ["--layers", "resid_post", "--tokens", "cls", "--precision", "bfloat16", "--device", "cuda"]
    assert cli.main(["extract", "vit", "x.npy", *asked, "--out", "made"]) == 0
    assert np.load("made/resid_post_2.npy").shape == (20, 64)


def test_dictionaries_are_trained_there_and_scored_as_here():
    draw = torch.Generator().manual_seed(0)
    z = sp.systems.sparse_latents(4000, 64, 3, generator=draw)
    a, b = sp.systems.gaussian_projection(32, 64, repeats=(2,), generator=draw)
    systems = {"a": (z @ a.T).numpy(), "b": (z @ b.T).numpy()}
    sizes = {"latents": 64, "active": 3, "steps": 500, "learning_rate": 1e-2, "controls": ["closed_form", "untrained"]}
    sizes |= {"permutations": 0}
    there, here = (sp.analyse(systems, device=device, **sizes).table for device in ("cuda", "cpu"))
    keys = ["system_a", "system_b", "metric", "space", "control"]
    both = there.merge(here, on=keys, suffixes=("_there", "_here"))
    assert len(both) == len(here)
    # Training in another order of sums ends elsewhere nearby; untrained dictionaries and raw activity do not.
    exact = both.space.eq("raw") | both.control.eq("untrained")
    np.testing.assert_allclose(both.score_there[exact], both.score_here[exact], atol=2e-3)
    np.testing.assert_allclose(both.score_there[~exact], both.score_here[~exact], atol=0.03)
