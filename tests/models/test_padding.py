"""Sentences padded on either side give the activations and the rows of each sentence alone."""

import numpy as np
import pytest
import torch
from test_model_layers import DECODER, READER, SMALL, build

from superpose.files import DataError
from superpose.models import activations, text_limit

transformers = pytest.importorskip("transformers")
ODD = {"vocab_size": 50, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
# Encoders and decoders with learned, rotary, relative and linear positions, and the module that is recorded.
MODELS = {
    "bert": (READER, "encoder.layer.1"),
    "roberta": (READER, "encoder.layer.1"),
    "electra": ({**READER, "embedding_size": 16}, "encoder.layer.1"),
    "albert": ({**READER, "embedding_size": 16}, "encoder.albert_layer_groups.0"),
    "distilbert": ({**ODD, "dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 24}, "transformer.layer.1"),
    "mpnet": (READER, "encoder.layer.1"),
    "deberta-v2": ({**READER, "relative_attention": True, "pos_att_type": ["p2c", "c2p"]}, "encoder.layer.1"),
    "clip_text_model": (READER, "encoder.layers.1"),
    "gpt2": ({**ODD, "n_embd": 16, "n_layer": 2, "n_head": 2, "initializer_range": 0.3}, "h.1"),
    "opt": ({**READER, "ffn_dim": 24, "word_embed_proj_dim": 16}, "decoder.layers.1"),
    "bloom": ({**ODD, "hidden_size": 16, "n_layer": 2, "n_head": 2}, "h.1"),
    "gpt_neox": (READER, "layers.1"),
    "llama": (DECODER, "layers.1"),
    "mistral": ({**DECODER, "sliding_window": 3}, "layers.1"),
    "qwen2": (DECODER, "layers.1"),
    "qwen3": (DECODER, "layers.1"),
    "gemma": ({**DECODER, "pad_token_id": 0}, "layers.1"),
}
CHOICES = {
    "every": lambda one: one,
    "cls": lambda one: one[:1],
    "last": lambda one: one[-1:],
    "mean": lambda one: one.mean(0, keepdims=True),
}


def sentences(count=9):
    rng = np.random.default_rng(0)
    return [rng.integers(3, 50, size=length) for length in rng.integers(1, 12, size=count)]


def padded(words, side, pad=0):
    """Return what a tokenizer gives that pads on the left or on the right, or a file of both."""
    length = max(map(len, words))
    ids = np.full((len(words), length), pad)
    mask = np.zeros((len(words), length), dtype=int)
    for row, sentence in enumerate(words):
        left = side == "left" or (side == "both" and row % 2)
        places = slice(length - len(sentence), None) if left else slice(len(sentence))
        ids[row, places], mask[row, places] = sentence, 1
    return {"input_ids": ids, "attention_mask": mask}


def alone(model, words, module):
    """Return what a module gives for every sentence without padding, straight from the model."""
    seen = []

    def keep(module, arguments, output):
        seen.append((output[0] if isinstance(output, tuple) else output)[0].numpy())

    handle = model.get_submodule(module).register_forward_hook(keep)
    per_pass = []
    with torch.no_grad():
        for sentence in words:
            model(input_ids=torch.as_tensor(sentence)[None])
            per_pass.append(seen[-1])
    handle.remove()
    return per_pass


@pytest.mark.parametrize("side", ["left", "right", "both"])
@pytest.mark.parametrize("architecture", MODELS)
def test_padding_changes_nothing(architecture, side):
    sizes, module = MODELS[architecture]
    model, words = build(architecture, sizes), sentences()
    rows = alone(model, words, module)
    for tokens, choose in CHOICES.items():
        found = activations(model, padded(words, side), {"layer": module}, batch=4, tokens=tokens)
        np.testing.assert_allclose(found.layers["layer"], np.concatenate([choose(one) for one in rows]), atol=1e-5)
        ids = words if tokens != "mean" else [[-1]] * len(words)
        np.testing.assert_array_equal(found.ids, np.concatenate([choose(np.array(one)) for one in ids]))


@pytest.mark.parametrize("mask", [bool, np.float32, torch.tensor])
def test_what_lies_along_the_mask_is_moved_with_it(mask):
    """Positions as a tokenizer's users compute them for the left, types of tokens, and vectors in place of tokens."""
    model, words = build("bert", READER), sentences()
    inputs = padded(words, "left")
    right = alone(model, words, "encoder.layer.1")
    inputs["position_ids"] = np.clip(inputs["attention_mask"].cumsum(1) - 1, 0, None)
    inputs["token_type_ids"] = np.zeros_like(inputs["input_ids"])
    with torch.no_grad():
        inputs["inputs_embeds"] = model.embeddings.word_embeddings(torch.as_tensor(inputs.pop("input_ids"))).numpy()
    inputs["attention_mask"] = (
        mask(inputs["attention_mask"]) if mask is torch.tensor else inputs["attention_mask"].astype(mask)
    )
    found = activations(model, inputs, ["encoder.layer.1"], batch=4)
    np.testing.assert_allclose(found.layers["encoder.layer.1"], np.concatenate(right), atol=1e-5)


def test_pictures_beside_sentences_are_never_moved():
    class Both(torch.nn.Module):
        def forward(self, input_ids, attention_mask, pixel_values, pixel_mask):
            return torch.cat([pixel_values.flatten(1), pixel_mask.flatten(1)], 1)

    rng = np.random.default_rng(0)
    pictures, masks = rng.normal(size=(2, 3, 2, 2)).astype(np.float32), rng.normal(size=(2, 3, 2)).astype(np.float32)
    inputs = {"input_ids": [[0, 0, 5], [6, 7, 8]], "attention_mask": [[0, 0, 1], [1, 1, 1]]}
    found = activations(Both(), {**inputs, "pixel_values": pictures, "pixel_mask": masks}, {"layer": ""})
    expected = np.concatenate([pictures.reshape(2, -1), masks.reshape(2, -1)], 1)
    np.testing.assert_array_equal(found.layers["layer"], expected)


def test_a_hole_in_the_mask_keeps_the_positions_around_it():
    model, ids = build("bert", READER), np.array([[0, 7, 8, 9, 10]])
    found = activations(model, {"input_ids": ids, "attention_mask": [[0, 1, 0, 1, 1]]}, ["encoder.layer.1"])
    with torch.no_grad():
        reference = model(
            torch.tensor([[7, 8, 9, 10]]), attention_mask=torch.tensor([[1, 0, 1, 1]]), output_hidden_states=True
        ).hidden_states[2][0]
    np.testing.assert_array_equal(found.ids, [7, 9, 10])
    np.testing.assert_allclose(found.layers["encoder.layer.1"], reference[[0, 2, 3]], atol=1e-5)


@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_without_a_mask_is_refused(side):
    model, inputs = build("bert", READER), padded(sentences(), side)
    for given in ({"input_ids": inputs["input_ids"]}, inputs["input_ids"]):
        with pytest.raises(DataError, match="begin or end with the padding token 0, and no attention_mask says so"):
            activations(model, given, ["encoder.layer.1"])
    same = build("bert", {**READER, "eos_token_id": 0})
    assert len(activations(same, inputs["input_ids"], ["encoder.layer.1"]).samples) == inputs["input_ids"].size


@pytest.mark.parametrize(
    ("mask", "words"),
    [
        ([[0.0, 0.0, -1e9]], "values such as .*; expected .samples, length., 1 for tokens and 0 for padding"),
        ([[[1, 1, 1]] * 3], r"shape \(1, 1?3?, ?3, 3\)|has shape \(1, 3, 3\)"),
        ([[0, 0, 0]], "sample 0 keeps no token"),
    ],
)
def test_masks_of_another_kind_are_refused(mask, words):
    with pytest.raises(DataError, match=words):
        activations(build("bert", READER), {"input_ids": [[5, 6, 7]], "attention_mask": mask}, ["encoder.layer.1"])


def test_padding_in_layers_of_another_length_is_refused():
    class Pooled(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.pool = torch.nn.AvgPool1d(2)

        def forward(self, inputs_embeds, attention_mask):
            return self.pool(inputs_embeds.mT).mT

    x = np.random.default_rng(0).normal(size=(2, 6, 3))
    mask = np.ones((2, 6), int)
    assert activations(Pooled(), {"inputs_embeds": x, "attention_mask": mask}, [""]).layers[""].shape == (6, 3)
    mask[1, 4:] = 0
    with pytest.raises(DataError, match="gives 3 positions for 6 tokens, so that which are padding cannot be told"):
        activations(Pooled(), {"inputs_embeds": x, "attention_mask": mask}, [""])


def test_padded_inputs_of_an_encoder_with_a_decoder_are_refused():
    inputs = {**padded(sentences(), "right"), "decoder_input_ids": np.ones((9, 3), int)}
    sizes = {"d_model": 16, "d_kv": 8, "d_ff": 24, "num_layers": 2, "num_heads": 2, "vocab_size": 50}
    model = build("t5", sizes)
    with pytest.raises(DataError, match=r"decoder_input_ids has a length of its own; .* model\.get_encoder\(\)"):
        activations(model, inputs, ["encoder.block.1"])
    encoder, words = model.get_encoder(), sentences()
    found = activations(encoder, padded(words, "left"), ["block.1"], tokens="mean")
    rows = np.concatenate([one.mean(0, keepdims=True) for one in alone(encoder, words, "block.1")])
    np.testing.assert_allclose(found.layers["block.1"], rows, atol=1e-5)


@pytest.mark.parametrize(
    ("architecture", "sizes", "most"),
    [
        ("bert", {**READER, "max_position_embeddings": 8}, 8),
        ("roberta", {**READER, "max_position_embeddings": 10, "pad_token_id": 1, "bos_token_id": 0}, 8),
        ("gpt2", {**MODELS["gpt2"][0], "n_positions": 8}, 8),
        ("opt", {**MODELS["opt"][0], "max_position_embeddings": 8}, 8),
        ("clip_text_model", {**READER, "max_position_embeddings": 8}, 8),
        ("llama", {**DECODER, "max_position_embeddings": 8}, None),
    ],
)
def test_sentences_longer_than_the_positions_of_a_model(architecture, sizes, most):
    model = build(architecture, sizes)
    assert text_limit(model) == most
    module = MODELS[architecture][1]
    fits, long = (
        {"input_ids": np.full((2, length), 5), "attention_mask": np.ones((2, length), int)} for length in (8, 9)
    )
    assert len(activations(model, fits, [module]).samples) == 16
    if most is None:
        assert len(activations(model, long, [module]).samples) == 18
    else:
        with pytest.raises(
            DataError, match="a sentence has 9 tokens and the model has 8 positions; cut sentences there"
        ):
            activations(model, long, [module])


def test_models_without_words_have_no_limit():
    assert text_limit(torch.nn.Linear(2, 2)) is None
    assert text_limit("net.onnx") is None
    vision = build("clip_vision_model", {**SMALL, "image_size": 28, "patch_size": 14})
    assert activations(vision, np.zeros((2, 3, 28, 28)), ["encoder.layers.1"]).layers["encoder.layers.1"].shape == (
        10,
        16,
    )
