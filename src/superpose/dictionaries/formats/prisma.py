"""Dictionaries of Prisma, for vision models: `n_images_*.pt`, with its settings inside or in a `config.json` beside."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from superpose.dictionaries.formats.parts import MATRICES, Settings, assemble, matrices, saved, settings, state_of
from superpose.dictionaries.sae import SparseAutoencoder
from superpose.dictionaries.sparsity import ReLU, TopK
from superpose.files import DataError

WEIGHTS, SETTINGS = "n_images_*[0-9].pt", "config.json"
_CLASS = "vit_prisma.sae.config.VisionModelSAERunnerConfig"


class _Inert:
    """Stands in for the pickled settings: it keeps their values, and has none of their behaviour."""

    def __setstate__(self, values: Any) -> None:
        if type(values) is not dict:
            raise TypeError(f"settings are a {type(values).__name__}; expected a dict")
        self.__dict__.update(values)


def read_prisma(path: Path) -> SparseAutoencoder:
    """Read a dictionary of Prisma, standard architecture with a rectifier or top k.

    Its default, `normalize_activations = "layer_norm"`, is refused, as no one centre and scale can express it: subtract
    each sample's mean, divide by its deviation, and set "none" in `config.json` to say that this is done.

    Parameters
    ----------
    path : pathlib.Path
        `n_images_*.pt`; nothing in it is ever run. The compressed pickles `.pkl.gz` are refused.

    References
    ----------
    Joseph et al., Prisma: an open source toolkit for mechanistic interpretability in vision and video (2025),
    github.com/Prisma-Multimodal/ViT-Prisma.
    """
    content = saved(path, **{_CLASS: _Inert})
    if isinstance(content, dict) and "cfg" in content:
        cfg, content = _inside(path, content["cfg"]), content.get("state_dict")
    else:
        cfg = settings(path.with_name(SETTINGS))
    cfg.choose("architecture", ("standard",), "standard")
    cfg.choose("is_transcoder", (False,), False)
    cfg.normalisation(("none",), "layer_norm")
    rule = _RULES[cfg.choose("activation_fn_str", tuple(_RULES))]
    weights = state_of(path, content).take(MATRICES)
    sparsity = rule(cfg.section("activation_fn_kwargs"), len(weights["b_enc"]))
    return assemble(sparsity, matrices(weights) | {"centre": weights["b_dec"]})


def _inside(path: Path, cfg: Any) -> Settings:
    """Return the settings that were pickled with the weights."""
    if type(cfg) is not _Inert:
        raise DataError(f"{path.name} has a cfg of type {type(cfg).__name__}; expected {_CLASS}.")
    return Settings(path.name, cfg.__dict__)


def _relu(options: Settings, latents: int) -> ReLU:
    return ReLU()


def _topk(options: Settings, latents: int) -> TopK:
    if "postact_fn" in options.values:
        raise DataError(f"{options.source} has a postact_fn, which superpose cannot follow; expected a rectifier.")
    return TopK(options.active("k", latents))


_RULES: dict[str, Callable[[Settings, int], ReLU | TopK]] = {"relu": _relu, "topk": _topk}
