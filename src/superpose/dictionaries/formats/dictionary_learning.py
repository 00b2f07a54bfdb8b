"""Dictionaries of dictionary_learning: `ae.pt` beside `config.json`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from torch import Tensor

from superpose.dictionaries.formats.parts import (
    MATRICES,
    Settings,
    Shapes,
    Weights,
    assemble,
    matrices,
    saved,
    settings,
    state_of,
    thresholds,
    unit_rows,
)
from superpose.dictionaries.sae import SparseAutoencoder
from superpose.dictionaries.sparsity import BatchTopK, JumpReLU, ReLU, TopK
from superpose.files import DataError

WEIGHTS, SETTINGS = "ae.pt", "config.json"
_LINEAR: Shapes = {
    "encoder.weight": ("latents", "units"),
    "encoder.bias": ("latents",),
    "decoder.weight": ("units", "latents"),
}
_B_DEC: Shapes = {"b_dec": ("units",)}
_K: Shapes = {"k": ()}
_THRESHOLD: Shapes = {"threshold": ()}


def read_dictionary_learning(path: Path) -> SparseAutoencoder:
    """Read a dictionary of dictionary_learning, with the codes that its own loader's `encode` gives.

    AutoEncoder, AutoEncoderNew, AutoEncoderTopK, BatchTopKSAE, MatryoshkaBatchTopKSAE and JumpReluAutoEncoder are
    read. A top-k dictionary selects; its `threshold`, which its `encode` uses on request alone, is not used. Batch
    top-k ones do use theirs. The rows of an AutoEncoder are brought to unit norm, as its loader brings them.

    Parameters
    ----------
    path : pathlib.Path
        `ae.pt`; nothing in it is ever run.

    References
    ----------
    Marks, Karvonen and Mueller, dictionary_learning (2024), github.com/saprmarks/dictionary_learning.
    """
    trainer = settings(path.with_name(SETTINGS)).section("trainer")
    read = _READ[trainer.choose("dict_class", tuple(_READ))]
    return read(trainer, state_of(path, saved(path)))


def _linear(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return {
        "encoder": weights["encoder.weight"],
        "encoder_bias": weights["encoder.bias"],
        "dictionary": weights["decoder.weight"].mT,
    }


def _k(trainer: Settings, weights: dict[str, Tensor], state: dict[str, Tensor]) -> int:
    k = trainer.active("k", len(state["encoder_bias"]))
    if "k" in weights and weights["k"] != k:
        raise DataError(f"{trainer.source} has k = {k} and {WEIGHTS} has k = {weights['k'].item():g}; expected one k.")
    return k


def _autoencoder(trainer: Settings, weights: Weights) -> SparseAutoencoder:
    taken = weights.take(_LINEAR | {"bias": ("units",)})
    return assemble(ReLU(), unit_rows(_linear(taken)) | {"centre": taken["bias"]})


def _autoencoder_new(trainer: Settings, weights: Weights) -> SparseAutoencoder:
    taken = weights.take(_LINEAR | {"decoder.bias": ("units",)})
    return assemble(ReLU(), _linear(taken) | {"decoder_bias": taken["decoder.bias"]})


def _topk(trainer: Settings, weights: Weights) -> SparseAutoencoder:
    taken = weights.take(_LINEAR | _B_DEC, optional=_K | _THRESHOLD)
    state = _linear(taken) | {"centre": taken["b_dec"]}
    return assemble(TopK(_k(trainer, taken, state)), state)


def _batch_topk(trainer: Settings, weights: Weights) -> SparseAutoencoder:
    taken = weights.take(_LINEAR | _B_DEC | _THRESHOLD, optional=_K)
    return _in_use(trainer, taken, _linear(taken))


def _matryoshka(trainer: Settings, weights: Weights) -> SparseAutoencoder:
    taken = weights.take(MATRICES | _THRESHOLD, optional=_K | {"group_sizes": ("groups",)})
    return _in_use(trainer, taken, matrices(taken))


def _in_use(trainer: Settings, taken: dict[str, Tensor], state: dict[str, Tensor]) -> SparseAutoencoder:
    rule = BatchTopK(_k(trainer, taken, state))
    return assemble(rule, state | {"centre": taken["b_dec"], "sparsity.threshold": taken["threshold"].clamp_min(0)})


def _jumprelu(trainer: Settings, weights: Weights) -> SparseAutoencoder:
    taken = weights.take(MATRICES | {"threshold": ("latents",)})
    return assemble(JumpReLU(), matrices(taken) | {"decoder_bias": taken["b_dec"]} | thresholds(taken["threshold"]))


_READ: dict[str, Callable[[Settings, Weights], SparseAutoencoder]] = {
    "AutoEncoderTopK": _topk,
    "BatchTopKSAE": _batch_topk,
    "MatryoshkaBatchTopKSAE": _matryoshka,
    "AutoEncoder": _autoencoder,
    "AutoEncoderNew": _autoencoder_new,
    "JumpReluAutoEncoder": _jumprelu,
}
