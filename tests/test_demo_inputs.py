import re
import sys
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
import torch

from superpose import demo
from superpose.files import DataError, sha256

REQUIREMENTS = Path(__file__).parent.parent / "demo-requirements.txt"


def installed():
    return all(any(metadata.distributions(name=name)) for name in demo.FILES)


packages = [pytest.mark.packages, pytest.mark.skipif(not installed(), reason="the demo's encoders are not installed")]


def debiased_cka(x, y):
    """Return the ratio of unbiased HSICs from the N × N Gram matrices (Song et al. 2012, Eq. 5)."""
    n = len(x)
    grams = [a @ a.T for a in (x - x.mean(0), y - y.mean(0))]
    for gram in grams:
        np.fill_diagonal(gram, 0)

    def hsic(k, l):
        return (k * l).sum() + k.sum() * l.sum() / ((n - 1) * (n - 2)) - 2 * (k.sum(0) * l.sum(0)).sum() / (n - 2)

    return hsic(*grams) / np.sqrt(hsic(grams[0], grams[0]) * hsic(grams[1], grams[1]))


def test_sentences_are_prose_and_unique():
    found = demo.sentences()
    assert len(found) == len(set(found)) > 1000
    assert "Every object has an identity, a type and a value." in found
    text = "\n".join(found)
    assert not re.search(r"::=|>>>|\*", text)
    assert all(len(one.split()) >= 4 and one[-1] in ".:" for one in found)
    letters = sum(letter.isalpha() or letter == " " for letter in text)
    assert letters > 0.9 * len(text)


def test_digits_are_read_and_represented_alike():
    found = demo.digits()
    assert {name: x.shape for name, x in found.items()} == {"narrow": (1797, 32), "wide": (1797, 96)}
    assert all(x.dtype == np.float32 and np.isfinite(x).all() for x in found.values())
    for name, x in demo.digits().items():
        np.testing.assert_array_equal(x, found[name])
    assert not np.array_equal(demo.digits(seed=1)["narrow"], found["narrow"])
    narrow, wide = (x[1200:].astype(float) for x in found.values())
    shuffled = wide[np.random.default_rng(0).permutation(len(wide))]
    assert debiased_cka(narrow, wide) > 0.6
    # A permuted pairing has mean zero; its spread over permutations is about 0.01 here.
    assert abs(debiased_cka(narrow, shuffled)) < 0.05


def test_the_digit_networks_generalise():
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    x, y = torch.as_tensor(images / 16, dtype=torch.float32), torch.as_tensor(labels)
    _, scores = demo._trained_hidden(x, y, 32, torch.Generator().manual_seed(0))
    # 597 digits that training never saw; chance is 0.10.
    assert (scores[1200:].argmax(1) == y[1200:]).double().mean() > 0.88


def test_digits_without_scikit_learn(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(DataError, match="digits need the scikit-learn package; pip install scikit-learn"):
        demo.digits()


def test_encoders_without_transformers(monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(DataError, match=r'needs the transformers package; pip install "superpose\[models\]"'):
        demo._bert(Path("config.json"), Path("model.safetensors"))


def test_missing_encoders_name_the_remedy(monkeypatch, tmp_path):
    monkeypatch.setitem(demo.FILES, "superpose-no-such-encoder", {})
    with pytest.raises(DataError, match=r"superpose-no-such-encoder is not installed; run `make demo`, or pip install"):
        demo._packaged("superpose-no-such-encoder")
    monkeypatch.setattr(demo, "FILES", {"superpose-no-such-encoder": {}})
    with pytest.raises(DataError, match="is not installed"):
        demo.language(tmp_path)


def test_altered_encoders_are_refused(monkeypatch):
    class File:
        def __init__(self, path):
            self.path = path

        def __str__(self):
            return f"package/{self.path.name}"

        def locate(self):
            return self.path

    here = Path(__file__)
    monkeypatch.setattr(demo.metadata, "files", lambda name: [File(here)])
    monkeypatch.setitem(demo.FILES, "d", {here.name: sha256(here)})
    assert demo._packaged("d") == {here.name: here}
    for pinned in ({here.name: "0" * 64}, {"other.py": sha256(here)}):
        monkeypatch.setitem(demo.FILES, "d", pinned)
        with pytest.raises(DataError, match=r"of d is missing or not the pinned file \(SHA-256\); run `make demo`"):
            demo._packaged("d")
    monkeypatch.setattr(demo.metadata, "files", lambda name: None)
    with pytest.raises(DataError, match="missing or not the pinned file"):
        demo._packaged("d")


def test_requirements_pin_what_the_demo_reads():
    lines = [line for line in REQUIREMENTS.read_text().replace("\\\n", "").splitlines() if line[:1] not in ("#", "")]
    assert all(re.fullmatch(r"[\w-]+==[\d.]+ +--hash=sha256:[0-9a-f]{64}", line) for line in lines)
    assert [line.partition("==")[0] for line in lines] == list(demo.FILES)


@pytest.fixture(scope="module")
def located():
    return {name: path for files in map(demo._packaged, demo.FILES) for name, path in files.items()}


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """Return the activations of 60 sentences, the folder, and what was reported on the way."""
    folder, reports = tmp_path_factory.mktemp("language"), []
    text = demo.sentences()[:60]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(demo, "sentences", lambda: text)
        found = demo.language(folder, progress=lambda *report: reports.append(report))
        again = demo.language(folder)
    return found, again, text, folder, reports


class TestLanguage:
    pytestmark = packages

    def test_one_row_a_token_in_every_layer(self, recorded):
        found, again, _text, _, reports = recorded
        assert list(found.systems) == [*demo.L6_LAYERS, *demo.L3_LAYERS]
        for name, x in found.systems.items():
            assert isinstance(x, np.memmap)
            assert x.shape == (len(found.tokens), 384)
            assert x.dtype == np.float16
            np.testing.assert_array_equal(x, again.systems[name])
        np.testing.assert_array_equal(np.unique(found.groups), np.arange(60))
        assert (np.diff(found.groups) >= 0).all()
        assert not np.isin(found.tokens, [0, 101, 102]).any()
        assert {report[0] for report in reports} == {"all-MiniLM-L6", "paraphrase-MiniLM-L3"}

    def test_tokens_spell_the_sentences(self, recorded, located):
        from tokenizers import Tokenizer

        found, _, text, _, _ = recorded
        tokenizer = Tokenizer.from_file(str(located["tokenizer.json"]))
        for sentence in (0, 17, 59):
            spelled = tokenizer.decode(found.tokens[found.groups == sentence].tolist())
            assert re.sub(r"\W", "", spelled) == re.sub(r"\W", "", text[sentence].lower())

    def test_the_larger_encoder_equals_transformers(self, recorded, located):
        found, _, text, _, _ = recorded
        inputs = demo.tokenize(located["tokenizer.json"], text[:3], length=demo.LONGEST)
        model = demo._bert(located["config.json"], located["model.safetensors"])
        check_states(model, inputs, located, demo.L6_LAYERS, found)

    def test_the_smaller_encoder_equals_transformers(self, recorded, located):
        found, _, text, _, _ = recorded
        inputs = demo.tokenize(located["tokenizer.json"], text[:3], length=demo.LONGEST)
        model = rebuilt(located["paraphrase-MiniLM-L3-v2.onnx"], located["config.json"])
        check_states(model, inputs, located, demo.L3_LAYERS, found)

    def test_the_encoders_share_a_vocabulary(self, located):
        """Word pieces with one id must mean the same to both: their embeddings are alike only under that pairing."""
        small = rebuilt(located["paraphrase-MiniLM-L3-v2.onnx"], located["config.json"])
        large = demo._bert(located["config.json"], located["model.safetensors"])
        rows = np.random.default_rng(0).choice(np.arange(2000, 30000), 1500, replace=False)
        a, b = (m.embeddings.word_embeddings.weight.detach().double().numpy()[rows] for m in (large, small))
        assert debiased_cka(a, b) > 0.3
        assert abs(debiased_cka(a, b[::-1])) < 0.02

    def test_stores_of_different_text_are_refused(self, recorded, monkeypatch):
        _found, _, text, folder, _ = recorded
        genuine = demo.activations

        def shifted(model, inputs, **settings):
            made = genuine(model, inputs, **settings)
            return made._replace(ids=made.ids + isinstance(model, Path))

        monkeypatch.setattr(demo, "sentences", lambda: text)
        monkeypatch.setattr(demo, "activations", shifted)
        with pytest.raises(DataError, match="hold different tokens; delete the folder"):
            demo.language(folder)

    def test_sources_name_versions_and_digests(self):
        found = demo.sources()
        assert found["encoders"][demo.L6]["version"] == "0.1.0"
        assert found["text"]["sentences"] == len(demo.sentences())
        assert re.fullmatch("[0-9a-f]{64}", found["text"]["sha256"])


def check_states(model, inputs, located, names, found):
    """Compare float32 activations with transformers' own hidden states, and the stored float16 with both."""
    source = model if names is demo.L6_LAYERS else located["paraphrase-MiniLM-L3-v2.onnx"]
    layers = (
        {name: f"encoder.layer.{i}" for i, name in enumerate(names)}
        if names is demo.L6_LAYERS
        else dict(zip(names, demo.layer_norms(source)[2::2], strict=True))
    )
    made = demo.activations(source, inputs, layers, drop=demo.PADDING_CLASS_SEPARATOR)
    with torch.no_grad():
        states = model.eval()(**{k: torch.as_tensor(v) for k, v in inputs.items()}, output_hidden_states=True)
    keep = ~np.isin(inputs["input_ids"], demo.PADDING_CLASS_SEPARATOR)
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
