"""`superpose layers`, and `compare` of layers with a target: from extracted folders and labelled recordings."""

import html
import io
import json

import numpy as np
import pandas as pd
import pytest
from extracting import extracted
from numpy.testing import assert_allclose
from oracles import chosen_by_loops, mean_score

import superpose as sp
from superpose import cli, store
from superpose.comparison import design_of
from superpose.recordings.scaling import standardised

SAMPLES, UNITS, REPEATS = 90, 7, 4
LAYERS = ("conv1", "conv2", "fc")


def model():
    """Three layers and trials of a target of the same stimuli: the second layer is nearest."""
    draw = np.random.default_rng(0)
    z = draw.normal(size=(SAMPLES, 4))
    layers = {
        name: (z @ draw.normal(size=(4, 6)) + spread * draw.normal(size=(SAMPLES, 6))).astype(np.float32)
        for name, spread in zip(LAYERS, (3.0, 0.4, 1.5), strict=True)
    }
    trials = z @ draw.normal(size=(4, UNITS)) + draw.normal(size=(REPEATS, SAMPLES, UNITS))
    return layers, trials


NAMES = [f"pictures/image{i:02}.png" for i in range(SAMPLES)]


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder as `superpose extract` writes it, and a table of trials in any order, labelled by the same stimuli."""
    layers, trials = model()
    folder = tmp_path / "net"
    beside = {"groups": np.arange(SAMPLES), "ids": np.full(SAMPLES, -1)}
    store.build(folder, {"seed": 0}, 1, lambda i: {**layers, **beside})
    (folder / "stimuli.txt").write_text("\n".join(NAMES) + "\n")
    (folder / "extract.json").write_text("{}")
    order = np.random.default_rng(1).permutation(REPEATS * SAMPLES)
    rows = pd.DataFrame(trials.reshape(-1, UNITS)[order], columns=[f"unit {i}" for i in range(UNITS)])
    rows.insert(0, "image_id", np.tile(NAMES, REPEATS)[order])
    rows.insert(1, "repetition", np.repeat(np.arange(REPEATS), SAMPLES)[order])
    rows.to_parquet(tmp_path / "V4.parquet", index=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(capsys, *arguments):
    status = cli.main([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    return status, out, err


def table_of(out):
    return pd.read_csv(io.StringIO(out), sep="\t", na_values="nan", keep_default_na=False, comment="#")


class TestLayers:
    def test_a_folder_and_a_recording_in_one_command(self, here, capsys):
        """Scores by loops of scikit-learn on the means that pandas takes; the ceiling and units of the trials."""
        status, out, err = run(capsys, "layers", "net", "V4.parquet", "--target", "V4", "--permutations", 19)
        assert status == 0
        assert "V4: 360 trials of 90 stimuli are averaged, 4 of each." in err
        found = table_of(out).set_index("layer")
        assert found.index.tolist() == list(LAYERS)
        rows = pd.read_parquet("V4.parquet")
        mean = rows.drop(columns="repetition").groupby("image_id").mean().loc[NAMES].to_numpy()
        layers, trials = model()
        folds = design_of(SAMPLES).folds
        for name, x in layers.items():
            expected = mean_score(list(chosen_by_loops(x.astype(float), mean, folds)))
            assert_allclose(found.score[name], expected, atol=1e-6)
        assert_allclose(found.ceiling, sp.layers(layers, target=trials, permutations=0).table.ceiling, rtol=1e-6)
        assert_allclose(found.ratio, found.score / found.ceiling, rtol=1e-9)
        assert "# conv2 is the best of 3 layers for V4: held-out r" in out

    def test_what_is_written(self, here, capsys):
        arguments = ("layers", "net", "V4.parquet", "--target", "V4", "--permutations", 19, "--out", "results")
        status, _, _ = run(capsys, *arguments)
        assert status == 0
        names = [
            f"{name}.{ending}" for name in ("layers", "best", "differences", "units") for ending in ("csv", "parquet")
        ]
        assert sorted(path.name for path in (here / "results").iterdir()) == sorted(
            [*names, "layers.png", "layers.svg", "report.html", "run.json"]
        )
        units = pd.read_parquet("results/units.parquet")
        assert len(units) == len(LAYERS) * UNITS
        record = json.loads((here / "results/run.json").read_text())
        assert record["settings"]["target"] == "V4"
        assert record["inputs"]["V4"]["sha256"]
        assert record["sentences"][0].startswith("conv2 is the best")
        page = (here / "results/report.html").read_text()
        assert html.escape(record["sentences"][0]) in page
        assert "permutation of the maximum over layers (19 permutations" in page
        assert "noise ceilings are from explainable variance" in page
        status, _, err = run(capsys, *arguments)
        assert status == 2
        assert "already holds a run" in err
        assert run(capsys, *arguments, "--overwrite")[0] == 0

    def test_as_json(self, here, capsys):
        _, out, _ = run(capsys, "layers", "net", "V4.parquet", "--target", "V4", "--permutations", 0, "--json")
        found = json.loads(out)
        assert found.keys() == {"table", "best", "differences", "units", "sentences", "warnings"}
        assert found["best"][0]["layer"] == "conv2"

    def test_a_terminal_gets_what_is_known(self, here, capsys, monkeypatch):
        monkeypatch.setattr("sys.stdout.isatty", lambda: True)
        _, out, _ = run(capsys, "layers", "net", "V4.parquet", "--target", "V4", "--permutations", 0)
        assert "conv2" in out
        assert "ceiling" in out
        assert "median_ratio" not in out

    def test_standardised_units_by_scikit_learn(self, here, capsys):
        from sklearn.preprocessing import StandardScaler

        _, out, _ = run(capsys, "layers", "net", "V4.parquet", "--target", "V4", "--permutations", 0, "--zscore")
        found = table_of(out).set_index("layer")
        layers, trials = model()
        mean = trials.mean(axis=0)
        scaled = {name: StandardScaler().fit_transform(x.astype(float)) for name, x in layers.items()}
        scaler = StandardScaler().fit(mean)
        expected = sp.layers(scaled, target=(trials - scaler.mean_) / scaler.scale_, permutations=0).table
        assert_allclose(found.score, expected.score, atol=1e-6)
        assert_allclose(found.ceiling, expected.ceiling, atol=1e-6)

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (["net", "V4.parquet"], "--target is missing; expected the name of one of the files"),
            (["net", "V4.parquet", "--target", "V5"], "--target is 'V5'; expected one of conv1, conv2, fc, V4"),
            (["net", "V4.parquet", "--target", "V4", "--metrics", "ridge"], "--metrics is 'ridge'; expected one of"),
            (["net/fc.npy", "V4.parquet", "--target", "V4"], "1 layer(s) beside V4; expected at least two"),
        ],
    )
    def test_bad_input_is_one_line(self, here, capsys, arguments, words):
        status, _, err = run(capsys, "layers", *arguments)
        assert status == 2
        assert words in err
        assert "Traceback" not in err


class TestCompare:
    def test_one_target_and_some_metrics(self, here, capsys):
        status, out, _ = run(
            capsys, "compare", "net", "V4.parquet", "--raw", "--permutations", 0, "--targets", "V4",
            "--metrics", "ridge_r,mutual_knn", "--out", "results",
        )  # fmt: skip
        assert status == 0
        found = table_of(out)
        assert list(zip(found.system_a, found.system_b, found.metric, strict=True)) == [
            (name, "V4", metric) for name in LAYERS for metric in ("ridge_r", "mutual_knn")
        ]
        layers, trials = model()
        expected = sp.layers(layers, target=trials, permutations=0).table
        ridge = found[found.metric == "ridge_r"]
        assert_allclose(ridge.score, expected.score, atol=1e-6)
        assert_allclose(ridge.ceiling, expected.ceiling, atol=1e-6)
        settings = json.loads((here / "results/run.json").read_text())["settings"]
        assert settings["metrics"] == ["ridge_r", "mutual_knn"]

    def test_metrics_without_the_usual_ones(self, here, capsys):
        status, out, _ = run(
            capsys, "compare", "net", "--raw", "--permutations", 0, "--metrics", "ols_r2", "--out", "results"
        )
        assert status == 0
        assert table_of(out).metric.unique().tolist() == ["ols_r2"]
        assert "conv1 and conv2: OLS, held-out R² is" in out
        assert (here / "results/alignment.png").is_file()

    def test_standardised_units(self, here, capsys):
        run(capsys, "compare", "net", "--raw", "--permutations", 0, "--metrics", "cka", "--zscore", "--out", "results")
        found = pd.read_parquet("results/alignment.parquet")
        layers, _ = model()
        scaled = {name: (x - x.mean(axis=0)) / x.std(axis=0) for name, x in layers.items()}
        assert_allclose(found.score, sp.compare(scaled, metrics=["cka"], permutations=0).score, atol=1e-6)
        assert json.loads((here / "results/run.json").read_text())["zscore"] is True

    @pytest.mark.parametrize(("targets", "words"), [("V5", "--targets is 'V5'"), ("net", "--targets is 'net'")])
    def test_unknown_targets(self, here, capsys, targets, words):
        status, _, err = run(capsys, "compare", "net", "V4.parquet", "--raw", "--targets", targets, "--out", "results")
        assert status == 2
        assert words in err

    def test_costs_are_of_what_is_asked_for(self, here, capsys):
        pair = ("compare", "net", "V4.parquet", "--raw", "--dry-run", "--out", "results", "--permutations", 9)
        _, out, _ = run(capsys, *pair, "--json")
        _, fewer, _ = run(capsys, *pair, "--metrics", "cka", "--targets", "V4", "--json")
        assert json.loads(fewer)["flops"] < json.loads(out)["flops"] / 5


class TestScaling:
    def test_still_units_are_zero(self):
        x = np.random.default_rng(0).normal(size=(30, 3)) + 1e6
        x[:, 1] = 4.2
        scaled = standardised(x)
        assert_allclose(scaled.mean(axis=0), 0, atol=1e-8)
        assert_allclose(scaled.std(axis=0), [1, 0, 1], rtol=1e-12)

    def test_half_precision_is_kept_as_single(self):
        x = np.random.default_rng(0).normal(size=(30, 3)).astype(np.float16)
        assert standardised(x).dtype == np.float32


class TestPairing:
    """What `superpose extract` wrote, beside recordings that label stimuli in their own way."""

    def relabelled(self, change):
        rows = pd.read_parquet("V4.parquet")
        rows["image_id"] = rows["image_id"].map(change)
        rows.to_parquet("V4.parquet", index=False)

    def test_names_of_files_without_folders_and_endings(self, here, capsys):
        command = ("layers", "net", "V4.parquet", "--target", "V4", "--permutations", 0)
        _, before, _ = run(capsys, *command)
        self.relabelled(lambda name: name.removeprefix("pictures/").removesuffix(".png"))
        status, after, err = run(capsys, *command)
        assert status == 0
        assert "conv1: stimuli are names of files without folders and endings." in err
        assert after == before

    def test_arrays_with_their_stimuli_in_a_text_beside_them(self, here, capsys):
        files = [f"mine/{name}.npy" for name in LAYERS]
        command = ("V4.parquet", "--target", "V4", "--permutations", 0)
        _, expected, _ = run(capsys, "layers", "net", *command)
        (here / "mine").mkdir()
        for file in files:
            np.save(file, np.load(file.replace("mine", "net"))[::-1])
        status, _, err = run(capsys, "layers", *files, *command)
        assert status == 2
        assert "write one id per line to mine/stimuli.txt" in err
        names = (here / "net/stimuli.txt").read_text().splitlines()
        (here / "mine/stimuli.txt").write_text("\n".join(names[::-1]))
        status, found, _ = run(capsys, "layers", *files, *command)
        assert status == 0
        assert_allclose(table_of(found).score, table_of(expected).score, atol=0.05)

    def test_other_labels_are_refused(self, here, capsys):
        self.relabelled(lambda name: f"other {name}")
        status, _, err = run(capsys, "layers", "net", "V4.parquet", "--target", "V4")
        assert status == 2
        assert "no stimulus id is shared by all" in err

    @pytest.mark.parametrize(
        ("per_sample", "names", "words"),
        [
            (2, True, "tokens has several rows per sample; extract it again with --tokens mean"),
            (1, False, "Extract tokens again with --stimuli, a file of one id per sample"),
        ],
    )
    def test_layers_that_cannot_be_paired_say_how_they_could(self, here, capsys, per_sample, names, words):
        extracted(here / "tokens", per_sample, names=names)
        status, _, err = run(capsys, "layers", "tokens", "V4.parquet", "--target", "V4")
        assert status == 2
        assert words in err

    def test_units_that_miss_trials(self, here, capsys):
        rows = pd.read_parquet("V4.parquet")
        values = rows.iloc[:, 2:].to_numpy().copy()
        gone = np.random.default_rng(2).random(values.shape) < 0.1
        gone[rows["repetition"].to_numpy() < 2] = False
        values[gone] = np.nan
        rows.iloc[:, 2:] = values
        rows.to_parquet("V4.parquet", index=False)
        status, out, err = run(capsys, "layers", "net", "V4.parquet", "--target", "V4", "--permutations", 0)
        assert status == 0
        assert "V4: 7 of 7 units miss some trials" in err
        mean = rows.drop(columns="repetition").groupby("image_id").mean().loc[NAMES].to_numpy()
        layers, _ = model()
        expected = [sp.metrics.ridge(x.astype(float), mean) for x in layers.values()]
        found = table_of(out)
        assert_allclose(found.score, expected, atol=1e-6)
        assert found.ceiling.between(0.5, 1).all()
        recordings = {"fc": sp.Recording("fc", layers["fc"], NAMES), "V4": sp.read("V4.parquet")}
        ceilings = sp.ceilings.of_pairs(recordings, metrics=[sp.metrics.RIDGE_R])
        assert_allclose(found.ceiling, ceilings.ceiling[ceilings.system_b == "V4"].item(), rtol=1e-9)


class TestTimes:
    """A target with an axis of times, as BrainIO writes it, beside layers that name their stimuli in another order."""

    STARTS = (0, 50, 100)

    @pytest.fixture
    def moving(self, here):
        """Three times of the trials: noise alone, then the target, then the target with less of its noise."""
        import xarray

        layers, trials = model()
        noise = np.random.default_rng(3).normal(size=(*trials.shape, 2))
        rows = np.stack([noise[..., 0], trials, trials + noise[..., 1]], axis=-1).reshape(-1, UNITS, 3)
        array = xarray.DataArray(rows, dims=("presentation", "neuroid", "time_bin"))
        array = array.assign_coords(
            image_id=("presentation", np.tile(NAMES, REPEATS)),
            repetition=("presentation", np.repeat(np.arange(REPEATS), SAMPLES)),
            time_bin_start=("time_bin", list(self.STARTS)),
        )
        array.to_netcdf(here / "IT.nc")
        return layers, rows.reshape(REPEATS, SAMPLES, UNITS, 3)

    @pytest.mark.parametrize("kind", ["folder", "tables"])
    def test_each_is_what_python_gives(self, here, moving, kind, capsys):
        layers, rows = moving
        for number, (name, x) in enumerate(layers.items()):
            table = pd.DataFrame(x, columns=[f"u{i}" for i in range(x.shape[1])])
            table.insert(0, "image_id", NAMES)
            table.sample(frac=1, random_state=number).to_csv(here / f"{name}.csv", index=False)
        files = ["net"] if kind == "folder" else [f"{name}.csv" for name in layers]
        how = ["--target", "IT", "--permutations", "9", "--out", "out"]
        status, _, err = run(capsys, "layers", *files, "IT.nc", *how)
        assert status == 0, err
        table = pd.read_parquet("out/layers.parquet")
        assert table[["time", "layer"]].drop_duplicates().values.tolist() == [
            [time, layer] for time in self.STARTS for layer in LAYERS
        ]
        assert table.ceiling.notna().sum() >= 6
        if kind == "folder":
            expected = sp.layers(layers, target=rows, times=list(self.STARTS), permutations=9).table
            assert_allclose(table[["score", "p"]], expected[["score", "p"]], rtol=1e-6)
        assert json.loads((here / "out/run.json").read_text())["inputs"]["IT"]["shape"] == [360, UNITS, 3]
        best = pd.read_parquet("out/best.parquet")
        assert best.set_index("time").layer[50] == "conv2"

    def test_elsewhere_one_time_is_expected(self, here, moving, capsys):
        status, _, err = run(capsys, "compare", "net", "IT.nc", "--raw", "--out", "out")
        assert status == 2
        assert "superpose layers takes all times of its target" in err

    def test_a_time_that_comes_twice(self, here, moving, capsys):
        import xarray

        with xarray.open_dataarray(here / "IT.nc") as array:
            array.load().assign_coords(time_bin_start=("time_bin", [0, 50, 50])).to_netcdf(here / "MT.nc")
        status, _, err = run(capsys, "layers", "net", "MT.nc", "--target", "MT")
        assert status == 2
        assert "MT.nc names a time twice; expected each once." in err

    def test_layers_without_ids_are_refused(self, here, moving, capsys):
        layers, _ = moving
        (here / "bare").mkdir()
        for name, x in layers.items():
            np.save(here / "bare" / f"{name}.npy", x)
        status, _, err = run(capsys, "layers", *(f"bare/{name}.npy" for name in layers), "IT.nc", "--target", "IT")
        assert status == 2
        assert "conv1, conv2, fc have no stimulus ids but IT at 0 has; give all files ids" in err
        assert "write one id per line to bare/stimuli.txt" in err
