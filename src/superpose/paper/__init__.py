"""The paper's figures and some beyond them, a module each: its `FIGURE` holds the study, the drawing and the claims.

`figure2.FIGURE.at("laptop").run(folder)` gives the table, `figure2.FIGURE.draw(table)` the picture, and
`claims.judge(figure2.FIGURE.claims, table)` says which claims hold. `reproduction.reproduce` does all of it.
"""

import lazy_loader as _lazy

FIGURES = (
    *("figure1", "figure2", "figure3", "figure4", "figure5"),
    *("width", "recovery", "colour", "noise", "samples", "rdms", "content", "encoders"),
)

__getattr__, __dir__, __all__ = _lazy.attach(
    __name__, submodules=[*FIGURES, "claims", "figure", "reproduction", "simulation"]
)
