"""What a file of tensors holds, as one number: names, types, shapes, values and settings."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

from torch import Tensor


def digest(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> str:
    """Return the SHA-256 digest of tensors on the CPU and of the metadata beside them, in hexadecimal.

    Examples
    --------
    >>> import torch
    >>> from superpose.dictionaries.digests import digest
    >>> digest({"a": torch.zeros(2)}, {}) == digest({"a": torch.zeros(2)}, {"version": "1"})
    False
    """
    found = hashlib.sha256(json.dumps(dict(metadata), sort_keys=True).encode())
    for name, tensor in sorted(tensors.items()):
        found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        found.update(tensor.numpy().tobytes())
    return found.hexdigest()
