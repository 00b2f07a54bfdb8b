"""Content or encoding: how often `superpose.content` is right about pairs of systems whose content is known."""

from superpose.paper.content.cells import SCALES, STUDIES, study
from superpose.paper.content.measurement import measure
from superpose.paper.content.picture import draw
from superpose.paper.content.summary import summary
from superpose.paper.content.verdicts import CLAIMS

__all__ = ["CLAIMS", "SCALES", "STUDIES", "draw", "measure", "study", "summary"]
