"""The file that training resumes from: parameters, moments and progress, whole, verified, and bound to its settings."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from superpose.dictionaries.digests import digest
from superpose.files import DataError, whole

_FORMAT = "superpose.training"
_VERSION = "1"
_ROWS = 1024


def write(path: str | os.PathLike[str], tensors: Mapping[str, Tensor], settings: Mapping[str, str]) -> None:
    """Write a checkpoint to a safetensors file, which appears whole or not at all.

    Parameters
    ----------
    path : path-like
        Where; an existing file is replaced.
    tensors : mapping
        What training resumes from.
    settings : mapping
        All that determines the result, as text. `read` refuses the file to anything else.

    Examples
    --------
    >>> import tempfile, torch
    >>> from superpose.dictionaries.checkpoints import read, write
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write(f"{folder}/run.safetensors", {"weight": torch.ones(2)}, {"seed": "0"})
    ...     read(f"{folder}/run.safetensors", {"seed": "0"})
    {'weight': tensor([1., 1.])}
    """
    from safetensors.torch import save_file

    kept = {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format) for name, tensor in tensors.items()
    }
    metadata = {"format": _FORMAT, "version": _VERSION, "settings": json.dumps(dict(settings), sort_keys=True)}
    with whole(path) as temporary:
        save_file(kept, temporary, metadata | {"sha256": digest(kept, metadata)})


def read(path: str | os.PathLike[str], settings: Mapping[str, str]) -> dict[str, Tensor]:
    """Read and verify a checkpoint that was made with these settings; one not yet written is empty.

    Only safetensors are read: nothing in the file is ever run.

    Parameters
    ----------
    path : path-like
        The file. It need not exist, but its folder must.
    settings : mapping
        As in `write`.

    Returns
    -------
    dict of str to torch.Tensor
        On the CPU.

    Raises
    ------
    DataError
        If the folder is missing, or the file is truncated, altered, of another format or version, or was made with
        other settings; those that differ are named.
    """
    from safetensors import SafetensorError, safe_open

    if not Path(path).exists():
        if not Path(path).absolute().parent.is_dir():
            raise DataError(f"the folder of the checkpoint {path} does not exist; make it first.")
        return {}
    try:
        with safe_open(path, "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            metadata = dict(file.metadata() or {})
    except (SafetensorError, OSError) as error:
        raise DataError(f"{path} is not a whole checkpoint ({error}); delete it to train from the start.") from None
    if (metadata.get("format"), metadata.get("version")) != (_FORMAT, _VERSION):
        raise DataError(f"{path} is not a checkpoint that this release of fit wrote; give fit a file of its own.")
    expected = metadata.pop("sha256", None)
    if digest(tensors, metadata) != expected:
        raise DataError(f"{path} does not match its own SHA-256 digest: delete it to train from the start.")
    differences = _differences(json.loads(metadata["settings"]), settings)
    if differences:
        raise DataError(
            f"{path} is a checkpoint of other settings: {'; '.join(differences)}. Repeat the call that made it, or "
            "give another file."
        )
    return tensors


def state(module: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Return the parameters and buffers of a module and the moments of its optimizer, by name."""
    moments: dict[int, dict[str, Tensor]] = optimizer.state_dict()["state"]
    return {f"module/{name}": tensor for name, tensor in module.state_dict().items()} | {
        f"optimizer/{place}/{name}": tensor for place, values in moments.items() for name, tensor in values.items()
    }


def restore(module: nn.Module, optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Put back, in place, what `state` returned; other tensors are left."""
    moments: dict[int, dict[str, Tensor]] = {}
    for key, tensor in _under("optimizer/", tensors):
        place, name = key.split("/")
        moments.setdefault(int(place), {})[name] = tensor
    module.load_state_dict(dict(_under("module/", tensors)))
    optimizer.load_state_dict(optimizer.state_dict() | {"state": moments})


def fingerprint(x: NDArray[Any]) -> str:
    """Return an array's shape, its type, and a digest of up to 1024 rows spread over its samples.

    Cheap for an array mapped from a file; a change of other rows goes unnoticed.

    Examples
    --------
    >>> import numpy as np
    >>> from superpose.dictionaries.checkpoints import fingerprint
    >>> fingerprint(np.zeros((5, 2)))
    '(5, 2) float64 5b6fb58e61fa4759'
    """
    rows = np.unique(np.linspace(0, x.shape[-2] - 1, min(_ROWS, x.shape[-2])).astype(np.int64))
    content = hashlib.sha256(np.ascontiguousarray(x[..., rows, :]).tobytes()).hexdigest()
    return f"{x.shape} {x.dtype} {content[:16]}"


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> list[tuple[str, Tensor]]:
    return [(name.removeprefix(prefix), tensor) for name, tensor in tensors.items() if name.startswith(prefix)]


def _differences(made: Mapping[str, str], asked: Mapping[str, str]) -> list[str]:
    return [
        f"{name} was {made.get(name, 'absent')}, now {asked.get(name, 'absent')}"
        for name in sorted({*made, *asked})
        if made.get(name) != asked.get(name)
    ]
