"""What a foreign dictionary is read from, its settings and its weights, and the autoencoder that they make up."""

from __future__ import annotations

import json
import re
import reprlib
import warnings
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from superpose.dictionaries.sae import SparseAutoencoder
from superpose.files import DataError

NORMALISE = "normalize_activations"
Shapes = dict[str, tuple[str, ...]]
MATRICES: Shapes = {
    "W_enc": ("units", "latents"),
    "b_enc": ("latents",),
    "W_dec": ("latents", "units"),
    "b_dec": ("units",),
}


@dataclass(frozen=True)
class Settings:
    """A dictionary's settings, and the name of the file that has them."""

    source: str
    values: dict[str, Any]

    def get(self, name: str, kind: type, default: Any = None) -> Any:
        """Return a setting of one kind; what is absent or null is the default, or an error where there is none."""
        value = self.values.get(name)
        value = default if value is None else value
        if value is None:
            raise DataError(f"{self.source} has no setting {name!r}; this format needs it.")
        if kind is float and type(value) is int and abs(value) < 2**53:  # JSON has one kind of number
            value = float(value)
        if type(value) is not kind:
            raise DataError(
                f"{self.source} has {name} = {reprlib.repr(value)}; expected a value of type {kind.__name__}."
            )
        return value

    def choose(self, name: str, choices: tuple[Any, ...], default: Any = None) -> Any:
        """Return a setting that is one of those that this package can follow."""
        value = self.get(name, type(choices[0]), default)
        if value not in choices:
            raise DataError(
                f"{self.source} has {name} = {reprlib.repr(value)}, which superpose cannot follow; expected "
                f"{' or '.join(map(repr, choices))}."
            )
        return value

    def normalisation(self, choices: tuple[str, ...], default: str) -> str:
        """Return how activity is normalised before it is encoded, if a centre and a scale can express that."""
        value = self.get(NORMALISE, str, default)
        if value not in choices:
            raise DataError(
                f"{self.source} has {NORMALISE} = {reprlib.repr(value)}, where superpose has one centre and scale "
                "for all samples; normalise the activity in that way first, and set it to 'none'."
            )
        return value

    def section(self, name: str) -> Settings:
        """Return the settings beneath a name, none where it is absent."""
        return Settings(self.source, self.get(name, dict, {}))

    def active(self, name: str, latents: int) -> int:
        """Return how many latents a sample may use, a number from one to all."""
        value = self.get(name, int)
        if not 1 <= value <= latents:
            raise DataError(f"{self.source} has {name} = {reprlib.repr(value)}; expected 1 to {latents}, its latents.")
        return value


@dataclass(frozen=True)
class Weights:
    """A dictionary's tensors, and the name of the file that has them."""

    source: str
    tensors: dict[str, Tensor]

    def take(
        self, shapes: Shapes, optional: Shapes | None = None, sizes: dict[str, int] | None = None
    ) -> dict[str, Tensor]:
        """Return the tensors as float32, if these are all that there are and their axes agree.

        Parameters
        ----------
        shapes : dict of str to tuple of str
            The axes of each tensor, by name: axes of one name have one length.
        optional : dict of str to tuple of str, optional
            The same for tensors that may be absent.
        sizes : dict of str to int, optional
            Lengths of axes that the settings give.
        """
        every = shapes | (optional or {})
        missing = [name for name in shapes if name not in self.tensors]
        if missing:
            raise DataError(f"{self.source} lacks {', '.join(missing)}; this format needs {', '.join(shapes)}.")
        unknown = [name for name in self.tensors if name not in every]
        if unknown:
            raise DataError(
                f"{self.source} also holds {reprlib.repr(unknown)}, whose part in the codes is not known here; "
                f"expected {', '.join(shapes)} alone."
            )
        sizes = dict(sizes or {})
        return {name: self._checked(name, axes, sizes) for name, axes in every.items() if name in self.tensors}

    def _checked(self, name: str, axes: tuple[str, ...], sizes: dict[str, int]) -> Tensor:
        tensor = self.tensors[name]
        numbers = not (tensor.is_complex() or tensor.is_quantized or tensor.dtype == torch.bool)
        plain = tensor.layout is torch.strided and tensor.device.type == "cpu" and not tensor.is_nested
        if not (numbers and plain and tensor.nbytes <= tensor.untyped_storage().nbytes()):
            raise DataError(f"{self.source}: {name} is not a plain tensor of numbers; write it again.")
        shape = tuple(tensor.shape)
        if len(shape) != len(axes) or any(sizes.setdefault(a, n) != n for a, n in zip(axes, shape, strict=True)):
            expected = ", ".join(f"{axis} = {sizes[axis]}" if axis in sizes else axis for axis in axes)
            raise DataError(f"{self.source}: {name} has shape {shape}; expected ({expected}).")
        return tensor.float()


def settings(path: Path) -> Settings:
    """Read a file of settings: one JSON object."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"{path.name} is missing; expected it beside the weights.") from None
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path.name} is not JSON ({reprlib.repr(str(error))}); expected one object.") from None
    if not isinstance(values, dict):
        raise DataError(f"{path.name} holds a {type(values).__name__}; expected one JSON object.")
    return Settings(path.name, values)


def safetensors(path: Path) -> Weights:
    """Read the tensors of a safetensors file."""
    try:
        with safe_open(path, "pt") as file:
            return Weights(path.name, {key: file.get_tensor(key) for key in file.keys()})  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise DataError(f"{path.name} is not a whole safetensors file ({error}).") from None


def saved(path: Path, **stand_ins: type) -> Any:
    """Read what torch.save wrote, if it is tensors and plain values: nothing in the file is ever run.

    Parameters
    ----------
    path : pathlib.Path
        The file. Only the archives of torch.save are opened, and only uncompressed ones, as it writes them: a small
        file then holds little.
    **stand_ins : type
        Inert classes that take the place of named ones. Any other class or function that the file refers to refuses it.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            plain = all(entry.compress_type == zipfile.ZIP_STORED for entry in archive.infolist())
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        plain = False
    if not plain:
        raise DataError(
            f"{path.name} is not an archive that torch.save wrote, or is damaged; bare pickles are not read."
        )
    try:
        with (
            torch.serialization.safe_globals([(stand_in, name) for name, stand_in in stand_ins.items()]),
            warnings.catch_warnings(action="ignore"),  # of other pickle protocols: reading decides
        ):
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # what a damaged or hostile pickle raises has no end
        named = re.search(r"GLOBAL ([\w.]+)", str(error))
        cause = f"it names {named[1]}" if named else type(error).__name__
        raise DataError(
            f"{path.name} holds more than tensors and plain values, or is damaged ({cause}); nothing in it was run."
        ) from None


def state_of(path: Path, values: Any) -> Weights:
    """Return a module's saved tensors, by name.

    Methods are called on the class: a file can give its objects attributes that hide their own.
    """
    named = dict(dict.items(values)) if isinstance(values, dict) else {}
    if not named or any(type(k) is not str or type(v) not in (Tensor, nn.Parameter) for k, v in named.items()):
        raise DataError(f"{path.name} holds no tensors by name; expected a module's state as torch.save writes it.")
    return Weights(path.name, {name: Tensor.detach(tensor) for name, tensor in named.items()})


def matrices(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the state that `MATRICES` stand for, without the bias of the units."""
    return {"encoder": weights["W_enc"].mT, "encoder_bias": weights["b_enc"], "dictionary": weights["W_dec"]}


def thresholds(values: Tensor) -> dict[str, Tensor]:
    """Return the state of a JumpReLU with these thresholds, those below 0 becoming the rectifier that follows them."""
    return {"sparsity.log_threshold": values.clamp_min(torch.finfo(values.dtype).tiny).log()}


def unit_rows(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the encoder and dictionary with each row's norm moved from the dictionary into the codes."""
    norms = state["dictionary"].norm(dim=-1)
    return {
        "encoder": state["encoder"] * norms[:, None],
        "encoder_bias": state["encoder_bias"] * norms,
        "dictionary": state["dictionary"] / norms.clamp_min(torch.finfo(norms.dtype).tiny)[:, None],
    }


def assemble(rule: nn.Module, state: dict[str, Tensor]) -> SparseAutoencoder:
    """Return the autoencoder of a rule and of that part of its state that does not start as zeros, or a scale of 1."""
    bad = [name for name, part in state.items() if not part.isfinite().all()]
    if bad:
        raise DataError(f"its {' and '.join(bad)} would hold values that are not finite; write the weights again.")
    latents, units = state["dictionary"].shape
    sae = SparseAutoencoder(units, latents, rule, generator=torch.Generator().manual_seed(0))
    sae.load_state_dict(sae.state_dict() | state)
    return sae
