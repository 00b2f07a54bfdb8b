"""Layers by what they are, against the hidden states and the arithmetic of the reference implementation."""

from itertools import combinations

import numpy as np
import pytest
import torch

from superpose.files import DataError
from superpose.models import KINDS, activations, layer_names
from superpose.models.layers import LAYOUTS

transformers = pytest.importorskip("transformers")

BLOCKS = 3
SMALL = {
    "hidden_size": 16,
    "num_hidden_layers": BLOCKS,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "initializer_range": 0.3,
}
DECODER = {**SMALL, "vocab_size": 50, "num_key_value_heads": 1, "head_dim": 8, "bos_token_id": 1, "eos_token_id": 2}
READER = {**SMALL, "vocab_size": 50, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
SEER = {**SMALL, "image_size": 28, "patch_size": 14}
GPT2 = {"n_embd": 16, "n_layer": BLOCKS, "n_head": 2, "vocab_size": 50, "bos_token_id": 1, "eos_token_id": 2}
SIZES = {
    "bert": READER,
    "roberta": READER,
    "xlm-roberta": READER,
    "gpt2": {**GPT2, "initializer_range": 0.3},
    "llama": DECODER,
    "mistral": DECODER,
    "qwen2": DECODER,
    "qwen3": DECODER,
    "clip_vision_model": SEER,
    "clip_text_model": READER,
    "vit": SEER,
    "dinov2": SEER,
    "dinov2_with_registers": SEER,
}
# What norms the last of the library's hidden states, by architecture; the others give them as the block leaves them.
FINAL_NORM = {"gpt2": "ln_f", **dict.fromkeys(("llama", "mistral", "qwen2", "qwen3"), "norm")}
POST_NORM = ("bert", "roberta", "xlm-roberta")


def build(architecture, sizes, seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = transformers.AutoModel.from_config(transformers.AutoConfig.for_model(architecture, **sizes))
        # Layer scales and norms that start at one would hide a module taken before its scale.
        for name, parameter in model.named_parameters():
            if "layer_scale" in name or "norm" in name.lower():
                torch.nn.init.normal_(parameter, 1.0, 0.2)
    return model.eval()


def inputs_of(architecture, samples=5):
    rng = np.random.default_rng(3)
    if "image_size" in SIZES[architecture]:
        return {"pixel_values": rng.normal(size=(samples, 3, 28, 28)).astype(np.float32)}
    return {"input_ids": rng.integers(3, 50, size=(samples, 7))}


def hidden_states(model, inputs):
    with torch.no_grad():
        made = model(**{key: torch.as_tensor(value) for key, value in inputs.items()}, output_hidden_states=True)
    return [state.reshape(-1, state.shape[-1]) for state in made.hidden_states]


def test_every_known_architecture_is_tested():
    assert set(SIZES) == set(LAYOUTS)


@pytest.mark.parametrize("architecture", SIZES)
def test_residual_streams_are_the_hidden_states(architecture):
    model, inputs = build(architecture, SIZES[architecture]), inputs_of(architecture)
    names = layer_names(model, "resid_post")
    assert list(names) == [f"resid_post_{i}" for i in range(BLOCKS)]
    found = [torch.tensor(x) for x in activations(model, inputs, names, batch=2).layers.values()]
    states = hidden_states(model, inputs)[1:]
    if architecture in FINAL_NORM:
        with torch.no_grad():
            found[-1] = model.get_submodule(FINAL_NORM[architecture])(found[-1])
    for ours, reference in zip(found, states, strict=True):
        np.testing.assert_allclose(ours, reference, atol=1e-5)


@pytest.mark.parametrize("architecture", SIZES)
def test_what_attention_and_mlp_add_makes_the_next_residual_stream(architecture):
    model, inputs = build(architecture, SIZES[architecture]), inputs_of(architecture)
    names = layer_names(model, KINDS)
    assert len(names) == 3 * BLOCKS
    found = {name: torch.tensor(x) for name, x in activations(model, inputs, names).layers.items()}
    before = hidden_states(model, inputs)[0]
    for i in range(BLOCKS):
        attention, mlp = found[f"attn_out_{i}"], found[f"mlp_out_{i}"]
        block = model.get_submodule(names[f"resid_post_{i}"])
        with torch.no_grad():
            after = (
                block.output.LayerNorm(block.attention.output.LayerNorm(before + attention) + mlp)
                if architecture in POST_NORM
                else before + attention + mlp
            )
        np.testing.assert_allclose(found[f"resid_post_{i}"], after, atol=1e-5)
        before = found[f"resid_post_{i}"]


def test_models_with_a_head_and_many_blocks():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = transformers.GPT2Config(**{**GPT2, "n_layer": 11})
        model = transformers.GPT2LMHeadModel(config)
    assert list(layer_names(model, ["attn_out"]).values()) == [f"transformer.h.{i}.attn" for i in range(11)]


def test_the_36_layers_of_clip_and_dino():
    """CLIP's residual streams and MLP outputs and DINO's residual streams, each 12, from the CLS token."""
    sizes = {**SEER, "num_hidden_layers": 12}
    clip, dino = build("clip_vision_model", sizes), build("dinov2", sizes, seed=1)
    inputs = inputs_of("vit", samples=6)
    first = activations(clip, inputs, layer_names(clip, ["resid_post", "mlp_out"]), tokens="cls", batch=4)
    second = activations(dino, inputs, layer_names(dino, "resid_post"), tokens="cls", batch=4)
    layers = {f"{model}_{name}": x for model, a in (("CLIP", first), ("DINO", second)) for name, x in a.layers.items()}
    assert len(layers) == 36
    assert len(list(combinations(layers, 2))) == 630
    assert all(x.shape == (6, 16) for x in layers.values())
    for name, model in (("CLIP", clip), ("DINO", dino)):
        states = [state.reshape(6, -1, 16)[:, 0] for state in hidden_states(model, inputs)[1:]]
        for i, state in enumerate(states):
            np.testing.assert_allclose(layers[f"{name}_resid_post_{i}"], state, atol=1e-5)
    stream, added = layers["CLIP_resid_post_11"], layers["CLIP_mlp_out_11"]
    assert not np.allclose(stream, added, atol=0.1)


def test_unknown_layers_are_refused():
    model = build("vit", SEER)
    with pytest.raises(DataError, match="kinds is 'resid_mid'; expected one of 'resid_post', 'mlp_out', 'attn_out'"):
        layer_names(model, "resid_mid")
    with pytest.raises(DataError, match=r"layers of a Linear are not known; expected one of bert, .*Or name modules"):
        layer_names(torch.nn.Linear(2, 2), "resid_post")
    model.layers[1].mlp = torch.nn.Identity()
    del model.layers[2].mlp
    with pytest.raises(DataError, match="this vit is not built as the others are; name modules themselves"):
        layer_names(model, "mlp_out")
