"""The main job: raw, reconstructed, predicted and latent alignment in one table, and what it means."""

from superpose.analysis.found import Analysis
from superpose.analysis.latent import latent
from superpose.analysis.main import analyse
from superpose.analysis.raw import raw
from superpose.analysis.repeats import with_ceilings

__all__ = ["Analysis", "analyse", "latent", "raw", "with_ceilings"]
