"""Dictionaries of sparsify: `sae.safetensors` beside `cfg.json`."""

from __future__ import annotations

from pathlib import Path

from superpose.dictionaries.formats.parts import assemble, safetensors, settings
from superpose.dictionaries.sae import SparseAutoencoder
from superpose.dictionaries.sparsity import TopK

WEIGHTS, SETTINGS = "sae.safetensors", "cfg.json"
_SHAPES = {
    "encoder.weight": ("latents", "units"),
    "encoder.bias": ("latents",),
    "W_dec": ("latents", "units"),
    "b_dec": ("units",),
}


def read_sparsify(path: Path) -> SparseAutoencoder:
    """Read a top-k dictionary of sparsify; transcoders, skip connections and other activations are refused.

    Parameters
    ----------
    path : pathlib.Path
        `sae.safetensors`.

    References
    ----------
    EleutherAI, sparsify, github.com/EleutherAI/sparsify, after Gao et al., Scaling and evaluating sparse autoencoders
    (2024).
    """
    cfg = settings(path.with_name(SETTINGS))
    cfg.choose("activation", ("topk",), "topk")
    for name in ("transcode", "skip_connection", "signed"):
        cfg.choose(name, (False,), False)
    weights = safetensors(path).take(_SHAPES, sizes={"units": cfg.get("d_in", int)})
    return assemble(
        TopK(cfg.active("k", len(weights["encoder.bias"]))),
        {
            "encoder": weights["encoder.weight"],
            "encoder_bias": weights["encoder.bias"],
            "dictionary": weights["W_dec"],
            "centre": weights["b_dec"],
        },
    )
