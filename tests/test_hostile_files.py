"""Damaged files give one line that names them, or numbers: never another error, a warning or code that runs."""

import io
import pickle
import time
import warnings
import zipfile

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import save_file

from superpose.files import DataError
from superpose.recordings import READERS, Recording, read

MUTATIONS = 50


def sound(path):
    """Write a sound file of the format of `path`."""
    values = np.random.default_rng(0).normal(size=(40, 5)).round(4)
    frame = pd.DataFrame(values, columns=list("abcde"))
    writers = {
        ".npy": lambda: np.save(path, values),
        ".npz": lambda: np.savez(path, responses=values, stimuli=np.arange(40)),
        ".csv": lambda: frame.to_csv(path, index_label="stimulus"),
        ".tsv": lambda: frame.to_csv(path, index=False, sep="\t"),
        ".parquet": lambda: frame.to_parquet(path),
        ".safetensors": lambda: save_file({"x": values}, path),
    }
    writers[path.suffix]()
    return path.read_bytes()


def flip(data, rng):
    at = rng.integers(len(data), size=rng.integers(1, 9))
    data[at] = rng.integers(256, size=len(at))
    return data


def flip_the_head(data, rng):
    at = rng.integers(min(160, len(data)), size=rng.integers(1, 4))
    data[at] = rng.integers(256, size=len(at))
    return data


def flip_the_tail(data, rng):
    at = len(data) - 1 - rng.integers(min(600, len(data)), size=rng.integers(1, 4))
    data[at] = rng.integers(256, size=len(at))
    return data


def cut(data, rng):
    return data[: rng.integers(len(data))]


def repeat(data, rng):
    start, end = np.sort(rng.integers(len(data), size=2))
    return np.concatenate([data[:end], data[start:]])


MUTATE = (flip, flip_the_head, flip_the_tail, cut, repeat)


def attempt(path):
    try:
        found = read(path)
    except DataError as error:
        return str(error), None
    return None, found.responses if isinstance(found, Recording) else found


@pytest.mark.parametrize("suffix", READERS)
def test_mutated_files(tmp_path, suffix, capfd):
    original = np.frombuffer(sound(tmp_path / f"sound{suffix}"), dtype=np.uint8)
    rng = np.random.default_rng(sum(suffix.encode()))
    refused = 0
    for i in range(MUTATIONS):
        path = tmp_path / f"m{i}{suffix}"
        path.write_bytes(MUTATE[i % len(MUTATE)](original.copy(), rng).tobytes())
        start = time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            message, array = attempt(path)
        assert time.perf_counter() - start < 2
        if array is None:
            refused += 1
            assert path.stem in message
            assert "\n" not in message
            assert len(message) < 1000
        else:
            assert array.ndim == 2
            assert array.dtype.kind == "f"
            assert np.array(array).shape == array.shape
    assert refused >= MUTATIONS / 5
    assert capfd.readouterr() == ("", "")


class Canary:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_pickles_are_never_opened(tmp_path):
    canary = tmp_path / "canary"
    hostile = np.empty((2, 2), dtype=object)
    hostile[:] = Canary(canary)
    stream = io.BytesIO()
    np.save(stream, hostile, allow_pickle=True)
    bare = pickle.dumps(Canary(canary))
    np.save(tmp_path / "object.npy", hostile, allow_pickle=True)
    np.savez(tmp_path / "object.npz", hostile)
    np.savez(tmp_path / "labels.npz", responses=np.ones((2, 2)), stimuli=hostile[:, 0])
    for suffix in READERS:
        (tmp_path / f"bare{suffix}").write_bytes(bare)
        (tmp_path / f"stream{suffix}").write_bytes(stream.getvalue())
    with zipfile.ZipFile(tmp_path / "member.npz", "w") as archive:
        archive.writestr("x.npy", bare)
    files = sorted(tmp_path.iterdir())
    assert len(files) == 4 + 2 * len(READERS)
    for file in files:
        with pytest.raises(DataError, match=file.stem):
            read(file)
    assert not canary.exists()
    with pickle.loads(bare):  # the canary does sing when it is let out
        assert canary.exists()


@pytest.mark.parametrize(
    "shape",
    [
        "(10**18, 3)",
        "(1000000000000, 3)",
        "(-1, 3)",
        "(99999999999999999999, 2)",
        "(3,)",
        "()",
        "('a', 2)",
        "((1, 2), 3)",
    ],
)
def test_absurd_shapes(tmp_path, shape):
    header = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    npy = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + bytes(48)
    (tmp_path / "a.npy").write_bytes(npy)
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("x.npy", npy)
    for name in ("a.npy", "a.npz"):
        with pytest.raises(DataError, match=name):
            read(tmp_path / name)
    text = b'{"x":{"dtype":"F64","shape":[1000000000000,1000000000000],"data_offsets":[0,48]}}'
    (tmp_path / "a.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + bytes(48))
    with pytest.raises(DataError, match=r"a\.safetensors cannot be read"):
        read(tmp_path / "a.safetensors")


def test_memory_that_is_not_there(tmp_path, monkeypatch):
    def exhausted(file, key):
        raise MemoryError

    np.save(tmp_path / "a.npy", np.ones((2, 2)))
    monkeypatch.setitem(READERS, ".npy", exhausted)
    with pytest.raises(DataError, match="announces more data than fits in memory"):
        read(tmp_path / "a.npy")
