"""`superpose extract`, as its users call it, on small models with random weights that transformers saved."""

import json
import re
import shutil
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from graphs import graph
from PIL import Image
from safetensors.torch import load_file, save_file

from superpose import cli, store
from superpose.files import DataError
from superpose.models import activations, images, layer_names, preparation, pretrained, tokenize

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
    assert record["location"] == str(here / "pictures")
    assert "transformers" in record["versions"]

    compared = following.removeprefix("superpose ").replace(" --out results", "").split()
    assert cli.main([*compared, "--out", "results", "--raw", "--permutations", "0", "--cv", "2"]) == 0
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


@pytest.mark.parametrize("tokens", ["every", "last", "cls", "mean"])
def test_where_the_token_of_each_row_stands(here, tokens):
    """The letters between the two ends are the word of the row's id."""
    assert extract("bert", "text.txt", "--layers", "resid_post", "--tokens", tokens, "--drop", "3", "--out", "out") == 0
    spans, ids, samples = (np.load(f"out/{name}.npy") for name in ("spans", "ids", "groups"))
    assert spans.shape == (len(ids), 2)
    words = [LINES[sample][start:end] for sample, (start, end) in zip(samples, spans, strict=True)]
    if tokens == "mean":
        assert (spans == -1).all()
    else:
        # [CLS] stands for no letters.
        assert words == [WORDS[i] if i != 2 else "" for i in ids]


def test_inputs_are_kept_beside_ids(here):
    (here / "ids.txt").write_text("".join(f"s{i}\n" for i in range(len(LINES))))
    asked = ["--layers", "resid_post", "--tokens", "mean", "--stimuli", "ids.txt", "--out", "out"]
    assert extract("bert", "text.txt", *asked) == 0
    assert (here / "out/inputs.txt").read_text().splitlines() == LINES
    assert (here / "out/stimuli.txt").read_text().split() == [f"s{i}" for i in range(len(LINES))]


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
        (["clip", "lines"], "lines holds 'a\\nb.png', a name of several lines, which labels no sample; rename it"),
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
    (here / "lines").mkdir()
    (here / "lines/a\nb.png").touch()
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


@pytest.fixture
def whole(here):
    """A folder of a whole CLIP as the hub keeps it: both towers, the processor, the tokenizer."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        text = {**SMALL, "vocab_size": len(WORDS), "max_position_embeddings": 12, "bos_token_id": 2, "eos_token_id": 3}
        vision = {**SMALL, "image_size": 28, "patch_size": 14}
        model = transformers.CLIPModel(
            transformers.CLIPConfig(text_config=text, vision_config=vision, projection_dim=8)
        )
    model.save_pretrained(here / "whole")
    for name in ("clip/preprocessor_config.json", "bert/tokenizer.json"):
        shutil.copy(here / name, here / "whole")
    return model.eval()


def test_the_vision_tower_of_a_whole_clip(here, whole):
    """The documented command, module names of the whole model, and what a folder of the tower alone gives."""
    asked = ["--tokens", "cls", "--out"]
    assert extract("whole", "pictures", "--layers", "resid_post", "mlp_out", "visual_projection", *asked, "made") == 0
    whole.vision_model.save_pretrained(here / "alone")
    shutil.copy("clip/preprocessor_config.json", "alone")
    assert extract("alone", "pictures", "--layers", "resid_post", "mlp_out", *asked, "tower") == 0
    for name in ("resid_post_0", "resid_post_2", "mlp_out_1"):
        np.testing.assert_allclose(np.load(f"made/{name}.npy"), np.load(f"tower/{name}.npy"), atol=1e-6)
    source = images(here / "pictures", preparation(here / "whole/preprocessor_config.json"))
    pixels = source[np.arange(9)]
    with torch.no_grad():
        outputs = whole.vision_model(torch.tensor(pixels), output_hidden_states=True)
        projected = whole.visual_projection(outputs.pooler_output)
    np.testing.assert_allclose(np.load("made/resid_post_1.npy"), outputs.hidden_states[2][:, 0], atol=1e-5)
    np.testing.assert_allclose(np.load("made/visual_projection.npy"), projected, atol=1e-5)
    inside = json.loads((here / "whole/preprocessor_config.json").read_text())
    (here / "whole/processor_config.json").write_text(json.dumps({"image_processor": inside}))
    (here / "whole/preprocessor_config.json").unlink()
    assert extract("whole", "pictures", "--layers", "resid_post", *asked, "inside") == 0
    np.testing.assert_array_equal(np.load("inside/resid_post_1.npy"), np.load("made/resid_post_1.npy"))
    np.save("pixels.npy", pixels)
    assert extract("whole", "pixels.npy", "--layers", "vision_model.encoder.layers.1", *asked, "array") == 0
    np.testing.assert_allclose(
        np.load("array/vision_model.encoder.layers.1.npy"), np.load("made/resid_post_1.npy"), atol=1e-6
    )


def test_the_text_tower_of_a_whole_clip(here, whole):
    assert extract("whole", "text.txt", "--layers", "resid_post", "--tokens", "last", "--out", "made") == 0
    words = tokenize(here / "bert/tokenizer.json", LINES, length=12)
    for row, (ids, mask) in enumerate(zip(words["input_ids"], words["attention_mask"], strict=True)):
        with torch.no_grad():
            states = whole.text_model(torch.tensor(ids[mask == 1])[None], output_hidden_states=True).hidden_states
        np.testing.assert_allclose(np.load("made/resid_post_1.npy")[row], states[2][0, -1], atol=1e-5)
    np.save("ids.npy", words["input_ids"][2:3])
    assert extract("whole", "ids.npy", "--layers", "resid_post", "--tokens", "last", "--out", "array") == 0
    np.testing.assert_allclose(np.load("array/resid_post_1.npy")[0], np.load("made/resid_post_1.npy")[2], atol=1e-5)


def test_a_whole_clip_in_python(here, whole):
    pixels, ids = np.zeros((2, 3, 28, 28), np.float32), np.array([[2, 5, 3], [2, 6, 3]])
    with pytest.raises(DataError, match=r"tower is None, and this model has one for pictures and one for sentences"):
        layer_names(whole, "resid_post")
    seen, read = (layer_names(whole, "resid_post", tower=tower) for tower in ("vision", "text"))
    both = {"seen": seen["resid_post_1"], "read": read["resid_post_1"]}
    found = activations(whole, {"pixel_values": pixels, "input_ids": ids}, both, tokens="mean")
    for name, given in (("seen", pixels), ("read", ids)):
        alone = activations(whole, given, {name: both[name]}, tokens="mean").layers[name]
        np.testing.assert_allclose(alone, found.layers[name], atol=1e-6)
    with pytest.raises(
        DataError, match="layer read gave nothing; expected a module of the tower that the inputs are for"
    ):
        activations(whole, pixels, both, tokens="mean")


def test_what_is_cut_is_said(here, capsys):
    assert extract("bert", "text.txt", "--layers", "resid_post", "--length", "6", "--out", "made") == 0
    assert "superpose: 2 of 4 sentences are longer than 6 tokens and were cut." in capsys.readouterr().err


def test_sentences_longer_than_the_model_name_the_option(here, whole, capsys):
    (here / "long.txt").write_text(" ".join(["dog"] * 40))
    asked = ["whole", "long.txt", "--layers", "resid_post", "--out", "made"]
    assert extract(*asked) == 2
    message = "--length is 128, and the model has positions for 12 tokens; give --length 12."
    assert message in capsys.readouterr().err
    assert not (here / "made").exists()
    assert extract(*asked, "--length", "12") == 0


def test_a_sentence_without_a_token_is_refused(here, capsys):
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file("bert/tokenizer.json")
    tokenizer.post_processor = None
    tokenizer.save("bert/tokenizer.json")
    with pytest.raises(DataError, match="1 of 2 sentences have no token; leave them out"):
        tokenize("bert/tokenizer.json", ["dog", " "], length=8)


def test_graphs_without_layer_norms_still_give_values_by_name(here, capsys):
    import onnx

    made = onnx.load("net.onnx")
    for node in made.graph.node:
        if node.op_type == "LayerNormalization":
            node.op_type = "Mul"
    onnx.save(made, "parts.onnx")
    assert extract("parts.onnx", "x.npy", "--layers", "layer_norm", "--out", "made") == 2
    assert "parts.onnx has no LayerNormalization node" in capsys.readouterr().err
    assert extract("parts.onnx", "x.npy", "--layers", "n1", "--out", "made") == 0


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
        assert not (here / "made").exists()
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


def test_ids_of_ones_own_meet_a_labelled_recording(here, capsys):
    """Rows of an array have no names: with ids they are paired with trials in any order."""
    ids = [f"stim{i:02}" for i in range(50)]
    (here / "ids.txt").write_text("\n".join(ids) + "\n")
    assert extract("net.onnx", "x.npy", "--layers", "layer_norm", "h1", "--stimuli", "ids.txt", "--out", "net") == 0
    assert (here / "net/stimuli.txt").read_text().split() == ids
    draw = np.random.default_rng(0)
    order = draw.permutation(100)
    trials = np.load("x.npy") @ draw.normal(size=(4, 3)) + 0.1 * draw.normal(size=(2, 50, 3))
    columns = ",".join(["stimulus", "repeat", "a", "b", "c"])
    rows = [f"{ids[i % 50]},{i // 50}," + ",".join(map(str, trials.reshape(-1, 3)[i])) for i in order]
    (here / "V4.csv").write_text("\n".join([columns, *rows]) + "\n")
    capsys.readouterr()
    assert cli.main(["layers", "net", "V4.csv", "--target", "V4", "--permutations", "0", "--json"]) == 0
    out, err = capsys.readouterr()
    table = json.loads(out)["table"]
    assert "V4: 100 trials of 50 stimuli are averaged, 2 of each." in err
    assert all(row["ceiling"] > 0.9 for row in table)
    assert max(row["score"] for row in table) > 0.5


@pytest.mark.parametrize(
    ("ids", "words"),
    [
        (["a", "b"], "ids.txt holds 2 ids for 50 samples"),
        (["a"] * 50, "ids.txt has an id twice"),
    ],
)
def test_ids_that_do_not_fit(here, capsys, ids, words):
    (here / "ids.txt").write_text("\n".join(ids) + "\n")
    assert extract("net.onnx", "x.npy", "--layers", "h1", "--stimuli", "ids.txt", "--out", "net") == 2
    assert words in capsys.readouterr().err
    assert not (here / "net").exists()
