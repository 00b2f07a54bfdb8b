"""Moments accumulated in one pass: against direct sums, however the rows are cut, merged, folded and shifted."""

from dataclasses import fields

import numpy as np
import oracles
import pytest
from conftest import related
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from superpose.moments import Moments, accumulate, merge, of_pair, row_blocks, working_type
from superpose.moments.blocks import is_sparse


def direct(x, y, shift_x, shift_y):
    """Every sum, by its definition, for one fold."""
    x, y = x - shift_x, y - shift_y
    d, e = (x**2).sum(1), (y**2).sum(1)
    return {
        "x.total": x.sum(0),
        "x.diagonal": (x**2).sum(0),
        "x.square": x.T @ x,
        "x.norm": d.sum(),
        "x.norm_square": (d**2).sum(),
        "x.norm_total": d @ x,
        "y.square": y.T @ y,
        "y.norm_square": (e**2).sum(),
        "cross.product": x.T @ y,
        "cross.norms": d @ e,
        "cross.norm_y": d @ y,
        "cross.norm_x": e @ x,
    }


def check(result, expected, fold=0, tolerance=1e-10):
    for name, value in expected.items():
        part, sums = name.split(".")
        got = getattr(getattr(result, part), sums)[fold]
        assert_allclose(got, value, rtol=tolerance, atol=tolerance * max(1.0, np.abs(value).max()), err_msg=name)


def equal(first, second, tolerance=1e-10):
    for part in ("x", "y", "cross"):
        for field in fields(getattr(first, part)):
            if field.name in ("rows", "partners"):  # no sums
                continue
            a, b = (getattr(getattr(m, part), field.name) for m in (first, second))
            scale = max(1.0, np.abs(b).max(initial=0.0))
            assert_allclose(a, b, rtol=tolerance, atol=tolerance * scale, err_msg=f"{part}.{field.name}")


def codes(samples=60, latents=70, active=2, seed=0):
    """Rows that are mostly zeros, and as positive as a code."""
    draw = np.random.default_rng(seed)
    rows = draw.exponential(size=(samples, latents))
    return rows * (draw.permuted(np.arange(samples * latents) % latents < active).reshape(samples, latents))


SPARSE_PAIRS = {
    "codes": lambda: (codes(), codes(seed=1)),
    "codes and activity": lambda: (codes(), np.random.default_rng(2).normal(3, 1, (60, 5))),
    "activity and codes": lambda: (np.random.default_rng(2).normal(3, 1, (60, 5)), codes()),
}


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("make", SPARSE_PAIRS.values(), ids=SPARSE_PAIRS)
def test_sums_of_sparse_rows_are_their_definition(make, kind, small_chunks):
    x, y = (rows.astype(kind) for rows in make())
    assert any(is_sparse(rows) for rows in (x, y))
    folds = np.arange(60) % 2
    result = of_pair(x, y, folds)
    dense = kind == np.float32 and not all(is_sparse(rows) for rows in (x, y))
    for fold in range(2):
        rows = [a[folds == fold].astype(np.float64) for a in (x, y)]
        check(result, direct(*rows, result.x.shift, result.y.shift), fold, tolerance=1e-5 if dense else 1e-10)


def test_few_zeros_or_repeats_are_not_sparse():
    assert not is_sparse(codes(active=3))
    assert not is_sparse(codes()[None])


@pytest.fixture
def small_chunks(monkeypatch):
    """Cut 60 rows into several chunks (the library's own are of 256 rows and more)."""
    monkeypatch.setattr("superpose.moments.accumulation.chunk_rows", lambda systems: 7)


def test_every_sum_is_its_definition(pair):
    result = of_pair(*pair)
    check(result, direct(*pair, result.x.shift, result.y.shift))


def test_the_pilot_is_the_mean_of_the_first_chunk(pair, small_chunks):
    x, y = pair
    assert_allclose(of_pair(x, y).x.shift, x[:7].mean(0))


def test_chunks_change_nothing(pair, small_chunks):
    x, y = pair
    whole = of_pair(x, y).centred()
    check(whole, direct(x, y, x.mean(0), y.mean(0)))


@pytest.mark.parametrize("offset", [0.0, 1e3])
def test_streaming_with_an_offset_keeps_ten_digits(pair, small_chunks, offset):
    x, y = pair
    shifted = of_pair(x + offset, y - offset).centred()
    check(shifted, direct(x, y, x.mean(0), y.mean(0)), tolerance=1e-10 if offset == 0 else 1e-9)
    biased = oracles.biased_cka(x, y)
    c = shifted.cross.product[0]
    got = (c**2).sum() / np.linalg.norm(shifted.x.square[0]) / np.linalg.norm(shifted.y.square[0])
    assert abs(got - biased) < 1e-10


@given(st.integers(0, 2**31), st.floats(-50, 50), st.integers(1, 4))
def test_moving_the_shift_is_exact(seed, size, folds):
    x, y = related(25, 4, 3, seed=seed)
    label = np.arange(25) % folds
    draw = np.random.default_rng(seed)
    shift_x, shift_y = size * draw.normal(size=4), size * draw.normal(size=3)
    result = of_pair(x, y, label).about(shift_x, shift_y)
    for fold in range(folds):
        check(result, direct(x[label == fold], y[label == fold], shift_x, shift_y), fold, tolerance=1e-9)


@pytest.mark.parametrize("chunked", [False, True])
def test_folds_hold_their_own_rows_and_merge_to_the_whole(pair, chunked, monkeypatch):
    if chunked:
        monkeypatch.setattr("superpose.moments.accumulation.chunk_rows", lambda systems: 7)
    x, y = pair
    label = np.random.default_rng(0).integers(0, 4, len(x))
    by_fold = of_pair(x, y, label)
    for fold in range(4):
        rows = label == fold
        assert by_fold.x.samples[fold] == rows.sum()
        check(by_fold, direct(x[rows], y[rows], by_fold.x.shift, by_fold.y.shift), fold)
    equal(by_fold.merged(), of_pair(x, y))
    some = np.isin(label, (1, 3))
    check(by_fold.merged((1, 3)), direct(x[some], y[some], by_fold.x.shift, by_fold.y.shift))


def test_workers_merge_to_the_whole_about_a_common_pilot(pair):
    x, y = pair
    shifts = {"x": x[:5].mean(0), "y": y[:5].mean(0)}

    def part(rows):
        own, cross = accumulate({"x": x[rows], "y": y[rows]}, [("x", "y")], shifts=shifts)
        return Moments(own["x"], own["y"], cross["x", "y"])

    merged = merge(merge(part(slice(0, 11)), part(slice(11, 40))), part(slice(40, 60)))
    equal(merged, part(slice(None)))
    check(merged.centred(), direct(x, y, x.mean(0), y.mean(0)))


def test_sums_about_different_shifts_do_not_merge(pair):
    x, y = pair
    with pytest.raises(ValueError, match="about different shifts; pass the same `shifts` to both"):
        merge(of_pair(x[:30], y[:30]), of_pair(x[30:], y[30:]))


def test_swapping_is_the_pair_the_other_way(pair):
    x, y = pair
    equal(of_pair(x, y, np.arange(60) % 3).swapped(), of_pair(y, x, np.arange(60) % 3))


def test_a_pair_that_is_only_predicted_leaves_out_its_products(pair):
    x, y = pair
    full, lean = of_pair(x, y), of_pair(x, y, targets=("y",))
    assert lean.y.square.shape == (1, 0, 0)
    assert_allclose(lean.y.diagonal, full.y.diagonal)
    assert_allclose(lean.x.square, full.x.square)
    assert_allclose(lean.cross.product, full.cross.product)


def test_repeats_are_independent_pairs_and_broadcast():
    x, y = related(40, 4, 3, seed=1, repeats=(2, 3))
    result = of_pair(x, y[:1]).centred()
    for i, j in np.ndindex(2, 3):
        single = of_pair(x[i, j], y[0, j]).centred()
        assert_allclose(result.cross.product[0, i, j], single.cross.product[0])
        assert_allclose(result.cross.norms[0, i, j], single.cross.norms[0])
        assert_allclose(result.x.norm_square[0, i, j], single.x.norm_square[0])


def test_many_systems_are_read_once():
    class Counted(np.ndarray):
        reads = 0

        def __getitem__(self, index):
            Counted.reads += 1
            return np.asarray(super().__getitem__(index))

    draw = np.random.default_rng(0)
    systems = {name: draw.normal(size=(50, 3)).view(Counted) for name in "abcd"}
    shifts = {name: np.zeros(3) for name in systems}
    accumulate(systems, [("a", "b"), ("a", "c"), ("c", "d")], shifts=shifts)
    # Once for the sums, and two glances at the first rows of each.
    assert Counted.reads == 4 + 8


@given(st.integers(1, 50), st.integers(1, 12), st.integers(1, 5))
def test_row_blocks_cover_every_row_once_in_its_fold(samples, rows, folds):
    label = np.random.default_rng(samples).integers(0, folds, samples)
    seen = np.zeros(samples, dtype=int)
    for fold, index in row_blocks(samples, rows, label):
        positions = np.arange(samples)[index]
        assert len(positions) <= rows
        assert (label[positions] == fold).all()
        seen[positions] += 1
    assert (seen == 1).all()


@pytest.mark.parametrize(
    ("kind", "products"),
    [("<f8", np.float64), (">f8", np.float64), ("<f4", np.float32), (">f4", np.float32), ("<f2", np.float32)],
)
def test_products_have_the_precision_of_the_input(kind, products):
    assert working_type(np.zeros(2, dtype=kind)) is products


class TestFormulas:
    """Formulas on moments against samples × samples matrices, relative 1e-10."""

    @given(st.integers(0, 2**31), st.integers(4, 30), st.integers(1, 12), st.integers(1, 12))
    def test_against_naive(self, seed, samples, units_x, units_y):
        from superpose.metrics import CKA, CKA_DEBIASED, RSA

        x, y = related(samples, units_x, units_y, seed=seed)
        assert_allclose(CKA(x, y), oracles.biased_cka(x, y), rtol=1e-10)
        hsic = [oracles.hsic_by_matrices(a, b) for a, b in ((x, y), (x, x), (y, y))]
        if min(hsic[1:]) > 1e-3 * np.mean(np.diag(oracles.gram(x)) ** 2):
            assert_allclose(CKA_DEBIASED(x, y), hsic[0] / np.sqrt(hsic[1] * hsic[2]), rtol=1e-9, atol=1e-10)
        assert_allclose(RSA(x, y), oracles.pearson_rsa(x, y), rtol=1e-9, atol=1e-10)

    def test_the_oracle_tells_an_uncentred_implementation(self, frozen, monkeypatch):
        from superpose.metrics import CKA, RSA, kernels

        x, y = (z + 2 for z in frozen)
        correct = oracles.biased_cka(x, y), oracles.pearson_rsa(x, y)
        assert_allclose((CKA(x, y), RSA(x, y)), correct, rtol=1e-12)
        monkeypatch.setattr("superpose.moments.accumulation.pilot", lambda x, rows: np.zeros(x.shape[-1]))
        assert_allclose((CKA(x, y), RSA(x, y)), correct, rtol=1e-12)
        monkeypatch.setattr(kernels, "_about_means", lambda c, x, y: ((c.product[0] ** 2).sum(), c.norms[0]))
        faulty = float(CKA(x, y)), float(RSA(x, y))
        assert np.all(np.abs(np.subtract(faulty, correct)) > 0.01)
