"""The main job: raw, reconstructed, predicted and latent alignment in one table, and what it means."""

from superpose.analysis.main import Analysis, analyse, raw
from superpose.analysis.repeats import with_ceilings

__all__ = ["Analysis", "analyse", "raw", "with_ceilings"]
