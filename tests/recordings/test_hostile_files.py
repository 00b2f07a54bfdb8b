"""Damaged files give one line that names them, or numbers: never another error, a warning or code that runs."""

import io
import pickle
import zipfile

import numpy as np
import pytest

from superpose.analysis.inputs import read_groups
from superpose.cli.extract import _array
from superpose.files import DataError
from superpose.recordings import READERS, read


def test_long_and_unprintable_cells_are_shortened(tmp_path):
    (tmp_path / "a.csv").write_text("x" * 5000 + ",1\n1,2\n")
    with pytest.raises(DataError, match=r"the first row .* may be a header or a sample") as caught:
        read(tmp_path / "a.csv")
    assert "x" * 41 not in str(caught.value)
    (tmp_path / "b.csv").write_text("\x01" * 90 + ",1\n1,2\n")
    with pytest.raises(DataError, match=r"the first row \(\ufffd{40}, 1 …\) may be"):
        read(tmp_path / "b.csv")


@pytest.mark.parametrize("header", [b"{'descr': '<i8', 'fortran_order': False, 'shape': (5", b"(" * 300, b"\x00" * 60])
def test_labels_and_arrays_with_damaged_headers(tmp_path, header):
    file = tmp_path / "a.npy"
    file.write_bytes(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + bytes(40))
    with pytest.raises(DataError, match=r"a\.npy cannot be read as group labels: "):
        read_groups(file)
    with pytest.raises(DataError, match=r"a\.npy cannot be read as an array \(.*\); write it again"):
        _array(file, tmp_path, None, 1)


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
