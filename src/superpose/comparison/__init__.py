"""All pairs of systems under all metrics, as one tidy table with an interval and a null for every score."""

from superpose.comparison.design import (
    INTERVALS,
    Design,
    Progress,
    Systems,
    bytes_of,
    checked_draw,
    checked_pairs,
    checked_seed,
    checked_systems,
    design_of,
    planned_for,
)
from superpose.comparison.main import compare
from superpose.comparison.matrix import matrix
from superpose.comparison.order import SAMPLES, warn_of_order
from superpose.comparison.pairs import Directions, Outcome, outcome_of
from superpose.comparison.responses import Responses
from superpose.comparison.routes import over_pairs
from superpose.comparison.scores import COLUMNS, IDENTITY, OF_NULL, SCORES, SIZES, calibrated
from superpose.comparison.sums import FACTORS, SHELVES, over_rows, shares_held, tiles
from superpose.comparison.table import table_of

__all__ = [
    "COLUMNS",
    "FACTORS",
    "IDENTITY",
    "INTERVALS",
    "OF_NULL",
    "SAMPLES",
    "SCORES",
    "SHELVES",
    "SIZES",
    "Design",
    "Directions",
    "Outcome",
    "Progress",
    "Responses",
    "Systems",
    "bytes_of",
    "calibrated",
    "checked_draw",
    "checked_pairs",
    "checked_seed",
    "checked_systems",
    "compare",
    "design_of",
    "matrix",
    "outcome_of",
    "over_pairs",
    "over_rows",
    "planned_for",
    "shares_held",
    "table_of",
    "tiles",
    "warn_of_order",
]
