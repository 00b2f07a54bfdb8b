"""Sizes from headers: what `read` would give, without reading it, whatever the format; damage is one line."""

import os

import numpy as np
import pandas as pd
import pytest

import superpose as sp
from superpose.files import DataError
from superpose.recordings.headers import header


def written(folder, kind, dtype):
    rows = np.arange(15).reshape(5, 3).astype(dtype)
    path = folder / f"x{kind}"
    if kind == ".npy":
        np.save(path, rows)
    elif kind == ".npz":
        np.savez(path, responses=rows, stimuli=np.arange(5))
    elif kind == ".safetensors":
        from safetensors.numpy import save_file

        save_file({"responses": rows, "stimuli": np.arange(5)}, path)
    elif kind == ".parquet":
        pd.DataFrame(rows.astype(np.float32), columns=list("uvw")).assign(stimulus=list("abcde")).to_parquet(path)
    else:
        pd.DataFrame(rows, columns=list("uvw")).to_csv(path, index=False, sep="\t" if kind == ".tsv" else ",")
    return path


@pytest.mark.parametrize("kind", [".npy", ".npz", ".safetensors", ".parquet", ".csv", ".tsv"])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int32])
def test_a_header_tells_what_reading_gives(tmp_path, kind, dtype):
    path = written(tmp_path, kind, dtype)
    content = sp.read(path)
    responses = getattr(content, "responses", content)
    found = header(path)
    assert found.shape == responses.shape
    assert found.dtype == responses.dtype.name
    assert found.mapped == isinstance(responses.base, np.memmap)


def test_one_array_of_several_is_picked_by_name(tmp_path):
    np.savez(tmp_path / "x.npz", a=np.ones((4, 2), np.float32), b=np.ones((6, 3), np.float32))
    assert header(f"{tmp_path}/x.npz:b").shape == (6, 3)
    with pytest.raises(DataError, match="holds 2 arrays"):
        header(tmp_path / "x.npz")


def test_no_value_of_a_huge_file_is_read(tmp_path):
    path = tmp_path / "huge.npy"
    with path.open("wb") as stream:
        np.lib.format.write_array_header_1_0(stream, {"descr": "<f2", "fortran_order": False, "shape": (10**8, 8192)})
        announced = stream.tell() + 2 * 10**8 * 8192
    with pytest.raises(DataError, match=f"huge.npy has .* bytes and announces {announced}; it was cut off"):
        header(path)
    os.truncate(path, announced)
    assert header(path) == ((10**8, 8192), "float16", True)


@pytest.mark.parametrize("kind", [".npy", ".npz", ".safetensors", ".parquet"])
@pytest.mark.parametrize("damage", ["cut", "noise"])
def test_damage_is_one_line_that_names_the_file(tmp_path, kind, damage):
    path = written(tmp_path, kind, np.float32)
    content = path.read_bytes()
    path.write_bytes(content[:7] if damage == "cut" else bytes(reversed(content)))
    with pytest.raises(DataError, match=path.name) as caught:
        header(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("shape", [(5,), (2, 5, 3), (0, 3)])
def test_other_shapes_are_refused(tmp_path, shape):
    np.save(tmp_path / "x.npy", np.ones(shape))
    with pytest.raises(DataError, match=r"x.npy has shape .*; expected \(samples, units\)"):
        header(tmp_path / "x.npy")


def test_what_is_no_number_is_refused(tmp_path):
    np.save(tmp_path / "x.npy", np.ones((2, 2), complex))
    with pytest.raises(DataError, match=r"x.npy.* are of type complex128; expected real numbers"):
        header(tmp_path / "x.npy")
