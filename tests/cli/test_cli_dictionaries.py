"""`superpose train` and `superpose encode`, as their users call them."""

import json

import numpy as np
import pandas as pd
import pytest

from superpose import cli, formats
from superpose.analysis import spaces
from superpose.dictionaries import sae
from superpose.dictionaries.diagnostics import fvu
from superpose.files import sha256

SMALL = ["--latents", "24", "--active", "2", "--steps", "150", "--learning-rate", "0.01"]


@pytest.fixture
def here(tmp_path, monkeypatch):
    """Stand in a folder with activity of two systems that share sparse features."""
    draw = np.random.default_rng(0)
    z = draw.random((600, 24)) * (draw.random((600, 24)) < 0.08)
    for name, units in {"a": 12, "b": 16}.items():
        np.save(tmp_path / f"{name}.npy", (z @ draw.normal(size=(24, units)) + 3).astype(np.float32))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.slow
def test_train_then_encode(here, capsys):
    assert cli.main(["train", "a.npy", "b.npy", "--out", "kept", *SMALL]) == 0
    header, *rows = capsys.readouterr().out.splitlines()
    assert header.split("\t") == [
        *("file", "dictionary", "training_samples", "held_out_samples", "units", "latents"),
        *("fvu_held_out", "fvu_training", "dead", "l0"),
    ]
    sizes = [["a", "kept/a.safetensors", "540", "60", "12", "24"], ["b", "kept/b.safetensors", "540", "60", "16", "24"]]
    assert [row.split("\t")[:6] for row in rows] == sizes
    for row in rows:
        name, held_out, training = row[0], *map(float, row.split("\t")[6:8])
        x, trained = np.load(f"{name}.npy"), sae.load(here / f"kept/{name}.safetensors")
        for part, said in ((x[540:], held_out), (x[:60], training)):
            assert said == pytest.approx(float(fvu(part, trained.decode(trained.encode(part)))), rel=1e-3)
            assert said < 0.7
    record = json.loads((here / "kept/train.json").read_text())
    assert record["inputs"]["a"]["sha256"] == sha256(here / "a.npy")

    assert cli.main(["encode", "kept/a.safetensors", "a.npy", "--out", "codes/a.npy"]) == 0
    assert "600 samples, 24 latents" in capsys.readouterr().out
    codes = np.load(here / "codes/a.npy")
    assert np.array_equal(codes, sae.load(here / "kept/a.safetensors").encode(np.load(here / "a.npy")))
    assert 0 < (codes != 0).sum(1).mean() <= 2


def test_no_group_is_on_both_sides(here, capsys, monkeypatch):
    groups = np.random.default_rng(0).permutation(np.repeat(np.arange(60), 10))
    np.save("groups.npy", groups)
    x = np.random.default_rng(1).normal(size=(600, 4))
    np.save("c.npy", x)
    seen = []
    apart = spaces.apart
    monkeypatch.setattr(spaces, "apart", lambda training, recipe: seen.append(training) or apart(training, recipe))
    assert cli.main(["train", "c.npy", "--out", "kept", "--groups", "groups.npy", *SMALL]) == 0
    kept = np.isin(x[:, 0], seen[0]["c"][:, 0])
    assert kept.sum() == len(seen[0]["c"]) == 540
    assert set(groups[kept]).isdisjoint(groups[~kept])
    assert json.loads((here / "kept/train.json").read_text())["groups"]["sha256"] == sha256(here / "groups.npy")


@pytest.mark.parametrize("label", ["session", "stimulus"])
def test_what_a_file_labels_is_on_one_side(here, monkeypatch, label):
    groups = np.random.default_rng(0).permutation(np.repeat(np.arange(60), 10))
    x = np.random.default_rng(1).normal(size=(600, 4))
    pd.DataFrame(x).add_prefix("u").assign(**{label: groups}).to_csv("c.csv", index=False)
    seen = []
    apart = spaces.apart
    monkeypatch.setattr(spaces, "apart", lambda training, recipe: seen.append(training) or apart(training, recipe))
    assert cli.main(["train", "c.csv", "--out", "kept", *SMALL]) == 0
    kept = np.isin(x[:, 0].round(9), seen[0]["c"][:, 0].round(9))
    assert kept.sum() == len(seen[0]["c"]) == 540
    assert set(groups[kept]).isdisjoint(groups[~kept])


def test_files_of_one_name_have_a_dictionary_each(here, capsys):
    for folder in ("one", "other"):
        (here / folder).mkdir()
        np.savez(here / folder / "x.npz", V1=np.load(here / "a.npy"), V4=np.load(here / "b.npy"))
    names = [f"{folder}/x.npz:{area}" for folder in ("one", "other") for area in ("V1", "V4")]
    assert cli.main(["train", *names, "--out", "kept", *SMALL]) == 0
    rows = [row.split("\t") for row in capsys.readouterr().out.splitlines()[1:]]
    assert [row[0] for row in rows] == names
    assert len({row[1] for row in rows}) == 4
    for row, units in zip(rows, [12, 16] * 2, strict=True):
        assert sae.load(here / row[1]).units == units


@pytest.mark.parametrize("device", ["quantum", "meta"])
@pytest.mark.parametrize("command", ["train a.npy", "compare a.npy b.npy", "demo"])
def test_a_device_that_is_not_there(here, capsys, command, device):
    assert cli.main([*command.split(), "--out", "kept", "--device", device]) == 2
    assert f"superpose: --device is '{device}', which is not here (" in capsys.readouterr().err
    assert not (here / "kept").exists()


def test_joint_dictionaries_share_their_latents(here, capsys):
    assert cli.main(["train", "a.npy", "b.npy", "--out", "kept", "--joint", "cross", *SMALL]) == 0
    codes = [sae.load(here / f"kept/{name}.safetensors").encode(np.load(here / f"{name}.npy")) for name in "ab"]
    live = (codes[0] != 0).any(0) & (codes[1] != 0).any(0)
    aligned = [np.corrcoef(codes[0][:, i], codes[1][:, i])[0, 1] for i in np.flatnonzero(live)]
    assert np.median(aligned) > 0.3


def test_the_same_seed_gives_the_same_dictionary(here):
    for folder, seed in (("one", "0"), ("two", "0"), ("other", "1")):
        assert cli.main(["train", "a.npy", "--out", folder, "--seed", seed, *SMALL]) == 0
    one, two, other = (sae.load(here / folder / "a.safetensors").dictionary for folder in ("one", "two", "other"))
    assert one.equal(two)
    assert not one.equal(other)


def test_dictionaries_of_other_packages_are_encoded_with(here, capsys):
    assert cli.main(["train", "a.npy", "--out", "kept", *SMALL]) == 0
    formats.write_saelens(sae.load(here / "kept/a.safetensors"), here / "saelens")
    for source in ("saelens", "saelens/sae_weights.safetensors"):
        assert cli.main(["encode", source, "a.npy", "--out", "other.npy"]) == 0
        own = sae.load(here / "kept/a.safetensors").encode(np.load(here / "a.npy"))
        assert ((np.load(here / "other.npy") > 0) == (own > 0)).mean() > 0.999


def test_dictionaries_of_other_packages_are_compared_in_the_same_table(here):
    assert cli.main(["train", "a.npy", "b.npy", "--out", "kept", *SMALL]) == 0
    formats.write_saelens(sae.load(here / "kept/a.safetensors"), here / "saelens")
    given = ["--dictionaries", "a=saelens", "b=kept/b.safetensors", "--controls", "untrained", "--steps", "20"]
    assert cli.main(["compare", "a.npy", "b.npy", "--out", "results", "--permutations", "0", *given]) == 0
    table = pd.read_csv(here / "results/alignment.csv")
    latent = table[(table.space == "latent") & (table.metric == "ridge_r")].groupby(["fit", "control"]).score
    assert set(latent.groups) == {("pairwise", "none"), ("pairwise", "untrained"), ("given", "none")}
    assert latent.mean()["given", "none"] > latent.mean()["pairwise", "untrained"]
    record = json.loads((here / "results/run.json").read_text())["dictionaries"]
    assert record["b"] == {"path": "kept/b.safetensors", "sha256": sha256(here / "kept/b.safetensors")}
    assert "sae_weights.safetensors" in record["a"]["sha256"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["train", "--out", "kept"], "no file given; expected at least one file of activity"),
        (["train", "none.npy", "--out", "kept"], "none.npy"),
        (["train", "a.npy", "--out", "kept", "--active", "0"], "--active is 0; expected a positive integer"),
        (["train", "a.npy", "b.npy", "--out", "kept", "--joint", "both"], "--joint is 'both'; expected one of"),
        (["train", "few.npy", "--out", "kept"], "few has fewer than 10 rows"),
        (["encode", "none.safetensors", "a.npy", "--out", "codes.npy"], "none.safetensors does not exist"),
        (["encode", "a.npy", "a.npy", "--out", "codes.npy"], "a.npy is not a whole safetensors file"),
        (["encode", "none.safetensors", "a.npy", "--out", "codes.csv"], "expected a file name that ends in .npy"),
    ],
)
def test_bad_input_is_one_line(here, capsys, arguments, words):
    np.save(here / "few.npy", np.ones((5, 3)))
    assert cli.main(arguments) == 2
    said = capsys.readouterr()
    assert said.err.count("\n") == 1
    assert words in said.err
    assert said.out == ""
