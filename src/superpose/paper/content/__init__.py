"""Content or encoding: how often `superpose.content` is right about pairs of systems whose content is known."""

from superpose.paper.content.cells import study
from superpose.paper.content.measurement import measure
from superpose.paper.content.picture import draw
from superpose.paper.content.summary import summary
from superpose.paper.content.verdicts import CLAIMS
from superpose.paper.figure import Figure

FIGURE = Figure(
    "content",
    study,
    scales={
        "smoke": {"core": 2, "hard": 0},
        "laptop": {"core": 50, "hard": 2},
        "paper": {},
    },
    draw=draw,
    claims=CLAIMS,
    summary=summary,
)

__all__ = ["CLAIMS", "FIGURE", "draw", "measure", "study", "summary"]
