"""Dictionaries of SAELens: `sae_weights.safetensors` beside `cfg.json`."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from superpose.dictionaries.formats.parts import (
    MATRICES,
    NORMALISE,
    Settings,
    Shapes,
    assemble,
    matrices,
    safetensors,
    settings,
    thresholds,
    unit_rows,
)
from superpose.dictionaries.sae import SparseAutoencoder
from superpose.dictionaries.sparsity import BatchTopK, JumpReLU, ReLU, TopK
from superpose.files import DataError, whole

WEIGHTS, SETTINGS, SCALER = "sae_weights.safetensors", "cfg.json", "activation_scaler.json"
Written = tuple[dict[str, Any], dict[str, Tensor]]

_SCALED = "expected_average_only_in"
_FINETUNED: Shapes = dict.fromkeys(("scaling_factor", "finetuning_scaling_factor"), ("latents",))


def read_saelens(path: Path) -> SparseAutoencoder:
    """Read a dictionary of SAELens, of the layout before its version 6 or since.

    The architectures standard, topk and jumprelu are read. `apply_b_dec_to_input` and `rescale_acts_by_decoder_norm`
    are honoured, the latter in the weights; `normalize_activations` where it is one constant that
    `activation_scaler.json` gives. What would make units depend on the sample is refused. A dictionary of `hook_z`
    takes the heads side by side, as one row of units.

    Parameters
    ----------
    path : pathlib.Path
        `sae_weights.safetensors`.

    References
    ----------
    Bloom, Tigges, Duong and Chanin, SAELens (2024), github.com/decoderesearch/SAELens.
    """
    cfg = _current(settings(path.with_name(SETTINGS)))
    architecture = _architecture(cfg)
    own = {"threshold": ("latents",)} if architecture == "jumprelu" else {}
    sizes = {"units": cfg.get("d_in", int), "latents": cfg.get("d_sae", int)}
    weights = safetensors(path).take(MATRICES | own, optional=_FINETUNED, sizes=sizes)
    cfg.choose("reshape_activations", ("none", "hook_z"), "none")
    for name in _FINETUNED:
        if name in weights and not (weights[name] == 1).all():
            raise DataError(f"{path.name} holds a {name}, which superpose cannot follow; fold it into W_dec.")
    return _READ[architecture](cfg, weights, _common(cfg, weights, _factor(cfg, path.with_name(SCALER))))


def write_saelens(sae: SparseAutoencoder, folder: str | os.PathLike[str]) -> None:
    """Write a dictionary that SAELens reads: `sae_weights.safetensors` and `cfg.json`, each whole or not at all.

    Centre and scale are folded into the weights, so codes and reconstructions stay what they are, to rounding. A
    BatchTopK dictionary is written with its threshold, as jumprelu.

    Parameters
    ----------
    sae : SparseAutoencoder
        One dictionary, without repeats.
    folder : path-like
        Where; it is made if it does not exist, and files in it are replaced.

    Raises
    ------
    DataError
        If the dictionary has repeats or a sparsity that SAELens lacks, or the folder is a file.

    References
    ----------
    Bloom, Tigges, Duong and Chanin, SAELens (2024), github.com/decoderesearch/SAELens.

    Examples
    --------
    >>> import tempfile, torch
    >>> from superpose import formats
    >>> from superpose.dictionaries.sae import SparseAutoencoder
    >>> from superpose.dictionaries.sparsity import TopK
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     formats.write_saelens(SparseAutoencoder(16, 64, TopK(4)), folder)
    ...     formats.read(folder).sparsity
    TopK(4, gradient='mask')
    """
    if sae.repeats:
        raise DataError(f"the dictionary has repeats {sae.repeats}; SAELens keeps one dictionary a folder: write one.")
    if type(sae.sparsity) not in _WRITTEN:
        names = ", ".join(rule.__name__ for rule in _WRITTEN)
        raise DataError(f"sparsity is a {type(sae.sparsity).__name__}, which SAELens lacks; expected one of {names}.")
    if Path(folder).exists() and not Path(folder).is_dir():
        raise DataError(f"{folder} is a file; expected a folder, which may be new.")
    own, tensors = _WRITTEN[type(sae.sparsity)](sae)
    with torch.no_grad():
        tensors |= {
            "W_enc": (sae.encoder / sae.scale).mT,
            "b_enc": sae.encoder_bias + sae.encoder @ sae.decoder_bias,
            "W_dec": sae.dictionary * sae.scale,
            "b_dec": sae.decoder_bias * sae.scale + sae.centre,
        }
    cfg = {
        **own,
        "d_in": sae.units,
        "d_sae": sae.latents,
        "dtype": "float32",
        "device": "cpu",
        "apply_b_dec_to_input": True,
        "normalize_activations": "none",
        "reshape_activations": "none",
        "metadata": {"sae_lens_version": "6.0.0"},  # the layout's
    }
    Path(folder).mkdir(parents=True, exist_ok=True)
    with whole(Path(folder, WEIGHTS)) as temporary:
        save_file({name: tensor.detach().cpu().float().contiguous() for name, tensor in tensors.items()}, temporary)
    with whole(Path(folder, SETTINGS)) as temporary:
        temporary.write_text(json.dumps(cfg, indent=2) + "\n", encoding="utf-8")


def _current(cfg: Settings) -> Settings:
    """Return the settings with the names that they have now."""
    early = {True: _SCALED, False: "none"}
    scaled = cfg.values.get(NORMALISE)
    return Settings(cfg.source, cfg.values | ({NORMALISE: early[scaled]} if type(scaled) is bool else {}))


def _architecture(cfg: Settings) -> str:
    activation = cfg.choose("activation_fn_str", ("relu", "topk"), cfg.get("activation_fn", str, "relu"))
    return "topk" if activation == "topk" else cfg.choose("architecture", tuple(_READ), "standard")


def _factor(cfg: Settings, scaler: Path) -> float:
    """Return what activity is multiplied by before it is encoded."""
    if cfg.normalisation(("none", _SCALED), "none") == "none":
        return 1.0
    if not scaler.exists():
        raise DataError(
            f"{cfg.source} has {NORMALISE} = {_SCALED!r} and {scaler.name}, with its scaling_factor, is missing; add "
            "it, or set 'none' if the weights have it folded in."
        )
    factor = settings(scaler).get("scaling_factor", float)
    if not 0 < factor < math.inf:
        raise DataError(f"{scaler.name} has scaling_factor = {factor}; expected a positive number.")
    return factor


def _common(cfg: Settings, weights: dict[str, Tensor], factor: float) -> dict[str, Tensor]:
    """Return the state that all architectures share: codes are of x · factor - b_dec, or of x · factor."""
    subtracted = cfg.choose("apply_b_dec_to_input", (True, False), True)
    bias = {"centre": weights["b_dec"] / factor} if subtracted else {"decoder_bias": weights["b_dec"]}
    return matrices(weights) | bias | {"scale": torch.tensor(1 / factor)}


def _read_topk(cfg: Settings, weights: dict[str, Tensor], state: dict[str, Tensor]) -> SparseAutoencoder:
    old = cfg.section("activation_fn_kwargs")
    k = (old if "k" in old.values else cfg).active("k", len(weights["b_enc"]))
    if cfg.choose("rescale_acts_by_decoder_norm", (True, False), False):
        state |= unit_rows(state)
    return assemble(TopK(k), state)


def _read_jumprelu(cfg: Settings, weights: dict[str, Tensor], state: dict[str, Tensor]) -> SparseAutoencoder:
    return assemble(JumpReLU(), state | thresholds(weights["threshold"]))


def _read_standard(cfg: Settings, weights: dict[str, Tensor], state: dict[str, Tensor]) -> SparseAutoencoder:
    return assemble(ReLU(), state)


def _write_topk(sae: SparseAutoencoder) -> Written:
    return {"architecture": "topk", "k": sae.sparsity.k, "rescale_acts_by_decoder_norm": False}, {}


def _write_threshold(sae: SparseAutoencoder) -> Written:
    return {"architecture": "jumprelu"}, {"threshold": sae.sparsity.threshold.expand(sae.latents)}  # type: ignore[operator]


def _write_standard(sae: SparseAutoencoder) -> Written:
    return {"architecture": "standard"}, {}


_READ: dict[str, Callable[[Settings, dict[str, Tensor], dict[str, Tensor]], SparseAutoencoder]] = {
    "standard": _read_standard,
    "topk": _read_topk,
    "jumprelu": _read_jumprelu,
}
_WRITTEN: dict[type, Callable[[SparseAutoencoder], Written]] = {
    TopK: _write_topk,
    ReLU: _write_standard,
    JumpReLU: _write_threshold,
    BatchTopK: _write_threshold,
}
