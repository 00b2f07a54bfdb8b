"""Diagnostics against plain versions of themselves."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
import torch

from superpose.diagnostics import dead_share, fvu, l0, match_latents, mcc, same_index_share
from superpose.files import DataError


def _draw(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def _sparse(*shape, seed=0):
    z = _draw(*shape, seed=seed)
    return np.where(z > 0.8, z, 0.0)


def _corr(a, b):
    return np.corrcoef(a, b, rowvar=False)[: a.shape[1], a.shape[1] :]


def test_fvu_is_one_minus_r_squared():
    from sklearn.metrics import r2_score

    x = _draw(50, 4) + 3
    x_hat = x + 0.3 * _draw(50, 4, seed=1)
    expected = 1 - r2_score(x, x_hat, multioutput="variance_weighted")
    np.testing.assert_allclose(fvu(x, x_hat), expected, rtol=1e-12)
    assert fvu(x, x + 1) > fvu(x, x) == 0


def test_fvu_with_a_large_offset_in_float32():
    x = (_draw(2000, 4) + 1000).astype(np.float32)
    x_hat = x + np.float32(0.5) * _draw(2000, 4, seed=1).astype(np.float32)
    exact = np.square(x.astype(float) - x_hat).sum() / np.square(x - x.mean(0, dtype=float)).sum()
    np.testing.assert_allclose(fvu(x, x_hat), exact, rtol=1e-6)


def test_fvu_without_variance_is_nan_and_shapes_must_agree():
    assert np.isnan(fvu(np.full((5, 2), 0.1), np.zeros((5, 2))))
    with pytest.raises(DataError, match=r"x has shape \(5, 2\) and x_hat \(5, 3\); expected a reconstruction"):
        fvu(np.zeros((5, 2)), np.zeros((5, 3)))


def test_l0_and_dead_share():
    z = _sparse(40, 9)
    z[:, [2, 5]] = 0
    assert l0(z) == (z != 0).sum(1).mean()
    assert dead_share(z) == pytest.approx(2 / 9)


def test_mcc_against_every_permutation():
    codes, truth = _sparse(60, 5), _sparse(60, 5, seed=1)
    c = np.abs(_corr(codes, truth))
    best = max(np.mean([c[p[j], j] for j in range(5)]) for p in permutations(range(5)))
    np.testing.assert_allclose(mcc(codes, truth), best, rtol=1e-12)


def test_mcc_counts_true_latents_that_nobody_found():
    truth = _draw(100, 4)
    assert mcc(truth[:, :2], truth) == pytest.approx(0.5)
    assert mcc(np.hstack([truth, _draw(100, 3, seed=1)]), truth) == pytest.approx(1)
    dead = truth.copy()
    dead[:, 1] = 0.1
    assert mcc(dead, truth) == pytest.approx(0.75, abs=1e-6)


def test_matching_finds_the_permutation_and_prefers_positive_correlation():
    z = _sparse(200, 6)
    order = np.array([3, 1, 5, 0, 2, 4])
    partner, correlation = match_latents(z, z[:, order])
    np.testing.assert_array_equal(order[partner], np.arange(6))
    np.testing.assert_allclose(correlation, 1)
    partner, correlation = match_latents(z, np.column_stack([-z[:, 0], z[:, 1:]]))
    assert correlation.min() < 0.2


def test_matching_with_fewer_latents_leaves_some_alone():
    z = _sparse(200, 6)
    partner, correlation = match_latents(z, z[:, [4, 1]])
    np.testing.assert_array_equal(partner, [-1, 1, -1, -1, 0, -1])
    np.testing.assert_allclose(correlation, [0, 1, 0, 0, 1, 0])
    partner, _ = match_latents(z[:, [4, 1]], z)
    np.testing.assert_array_equal(partner, [4, 1])


def test_correlations_hold_in_float32_over_many_chunks_and_a_large_offset():
    z = _sparse(300_000, 5) + 1000
    noisy = z[:, ::-1] + 0.5 * _draw(300_000, 5, seed=1)
    partner, correlation = match_latents(z.astype(np.float32), noisy.astype(np.float32))
    np.testing.assert_array_equal(partner, [4, 3, 2, 1, 0])
    exact = np.diagonal(_corr(z, noisy)[:, ::-1])
    # float32 keeps values near 1000 to 3e-5; the correlations lose less than that
    np.testing.assert_allclose(correlation, exact, atol=3e-5)


def test_same_index_share():
    z = _sparse(500, 8)
    assert same_index_share(z, z) == 1
    assert same_index_share(z, np.roll(z, 1, axis=1)) == 0
    half = z.copy()
    half[:, :4] = half[:, [1, 0, 3, 2]]
    assert same_index_share(z, half) == 0.5
    assert np.isnan(same_index_share(z, _sparse(500, 8, seed=3)))
    weak = z + 3 * _draw(500, 8, seed=4) * np.array([1, 1, 1, 1, 0, 0, 0, 0])
    assert same_index_share(z, weak, threshold=0.9) == 1


@pytest.mark.parametrize("function", [fvu, mcc, match_latents, same_index_share])
@pytest.mark.parametrize("repeats", [(3,), (2, 2)])
def test_repeats_are_independent(function, repeats):
    a, b = _sparse(*repeats, 50, 6), _sparse(*repeats, 50, 6, seed=1) + _sparse(*repeats, 50, 6)
    whole = function(a, b)
    for place in np.ndindex(repeats):
        single = function(a[place], b[place])
        if isinstance(whole, tuple):
            for many, one in zip(whole, single, strict=True):
                np.testing.assert_allclose(many[place], one)
        else:
            np.testing.assert_allclose(whole[place], single)


def test_tensors_in_tensors_out():
    z = torch.from_numpy(_sparse(50, 6))
    for result in (fvu(z, z), l0(z), dead_share(z), mcc(z, z), *match_latents(z, z)):
        assert isinstance(result, torch.Tensor)
    assert isinstance(same_index_share(z, z), torch.Tensor)


@pytest.mark.parametrize("function", [mcc, match_latents, same_index_share])
def test_unequal_samples(function):
    with pytest.raises(DataError, match=r"has 5 samples and .* has 6; every system must have seen the same"):
        function(_draw(5, 3), _draw(6, 3))
