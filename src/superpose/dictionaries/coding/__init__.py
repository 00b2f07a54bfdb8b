"""Sparse recovery with a given dictionary, and how well conditioned the dictionary is for it (Section 2.1)."""

from superpose.dictionaries.coding.conditioning import coherence, coherence_guarantee, restricted_isometry, welch_bound
from superpose.dictionaries.coding.pursuit import matched_filter, nonnegative_omp, omp, refit
from superpose.dictionaries.coding.shrinkage import lasso, nonnegative_lasso

__all__ = [
    "coherence",
    "coherence_guarantee",
    "lasso",
    "matched_filter",
    "nonnegative_lasso",
    "nonnegative_omp",
    "omp",
    "refit",
    "restricted_isometry",
    "welch_bound",
]
