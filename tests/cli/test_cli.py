"""The command line, in process and as its users start it."""

import errno
import json
import os
import re
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import superpose
import superpose.cli as cli
import superpose.running.progress
import superpose.statistics
from superpose.analysis import analyse, raw
from superpose.comparison import INTERVALS
from superpose.files import sha256
from superpose.running.progress import Progress

SCORES = ["alignment.csv", "alignment.parquet", "alignment.png", "alignment.svg"]
CONTENT = ["content.csv", "content.parquet", "content.png", "content.svg", "features.csv", "features.parquet"]
FILES = [*SCORES, *CONTENT, "report.html", "run.json"]
RAW_FILES = [*SCORES, "report.html", "run.json"]
QUICK = ["--latents", "8", "--active", "2", "--steps", "10", "--permutations", "3"]
RAW = ["--raw", "--permutations", "0"]
SOURCE = Path(superpose.__file__).parent.parent


@pytest.fixture(autouse=True)
def handlers():
    """Give back the handler that a run replaces."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.fixture
def here(tmp_path, monkeypatch):
    """Stand in a folder with two related recordings of 60 samples."""
    draw = np.random.default_rng(0)
    x = draw.normal(size=(60, 5))
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "y.npy", x @ draw.normal(size=(5, 4)) + draw.normal(size=(60, 4)))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def compare(*arguments):
    return cli.main(["compare", *map(str, arguments)])


def started(*arguments, **options):
    environment = {**os.environ, "PYTHONPATH": str(SOURCE), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, *options.pop("python", []), "-m", "superpose", *map(str, arguments)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, **options,
    )  # fmt: skip


def refused(capsys, words, *arguments):
    """Assert exit status 2, one line on standard error, nothing on standard output, and nothing written."""
    before = sorted(os.listdir())
    assert compare(*arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert re.fullmatch(r"superpose: [^\n]+\n", err), err
    assert re.search(words, err), err
    assert sorted(os.listdir()) == before


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    from superpose.examples.demo import digits

    folder = tmp_path_factory.mktemp("digits")
    for name, x in digits().items():
        np.save(folder / f"{name}.npy", x)
    settings = ["--latents", "32", "--active", "4", "--steps", "60", "--permutations", "9", "--seed", "3"]
    process = started("compare", "narrow.npy", "wide.npy", "--out", "results", *settings, cwd=folder)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    return folder, out, err


@pytest.mark.slow
class TestDigits:
    def test_the_folder(self, run):
        folder, _, err = run
        assert sorted(os.listdir(folder / "results")) == FILES
        assert "Written to results: open results/report.html" in err

    def test_the_tables_agree_with_each_other_and_with_the_library(self, run):
        folder, out, _ = run
        table = pd.read_parquet(folder / "results" / "alignment.parquet")
        systems = {name: np.load(folder / f"{name}.npy") for name in ("narrow", "wide")}
        expected = analyse(systems, latents=32, active=4, steps=60, permutations=9, seed=3).table
        np.testing.assert_allclose(table.score, expected.score, rtol=1e-4, atol=1e-5)
        text = pd.read_csv(folder / "results" / "alignment.csv", keep_default_na=False, na_values={"score": ""})
        printed = "".join(line for line in out.splitlines(keepends=True) if line[0] != "#")
        (folder / "printed.tsv").write_text(printed)
        piped = pd.read_csv(folder / "printed.tsv", sep="\t")
        for other in (text, piped):
            assert list(other.columns) == list(table.columns)
            np.testing.assert_allclose(other.score, table.score, rtol=1e-15)
            assert other.metric.tolist() == table.metric.tolist()

    def test_the_sentences_come_behind_a_hash(self, run):
        _, out, _ = run
        said = [line for line in out.splitlines() if line.startswith("# ")]
        assert said[0].startswith("# narrow and wide: ")
        assert any(line.startswith("# narrow and wide: held-out r is 0.") for line in said)
        assert any(re.match(r"# Warning: wide: \d+ unit\(s\) are constant", line) for line in said)

    def test_the_record(self, run):
        folder, _, _ = run
        record = json.loads((folder / "results" / "run.json").read_text())
        assert (
            record["settings"] | {"latents": 32, "steps": 60, "permutations": 9, "seed": 3, "test": 0.2}
            == record["settings"]
        )
        assert record["inputs"]["narrow"] == {
            "path": "narrow.npy", "sha256": sha256(folder / "narrow.npy"), "shape": [1797, 32],
        }  # fmt: skip
        assert record["seconds"] > 0


def test_raw_only(here, capsys):
    assert compare("x.npy", "y.npy", "--out", "out", *RAW) == 0
    out, err = capsys.readouterr()
    # Short work shows no progress.
    assert err == "Written to out: open out/report.html\n"
    table = pd.read_parquet("out/alignment.parquet")
    assert set(table.space) == {"raw"}
    expected = raw({name: np.load(f"{name}.npy") for name in "xy"}, permutations=0).table
    np.testing.assert_allclose(table.score, expected.score, rtol=1e-12)
    assert "held-out r is" in out
    assert sorted(os.listdir("out")) == RAW_FILES


@pytest.mark.parametrize(
    ("asked", "samples"), [([], INTERVALS), (["--interval-samples", 20], 20), (["--interval-samples", "all"], None)]
)
def test_samples_of_intervals(here, monkeypatch, asked, samples):
    monkeypatch.setattr("superpose.statistics.sampling.GROUPS", 2)
    assert compare("x.npy", "y.npy", "--out", "out", "--cv", 2, *asked, *RAW) == 0
    systems = {name: np.load(f"{name}.npy") for name in "xy"}
    expected = raw(systems, cv=2, interval_samples=samples, permutations=0)
    np.testing.assert_array_equal(pd.read_parquet("out/alignment.parquet").error, expected.table.error)
    assert json.loads(Path("out/run.json").read_text())["settings"]["interval_samples"] == samples


def test_json(here, capsys):
    assert compare("x.npy", "y.npy", "--out", "out", "--json", *QUICK) == 0
    out, _ = capsys.readouterr()
    content = json.loads(out)
    table = pd.read_parquet("out/alignment.parquet")
    assert [row["score"] for row in content["table"]] == pytest.approx(table.score.tolist(), abs=1e-9)
    assert content["table"][0]["fvu_a"] is None
    assert set(content) == {"table", "sentences", "warnings"}


class TestTerminal:
    @pytest.fixture
    def terminal(self, here, capsys, monkeypatch):
        """Return what a command prints to a terminal of 80 columns."""
        monkeypatch.setenv("COLUMNS", "80")

        def printed(*arguments):
            monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
            assert compare("x.npy", "y.npy", "--out", "out", "--overwrite", *arguments) == 0
            return re.sub(r"\x1b\[[\d;]*m", "", capsys.readouterr().out)

        return printed

    @pytest.mark.parametrize("options", [RAW, QUICK])
    def test_it_fits_and_no_number_is_cut(self, terminal, options):
        out = terminal(*options)
        lines = [line for line in out.splitlines() if not line.startswith("Next:")]
        assert max(map(len, lines)) <= 80
        assert "…" not in out
        assert "\t" not in out
        assert "nan" not in out
        table = pd.read_parquet("out/alignment.parquet")
        shown = table[table.metric.isin(["cka_debiased", "ridge_r"]) & (table.space == "raw") & table.score.notna()]
        for row in shown[shown.split == shown.split.iloc[-1]].itertuples():
            assert re.search(rf"{row.score:.3f} +\[{row.low:.3f}, {row.high:.3f}\]", out)

    def test_the_answer_comes_first_and_the_next_command_last(self, terminal):
        out = terminal(*RAW)
        places = [out.index(text) for text in ("x and y: held-out r is", "Based on 60 samples;", "systems", "Next:")]
        assert places == sorted(places)
        assert out.splitlines()[-1].startswith("Next: superpose compare x.npy y.npy --out out-content")

    def test_the_next_command_is_one_that_runs(self, terminal, capsys):
        command = terminal(*RAW).splitlines()[-1].removeprefix("Next: superpose ").partition("   (")[0]
        assert cli.main([*command.split(), "--permutations", "0"]) == 0

    def test_wide_shows_everything(self, terminal, monkeypatch):
        assert "held-out R²" not in terminal(*RAW)
        monkeypatch.setenv("COLUMNS", "300")
        out = terminal(*RAW, "--wide")
        table = pd.read_parquet("out/alignment.parquet")
        assert all(f"{score:.3f}" in out for score in table.score)
        assert all(name in out for name in ("split", "null", "samples", "held-out R²"))

    def test_warnings_come_once(self, here, terminal):
        np.save("y.npy", np.column_stack([np.load("y.npy"), np.ones(60)]))
        assert terminal(*RAW).count("constant over the samples") == 1

    def test_rows_of_given_dictionaries_and_of_the_held_out_samples_are_told_apart(self):
        from superpose.cli import terminal

        draw = np.random.default_rng(0)
        found = raw({name: draw.normal(size=(60, 2)) for name in "ab"}, permutations=0)
        fitted = found.table.assign(space="latent", fit="pairwise", split="test")
        tables = [found.table, found.table.assign(split="test"), fitted, fitted.assign(fit="given")]
        table = pd.concat(tables, ignore_index=True)
        rows = terminal.scores(table[table.metric == "cka_debiased"])
        assert rows.space.tolist() == ["raw", "latent", "latent, given"]
        assert "; 5-fold cross-validation of raw scores" in terminal.basis(found)
        assert "; scores on the held-out samples (alignment.csv adds 5-fold" in terminal.basis(
            replace(found, table=table)
        )

    def test_many_pairs_are_cut_and_say_so(self, capsys, monkeypatch):
        from superpose.cli import terminal

        draw = np.random.default_rng(0)
        found = raw({f"s{i}": draw.normal(size=(60, 2)) for i in range(8)}, permutations=0)
        monkeypatch.setenv("COLUMNS", "80")
        terminal.show(found)
        out = capsys.readouterr().out
        assert "… and 8 more sentences" in out
        assert "… and 44 more rows" in out
        terminal.show(found, wide=True)
        assert "…" not in capsys.readouterr().out


class TestRefusals:
    """A command that cannot run says so before anything is imported that takes seconds."""

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            ("comparee x.npy y.npy", 'Unknown command "comparee". Did you mean "compare"?'),
            ("compare none.npy y.npy --out out", "none.npy does not exist; check the path."),
            ("compare x.npy --out out", "1 file(s) given; expected at least two to compare."),
            ("compare x.npy y.npy --out x.npy", "x.npy is a file; expected a directory for the results."),
            ("compare x.npy y.npy --out out --fit pairwize", "Did you mean 'pairwise'?"),
            ("contrast x.npy none.npy --target x", "none.npy does not exist; check the path."),
        ],
    )
    def test_before_torch_and_pandas(self, here, arguments, words):
        process = started(*arguments.split(), python=["-X", "importtime"])
        _, err = process.communicate(timeout=60)
        assert process.returncode == 2
        assert words in err.splitlines()[-1]
        imported = {line.rpartition("|")[2].strip() for line in err.splitlines()}
        assert not imported & {"torch", "pandas", "scipy", "matplotlib"}

    def test_names_are_those_of_what_is_imported_late(self):
        from superpose.analysis.spaces import FITS
        from superpose.dictionaries.losses import SCORABLE_MODES

        module = sys.modules["superpose.cli.compare"]
        assert set(module.FITS) == set(FITS)
        assert set(module.MODES) == set(SCORABLE_MODES)


def test_the_same_command_gives_the_same_table(here):
    for name in ("one", "two"):
        assert compare("x.npy", "y.npy", "--out", name, *QUICK) == 0
    assert Path("one/alignment.parquet").read_bytes() == Path("two/alignment.parquet").read_bytes()


def test_three_files(here):
    np.save("w.npy", np.load("x.npy")[:, :3])
    assert compare("x.npy", "y.npy", "w.npy", "--out", "out", *RAW) == 0
    table = pd.read_parquet("out/alignment.parquet")
    assert len(table) == 3 * 3 + 3 * 6


def test_files_of_one_name_are_told_apart(here):
    os.mkdir("other")
    np.save("other/x.npy", np.load("y.npy"))
    assert compare("x.npy", "other/x.npy", "--out", "out", *RAW) == 0
    assert set(pd.read_parquet("out/alignment.parquet").system_a) == {"x.npy", "other/x.npy"}


def test_one_array_of_several(here):
    np.savez("many.npz", first=np.load("x.npy"), second=np.load("y.npy"))
    assert compare("many.npz:first", "many.npz:second", "--out", "out", *RAW) == 0
    assert compare("x.npy", "y.npy", "--out", "plain", *RAW) == 0
    scores = [pd.read_parquet(f"{name}/alignment.parquet").score for name in ("out", "plain")]
    np.testing.assert_allclose(*scores)
    record = json.loads(Path("out/run.json").read_text())
    assert record["inputs"]["many.npz:first"]["sha256"] == sha256("many.npz")


@pytest.mark.parametrize("suffix", [".npy", ".txt"])
def test_controls_and_labels(here, capsys, suffix):
    labels = np.arange(60) % 6
    np.save("labels.npy", labels)
    Path("labels.txt").write_text("".join(f"word {label}\n" for label in labels))
    chosen = "within_labels,nonlinear"
    arguments = ("x.npy", "y.npy", *QUICK, "--controls", chosen, "--labels", f"labels{suffix}", "--out", "out")
    assert compare(*arguments) == 0
    table = pd.read_parquet("out/alignment.parquet")
    assert {"nonlinear"} < set(table.space)
    assert set(table.control) == {"none", "within_labels"}
    record = json.loads(Path("out/run.json").read_text())
    assert record["settings"]["controls"] == ["nonlinear", "within_labels"]
    assert record["labels"] == {"path": f"labels{suffix}", "sha256": sha256(f"labels{suffix}")}
    capsys.readouterr()
    words = "--controls is 'asleep'; expected one of 'linear_selection'"
    refused(capsys, words, "x.npy", "y.npy", *QUICK, "--controls", "asleep", "--out", "other")
    words = "none.npy does not exist; --labels expects a .npy or a text file"
    refused(capsys, words, "x.npy", "y.npy", *QUICK, "--labels", "none.npy", "--out", "other")


class TestStimuli:
    def write(self, name, array, ids, groups=None):
        extra = {} if groups is None else {"groups": np.array(groups)}
        np.savez(f"{name}.npz", responses=array, stimuli=np.array(ids), **extra)

    def test_rows_are_matched_by_id(self, here):
        x, y = np.load("x.npy"), np.load("y.npy")
        order = np.random.default_rng(1).permutation(60)
        ids = [f"image {i}" for i in range(60)]
        self.write("a", x, ids)
        self.write("b", y[order], [ids[i] for i in order])
        assert compare("a.npz", "b.npz", "--out", "out", *RAW) == 0
        expected = raw({"a": x, "b": y}, permutations=0).table
        np.testing.assert_allclose(pd.read_parquet("out/alignment.parquet").score, expected.score, rtol=1e-9)

    def test_only_shared_stimuli_count(self, here):
        self.write("a", np.load("x.npy")[:50], range(50))
        self.write("b", np.load("y.npy")[10:], range(10, 60))
        assert compare("a.npz", "b.npz", "--out", "out", *RAW) == 0
        table = pd.read_parquet("out/alignment.parquet")
        assert table.samples.unique().tolist() == [40]

    def test_the_groups_of_a_recording_are_kept_whole(self, here):
        groups = np.random.default_rng(2).integers(0, 12, 60)
        self.write("a", np.load("x.npy"), range(60), groups)
        self.write("b", np.load("y.npy"), range(60))
        assert compare("a.npz", "b.npz", "--out", "out", *RAW) == 0
        expected = raw({"a": np.load("x.npy"), "b": np.load("y.npy")}, groups=groups, permutations=0).table
        np.testing.assert_allclose(pd.read_parquet("out/alignment.parquet").score, expected.score, rtol=1e-9)
        assert json.loads(Path("out/run.json").read_text())["settings"]["groups"] == len(np.unique(groups))

    def test_repeats_put_ceilings_beside_scores(self, here, capsys):
        draw = np.random.default_rng(3)
        ids, passes = np.tile(np.arange(60), 3), np.repeat(np.arange(3), 60)
        for name in "xy":
            x = np.load(f"{name}.npy")
            trials = (x + draw.normal(size=(3, *x.shape))).reshape(180, -1)
            np.savez(f"{name}.npz", responses=trials, stimuli=ids, repeats=passes)
        assert compare("x.npz", "y.npz", "--out", "out", *RAW) == 0
        table = pd.read_csv("out/alignment.csv")
        row = table[table.metric == "ridge_r"].iloc[0]
        assert row.ceiling_low < row.ceiling < row.ceiling_high <= 1
        assert f"x to y: held-out r {row.score:.3f} of a ceiling of {row.ceiling:.3f}" in capsys.readouterr().out
        assert "Ceiling" in Path("out/report.html").read_text()

    def test_repeats_that_never_repeat_leave_no_trace(self, here):
        for name in "xy":
            np.savez(f"{name}.npz", responses=np.load(f"{name}.npy"), stimuli=np.arange(60), repeats=np.zeros(60, int))
        assert compare("x.npz", "y.npz", "--out", "out", *RAW) == 0
        assert "ceiling" not in pd.read_parquet("out/alignment.parquet")

    def test_ids_in_some_files_only_are_refused(self, here, capsys):
        self.write("a", np.load("x.npy"), range(60))
        refused(
            capsys, "y has no stimulus ids but a has; give all files ids, or none", "a.npz", "y.npy", "--out", "out"
        )

    def test_no_shared_stimulus_is_refused(self, here, capsys):
        self.write("a", np.load("x.npy"), range(60))
        self.write("b", np.load("y.npy"), range(100, 160))
        refused(capsys, "no stimulus id is shared by all of a, b", "a.npz", "b.npz", "--out", "out")


class TestGroups:
    @pytest.mark.parametrize("suffix", [".npy", ".txt"])
    def test_labels_from_a_file(self, here, suffix):
        groups = np.repeat(np.arange(15), 4)
        if suffix == ".npy":
            np.save("groups.npy", groups)
        else:
            Path("groups.txt").write_text("".join(f"sentence {g}\n" for g in groups))
        assert compare("x.npy", "y.npy", "--groups", f"groups{suffix}", "--out", "out", *RAW) == 0
        expected = raw({name: np.load(f"{name}.npy") for name in "xy"}, groups=groups, permutations=0).table
        table = pd.read_parquet("out/alignment.parquet")
        np.testing.assert_allclose(table[["score", "low", "high"]], expected[["score", "low", "high"]], rtol=1e-9)
        record = json.loads(Path("out/run.json").read_text())
        assert record["groups"] == {"path": f"groups{suffix}", "sha256": sha256(f"groups{suffix}")}

    def test_bad_files(self, here, capsys):
        arguments = ("x.npy", "y.npy", "--out", "out", *RAW, "--groups")
        refused(capsys, "none.npy does not exist; --groups expects a .npy or a text file", *arguments, "none.npy")
        np.save("objects.npy", np.array([{}, 1], dtype=object), allow_pickle=True)
        refused(capsys, "objects.npy cannot be read as group labels: Object arrays", *arguments, "objects.npy")
        np.save("short.npy", np.arange(59))
        refused(capsys, r"groups has shape \(59,\); expected one label per sample, \(60,\)", *arguments, "short.npy")
        Path("cut.npy").write_bytes(Path("short.npy").read_bytes()[:150])
        refused(capsys, "cut.npy cannot be read as group labels", *arguments, "cut.npy")
        Path("empty.npy").write_bytes(b"")
        refused(capsys, "empty.npy cannot be read as group labels", *arguments, "empty.npy")
        header = "{'descr': '<f8', 'fortran_order': False, 'shape': (99999999999999,), }".ljust(117) + "\n"
        Path("huge.npy").write_bytes(b"\x93NUMPY\x01\x00\x76\x00" + header.encode() + b"0" * 8)
        refused(capsys, "huge.npy cannot be read as group labels", *arguments, "huge.npy")
        Path("binary.txt").write_bytes(b"\xff\xfe\x00")
        refused(capsys, "binary.txt is not text in UTF-8", *arguments, "binary.txt")
        np.save("one.npy", np.zeros(60, dtype=int))
        refused(capsys, r"--cv is 5 with 1 group\(s\)", *arguments, "one.npy")
        refused(capsys, "does not exist", *arguments, ".")


BAD_ARRAYS = {
    "objects": (np.array([[{}, 1]] * 60, dtype=object), "Object arrays cannot be loaded|Python objects"),
    "line": (np.zeros(60), r"bad.npy has 1 dimension\(s\), shape \(60,\); expected \(samples, units\)"),
    "cube": (np.zeros((2, 60, 3)), r"bad.npy has 3 dimensions, shape \(2, 60, 3\)"),
    "complex": (np.ones((60, 3), dtype=complex), "bad.npy holds complex numbers; expected real numbers"),
    "text": (np.full((60, 3), "a"), "bad.npy holds text; expected real numbers"),
    "fewer": (np.random.default_rng(0).normal(size=(59, 3)), "x has 60 samples and bad has 59"),
    "nan": (
        np.where(np.eye(60, 3), np.nan, 1.0),
        r"bad has 3 NaN or infinite value\(s\), the first \(nan\) at row 0, unit 0",
    ),
    "inf": (np.where(np.arange(180).reshape(60, 3) == 5, np.inf, 1.0), r"bad has 1 .*\(inf\) at row 1, unit 2"),
    "constant": (np.ones((60, 3)), "bad does not vary: every unit is constant"),
    "no samples": (np.ones((0, 3)), r"bad.npy is empty, shape \(0, 3\)"),
    "no units": (np.ones((60, 0)), r"bad.npy is empty, shape \(60, 0\)"),
}


@pytest.mark.parametrize("kind", BAD_ARRAYS)
def test_bad_arrays(here, capsys, kind):
    array, words = BAD_ARRAYS[kind]
    np.save("bad.npy", array, allow_pickle=True)
    refused(capsys, words, "x.npy", "bad.npy", "--out", "out", *QUICK)


@pytest.mark.parametrize(
    ("content", "name", "words"),
    [
        (None, "bad.npy", "bad.npy does not exist"),
        (None, "b" * 300 + ".npy", "does not exist|File name too long"),
        (b"", "bad.npy", r"bad.npy is empty \(0 bytes\)"),
        (b"not an array at all", "bad.npy", "bad.npy cannot be read"),
        ("half", "bad.npy", "bad.npy cannot be read .*; expected an undamaged .npy file"),
        (b"1,2\n3", "bad.csv", "bad.csv cannot be read"),
        (b"PK\x03\x04", "bad.npz", "bad.npz cannot be read"),
        (b"1 2", "bad.dat", "has the suffix '.dat'; expected one of .npy"),
    ],
    ids=["missing", "long name", "empty", "garbage", "truncated", "csv", "npz", "suffix"],
)
def test_bad_files(here, capsys, content, name, words):
    if content == "half":
        content = Path("x.npy").read_bytes()[:900]
    if content is not None:
        Path(name).write_bytes(content)
    refused(capsys, words, "x.npy", name, "--out", "out", *QUICK)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["x.npy", "--out", "out"], r"1 file\(s\) given; expected at least two to compare"),
        (["--out", "out"], r"0 file\(s\) given; expected at least two"),
        (["x.npy", "x.npy", "--out", "out"], "x.npy is given more than once"),
        (["x.npy", "y.npy", "./y.npy", "--out", "out"], "y.npy is given more than once; expected different files"),
        (["x.npy", "y.npy"], "--out"),
        (["x.npy", "y.npy", "--out", "x.npy"], "x.npy is a file; expected a directory"),
        (["x.npy", "y.npy", "--out", "x.npy/deeper"], "x.npy is a file; expected a directory"),
        (["x.npy", "y.npy", "--out", "out", "--bogus", "1"], "Unknown option: --bogus"),
        (["x.npy", "y.npy", "--out", "out", "--latents", "many"], 'unable to convert "many" into int'),
        (["x.npy", "y.npy", "--out", "out", "--latents", "0"], "latents is 0; expected a positive integer"),
        (["x.npy", "y.npy", "--out", "out", "--latents", "4", "--active", "5"], "active is 5 of 4 latents"),
        (["x.npy", "y.npy", "--out", "out", "--steps", "0"], "steps is 0; expected a positive integer"),
        (["x.npy", "y.npy", "--out", "out", "--seeds", "-1"], "seeds is -1; expected a positive integer"),
        (["x.npy", "y.npy", "--out", "out", "--seed", "-1"], "seed is -1; expected an integer of at least 0"),
        (["x.npy", "y.npy", "--out", "out", "--seed", "-1", "--raw"], "seed is -1; expected an integer"),
        (["x.npy", "y.npy", "--out", "out", "--permutations", "-1"], "permutations is -1"),
        (["x.npy", "y.npy", "--out", "out", "--interval-samples", "1"], "--interval-samples is 1; expected an integer"),
        (["x.npy", "y.npy", "--out", "out", "--interval-samples", "few"], "--interval-samples"),
        (["x.npy", "y.npy", "--out", "out", "--fit", "both"], "fit is 'both'; expected one of 'pairwise'"),
        (["x.npy", "y.npy", "--out", "out", "--mode", "sum", *QUICK], "mode is 'sum'; expected one of 'separate'"),
        (["x.npy", "y.npy", "--out", "out", "--cv", "1", "--raw"], "cv is 1; expected an integer of at least 2"),
        (["x.npy", "y.npy", "--out", "out", "--cv", "31", "--raw"], "60 samples are too few for 31 folds"),
    ],
)
def test_bad_arguments(here, capsys, arguments, words):
    refused(capsys, words, *arguments)


def test_an_unknown_command(capsys):
    assert cli.main(["comprae"]) == 2
    said = capsys.readouterr().err
    named = "compare, contrast, partition, layers, features, extract, train, encode, reproduce, sweep, doctor, demo"
    assert re.fullmatch(rf"superpose: Unknown command [^\n]+{named}\.\n", said)


def test_bad_input_as_users_meet_it(here):
    process = started("compare", "x.npy", "none.npy", "--out", "out")
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (2, "")
    assert err == "superpose: none.npy does not exist; check the path.\n"


def test_a_run_is_not_replaced_unless_asked(here, capsys):
    assert compare("x.npy", "y.npy", "--out", "out", *RAW) == 0
    before = {file: Path("out", file).read_bytes() for file in RAW_FILES}
    capsys.readouterr()
    refused(capsys, r"out already holds a run \(run.json\)", "x.npy", "y.npy", "--out", "out", *RAW, "--seed", "1")
    assert {file: Path("out", file).read_bytes() for file in RAW_FILES} == before
    assert compare("x.npy", "y.npy", "--out", "out", "--overwrite", "--seed", "1", *RAW) == 0
    assert json.loads(Path("out/run.json").read_text())["settings"]["seed"] == 1


def test_units_as_many_as_samples_are_no_error(here, capsys):
    np.save("wide.npy", np.random.default_rng(0).normal(size=(60, 70)))
    assert compare("x.npy", "wide.npy", "--out", "out", *RAW) == 0
    assert "# Warning: 48 training samples are few for 70 units of wide" in capsys.readouterr().out


def test_constant_units_are_no_error(here, capsys):
    np.save("still.npy", np.column_stack([np.load("x.npy"), np.ones(60)]))
    assert compare("still.npy", "y.npy", "--out", "out", *RAW) == 0
    assert "# Warning: still: 1 unit(s) are constant over the samples and were dropped: 5." in capsys.readouterr().out


def test_too_few_rows_for_dictionaries_leave_the_raw_scores(here, capsys):
    assert compare("x.npy", "y.npy", "--out", "out", "--latents", "25", "--permutations", "0") == 0
    table = pd.read_parquet("out/alignment.parquet")
    assert table[table.space == "raw"].score.notna().all()
    assert table[table.space == "latent"].score.isna().all()
    assert "needs ≥ 50 training samples for 25 latents; have 48" in capsys.readouterr().out


class TestFailures:
    @pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
    def test_a_full_disk(self, here, capsys, monkeypatch, number):
        def full(self, path, **options):
            Path(path).write_text("half")
            raise OSError(number, os.strerror(number), str(path))

        monkeypatch.setattr(pd.DataFrame, "to_csv", full)
        assert compare("x.npy", "y.npy", "--out", "out", *RAW) == 3
        err = capsys.readouterr().err
        assert re.fullmatch(r"superpose: no space left on the device \([^\n]+\); nothing was half-written\n", err)
        assert os.listdir("out") == ["alignment.parquet"]

    def test_another_fault_of_the_disk_is_one_line_too(self, here, capsys, monkeypatch):
        def broken(*given, **options):
            raise OSError(errno.EIO, "Input/output error", "out/alignment.csv")

        monkeypatch.setattr(pd.DataFrame, "to_csv", broken)
        assert compare("x.npy", "y.npy", "--out", "out", *RAW) == 2
        assert capsys.readouterr().err == "superpose: out/alignment.csv: Input/output error\n"

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_an_interruption_while_writing(self, here, capsys, monkeypatch, number):
        monkeypatch.setattr(pd.DataFrame, "to_csv", lambda *given, **options: signal.raise_signal(number))
        assert compare("x.npy", "y.npy", "--out", "out", *RAW) == 130
        assert re.fullmatch("superpose: interrupted; [^\n]+\n", capsys.readouterr().err)
        assert os.listdir("out") == ["alignment.parquet"]

    @pytest.mark.slow
    def test_control_c_in_long_work(self, here):
        settings = ["--latents", "8", "--active", "2", "--steps", "1000000", "--permutations", "0"]
        process = started("compare", "x.npy", "y.npy", "--out", "out", *settings)
        # Long work tells so on a pipe too, while it runs.
        assert re.fullmatch(r"dictionary x y: \d+/1000000 \(\d+ s, about .* left\)\n", process.stderr.readline())
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
        assert process.returncode == 130
        assert out == ""
        assert "Traceback" not in err
        assert err.splitlines()[-1].startswith("superpose: interrupted")
        assert sorted(os.listdir()) == ["x.npy", "y.npy"]

    @pytest.mark.slow
    def test_a_reader_that_goes_away(self, here):
        process = started("compare", "x.npy", "y.npy", "--out", "out", *RAW)
        process.stdout.close()
        err = process.stderr.read()
        assert process.wait(timeout=60) == 0
        assert "Traceback" not in err
        assert "Exception ignored" not in err
        assert sorted(os.listdir("out")) == RAW_FILES


class TestHelp:
    def test_without_torch(self):
        process = started("compare", "--help", python=["-X", "importtime"])
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0
        imported = {line.rpartition("|")[2].strip() for line in err.splitlines()}
        assert "cyclopts" in imported
        assert not imported & {"torch", "numpy", "pandas", "scipy", "matplotlib"}
        assert "Example: superpose compare V1.npy layer3.npy" in out

    @pytest.mark.parametrize("arguments", [["--help"], [], ["demo", "--help"], ["compare", "--help"]])
    def test_every_help_has_an_example(self, capsys, arguments):
        assert cli.main(arguments) == 0
        assert "Example: superpose " in capsys.readouterr().out

    def test_the_example_is_one_that_parses(self, here):
        os.rename("x.npy", "V1.npy")
        os.rename("y.npy", "layer3.npy")
        assert cli.main(["compare", "V1.npy", "layer3.npy", "--out", "results", *RAW]) == 0

    def test_every_parameter_is_explained(self, capsys):
        cli.main(["compare", "--help"])
        out = capsys.readouterr().out
        options = ("latents", "active", "fit", "mode", "cv", "test", "groups", "permutations", "steps", "seeds", "seed")
        for name in options:
            assert re.search(rf"--{name}\b", out)
        for name in ("raw", "json", "overwrite"):
            assert f"--{name}" in out
            assert f"--no-{name}" not in out

    def test_completion_knows_commands_and_options(self, tmp_path, monkeypatch):
        monkeypatch.setenv("HOME", str(tmp_path))
        monkeypatch.setenv("SHELL", "/bin/bash")
        assert cli.main(["--install-completion"]) == 0
        script = (tmp_path / ".local/share/bash-completion/completions/superpose").read_text()
        assert "compare" in script
        assert "--permutations" in script

    def test_version(self, capsys):
        from importlib import metadata

        assert cli.main(["--version"]) == 0
        assert capsys.readouterr().out.strip() == metadata.version("superpose")


class TestProgress:
    @pytest.fixture
    def clock(self, monkeypatch):
        now = [0.0]
        monkeypatch.setattr(superpose.running.progress.time, "monotonic", lambda: now[0])
        return now

    def run(self, clock, *, steps, seconds, what="work"):
        with Progress() as progress:
            for step in range(1, steps + 1):
                progress(what, step, steps)
                clock[0] += seconds

    def test_short_work_is_silent(self, clock, capsys):
        self.run(clock, steps=10, seconds=0.2)
        assert capsys.readouterr().err == ""

    def test_long_work_says_where_it_is_every_ten_seconds_and_at_its_end(self, clock, capsys):
        self.run(clock, steps=31, seconds=1.0)
        said = capsys.readouterr().err.splitlines()
        assert said == [
            "work: 12/31 (11 s, about 19 s left)",
            "work: 23/31 (22 s, about 8 s left)",
            "work: 31/31 (30 s)",
        ]

    def test_short_work_that_comes_again_is_silent_too(self, clock, capsys):
        with Progress() as progress:
            for _ in range(5):
                progress("pairs", 1, 1)
                clock[0] += 30
        assert capsys.readouterr().err == ""

    def test_long_work_that_comes_again_is_timed_anew(self, clock, capsys):
        with Progress() as progress:
            for _ in range(2):
                for step in (1, 2):
                    progress("work", step, 2)
                    clock[0] += 4
        assert capsys.readouterr().err.splitlines() == ["work: 2/2 (4 s)"] * 2

    def test_a_terminal_gets_a_bar_that_goes_away(self, clock, monkeypatch, capsys):
        monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
        with Progress() as progress:
            for step in range(1, 6):
                progress("work", step, 5)
                clock[0] += 1
                if step == 4:
                    assert [task.description for task in progress.bars.tasks] == ["work"]
                    assert progress.bars.tasks[0].visible
            assert not progress.bars.tasks[0].visible
        assert "work:" not in capsys.readouterr().err


def test_the_demo_refuses_to_replace_another_run(here, capsys):
    Path("mine").mkdir()
    Path("mine/run.json").write_text("{}")
    assert cli.main(["demo", "--out", "mine", "--cache", "kept"]) == 2
    assert "mine already holds a run" in capsys.readouterr().err


def test_the_demo_replaces_its_own_results(here, monkeypatch, capsys):
    import superpose.examples.demo

    seen = []

    def run(folder, cache, **settings):
        seen.append((folder, cache, settings.pop("progress") and settings))
        from superpose.analysis.results import write

        analysis = raw({name: np.load(f"{name}.npy") for name in "xy"}, permutations=0)
        write(analysis, folder, {"demo": True})
        return analysis

    monkeypatch.setattr(superpose.examples.demo, "run", run)
    for _ in range(2):
        assert cli.main(["demo", "--out", "shown", "--cache", "kept", "--latents", "9", "--steps", "3"]) == 0
    settings = {"latents": 9, "steps": 3, "permutations": 49, "seed": 0, "device": "cpu"}
    assert seen == [(Path("shown"), Path("kept"), settings)] * 2
    assert "Written to shown" in capsys.readouterr().err


class TestForetelling:
    @pytest.fixture
    def module(self):
        # The package holds the command under the module's name.
        return sys.modules["superpose.cli.compare"]

    def test_long_permutations_are_told_of_before_they_start(self, here, capsys, monkeypatch, module):
        monkeypatch.setattr(module, "LONG", 0)
        assert compare("x.npy", "y.npy", "--out", "out", "--raw", "--permutations", 9) == 0
        words = r"^9 permutations will take about [\d.]+ \w+ of one core\. .*--permutations"
        assert re.search(words, capsys.readouterr().err)

    @pytest.mark.parametrize("permutations", [0, 9])
    def test_of_none_and_of_short_ones_nothing_is_said(self, here, capsys, monkeypatch, module, permutations):
        monkeypatch.setattr(module, "LONG", 0 if not permutations else module.LONG)
        assert compare("x.npy", "y.npy", "--out", "out", "--raw", "--permutations", permutations) == 0
        assert "will take" not in capsys.readouterr().err


class TestDryRun:
    def test_it_tells_the_costs_and_starts_nothing(self, here, capsys):
        before = sorted(os.listdir())
        assert compare("x.npy", "y.npy", "--out", "results", "--dry-run") == 0
        out, err = capsys.readouterr()
        assert sorted(os.listdir()) == before
        lines = [line.split("\t") for line in out.splitlines()]
        assert lines[0] == ["work", "flops", "bytes", "seconds"]
        works = ["reading", "products", "factors", "solutions", "intervals", "nulls", "rest"]
        assert [line[0] for line in lines[1:]] == works
        assert "seconds of one core of this machine" in err

    def test_numbers_are_those_of_the_prediction(self, here, capsys):
        from superpose.analysis.scores import METRICS

        options = ("--permutations", 0, "--memory", "1MB", "--raw", "--cv", 4, "--interval-samples", "all")
        assert compare("x.npy", "y.npy", "--out", "results", "--dry-run", "--json", *options) == 0
        found = json.loads(capsys.readouterr().out)
        sizes = {"x": superpose.costs.Size(60, 5, "float64"), "y": superpose.costs.Size(60, 4, "float64")}
        costs = superpose.costs.predict(
            sizes, metrics=METRICS, cv=4, memory="1MB", interval_samples=None, permutations=0
        )
        assert found["reads"] == costs.reads
        assert found["flops"] == costs.flops
        assert found["memory"] == costs.memory
        assert [row["seconds"] for row in found["work"]] == costs.table.seconds.tolist()

    def test_bad_files_and_options_are_one_line(self, here, capsys):
        (here / "cut.npy").write_bytes((here / "x.npy").read_bytes()[:200])
        refused(capsys, "cut.npy has 200 bytes and announces", "x.npy", "cut.npy", "--out", "results", "--dry-run")
        refused(capsys, "cv is 1; expected", "x.npy", "y.npy", "--out", "results", "--dry-run", "--raw", "--cv", 1)
        refused(capsys, "expected at least two systems", "x.npy", "--out", "results", "--dry-run")
