"""Figure 5: are pretrained networks more alike in recovered features than in activity, and is it superposition?"""

from superpose.paper.figure import Figure
from superpose.paper.figure5.cells import study
from superpose.paper.figure5.costs import costs
from superpose.paper.figure5.measurement import measure
from superpose.paper.figure5.picture import draw
from superpose.paper.figure5.verdicts import CLAIMS

FIGURE = Figure(
    "figure5",
    study,
    scales={
        "smoke": {
            "layers": ("L6_2", "L6_3", "L3_1"),
            "named": ("L6_3-L3_1",),
            "samples": 2_000,
            "held_out": 500,
            "expansion": 1,
            "active": 8,
            "steps": 50,
        },
        "laptop": {},
        "paper": {"seeds": 3},
    },
    draw=draw,
    claims=CLAIMS,
    costs=costs,
)

__all__ = ["CLAIMS", "FIGURE", "costs", "draw", "measure", "study"]
