"""Second moments and row-norm sums of paired responses: everything the linear metrics need, in one pass.

Rows are read in chunks and shifted by a pilot before any product, so that a common offset costs no digits.
Products run in the precision of the input (float32 for float16), sums are kept in float64, one set a fold. Rows that
are mostly zeros, as sparse codes, are multiplied as such, in float64.
Sums about the same pilot add, whoever accumulated them.
"""

from superpose.moments.accumulation import accumulate, accumulate_about_means, of_pair
from superpose.moments.rows import (
    Array,
    Index,
    Labels,
    Precision,
    RowReader,
    chunk_rows,
    mean_of,
    pilot,
    reader,
    row_blocks,
    rows_of,
    shifted_rows,
    working_type,
)
from superpose.moments.sums import FIXED, Cross, FoldRows, Moments, Own, Shelf, merge

__all__ = [
    "Array",
    "Cross",
    "FIXED",
    "FoldRows",
    "Index",
    "Labels",
    "Moments",
    "Own",
    "Precision",
    "RowReader",
    "Shelf",
    "accumulate",
    "accumulate_about_means",
    "chunk_rows",
    "mean_of",
    "merge",
    "of_pair",
    "pilot",
    "reader",
    "row_blocks",
    "rows_of",
    "shifted_rows",
    "working_type",
]
