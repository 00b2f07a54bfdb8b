"""Types and layouts that NumPy lacks: the numbers that the library of origin gives, or one line."""

import warnings

import ml_dtypes
import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import torch
from safetensors.torch import save_file

import superpose as sp
from superpose.arrays.tensors import as_array, to_numpy

ROWS = torch.randn(40, 6, generator=torch.Generator().manual_seed(0))
OTHER = np.random.default_rng(0).normal(size=(40, 5))
PAIRS = torch.view_as_complex(torch.stack([ROWS, 2 * ROWS], -1))
FLOATS = ("bfloat16", "float16", *(f"float8_{kind}" for kind in ("e4m3fn", "e4m3fnuz", "e5m2", "e5m2fnuz")))


class Foreign:
    """An array of another library: it gives itself by one protocol only."""

    def __init__(self, array):
        self.array = array


class ByArray(Foreign):
    def __array__(self, dtype=None, copy=None):
        return self.array


class ByDlpack(Foreign):
    def __dlpack__(self, **options):
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()


def quietly(make):
    with warnings.catch_warnings(action="ignore"):
        return make()


NUMBERS = {
    **{kind: (ROWS.to(getattr(torch, kind)), ROWS.to(getattr(torch, kind)).float()) for kind in FLOATS},
    "float8_e8m0fnu": (ROWS.exp().to(torch.float8_e8m0fnu), ROWS.exp().to(torch.float8_e8m0fnu).float()),
    "coo": (ROWS.relu().to_sparse(), ROWS.relu()),
    "coo, twice one place": (quietly(lambda: torch.sparse_coo_tensor([[1, 1], [2, 2]], [1.0, 2.0], (40, 6))), None),
    "coo of bfloat16": (ROWS.relu().bfloat16().to_sparse(), ROWS.relu().bfloat16().float()),
    "coo of float8": (ROWS.relu().to_sparse().to(torch.float8_e5m2), ROWS.relu().to(torch.float8_e5m2).float()),
    **{
        layout: (quietly(lambda make=make: make(ROWS)), ROWS)
        for layout, make in {
            "csr": torch.Tensor.to_sparse_csr,
            "csc": torch.Tensor.to_sparse_csc,
            "bsr": lambda x: x.to_sparse_bsr((2, 3)),
            "bsc": lambda x: x.to_sparse_bsc((2, 3)),
            "mkldnn": torch.Tensor.to_mkldnn,
        }.items()
    },
    **{
        str(kind): (quietly(lambda kind=kind: torch.quantize_per_tensor(ROWS, 0.1, 3, kind)), None)
        for kind in (torch.qint8, torch.quint8, torch.qint32)
    },
    "by channel": (
        quietly(lambda: torch.quantize_per_channel(ROWS, torch.full((6,), 0.2), torch.zeros(6), 1, torch.quint4x2)),
        None,
    ),
    "gradient": (torch.nn.Parameter(ROWS), ROWS),
    "conj().imag": (PAIRS.conj().imag, -2 * ROWS),
    "transposed": (ROWS.T.contiguous().T, ROWS),
    "masked, nothing": (quietly(lambda: torch.masked.masked_tensor(ROWS, ROWS == ROWS)), ROWS),
    "list of bfloat16": ([row.bfloat16() for row in ROWS], ROWS.bfloat16().float()),
    "scipy matrix": (scipy.sparse.csr_matrix(ROWS.relu().numpy()), ROWS.relu()),
    "scipy array": (scipy.sparse.coo_array(ROWS.relu().numpy()), ROWS.relu()),
    **{
        f"ml_dtypes {kind}": (array := ROWS.numpy().astype(kind), torch.tensor(array.astype(np.float32)))
        for kind in (ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn, ml_dtypes.int4)
    },
    "__array__ of bfloat16": (ByArray(ROWS.numpy().astype(ml_dtypes.bfloat16)), ROWS.bfloat16().float()),
    "__dlpack__": (ByDlpack(ROWS), ROWS),
    "numpy mask, nothing": (np.ma.masked_array(ROWS.numpy(), False), ROWS),
    "nullable table": (pd.DataFrame(ROWS.numpy()).astype("Float64"), ROWS.double()),
    "table of Arrow": (pd.DataFrame(ROWS.double().numpy()).astype("float64[pyarrow]"), ROWS.double()),
    "sparse table": (
        pd.DataFrame(ROWS.relu().double().numpy()).astype(pd.SparseDtype("float64", 0.0)),
        ROWS.relu().double(),
    ),
    "longdouble": (ROWS.numpy().astype(np.longdouble), ROWS.double()),
    "big-endian": (ROWS.numpy().astype(">f4"), ROWS),
}


def expected(given, right):
    """Torch's own numbers: those that are named, or what is dequantised or dense."""
    if right is None:
        right = given.dequantize() if given.is_quantized else given.to_dense()
    return right.numpy()


@pytest.mark.parametrize("kind", NUMBERS)
def test_numbers_are_those_of_the_library_they_come_from(kind):
    given, right = NUMBERS[kind]
    right = expected(given, right)
    np.testing.assert_array_equal(as_array(given, "x"), right)
    np.testing.assert_array_equal(sp.Recording("V1", given, np.arange(40)).responses, right)
    if right.any(0).all():
        assert float(sp.cka(given, OTHER)) == pytest.approx(float(sp.cka(right, OTHER)), abs=1e-12)
        table = sp.compare({"a": given, "b": OTHER}, permutations=0)
        np.testing.assert_array_equal(table.score, sp.compare({"a": right, "b": OTHER}, permutations=0).score)


NOT_NUMBERS = {
    "meta": (lambda: ROWS.to("meta"), r"without values \(on"),
    "lazy": (lambda: torch.nn.LazyLinear(3).weight, r"without values \(on"),
    "nested": (lambda: torch.nested.nested_tensor([ROWS, ROWS[:3]]), "nested"),
    "jagged": (lambda: torch.nested.nested_tensor([ROWS, ROWS[:3]], layout=torch.jagged), "nested"),
    "int4": (lambda: torch.empty(40, 6, dtype=torch.int4), "int4, which NumPy cannot hold"),
    "float4": (lambda: torch.empty(40, 6, dtype=torch.float4_e2m1fn_x2), "which NumPy cannot hold"),
    "fake": (lambda: fake(), "FakeTensor"),
    "masked tensor": (lambda: torch.masked.masked_tensor(ROWS, ROWS > 0), "masked"),
    "masked array": (lambda: np.ma.masked_array(ROWS.numpy(), ROWS.numpy() > 1), "masked"),
    "list of masked": (lambda: [np.ma.masked_array([1.0, 2.0], [0, 1])] * 40, "40 masked|1 masked"),
    "table of text": (lambda: pd.DataFrame({"a": ["x"] * 40, "b": ["y"] * 40}), "Python objects|text|numbers"),
    "half complex": (lambda: PAIRS.to(torch.complex32), "complex numbers"),
    "conj": (lambda: PAIRS.conj(), "complex numbers"),
    "raw bytes of saved bfloat16": (lambda: np.zeros((40, 6), "V2"), "records or raw bytes"),
    "another library's failure": (lambda: ByArray("no array"), "rectangular|dimension|text"),
}


def fake():
    from torch._subclasses.fake_tensor import FakeTensorMode

    with FakeTensorMode():
        return torch.randn(40, 6)


@pytest.mark.parametrize("kind", NOT_NUMBERS)
def test_what_holds_no_numbers_is_one_line(kind):
    make, words = NOT_NUMBERS[kind]
    given = quietly(make)
    with pytest.raises(sp.DataError, match=words):
        sp.cka(given, OTHER)
    with pytest.raises(sp.DataError, match=words):
        sp.Recording("V1", given, np.arange(40))
    with pytest.raises(sp.DataError, match=words):
        sp.compare({"a": given, "b": OTHER}, permutations=0)


@pytest.mark.parametrize(
    ("what", "call"),
    [
        ("groups", lambda mask: sp.compare({"a": ROWS, "b": OTHER}, groups=mask, permutations=0)),
        ("test", lambda mask: sp.regression(ROWS, OTHER, test=mask < 9)),
        ("cv", lambda mask: sp.regression(ROWS, OTHER, cv=mask % 5)),
        ("stimuli", lambda mask: sp.Recording("a", ROWS, mask)),
        ("covariance", lambda mask: sp.theory.cka(np.eye(40), np.eye(40), np.ma.outer(mask, mask))),
        ("dictionary", lambda mask: sp.coding.omp(OTHER, np.ma.outer(mask[:5], mask[:9]) + 1.0, 2)),
    ],
)
def test_masked_labels_and_matrices_are_never_read_behind_the_mask(what, call):
    with pytest.raises(sp.DataError, match=f"{what}.* (masked value|missing)"):
        call(np.ma.masked_array(np.arange(40), np.arange(40) == 3))


def test_dense_tensors_share_their_memory():
    assert np.shares_memory(to_numpy(ROWS), ROWS.numpy())


@pytest.mark.parametrize("kind", FLOATS)
def test_files_of_safetensors(tmp_path, kind):
    rows = ROWS.to(getattr(torch, kind))
    save_file({"responses": rows}, tmp_path / "a.safetensors")
    np.testing.assert_array_equal(sp.read(tmp_path / "a.safetensors"), rows.float().numpy())


def test_a_file_of_4_bit_floats_is_refused(tmp_path):
    packed = torch.zeros(4, 6, dtype=torch.uint8).view(torch.float4_e2m1fn_x2)
    save_file({"responses": packed}, tmp_path / "a.safetensors")
    with pytest.raises(sp.DataError, match=r"a\.safetensors.*which NumPy cannot hold"):
        sp.read(tmp_path / "a.safetensors")


def test_a_file_of_raw_bytes_is_refused(tmp_path):
    np.save(tmp_path / "a.npy", ROWS.numpy().astype(ml_dtypes.bfloat16))
    with pytest.raises(sp.DataError, match=r"a\.npy.*raw bytes"):
        sp.read(tmp_path / "a.npy")
