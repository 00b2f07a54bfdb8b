"""Alignment metrics: functions of two arrays, and objects that say what they measure."""

from superpose.metrics.check import check_metric
from superpose.metrics.cka import CKA, CKA_DEBIASED, cka
from superpose.metrics.metric import Metric, MomentMetric
from superpose.metrics.regression import (
    REGRESSION_R,
    REGRESSION_R2,
    REGRESSION_R_UNITS,
    RegressionMetric,
    fixed_ridge,
    regression,
    relative_ridge,
)
from superpose.metrics.rsa import RSA, rsa
from superpose.metrics.shape import CCA, PROCRUSTES, cca, procrustes

DEFAULT = (CKA, CKA_DEBIASED, RSA, REGRESSION_R, REGRESSION_R2)
ALL = (*DEFAULT, REGRESSION_R_UNITS, CCA, PROCRUSTES)

__all__ = [
    "ALL",
    "CCA",
    "CKA",
    "CKA_DEBIASED",
    "DEFAULT",
    "PROCRUSTES",
    "REGRESSION_R",
    "REGRESSION_R2",
    "REGRESSION_R_UNITS",
    "RSA",
    "Metric",
    "MomentMetric",
    "RegressionMetric",
    "cca",
    "check_metric",
    "cka",
    "fixed_ridge",
    "procrustes",
    "regression",
    "relative_ridge",
    "rsa",
]
