"""Which latents a dictionary may use for a sample: modules that turn pre-activations into sparse codes.

Every rule has `encode(y, weight, bias)`, which gives codes that a dictionary can be read with, `forward`, which does
the same to pre-activations at hand, and `rule()`, the settings that rebuild it. Three more are there where a rule
needs them:

- `bind(repeats, latents)` returns a fresh rule of the same settings whose learned state has these axes.
  `SparseAutoencoder` calls it, so that no two dictionaries ever share what they learn; a rule that learns nothing,
  as `TopK`, is used as it is.
- `infer(y, weight, bias)` gives the codes of a dictionary in use, where they differ from those in training.
  `SparseAutoencoder.encode` calls it; a sample's code then never depends on the samples beside it.
- `penalty(codes)` is what a loss adds, one value per repeat, so that codes become sparse.
"""

from superpose.dictionaries.sparsity.batchtopk import BatchTopK
from superpose.dictionaries.sparsity.codes import Codes, DenseCodes, RaggedSupport, SparseCodes, Support, preactivations
from superpose.dictionaries.sparsity.jumprelu import JumpReLU
from superpose.dictionaries.sparsity.relu import ReLU
from superpose.dictionaries.sparsity.topk import TopK

__all__ = [
    "BatchTopK",
    "Codes",
    "DenseCodes",
    "JumpReLU",
    "RaggedSupport",
    "ReLU",
    "SparseCodes",
    "Support",
    "TopK",
    "preactivations",
]
