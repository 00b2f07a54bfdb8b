"""The main job: raw, reconstructed, predicted and latent alignment in one table, and what it means."""

from superpose.analysis.main import Analysis, analyse, raw

__all__ = ["Analysis", "analyse", "raw"]
