"""Torch modules, recorded by forward hooks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from superpose.files import DataError
from superpose.models.parts import PRECISIONS, Batch, Opened, digest
from superpose.tensors import to_numpy

if TYPE_CHECKING:
    import torch


@contextmanager
def open_torch(model: torch.nn.Module, names: Mapping[str, str], precision: str) -> Iterator[Opened]:
    """Yield a module that records the outputs of its modules {layer: module}; hooks and training mode are put back."""
    import torch

    modules = dict(model.named_modules())
    for module in names.values():
        if module not in modules:
            raise DataError(
                f"the model has no module {module!r}; expected names from model.named_modules(), such as "
                f"{', '.join(list(modules)[1:6])}."
            )
    parameter = next(model.parameters(), torch.zeros(()))
    seen: dict[str, NDArray[Any]] = {}
    kind = getattr(torch, PRECISIONS[precision])
    device = parameter.device.type
    mixed = partial(torch.autocast, device, kind, enabled=kind != torch.float32)

    def keep(name: str) -> Callable[..., None]:
        def hook(module: Any, arguments: Any, output: Any) -> None:
            seen[name] = _array(name, output)

        return hook

    def run(some: Batch) -> dict[str, NDArray[Any]]:
        seen.clear()
        tensors = {key: torch.as_tensor(np.ascontiguousarray(value)) for key, value in some.items()}
        placed = {
            key: value.to(parameter.device, parameter.dtype if value.is_floating_point() else value.dtype)
            for key, value in tensors.items()
        }
        with torch.no_grad(), mixed():
            model(placed[None]) if None in placed else model(**{str(key): value for key, value in placed.items()})
        for name in names:
            if name not in seen:
                raise DataError(f"layer {name} gave nothing; expected a module that runs in every pass.")
        return {name: seen[name] for name in names}

    training = {module: module.training for module in modules.values()}
    handles = [modules[module].register_forward_hook(keep(name)) for name, module in names.items()]
    model.eval()
    try:
        yield Opened(run, lambda: digest(to_numpy(value) for value in model.state_dict().values()))
    finally:
        for handle in handles:
            handle.remove()
        for one, mode in training.items():
            one.training = mode


def _array(name: str, output: Any) -> NDArray[Any]:
    """Return a copy, because later modules may write over their input in place."""
    import torch

    while isinstance(output, Mapping | tuple | list) and len(output):
        output = next(iter(output.values())) if isinstance(output, Mapping) else output[0]
    if not isinstance(output, torch.Tensor):
        raise DataError(
            f"layer {name} gave {type(output).__name__}; expected a tensor, or a tuple that starts with one."
        )
    return np.array(to_numpy(output))
