"""Figure 5: are pretrained networks more alike in recovered features than in activity, and is it superposition?"""

from superpose.paper.figure5.cells import SCALES, STUDIES, study
from superpose.paper.figure5.costs import costs
from superpose.paper.figure5.measurement import measure
from superpose.paper.figure5.picture import draw
from superpose.paper.figure5.verdicts import CLAIMS

__all__ = ["CLAIMS", "SCALES", "STUDIES", "costs", "draw", "measure", "study"]
