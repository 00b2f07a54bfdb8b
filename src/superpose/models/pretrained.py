"""Models that the transformers library saved, read from their folder: never a hub, never a pickle, never their code."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from superpose.arrays.tensors import checked_device
from superpose.files import DataError
from superpose.models.parts import INSTALL, first_line

if TYPE_CHECKING:
    import torch


def pretrained(folder: str | os.PathLike[str], *, device: str = "cpu") -> torch.nn.Module:
    """Return the model of a folder that transformers' `save_pretrained` wrote, in float32 and evaluation mode.

    Parameters
    ----------
    folder : path-like
        Holds config.json and the weights as safetensors.
    device : str
        Where its parameters go, as torch names it: "cpu", "cuda", "cuda:1".

    Raises
    ------
    DataError
        If the transformers package is missing, the folder does not hold such a model, weights of a
        layer are missing, or there is no such device.
    """
    import torch

    try:
        from transformers import AutoModel
    except ImportError:
        raise DataError(f"saved models need the transformers package; {INSTALL}.") from None
    checked_device(device)
    place = Path(folder)
    if not (place / "config.json").is_file():
        raise DataError(f"{place} holds no config.json; expected the folder of a model that transformers saved.")
    try:
        with _no_bars():
            loaded, report = AutoModel.from_pretrained(
                place,
                local_files_only=True,
                use_safetensors=True,
                trust_remote_code=False,
                dtype=torch.float32,
                output_loading_info=True,
            )
    except Exception as error:
        raise DataError(
            f"{place} cannot be loaded ({first_line(error)}); expected safetensors of a known model."
        ) from None
    # What a file lacks is drawn at random. Models saved for another task often lack the pooler, which nothing needs.
    missing = set(report["missing_keys"])
    pooler = {name for name in missing if name.startswith("pooler.")}
    if missing - pooler:
        raise DataError(f"{place} has no weights for {min(missing - pooler)}; expected those of every layer.")
    if pooler:
        loaded.pooler = None
    placed: torch.nn.Module = loaded.to(device).eval()
    return placed


@contextmanager
def _no_bars() -> Iterator[None]:
    """Hide the progress of loading, which transformers draws over the caller's lines."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()
