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
# Standard error over spread, and coverage, at most. What pairs of training samples move together counts twice: for
# partial least squares, which follows its targets through every component, and few samples, that is not little.
WIDEST, WIDER = (1.25, 0.98), (1.6, 1.0)
# Data sets whose spectra of a thousand units take ten seconds each.
SLOW = {("ridge", 1000, 1500): 200}


@pytest.mark.parametrize("clips", [False, True], ids=["images", "clips"])
@pytest.mark.parametrize("metric", [RIDGE_R2, PLS_R, CKA_DEBIASED], ids=lambda m: m.name)
def test_the_study_measures_what_compare_and_contrast_say(metric, clips):
    assert tables_agree(Experiment(200, 30, clips), metric)


@pytest.mark.parametrize("clips", [False, True], ids=["images", "clips"])
def test_standard_errors_are_the_spread_over_data_sets(clips):
    found = measured(Experiment(300, 60, clips), [OLS_R, OLS_R2, RIDGE_R2, PLS_R], range(25))
    for name, one in found.items():
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
    found = measured(Experiment(samples, units, clips), FAMILIES[family], range(experiments))
    design = f"{samples} {'frames of clips' if clips else 'images'}, {units} units"
    for name, one in found.items():
        proved("designs", time.monotonic() - start, engine=f"{name}, {design}", experiments=experiments, **one.row)
    for name, one in found.items():
        row = one.row
        if row["untested"] == 1:
            # Least squares of more units than training samples: no score, and its reason.
            assert family == "least squares"
            assert units > samples
            continue
        assert row["positives"] <= 0.07, (name, design, row)
        assert row["coverage"] >= 0.92, (name, design, row)
        assert row["ratio"] >= 0.9, (name, design, row)
        ratio, coverage = WIDER if family == "pls" or samples == 300 else WIDEST
        assert row["coverage"] <= coverage, (name, design, row)
        assert row["ratio"] <= ratio, (name, design, row)


@pytest.mark.prove
@pytest.mark.slow
@pytest.mark.parametrize("clips", [False, True], ids=["images", "clips"])
@pytest.mark.parametrize("samples", [300, 600, 1000])
def test_ceilings_in_full(samples, clips, as_installed):
    start = time.monotonic()
    found = ceilings_measured(Experiment(samples, 60, clips), range(1000))
    design = f"{samples} {'frames of clips' if clips else 'images'}"
    for name, row in found.items():
        proved("ceilings", time.monotonic() - start, engine=f"{name}, {design}", experiments=1000, **row)
    for name, row in found.items():
        assert row["coverage"] >= 0.92, (name, design, row)
