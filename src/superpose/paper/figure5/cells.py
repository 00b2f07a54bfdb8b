"""The settings of Figure 5, each with its reason, at three scales."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any

from superpose.arrays import choose
from superpose.encoders import L3_LAYERS, L6_LAYERS, SRE_LAYERS
from superpose.paper.figure5.measurement import measure
from superpose.study import Study

LAYERS: dict[str, tuple[str, ...]] = {
    "language": L6_LAYERS + L3_LAYERS,
    "glosses": L6_LAYERS + L3_LAYERS,
    "twin": L6_LAYERS + SRE_LAYERS,
}
DRAWN = ("inputs", "layers", "samples", "held_out", "work", "number")


def study(
    *,
    inputs: str = "language",
    layers: Sequence[str] = (),
    named: Sequence[str] = ("L6_3-L3_2", "L6_6-L3_3", "L6_1-L6_6"),
    samples: int = 40_000,
    held_out: int = 10_000,
    expansion: int = 4,
    active: int = 32,
    mode: str = "detached",
    steps: int = 1_000,
    batch: int = 512,
    learning_rate: float = 5e-3,
    seeds: int = 1,
    seed: int = 0,
) -> Study:
    """Return the study of Section 7, on networks whose weights install as packages, with what it lacks.

    The paper's networks are CLIP and DINO on ImageNet: 36 layers, 630 pairs, trained two million steps on all samples.
    Here every pair of layers has a joint dictionary; all layers have one together, and its control on shuffled pairs;
    and every layer has one of its own. Some pairs are held against all that may explain a rise but superposition.

    Parameters
    ----------
    inputs : {"language", "glosses", "twin"}
        Networks and what they see. "language": two sentence encoders, of 6 and 3 layers, token by token over English
        prose that comes with Python. "glosses": the same over WordNet's definitions, which Debian packages. "twin":
        the larger encoder beside itself after more training.
    layers : sequence of str
        As L6_3, of the networks; none is all of them.
    named : sequence of str
        Pairs of layers, as L6_3-L3_2, that are held against all controls: some minutes each.
    samples : int
        Tokens to train on, at least; the paper's images are 40,000.
    held_out : int
        Tokens to score on, at least, of other sentences; the paper's images are 10,000.
    expansion : int
        Latents of each dictionary as a multiple of the units. Missing from the paper.
    active : int
        Active latents a sample, k. Missing too.
    mode : {"detached", "cross", "separate", "agreement"}
        Of `superpose.losses.joint`. "cross" is Eq. (40) as we read it, and drops what a layer does not share;
        "detached" keeps it.
    steps, batch : int
        Of `superpose.training.fit`.
    learning_rate : float
        Its peak. The paper's constant rate is 0.001.
    seeds : int
        Dictionaries of so many seeds.
    seed : int
        The seed that every draw is derived from.

    Returns
    -------
    Study
    """
    shown = tuple(layers) or choose(LAYERS, "inputs", inputs)
    pairs = list(combinations(shown, 2))
    judged = [pair for pair in pairs if "-".join(pair) in named]
    work = [
        # The longest first, so that processes end together.
        ("together", shown),
        ("independent", shown),
        *(("held against", pair) for pair in judged),
        *(("pair", pair) for pair in pairs if pair not in judged),
    ]
    cells = [
        {
            "inputs": inputs,
            "layers": " ".join(some),
            "work": what,
            "samples": samples,
            "held_out": held_out,
            "expansion": expansion,
            "active": active,
            "mode": mode,
            "steps": steps,
            "batch": batch,
            "learning_rate": learning_rate,
            "number": number,
        }
        for number in range(seeds)
        for what, some in work
    ]
    return Study("figure5", measure, cells, seed=seed, draw=DRAWN)


SCALES: dict[str, dict[str, Any]] = {
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
}
STUDIES = {scale: study(**settings) for scale, settings in SCALES.items()}
