"""The k largest of each row, against sorting, with and without ties."""

import pytest
import torch

from superpose.numerics.topk import is_largest, largest, positive_mask


def values(ties):
    drawn = torch.randn(3, 50, 20, generator=torch.Generator().manual_seed(0))
    return drawn.round() if ties else drawn


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("k", [1, 7, 20])
def test_both_forms_choose_the_same_k_and_none_smaller(ties, k):
    rows = values(ties)
    indices, mask = largest(rows, k), is_largest(rows, k)
    assert indices.shape == (3, 50, k)
    assert mask.shape == rows.shape
    assert (mask.sum(-1) == k).all()
    assert torch.equal(mask, torch.zeros_like(mask).scatter(-1, indices, True))
    assert torch.equal(rows.gather(-1, indices).sort(-1).values, rows.sort(-1).values[..., 20 - k :])


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("k", [1, 7, 20])
def test_a_mask_has_ones_for_the_largest_that_are_positive(ties, k):
    rows = values(ties)
    mask = positive_mask(rows, k)
    assert mask.dtype == rows.dtype
    assert torch.equal(mask, (is_largest(rows, k) & (rows > 0)).float())


def test_the_input_is_left_as_it_was():
    rows = values(False)
    before = rows.clone()
    largest(rows, 3), is_largest(rows, 3), positive_mask(rows, 3)
    assert torch.equal(rows, before)
