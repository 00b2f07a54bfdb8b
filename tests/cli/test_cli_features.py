"""`superpose features` and `superpose doctor`."""

import json
from importlib import metadata
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import superpose as sp
from superpose import cli
from superpose.dictionaries.sparsity import TopK
from superpose.sharing.features import strongest


@pytest.fixture
def here(tmp_path, monkeypatch):
    """Stand in a folder with a recording of known features, and the same with labels of its rows."""
    draw = np.random.default_rng(0)
    z = (draw.random((2_000, 24)) < 0.08) * draw.exponential(size=(2_000, 24))
    x = (z @ draw.normal(size=(24, 14))).astype(np.float32)
    np.save(tmp_path / "V1.npy", x)
    labelled = pd.DataFrame(x, columns=[f"unit {i}" for i in range(14)])
    labelled.insert(0, "stimulus", [f"picture {i // 2}" for i in range(2_000)])
    labelled.to_parquet(tmp_path / "labelled.parquet", index=False)
    monkeypatch.chdir(tmp_path)
    return x


def test_the_table_is_that_of_python(here, capsys):
    assert cli.main(["features", "V1.npy", "--out", "out"]) == 0
    found = sp.features(here)
    table = pd.read_parquet("out/features.parquet")
    pd.testing.assert_frame_equal(table.drop(columns="samples"), found.table)
    assert [list(names) for names in table.samples] == strongest(found.codes(here), range(2_000))
    np.testing.assert_array_equal(np.load("out/dictionary.npy"), found.dictionary)
    record = json.loads(Path("out/run.json").read_text())
    assert record["settings"]["features"] == len(found)
    assert record["inputs"]["V1"]["shape"] == [2_000, 14]
    out, err = capsys.readouterr()
    assert f"V1: {len(found)} features of 14 units, found in both halves" in out
    assert len(out.splitlines()) == len(found) + 2
    assert "Written to out: features.csv" in err


def test_samples_are_named_by_their_stimuli_and_trials_stay_together(here, capsys):
    assert cli.main(["features", "labelled.parquet", "--out", "out", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert all("picture " in row["samples"] for row in shown["table"])
    found = sp.features(here, groups=[i // 2 for i in range(2_000)])
    assert shown["sentences"][0].startswith(f"labelled: {len(found)} features")


def test_samples_are_named_by_their_labels(here, capsys):
    tokens = [f"token{i % 7}" for i in range(2_000)]
    Path("tokens.txt").write_text("\n".join(tokens))
    assert cli.main(["features", "V1.npy", "--labels", "tokens.txt", "--out", "out"]) == 0
    table = pd.read_parquet("out/features.parquet")
    assert all(
        name == f"{row}: {tokens[int(row)]}"
        for names in table.samples
        for name in names
        for row in [name.split(":")[0]]
    )
    Path("tokens.txt").write_text("\n".join(tokens[:5]))
    capsys.readouterr()
    assert cli.main(["features", "V1.npy", "--labels", "tokens.txt", "--out", "again"]) == 2
    assert "tokens.txt has 5 labels; expected one a row of V1.npy, 2000." in capsys.readouterr().err


def test_latents_of_a_dictionary_keep_their_numbers(here, capsys):
    sae = sp.SparseAutoencoder(14, 9, TopK(3), generator=torch.Generator().manual_seed(0))
    sp.save(sae, "sae.safetensors")
    assert cli.main(["features", "V1.npy", "--dictionary", "sae.safetensors", "--out", "out"]) == 0
    table = pd.read_parquet("out/features.parquet")
    codes = sae.encode(here[sp.features(here, dictionary=sae).held_out])
    np.testing.assert_allclose(table.active, (codes != 0).mean(axis=0)[table.latent])
    assert sorted(table.latent) == list(range(9))
    assert json.loads(Path("out/run.json").read_text())["dictionary"]["path"] == "sae.safetensors"
    out = capsys.readouterr().out
    assert "9 features of 14 units, given" in out
    assert "latent" in out.split("\n")[0].split("\t")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("V1.npy --out out --dictionary none.safetensors", "none.safetensors"),
        ("none.npy --out out", "none.npy does not exist"),
        ("V1.npy --out V1.npy", "V1.npy is a file; expected a directory"),
        ("V1.npy --out out --device nowhere", "nowhere"),
    ],
)
def test_refusals(here, capsys, arguments, words):
    assert cli.main(["features", *arguments.split()]) == 2
    err = capsys.readouterr().err
    assert words in err
    assert err.count("\n") == 1


class TestDoctor:
    def rows(self, capsys):
        assert cli.main(["doctor", "--json"]) == 0
        return {row["what"]: row for row in json.loads(capsys.readouterr().out)}

    def test_a_sound_installation(self, capsys):
        rows = self.rows(capsys)
        assert rows["superpose"]["found"] == metadata.version("superpose")
        assert f"numpy {np.__version__}" in rows["core packages"]["found"]
        assert rows["devices"]["found"].startswith("cpu")
        assert {"extra models", "extra recordings", "extra cluster", "extra demo"} <= set(rows)

    def test_what_is_missing_is_named_with_the_line_that_installs_it(self, capsys, monkeypatch):
        def version(name):
            if name in ("h5py", "onnx"):
                raise metadata.PackageNotFoundError(name)
            return "1.0"

        monkeypatch.setattr(metadata, "version", version)
        rows = self.rows(capsys)
        assert rows["extra recordings"] == {
            "what": "extra recordings",
            "found": "missing: h5py",
            "to do": 'pip install "superpose[recordings]"',
        }
        # An extra within an extra lacks what that lacks.
        assert rows["extra demo"]["found"] == "missing: onnx"
        assert rows["core packages"]["to do"] == ""
