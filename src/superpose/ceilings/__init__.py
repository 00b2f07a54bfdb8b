"""Noise ceilings: the highest score to expect, given how well the trials of a stimulus agree.

They are reported beside scores, which are never divided by them, except by `corrected`. :doc:`/ceilings` says which is
for what.
"""

from superpose.ceilings.explainable import Explainable, explainable_variance
from superpose.ceilings.halves import halves, unsplittable
from superpose.ceilings.kernels import Corrected, corrected
from superpose.ceilings.pairs import beside, of_pairs
from superpose.ceilings.reliability import SplitHalf, reliability, spearman_brown, split_half
from superpose.ceilings.trials import Trials, as_trials, lone, repeated_trials, trials_in, trials_of
from superpose.ceilings.units import of_units, unit_ceilings

__all__ = [
    "Corrected",
    "Explainable",
    "SplitHalf",
    "Trials",
    "as_trials",
    "beside",
    "corrected",
    "explainable_variance",
    "halves",
    "lone",
    "of_pairs",
    "of_units",
    "reliability",
    "repeated_trials",
    "spearman_brown",
    "split_half",
    "trials_in",
    "trials_of",
    "unit_ceilings",
    "unsplittable",
]
