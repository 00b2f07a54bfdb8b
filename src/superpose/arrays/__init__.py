"""The shape rule (…, samples, units), validation of what users pass, folds, groups and row chunks."""

from superpose.arrays.folds import contiguous_folds, group_folds, group_labels, shuffled_folds
from superpose.arrays.options import choose, meant
from superpose.arrays.responses import (
    as_responses,
    check_finite,
    check_moderate,
    check_paired,
    chunks,
    is_mapped,
    like_input,
    of_one_repeat,
)

__all__ = [
    "as_responses",
    "check_finite",
    "check_moderate",
    "check_paired",
    "choose",
    "chunks",
    "contiguous_folds",
    "group_folds",
    "group_labels",
    "is_mapped",
    "like_input",
    "meant",
    "of_one_repeat",
    "shuffled_folds",
]
