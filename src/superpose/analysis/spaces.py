"""Spaces to compare systems in: dictionaries fitted to them, and what those make of their activity."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from superpose.analysis.kept import Dictionaries, kept
from superpose.arrays import chunks
from superpose.dictionaries.diagnostics import unit_means
from superpose.dictionaries.losses import joint, reconstruction
from superpose.dictionaries.sae import SparseAutoencoder
from superpose.dictionaries.sparsity import TopK
from superpose.dictionaries.training import fit, normal_
from superpose.files import DataError, argument

Array = NDArray[Any]
Systems = Mapping[str, Array]
Pairs = Sequence[tuple[str, str]]
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Recipe:
    """How a dictionary is made: its size, its sparsity, its training, and where it is kept once it is finished."""

    latents: int
    active: int
    mode: str
    steps: int
    batch: float | None
    learning_rate: float | None
    seed: int
    progress: Progress
    preset: str = "default"
    device: str = "cpu"
    folder: Path | None = None

    @property
    def settings(self) -> dict[str, Any]:
        """What a dictionary follows from, beside the rows it is trained on."""
        return {of.name: getattr(self, of.name) for of in fields(self) if of.name not in ("progress", "folder")}


def sizes(latents: int | None, active: int | None, usual: int) -> tuple[int, int]:
    """Return how many latents a dictionary has, `usual` where nobody says, and how many are active.

    Raises
    ------
    DataError
        For a number that is not positive, or more active latents than there are.
    """
    latents = positive(latents, usual, "latents")
    active = positive(active, max(1, min(32, latents // 16)), "active")
    if active > latents:
        raise DataError(f"{argument('active')} is {active} of {latents} latents; expected at most that many.")
    return latents, active


def positive(value: int | None, default: int, name: str) -> int:
    """Return a positive integer that somebody gave, or the default.

    Raises
    ------
    DataError
        For anything else.
    """
    if value is None:
        return default
    if not isinstance(value, int | np.integer) or isinstance(value, bool) or value < 1:
        raise DataError(f"{argument(name)} is {value!r}; expected a positive integer.")
    return int(value)


def apart(systems: Systems, recipe: Recipe) -> Dictionaries:
    """Fit each system's dictionary alone (Eq. (8))."""
    fitted: Dictionaries = {}
    for name, x in systems.items():
        fitted |= _on_device(kept(recipe.folder, {name: x}, recipe.settings, partial(_alone, name, x, recipe)), recipe)
    return fitted


def _alone(name: str, x: Array, recipe: Recipe) -> Dictionaries:
    return {name: fit(_dictionary(name, x, recipe), reconstruction, x, **_training(name, recipe))}  # type: ignore[dict-item]


def together(systems: Systems, recipe: Recipe) -> Dictionaries:
    """Fit one joint dictionary: one index space, each system's own encoder giving its own code (Eq. (9))."""
    settings = {"joint": list(systems), **recipe.settings}
    return _on_device(kept(recipe.folder, systems, settings, partial(_jointly, systems, recipe)), recipe)


def _jointly(systems: Systems, recipe: Recipe) -> Dictionaries:
    label = " ".join(systems)
    saes = nn.ModuleList(_dictionary(f"{label} {name}", x, recipe) for name, x in systems.items())
    fit(saes, partial(joint, mode=recipe.mode), *systems.values(), **_training(label, recipe))
    return dict(zip(systems, saes, strict=True))  # type: ignore[arg-type]


def _on_device(dictionaries: Dictionaries, recipe: Recipe) -> Dictionaries:
    return {name: sae.to(recipe.device) for name, sae in dictionaries.items()}


def untrained(systems: Systems, recipe: Recipe) -> Dictionaries:
    """Draw each system's dictionary at random and train nothing: centred and scaled, as training would begin."""
    drawn: Dictionaries = {}
    for name, x in systems.items():
        sae = _dictionary(f"untrained {name}", x, recipe)
        centre = unit_means(x)
        square = sum(np.square(rows - centre).sum() for _, rows in chunks(x))
        sae.centre.copy_(torch.from_numpy(centre))
        sae.scale.copy_(torch.tensor(np.sqrt(square / x.size)))
        sae.normalise_()
        drawn[name] = sae
    return drawn


def encoded(dictionaries: Dictionaries, systems: Systems) -> dict[str, Array]:
    """Return each system's sparse codes, (samples, latents)."""
    return {name: sae.encode(systems[name]) for name, sae in dictionaries.items()}


def decoded(dictionaries: Dictionaries, codes: Systems) -> dict[str, Array]:
    """Return what the codes stand for in each system's activity, (samples, units)."""
    return {name: sae.decode(codes[name]) for name, sae in dictionaries.items()}


def derived_seed(seed: int, label: str) -> int:
    """Return a seed that depends on the settings of one fit alone, not on what ran before it."""
    return int(np.random.SeedSequence((seed, crc32(label.encode()))).generate_state(1)[0])


def _dictionary(label: str, x: Array, recipe: Recipe) -> SparseAutoencoder:
    generator = torch.Generator().manual_seed(derived_seed(recipe.seed, label))
    begin, _ = PRESETS[recipe.preset]
    return begin(x.shape[-1], recipe, generator).to(recipe.device)


def _random_directions(units: int, recipe: Recipe, generator: torch.Generator) -> SparseAutoencoder:
    return SparseAutoencoder(units, recipe.latents, TopK(recipe.active), generator=generator)


def _standard_normal(units: int, recipe: Recipe, generator: torch.Generator) -> SparseAutoencoder:
    sparsity = TopK(recipe.active, "straight_through")
    return normal_(SparseAutoencoder(units, recipe.latents, sparsity, generator=generator), generator=generator)


def _training(label: str, recipe: Recipe) -> dict[str, Any]:
    def progress(step: int, loss: torch.Tensor) -> None:
        recipe.progress(f"dictionary {label}", step, recipe.steps)

    return {
        "steps": recipe.steps,
        "preset": recipe.preset,
        "batch": recipe.batch,
        "learning_rate": recipe.learning_rate,
        "seed": derived_seed(recipe.seed, label),
        "progress": progress,
        **PRESETS[recipe.preset][1],
    }


def each_pair(names: Sequence[str], pairs: Pairs) -> list[tuple[str, ...]]:
    """Return the pairs themselves: each gets an index space of its own."""
    return list(pairs)


def everything(names: Sequence[str], pairs: Pairs) -> list[tuple[str, ...]]:
    """Return all systems as one group."""
    return [tuple(names)]


# How dictionaries begin, and what their training has beside the preset of `fit` of the same name.
Begin = Callable[[int, Recipe, torch.Generator], SparseAutoencoder]
PRESETS: dict[str, tuple[Begin, dict[str, float]]] = {
    "default": (_random_directions, {}),
    "paper": (_standard_normal, {"weight_decay": 0.01}),
}

# How systems are grouped, and how the dictionaries of one group are fitted.
Trainer = Callable[[Systems, Recipe], Dictionaries]
FITS: dict[str, tuple[Callable[[Sequence[str], Pairs], list[tuple[str, ...]]], Trainer]]
FITS = {"pairwise": (each_pair, together), "all": (everything, together), "independent": (everything, apart)}
