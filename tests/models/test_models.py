import json
import sys

import numpy as np
import pytest
import torch
from graphs import graph

from superpose.files import DataError
from superpose.models import activations, layer_norms, tokenize

UNITS = 6


class Encoder(torch.nn.Module):
    """A language model of one embedding, one mixing of positions under the mask, and blocks that return tuples."""

    class Block(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.dense = torch.nn.Linear(UNITS, UNITS)

        def forward(self, hidden, mask):
            mean = (hidden * mask[..., None]).sum(1, keepdim=True) / mask.sum(1)[:, None, None]
            return hidden + torch.tanh(self.dense(mean + hidden)), "attention"

    def __init__(self):
        super().__init__()
        self.embed = torch.nn.Embedding(50, UNITS)
        self.blocks = torch.nn.ModuleList([self.Block(), self.Block()])
        self.drop = torch.nn.Dropout(0.5)
        self.pool = torch.nn.Linear(UNITS, 3)
        self.unused = torch.nn.Linear(2, 2)
        self.calls = []

    def forward(self, input_ids, attention_mask):
        self.calls.append(tuple(input_ids.shape))
        hidden = self.drop(self.embed(input_ids))
        for block in self.blocks:
            hidden, _ = block(hidden, attention_mask.float())
        return {"pooled": self.pool(hidden[:, 0])}


@pytest.fixture
def encoder():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Encoder()


def sentences(count=37, seed=0):
    """Return padded inputs, and the unpadded ids of each sentence: 1 at the start, 2 at the end."""
    rng = np.random.default_rng(seed)
    words = [np.array([1, *rng.integers(3, 50, size=rng.integers(1, 12)), 2]) for _ in range(count)]
    inputs = {key: np.zeros((count, 20), dtype=np.int64) for key in ("input_ids", "attention_mask")}
    for row, ids in enumerate(words):
        inputs["input_ids"][row, : len(ids)] = ids
        inputs["attention_mask"][row, : len(ids)] = 1
    return inputs, words


def one_by_one(encoder, words, block):
    """Run every sentence alone, without padding: the oracle."""
    outputs = []
    encoder.eval()
    for ids in words:
        hidden, mask = encoder.embed(torch.as_tensor(ids)[None]), torch.ones(1, len(ids))
        for one in encoder.blocks[: block + 1]:
            hidden, _ = one(hidden, mask)
        outputs.append(hidden[0].detach().numpy())
    return outputs


LAYERS = {"early": "blocks.0", "late": "blocks.1"}


def test_tokens_come_in_order_without_padding_or_dropped_ids(encoder):
    inputs, words = sentences()
    found = activations(encoder, inputs, LAYERS, batch=4, drop=(1, 2))
    assert list(found.layers) == ["early", "late"]
    np.testing.assert_array_equal(found.ids, np.concatenate([ids[1:-1] for ids in words]))
    np.testing.assert_array_equal(found.samples, np.repeat(np.arange(37), [len(ids) - 2 for ids in words]))
    for block, name in enumerate(found.layers):
        expected = np.concatenate([one[1:-1] for one in one_by_one(encoder, words, block)])
        np.testing.assert_allclose(found.layers[name], expected, atol=1e-6)
        assert found.layers[name].dtype == np.float32


@pytest.mark.parametrize(
    ("tokens", "choose", "word"),
    [
        ("every", lambda one: one, lambda ids: ids),
        ("cls", lambda one: one[:1], lambda ids: ids[:1]),
        ("last", lambda one: one[-2:-1], lambda ids: ids[-2:-1]),
        ("mean", lambda one: one[:-1].mean(0, keepdims=True), lambda ids: [-1]),
    ],
)
def test_choice_of_tokens(encoder, tokens, choose, word):
    inputs, words = sentences(11)
    drop = () if tokens == "every" else (2,)
    found = activations(encoder, inputs, ["blocks.1"], batch=3, tokens=tokens, drop=drop)
    expected = [choose(one) for one in one_by_one(encoder, words, 1)]
    np.testing.assert_allclose(found.layers["blocks.1"], np.concatenate(expected), atol=1e-6)
    np.testing.assert_array_equal(found.ids, np.concatenate([word(ids) for ids in words]))


def test_batches_are_cut_to_their_longest_and_sorted_by_length(encoder):
    inputs, words = sentences(32)
    activations(encoder, inputs, LAYERS, batch=8)
    lengths = np.sort([len(ids) for ids in words])
    assert encoder.calls == [(8, lengths[i + 7]) for i in range(0, 32, 8)]


@pytest.mark.parametrize("samples", [4, 6, 12])
def test_layers_of_length_by_samples_are_refused_whatever_the_batch(samples):
    """Some networks put the length first; where a batch is as long, rows would be tokens of other samples."""

    class Turned(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.inner, self.outer = torch.nn.Linear(4, 4), torch.nn.Linear(4, 4)

        def forward(self, x):
            return self.outer(self.inner(x.transpose(0, 1)).transpose(0, 1))

    x = torch.randn(samples, 6, 4)
    with pytest.raises(DataError, match=r"layer inner gives shape \(6, .* samples; expected \(samples, units\)"):
        activations(Turned(), x, ["outer", "inner"], tokens="mean", batch=6)
    assert activations(Turned(), x, ["outer"], batch=6).layers["outer"].shape == (samples * 6, 4)


def test_the_model_is_left_as_it_was(encoder):
    inputs, _ = sentences(5)
    encoder.train()
    encoder.blocks[0].eval()
    before = {name: module.training for name, module in encoder.named_modules()}
    first = activations(encoder, inputs, LAYERS)
    second = activations(encoder, inputs, LAYERS)
    np.testing.assert_array_equal(first.layers["late"], second.layers["late"])
    with pytest.raises(RuntimeError):
        activations(encoder, {**inputs, "attention_mask": inputs["attention_mask"][:, :3]}, LAYERS)
    assert {name: module.training for name, module in encoder.named_modules()} == before
    assert not any(module._forward_hooks for module in encoder.modules())
    assert all(parameter.grad is None for parameter in encoder.parameters())


def test_outputs_that_are_overwritten_in_place():
    net = torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.ReLU(inplace=True))
    x = torch.linspace(-1, 1, 30).reshape(10, 3)
    found = activations(net, x, {"before": "0", "after": "1"}, batch=4)
    expected = (x @ net[0].weight.T + net[0].bias).detach().numpy()
    assert (expected < 0).any()
    np.testing.assert_allclose(found.layers["before"], expected, atol=1e-6)
    np.testing.assert_allclose(found.layers["after"], expected.clip(0), atol=1e-6)
    assert found.ids.tolist() == [-1] * 10


def test_float64_inputs_and_models_of_other_precision():
    net = torch.nn.Linear(3, 2).bfloat16()
    found = activations(net, np.ones((4, 3)), [""])
    assert found.layers[""].dtype == np.float32
    assert activations(torch.nn.Identity(), np.ones((4, 3)), [""]).layers[""].tolist() == [[1.0] * 3] * 4


def test_feature_maps():
    net = torch.nn.Conv2d(2, 5, 3)
    x = np.random.default_rng(0).normal(size=(7, 2, 6, 5)).astype(np.float32)
    out = net(torch.as_tensor(x)).detach().numpy()
    mean = activations(net, x, {"c": ""}, tokens="mean", batch=2)
    np.testing.assert_allclose(mean.layers["c"], out.mean(axis=(2, 3)), atol=1e-6)
    every = activations(net, x, {"c": ""}, batch=2)
    np.testing.assert_allclose(every.layers["c"], out.transpose(0, 2, 3, 1).reshape(-1, 5), atol=1e-6)
    np.testing.assert_array_equal(every.samples, np.repeat(np.arange(7), 12))
    with pytest.raises(DataError, match="layer c is a feature map, without a cls token; use mean, every or grid"):
        activations(net, x, {"c": ""}, tokens="cls")


class Pyramid(torch.nn.Module):
    """A map of every place's row and column in finer and coarser cells, and as patches behind a class token."""

    def __init__(self):
        super().__init__()
        self.fine, self.coarse = torch.nn.Identity(), torch.nn.Identity()
        self.patches = torch.nn.Identity()

    def forward(self, x):
        def places(edge):
            centres = (torch.arange(edge) + 0.5) / edge
            grid = torch.stack(torch.meshgrid(centres, centres, indexing="ij"))
            return grid.expand(len(x), 2, edge, edge)

        self.fine(places(14))
        self.coarse(places(7))
        patches = places(16).flatten(2).mT
        return self.patches(torch.cat([torch.full((len(x), 1, 2), -1.0), patches], dim=1))


def test_a_grid_pairs_the_places_of_maps_and_patches_of_any_size():
    found = activations(Pyramid(), np.zeros((3, 1)), ["fine", "coarse", "patches"], tokens="grid", batch=2)
    centres = (np.arange(7) + 0.5) / 7
    wanted = np.stack(np.meshgrid(centres, centres, indexing="ij"), axis=-1).reshape(49, 2)
    for name, edge in (("fine", 14), ("coarse", 7), ("patches", 16)):
        assert found.layers[name].shape == (147, 2)
        assert np.abs(found.layers[name] - np.tile(wanted, (3, 1))).max() <= 0.5 / edge + 1e-6
    np.testing.assert_array_equal(found.samples, np.repeat(np.arange(3), 49))
    assert set(found.ids) == {-1}


@pytest.mark.parametrize("length", [30, 36, 51])
def test_what_is_no_square_has_no_grid(length):
    with pytest.raises(DataError, match=f"a layer has {length} positions; expected a square of at least 7 x 7"):
        activations(torch.nn.Identity(), np.zeros((2, length, 3)), [""], tokens="grid")


def test_store_resumes_and_returns_the_same(encoder, tmp_path):
    inputs, _ = sentences(40)
    direct = activations(encoder, inputs, LAYERS, batch=2, dtype="float16")
    seen = []

    def stop(done, total):
        seen.append((done, total))
        if done == 1:
            raise KeyboardInterrupt

    arguments = {"batch": 2, "dtype": "float16", "store": tmp_path}
    with pytest.raises(KeyboardInterrupt):
        activations(encoder, inputs, LAYERS, progress=stop, **arguments)
    encoder.calls.clear()
    activations(encoder, inputs, LAYERS, **arguments)
    assert len(encoder.calls) == 12
    encoder.calls.clear()
    again = activations(encoder, inputs, LAYERS, **arguments)
    assert encoder.calls == []
    assert seen == [(0, 3), (1, 3)]
    for name in LAYERS:
        assert isinstance(again.layers[name], np.memmap)
        assert again.layers[name].dtype == np.float16
        np.testing.assert_array_equal(again.layers[name], direct.layers[name])
    np.testing.assert_array_equal(again.samples, direct.samples)
    np.testing.assert_array_equal(again.ids, direct.ids)
    with torch.no_grad():
        encoder.pool.bias += 1
    for other in (
        {"model": encoder},
        {"inputs": sentences(40, seed=1)[0]},
        {"layers": ["blocks.0"]},
        {"drop": [3]},
        {"batch": 3},
    ):
        call = {"model": encoder, "inputs": inputs, "layers": LAYERS, **arguments, **other}
        with pytest.raises(DataError, match="made with other settings"):
            activations(**call)


def test_progress_without_a_store(encoder):
    seen = []
    activations(encoder, sentences(20)[0], LAYERS, batch=1, progress=lambda *at: seen.append(at))
    assert seen == [(0, 3), (1, 3), (2, 3), (3, 3)]


def test_what_was_chosen_is_stated(encoder, tmp_path):
    found = activations(
        encoder, sentences(3)[0], LAYERS, tokens="mean", drop={2, 1}, precision="bfloat16", store=tmp_path
    )
    stated = {"layers": LAYERS, "batch": 32, "tokens": "mean", "drop": [1, 2], "dtype": "float32"}
    assert found.settings == {**stated, "precision": "bfloat16"}
    kept = json.loads((tmp_path / "manifest.json").read_text())["manifest"]["settings"]
    assert {key: kept[key] for key in found.settings} == found.settings


@pytest.mark.parametrize(("precision", "digits"), [("bfloat16", 8), ("float16", 11)])
def test_mixed_precision_computes_in_fewer_digits(precision, digits):
    net = torch.nn.Linear(64, 16)
    x = np.random.default_rng(0).normal(size=(20, 64)).astype(np.float32)
    exact = activations(net, x, [""]).layers[""]
    mixed = activations(net, x, [""], precision=precision).layers[""]
    assert mixed.dtype == np.float32
    # Inputs, weights and the result are each rounded to `digits` binary digits; products are summed in float32.
    scale = np.abs(x) @ np.abs(net.weight.detach().numpy().T) + np.abs(exact)
    assert (np.abs(mixed - exact) <= 3 * 2.0**-digits * scale).all()
    assert np.abs(mixed - exact).max() > 0
    assert np.array_equal(mixed, torch.as_tensor(mixed).to(getattr(torch, precision)).float().numpy())
    assert not torch.is_autocast_enabled("cpu")


class Ramp:
    """A source of rows that counts how many it was asked for at once."""

    def __init__(self, samples):
        self.samples, self.asked = samples, []

    def __len__(self):
        return self.samples

    def __getitem__(self, rows):
        self.asked.append(len(rows))
        return np.outer(rows, [1.0, 2.0]).astype(np.float32)

    def digest(self):
        return f"ramp of {self.samples}"


def test_sources_are_read_by_batch(tmp_path):
    ramp = Ramp(50)
    found = activations(torch.nn.Identity(), ramp, [""], batch=8, store=tmp_path)
    assert ramp.asked == [8] * 6 + [2]
    np.testing.assert_array_equal(found.layers[""], np.outer(np.arange(50), [1, 2]))
    activations(torch.nn.Identity(), Ramp(50), [""], batch=8, store=tmp_path)
    with pytest.raises(DataError, match="made with other settings"):
        activations(torch.nn.Identity(), Ramp(49), [""], batch=8, store=tmp_path)
    with pytest.raises(DataError, match=r"shapes .*\(0,\).*at least 1"):
        activations(torch.nn.Identity(), Ramp(0), [""])


class Odd(torch.nn.Module):
    def __init__(self, output):
        super().__init__()
        self.inner = torch.nn.Identity()
        self.output = output

    def forward(self, x):
        self.inner(x)
        return self.output(x)


X = np.ones((3, 4), dtype=np.float32)


@pytest.mark.parametrize(
    ("arguments", "cause"),
    [
        ({"layers": ["blocks.7"]}, "no module 'blocks.7'; expected names from model.named_modules.*embed, blocks"),
        ({"layers": []}, "got 0 layers and batches of 32"),
        ({"batch": 0}, "batches of 0; expected at least one"),
        ({"dtype": "int8"}, "dtype is 'int8'; expected one of 'float32', 'float16'"),
        ({"tokens": "first"}, "tokens is 'first'; expected one of 'every', 'cls', 'last', 'mean', 'grid'"),
        ({"precision": "int8"}, "precision is 'int8'; expected one of 'float32', 'bfloat16', 'float16'"),
        ({"layers": {"ids": "pool"}}, "a layer is called ids, as the labels of rows are; expected another name"),
        ({"layers": ["unused"]}, "layer unused gave nothing; expected a module that runs in every pass"),
        ({"layers": ["blocks.0", "pool"]}, "layers give .* rows for sample 0; expected one"),
        ({"drop": range(50)}, "sample 0 keeps no token; leave it out"),
        (
            {"inputs": {"input_ids": np.ones((2, 3), int), "attention_mask": np.ones((3, 3), int)}},
            "one number of samples",
        ),
        ({"inputs": np.ones((0, 3))}, "one number of samples, at least 1"),
        ({"inputs": 3.0}, "one number of samples"),
        ({"inputs": {"input_ids": [[1, 2], [1]]}}, "inputs are ragged; expected arrays. Pad them"),
        ({"model": Odd(lambda x: "text"), "inputs": X, "layers": [""]}, "gave str; expected a tensor"),
        ({"model": Odd(lambda x: ()), "inputs": X, "layers": [""]}, "gave tuple; expected a tensor"),
        ({"model": Odd(lambda x: x.sum()), "inputs": X, "layers": [""]}, r"gives shape \(\) for 3 samples; expected"),
        ({"model": Odd(lambda x: x[:2]), "inputs": X, "layers": [""]}, r"gives shape \(2, 4\) for 3 samples"),
        (
            {"model": Odd(lambda x: 1e6 * x), "inputs": X, "layers": [""], "dtype": "float16"},
            r"reaches 1e\+06, beyond float16; expected less. Keep it in float32",
        ),
    ],
)
def test_what_cannot_be_recorded(encoder, arguments, cause):
    with pytest.raises(DataError, match=cause):
        activations(**{"model": encoder, "inputs": sentences(6)[0], "layers": LAYERS, **arguments})


@pytest.mark.parametrize("external", [False, True])
def test_onnx_graphs(tmp_path, external):
    path = tmp_path / "net.onnx"
    compute = graph(path, external=external)
    assert layer_norms(path) == ["n0", "n1"]
    x = np.random.default_rng(1).normal(size=(50, 4))
    found = activations(path, x, {"first": "n0", "middle": "h1", "last": "n1"}, batch=3, store=tmp_path / "store")
    for name, expected in zip(("first", "middle", "last"), compute(x).values(), strict=True):
        np.testing.assert_allclose(found.layers[name], expected, atol=2e-5)
    again = activations(str(path), {"x": x}, ["n1"], batch=50)
    np.testing.assert_allclose(again.layers["n1"], found.layers["last"], atol=1e-6)
    weights = tmp_path / ("weights.bin" if external else "net.onnx")
    data = bytearray(weights.read_bytes())
    at = data.index(np.ones(5, dtype=np.float32).tobytes())
    data[at : at + 4] = np.float32(2).tobytes()
    weights.write_bytes(data)
    with pytest.raises(DataError, match="made with other settings"):
        activations(path, x, {"first": "n0", "middle": "h1", "last": "n1"}, batch=3, store=tmp_path / "store")


def test_onnx_files_that_cannot_be_run(tmp_path):
    path = tmp_path / "net.onnx"
    graph(path)
    x = np.ones((3, 4), dtype=np.float32)
    with pytest.raises(DataError, match="has no value 'n7'; expected the output of a node"):
        activations(path, x, ["n7"])
    with pytest.raises(DataError, match="precision is 'float16'; expected 'float32', because a graph fixes"):
        activations(path, x, ["n1"], precision="float16")
    with pytest.raises(DataError, match="takes the inputs x; got y"):
        activations(path, {"y": x}, ["n1"])
    with pytest.raises(DataError, match=r"missing\.onnx is not a file"):
        activations(tmp_path / "missing.onnx", x, ["n1"])
    whole = path.read_bytes()
    path.write_bytes(b"\xff" + whole[1:])
    with pytest.raises(DataError, match=r"net\.onnx cannot be read as an ONNX graph"):
        layer_norms(path)
    path.write_bytes(whole.replace(b"MatMul", b"MatMux"))
    with pytest.raises(DataError, match=r"net\.onnx cannot be run"):
        activations(path, x, ["n1"])


def test_missing_packages_are_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(DataError, match=r'need the onnxruntime package; pip install "superpose\[models\]"'):
        layer_norms(tmp_path / "net.onnx")
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(DataError, match=r'need the tokenizers package; pip install "superpose\[models\]"'):
        tokenize(tmp_path / "tokenizer.json", ["a"], length=8)


def test_tokenize_pads_and_cuts(tmp_path):
    from tokenizers import Tokenizer, models, pre_tokenizers

    vocabulary = {"[PAD]": 0, "a": 1, "b": 2, "[UNK]": 3}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    found = tokenize(tmp_path / "tokenizer.json", ["a b c d e", "b"], length=3)
    assert found["input_ids"].tolist() == [[1, 2, 3], [2, 0, 0]]
    assert found["attention_mask"].tolist() == [[1, 1, 1], [1, 0, 0]]
    (tmp_path / "bad.json").write_text("{")
    with pytest.raises(DataError, match=r"bad\.json cannot be read as a tokenizer"):
        tokenize(tmp_path / "bad.json", ["a"], length=3)


def test_hidden_states_of_transformers():
    transformers = pytest.importorskip("transformers")
    config = transformers.BertConfig(
        vocab_size=50, hidden_size=16, num_hidden_layers=3, num_attention_heads=2, intermediate_size=24
    )
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = transformers.BertModel(config)
    inputs, words = sentences(9)
    found = activations(model, inputs, [f"encoder.layer.{i}" for i in range(3)], batch=4)
    with torch.no_grad():
        for row, ids in enumerate(words):
            states = model.eval()(torch.as_tensor(ids)[None], output_hidden_states=True).hidden_states
            for name, state in zip(found.layers, states[1:], strict=True):
                np.testing.assert_allclose(found.layers[name][found.samples == row], state[0], atol=1e-5)
