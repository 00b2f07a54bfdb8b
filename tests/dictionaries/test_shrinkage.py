"""Lasso codes against coordinate descent, and dictionaries by alternation against least squares and known atoms."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import Lasso

from superpose.dictionaries.coding import lasso, nonnegative_lasso, nonnegative_omp
from superpose.dictionaries.coding.learning import alternate, unit, update
from superpose.dictionaries.coding.shrinkage import either_sign
from superpose.files import DataError


def drawn(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


@pytest.mark.parametrize(("code", "positive"), [(lasso, False), (nonnegative_lasso, True)])
def test_codes_are_those_of_coordinate_descent(code, positive):
    y, dictionary = drawn(7, 20), drawn(20, 12, seed=1)
    columns = dictionary / np.linalg.norm(dictionary, axis=0)
    expected = [
        Lasso(alpha=0.3 / 20, fit_intercept=False, positive=positive, tol=1e-10, max_iter=100_000)
        .fit(columns, row)
        .coef_
        for row in y
    ]
    np.testing.assert_allclose(code(y, columns, 0.3, steps=2_000), expected, atol=1e-6)


@pytest.mark.parametrize("code", [lasso, nonnegative_lasso])
def test_columns_of_any_length_and_repeats(code):
    y, dictionary = drawn(3, 5, 8), drawn(8, 6, seed=1)
    lengths = np.linalg.norm(dictionary, axis=0)
    batched = code(y, dictionary, 0.2)
    np.testing.assert_allclose(batched * lengths, code(y, dictionary / lengths, 0.2), atol=1e-9)
    np.testing.assert_allclose(batched, [code(part, dictionary, 0.2) for part in y], atol=1e-9)


def test_tensors_stay_tensors_and_keep_their_precision():
    y, dictionary = torch.from_numpy(drawn(5, 8)).float(), torch.from_numpy(drawn(8, 6, seed=1)).float()
    codes = nonnegative_lasso(y, dictionary, 0.2)
    assert isinstance(codes, torch.Tensor)
    assert codes.dtype == torch.float32
    np.testing.assert_allclose(codes, nonnegative_lasso(y.numpy(), dictionary.numpy(), 0.2), atol=1e-6)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
def test_codes_on_a_gpu():
    y, dictionary = torch.from_numpy(drawn(5, 8)), torch.from_numpy(drawn(8, 6, seed=1))
    there = nonnegative_lasso(y.cuda(), dictionary.cuda(), 0.2)
    assert there.is_cuda
    np.testing.assert_allclose(there.cpu(), nonnegative_lasso(y, dictionary, 0.2), atol=1e-9)


def test_a_low_penalty_recovers_codes_that_pursuit_recovers():
    dictionary = drawn(40, 60)
    codes = np.where(np.random.default_rng(2).random((50, 60)) < 0.05, 1.0, 0.0)
    y = codes @ dictionary.T
    np.testing.assert_allclose(nonnegative_lasso(y, dictionary, 1e-3, steps=3_000), codes, atol=0.01)
    assert np.abs(nonnegative_omp(y, dictionary, 12) - codes).max() < 0.01


def test_a_zero_column_has_no_code():
    assert (lasso([[1.0, 2.0]], [[1.0, 0.0], [0.0, 0.0]], 0.1)[:, 1] == 0).all()


@pytest.mark.parametrize(
    ("penalty", "steps", "words"),
    [(0.0, 10, "penalty is 0.0; expected a positive number"), (0.1, 0, "steps is 0; expected a positive number")],
)
def test_settings_out_of_range(penalty, steps, words):
    with pytest.raises(DataError, match=words):
        lasso([[1.0]], [[1.0]], penalty, steps=steps)


def test_update_is_least_squares_with_an_intercept():
    codes, atoms = drawn(200, 5), drawn(5, 8, seed=1)
    y = codes @ atoms + 3 + 0.1 * drawn(200, 8, seed=2)
    expected = np.linalg.lstsq(np.column_stack([codes, np.ones(200)]), y, rcond=None)[0]
    found, offset = update(torch.from_numpy(y), torch.from_numpy(codes), ridge=0, anchor=0)
    np.testing.assert_allclose(found, expected[:-1], atol=1e-4)
    np.testing.assert_allclose(offset, expected[-1], atol=1e-4)


@pytest.mark.parametrize("signed", [False, True])
def test_alternation_from_given_atoms_comes_nearer_to_the_truth(signed):
    draw = torch.Generator().manual_seed(0)
    truth = unit(torch.randn(1, 40, 24, generator=draw))
    codes = (torch.rand(1, 2_000, 40, generator=draw) < 0.05) * torch.rand(1, 2_000, 40, generator=draw)
    if signed:
        codes *= torch.randint(0, 2, codes.shape, generator=draw) * 2 - 1
    y = codes @ truth
    y -= y.mean(dim=1, keepdim=True)
    start = unit(truth + 0.7 * unit(torch.randn(truth.shape, generator=draw)))
    rule = {"shrink": either_sign} if signed else {}
    penalty = torch.full((1, 1, 1), 0.05)
    learned = alternate(y, start, y.mean(dim=1), penalty, rounds=20, **rule)
    before, after = ((atoms * truth).sum(dim=-1) for atoms in (start, learned.atoms))
    assert before.max() < 0.95
    assert after.min() > 0.98
    again = alternate(y, start, y.mean(dim=1), penalty, rounds=20, **rule)
    assert torch.equal(again.atoms, learned.atoms)


def test_renewed_atoms_leave_no_copies():
    draw = torch.Generator().manual_seed(0)
    y = (torch.rand(1, 600, 12, generator=draw) < 0.1).float() @ unit(torch.randn(12, 8, generator=draw))
    start = unit(torch.ones(1, 12, 8))
    learned = alternate(y, start, y.mean(dim=1), torch.full((1, 1, 1), 0.05), rounds=12, renewed=8, generator=draw)
    assert int(((learned.atoms[0] @ learned.atoms[0].T).triu(1) > 0.97).sum()) == 0
