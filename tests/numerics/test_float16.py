"""float16 widened by another library than NumPy: the same values to the bit, wherever and however they lie."""

import sys
import warnings

import numpy as np
import pytest

from superpose.numerics import float16 as halves
from superpose.numerics.float16 import widened


@pytest.fixture
def every_value():
    """All bit patterns of float16, NaN and infinities among them, (256, 256)."""
    return np.arange(2**16, dtype=np.uint16).view(np.float16).reshape(256, 256)


@pytest.mark.parametrize("few", [0, halves.FEW], ids=["by torch", "by numpy"])
@pytest.mark.parametrize(
    "view",
    [
        lambda x: x,
        lambda x: x[::3, 5:9],
        lambda x: x.T,
        lambda x: x[:, ::-1],
        lambda x: x.astype(">f2"),
        lambda x: x[:0],
        lambda x: x.reshape(4, 64, 256)[:, 10:12],
    ],
    ids=["whole", "strided", "transposed", "reversed", "big-endian", "empty", "repeats"],
)
def test_every_value_is_exact(every_value, few, view, monkeypatch):
    monkeypatch.setattr(halves, "FEW", few)
    if few:
        monkeypatch.setattr(halves, "_by_numpy", [0])
        monkeypatch.delitem(sys.modules, "torch", raising=False)
    x = view(every_value)
    np.testing.assert_array_equal(widened(x), x.astype(np.float32))


def test_a_mapped_file_is_read_without_a_warning(every_value, tmp_path, monkeypatch):
    monkeypatch.setattr(halves, "FEW", 0)
    np.save(tmp_path / "x.npy", every_value)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    with warnings.catch_warnings(action="error"):
        np.testing.assert_array_equal(widened(mapped), every_value.astype(np.float32))
    assert not mapped.flags.writeable


def test_other_types_are_left_alone(every_value):
    x = every_value.astype(np.float64)
    assert widened(x) is x
