"""Torch modules, recorded by forward hooks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from superpose.arrays.tensors import to_numpy
from superpose.files import DataError
from superpose.models.padding import check_length, check_masked
from superpose.models.parts import PRECISIONS, Batch, Opened, digest
from superpose.models.towers import forward, is_whole

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
    working = next((p.dtype for p in model.parameters() if p.is_floating_point() and p.itemsize > 1), torch.float32)
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
        check_masked(model, some)
        check_length(model, some)
        call, given = forward(model, some)
        placed = {key: _tensor(key, value, working).to(parameter.device) for key, value in given.items()}
        with torch.no_grad(), mixed():
            call(placed[None]) if None in placed else call(**{str(key): value for key, value in placed.items()})
        for name in names:
            if name not in seen:
                other = " of the tower that the inputs are for" if is_whole(model) else ""
                raise DataError(f"layer {name} gave nothing; expected a module{other} that runs in every pass.")
        return {name: seen[name] for name in names}

    training = {module: module.training for module in modules.values()}
    handles = [modules[module].register_forward_hook(keep(name)) for name, module in names.items()]
    model.eval()
    try:
        yield Opened(run, lambda: digest(_weights(model.state_dict())))
    finally:
        for handle in handles:
            handle.remove()
        for one, mode in training.items():
            one.training = mode


def _tensor(key: str | None, value: NDArray[Any], working: torch.dtype) -> torch.Tensor:
    """Return an input as a tensor, floating numbers in the type that the model works in."""
    import torch

    given = torch.as_tensor(np.ascontiguousarray(value))
    if not given.is_floating_point():
        return given
    made = given.to(working)
    if not bool((torch.isfinite(made) | ~torch.isfinite(given)).all()):
        kind = str(working).removeprefix("torch.")
        raise DataError(
            f"{key or 'inputs'} go beyond {kind}, in which the model works; use model.float(), or scale them."
        )
    return made


def _array(name: str, output: Any) -> NDArray[Any]:
    """Return a copy, because later modules may write over their input in place."""
    import torch

    while isinstance(output, Mapping | tuple | list) and len(output):
        output = next(iter(output.values())) if isinstance(output, Mapping) else output[0]
    if not isinstance(output, torch.Tensor):
        raise DataError(
            f"layer {name} gave {type(output).__name__}; expected a tensor, or a tuple that starts with one."
        )
    return np.array(to_numpy(output, f"layer {name}"))


def _weights(state: Any) -> Iterator[NDArray[Any]]:
    """Yield the numbers of a state; modules that quantise keep tuples and the names of types beside tensors."""
    import torch

    if isinstance(state, Mapping | tuple | list):
        for value in state.values() if isinstance(state, Mapping) else state:
            yield from _weights(value)
    elif isinstance(state, torch.Tensor):
        yield np.asarray(to_numpy(state, "a weight"))
    else:
        yield np.frombuffer(repr(state).encode(), dtype=np.uint8)
