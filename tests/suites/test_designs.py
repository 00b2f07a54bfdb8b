"""Do intervals and contrasts hold on the designs that studies have: few images, more units than images, clips?

The truth of a score is its mean over data sets of that size. A standard error is held against the spread of scores over
data sets, and contrasts of two layers that are drawn from one distribution are held to their level.
"""

import time

import numpy as np
import pytest
from designs import Experiment, ceilings_measured, measured, tables_agree
from proof import proved

import superpose as sp
from superpose.metrics import CKA_DEBIASED, CKA_GROUPED, OLS_R, OLS_R2, PLS_R, RIDGE_R, RIDGE_R2, RSA
from superpose.metrics.pls import PartialLeastSquaresMetric

PLS_R2 = PartialLeastSquaresMetric("pls_r2", ("r2", "pooled"))
FAMILIES = {
    "least squares": (OLS_R, OLS_R2),
    "ridge": (RIDGE_R, RIDGE_R2),
    "pls": (PLS_R, PLS_R2),
    "kernels": (CKA_DEBIASED, RSA, CKA_GROUPED),
}
# Rules were chosen on other data sets than those that are counted.
COUNTED = 30_000
# Data sets whose spectra of a thousand units take ten seconds each.
SLOW = {("ridge", 1000, 1500): 200}


@pytest.mark.parametrize("clips", [False, True], ids=["images", "clips"])
@pytest.mark.parametrize("metric", [RIDGE_R2, PLS_R, CKA_DEBIASED], ids=lambda m: m.name)
def test_the_study_measures_what_compare_and_contrast_say(metric, clips):
    assert tables_agree(Experiment(1000, 30, clips), metric)


@pytest.mark.parametrize("clips", [False, True], ids=["images", "clips"])
def test_standard_errors_are_the_spread_over_data_sets(clips):
    metrics = [OLS_R, OLS_R2, RIDGE_R2] if clips else [OLS_R, OLS_R2, RIDGE_R2, PLS_R]
    for name, one in measured(Experiment(300, 60, clips), metrics, range(25)).items():
        # The spread of fifty scores is known to 10 %.
        assert 0.7 < one.row["ratio"] < 1.6, (name, one.row)
        assert one.row["coverage"] >= 0.85, (name, one.row)
        assert one.row["positives"] <= 0.16, (name, one.row)


def test_groups_of_one_are_samples_and_larger_ones_take_part_of_held_out_residuals():
    systems = Experiment(200, 30, True).draw(0)
    folds = np.arange(200) // 40
    errors = [
        sp.compare(systems, metrics=[RIDGE_R], pairs=[("one", "units")], cv=folds, groups=groups, permutations=0).error[
            0
        ]
        for groups in (None, np.arange(200), np.arange(200) // 10)
    ]
    assert errors[0] == pytest.approx(errors[1], rel=1e-12)
    assert errors[2] > 1.3 * errors[0]


def test_as_many_units_as_training_images_have_no_test_and_say_so():
    found = measured(Experiment(100, 90, False), [OLS_R], range(2))["ols_r"]
    assert np.isnan(found.p).all()


def test_partial_least_squares_of_few_clips_have_no_interval_and_say_so():
    systems, groups = Experiment(300, 60, True).draw(0), np.arange(300) // 10
    pair = [("one", "units")]
    row = sp.compare(systems, metrics=[PLS_R], pairs=pair, groups=groups, permutations=0).iloc[0]
    assert np.isfinite(row.score)
    assert np.isnan([row.low, row.high, row.error]).all()
    assert row.why == "no interval: this takes 100 independent samples or groups; have 30"
    contrast = sp.contrast(systems, target="units", metrics=[PLS_R], groups=groups).iloc[0]
    assert np.isnan(contrast.p)
    assert "no interval" in contrast.why
    # Under one split the weights are taken as given.
    held_out = sp.compare(systems, metrics=[PLS_R], pairs=pair, groups=groups, test=groups >= 20, permutations=0)
    assert np.isfinite(held_out.error[0])


def test_ceilings_of_clips_cover():
    for name, row in ceilings_measured(Experiment(300, 60, True), range(25)).items():
        assert row["coverage"] >= 0.8, (name, row)


@pytest.mark.prove
@pytest.mark.slow
@pytest.mark.parametrize("clips", [False, True], ids=["images", "clips"])
@pytest.mark.parametrize("units", [60, 1500])
@pytest.mark.parametrize("samples", [300, 600, 1000])
@pytest.mark.parametrize("family", FAMILIES)
def test_designs_in_full(family, samples, units, clips, as_installed):
    experiments, start = SLOW.get((family, samples, units), 1000), time.monotonic()
    found = measured(Experiment(samples, units, clips), FAMILIES[family], range(COUNTED, COUNTED + experiments))
    design = f"{samples} {'frames of clips' if clips else 'images'}, {units} units"
    for name, one in found.items():
        proved("designs", time.monotonic() - start, engine=f"{name}, {design}", experiments=experiments, **one.row)
    for name, one in found.items():
        row = one.row
        if row["untested"] == 1:
            # No score of least squares of more units than training samples, no interval of PLS of few groups.
            assert (family == "least squares" and units > samples) or (family == "pls" and clips and samples < 1000)
            continue
        assert row["positives"] <= 0.07, (name, design, row)
        assert 0.92 <= row["coverage"] <= 0.98, (name, design, row)
        assert 0.9 <= row["ratio"] <= 1.25, (name, design, row)


@pytest.mark.prove
@pytest.mark.slow
@pytest.mark.parametrize("clips", [False, True], ids=["images", "clips"])
@pytest.mark.parametrize("samples", [300, 600, 1000])
def test_ceilings_in_full(samples, clips, as_installed):
    start = time.monotonic()
    found = ceilings_measured(Experiment(samples, 60, clips), range(COUNTED, COUNTED + 1000))
    design = f"{samples} {'frames of clips' if clips else 'images'}"
    for name, row in found.items():
        proved("ceilings", time.monotonic() - start, engine=f"{name}, {design}", experiments=1000, **row)
    for name, row in found.items():
        assert row["coverage"] >= 0.92, (name, design, row)
