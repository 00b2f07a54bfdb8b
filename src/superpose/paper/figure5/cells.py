"""The settings of Figure 5, each with its reason, at three scales."""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

from superpose.analysis.inputs import read_dictionaries
from superpose.analysis.spaces import PRESETS
from superpose.arrays import choose
from superpose.dictionaries.losses import SCORABLE_MODES
from superpose.examples.encoders import L3_LAYERS, L6_LAYERS, LITE0_LAYERS, SRE_LAYERS, VIT_LAYERS, text_digest
from superpose.paper.figure5.inputs import recorded_layers
from superpose.paper.figure5.measurement import measure
from superpose.store import digest
from superpose.studies.study import Study

# Layers of each kind of inputs, and the pairs of them that are held against all controls.
LAYERS: dict[str, tuple[str, ...]] = {
    "language": L6_LAYERS + L3_LAYERS,
    "glosses": L6_LAYERS + L3_LAYERS,
    "twin": L6_LAYERS[1::2] + SRE_LAYERS[1::2],
    "vision": tuple(VIT_LAYERS[i - 1] for i in (3, 6, 9, 11, 12)) + tuple(LITE0_LAYERS[i - 1] for i in (8, 12, 14, 16)),
}
# Beside those that are shown unless others are asked for.
ALL = {"twin": L6_LAYERS + SRE_LAYERS, "vision": VIT_LAYERS + LITE0_LAYERS}
NAMED: dict[str, tuple[str, ...]] = {
    "language": ("L6_3-L3_2", "L6_6-L3_3", "L6_1-L6_6"),
    "glosses": ("L6_3-L3_2", "L6_6-L3_3", "L6_1-L6_6"),
    "twin": ("L6_2-SRE_2", "L6_4-SRE_4", "L6_6-SRE_6"),
    "vision": ("ViT_9-Lite0_12", "ViT_12-Lite0_16", "ViT_3-ViT_12"),
}
DRAWN = ("inputs", "layers", "samples", "held_out", "work", "number")


def study(
    *,
    inputs: str = "language",
    recorded: Sequence[str] = (),
    layers: Sequence[str] = (),
    named: Sequence[str] = (),
    controls: str = "named",
    dictionaries: Sequence[str] = (),
    samples: int = 40_000,
    held_out: int = 10_000,
    expansion: int = 4,
    active: int = 32,
    mode: str = "detached",
    preset: str = "default",
    steps: int = 1_000,
    batch: int | None = None,
    learning_rate: float | None = None,
    device: str = "cpu",
    seeds: int = 1,
    seed: int = 0,
) -> Study:
    """Return the study of Section 7, on networks whose weights install as packages, with what it lacks.

    The paper's networks are CLIP and DINO on ImageNet: 36 layers, 630 pairs, trained two million steps on all samples.
    Here every pair of layers has a joint dictionary; all layers have one together, and its control on shuffled pairs;
    and every layer has one of its own. Some pairs are held against all that may explain a rise but superposition.

    Parameters
    ----------
    inputs : {"language", "glosses", "twin", "vision"}
        Networks and what they see. "language": two sentence encoders, of 6 and 3 layers, token by token over English
        prose that comes with Python. "glosses": the same over WordNet's definitions, which Debian packages. "twin":
        the larger encoder beside itself after more training. "vision": a ViT-S/14 and an EfficientNet-Lite0, at 49
        places of drawings that Debian packages.
    recorded : sequence of str
        Folders that `superpose extract` wrote, of the same inputs: their layers, FOLDER.layer, instead of `inputs`.
    layers : sequence of str
        As L6_3, of the networks; none is all of them, of vision nine.
    named : sequence of str
        Pairs of layers, as L6_3-L3_2, that are held against all controls: some minutes each. None is three of the
        inputs, and no pair of recorded ones.
    controls : {"named", "all"}
        Which pairs are held against all controls. "all" is the long run.
    dictionaries : sequence of str
        Dictionaries that others have trained, as LAYER=PATH, to score beside those trained here.
    samples : int
        Rows to train on, at least: tokens, or places of pictures; the paper's images are 40,000.
    held_out : int
        Rows to score on, at least, of other sentences or pictures; the paper's images are 10,000.
    expansion : int
        Latents of each dictionary as a multiple of the units. Missing from the paper.
    active : int
        Active latents per sample, k. Missing too.
    mode : {"detached", "cross", "separate", "agreement"}
        Of `superpose.losses.joint`. "cross" is Eq. (40) as we read it, and drops what a layer does not share;
        "detached" keeps it.
    preset : {"default", "paper"}
        Of `superpose.analyse`. "paper" is Appendix G to the letter: all rows in every step, for two million steps.
    steps : int
        Of `superpose.dictionaries.training.fit`.
    batch : int, optional
        Of `superpose.dictionaries.training.fit`; None is the preset's.
    learning_rate : float, optional
        Its peak; None is the preset's. The paper's constant rate is 0.001.
    device : str
        Where dictionaries are trained, in torch's words: cuda.
    seeds : int
        Dictionaries of so many seeds.
    seed : int
        The seed that every draw is derived from.

    Returns
    -------
    Study

    Raises
    ------
    DataError
        For unknown inputs or layers, or stores that cannot be read.
    """
    choose(dict.fromkeys(SCORABLE_MODES), "mode", mode)
    choose(PRESETS, "preset", preset)
    shown = _shown(inputs, recorded, layers)
    chosen = tuple(named) or (() if recorded else NAMED[inputs])
    cells = [
        {
            "inputs": " ".join(Path(folder).name for folder in recorded) or inputs,
            "recorded": os.pathsep.join(recorded),
            "layers": " ".join(some),
            "work": what,
            "dictionaries": os.pathsep.join(dictionaries) if what == "independent" else "",
            "contents": _contents(recorded, dictionaries if what == "independent" else ()),
            "samples": samples,
            "held_out": held_out,
            "expansion": expansion,
            "active": active,
            "mode": mode,
            "preset": preset,
            "steps": steps,
            "batch": batch,
            "learning_rate": learning_rate,
            "device": device,
            "number": number,
        }
        for number in range(seeds)
        for what, some in _work(shown, chosen, controls)
    ]
    return Study("figure5", measure, cells, seed=seed, draw=DRAWN)


def _shown(inputs: str, recorded: Sequence[str], layers: Sequence[str]) -> tuple[str, ...]:
    """Return the layers that are asked for, all of which there are."""
    known = tuple(recorded_layers(recorded)) if recorded else choose(LAYERS, "inputs", inputs)
    there = dict.fromkeys(known + ALL.get(inputs, ()))
    for layer in layers:
        choose(there, "a layer", layer)
    return tuple(layers) or known


def _work(shown: tuple[str, ...], chosen: Sequence[str], controls: str) -> list[tuple[str, tuple[str, ...]]]:
    """Return what is done with which layers, the longest first, so that processes end together."""
    pairs = list(combinations(shown, 2))
    judged = choose({"named": [pair for pair in pairs if "-".join(pair) in chosen], "all": pairs}, "controls", controls)
    return [
        ("together", shown),
        ("independent", shown),
        *(("held against", pair) for pair in judged),
        *(("pair", pair) for pair in pairs if pair not in judged),
    ]


def _contents(recorded: Sequence[str], dictionaries: Sequence[str]) -> str:
    """Return a digest of the files that a cell reads, or nothing where it reads none of the user's."""
    read = [digest(folder) for folder in recorded]
    read += [str(entry["sha256"]) for entry in read_dictionaries(dictionaries)[1].values()]
    return text_digest(read) if read else ""
