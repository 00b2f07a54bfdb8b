"""Dictionaries that someone else has trained: their scores, beside those of the dictionaries fitted here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import nn

from superpose.analysis.job import Job
from superpose.analysis.lines import RECOVERED, packed_alike
from superpose.analysis.recovery import Line, Recovered
from superpose.dictionaries.sae import SparseAutoencoder
from superpose.files import DataError

Array = NDArray[Any]
GIVEN = "given"
# Latents of a dictionary that content takes as features. A pair of 1,536 each takes fifty CPU seconds, twice as many
# up to eight times as long.
WIDEST = 2_048


def checked(
    dictionaries: Mapping[str, SparseAutoencoder],
    systems: Mapping[str, Array],
    constant: Mapping[str, Sequence[int]],
) -> dict[str, SparseAutoencoder]:
    """Return dictionaries that take the systems as they are analysed: without their constant units.

    Parameters
    ----------
    dictionaries : mapping of str to SparseAutoencoder
    systems : mapping of str to ndarray, (samples, units)
        With all units.
    constant : mapping of str to sequence of int
        The units that are left out, of the systems that have some.

    Raises
    ------
    DataError
        For a system that is not there, or a dictionary of another width or of several repeats.
    """
    found = {}
    for name, sae in dictionaries.items():
        if name not in systems:
            raise DataError(f"a dictionary is given for {name!r}; expected one of {', '.join(map(repr, systems))}.")
        x = systems[name]
        if sae.repeats or sae.units != x.shape[-1]:
            raise DataError(
                f"the dictionary of {name} is for {sae.units} units and has repeats {sae.repeats}; expected "
                f"{x.shape[-1]} units and no repeats."
            )
        found[name] = _without(sae, list(constant.get(name, [])), np.asarray(x[0], dtype=np.float32))
    return found


def features_of(
    dictionaries: Mapping[str, SparseAutoencoder] | None,
) -> tuple[dict[str, SparseAutoencoder], list[str]]:
    """Return the dictionaries whose latents are the features of content, and what is said of wider ones."""
    given = dictionaries or {}
    warnings = [
        f"{name}: content looked for features instead of taking its dictionary's {sae.latents:,} latents (at most "
        f"{WIDEST:,}); sp.content(dictionaries=…) takes them all, and takes long."
        for name, sae in given.items()
        if sae.latents > WIDEST
    ]
    return {name: sae for name, sae in given.items() if sae.latents <= WIDEST}, warnings


def cells_of_given(
    job: Job, dictionaries: Mapping[str, SparseAutoencoder], further: Sequence[Line]
) -> Iterator[partial[pd.DataFrame]]:
    """Return the work on every pair whose systems both have a dictionary."""
    for pair in job.within(dictionaries):
        yield partial(_scored, pair=pair, dictionaries=dictionaries, lines=(*RECOVERED, packed_alike, *further))


def _scored(
    job: Job, *, pair: tuple[str, str], dictionaries: Mapping[str, SparseAutoencoder], lines: Sequence[Line]
) -> pd.DataFrame:
    recovered = Recovered(job.only(pair), {name: dictionaries[name] for name in pair})
    return pd.concat([line(recovered) for line in lines], ignore_index=True).assign(fit=GIVEN)


def _without(sae: SparseAutoencoder, units: list[int], values: Array) -> SparseAutoencoder:
    """Return the same dictionary on the other units, what it makes of these being constant."""
    if not units:
        return sae
    kept = np.setdiff1d(np.arange(sae.units), units)
    reduced = deepcopy(sae)
    with torch.no_grad():
        shift = sae.standardise(torch.from_numpy(values)[None])[:, units] @ sae.encoder[:, units].mT
        reduced.encoder_bias.add_(shift[0])
        for name in ("encoder", "dictionary"):
            setattr(reduced, name, nn.Parameter(getattr(sae, name)[:, kept]))
        reduced.decoder_bias = nn.Parameter(sae.decoder_bias[kept])
        reduced.centre = sae.centre[kept]
    return reduced
