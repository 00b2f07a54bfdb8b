"""Sparse recovery against scikit-learn and least squares; conditioning against enumeration and published bounds."""

from __future__ import annotations

import itertools
import math
import warnings

import numpy as np
import pytest
import torch
from scipy.linalg import hadamard
from scipy.optimize import nnls
from sklearn.linear_model import orthogonal_mp

from superpose import systems
from superpose.dictionaries.coding import (
    coherence,
    coherence_guarantee,
    conditioning,
    matched_filter,
    nonnegative_omp,
    omp,
    pursuit,
    refit,
    restricted_isometry,
    welch_bound,
)
from superpose.files import DataError
from superpose.metrics import regression


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


def normalised(dictionary: np.ndarray) -> np.ndarray:
    return dictionary / np.linalg.norm(dictionary, axis=-2, keepdims=True)


def sklearn_omp(y, dictionary, active):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        found = orthogonal_mp(normalised(dictionary), y.T, n_nonzero_coefs=active)
    return found.reshape(dictionary.shape[1], len(y)).T / np.linalg.norm(dictionary, axis=0)


# ------------------------------------------------------------------------------------------- coherence


def test_coherence_is_the_largest_cosine_of_two_columns():
    d = random(3, 7, 20) * np.exp(random(20, seed=1))
    expected = [
        max(abs(a @ b) / np.linalg.norm(a) / np.linalg.norm(b) for a, b in itertools.combinations(matrix.T, 2))
        for matrix in d
    ]
    found = coherence(d)
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    assert coherence(d[0]) == found[0]


def test_coherence_does_not_depend_on_lengths_signs_or_chunks(monkeypatch):
    d = random(6, 50)
    whole = coherence(d)
    signs = np.where(random(50, seed=2) > 0, 1, -1)
    np.testing.assert_allclose(coherence(d * signs * np.logspace(-200, 200, 50)), whole, rtol=1e-12)
    monkeypatch.setattr(conditioning, "CHUNK", 150)
    np.testing.assert_allclose(coherence(d), whole, rtol=1e-12)


def test_coherence_of_parallel_orthogonal_single_and_zero_columns():
    assert coherence(np.eye(4)) == 0
    assert coherence(np.array([[1.0, -3], [2, -6], [0.5, -1.5]])) == pytest.approx(1, abs=1e-15)
    assert coherence(np.array([[1.0], [2.0]])) == 0
    assert coherence(np.array([[1.0, 0.0, 3.0], [0.0, 0.0, 4.0]])) == pytest.approx(0.6)
    for seed in range(20):
        parallel = np.repeat(random(9, 1, seed=seed), 2, axis=1)
        assert coherence(parallel) <= 1


@pytest.mark.parametrize("units", [2, 5, 16, 40])
def test_coherence_is_never_under_the_welch_bound(units):
    d = systems.gaussian_projection(units, 40, repeats=(30,), generator=seeded(units)).numpy()
    assert (coherence(d) >= welch_bound(units, 40)).all()


def test_equiangular_frames_reach_the_welch_bound():
    angles = 2 * np.pi * np.arange(3) / 3
    mercedes = np.stack([np.cos(angles), np.sin(angles)])
    assert coherence(mercedes) == pytest.approx(welch_bound(2, 3), rel=1e-12)
    for units in (3, 10):
        simplex = np.linalg.svd(np.eye(units + 1) - 1 / (units + 1))[0][:, :units].T
        assert coherence(simplex) == pytest.approx(welch_bound(units, units + 1), rel=1e-12)
    golden = (1 + math.sqrt(5)) / 2
    icosahedron = np.array([[0, 1, golden], [0, 1, -golden], [1, golden, 0], [1, -golden, 0], [golden, 0, 1]])
    icosahedron = np.vstack([icosahedron, [golden, 0, -1]]).T
    assert coherence(icosahedron) == pytest.approx(welch_bound(3, 6), rel=1e-12)


def test_welch_bound_takes_arrays_and_is_zero_without_superposition():
    np.testing.assert_allclose(welch_bound([24, 64, 100], 64), [math.sqrt(40 / (24 * 63)), 0, 0], rtol=1e-15)
    assert welch_bound(1, 1) == 0
    assert welch_bound(1, 2) == 1


def test_guarantee_is_the_largest_integer_under_the_bound():
    np.testing.assert_array_equal(coherence_guarantee([0, 1, 0.9, 0.34, 0.33, 0.13]), [math.inf, 0, 1, 1, 2, 4])
    # μ = 1/(2k − 1) gives the bound k itself, which k must stay under.
    for k in range(1, 200):
        assert coherence_guarantee(1 / (2 * k - 1)) == k - 1
        assert coherence_guarantee(0.999 / (2 * k - 1)) == k
    assert coherence_guarantee(np.nextafter(1 / 3, 0)) == 1


def test_as_many_latents_as_guaranteed_are_recovered_whatever_they_are():
    # Spikes and Walsh functions: coherence 1/8, so that 4 of 128 latents are sure to be recovered.
    d = np.hstack([np.eye(64), hadamard(64) / 8])
    assert coherence(d) == 1 / 8
    active = int(coherence_guarantee(coherence(d)))
    assert active == 4
    stream = np.random.default_rng(0)
    z = np.zeros((3000, 128))
    for row in z:
        row[stream.choice(128, active, replace=False)] = stream.normal(size=active) * 10.0 ** stream.integers(-3, 3)
    np.testing.assert_allclose(omp(z @ d.T, d, active), z, rtol=0, atol=1e-9)


# --------------------------------------------------------------------------------- restricted isometry


def every_support(dictionary, active):
    """δ_k by its definition: the singular values of all sub-matrices."""
    scaled = dictionary / np.sqrt((dictionary**2).sum(0).mean())
    return max(
        np.abs(np.linalg.svd(scaled[:, list(support)], compute_uv=False) ** 2 - 1).max()
        for support in itertools.combinations(range(dictionary.shape[1]), active)
    )


@pytest.mark.parametrize("active", [1, 2, 3, 4])
def test_estimate_never_exceeds_the_constant_and_reaches_it(active):
    d = random(5, 8, seed=active)
    exact = every_support(d, active)
    few = [restricted_isometry(d, active, draws=2, generator=seeded(s)) for s in range(30)]
    assert max(few) <= exact + 1e-12
    assert min(few) < exact - 1e-3
    # 8 choose 4 is 70: the chance that 3000 draws miss the worst support is under 1e-18.
    assert restricted_isometry(d, active, draws=3000, generator=seeded()) == pytest.approx(exact, rel=1e-12)


def test_single_columns_give_the_spread_of_lengths():
    d = np.diag([1.0, 2.0, 3.0])
    assert restricted_isometry(d, 1, draws=200, generator=seeded()) == pytest.approx(9 / (14 / 3) - 1, rel=1e-12)
    d = np.diag([1.0, 0.1, 1.0])
    assert restricted_isometry(d, 1, draws=200, generator=seeded()) == pytest.approx(1 - 0.01 / 0.67, rel=1e-12)


def test_orthonormal_square_is_an_isometry():
    q = np.linalg.qr(random(12, 12))[0]
    for active in (1, 5, 12):
        assert restricted_isometry(q, active, draws=50) < 1e-13


def test_more_columns_than_units_have_a_null_space():
    d = random(4, 9)
    assert restricted_isometry(d, 5, draws=10) >= 1 - 1e-12


def test_scale_does_not_matter():
    d = random(10, 30)
    base = restricted_isometry(d, 3, generator=seeded())
    for scale in (3.7, -1e-200, 1e200):
        assert restricted_isometry(scale * d, 3, generator=seeded()) == pytest.approx(base, rel=1e-12)


def test_mean_estimate_falls_with_units():
    found = np.stack(
        [
            restricted_isometry(
                systems.gaussian_projection(m, 64, repeats=(20,), generator=seeded(m)).numpy(),
                4,
                draws=200,
                generator=seeded(),
            )
            for m in (16, 24, 32, 48)
        ]
    )
    mean, error = found.mean(1), found.std(1, ddof=1) / math.sqrt(20)
    assert (np.diff(mean) < -4 * np.hypot(error[1:], error[:-1])).all(), (mean, error)


def test_draws_and_repeats_extend():
    d = systems.gaussian_projection(10, 40, repeats=(2, 3), generator=seeded()).numpy()
    whole = restricted_isometry(d, 3, draws=40, generator=seeded(1))
    assert whole.shape == (2, 3)
    np.testing.assert_array_equal(restricted_isometry(d[0, :2], 3, draws=40, generator=seeded(1)), whole[0, :2])
    np.testing.assert_array_equal(restricted_isometry(d[0, 0], 3, draws=40, generator=seeded(1)), whole[0, 0])
    same = np.stack([d[0, 0]] * 2)
    assert np.diff(restricted_isometry(same, 3, draws=5, generator=seeded(1))) != 0
    estimates = [restricted_isometry(d, 3, draws=draws, generator=seeded(1)) for draws in (1, 3, 10, 30, 100)]
    assert (np.diff(estimates, axis=0) >= 0).all()
    assert (estimates[-1] > estimates[0]).any()


def test_chunks_do_not_change_the_estimate(monkeypatch):
    d = random(10, 40)
    whole = restricted_isometry(d, 3, draws=101, generator=seeded())
    monkeypatch.setattr(conditioning, "CHUNK", 1000)
    assert restricted_isometry(d, 3, draws=101, generator=seeded()) == pytest.approx(whole, rel=1e-12)


def test_generator_advances_by_one_integer_and_the_global_state_stays():
    used, counted = seeded(3), seeded(3)
    d = random(4, 6, 30)
    first = restricted_isometry(d, 2, draws=3, generator=used)
    torch.randint(2**62, (), generator=counted)
    assert torch.equal(used.get_state(), counted.get_state())
    assert (first != restricted_isometry(d, 2, draws=3, generator=used)).any()
    before = torch.random.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    fresh = restricted_isometry(d, 2, draws=3)
    assert (fresh != restricted_isometry(d, 2, draws=3)).any()
    assert torch.equal(torch.random.get_rng_state(), before[0])
    assert (np.random.get_state()[1] == before[1]).all()  # noqa: NPY002


# -------------------------------------------------------------------------------- matching pursuit


@pytest.mark.parametrize(
    ("units", "latents", "active"), [(24, 64, 4), (24, 64, 24), (10, 300, 6), (40, 15, 15), (5, 5, 1)]
)
def test_omp_agrees_with_scikit_learn(units, latents, active):
    d = random(units, latents, seed=units) * np.exp(random(latents, seed=1))
    y = random(200, units, seed=2)
    ours, theirs = omp(y, d, active), sklearn_omp(y, d, active)
    np.testing.assert_array_equal(ours != 0, theirs != 0)
    assert ((ours != 0).sum(1) == active).all()
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-10 * np.abs(theirs).max())


def test_omp_agrees_with_scikit_learn_on_sparse_latents():
    z = systems.sparse_latents(500, 64, 4, generator=seeded()).double().numpy()
    d = systems.gaussian_projection(24, 64, generator=seeded(1)).double().numpy()
    np.testing.assert_allclose(omp(z @ d.T, d, 4), sklearn_omp(z @ d.T, d, 4), rtol=0, atol=1e-10)


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_omp_refits_by_least_squares(kind):
    d, y = random(12, 30).astype(kind), random(60, 12, seed=1).astype(kind)
    codes = omp(y, d, 5)
    assert codes.dtype == kind
    for sample, code in zip(y.astype(float), codes, strict=True):
        support = np.flatnonzero(code)
        expected = np.linalg.lstsq(d[:, support].astype(float), sample, rcond=None)[0]
        np.testing.assert_allclose(code[support], expected, rtol=0, atol=1e3 * np.finfo(kind).eps)


def test_one_atom_is_the_closest_direction():
    d, y = random(6, 20), random(100, 6, seed=1)
    codes = omp(y, d, 1)
    errors = [((y - np.outer(y @ a / (a @ a), a)) ** 2).sum(1) for a in d.T]
    np.testing.assert_array_equal(codes.astype(bool).argmax(1), np.argmin(errors, axis=0))
    np.testing.assert_allclose(codes, matched_filter(y, d, 1), rtol=1e-12)


def test_as_many_atoms_as_units_explain_everything():
    d, y = random(8, 30), random(50, 8, seed=1)
    np.testing.assert_allclose(omp(y, d, 8) @ d.T, y, rtol=0, atol=1e-10)


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_explained_samples_get_no_more_atoms(kind):
    d = np.hstack([np.eye(8), random(8, 12)]).astype(kind)
    y = np.zeros((4, 8), dtype=kind)
    y[1, 2] = 3
    y[2, [1, 6]] = 4, -5
    y[3] = 2 * d[:, 9]
    codes = omp(y, d, 6)
    assert not codes[0].any()
    np.testing.assert_array_equal(np.flatnonzero(codes[1]), [2])
    np.testing.assert_array_equal(np.flatnonzero(codes[3]), [9])
    np.testing.assert_allclose(codes @ d.T, y, rtol=0, atol=50 * np.finfo(kind).eps)
    planted = random(500, 20, seed=5) * (np.arange(20) == np.arange(500)[:, None] % 20)
    found = omp((planted @ d.T).astype(kind), d, 7)
    np.testing.assert_array_equal(found != 0, planted != 0)


def test_zero_columns_are_never_chosen():
    d = random(6, 10)
    d[:, [0, 4]] = 0
    y = random(50, 6, seed=1)
    kept = [j for j in range(10) if j not in (0, 4)]
    for encode in (omp, matched_filter, nonnegative_omp):
        codes = encode(y, d, 6)
        assert not codes[:, [0, 4]].any()
        np.testing.assert_allclose(codes[:, kept], encode(y, d[:, kept], 6), rtol=1e-10, atol=1e-12)
    assert not omp(y, np.zeros((6, 3)), 2).any()


def test_dependent_columns_are_skipped():
    d = random(6, 9)
    copies = np.hstack([d, -3 * d, d[:, :3] + d[:, 3:6]])
    y = random(200, 6, seed=1)
    codes = omp(y, copies, 6)
    for code in codes:
        support = np.flatnonzero(code)
        assert np.linalg.matrix_rank(copies[:, support]) == len(support)
    np.testing.assert_allclose(codes @ copies.T, y, rtol=0, atol=1e-9)
    # The second column differs from the first by 1e-9 alone; it would explain the sample with a code of -1e9.
    twins = np.array([[1.0, 1.0, 0.0], [0.0, -1e-9, 0.0], [0.0, 0.0, 1.0]])
    np.testing.assert_allclose(omp(np.array([[1.0, 1.0, 1e-10]]), twins, 2), [[1, 0, 1e-10]], rtol=1e-12)


def test_a_plane_needs_two_columns():
    y = random(200, 6, seed=1)
    plane = np.vstack([random(2, 9), np.zeros((4, 9))])
    codes = omp(y, plane, 5)
    assert ((codes != 0).sum(1) == 2).all()
    np.testing.assert_allclose((codes @ plane.T)[:, :2], y[:, :2], rtol=0, atol=1e-10)


@pytest.mark.parametrize("scale", [1e-300, 1e-12, 1e9, 1e250])
def test_codes_follow_the_scale_of_activity_and_dictionary(scale):
    d, y = random(12, 30), random(40, 12, seed=1)
    for encode in (omp, matched_filter, nonnegative_omp):
        base = encode(y, d, 4)
        np.testing.assert_allclose(encode(scale * y, d, 4) / scale, base, rtol=1e-9)
        np.testing.assert_allclose(encode(y, d / scale, 4) / scale, base, rtol=1e-9)


@pytest.mark.parametrize("encode", [omp, matched_filter, nonnegative_omp])
def test_repeats_broadcast(encode):
    d, y = random(2, 3, 6, 12), random(3, 20, 6, seed=1)
    codes = encode(y, d, 3)
    assert codes.shape == (2, 3, 20, 12)
    for i, j in itertools.product(range(2), range(3)):
        np.testing.assert_array_equal(codes[i, j], encode(y[j], d[i, j], 3))
    np.testing.assert_array_equal(encode(y, d[0, 0], 3)[2], encode(y[2], d[0, 0], 3))


@pytest.mark.parametrize("encode", [omp, matched_filter, nonnegative_omp])
def test_chunks_do_not_change_codes(encode, monkeypatch):
    d, y = random(12, 30), random(101, 12, seed=1)
    whole = encode(y, d, 4)
    monkeypatch.setattr(pursuit, "CHUNK", 700)
    np.testing.assert_allclose(encode(y, d, 4), whole, rtol=1e-10, atol=1e-12)


def test_matched_filter_keeps_the_strongest_projections():
    d, y = random(7, 25) * np.exp(random(25, seed=3)), random(80, 7, seed=1)
    codes = matched_filter(y, d, 4)
    for sample, code in zip(y, codes, strict=True):
        strength = [abs(sample @ a) / np.linalg.norm(a) for a in d.T]
        expected = np.zeros(25)
        for j in np.argsort(strength)[-4:]:
            expected[j] = sample @ d[:, j] / (d[:, j] @ d[:, j])
        np.testing.assert_allclose(code, expected, rtol=1e-11)
    everything = matched_filter(y, d, 25)
    np.testing.assert_allclose(everything, y @ d / (d**2).sum(0), rtol=1e-11)


def test_orthonormal_dictionaries_need_no_pursuit():
    q = np.linalg.qr(random(9, 9))[0]
    y = random(50, 9, seed=1)
    np.testing.assert_allclose(omp(y, q, 4), matched_filter(y, q, 4), rtol=1e-10, atol=1e-14)


# ------------------------------------------------------------------------------------- amounts


def supports(samples, latents, most, seed=0):
    """Codes with from 0 to `most` active values a row, of either sign."""
    stream = np.random.default_rng(seed)
    codes = np.zeros((samples, latents))
    for row in codes:
        held = stream.choice(latents, stream.integers(0, most + 1), replace=False)
        row[held] = stream.normal(size=len(held))
    return codes


def row_by_row(y, dictionary, codes):
    fitted = np.zeros(codes.shape)
    for sample, code, row in zip(y, codes, fitted, strict=True):
        held = np.flatnonzero(code)
        row[held] = nnls(dictionary[:, held], sample)[0] if len(held) else 0
    return fitted


@pytest.mark.parametrize(
    ("units", "latents", "most"), [(24, 64, 4), (32, 64, 16), (64, 100, 64), (5, 5, 1), (3000, 9, 9)]
)
def test_refit_is_scipys_nonnegative_fit_on_each_support(units, latents, most):
    d = random(units, latents) * np.exp(random(latents, seed=1))
    codes = supports(150, latents, most)
    exact = np.maximum(codes, 0) @ d.T  # half of each support is superfluous
    for y in (random(150, units, seed=2), exact, exact + 0.1 * random(150, units, seed=3)):
        fitted, expected = refit(y, d, codes), row_by_row(y, d, codes)
        np.testing.assert_allclose(fitted, expected, rtol=0, atol=1e-8)
        assert (fitted >= 0).all()
        assert not fitted[codes == 0].any()
    np.testing.assert_allclose(refit(exact, d, codes), np.maximum(codes, 0), rtol=0, atol=1e-8)


def test_refit_leaves_no_better_amounts():
    d, y, codes = random(20, 50), random(100, 20, seed=1), supports(100, 50, 12)
    fitted = refit(y, d, codes)
    slope = (y - fitted @ d.T) @ d
    assert slope[codes != 0].max() < 1e-10
    np.testing.assert_allclose(slope[fitted > 1e-10], 0, atol=1e-10)


def test_refit_of_dependent_columns_is_as_close_as_any():
    plane = random(30, 3) @ random(3, 40, seed=1)
    opposite = np.hstack([random(30, 20), -random(30, 20)])
    near = random(30, 1) + 1e-7 * random(30, 40, seed=1)
    zeros = random(30, 40) * (np.arange(40) % 3 > 0)
    wide = random(8, 40)
    for d in (plane, opposite, near, zeros, wide, np.repeat(random(30, 1), 40, axis=1)):
        y, codes = random(50, len(d), seed=2), supports(50, 40, 30)
        fitted, expected = refit(y, d, codes), row_by_row(y, d, codes)
        assert (fitted >= 0).all()
        assert not fitted[codes == 0].any()
        errors = [np.linalg.norm(y - found @ d.T, axis=1) for found in (fitted, expected)]
        # Not the same: SciPy stops short on a few such rows.
        assert (errors[0] <= errors[1] + 1e-10).all()


def test_rows_that_do_not_settle_are_solved_one_by_one(monkeypatch):
    d, y, codes = random(24, 64), random(100, 24, seed=1), supports(100, 64, 12)
    whole = refit(y, d, codes)
    monkeypatch.setattr(pursuit, "EXCHANGES", 1)
    np.testing.assert_allclose(refit(y, d, codes), whole, rtol=0, atol=1e-12)


def test_refit_of_empty_supports_and_samples():
    d, y = random(6, 12), random(20, 6, seed=1)
    assert not refit(y, d, np.zeros((20, 12))).any()
    assert not refit(0 * y, d, np.ones((20, 12))).any()


def test_refit_repeats_broadcast():
    d, y, codes = random(2, 1, 6, 12), random(3, 20, 6, seed=1), supports(20, 12, 4)
    fitted = refit(y, d, codes)
    assert fitted.shape == (2, 3, 20, 12)
    for i, j in itertools.product(range(2), range(3)):
        np.testing.assert_array_equal(fitted[i, j], refit(y[j], d[i, 0], codes))
    assert refit(y[0], d[0, 0], np.stack([codes] * 5)).shape == (5, 20, 12)


def test_refit_in_chunks_scales_and_types(monkeypatch):
    d, y, codes = random(12, 30), random(101, 12, seed=1), supports(101, 30, 5)
    whole = refit(y, d, codes)
    for scale in (1e-300, 1e-12, 1e250):
        np.testing.assert_allclose(refit(scale * y, d, 3 * codes) / scale, whole, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(refit(y, d / scale, -codes) / scale, whole, rtol=1e-9, atol=1e-12)
    narrow = refit(y.astype(np.float32), d.astype(np.float32), codes)
    assert narrow.dtype == np.float32
    np.testing.assert_allclose(narrow, whole, rtol=0, atol=1e-4)
    tensor = refit(torch.as_tensor(y), torch.as_tensor(d), torch.as_tensor(codes))
    assert isinstance(tensor, torch.Tensor)
    assert torch.equal(tensor, torch.as_tensor(whole))
    monkeypatch.setattr(pursuit, "CHUNK", 700)
    np.testing.assert_allclose(refit(y, d, codes), whole, rtol=1e-10, atol=1e-12)


def test_nonnegative_pursuit_is_its_plain_version():
    d, y = random(10, 40) * np.exp(random(40, seed=3)), random(60, 10, seed=1)
    expected = np.zeros((60, 40))
    for sample, row in zip(y, expected, strict=True):
        held = []
        for _ in range(6):
            gain = (sample - d @ row) @ normalised(d)
            gain[held] = -np.inf
            if gain.max() < 1e-10:
                break
            held.append(int(gain.argmax()))
            row[held] = nnls(d[:, held], sample)[0]
    np.testing.assert_allclose(nonnegative_omp(y, d, 6), expected, rtol=0, atol=1e-9)


def test_nonnegative_pursuit_of_positive_latents_beats_the_signed_one():
    z = systems.sparse_latents(2000, 64, 4, generator=seeded()).double().numpy()
    d = systems.gaussian_projection(24, 64, generator=seeded(1)).double().numpy()
    codes = nonnegative_omp(z @ d.T, d, 4)
    assert (codes >= 0).all()
    assert ((codes != 0).sum(1) <= 4).all()
    assert pooled(z, codes) > pooled(z, omp(z @ d.T, d, 4)) + 0.03


# ----------------------------------------------------------------------------- recovery of planted latents


def pooled(x, y):
    x, y = x - x.mean(0), y - y.mean(0)
    return (x * y).sum() / math.sqrt((x**2).sum() * (y**2).sum())


def recovered(units, repeats=10, samples=2000):
    """Per repeat, the correlation of pursuit's and of the filter's codes with the latents, and of two systems' codes.

    The latents are 4 of 64, uniform, and the dictionaries the true Gaussian projections of two systems.
    """
    draw = seeded(units)
    z = systems.sparse_latents(samples, 64, 4, repeats=(repeats,), generator=draw).double()
    a, b = (systems.gaussian_projection(units, 64, repeats=(repeats,), generator=draw).double() for _ in "ab")
    y_a, y_b = systems.respond(z, a), systems.respond(z, b)
    first, second = omp(y_a, a, 4), omp(y_b, b, 4)
    filtered = matched_filter(y_a, a, 4)
    return np.array(
        [
            (pooled(z[r], first[r]), pooled(z[r], filtered[r]), float(regression(first[r], second[r], cv=5)))
            for r in range(repeats)
        ]
    ).T


@pytest.mark.parametrize(
    ("units", "pursued", "filtered", "between"),
    [(16, 0.602, 0.497, 0.383), (24, 0.911, 0.656, 0.831), (32, 0.984, 0.762, 0.968), (48, 0.999, 0.885, 0.998)],
)
def test_recovery_with_the_true_dictionary(units, pursued, filtered, between):
    # Expected: means over 20 dictionaries of NumPy's, 2000 samples each, with scikit-learn's pursuit and regression.
    found = recovered(units)
    spread = found.std(axis=1, ddof=1)
    assert (spread < 0.03).all(), spread
    error = 4 * spread * math.sqrt(1 / 10 + 1 / 20) + 0.0005
    assert (np.abs(found.mean(1) - [pursued, filtered, between]) < error).all(), (found.mean(1), error)
    assert (found[0] > found[1] + 0.05).all()


def test_recovery_improves_with_units_and_reaches_the_ceiling():
    found = {units: recovered(units, repeats=5)[[0, 2]] for units in (16, 24, 32, 48)}
    means = np.array([found[units].mean(1) for units in found])
    assert (np.diff(means, axis=0) > 0).all()
    assert (found[32] > 0.95).all()
    assert (found[48] > 0.99).all()


# ---------------------------------------------------------------------------------------- tensors and types


def test_tensors_give_tensors():
    d, y = torch.as_tensor(random(2, 6, 12)), torch.as_tensor(random(20, 6, seed=1))
    for encode in (omp, matched_filter, nonnegative_omp):
        codes = encode(y, d, 3)
        assert isinstance(codes, torch.Tensor)
        assert codes.dtype == torch.float64
        assert torch.equal(codes, torch.as_tensor(encode(y.numpy(), d.numpy(), 3)))
        assert encode(y.float(), d.float(), 3).dtype == torch.float32
        assert encode(y.bfloat16(), d.bfloat16(), 3).dtype == torch.float32
    assert torch.equal(coherence(d), torch.as_tensor(coherence(d.numpy())))
    estimate = restricted_isometry(d, 2, draws=9, generator=seeded())
    assert torch.equal(estimate, torch.as_tensor(restricted_isometry(d.numpy(), 2, draws=9, generator=seeded())))
    assert coherence_guarantee(torch.tensor([0.25, 0.5])).tolist() == [2, 1]


def test_types_of_codes():
    y, d = random(5, 4), random(4, 6)
    assert omp(y.astype(np.float16), d.astype(np.float16), 2).dtype == np.float32
    assert omp(y.astype(np.float32), d, 2).dtype == np.float64
    assert omp((9 * y).astype(int), (9 * d).astype(np.float32), 2).dtype == np.float64
    assert omp(y.tolist(), d.tolist(), 2).dtype == np.float64


# ------------------------------------------------------------------------------------------------- refusals


D = random(4, 6)
Y = random(5, 4)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: coherence(D.astype(complex)), "dictionary holds values of type complex128; expected real numbers"),
        (lambda: coherence(D[0]), r"dictionary has shape \(6,\); expected \(…, units, latents\), none of them empty"),
        (lambda: coherence(D[:, :0]), r"dictionary has shape \(4, 0\); expected \(…, units, latents\)"),
        (
            lambda: coherence(np.where(D > 1, np.nan, D)),
            r"dictionary has \d+ NaN or infinite value\(s\); expected none",
        ),
        (lambda: restricted_isometry(D * np.inf, 2), "dictionary has 24 NaN or infinite"),
        (lambda: restricted_isometry(np.stack([D, 0 * D]), 2), "dictionary is zero; expected columns that are not all"),
        (lambda: restricted_isometry(D, 7), "active is 7; expected an integer from 1 to 6"),
        (lambda: restricted_isometry(D, 2, draws=0), "draws is 0; expected an integer of at least 1"),
        (lambda: restricted_isometry(D, 2, draws=2.0), "draws is 2.0; expected an integer of at least 1"),
        (lambda: restricted_isometry(D, 2, generator=3), "generator is 3; expected a torch.Generator"),
        (lambda: welch_bound(0, 3), "units is 0; expected a finite number of at least 1"),
        (lambda: welch_bound(2, 0.5), "latents is 0.5; expected a finite number of at least 1"),
        (lambda: coherence_guarantee(1.5), "coherence runs from 1.5 to 1.5; expected it between 0 and 1"),
        (lambda: coherence_guarantee([-0.1, 0.5]), "coherence runs from -0.1 to 0.5; expected it between"),
        (lambda: coherence_guarantee(np.nan), "coherence runs from nan to nan"),
        (lambda: omp(Y, D, 5), "active is 5; expected an integer from 1 to 4"),
        (lambda: omp(Y, D[:, :3], 4), "active is 4; expected an integer from 1 to 3"),
        (lambda: omp(Y, D, 0), "active is 0; expected an integer from 1 to 4"),
        (lambda: omp(Y, D, True), "active is True; expected an integer from 1 to 4"),
        (lambda: nonnegative_omp(Y, D, 5), "active is 5; expected an integer from 1 to 4"),
        (
            lambda: refit(Y, D, np.ones((4, 6))),
            r"codes have shape \(4, 6\); expected \(…, 5, 6\), a row for each sample",
        ),
        (lambda: refit(Y, D, np.ones((5, 4))), r"codes have shape \(5, 4\); expected \(…, 5, 6\)"),
        (lambda: refit(Y, D, np.full((5, 6), np.nan)), r"codes has 30 NaN or infinite value\(s\)"),
        (
            lambda: refit(np.stack([Y] * 2), D, np.ones((3, 5, 6))),
            r"codes have the repeats \(3,\), y and the dictionary \(2,\); expected leading axes that broadcast",
        ),
        (lambda: matched_filter(Y, D, 7), "active is 7; expected an integer from 1 to 6"),
        (lambda: matched_filter(Y, D, 1.5), "active is 1.5; expected an integer from 1 to 6"),
    ],
)
def test_refusals(call, words):
    with pytest.raises(DataError, match=words) as error:
        call()
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("encode", [omp, matched_filter, nonnegative_omp])
def test_refusals_of_both_encoders(encode):
    with pytest.raises(DataError, match="y has 3 units and the dictionary 4; expected y of shape"):
        encode(Y[:, :3], D, 2)
    with pytest.raises(DataError, match=r"y has the repeats \(2,\) and the dictionary \(3,\); expected leading axes"):
        encode(np.stack([Y] * 2), np.stack([D] * 3), 2)
    with pytest.raises(DataError, match=r"y has 1 NaN or infinite value\(s\), the first"):
        encode(np.where(np.eye(5, 4, k=-4) > 0, np.nan, Y), D, 2)
    with pytest.raises(DataError, match=r"y has 1 dimension\(s\)"):
        encode(Y[0], D, 2)
    with pytest.raises(DataError, match="dictionary has 24 NaN"):
        encode(Y, D * np.nan, 2)
