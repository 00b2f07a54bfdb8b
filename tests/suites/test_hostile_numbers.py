"""Input as it comes: what is refused, what is taken, and that nothing is ever written to."""

import re
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import related
from numpy.testing import assert_allclose

import superpose as sp
from superpose.files import DataError
from superpose.metrics import ALL


def compared(x, y):
    return sp.compare({"x": x, "y": y}, permutations=2).score.to_numpy()


FUNCTIONS = {
    **{metric.name: metric for metric in ALL},
    "rsa euclidean": partial(sp.rsa, rdm="euclidean"),
    "rsa correlation": partial(sp.rsa, rdm="correlation"),
    "rsa spearman": partial(sp.rsa, comparator="spearman"),
    "rsa uncentred": partial(sp.rsa, centre=False),
    "ridge": partial(sp.regression, ridge=1.0),
    "compare": compared,
}
everywhere = pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS)


def small():
    return related(40, 5, 4, seed=0)


@everywhere
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("side", [0, 1])
def test_values_that_are_not_finite(function, value, side):
    systems = small()
    systems[side][31, 2] = value
    name = "xy"[side]
    with pytest.raises(DataError, match=rf"^{name} has 1 NaN or infinite value\(s\), .* at row 31, unit 2; remove"):
        function(*systems)


@everywhere
@pytest.mark.parametrize(("kind", "value", "limit"), [(np.float64, -1e270, "1e+60"), (np.float32, 1e30, "1e+15")])
def test_values_whose_products_overflow(function, kind, value, limit):
    x, y = (z.astype(kind) for z in small())
    y[7, 1] = value
    words = (
        rf"^y has 1 value\(s\) beyond {re.escape(limit)}, whose products overflow, .* at row 7, unit 1; .* or rescale"
    )
    with pytest.raises(DataError, match=words):
        function(x, y)


@everywhere
@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (np.ones((40, 2)) * 1j, "x holds complex numbers; expected real numbers. Convert them"),
        (np.full((40, 2), "a"), "x holds text"),
        (np.array([[1.0, None]] * 40, dtype=object), "x holds Python objects"),
        (np.array([["2020-01-01"] * 2] * 40, dtype="datetime64[s]"), "x holds values of type datetime64"),
        (np.ones(40), r"x has 1 dimension\(s\), shape \(40,\); expected \(samples, units\)"),
        (3.0, r"x has 0 dimension\(s\)"),
        (np.ones((0, 2)), r"x is empty, shape \(0, 2\)"),
        (np.ones((40, 0)), r"x is empty, shape \(40, 0\)"),
        (np.ones((0, 40, 2)), r"x is empty, shape \(0, 40, 2\)"),
        ([[1.0, 2.0], [3.0]] * 20, "x is not a rectangular array of numbers"),
        (None, "x holds Python objects"),
        ("responses.npy", "x holds text"),
        ({"a": 1}, "x holds Python objects"),
        (np.ma.masked_greater(np.arange(80.0).reshape(40, 2), 70), r"x has 9 masked value\(s\); remove those samples"),
        (np.ones((40, 2)), "x does not vary: every unit is constant"),
        (np.random.default_rng(0).normal(size=(39, 2)), "x has 39 samples and y has 40; every system must have seen"),
    ],
)
def test_what_is_refused(function, bad, words):
    with pytest.raises(DataError, match=words):
        function(bad, small()[1])


@everywhere
@pytest.mark.parametrize("samples", [1, 2])
def test_too_few_samples(function, samples):
    x, y = related(samples, 3, 2, seed=0)
    with pytest.raises(DataError, match=r"samples? are too few|sample\(s\) are too few|does not vary"):
        function(x, y)


@everywhere
@pytest.mark.parametrize(
    "kind", [np.float16, np.float32, ">f4", ">f8", np.longdouble, np.int8, np.int64, np.uint16, bool]
)
def test_every_kind_of_real_number(function, kind):
    x, y = (np.clip(np.round(10 * z) + 40, 0, 120) for z in small())
    x, y = (z > 40 for z in (x, y)) if kind is bool else (x, y)
    for z in (x, y):
        z[:, 0], z[:, 1] = 0, 1
    expected = function(x.astype(np.float64), y.astype(np.float64))
    short = np.dtype(kind) in (np.dtype(np.float16), np.dtype(np.float32), np.dtype(">f4"))
    tolerance = 1e-5 if short else 1e-12
    if short and function is FUNCTIONS["rsa spearman"]:
        # Inner products of integers tie, and their rounding once centred breaks the ties.
        tolerance = 0.02
    assert_allclose(function(x.astype(kind), y.astype(kind)), expected, atol=tolerance)


@pytest.mark.parametrize("kind", [">f8", np.longdouble])
def test_long_floats_lose_nothing_to_a_large_offset(kind):
    x, y = small()
    assert_allclose(sp.cka((x + 1e6).astype(kind), y), sp.cka(x, y), rtol=1e-7)


@everywhere
def test_layouts(function):
    x, y = small()
    expected = function(x, y)
    wide = np.zeros((80, 10))
    wide[::2, 1::2] = x
    for view in (np.asfortranarray(x), wide[::2, 1::2], np.ascontiguousarray(x[::-1])[::-1], np.matrix(x)):
        assert_allclose(function(view, y), expected, rtol=1e-9)
    frame = pd.DataFrame(x, columns=list("abcde"))
    assert_allclose(function(frame, y.tolist()), expected, rtol=1e-9)


@everywhere
def test_nothing_is_written_to(function):
    systems = small()
    before = [z.copy() for z in systems]
    for z in systems:
        z.flags.writeable = False
    function(*systems)
    assert all(np.array_equal(a, b) for a, b in zip(systems, before, strict=True))
    tensors = [torch.tensor(z) for z in before]
    function(*tensors)
    assert all(np.array_equal(a.numpy(), b) for a, b in zip(tensors, before, strict=True))


@everywhere
def test_memory_maps(function, tmp_path):
    systems = small()
    mapped = []
    for name, z in zip("xy", systems, strict=True):
        np.save(tmp_path / name, z)
        mapped.append(np.load(tmp_path / f"{name}.npy", mmap_mode="r"))
    assert_allclose(function(*mapped), function(*systems), rtol=1e-12)


@pytest.mark.parametrize("name", [name for name in FUNCTIONS if name != "compare"])
@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.int64])
def test_tensors_of_every_kind_give_tensors(name, kind):
    # Not on a grid where centred products tie, since ties are broken by the rounding of float32.
    x, y = (torch.round(torch.tensor(99 * z)) for z in small())
    got = FUNCTIONS[name](x.to(kind), y.to(kind))
    assert isinstance(got, torch.Tensor)
    assert got.device == x.device
    expected = FUNCTIONS[name](x.to(kind).double().numpy(), y.to(kind).double().numpy())
    assert abs(float(got) - float(expected)) < 1e-5


@everywhere
def test_constant_units_among_others(function):
    x, y = small()
    padded = np.hstack([x, np.full((40, 2), 0.1)])
    result = function(padded, y)
    assert np.isfinite(result).all()
    if function is not FUNCTIONS["rsa correlation"]:
        plain = function(x, y)
        tolerance = 0.05 if function is FUNCTIONS["rsa uncentred"] else 1e-9
        assert_allclose(result, plain, atol=tolerance)


@everywhere
def test_more_units_than_samples(function):
    x, y = related(12, 100, 80, seed=0)
    result = np.asarray(function(x, y), dtype=float)
    if function in [FUNCTIONS[name] for name in ("ols_r", "ols_r2", "ols_r_units", "cca")]:
        assert np.isnan(result).all()
    else:
        assert np.isfinite(result).all()


@everywhere
@pytest.mark.parametrize("size", [1e-12, 1e9])
@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_very_small_and_very_large_values(function, size, kind):
    if function is FUNCTIONS["ridge"]:
        return
    x, y = (z.astype(kind) for z in small())
    expected = function(x, y)
    assert_allclose(function((x * size).astype(kind), y), expected, atol=1e-9 if kind is np.float64 else 1e-5)


@everywhere
def test_one_unit_a_system(function):
    if function is FUNCTIONS["rsa correlation"]:
        return
    x, y = related(40, 1, 1, seed=0)
    assert np.isfinite(function(x, y)).all()


def test_repeated_samples_are_no_error():
    x, y = small()
    assert np.isfinite(compared(np.repeat(x, 3, axis=0), np.repeat(y, 3, axis=0))).all()
