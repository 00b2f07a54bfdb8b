"""Figure 4: the alignment that superposition hides, and what sparse dictionaries give back (Sections 5 and 6)."""

from superpose.paper.figure import Figure
from superpose.paper.figure4.cells import UNITS, study
from superpose.paper.figure4.measurement import measure
from superpose.paper.figure4.picture import draw
from superpose.paper.figure4.shares import undone
from superpose.paper.figure4.verdicts import CLAIMS

FIGURE = Figure(
    "figure4",
    study,
    scales={
        "smoke": {"units": (16, 48), "samples": 2000, "held_out": 1000, "draws": 2, "steps": 100},
        "laptop": {"draws": 5},
        "paper": {},
    },
    draw=draw,
    claims=CLAIMS,
)

__all__ = ["CLAIMS", "FIGURE", "UNITS", "draw", "measure", "study", "undone"]
