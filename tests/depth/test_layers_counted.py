"""Do the p-value of the best of many layers, the layers that may be the best, and intervals of units hold?

Counted on simulated families of which the truth is known, of other data sets than the rules were tried on.
"""

import time

import numpy as np
import pytest
from families import choices, false_choices, silent_units, unit_ceilings, unit_medians
from proof import proved

from superpose.metrics import CKA_DEBIASED, RIDGE_R

COUNTED = 40_000


def test_the_best_of_layers_that_share_nothing_is_seldom_significant():
    found = false_choices(CKA_DEBIASED, range(25), 19)
    best, own = np.mean(found <= 0.05, axis=0)
    # .05 of 25, within three standard errors; the layer's own p takes no account of its choice.
    assert best <= 0.2
    assert own >= best
    assert (found[:, 0] >= found[:, 1]).all()


def test_the_best_layer_is_among_those_that_may_be():
    kept, steps, inside = choices(RIDGE_R, range(25))
    assert (kept[:, :2].mean(axis=0) >= 0.85).all()
    assert kept[:, 4:].mean() <= 0.1
    assert steps <= 0.2
    assert inside >= 0.85


@pytest.mark.parametrize("share", [0.0, 0.25], ids=["complete", "a quarter missing"])
def test_units_without_signal_are_seldom_reliable(share):
    # Of five hundred units .05 is known to .01.
    assert 0.02 <= silent_units(range(100), share) <= 0.08


def test_ceilings_of_units_cover():
    assert unit_ceilings(range(60)) >= 0.91


def test_intervals_of_medians_cover():
    assert unit_medians(range(30), 30) >= 0.83


@pytest.mark.prove
@pytest.mark.slow
@pytest.mark.parametrize("metric", [CKA_DEBIASED, RIDGE_R], ids=lambda m: m.name)
def test_choices_in_full(metric, as_installed):
    start, draws = time.monotonic(), 1000
    best, own = np.mean(false_choices(metric, range(COUNTED, COUNTED + draws), 39) <= 0.05, axis=0)
    kept, steps, inside = choices(metric, range(COUNTED, COUNTED + draws))
    held = kept[:, :2].mean(axis=0)
    proved(
        "layers", time.monotonic() - start, engine=metric.name, draws=draws, best=round(best, 3), own=round(own, 3),
        kept=held.round(3).tolist(), neighbours=round(steps, 3), inside=round(inside, 3),
    )  # fmt: skip
    assert best <= 0.07
    assert (held >= 0.94).all()
    assert steps <= 0.07
    assert 0.92 <= inside <= 0.99


@pytest.mark.prove
@pytest.mark.slow
def test_units_in_full(as_installed):
    start, seeds = time.monotonic(), range(COUNTED, COUNTED + 1000)
    silent, missing = silent_units(seeds, 0.0), silent_units(seeds, 0.25)
    covered, medians = unit_ceilings(seeds), unit_medians(seeds, 60)
    proved(
        "units", time.monotonic() - start, draws=1000, silent=round(silent, 3), missing=round(missing, 3),
        ceilings=round(covered, 3), medians=round(medians, 3),
    )  # fmt: skip
    assert max(silent, missing) <= 0.065
    assert 0.92 <= covered <= 0.98
    assert medians >= 0.94
