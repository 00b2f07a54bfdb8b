"""Alignment in closed form: of given projections, of random ones in expectation, and at finite sample sizes.

`rsa`, `cka` and `regression` take projections where the functions of the same names in `superpose.metrics`
take responses; they give the value that the metric approaches as samples accumulate. Matrices of latents ×
latents are avoided: ⟨AᵀA, BᵀB⟩ is computed as ‖ABᵀ‖², units × units.
"""

from superpose.theory.expected import (
    expected_cka,
    expected_cka_coloured,
    expected_cka_orthonormal,
    expected_cka_unit_norm,
    expected_regression,
    expected_regression_coloured,
    inversion_overlap,
    overlap_ratio,
)
from superpose.theory.finite import adjusted_r2, finite_sample_cka, held_out_r2, in_sample_r2
from superpose.theory.latents import (
    LatentMoments,
    latent_covariance,
    latent_fourth_moments,
    latent_mean,
    latent_moments,
)
from superpose.theory.participation import deflation, latent_cka, latent_participation, participation_ratio
from superpose.theory.projections import (
    cka,
    cka_uncentred,
    limits,
    mean_squared_error,
    regression,
    rsa,
    rsa_euclidean,
    rsa_uncentred,
    weights,
)
from superpose.theory.recovery import critical_units

__all__ = [
    "LatentMoments",
    "adjusted_r2",
    "cka",
    "cka_uncentred",
    "critical_units",
    "deflation",
    "expected_cka",
    "expected_cka_coloured",
    "expected_cka_orthonormal",
    "expected_cka_unit_norm",
    "expected_regression",
    "expected_regression_coloured",
    "finite_sample_cka",
    "held_out_r2",
    "in_sample_r2",
    "inversion_overlap",
    "latent_cka",
    "latent_covariance",
    "latent_fourth_moments",
    "latent_mean",
    "latent_moments",
    "latent_participation",
    "limits",
    "mean_squared_error",
    "overlap_ratio",
    "participation_ratio",
    "regression",
    "rsa",
    "rsa_euclidean",
    "rsa_uncentred",
    "weights",
]
