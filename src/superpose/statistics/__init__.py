"""Intervals from influence values, p-values for one score and for many, permutations, power."""

from superpose.statistics.intervals import (
    Uncertainty,
    effective,
    independent,
    interval,
    jackknife_variance,
    median_interval,
    standard_error,
    uncertainty,
    within_folds,
)
from superpose.statistics.multiple import best_p, false_discovery, familywise, holm
from superpose.statistics.p_values import of_maximum, one_sided_p, p_value, two_sided_p
from superpose.statistics.planning import power, samples_needed
from superpose.statistics.sampling import Drawn, draw

__all__ = [
    "Drawn",
    "Uncertainty",
    "best_p",
    "draw",
    "effective",
    "false_discovery",
    "familywise",
    "holm",
    "independent",
    "interval",
    "jackknife_variance",
    "median_interval",
    "of_maximum",
    "one_sided_p",
    "p_value",
    "power",
    "samples_needed",
    "standard_error",
    "two_sided_p",
    "uncertainty",
    "within_folds",
]
