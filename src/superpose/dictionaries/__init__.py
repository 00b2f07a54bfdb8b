"""Dictionaries of latents: sparse autoencoders, their losses and training, sparse coding, and the files of others."""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach(
    __name__, submodules=["coding", "diagnostics", "formats", "losses", "sparsity", "training"]
)
