"""Layers as a family: which layer predicts a target best, how much of what can be predicted, and unit by unit."""

from superpose.depth.main import layers
from superpose.depth.results import Layers

__all__ = ["Layers", "layers"]
