"""Arrays of stimuli, repeats and units: read where their axes are named, every trial once, the missing ones nowhere."""

import h5py
import numpy as np
import pytest
import scipy.io
import zarr
from safetensors.numpy import save_file

from superpose.analysis.inputs import read_systems
from superpose.ceilings import as_trials
from superpose.cli import main
from superpose.files import DataError
from superpose.recordings import READERS, Recording, match, read
from superpose.recordings.axes import roles
from superpose.recordings.headers import header

AXES = ("stimuli", "repeats", "units")
CUBE = np.random.default_rng(0).normal(size=(6, 3, 4))


def write_npy(path, cube, **labels):
    np.save(path, cube)


def write_h5(path, cube, **labels):
    with h5py.File(path, "w") as file:
        for name, values in {"responses": cube, **labels}.items():
            file[name] = values


def write_zarr(path, cube, **labels):
    group = zarr.open_group(path, mode="w")
    for name, values in {"responses": cube, **labels}.items():
        group[name] = np.asarray(values)


def write_mat(path, cube, **labels):
    scipy.io.savemat(path, {"responses": cube, **labels})


WRITERS = {
    ".npy": write_npy,
    ".npz": lambda path, cube, **labels: np.savez(path, responses=cube, **labels),
    ".safetensors": lambda path, cube, **labels: save_file(
        {"responses": np.ascontiguousarray(cube), **{name: np.asarray(x) for name, x in labels.items()}}, path
    ),
    ".h5": write_h5,
    ".zarr": write_zarr,
    ".mat": write_mat,
}
LABELLED = [suffix for suffix in WRITERS if suffix != ".npy"]


def test_a_reading_inside_another_is_told_nothing_of_it(tmp_path, monkeypatch):
    for name in "ab":
        np.save(tmp_path / f"{name}.npy", CUBE)
    reader, refused = READERS[".npy"], []

    def nested(file, asked):
        if file.stem == "a":
            with pytest.raises(DataError, match="has 3 dimensions"):
                read(tmp_path / "b.npy")
            refused.append(file)
        return reader(file, asked)

    monkeypatch.setitem(READERS, ".npy", nested)
    assert read(tmp_path / "a.npy", axes=AXES).responses.shape == (18, 4)
    assert refused


@pytest.mark.parametrize("suffix", WRITERS)
@pytest.mark.parametrize("axes", [AXES, ("repeats", "stimuli", "units"), ("units", "repeats", "stimuli")])
def test_trials_become_rows(tmp_path, suffix, axes):
    path = tmp_path / f"a{suffix}"
    WRITERS[suffix](path, CUBE.transpose([AXES.index(axis) for axis in axes]))
    found = read(path, axes=axes)
    assert found.numbered
    np.testing.assert_array_equal(found.responses, CUBE.reshape(18, 4))
    assert found.stimuli.tolist() == [str(i) for i in range(6) for _ in range(3)]
    assert found.repeats.tolist() == ["0", "1", "2"] * 6
    assert header(path, axes=axes).shape in ((6, 4), (18, 4))
    np.testing.assert_allclose(match([found]).systems["a"], CUBE.mean(axis=1), rtol=1e-12)


@pytest.mark.parametrize("suffix", WRITERS)
def test_without_names_of_axes_the_remedy_is_told(tmp_path, suffix):
    WRITERS[suffix](tmp_path / f"a{suffix}", CUBE)
    words = r"has 3 dimensions, shape .*; expected two.* axes=\('stimuli', 'repeats', 'units'\)\.$"
    with pytest.raises(DataError, match=words):
        read(tmp_path / f"a{suffix}")


@pytest.mark.parametrize("suffix", LABELLED)
@pytest.mark.parametrize("repeats", [[3, 1, 2], np.arange(18).reshape(6, 3)])
def test_labels_along_the_axes(tmp_path, suffix, repeats):
    path = tmp_path / f"a{suffix}"
    WRITERS[suffix](path, CUBE, stimulus=[5, 9, 1, 2, 3, 4], session=[1, 1, 1, 2, 2, 2], repeat=repeats)
    found = read(path, axes=AXES)
    assert found.stimuli.tolist() == [i for i in "591234" for _ in range(3)]
    assert found.groups.tolist() == ["1"] * 9 + ["2"] * 9
    assert found.repeats.tolist() == np.broadcast_to(repeats, (6, 3)).reshape(-1).astype(str).tolist()
    assert not found.numbered


def test_labels_of_another_length(tmp_path):
    np.savez(tmp_path / "a.npz", responses=CUBE, stimulus=np.arange(3))
    with pytest.raises(DataError, match=r"stimuli have shape \(3,\); expected \(6,\), one along the axis of stimuli"):
        read(tmp_path / "a.npz", axes=AXES)


def test_units_by_stimuli(tmp_path):
    np.save(tmp_path / "a.npy", CUBE[:, 0].T)
    np.testing.assert_array_equal(read(tmp_path / "a.npy", axes=("neurons", "image")), CUBE[:, 0])
    assert header(tmp_path / "a.npy", axes=("neurons", "image")).shape == (6, 4)


def test_a_file_without_repeats_beside_one_with(tmp_path):
    np.save(tmp_path / "a.npy", CUBE)
    np.save(tmp_path / "b.npy", CUBE[:, 0])
    np.testing.assert_array_equal(read(tmp_path / "b.npy", axes=AXES), CUBE[:, 0])
    found = read_systems([tmp_path / "a.npy", tmp_path / "b.npy"], axes=AXES)
    np.testing.assert_allclose(found.arrays["a"], CUBE.mean(axis=1), rtol=1e-12)
    np.testing.assert_array_equal(found.arrays["b"], CUBE[:, 0])
    assert found.trials["a"].counts.tolist() == [3] * 6
    assert found.trials["b"].counts.tolist() == [1] * 6
    assert found.notes.averaged == ["a: 18 trials of 6 stimuli are averaged, 3 of each."]


@pytest.mark.parametrize(
    "axes", [("stimuli", "units", "units"), ("stimuli", "repeats"), ("stimuli", "time", "units"), ("units",), "abc"]
)
def test_names_that_are_no_axes(tmp_path, axes):
    np.save(tmp_path / "a.npy", CUBE)
    with pytest.raises(DataError, match=r"axes is .*; expected stimuli and units, and repeats if there are any"):
        read(tmp_path / "a.npy", axes=axes)


def test_other_numbers_of_axes(tmp_path):
    np.save(tmp_path / "a.npy", CUBE[None])
    with pytest.raises(DataError, match=r"has 4 dimensions, .*; expected axes of stimuli, repeats, units"):
        read(tmp_path / "a.npy", axes=AXES)


def test_names_of_the_field():
    assert roles(["image_id", "Trial", "neuroid"]) == AXES
    assert roles(["presentations", "voxels"]) == roles("stimuli, units") == ("stimuli", "units")


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_unequal_numbers_of_trials_keep_every_trial(tmp_path, dtype):
    cube = CUBE.astype(dtype)
    for stimulus, trials in enumerate([3, 2, 1, 3, 2, 1]):
        cube[stimulus, trials:] = np.nan
    np.save(tmp_path / "a.npy", cube)
    np.save(tmp_path / "b.npy", CUBE[:, 0])
    found = read_systems([tmp_path / "a.npy", tmp_path / "b.npy"], axes=AXES)
    np.testing.assert_allclose(found.arrays["a"], np.nanmean(cube, axis=1), rtol=1e-5)
    reference = as_trials(cube.transpose(1, 0, 2), "a")
    assert found.trials["a"].counts.tolist() == reference.counts.tolist() == [3, 2, 1, 3, 2, 1]
    np.testing.assert_array_equal(found.trials["a"].values, reference.values)
    assert found.notes.lost == ["a: 6 trials are NaN in every unit, and missing."]
    assert found.notes.averaged == ["a: 12 trials of 6 stimuli are averaged, 1 to 3 of each."]


def test_missing_trials_of_tables(tmp_path):
    (tmp_path / "a.csv").write_text("stimulus,repeat,u,v\na,0,1,2\na,1,,\nb,0,5,6\nb,1,7,9\nc,0,0,1\n")
    found = match([read(tmp_path / "a.csv")])
    assert found.systems["a"].tolist() == [[1, 2], [6, 7.5], [0, 1]]


def test_units_that_miss_trials_are_averaged_over_the_others():
    def recording(*rows):
        return Recording("a", rows, list("aabbc")[: len(rows)])

    with pytest.warns(UserWarning, match=r"1 of 2 units miss some trials \(16.7 % of responses are NaN\)"):
        found = match([recording([1.0, 2.0], [np.nan, 1.0], [1.0, 1.0])])
    assert found.systems["a"].tolist() == [[1.0, 1.5], [1.0, 1.0]]
    with pytest.raises(
        DataError, match=r"1 units have no trial of some stimulus \(1 pairs, the first unit 0, stimulus b"
    ):
        match([recording([1.0, 2.0], [1.0, 1.0], [np.nan, 1.0], [np.nan, 1.0])])
    with pytest.raises(DataError, match="1 stimuli have no trial, the first b; drop their rows"):
        match([recording([1.0, 2.0], [2.0, 1.0], [np.nan, np.nan], [np.nan, np.nan])])


def test_the_command_takes_axes(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    signal = np.random.default_rng(1).normal(size=(60, 4))
    np.save("a.npy", signal[:, None] + 0.3 * np.random.default_rng(2).normal(size=(60, 3, 4)))
    np.save("b.npy", signal)
    assert main(["compare", "a.npy", "b.npy", "--raw", "--permutations", "9", "--out", "out"]) == 2
    assert "--axes stimuli,repeats,units" in capsys.readouterr().err
    options = ["--axes", "stimuli,repeats,units", "--raw", "--permutations", "9", "--out", "out"]
    assert main(["compare", "a.npy", "b.npy", *options, "--dry-run"]) == 0
    capsys.readouterr()
    assert main(["compare", "a.npy", "b.npy", *options]) == 0
    said = capsys.readouterr()
    assert "a: 180 trials of 60 stimuli are averaged, 3 of each." in said.err
    assert "ceiling" in said.out
