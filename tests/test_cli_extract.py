"""`superpose extract`, as its users call it, on small models with random weights that transformers saved."""

import json
import re
import shutil
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from test_models import graph

from superpose import cli, store
from superpose.models import images, preparation, pretrained, tokenize

transformers = pytest.importorskip("transformers")
SMALL = {"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 24}
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "cat", "sees", "the", "dog", "and", "leaves"]
LINES = ["a cat sees the dog", "the dog", "the cat and a dog leaves and sees", "dog"]


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Return a folder with a vision model and its processor, a language model and its tokenizer, and a graph."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    here = tmp_path_factory.mktemp("models")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        clip = transformers.CLIPVisionModel(transformers.CLIPVisionConfig(image_size=28, patch_size=14, **SMALL))
        bert = transformers.BertModel(transformers.BertConfig(vocab_size=len(WORDS), **SMALL))
    clip.save_pretrained(here / "clip")
    size = {"size": {"shortest_edge": 28}, "crop_size": {"height": 28, "width": 28}}
    transformers.CLIPImageProcessor(**size).save_pretrained(here / "clip")
    bert.save_pretrained(here / "bert")
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        "[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer.save(str(here / "bert" / "tokenizer.json"))
    graph(here / "net.onnx")
    return here


@pytest.fixture
def here(saved, tmp_path, monkeypatch):
    """Stand in a folder with the models, pictures, sentences and an array."""
    shutil.copytree(saved, tmp_path, dirs_exist_ok=True)
    rng = np.random.default_rng(0)
    for i in range(9):
        (tmp_path / "pictures" / "ab"[i % 2]).mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 256, size=(40 + i, 50, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "pictures" / "ab"[i % 2] / f"{i}.png")
    (tmp_path / "text.txt").write_text("\n".join(LINES[:2]) + "\n\n" + "\n".join(LINES[2:]))
    np.save(tmp_path / "x.npy", rng.normal(size=(50, 4)))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def extract(*arguments):
    return cli.main(["extract", *map(str, arguments)])


def test_pictures_then_compare(here, capsys):
    asked = ["--layers", "resid_post", "mlp_out", "--tokens", "cls", "--batch", "4", "--dtype", "float16"]
    assert extract("clip", "pictures", *asked, "--out", "made/CLIP") == 0
    out, err = capsys.readouterr()
    following = "superpose compare made/CLIP/resid_post_0.npy made/CLIP/resid_post_1.npy --out results"
    assert out == f"6 layers of 16 units, 9 rows of 9 samples (tokens cls). Next: {following}\n"
    assert err.endswith("Written to made/CLIP\n")
    names = [f"{kind}_{i}" for kind in ("resid_post", "mlp_out") for i in range(3)]
    others = {"extract.json", "manifest.json", "stimuli.txt", "groups.npy", "ids.npy"}
    assert {path.name for path in (here / "made/CLIP").iterdir()} == {f"{name}.npy" for name in names} | others

    stimuli = (here / "made/CLIP/stimuli.txt").read_text().splitlines()
    assert stimuli == [
        "a/0.png",
        "a/2.png",
        "a/4.png",
        "a/6.png",
        "a/8.png",
        "b/1.png",
        "b/3.png",
        "b/5.png",
        "b/7.png",
    ]
    source = images("pictures", preparation("clip/preprocessor_config.json"))
    with torch.no_grad():
        model = transformers.CLIPVisionModel.from_pretrained("clip", local_files_only=True)
        states = model(torch.tensor(source[np.arange(9)]), output_hidden_states=True).hidden_states
    for i in range(3):
        kept = np.load(here / f"made/CLIP/resid_post_{i}.npy", mmap_mode="r")
        assert kept.dtype == np.float16
        # Half precision keeps 11 binary digits.
        np.testing.assert_allclose(kept, states[i + 1][:, 0], rtol=2**-11, atol=1e-5)
    record = json.loads((here / "made/CLIP/extract.json").read_text())
    assert record["settings"]["tokens"] == "cls"
    assert (record["model"], record["inputs"], record["device"]) == ("clip", "pictures", "cpu")
    assert "transformers" in record["versions"]

    compared = following.removeprefix("superpose ").replace(" --out results", "").split()
    assert cli.main([*compared, "--out", "results", "--no-latents", "--permutations", "0", "--folds", "2"]) == 0
    assert "resid_post_0" in capsys.readouterr().out


def test_sentences_then_the_groups_of_their_tokens(here, capsys):
    asked = ["--layers", "resid_post", "--drop", "2", "3", "--batch", "2", "--out", "bert-out"]
    assert extract("bert", "text.txt", *asked) == 0
    out, _ = capsys.readouterr()
    assert "3 layers of 16 units, 16 rows of 4 samples (tokens every). Next: superpose compare" in out
    assert out.endswith("--groups bert-out/groups.npy --out results\n")
    words = [WORDS[i] for i in np.load("bert-out/ids.npy")]
    assert words == " ".join(LINES).split()
    groups = np.load("bert-out/groups.npy")
    assert groups.tolist() == [i for i, line in enumerate(LINES) for _ in line.split()]
    assert (here / "bert-out/stimuli.txt").read_text().splitlines() == LINES
    inputs = {key: torch.as_tensor(x) for key, x in tokenize("bert/tokenizer.json", LINES, length=128).items()}
    with torch.no_grad():
        states = pretrained("bert")(**inputs, output_hidden_states=True).hidden_states
    kept = np.load("bert-out/resid_post_2.npy")
    np.testing.assert_allclose(kept[groups == 1], states[3][1, 1:3], atol=1e-5)


def test_sentences_are_cut(here):
    assert extract("bert", "text.txt", "--layers", "embeddings", "--length", "4", "--out", "cut") == 0
    assert np.bincount(np.load("cut/groups.npy")).tolist() == [4, 4, 4, 3]


@pytest.mark.parametrize(
    ("layers", "files"),
    [(["layer_norm"], ["layer_norm_0", "layer_norm_1"]), (["h1", "n1"], ["h1", "n1"]), (["n0"], ["n0"])],
)
def test_graphs_on_arrays(here, capsys, layers, files):
    assert extract("net.onnx", "x.npy", "--layers", *layers, "--out", "onnx-out") == 0
    out, _ = capsys.readouterr()
    assert "50 rows of 50 samples" in out
    assert out.endswith(f"superpose train onnx-out/{files[0]}.npy --out kept\n") == (len(files) == 1)
    compute = graph(here / "net.onnx")
    values = dict(zip(("n0", "h1", "n1"), compute(np.load("x.npy")).values(), strict=True))
    for file in files:
        expected = values[file.replace("layer_norm_", "n")]
        np.testing.assert_allclose(np.load(f"onnx-out/{file}.npy"), expected, atol=2e-5)


def test_a_stopped_run_goes_on_and_a_damaged_file_is_mended(here, capsys, monkeypatch):
    asked = ["clip", "pictures", "--layers", "resid_post", "--tokens", "mean", "--batch", "1"]
    assert extract(*asked, "--out", "whole") == 0
    genuine, passes = transformers.CLIPVisionModel.forward, []

    def stop(self, *arguments, **options):
        passes.append(1)
        if len(passes) == 9:
            raise KeyboardInterrupt
        return genuine(self, *arguments, **options)

    monkeypatch.setattr(transformers.CLIPVisionModel, "forward", stop)
    assert extract(*asked, "--out", "torn") == 130
    assert extract(*asked, "--out", "torn") == 0
    assert len(passes) == 10
    sound = {name: file.read_bytes() for name, file in store.paths("whole").items()}
    assert {name: file.read_bytes() for name, file in store.paths("torn").items()} == sound
    capsys.readouterr()

    damaged = bytearray(sound["resid_post_1"])
    damaged[-1] ^= 1
    (here / "torn/resid_post_1.npy").write_bytes(damaged)
    assert extract(*asked, "--out", "torn") == 0
    assert len(passes) == 11
    named = r"^superpose: torn/resid_post_1\.npy is missing or is not .*: chunk 1; only that is made again"
    assert re.search(named, capsys.readouterr().err, re.MULTILINE)
    assert (here / "torn/resid_post_1.npy").read_bytes() == sound["resid_post_1"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["none", "x.npy"], "none does not exist; check the path"),
        (["bert", "none.npy"], "none.npy does not exist"),
        (["x.npy", "x.npy"], "x.npy is .npy; expected a folder or .onnx"),
        (["bert", "bert/config.json"], "bert/config.json is .json; expected a folder, .txt or .npy"),
        (["bert", "plain"], "plain is a file without a suffix; expected a folder, .txt or .npy"),
        (["pictures", "x.npy"], "pictures holds no config.json; expected the folder of a model"),
        (["pickled", "x.npy"], "pickled cannot be loaded"),
        (["foreign", "x.npy"], "foreign cannot be loaded"),
        (["bert", "pictures"], "bert/preprocessor_config.json does not exist; name one with --preparation"),
        (["bert", "pictures", "--preparation", "sharp"], "preparation is 'sharp'; expected one of 'clip', 'vit'"),
        (["clip", "text.txt"], "clip/tokenizer.json does not exist; save the tokenizer of the model there"),
        (["clip", "bert"], "bert holds no pictures"),
        (["bert", "latin.txt"], "latin.txt is not text in UTF-8"),
        (["bert", "blank.txt"], "blank.txt holds no sentence; expected one a line"),
        (["bert", "broken.npy"], "broken.npy cannot be read as an array"),
        (["bert", "x.npy"], "bert cannot be run on x.npy ("),
        (["clip", "pictures", "--preparation", "clip"], "clip cannot be run on pictures ("),
        (["net.onnx", "wide.npy"], "net.onnx cannot be run on wide.npy ("),
        (["net.onnx", "x.npy", "--device", "cuda"], "device is 'cuda'; expected 'cpu', where .onnx files run"),
        (["bert", "text.txt", "--device", "quantum"], "device is 'quantum', which is not here ("),
        (["bert", "text.txt", "--layers", "resid_mid"], "has no module 'resid_mid'"),
        (["bert", "text.txt", "--tokens", "first"], "tokens is 'first'; expected one of 'every'"),
        (["bert", "text.txt", "--out", "pictures"], "pictures holds other files, such as a"),
    ],
)
def test_bad_input_is_one_line(here, capsys, arguments, words):
    (here / "latin.txt").write_bytes("caf\xe9".encode("latin-1"))
    (here / "blank.txt").write_text(" \n\n")
    (here / "plain").write_text("text")
    (here / "broken.npy").write_bytes(b"\x93NUMPY")
    np.save(here / "wide.npy", np.ones((3, 5)))
    shutil.copytree("bert", "pickled")
    torch.save({}, here / "pickled/pytorch_model.bin")
    (here / "pickled/model.safetensors").unlink()
    shutil.copytree("bert", "foreign")
    (here / "foreign/config.json").write_text('{"model_type": "theirs", "auto_map": {"AutoModel": "code.Model"}}')
    (here / "foreign/code.py").write_text("open('canary', 'w')")
    rest = [
        *(() if "--layers" in arguments else ("--layers", ONE[arguments[0]])),
        *(() if "--out" in arguments else ("--out", "new")),
    ]
    assert extract(*arguments, *rest) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert [words in line for line in said.err.splitlines() if line.startswith("superpose: ")] == [True]
    assert "Traceback" not in said.err
    assert not (here / "canary").exists()


ONE = {
    **dict.fromkeys(("none", "x.npy", "bert", "pictures", "pickled", "foreign"), "resid_post"),
    "clip": "mlp_out",
    "net.onnx": "n1",
}


def lacking(folder, what):
    """Take the weights whose names hold `what` out of a saved model."""
    file = folder / "model.safetensors"
    kept = {name: tensor for name, tensor in load_file(file).items() if what not in name}
    save_file(kept, file, metadata={"format": "pt"})


def test_layers_without_weights_are_never_drawn_at_random(here, capsys):
    lacking(here / "bert", "layer.1.output.dense")
    assert extract("bert", "text.txt", "--layers", "resid_post", "--out", "new") == 2
    assert re.search(
        r"bert has no weights for encoder\.layer\.1\.output\.dense\.bias; expected", capsys.readouterr().err
    )


def test_a_pooler_without_weights_cannot_be_recorded(here, capsys):
    lacking(here / "bert", "pooler")
    assert extract("bert", "text.txt", "--layers", "resid_post", "--out", "new") == 0
    assert extract("bert", "text.txt", "--layers", "pooler", "--out", "other") == 2
    assert "the model has no module 'pooler'" in capsys.readouterr().err


def test_without_transformers(here, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    assert extract("bert", "text.txt", "--layers", "resid_post", "--out", "new") == 2
    assert 'saved models need the transformers package; pip install "superpose[models]"' in capsys.readouterr().err


def test_recorded_layers_of_two_models_make_a_figure(here, capsys):
    """The paper's study in small: two models, the same pictures, all pairs of layers."""
    draw = np.random.default_rng(1)
    for i in range(9, 70):
        Image.fromarray(draw.integers(0, 256, size=(30, 30, 3), dtype=np.uint8)).save(here / f"pictures/a/{i}.png")
    shutil.copytree(here / "clip", here / "other")
    for name in ("clip", "other"):
        assert extract(name, "pictures", "--layers", "resid_post", "--tokens", "grid", "--out", f"made/{name}") == 2
        assert "a layer has 5 positions; expected a square of at least 7 x 7" in capsys.readouterr().err
        shutil.rmtree(here / "made")
        assert extract(name, "pictures", "--layers", "resid_post", "--out", f"kept/{name}") == 0
    layers = ["clip.resid_post_0", "clip.resid_post_2", "other.resid_post_2"]
    sizes = ["--samples", "240", "--held-out", "80", "--expansion", "2", "--active", "2", "--steps", "20"]
    figure = ["reproduce", "figure5", "--recorded", "kept/clip", "kept/other", "--layers", *layers, *sizes]
    capsys.readouterr()
    assert cli.main([*figure, "--out", "figures", "--dry-run"]) == 0
    table, words = capsys.readouterr()
    assert [line.split("\t")[:2] for line in table.splitlines()[1:]] == [
        ["together", "1"],
        ["independent", "1"],
        ["pair", "3"],
    ]
    assert "5 cells" in words
    assert "with an NVIDIA H100" in words
    assert cli.main([*figure, "--out", "figures", "--engine", "serial"]) == 0
    found = pd.read_parquet(here / "figures/figure5.parquet")
    raw = found[(found.space == "raw") & (found.metric == "cka")].set_index(["system_a", "system_b"]).score
    assert raw["clip.resid_post_2", "other.resid_post_2"] == pytest.approx(1, abs=1e-6)
    assert set(found.inputs) == {"clip other"}
