import re
import sys

import numpy as np
import pytest
import torch
from packaged import debiased_cka, installed

from superpose.examples import demo, encoders
from superpose.examples.encoders import packaged
from superpose.files import DataError

packages = [
    pytest.mark.packages,
    pytest.mark.skipif(not installed(demo.L6, demo.L3), reason="the demo's encoders are not installed"),
]


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
        assert list(found.systems) == [*encoders.L6_LAYERS, *encoders.L3_LAYERS]
        for name, x in found.systems.items():
            assert isinstance(x, np.memmap)
            assert x.shape == (len(found.tokens), 384)
            assert x.dtype == np.float16
            np.testing.assert_array_equal(x, again.systems[name])
        np.testing.assert_array_equal(np.unique(found.groups), np.arange(60))
        assert (np.diff(found.groups) >= 0).all()
        assert not np.isin(found.tokens, [0, 101, 102]).any()
        assert {report[0] for report in reports} == {"all-MiniLM-L6", "paraphrase-MiniLM-L3"}

    def test_tokens_spell_the_sentences(self, recorded):
        from tokenizers import Tokenizer

        found, _, text, _, _ = recorded
        tokenizer = Tokenizer.from_file(str(packaged(demo.L6)["tokenizer.json"]))
        for sentence in (0, 17, 59):
            spelled = tokenizer.decode(found.tokens[found.groups == sentence].tolist())
            assert re.sub(r"\W", "", spelled) == re.sub(r"\W", "", text[sentence].lower())

    def test_sources_name_versions_and_digests(self):
        found = demo.sources()
        assert found["encoders"][demo.L6]["version"] == "0.1.0"
        assert found["text"]["sentences"] == len(demo.sentences())
        assert re.fullmatch("[0-9a-f]{64}", found["text"]["sha256"])
