"""Other people's dictionaries: SAELens, sparsify, dictionary_learning and Prisma, read without running what is in them.

Only safetensors, JSON and torch.save's archives of tensors are opened, and an option that would change codes is
followed or refused by name. The weights of these formats carry no checksum: `digest` says which files were read.
"""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from superpose.dictionaries.formats import dictionary_learning, prisma, saelens, sparsify
from superpose.dictionaries.formats.saelens import write_saelens
from superpose.dictionaries.sae import SparseAutoencoder
from superpose.files import DataError, sha256


@dataclass(frozen=True)
class Format:
    """A format: the names of its files, the weights' as a pattern, and its reader.

    Parameters
    ----------
    weights : str
        The pattern that the name of its file of weights matches.
    settings : tuple of str
        The files that may lie beside it.
    read : callable
        Takes the path of the weights, and returns the dictionary.
    """

    weights: str
    settings: tuple[str, ...]
    read: Callable[[Path], SparseAutoencoder]


FORMATS = {
    "SAELens": Format(saelens.WEIGHTS, (saelens.SETTINGS, saelens.SCALER), saelens.read_saelens),
    "sparsify": Format(sparsify.WEIGHTS, (sparsify.SETTINGS,), sparsify.read_sparsify),
    "dictionary_learning": Format(
        dictionary_learning.WEIGHTS, (dictionary_learning.SETTINGS,), dictionary_learning.read_dictionary_learning
    ),
    "Prisma": Format(prisma.WEIGHTS, (prisma.SETTINGS,), prisma.read_prisma),
}


def read(path: str | os.PathLike[str]) -> SparseAutoencoder:
    """Read a dictionary of another package, recognised by the name of its weights.

    Nothing in a file is ever run: pickles are refused unless they are tensors and plain values. Codes and
    reconstructions are those of the package itself, to rounding, as float32; what superpose cannot follow is refused.

    Parameters
    ----------
    path : path-like
        A folder that holds one dictionary, or its file of weights: `sae_weights.safetensors` (SAELens),
        `sae.safetensors` (sparsify), `ae.pt` (dictionary_learning) or `n_images_*.pt` (Prisma), with its settings
        beside it.

    Returns
    -------
    SparseAutoencoder
        On the CPU. Where the format subtracts a bias first, that is its centre.

    Raises
    ------
    DataError
        If the format is not recognised, or a file is missing, damaged, hostile, or has an option that superpose
        cannot follow; the error names the format that it was taken for, the file and the cause.

    Examples
    --------
    >>> import tempfile, torch
    >>> from superpose import formats
    >>> from superpose.dictionaries.sae import SparseAutoencoder
    >>> from superpose.dictionaries.sparsity import TopK
    >>> sae = SparseAutoencoder(16, 64, TopK(4))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     formats.write_saelens(sae, folder)
    ...     again = formats.read(folder)
    >>> torch.equal(again.encoder, sae.encoder)
    True
    """
    name, weights = _recognise(Path(path))
    try:
        return FORMATS[name].read(weights)
    except DataError as error:
        raise DataError(f"{path}, taken for a dictionary of {name}: {error}") from None


def digest(path: str | os.PathLike[str]) -> dict[str, str]:
    """Return the SHA-256 digest of each file that `read` reads there, by the file's name.

    The formats have no checksum of their own, so that a changed weight cannot be noticed; record these digests beside
    results, and compare them.

    Parameters
    ----------
    path : path-like
        As for `read`.

    Raises
    ------
    DataError
        If the format is not recognised.
    """
    name, weights = _recognise(Path(path))
    beside = (weights.with_name(settings) for settings in FORMATS[name].settings)
    return {file.name: sha256(file) for file in (weights, *beside) if file.is_file()}


def _recognise(path: Path) -> tuple[str, Path]:
    """Return the format of a dictionary, and its file of weights."""
    if not path.exists():
        raise DataError(f"{path} does not exist; expected a folder with a dictionary, or its file of weights.")
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    found = [
        (name, file)
        for name, known in FORMATS.items()
        for file in files
        if file.is_file() and fnmatch.fnmatchcase(file.name, known.weights)
    ]
    if not found:
        names = ", ".join(f"{known.weights} ({name})" for name, known in FORMATS.items())
        raise DataError(f"{path} has no weights of a known name; expected {names}. Bare pickles are never read.")
    if len(found) > 1:
        raise DataError(f"{path} has more than one file of weights: {', '.join(f.name for _, f in found)}; name one.")
    return found[0]


__all__ = ["FORMATS", "Format", "digest", "read", "write_saelens"]
