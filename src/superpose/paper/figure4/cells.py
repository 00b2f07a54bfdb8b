"""The settings of Figure 4, each with its reason, at three scales."""

from __future__ import annotations

from collections.abc import Sequence

from superpose.paper.figure4.measurement import measure
from superpose.paper.simulation import checked
from superpose.studies.study import Study, grid

UNITS = (8, 12, 16, 24, 32, 48, 64)


def study(
    *,
    latents: int = 64,
    active: Sequence[int] = (4,),
    units: Sequence[int] = UNITS,
    samples: int = 20_000,
    held_out: int = 4_000,
    draws: int = 50,
    block: int = 5,
    distribution: str = "uniform",
    steps: int = 3_000,
    batch: int = 256,
    learning_rate: float = 0.01,
    gradient: str = "mask",
    seed: int = 0,
) -> Study:
    """Return the study of Appendices E and F; what the paper leaves out has a default with its reason.

    The paper trains 200,000 and 1,000,000 steps on all samples, from normal random numbers and at a constant rate:
    days of work here. Dictionaries start from random directions of unit norm, an encoder as the transpose of its
    dictionary, and the rate falls to zero. Nothing but `r_train` is scored on what was trained on.

    Parameters
    ----------
    latents : int
        Features n, and latents of each dictionary. Missing from the paper; "(32/64)" in Appendix F may mean it.
    active : sequence of int
        Active latents per sample, k. Missing too. With 4 of 64, m* = 11, and there are sizes on both sides of it. Read
        as k / n, "(32/64)" is `active=(32,)`.
    units : sequence of int
        Units m of both systems. The range is missing; these go from below m* to n.
    samples : int
        Samples N to train on. Missing; with 20,000, what is learned holds for new samples.
    held_out : int
        New samples to score on: 5 folds, each predicted by weights from the other four.
    draws : int
        Pairs of systems. The paper's number of seeds is 50.
    block : int
        Pairs whose dictionaries are trained at once, in one cell. Blocks that are there are kept when `draws` grows.
    distribution : {"uniform", "signed", "gaussian"}
        Of the latents before the largest are kept. "uniform", on [0, 1], is the paper's.
    steps, batch : int
        Of `superpose.dictionaries.training.fit`. The paper's are in its Appendices E and F.
    learning_rate : float
        Its peak. The paper's constant rate is 0.001.
    gradient : {"mask", "straight_through"}
        Of `superpose.sparsity.TopK`. The paper's is "straight_through", several times slower.
    seed : int
        The seed that every draw is derived from.

    Returns
    -------
    Study
    """
    cells = grid(
        latents=[latents],
        active=active,
        samples=[samples],
        held_out=[held_out],
        distribution=[distribution],
        steps=[steps],
        batch=[batch],
        learning_rate=[learning_rate],
        gradient=[gradient],
        first=range(0, draws, block),
        units=units,
    )
    sized = [{**cell, "count": min(block, draws - cell["first"])} for cell in cells]
    drawn = ("latents", "active", "units", "samples", "held_out", "distribution", "first")
    return Study("figure4", measure, sized, seed=seed, draw=drawn, check=checked)
