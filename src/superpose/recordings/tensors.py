"""Files of safetensors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from superpose.arrays.tensors import to_numpy
from superpose.recordings.asked import Asked
from superpose.recordings.choice import choose


def read_safetensors(file: Path, asked: Asked) -> dict[str, Any]:
    """Read one tensor of a file, and the labels beside it."""
    from safetensors import safe_open

    with safe_open(file, framework="numpy") as tensors:
        axes = {name: len(tensors.get_slice(name).get_shape()) for name in tensors.keys()}  # noqa: SIM118
        return choose(file, asked, axes, lambda name: _tensor(file, tensors, name))


def _tensor(file: Path, tensors: Any, name: str) -> Any:
    if not tensors.get_slice(name).get_dtype().startswith(("BF", "F8", "F6", "F4")):
        return tensors.get_tensor(name)
    # NumPy has no such numbers; torch does.
    from safetensors import safe_open

    with safe_open(file, framework="pt") as others:
        return to_numpy(others.get_tensor(name), f"{file}:{name}")
