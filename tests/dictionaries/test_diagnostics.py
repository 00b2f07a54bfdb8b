"""Diagnostics against plain versions of themselves."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
import torch

from superpose.dictionaries.diagnostics import (
    absorbed_latents,
    dead_share,
    fvu,
    l0,
    match_latents,
    mcc,
    overlap,
    same_index_share,
    split_latents,
    stability,
)
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


def _amounts(samples=4000, latents=64, active=4, seed=0):
    """Amounts of which each sample holds as many: positive, independent, otherwise 0."""
    z = np.random.default_rng(seed).random((samples, latents))
    return np.where(z >= np.sort(z, axis=1)[:, [-active]], z, 0.0)


def _parted(z, latent, parts):
    """Codes in which one latent is shared out over units by sample, beside one unit for each other latent."""
    turn = np.arange(len(z)) % parts
    return np.column_stack(
        [np.where(turn == part, z[:, latent], 0) for part in range(parts)] + [np.delete(z, latent, 1)]
    )


def _families(samples=4000, children=3, seed=0):
    """One parent latent that each child brings with it, and others apart: (parent, children …, others …)."""
    stream = np.random.default_rng(seed)
    kin = stream.integers(0, 4 * (children + 1), samples)
    parent = np.where(kin <= children, stream.uniform(0.5, 1, samples), 0)
    young = [np.where(kin == child + 1, stream.uniform(0.5, 1, samples), 0) for child in range(children)]
    return np.column_stack([parent, *young, _amounts(samples, 12, 2, seed + 1)])


def test_stability_is_the_share_of_live_latents_that_the_other_found():
    z = _sparse(500, 8)
    assert stability(z, z[:, ::-1]) == 1
    assert stability(z, z[:, 2:]) == 0.75
    assert stability(z[:, 2:], z) == 1
    half_dead = z * np.array([1, 0, 1, 0, 1, 1, 1, 0])
    assert stability(half_dead, z) == 1
    assert stability(z, half_dead) == 5 / 8
    other = np.column_stack([z[:, :2], _sparse(500, 6, seed=3)])
    assert stability(half_dead, other) == 1 / 5
    assert np.isnan(stability(0 * z, z))


def test_stability_counts_pairs_above_the_threshold():
    z = _sparse(500, 8)
    noisy = z + _draw(500, 8, seed=4) * np.linspace(0, 2, 8)
    correlation = match_latents(z, noisy)[1]
    for threshold in (0.2, 0.5, 0.9):
        assert stability(z, noisy, threshold=threshold) == (correlation > threshold).mean()
    assert 0 < stability(z, noisy, threshold=0.9) < stability(z, noisy, threshold=0.2)


@pytest.mark.parametrize("shared", [0.25, 0.5, 0.75])
def test_overlap_corrects_the_rate_of_planted_dictionaries(shared):
    # Dictionaries that find each of 200 latents with probability 0.9 or 0.7, and make up the rest of their units.
    latents, samples, seeds = 200, 500, 8
    z = _amounts(samples, 2 * latents, 40)
    start = round((1 - shared) * latents)
    stream = np.random.default_rng(1)

    def dictionary(own, found):
        codes = _amounts(samples, latents, 20, seed=stream.integers(2**32))
        kept = stream.random(latents) < found
        codes[:, kept] = own[:, kept]
        return codes

    a = np.stack([dictionary(z[:, :latents], 0.9) for _ in range(seeds)])
    b = np.stack([dictionary(z[:, start : start + latents], 0.7) for _ in range(seeds)])
    own_a, own_b = stability(a, np.roll(a, 1, 0)).mean(), stability(b, np.roll(b, 1, 0)).mean()
    between = np.mean([stability(a, np.roll(b, shift, 0)).mean() for shift in range(seeds)])
    assert own_a == pytest.approx(0.81, abs=0.03)
    assert own_b == pytest.approx(0.49, abs=0.04)
    assert between == pytest.approx(shared * 0.63, abs=0.03)
    assert overlap(between, own_a, own_b) == pytest.approx(shared, abs=0.05)


def test_overlap_of_arrays_and_without_stability():
    np.testing.assert_allclose(
        overlap([0.2, 0.4], [[0.5], [0.8]], 0.2), np.array([[2, 4], [2, 4]]) / 10 / [[0.1**0.5], [0.4]]
    )
    found = overlap(np.array([0.0, 0.5, np.nan]), np.array([0.0, 0.5, 0.5]), 1.0)
    np.testing.assert_allclose(found, [np.nan, 0.5**0.5, np.nan])
    assert overlap(0.9, 0.5, 0.5) == pytest.approx(1.8)


@pytest.mark.parametrize(("name", "place"), [("rate_ab", 0), ("rate_aa", 1), ("rate_bb", 2)])
def test_rates_are_shares(name, place):
    rates = [0.5, 0.5, 0.5]
    for wrong, words in ((-0.1, "-0.1 to -0.1"), (np.array([0.2, 1.5]), "0.2 to 1.5")):
        rates[place] = wrong
        with pytest.raises(DataError, match=f"{name} runs from {words}; expected rates from 0 to 1"):
            overlap(*rates)


def test_perfect_codes_are_neither_split_nor_absorbed():
    for truth in (_amounts(), _families()):
        for codes in (truth, 7 * truth[:, ::-1], np.hstack([truth, truth])):
            assert (split_latents(codes, truth), absorbed_latents(codes, truth)) == (0, 0)


@pytest.mark.parametrize("parts", [2, 3, 6])
def test_a_latent_shared_out_over_units_is_split(parts):
    truth = _amounts()
    codes = _parted(truth, 5, parts)
    assert (split_latents(codes, truth), absorbed_latents(codes, truth)) == (1, 0)
    twice = _parted(codes, 20 + parts, 2)
    assert (split_latents(twice, truth), absorbed_latents(twice, truth)) == (2, 0)


def test_parts_below_the_threshold_are_no_split():
    truth = _amounts()
    codes = _parted(truth, 5, 6)  # each correlates about √(1/6) with the latent
    assert split_latents(codes, truth, threshold=0.35) == 1
    assert split_latents(codes, truth, threshold=0.45) == 0


def test_units_that_fire_together_most_of_the_time_are_copies():
    truth = _amounts()
    held = np.flatnonzero(truth[:, 5])
    for together, split in ((0.7, 0), (0.3, 1)):
        # Both are silent in places, so that the rarer unit has this share of its samples in common with the other.
        each = round(len(held) / (2 - together))
        first, second = truth[:, 5].copy(), truth[:, 5].copy()
        first[held[each:]] = 0
        second[held[: len(held) - each]] = 0
        assert split_latents(np.column_stack([first, second, np.delete(truth, 5, 1)]), truth) == split


@pytest.mark.parametrize("absorbing", [(1,), (1, 3)])
def test_a_parent_with_holes_where_a_child_is_active_is_absorbed(absorbing):
    truth = _families()
    codes = truth.copy()
    for child in absorbing:
        held = truth[:, child] > 0
        codes[held, 0] = 0
        codes[held, child] += truth[held, 0]
    assert (split_latents(codes, truth), absorbed_latents(codes, truth)) == (0, 1)


def test_absorption_counts_from_its_least_share():
    truth = _families()
    codes = truth.copy()
    held = truth[:, 1] > 0
    codes[held, 0] = 0
    share = held.sum() / (truth[:, 0] > 0).sum()
    assert absorbed_latents(codes, truth, share=share - 0.01) == 1
    assert absorbed_latents(codes, truth, share=share + 0.01) == 0


def test_holes_that_no_unit_fills_are_not_absorption():
    truth = _families()
    chance = truth * (np.random.default_rng(3).random(truth.shape) < 0.6)
    missed = truth.copy()
    missed[:, 0] = 0
    few = truth.copy()  # the own unit misses a child's samples in a third of the cases only
    few[(truth[:, 1] > 0) & (np.arange(len(truth)) % 3 == 0), 0] = 0
    common = np.column_stack([np.random.default_rng(4).random(4000) < share for share in (0.9, 0.9, 0.5)]).astype(float)
    forgetful = common * (np.random.default_rng(5).random(common.shape) < 0.7)
    for codes, held in ((chance, truth), (missed, truth), (few, truth), (forgetful, common)):
        assert absorbed_latents(codes, held) == 0
    # A unit that is silenced by another, unrelated one has holes, but nothing stands in for it.
    apart = _amounts(4000, 12, 3)
    silenced = apart.copy()
    silenced[apart[:, 1] > 0, 0] = 0
    assert absorbed_latents(silenced, apart) == 0


@pytest.mark.parametrize("count", [split_latents, absorbed_latents])
def test_counts_do_not_depend_on_order_or_scale_of_units(count):
    truth = _families()
    codes = _parted(truth, 6, 2)
    codes[truth[:, 1] > 0, 2] = 0  # the parent, behind the two parts
    stream = np.random.default_rng(2)
    expected = count(codes, truth)
    assert expected == 1
    for _ in range(3):
        order, scale = stream.permutation(codes.shape[1]), np.exp(stream.normal(size=codes.shape[1]))
        assert count((codes * scale)[:, order], truth) == expected
        assert count(codes, truth[:, stream.permutation(truth.shape[1])]) == expected


def test_counts_broadcast_over_one_truth():
    truth = _amounts(1000, 10, 2)
    codes = np.stack([_parted(_parted(truth, 5, 2), 0, 1), _parted(truth, 3, 2)])
    codes[0, :, 6] = 0
    np.testing.assert_array_equal(split_latents(codes, truth), [split_latents(c, truth) for c in codes])


PAIRED = [mcc, match_latents, same_index_share, stability, split_latents, absorbed_latents]


@pytest.mark.parametrize("function", [fvu, *PAIRED])
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
    for result in (same_index_share(z, z), stability(z, z), split_latents(z, z), absorbed_latents(z, z)):
        assert isinstance(result, torch.Tensor)
    assert isinstance(overlap(stability(z, z), 1.0, 1.0), torch.Tensor)


@pytest.mark.parametrize("function", PAIRED)
def test_unequal_samples(function):
    with pytest.raises(DataError, match=r"has 5 samples and .* has 6; every system must have seen the same"):
        function(_draw(5, 3), _draw(6, 3))
