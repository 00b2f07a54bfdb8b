"""Folders that `superpose extract` wrote, as systems of commands, and patterns that meet their files."""

import json

import numpy as np
import pandas as pd
import pytest
from extracting import extracted

from superpose import cli, store
from superpose.analysis.extracted import expanded, handed_on
from superpose.analysis.inputs import read_systems
from superpose.files import DataError


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(capsys, *arguments):
    status = cli.main([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    return status, out, err


class TestSystems:
    def test_a_folder_stands_for_its_layers_and_hands_on_its_groups(self, here):
        folder = extracted(here / "net", 3)
        found = read_systems([folder])
        assert list(found.arrays) == ["first", "second"]
        assert found.groups.tolist() == np.repeat(np.arange(40), 3).tolist()
        assert found.notes.labels == [f"rows belong together by sample: {folder}/groups.npy, 120 rows of 40 samples"]

    def test_so_do_its_files(self, here):
        folder = extracted(here / "net", 3)
        assert read_systems([folder / "first.npy", folder / "second.npy"]).groups is not None

    def test_one_row_a_sample_makes_no_groups(self, here):
        found = read_systems([extracted(here / "net", 1)])
        assert found.groups is None
        assert found.notes.labels == []

    def test_patterns_that_meet_everything(self, here):
        folder = extracted(here / "net", 2)
        files, said = expanded(sorted(folder.iterdir()))
        assert [path.name for path in files] == ["first.npy", "second.npy"]
        beside = "extract.json, groups.npy, ids.npy, manifest.json, stimuli.txt"
        assert said == [f"{beside} in {folder} are no layers, and are left out"]

    def test_files_of_such_names_elsewhere_are_files(self, here):
        np.save("groups.npy", np.zeros((3, 2)))
        assert expanded([here / "groups.npy"]) == ([here / "groups.npy"], [])

    def test_samples_with_names_are_paired_with_recordings(self, here):
        folder = extracted(here / "net", 1)
        order = np.random.default_rng(0).permutation(40)[:30]
        table = pd.DataFrame({"stimulus": [f"s{i}" for i in order], "u": order * 1.0, "v": order * 2.0})
        table.to_csv("V4.csv", index=False)
        found = read_systems([folder / "first.npy", here / "V4.csv"])
        kept = found.arrays["V4"][:, 0].astype(int)
        assert sorted(kept) == sorted(order)
        np.testing.assert_array_equal(found.arrays["first"], np.load(folder / "first.npy")[kept])

    @pytest.mark.parametrize("count", [39, 41])
    def test_names_of_another_number_are_refused(self, here, count):
        folder = extracted(here / "net", 1)
        (folder / "stimuli.txt").write_text("".join(f"s{i}\n" for i in range(count)))
        pd.DataFrame({"stimulus": [f"s{i}" for i in range(40)], "u": range(40)}).to_csv("V4.csv", index=False)
        with pytest.raises(
            DataError, match=rf"stimuli.txt has {count} line\(s\) for 40 samples; expected one for each"
        ):
            read_systems([folder / "first.npy", here / "V4.csv"])

    def test_rows_of_other_samples_are_refused(self, here):
        one, other = extracted(here / "one", 1), extracted(here / "other", 1, seed=1)
        (other / "stimuli.txt").write_text("\n".join(f"s{i}" for i in range(1, 41)) + "\n")
        with pytest.raises(DataError, match="hold rows of different samples, as row 0, 's0' and 's1'; extract"):
            handed_on([one / "first.npy", other / "first.npy"])
        assert handed_on([one / "first.npy", one / "second.npy"]) == (None, [])

    def test_a_manifest_of_somebody_else_is_none_of_ours(self, here):
        np.save("plain.npy", np.ones((4, 2)))
        (here / "manifest.json").write_text('{"name": "a web page"}')
        assert expanded([here / "plain.npy"]) == ([here / "plain.npy"], [])
        assert handed_on([here / "plain.npy"]) == (None, [])
        folder = extracted(here / "net", 2)
        (folder / "manifest.json").write_text("{}")
        with pytest.raises(DataError, match=r"manifest.json is damaged or of another format"):
            handed_on([folder / "first.npy"])

    def test_tokens_of_other_tokenizers_are_refused(self, here):
        one, other = extracted(here / "one", 2), extracted(here / "other", 3, seed=1)
        with pytest.raises(DataError, match=r"80 and 120 rows of the same 40 samples.*Extract both with --tokens mean"):
            read_systems([one, other])

    def test_other_numbers_of_samples_are_refused(self, here):
        one, other = extracted(here / "one", 2), extracted(here / "other", 2, seed=1, samples=30)
        with pytest.raises(DataError, match="hold rows of different samples; extract the same inputs, with the same"):
            read_systems([one, other])

    def test_a_folder_that_is_not_finished(self, here):
        def fails(i):
            if i:
                raise KeyboardInterrupt
            return {"layer": np.ones((2, 2)), "groups": np.arange(2), "ids": np.arange(2)}

        with pytest.raises(KeyboardInterrupt):
            store.build(here / "net", {}, 2, fails)
        with pytest.raises(DataError, match="net is not finished; repeat the command that extracted it, which resumes"):
            read_systems([here / "net"])


class TestCommands:
    def test_compare_takes_groups_from_the_folder(self, here, capsys):
        extracted(here / "net", 3)
        asked = ["--raw", "--permutations", "0", "--json"]
        status, out, err = run(capsys, "compare", "net", "--out", "of-folder", *asked)
        assert status == 0
        assert "rows belong together by sample" in err
        groups = ["--groups", "net/groups.npy"]
        files = ["net/first.npy", "net/second.npy"]
        status, named, _ = run(capsys, "compare", *files, *groups, "--out", "by-hand", *asked)
        assert json.loads(out)["table"] == json.loads(named)["table"]
        assert json.loads((here / "of-folder/run.json").read_text())["settings"]["groups"] == 40

    def test_the_pattern_that_meets_all_files(self, here, capsys):
        extracted(here / "net", 3)
        files = sorted(map(str, (here / "net").iterdir()))
        status, _, err = run(capsys, "compare", *files, "--out", "x", "--raw", "--permutations", "0")
        assert status == 0
        assert "are no layers, and are left out" in err
        status, _out, _ = run(capsys, "compare", *files, "--out", "y", "--dry-run")
        assert status == 0

    def test_contrast_and_partition(self, here, capsys):
        extracted(here / "net", 2, layers=("a", "b", "c"))
        for command in (["contrast", "net", "--to", "a"], ["partition", "net", "--target", "a"]):
            status, out, _err = run(capsys, *command)
            assert status == 0
            assert out.count("\n") > 2

    def test_train_and_encode(self, here, capsys):
        extracted(here / "net", 2)
        status, _out, err = run(capsys, "train", "net", "--latents", "8", "--steps", "2", "--out", "kept")
        assert status == 0
        assert sorted(path.stem for path in (here / "kept").glob("*.safetensors")) == ["first", "second"]
        status, _, err = run(capsys, "encode", "kept/first.safetensors", "net", "--out", "z.npy")
        assert status == 2
        assert "net holds 2 layers; expected one of its files" in err
