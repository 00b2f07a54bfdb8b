"""Scores over several seeds: both errors, by hand and over fresh draws."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from scipy.stats import t as student

from superpose.analysis.seeds import KEYS, over_seeds

SAME = dict.fromkeys(KEYS, "x") | {"directed": False}


def table(scores, errors, **key):
    rows = [
        SAME | key | {"seed": i, "score": s, "error": e} for i, (s, e) in enumerate(zip(scores, errors, strict=True))
    ]
    return pd.DataFrame(rows)


def test_by_hand():
    scores, errors = np.array([0.61, 0.64, 0.7, 0.63]), np.array([0.02, 0.03, 0.02, 0.025])
    row = over_seeds(table(scores, errors)).iloc[0]
    samples, seeds = np.sqrt((errors**2).mean()), scores.std(ddof=1) / 2
    total = np.sqrt(samples**2 + seeds**2)
    # Satterthwaite: (Σ v)² / Σ v²/f, the samples' variance taken as known.
    freedom = total**4 / (seeds**4 / 3)
    assert_allclose(row.low, scores.mean() - total * student.ppf(0.975, freedom))
    assert_allclose(row.high, scores.mean() + total * student.ppf(0.975, freedom))
    assert_allclose((row.seeds, row.error_samples, row.error_seeds), (4, samples, seeds))


def test_one_seed_has_no_interval_but_raw_scores_have():
    row = over_seeds(table([0.6], [0.02])).iloc[0]
    assert np.isnan([row.low, row.high, row.error_seeds]).all()
    row = over_seeds(table([0.6], [0.02], fit="")).iloc[0]
    assert_allclose((row.low, row.high), (0.6 - 1.959964 * 0.02, 0.6 + 1.959964 * 0.02), rtol=1e-6)


def test_seeds_that_agree_leave_the_samples_error():
    row = over_seeds(table([0.6] * 3, [0.02] * 3)).iloc[0]
    assert_allclose(row.high - row.low, 2 * 1.959964 * 0.02, rtol=1e-6)


def test_a_missing_score_is_missing():
    row = over_seeds(table([0.6, np.nan], [0.02, np.nan])).iloc[0]
    assert np.isnan([row.score, row.low, row.high]).all()


@pytest.mark.slow
@pytest.mark.parametrize(("of_samples", "of_seeds"), [(0.02, 0.02), (0.005, 0.03), (0.03, 0.005)])
def test_intervals_hold_the_truth(of_samples, of_seeds):
    draw = np.random.default_rng(0)
    held = []
    for _ in range(1500):
        scores = 0.6 + of_samples * draw.normal() + of_seeds * draw.normal(size=3)
        row = over_seeds(table(scores, [of_samples] * 3)).iloc[0]
        held.append(row.low <= 0.6 <= row.high)
    # Standard error of a share of .95 among 1,500 is .0056; the approximation errs to the safe side.
    assert 0.95 - 4 * 0.0056 < np.mean(held) < 0.99
