"""Packaged encoders: pinned files, and activations against other implementations of the same networks."""

import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from packaged import debiased_cka, needs
from PIL import Image

from superpose.examples import demo, encoders
from superpose.files import DataError, sha256
from superpose.models import activations, images, layer_norms, tokenize

REQUIREMENTS = Path(__file__).parents[2] / "demo-requirements.txt"








def test_encoders_without_transformers(monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(DataError, match=r'needs the transformers package; pip install "superpose\[models\]"'):
        encoders.bert(Path("config.json"), Path("model.safetensors"))


def test_missing_encoders_name_the_remedy(monkeypatch, tmp_path):
    monkeypatch.setitem(encoders.FILES, "superpose-no-such-encoder", {})
    with pytest.raises(DataError, match=r"superpose-no-such-encoder is not installed; run `make demo`, or pip install"):
        encoders.packaged("superpose-no-such-encoder")
    monkeypatch.setattr(encoders, "L6", "superpose-no-such-encoder")
    with pytest.raises(DataError, match="is not installed"):
        encoders.language_layers(tmp_path, ["A cat."])
    with pytest.raises(DataError, match="encoder is 'L7'; expected one of 'L6', 'L3', 'SRE'"):
        encoders.language_layers(tmp_path, ["A cat."], encoders=["L7"])


def test_altered_encoders_are_refused(monkeypatch):
    class File:
        def __init__(self, path):
            self.path = path

        def __str__(self):
            return f"package/{self.path.name}"

        def locate(self):
            return self.path

    here = Path(__file__)
    monkeypatch.setattr(encoders.metadata, "files", lambda name: [File(here)])
    monkeypatch.setitem(encoders.FILES, "d", {here.name: sha256(here)})
    assert encoders.packaged("d") == {here.name: here}
    for pinned in ({here.name: "0" * 64}, {"other.py": sha256(here)}):
        monkeypatch.setitem(encoders.FILES, "d", pinned)
        with pytest.raises(DataError, match=r"of d is missing or not the pinned file \(SHA-256\); run `make demo`"):
            encoders.packaged("d")
    monkeypatch.setattr(encoders.metadata, "files", lambda name: None)
    with pytest.raises(DataError, match="missing or not the pinned file"):
        encoders.packaged("d")


def test_requirements_pin_what_the_demo_reads():
    lines = [line for line in REQUIREMENTS.read_text().replace("\\\n", "").splitlines() if line[:1] not in ("#", "")]
    assert all(re.fullmatch(r"[\w-]+==[\d.]+ +--hash=sha256:[0-9a-f]{64}", line) for line in lines)
    assert [line.partition("==")[0] for line in lines] == list(encoders.FILES)


@pytest.fixture(scope="module")
def located():
    files = {**encoders.packaged(encoders.L6), **encoders.packaged(encoders.L3)}
    return files


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """Return the activations of 60 sentences in the two encoders of the demo, the sentences and the folder."""
    folder, text = tmp_path_factory.mktemp("language"), demo.sentences()[:60]
    return encoders.language_layers(folder, text), text, folder


class TestLanguage:
    pytestmark = needs(encoders.L6, encoders.L3)

    def test_the_larger_encoder_equals_transformers(self, recorded, located):
        found, text, _ = recorded
        inputs = tokenize(located["tokenizer.json"], text[:3], length=encoders.LONGEST)
        model = encoders.bert(located["config.json"], located["model.safetensors"])
        check_states(model, inputs, encoders.L6_LAYERS, found)

    def test_the_smaller_encoder_equals_transformers(self, recorded, located):
        found, text, _ = recorded
        inputs = tokenize(located["tokenizer.json"], text[:3], length=encoders.LONGEST)
        model = rebuilt(located["paraphrase-MiniLM-L3-v2.onnx"], located["config.json"])
        check_states(model, inputs, encoders.L3_LAYERS, found)

    def test_the_encoders_share_a_vocabulary(self, located):
        """Word pieces with one id must mean the same to both: their embeddings are alike only under that pairing."""
        small = rebuilt(located["paraphrase-MiniLM-L3-v2.onnx"], located["config.json"])
        large = encoders.bert(located["config.json"], located["model.safetensors"])
        rows = np.random.default_rng(0).choice(np.arange(2000, 30000), 1500, replace=False)
        a, b = (m.embeddings.word_embeddings.weight.detach().double().numpy()[rows] for m in (large, small))
        assert debiased_cka(a, b) > 0.3
        assert abs(debiased_cka(a, b[::-1])) < 0.02

    def test_stores_of_different_text_are_refused(self, recorded, monkeypatch):
        _, text, folder = recorded
        genuine = encoders.activations

        def shifted(model, inputs, layers, **settings):
            made = genuine(model, inputs, layers, **settings)
            return made._replace(ids=made.ids + isinstance(model, Path))

        monkeypatch.setattr(encoders, "activations", shifted)
        with pytest.raises(DataError, match="hold different tokens; delete the folder"):
            encoders.language_layers(folder, text)


class TestNearTwin:
    pytestmark = needs(encoders.L6, encoders.L3, encoders.SRE)

    def test_it_reads_the_same_word_pieces(self, recorded):
        _, text, _ = recorded
        files = [encoders.packaged(name)["tokenizer.json"] for name in (encoders.L6, encoders.SRE)]
        first, second = (tokenize(file, text, length=encoders.LONGEST) for file in files)
        for key, kept in first.items():
            longest = int(first["attention_mask"].sum(1).max())
            np.testing.assert_array_equal(kept[:, :longest], second[key][:, :longest])

    def test_its_lower_layers_are_nearer_than_another_encoder_s(self, recorded):
        """Fine-tuning moved the weights by 3 % at most, but turned the last layer round: that one is no twin."""
        found, text, folder = recorded
        twin = encoders.language_layers(folder, text, encoders=["L6", "SRE"])
        assert list(twin.systems) == [*encoders.L6_LAYERS, *(f"SRE_{i}" for i in range(1, 7))]
        np.testing.assert_array_equal(twin.tokens, found.tokens)
        rows = np.random.default_rng(0).choice(len(found.tokens), 400, replace=False)
        x = {name: a[rows].astype(float) for name, a in {**found.systems, **twin.systems}.items()}
        for layer in range(1, 5):
            near = debiased_cka(x[f"L6_{layer}"], x[f"SRE_{layer}"])
            far = max(debiased_cka(x[f"L6_{layer}"], x[other]) for other in encoders.L3_LAYERS)
            assert near > max(0.9, far + 0.05)

    def test_its_weights_are_near(self):
        first, second = (
            encoders.bert(files["config.json"], files["model.safetensors"]).state_dict()
            for files in map(encoders.packaged, (encoders.L6, encoders.SRE))
        )
        weights = [name for name in first if name.endswith("weight")]
        moved = [float((second[name] - first[name]).norm() / first[name].norm()) for name in weights]
        assert 0 < max(moved) < 0.05


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    """Return a folder of three photographs of known classes and some noise."""
    from skimage import data

    folder = tmp_path_factory.mktemp("photographs")
    for name in ("chelsea", "coffee", "rocket"):
        Image.fromarray(getattr(data, name)()).save(folder / f"{name}.png")
    noise = np.random.default_rng(0).integers(0, 256, size=(240, 300, 3), dtype=np.uint8)
    Image.fromarray(noise).save(folder / "noise.png")
    return folder


class TestEfficientNet:
    pytestmark = needs(encoders.LITE0, encoders.LITE0_CODE)

    def test_it_sees_what_is_in_the_photographs(self, photographs):
        """ImageNet's classes: cats 281 to 285, espresso 967, missile 657; each right by chance once in a thousand."""
        model, _ = encoders.SEERS["Lite0"].load()
        source = images(photographs, encoders.SEERS["Lite0"].preparation)
        scores = activations(model, source, {"classes": ""}).layers["classes"]
        best = dict(zip(source.names, scores.argmax(1).tolist(), strict=True))
        assert best["chelsea.png"] in range(281, 286)
        assert (best["coffee.png"], best["rocket.png"]) == (967, 657)

    def test_features_make_the_classes(self, photographs, tmp_path):
        model, _ = encoders.SEERS["Lite0"].load()
        source = images(photographs, encoders.SEERS["Lite0"].preparation)
        found = encoders.vision_layers(tmp_path, source, encoders=["Lite0"])
        assert list(found) == [*(f"Lite0_{i}" for i in range(1, 17)), "Lite0_features"]
        widths = [16, 24, 24, 40, 40, 80, 80, 80, 112, 112, 112, 192, 192, 192, 192, 320, 1280]
        assert [x.shape for x in found.values()] == [(4, width) for width in widths]
        with torch.no_grad():
            classes = model.eval()._fc(torch.tensor(found["Lite0_features"].astype(np.float32)))
            expected = model(torch.tensor(source[np.arange(4)]))
        np.testing.assert_allclose(classes, expected, atol=0.02)

    def test_places_and_their_mean(self, photographs):
        model, layers = encoders.SEERS["Lite0"].load()
        source = images(photographs, encoders.SEERS["Lite0"].preparation)
        places = activations(model, source, {"last": layers["Lite0_16"]}, batch=2)
        assert places.layers["last"].shape == (4 * 7 * 7, 320)
        mean = activations(model, source, {"last": layers["Lite0_16"]}, tokens="mean", batch=4)
        by_hand = places.layers["last"].reshape(4, 49, 320).mean(1)
        np.testing.assert_allclose(mean.layers["last"], by_hand, atol=1e-5)


class TestViT:
    pytestmark = needs(encoders.VIT)

    def test_the_graph_equals_its_network_in_torch(self, photographs, tmp_path):
        """The graph's weights in transformers' implementation of the architecture: hidden states agree to 1e-4."""
        graph, layers = encoders.SEERS["ViT"].load()
        model = vit_of(graph)
        source = images(photographs, encoders.SEERS["ViT"].preparation)
        found = activations(graph, source, layers)
        with torch.no_grad():
            states = model(torch.tensor(source[np.arange(4)]), output_hidden_states=True).hidden_states[1:]
        assert list(found.layers) == [f"ViT_{i}" for i in range(1, 13)]
        for x, state in zip(found.layers.values(), states, strict=True):
            assert x.shape == (4 * 257, 384)
            # A hundred roundings of float32: processors sum in orders of their own.
            np.testing.assert_allclose(x, state.reshape(-1, 384), rtol=1e-5, atol=1e-4)
        kept = encoders.vision_layers(tmp_path, source, encoders=["ViT"], batch=3)
        again = encoders.vision_layers(tmp_path, source, encoders=["ViT"], batch=3)
        for name, state in zip(layers.keys(), states, strict=True):
            assert isinstance(kept[name], np.memmap)
            np.testing.assert_allclose(kept[name], state[:, 0], rtol=2**-10, atol=1e-3)
            np.testing.assert_array_equal(again[name], kept[name])


def test_unknown_vision_encoders_are_named(photographs, tmp_path):
    source = images(photographs, encoders.SEERS["ViT"].preparation)
    with pytest.raises(DataError, match="encoder is 'CLIP'; expected one of 'ViT', 'Lite0'"):
        encoders.vision_layers(tmp_path, source, encoders=["CLIP"])


def vit_of(graph):
    """Return the backbone of the saliency graph as a transformers model: its matrices stand unnamed and transposed."""
    import onnx
    from onnx import numpy_helper
    from transformers import Dinov2Config, Dinov2Model

    nodes = onnx.load(graph).graph
    values = {one.name: numpy_helper.to_array(one) for one in nodes.initializer}
    products = [node for node in nodes.node if node.op_type == "MatMul" and node.input[1] in values]
    state = {
        name.removeprefix("backbone."): torch.tensor(value)
        for name, value in values.items()
        if name.startswith("backbone.")
    }
    for node in products:
        place = node.name.strip("/").removeprefix("backbone/").removesuffix("/MatMul").replace("/", ".")
        state[f"{place}.weight"] = torch.tensor(values[node.input[1]].T.copy())
    first, others = (values[name] for name in ("onnx::Concat_1957", "onnx::Reshape_1962"))
    state["embeddings.position_embeddings"] = torch.tensor(np.concatenate([first, others], axis=1))
    for old, new in NAMES.items():
        state = {name.replace(old, new): value for name, value in state.items()}
    config = Dinov2Config(hidden_size=384, num_hidden_layers=12, num_attention_heads=6, image_size=518, patch_size=14)
    model = Dinov2Model(config)
    missing, unexpected = model.load_state_dict(state, strict=False)
    # It stands for masked patches, of which there are none.
    assert (missing, unexpected) == (["embeddings.mask_token"], [])
    return model.eval()


# The graph was made from an older version of the library.
NAMES = {
    "attention.attention.query": "attention.q_proj",
    "attention.attention.key": "attention.k_proj",
    "attention.attention.value": "attention.v_proj",
    "attention.output.dense": "attention.o_proj",
}


def check_states(model, inputs, names, found):
    """Compare float32 activations with transformers' own hidden states, and the stored float16 with both."""
    source = model if names is encoders.L6_LAYERS else encoders.packaged(encoders.L3)["paraphrase-MiniLM-L3-v2.onnx"]
    layers = (
        {name: f"encoder.layer.{i}" for i, name in enumerate(names)}
        if names is encoders.L6_LAYERS
        else dict(zip(names, layer_norms(source)[2::2], strict=True))
    )
    made = activations(source, inputs, layers, drop=encoders.PADDING_CLASS_SEPARATOR)
    with torch.no_grad():
        states = model.eval()(**{k: torch.as_tensor(v) for k, v in inputs.items()}, output_hidden_states=True)
    keep = ~np.isin(inputs["input_ids"], encoders.PADDING_CLASS_SEPARATOR)
    for name, state in zip(names, states.hidden_states[1:], strict=True):
        expected = state.numpy()[keep]
        np.testing.assert_allclose(made.layers[name], expected, atol=1e-5)
        np.testing.assert_allclose(found.systems[name][: len(expected)], expected, atol=1e-4, rtol=1e-3)


def rebuilt(graph, config):
    """Return the ONNX encoder as a transformers model: its matrices stand unnamed, in order, and transposed."""
    import onnx
    from onnx import numpy_helper
    from transformers import BertConfig, BertModel

    nodes = onnx.load(graph).graph
    values = {one.name: numpy_helper.to_array(one) for one in nodes.initializer}
    state = {
        name.removeprefix("model.0.auto_model."): torch.tensor(value)
        for name, value in values.items()
        if name.startswith("model.0.auto_model.")
    }
    products = [node.input[1] for node in nodes.node if node.op_type == "MatMul" and node.input[1] in values]
    inside = ("attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense")
    places = [f"{layer}.{name}" for layer in range(3) for name in (*inside, "intermediate.dense", "output.dense")]
    for place, product in zip(places, products, strict=True):
        state[f"encoder.layer.{place}.weight"] = torch.tensor(values[product].T.copy())
    shape = BertConfig.from_json_file(config)
    shape.num_hidden_layers = 3
    model = BertModel(shape, add_pooling_layer=False)
    wanted = set(model.state_dict())
    model.load_state_dict({name: value for name, value in state.items() if name in wanted})
    return model
