"""A figure: its study, the settings of each scale, its drawing and its claims, in one record."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from superpose.arrays import choose
from superpose.paper.claims import Claim
from superpose.studies.study import Study

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure as Picture

Settings = Mapping[str, Any]


@dataclass(frozen=True)
class Figure:
    """What belongs to a figure; `superpose.paper.reproduction` computes, draws and judges any of them.

    Parameters
    ----------
    name : str
        The name of its module in `superpose.paper`, of its command and of its files.
    study : callable
        Options → the `Study` that gives its table. Its defaults are the paper's settings; its options and their
        docstring are those of the command.
    scales : mapping of str to mapping
        The options of `study` at each of "smoke" (seconds), "laptop" (about a minute) and "paper", where they are not
        the defaults.
    draw : callable
        The table → a matplotlib figure; its keyword options are options of the command too.
    claims : sequence of Claim
        What the table can decide.
    costs : callable, optional
        The study → a table of what its cells cost, for `--dry-run`.
    summary : callable, optional
        The table → a shorter one, which is kept beside it.

    Raises
    ------
    DataError
        By `settings` and `at`, for an unknown scale.

    Examples
    --------
    >>> import tempfile
    >>> from superpose.paper.claims import judge
    >>> from superpose.paper.figure2 import FIGURE
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     table = FIGURE.at("smoke", units=(4, 16), draws=8).run(folder)
    >>> picture = FIGURE.draw(table)
    >>> judge(FIGURE.claims, table).verdict[6]
    'holds'
    """

    name: str
    study: Callable[..., Study]
    scales: Mapping[str, Settings]
    draw: Callable[..., Picture]
    claims: Sequence[Claim]
    costs: Callable[[Study], pd.DataFrame] | None = None
    summary: Callable[[pd.DataFrame], pd.DataFrame] | None = None

    def settings(self, scale: str, **options: Any) -> dict[str, Any]:
        """Return the options of the study at a scale, with those given in place of the scale's."""
        return {**choose(self.scales, "scale", scale), **options}

    def at(self, scale: str, **options: Any) -> Study:
        """Return the study at a scale, with the options given in place of the scale's."""
        return self.study(**self.settings(scale, **options))
