"""The sparse autoencoder, and the file it is kept in."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from superpose.arrays import as_responses, chunks
from superpose.dictionaries.digests import digest
from superpose.dictionaries.sparsity import BatchTopK, Codes, JumpReLU, ReLU, TopK
from superpose.files import DataError, whole
from superpose.systems import projection

Activity = TypeVar("Activity", Tensor, NDArray[Any])

_FORMAT = "superpose.sae"
_VERSION = "1"
_RULES: dict[str, Callable[..., nn.Module]] = {
    "TopK": TopK,
    "BatchTopK": BatchTopK,
    "JumpReLU": JumpReLU,
    "ReLU": ReLU,
}


class SparseAutoencoder(nn.Module):
    """A dictionary of latents, with an encoder of sparse codes.

    Codes are c = sparsity(W y + b) and reconstructions D c + d, on activity y = (x - centre) / scale. `fit` sets the
    centre (one value per unit) and the scale (one value per system, which makes the mean square of y one); until then
    they are 0 and 1. Whatever a user passes or receives is in the units of x.

    Parameters
    ----------
    units : int
        Width of the activity.
    latents : int
        Number of latents.
    sparsity : torch.nn.Module
        Which latents a sample may use, as `TopK(32)`. Of a rule that learns, as `JumpReLU()`, the settings alone are
        taken: `self.sparsity` is then a fresh one, with state for these repeats and latents. Several dictionaries
        may be given the same rule.
    repeats : tuple of int
        Leading axes of every parameter: that many independent dictionaries, trained as one batch.
    generator : torch.Generator, optional
        Draws the first dictionary: random directions of unit norm; the encoder starts as its transpose. Advanced by
        one integer; repeat r depends on that integer and r alone. None draws fresh entropy.

    Attributes
    ----------
    encoder : torch.nn.Parameter, (*repeats, latents, units)
        W.
    encoder_bias : torch.nn.Parameter, (*repeats, latents)
        b.
    dictionary : torch.nn.Parameter, (*repeats, latents, units)
        The transpose of D: one row per latent.
    decoder_bias : torch.nn.Parameter, (*repeats, units)
        d.
    centre : torch.Tensor, (*repeats, units)
        In the units of x.
    scale : torch.Tensor, (*repeats,)
        In the units of x.
    steps_since_active : torch.Tensor, (*repeats, latents), int64
        Training rows seen since each latent was last active.

    Raises
    ------
    DataError
        If a size or the repeats are not positive integers, or the sparsity is not a module.

    References
    ----------
    Eqs. (7) and (8).

    Examples
    --------
    >>> import torch
    >>> from superpose.dictionaries.sae import SparseAutoencoder
    >>> from superpose.dictionaries.sparsity import TopK
    >>> sae = SparseAutoencoder(16, 64, TopK(4), generator=torch.Generator().manual_seed(0))
    >>> codes = sae.encode(torch.ones(10, 16))
    >>> codes.shape, sae.decode(codes).shape, sae.decoder.shape
    (torch.Size([10, 64]), torch.Size([10, 16]), torch.Size([16, 64]))
    """

    centre: Tensor
    scale: Tensor
    steps_since_active: Tensor

    def __init__(
        self,
        units: int,
        latents: int,
        sparsity: nn.Module,
        *,
        repeats: tuple[int, ...] = (),
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        if not callable(getattr(sparsity, "encode", None)):
            raise DataError(f"sparsity is {sparsity!r}; expected a module such as TopK(32).")
        directions = projection(units, latents, entries="unit_norm", repeats=repeats, generator=generator).mT
        device = directions.device
        bind = getattr(sparsity, "bind", None)
        self.sparsity = sparsity if bind is None else bind(repeats, latents).to(device)
        self.encoder = nn.Parameter(directions.clone(memory_format=torch.contiguous_format))
        self.encoder_bias = nn.Parameter(torch.zeros(*repeats, latents, device=device))
        self.dictionary = nn.Parameter(directions.clone(memory_format=torch.contiguous_format))
        self.decoder_bias = nn.Parameter(torch.zeros(*repeats, units, device=device))
        self.register_buffer("centre", torch.zeros(*repeats, units, device=device))
        self.register_buffer("scale", torch.ones(repeats, device=device))
        self.register_buffer("steps_since_active", torch.zeros(*repeats, latents, dtype=torch.int64, device=device))

    @property
    def units(self) -> int:
        """Width of the activity."""
        return self.dictionary.shape[-1]

    @property
    def latents(self) -> int:
        """Number of latents."""
        return self.dictionary.shape[-2]

    @property
    def repeats(self) -> tuple[int, ...]:
        """Leading axes of every parameter."""
        return tuple(self.dictionary.shape[:-2])

    @property
    def decoder(self) -> Tensor:
        """The dictionary with columns of unit norm, (*repeats, units, latents), as the theory takes projections."""
        return nn.functional.normalize(self.dictionary.detach(), dim=-1).mT

    def standardise(self, x: Tensor) -> Tensor:
        """Return activity centred and scaled: what `forward` and the losses work on, (…, samples, units)."""
        return (x.to(self.centre) - self.centre.unsqueeze(-2)).div_(self.scale[..., None, None])

    def forward(self, y: Tensor) -> Codes:
        """Return the codes of standardised activity, kept sparse where the sparsity allows it: what losses work on.

        Under `BatchTopK` they depend on the batch while `training` is true; those of `encode` never do.
        """
        return self.sparsity.encode(y, self.encoder, self.encoder_bias)  # type: ignore[operator]

    def encode(self, x: Activity) -> Activity:
        """Return the codes of activity. The code of a sample does not depend on the samples beside it.

        Parameters
        ----------
        x : torch.Tensor or numpy.ndarray, (…, samples, units)
            Activity, in its own units. An array, which may be mapped from a file, is read by rows.

        Returns
        -------
        torch.Tensor or numpy.ndarray, (…, samples, latents), float32
            Of the kind that came in; a tensor carries gradients.

        Raises
        ------
        DataError
            If the width is not this dictionary's, or the values are not real numbers.
        """
        return self._apply_rows(lambda rows: self._infer(self.standardise(rows)).dense(), x, self.units, "units")

    def extra_repr(self) -> str:
        """Return its sizes, for `repr`."""
        return f"{self.units} units, {self.latents} latents" + (f", repeats {self.repeats}" if self.repeats else "")

    def decode(self, z: Activity) -> Activity:
        """Return the activity that codes stand for.

        Parameters
        ----------
        z : torch.Tensor or numpy.ndarray, (…, samples, latents)
            Codes.

        Returns
        -------
        torch.Tensor or numpy.ndarray, (…, samples, units), float32
            In the units of the activity; of the kind that came in.

        Raises
        ------
        DataError
            If the width is not this dictionary's, or the values are not real numbers.
        """
        return self._apply_rows(self._decode, z, self.latents, "latents")

    def _infer(self, y: Tensor) -> Codes:
        infer = getattr(self.sparsity, "infer", None)
        return self(y) if infer is None else infer(y, self.encoder, self.encoder_bias)

    def _decode(self, z: Tensor) -> Tensor:
        y = z.to(self.dictionary) @ self.dictionary + self.decoder_bias.unsqueeze(-2)
        return y * self.scale[..., None, None] + self.centre.unsqueeze(-2)

    def _apply_rows(self, function: Callable[[Tensor], Tensor], x: Activity, width: int, name: str) -> Activity:
        array = x if isinstance(x, Tensor) else as_responses(x)
        if array.ndim < 2 or array.shape[-1] != width:
            raise DataError(
                f"the input has shape {tuple(array.shape)}; expected (…, samples, {width}), as this dictionary has "
                f"{width} {name}."
            )
        if isinstance(array, Tensor):
            return function(array).to(array.device)
        with torch.no_grad():
            parts = [
                function(torch.from_numpy(np.array(rows, dtype=np.float32)).to(self.centre)).cpu().numpy()
                for _, rows in chunks(array)
            ]
        return np.concatenate(parts, axis=-2)

    def normalise_(self) -> None:
        """Scale each row of the dictionary to unit norm, in place."""
        with torch.no_grad():
            self.dictionary.div_(self.dictionary.norm(dim=-1, keepdim=True).clamp_min_(1e-12))

    def project_gradient_(self) -> None:
        """Remove from the dictionary's gradient what would only change the norm of its unit rows, in place."""
        gradient = self.dictionary.grad
        if gradient is not None:
            rows = self.dictionary.detach()
            gradient.addcmul_((gradient * rows).sum(-1, keepdim=True), rows, value=-1)


def save(sae: SparseAutoencoder, path: str | os.PathLike[str]) -> None:
    """Save a dictionary, with its sparsity rule, to a safetensors file.

    The file is written completely or not at all. Its metadata carry the sparsity and its settings, the shapes, the
    version of the format and a SHA-256 digest of all of these and the tensors.

    Parameters
    ----------
    sae : SparseAutoencoder
        The dictionary to save.
    path : path-like
        The file; an existing one is replaced.

    Raises
    ------
    DataError
        If the sparsity is not one that `load` can rebuild.

    Examples
    --------
    >>> import tempfile, torch
    >>> from superpose.dictionaries.sae import SparseAutoencoder, load, save
    >>> from superpose.dictionaries.sparsity import TopK
    >>> sae = SparseAutoencoder(16, 64, TopK(4))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save(sae, f"{folder}/sae.safetensors")
    ...     again = load(f"{folder}/sae.safetensors")
    >>> torch.equal(again.encoder, sae.encoder), again.sparsity
    (True, TopK(4, gradient='mask'))
    """
    from safetensors.torch import save_file

    name = type(sae.sparsity).__name__
    if _RULES.get(name) is not type(sae.sparsity):
        raise DataError(f"sparsity is a {name}, which a file cannot describe; expected one of {', '.join(_RULES)}.")
    metadata = {
        "format": _FORMAT,
        "version": _VERSION,
        "sparsity": json.dumps({"name": name, **sae.sparsity.rule()}, sort_keys=True),  # type: ignore[operator]
        "shape": json.dumps({"units": sae.units, "latents": sae.latents, "repeats": sae.repeats}, sort_keys=True),
    }
    tensors = {key: value.detach().cpu().contiguous() for key, value in sae.state_dict().items()}
    with whole(path) as temporary:
        save_file(tensors, temporary, metadata | {"sha256": digest(tensors, metadata)})


def load(path: str | os.PathLike[str]) -> SparseAutoencoder:
    """Load and verify a dictionary written by `save`.

    Only safetensors are read: nothing in the file is executed. `superpose.formats` reads other formats.

    Parameters
    ----------
    path : path-like
        The file.

    Returns
    -------
    SparseAutoencoder
        On the CPU, with the same codes to the last bit.

    Raises
    ------
    DataError
        If the file is missing, truncated, altered, of another format, version or rule.
    """
    tensors, metadata = _read(path)
    if metadata.get("format") != _FORMAT:
        raise DataError(f"{path} holds safetensors that superpose.save did not write; superpose.formats reads others.")
    if metadata.get("version") != _VERSION:
        raise DataError(
            f"{path} has format version {metadata.get('version')}; this release reads version {_VERSION}. "
            "Update superpose."
        )
    expected = metadata.pop("sha256", None)
    if digest(tensors, metadata) != expected:
        raise DataError(f"{path} does not match its own SHA-256 digest: it was altered or damaged. Write it again.")
    rule = json.loads(metadata["sparsity"])
    name = rule.pop("name")
    if name not in _RULES:
        raise DataError(f"{path} follows the rule {name}; this release knows {', '.join(_RULES)}. Update superpose.")
    shape = json.loads(metadata["shape"])
    sae = SparseAutoencoder(shape["units"], shape["latents"], _RULES[name](**rule), repeats=tuple(shape["repeats"]))
    sae.load_state_dict(tensors)
    return sae


def _read(path: str | os.PathLike[str]) -> tuple[dict[str, Tensor], dict[str, str]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            return {key: file.get_tensor(key) for key in file.keys()}, dict(file.metadata() or {})  # noqa: SIM118
    except FileNotFoundError:
        raise DataError(
            f"{path} does not exist; expected a file that superpose.save wrote, or another package's folder."
        ) from None
    except (SafetensorError, OSError) as error:
        raise DataError(
            f"{path} is not a whole safetensors file ({error}); expected one that superpose.save wrote. Pickled files "
            "are never read."
        ) from None
