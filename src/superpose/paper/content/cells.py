"""The pairs of the study, at three scales."""

from __future__ import annotations

from superpose.paper.content.measurement import measure
from superpose.paper.content.regimes import REGIMES
from superpose.studies.study import Study


def study(*, core: int = 500, hard: int = 30, seed: int = 0) -> Study:
    """Return the study of content, of which the paper has none.

    Parameters
    ----------
    core : int
        Pairs in which features can be found: 48 to 128 features a system, 3 to 15 % of them active, twice the critical
        number of units or more and at most as many as features, 5,000 or 10,000 samples, noise of at most .3. Two in
        five hold .9 to 1 of their features in common, two in five 0 to .5, one between.
    hard : int
        Pairs of each other regime.
    seed : int
        The seed that every pair is drawn from.

    Returns
    -------
    Study
    """
    counts = {regime: core if regime == "core" else hard for regime in REGIMES}
    cells = [{"regime": regime, "number": number} for regime, count in counts.items() for number in range(count)]
    return Study("content", measure, cells, seed=seed)
