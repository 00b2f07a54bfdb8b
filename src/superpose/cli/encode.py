"""`superpose encode`: the sparse codes of a file of activity."""

from __future__ import annotations

import sys
from pathlib import Path

from superpose.cli.reading import Axes, Missing, show_notes, told
from superpose.running.progress import Progress


def encode(dictionary: Path, file: Path, *, out: Path, axes: Axes = None, missing: Missing = None) -> None:
    """Write the sparse codes of a file of activity: one row per sample, one column per latent.

    The codes are a plain array: `superpose compare codes_a.npy codes_b.npy --raw` compares the features of two systems.
    Prints the fraction of variance that the codes leave unexplained.

    Parameters
    ----------
    dictionary
        A file from `superpose train`, or a dictionary from SAELens, sparsify, dictionary_learning or Prisma (its folder
        or weights file).
    file
        Activity, (samples, units), as `superpose compare` takes it.
    out
        The .npy file to write, float32, with rows in the order of the file.
    """
    import numpy as np

    from superpose.analysis.inputs import read_dictionary, read_files
    from superpose.dictionaries.diagnostics import fvu, l0
    from superpose.files import DataError, whole

    if out.suffix != ".npy":
        raise DataError(f"--out is {out}; expected a file name that ends in .npy.")
    sae = read_dictionary(dictionary)
    with Progress() as reading:
        systems, _, notes, _ = read_files([file], reading, **told(axes, missing))
    show_notes(notes)
    if len(systems) > 1:
        raise DataError(f"{file} holds {len(systems)} layers; expected one of its files.")
    (x,) = systems.values()
    codes = sae.encode(x)
    out.parent.mkdir(parents=True, exist_ok=True)
    with whole(out) as temporary:
        np.save(temporary, codes)
    print(f"{codes.shape[0]} samples, {codes.shape[1]} latents, {float(l0(codes)):.4g} active a sample, FVU ", end="")
    print(f"{float(fvu(x, sae.decode(codes))):.4g}")
    print(f"Written to {out}", file=sys.stderr)
