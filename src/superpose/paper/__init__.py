"""The paper's figures and some beyond them: each module holds a study at three scales, its drawing and its claims.

`figure2.STUDIES["laptop"].run(folder)` gives the table, `figure2.draw(table)` the figure, and
`claims.judge(figure2.CLAIMS, table)` says which claims hold. `reproduction.reproduce` writes all of it to a folder.
"""

import lazy_loader as _lazy

FIGURES = (
    *("figure1", "figure2", "figure3", "figure4", "figure5"),
    *("width", "recovery", "colour", "noise", "samples", "rdms", "content"),
)

__getattr__, __dir__, __all__ = _lazy.attach(__name__, submodules=[*FIGURES, "claims", "reproduction", "simulation"])
