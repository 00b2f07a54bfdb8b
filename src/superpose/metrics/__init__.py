"""Alignment metrics: functions of two arrays, and objects that say what they measure.

`DEFAULT` is what `compare` takes unless told otherwise, `ALL` the linear metrics around it, `MORE` those of other
families, `TOGETHER` those of several systems together, for `partition`. :doc:`/metrics` says what each ignores and what
it costs.
"""

import warnings
from collections.abc import Iterable, Sequence
from typing import Any

from superpose.arrays import choose
from superpose.files import DataError
from superpose.metrics.about import About
from superpose.metrics.banded import BANDED_R, BANDED_R2, BandedRidgeMetric, banded_ridge
from superpose.metrics.canonical import PWCCA, SVCCA, pwcca, svcca
from superpose.metrics.check import check_metric
from superpose.metrics.cka import CKA, CKA_DEBIASED, cka
from superpose.metrics.grouped import CKA_GROUPED, GroupedMetric, grouped_cka
from superpose.metrics.kendall import RSA_KENDALL, rsa_kendall
from superpose.metrics.matching import (
    MATCHING_HARD,
    MATCHING_SEMI,
    MATCHING_SOFT,
    matching_hard,
    matching_semi,
    matching_soft,
)
from superpose.metrics.metric import Metric, MomentMetric
from superpose.metrics.neighbours import CKNNA, MUTUAL_KNN, cknna, mutual_knn
from superpose.metrics.pairwise import PairwiseMetric
from superpose.metrics.pcr import PCR_R, PrincipalComponentsMetric, pcr
from superpose.metrics.pls import PLS_CHOSEN_R, PLS_R, PartialLeastSquaresMetric, pls
from superpose.metrics.rbf import CKA_RBF, CKA_RBF_DEBIASED, cka_rbf
from superpose.metrics.regression import (
    OLS_R,
    OLS_R2,
    OLS_R2_UNITS,
    OLS_R_UNITS,
    PredictiveMetric,
    RegressionMetric,
    fixed_ridge,
    regression,
    relative_ridge,
)
from superpose.metrics.ridge import RIDGE_R, RIDGE_R2, RIDGE_R2_UNITS, RIDGE_R_UNITS, RidgeMetric, ridge
from superpose.metrics.rsa import RSA, rsa
from superpose.metrics.shape import CCA, PROCRUSTES, SHAPE, cca, procrustes, shape_distance
from superpose.metrics.unit_ridge import (
    RIDGE_UNIT_R,
    RIDGE_UNIT_R2,
    RIDGE_UNIT_R2_UNITS,
    RIDGE_UNIT_R_UNITS,
    UnitRidgeMetric,
)

DEFAULT: tuple[Metric, ...] = (CKA, CKA_DEBIASED, RSA, RIDGE_R, RIDGE_R2)
ALL: tuple[Metric, ...] = (*DEFAULT, RIDGE_R_UNITS, OLS_R, OLS_R2, OLS_R_UNITS, CCA, PROCRUSTES)
MORE: tuple[Metric, ...] = (
    SVCCA,
    PWCCA,
    SHAPE,
    MATCHING_HARD,
    MATCHING_SOFT,
    MATCHING_SEMI,
    RIDGE_R2_UNITS,
    RIDGE_UNIT_R,
    RIDGE_UNIT_R2,
    RIDGE_UNIT_R_UNITS,
    RIDGE_UNIT_R2_UNITS,
    OLS_R2_UNITS,
    PLS_R,
    PLS_CHOSEN_R,
    PCR_R,
    MUTUAL_KNN,
    CKNNA,
    CKA_RBF,
    CKA_RBF_DEBIASED,
    RSA_KENDALL,
    CKA_GROUPED,
)

# For several systems together: `superpose.partition`.
TOGETHER: tuple[Metric, ...] = (BANDED_R, BANDED_R2)

__all__ = [
    "ALL",
    "BANDED_R",
    "BANDED_R2",
    "CCA",
    "CKA",
    "CKA_DEBIASED",
    "CKA_GROUPED",
    "CKA_RBF",
    "CKA_RBF_DEBIASED",
    "CKNNA",
    "DEFAULT",
    "GroupedMetric",
    "MATCHING_HARD",
    "MATCHING_SEMI",
    "MATCHING_SOFT",
    "MORE",
    "MUTUAL_KNN",
    "OLS_R",
    "OLS_R2",
    "OLS_R2_UNITS",
    "OLS_R_UNITS",
    "PCR_R",
    "PLS_CHOSEN_R",
    "PLS_R",
    "PROCRUSTES",
    "PWCCA",
    "RIDGE_R",
    "RIDGE_R2",
    "RIDGE_R2_UNITS",
    "RIDGE_R_UNITS",
    "RIDGE_UNIT_R",
    "RIDGE_UNIT_R2",
    "RIDGE_UNIT_R2_UNITS",
    "RIDGE_UNIT_R_UNITS",
    "RSA",
    "RSA_KENDALL",
    "SHAPE",
    "SVCCA",
    "TOGETHER",
    "About",
    "BandedRidgeMetric",
    "Metric",
    "MomentMetric",
    "PairwiseMetric",
    "PartialLeastSquaresMetric",
    "PredictiveMetric",
    "PrincipalComponentsMetric",
    "RegressionMetric",
    "RidgeMetric",
    "UnitRidgeMetric",
    "banded_ridge",
    "cca",
    "check_metric",
    "cka",
    "cka_rbf",
    "cknna",
    "fixed_ridge",
    "grouped_cka",
    "matching_hard",
    "matching_semi",
    "matching_soft",
    "mutual_knn",
    "pcr",
    "pls",
    "procrustes",
    "pwcca",
    "regression",
    "resolved",
    "relative_ridge",
    "ridge",
    "rsa",
    "rsa_kendall",
    "shape_distance",
    "svcca",
]

NAMES: dict[str, Metric] = {metric.name: metric for metric in (*ALL, *MORE, *TOGETHER)}


def resolved(metrics: Sequence[Any]) -> list[Metric]:
    """Return metrics from objects, their names in tables, or the functions of two arrays that they are made of.

    Raises
    ------
    DataError
        For anything else, with the name that was likely meant.

    Examples
    --------
    >>> from superpose.metrics import CKA, cka, resolved
    >>> resolved(["cka", CKA, cka]) == [CKA, CKA, CKA]
    True
    """
    if isinstance(metrics, str) or not isinstance(metrics, Iterable):
        metrics = [metrics]
    return [_resolved(metric) for metric in metrics]


def _resolved(metric: Any) -> Metric:
    if isinstance(metric, str):
        return choose(NAMES | _OLD, "metrics", metric)
    for function, one in _FUNCTIONS:
        if metric is function:
            return one
    if not isinstance(metric, Metric):
        raise DataError(
            f"{metric!r} is no metric; expected an object of superpose.metrics, its name in tables, or a callable with "
            "name, directed, invariances and minimum_samples."
        )
    return metric


_FUNCTIONS: tuple[tuple[Any, Metric], ...] = (
    (cka, CKA), (rsa, RSA), (regression, OLS_R), (ridge, RIDGE_R), (pls, PLS_R), (pcr, PCR_R), (cca, CCA),
    (svcca, SVCCA), (pwcca, PWCCA), (procrustes, PROCRUSTES), (shape_distance, SHAPE),
    (matching_hard, MATCHING_HARD), (matching_soft, MATCHING_SOFT),
    (matching_semi, MATCHING_SEMI), (mutual_knn, MUTUAL_KNN), (cknna, CKNNA),
    (cka_rbf, CKA_RBF), (rsa_kendall, RSA_KENDALL),
)  # fmt: skip
_OLD: dict[str, Metric] = {"regression_r": OLS_R, "regression_r2": OLS_R2, "regression_r_units": OLS_R_UNITS}
_RENAMED = {"REGRESSION_R": "OLS_R", "REGRESSION_R2": "OLS_R2", "REGRESSION_R_UNITS": "OLS_R_UNITS"}


def __getattr__(name: str) -> Metric:
    """Return a metric under the name that it had, with a warning."""
    if name not in _RENAMED:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    warnings.warn(
        f"{name} is now {_RENAMED[name]}, and its scores {_RENAMED[name].lower()}; the next version will not "
        "have the old name.",
        FutureWarning,
        stacklevel=2,
    )
    metric: Metric = globals()[_RENAMED[name]]
    return metric
