"""Figure 4: the alignment that superposition hides, and what sparse dictionaries give back (Sections 5 and 6)."""

from superpose.paper.figure4.cells import SCALES, STUDIES, UNITS, study
from superpose.paper.figure4.measurement import measure
from superpose.paper.figure4.picture import draw
from superpose.paper.figure4.shares import undone
from superpose.paper.figure4.verdicts import CLAIMS

__all__ = ["CLAIMS", "SCALES", "STUDIES", "UNITS", "draw", "measure", "study", "undone"]
