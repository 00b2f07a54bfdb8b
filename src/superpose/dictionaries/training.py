"""One training loop for any loss."""

from __future__ import annotations

import functools
import inspect
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from superpose.arrays import as_responses, check_moderate, check_paired, choose, chunks
from superpose.arrays.labels import check_rows
from superpose.dictionaries.checkpoints import fingerprint, read, restore, state, write
from superpose.dictionaries.diagnostics import unit_means
from superpose.dictionaries.sae import SparseAutoencoder
from superpose.dictionaries.sparsity import Codes
from superpose.files import DataError, argument
from superpose.numerics.products import ROUTES, route, taking
from superpose.systems import projection

Module = TypeVar("Module", bound=nn.Module)
Loss = Callable[..., Tensor]
Source = NDArray[Any]
FinishStep = Callable[[list[SparseAutoencoder], torch.optim.Optimizer], None]

_LAST_FALL = 0.2  # share of the steps that are left to a fall of the rate that a plateau starts
_GAIN = 1e-3  # a loss that fell by a smaller share than this has not improved


def fit(
    module: Module,
    loss: Loss,
    *data: ArrayLike | Tensor,
    steps: int,
    preset: str = "default",
    batch: float | None = None,
    learning_rate: float | None = None,
    warmup: float | None = None,
    weight_decay: float = 0.0,
    seed: int = 0,
    progress: Callable[[int, Tensor], None] | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    held_out: Sequence[ArrayLike | Tensor] = (),
    patience: int = 3,
    every: int = 200,
) -> Module:
    """Train dictionaries in place by minimising `loss(module, *minibatch)`, summed over repeats.

    Adam with a linear warm-up and a cosine decay to zero. The rows of step t are a function of (seed, t) alone: the
    same for every repeat and system, whatever ran before. Repeats are independent dictionaries trained at once.

    A loss of activity (`reconstruction`, `joint`) first sets each dictionary's centre and scale from all rows given,
    and keeps its rows at unit norm throughout. `supervised` leaves both alone.

    Parameters
    ----------
    module : torch.nn.Module
        A `SparseAutoencoder`, or for `joint` a `torch.nn.ModuleList` with one a system.
    loss : callable
        As `reconstruction`, or `functools.partial(joint, mode="cross")`.
    *data : array-like, (…, samples, width)
        One a system, of equally many samples: arrays, tensors or memory maps. Only the rows of a minibatch are
        ever converted.
    steps : int
        Minibatches; with `held_out`, at most.
    preset : {"default", "paper"}
        "default": as above. "paper": Appendices E and F to the letter, all rows in every step at a constant rate,
        the loss of Eq. (7) or (8) alone, neither centred nor of unit norm, without a decoder bias. The rest of that
        recipe is the module's: `normal_(SparseAutoencoder(units, latents, TopK(k, "straight_through")))`.
    batch : int, optional
        Rows of a minibatch, drawn with replacement; all rows in order where there are no more than that, as with
        `math.inf`. None is the preset's: 512; "paper": all rows.
    learning_rate : float, optional
        Its peak. 0.005 suits hundreds of units, 0.01 tens. None is the preset's: 0.005; "paper": 0.001.
    warmup : float, optional
        Share of the steps over which the rate rises. None is the preset's: 0.05; "paper": 0.
    weight_decay : float
        Of AdamW: what each step shrinks every parameter by, times the rate. Appendix G names AdamW, without a number;
        0.01 is that of common implementations. 0 is Adam.
    seed : int
        Draws the minibatches. The first dictionary is drawn by the module's own generator.
    progress : callable, optional
        Called after each step with the number of steps done and the losses, one value per repeat.
    checkpoint : path-like, optional
        A safetensors file, written every `every` steps and at the end. The same call resumes from it, whatever the
        parameters of the module that it is given, and ends in the same bits as one that was never interrupted, on
        the same machine with as many threads; finished training returns at once.
    held_out : sequence of array-like, optional
        Rows that training must not see, one array per system. The rate then stays at its peak until the loss of every
        repeat on them has reached a plateau, and only then falls to zero, over the last fifth of `steps`: training
        that ends early ends as cold as any. With "paper", whose rate never falls, the plateau is the end.
    patience : int
        A plateau: so many evaluations in a row without a gain of 0.1 % on the best.
    every : int
        Steps from one checkpoint, and from one evaluation of the held-out loss, to the next.

    Returns
    -------
    torch.nn.Module
        The module that was passed.

    Raises
    ------
    DataError
        If there is nothing to train, the data do not fit the module or hold NaN or infinite values, a unit-less
        system is constant, a number is out of range, the loss diverges, or the checkpoint is of another call.

    References
    ----------
    Kingma and Ba, Adam (2015). Loshchilov and Hutter, Decoupled weight decay regularization (2019). Unit-norm rows with
    the gradient projected: Bricken et al., Towards monosemanticity (2023). A constant rate with a late fall: Hägele et
    al., Scaling laws and compute-optimal training beyond fixed training durations (2024).

    Examples
    --------
    >>> import torch
    >>> from superpose.dictionaries.losses import reconstruction
    >>> from superpose.dictionaries.sae import SparseAutoencoder
    >>> from superpose.dictionaries.sparsity import TopK
    >>> from superpose.dictionaries.training import fit
    >>> draw = torch.Generator().manual_seed(0)
    >>> x = torch.randn(500, 8, generator=draw)
    >>> losses = []
    >>> sae = SparseAutoencoder(8, 32, TopK(2), generator=draw)
    >>> sae = fit(sae, reconstruction, x, steps=100, progress=lambda step, loss: losses.append(float(loss)))
    >>> losses[-1] < 0.8 * losses[0]
    True
    """
    begin, defaults = choose(PRESETS, "preset", preset)
    asked = {"batch": batch, "learning_rate": learning_rate, "warmup": warmup}
    numbers = {name: defaults[name] if value is None else value for name, value in asked.items()}
    saes = [m for m in module.modules() if isinstance(m, SparseAutoencoder)]
    _check_settings(saes, data, steps, patience, every, **numbers)
    if not 0 <= weight_decay < math.inf:
        raise DataError(f"weight_decay is {weight_decay!r}; expected a number of at least 0.")
    sources, unseen = _sources(data, "data"), _sources(held_out, "held_out")
    _check_held_out(sources, unseen)
    if _is_on_activity(loss):
        _check_activity(saes, sources)
    minimised, finish_step = begin(loss, saes, sources)
    optimizer = torch.optim.AdamW(
        module.parameters(), lr=numbers["learning_rate"], eps=1e-10, weight_decay=weight_decay, fused=True
    )
    course = _Course.of(steps, numbers["warmup"], min(defaults["cooldown"], _LAST_FALL if unseen else 1.0))
    regularly: list[Callable[[], None]] = []
    if unseen:
        regularly.append(functools.partial(_watch, course, module, minimised, unseen, numbers["batch"], patience))
    if checkpoint is not None:
        settings = _settings(module, loss, sources, unseen, preset=preset, steps=steps, seed=seed, **numbers)
        settings |= {"patience": str(patience), "every": str(every)} if unseen else {}
        settings |= {"weight_decay": str(weight_decay)} if weight_decay else {}
        _resume(read(checkpoint, settings), course, module, optimizer)
        regularly.append(lambda: write(checkpoint, state(module, optimizer) | course.tensors(), settings))
    hooks = [sae.register_forward_hook(_count_rows) for sae in saes]
    try:
        with taking(course.route):
            _run(
                course, module, minimised, saes, sources, optimizer, finish_step, regularly, progress,
                batch=numbers["batch"], rate=numbers["learning_rate"], seed=seed, every=every,
            )  # fmt: skip
    finally:
        for hook in hooks:
            hook.remove()
    return module


def normal_(module: Module, *, generator: torch.Generator | None = None) -> Module:
    """Draw dictionaries, encoders and encoder biases from N(0, 1), in place: the start of Appendices E and F.

    Parameters
    ----------
    module : torch.nn.Module
        A `SparseAutoencoder`, or any module that holds some.
    generator : torch.Generator, optional
        Advanced by three integers a dictionary; repeat r depends on those and r alone. None draws fresh entropy.

    Returns
    -------
    torch.nn.Module
        The module that was passed.

    Examples
    --------
    >>> import torch
    >>> from superpose.dictionaries.losses import supervised
    >>> from superpose.dictionaries.sae import SparseAutoencoder
    >>> from superpose.dictionaries.sparsity import TopK
    >>> from superpose.systems import sparse_latents
    >>> from superpose.dictionaries.training import fit, normal_
    >>> draw = torch.Generator().manual_seed(0)
    >>> z = sparse_latents(200, 64, 4, generator=draw)
    >>> sae = normal_(SparseAutoencoder(24, 64, TopK(4, "straight_through"), repeats=(2,)), generator=draw)
    >>> fit(sae, supervised, z, preset="paper", steps=5).decoder_bias.any()
    tensor(False)
    """
    for sae in (m for m in module.modules() if isinstance(m, SparseAutoencoder)):
        sizes = {"encoder": sae.units, "dictionary": sae.units, "encoder_bias": 1}
        with torch.no_grad():
            for name, rows in sizes.items():
                drawn = projection(rows, sae.latents, repeats=sae.repeats, generator=generator).mT
                parameter = getattr(sae, name)
                parameter.copy_(drawn.reshape(parameter.shape))
            sae.decoder_bias.zero_()
    return module


def minibatch(seed: int, step: int, samples: int, batch: float) -> NDArray[np.int64]:
    """Return the rows of one step, ascending: a function of its arguments alone, (batch,).

    Examples
    --------
    >>> from superpose.dictionaries.training import minibatch
    >>> minibatch(0, 7, 1000, 5)
    array([ 38, 225, 564, 777, 796])
    """
    if batch >= samples:
        return np.arange(samples)
    draw = np.random.default_rng(np.random.SeedSequence((seed, step)))
    return np.sort(draw.integers(0, samples, int(batch)))


@dataclass
class _Course:
    """How far training has come, when its rate falls, how the held-out loss has fared, and by which product it goes."""

    rise: float
    step: int
    fall: int
    end: int
    best: Tensor = field(default_factory=lambda: torch.tensor(math.inf))
    stale: Tensor = field(default_factory=lambda: torch.tensor(0))
    route: str = field(default_factory=route)

    @classmethod
    def of(cls, steps: int, warmup: float, cooldown: float) -> _Course:
        return cls(max(1.0, warmup * steps), 0, steps - round(cooldown * steps), steps)

    def rate(self) -> float:
        """Return the rate of the next step as a share of its peak: a linear rise times a cosine fall to zero."""
        rise = min(1.0, (self.step + 1) / self.rise)
        fallen = max(0, self.step - self.fall)
        return rise * 0.5 * (1 + math.cos(math.pi * fallen / max(1, self.end - self.fall)))

    def observe(self, values: Tensor, patience: int) -> None:
        """Take in the held-out losses; where none has improved for so long, let the rate fall from here."""
        improved = values < self.best - _GAIN * self.best.abs()
        improved |= self.best.isinf()
        self.best = torch.where(improved, values, self.best)
        self.stale = torch.where(improved, 0, self.stale + 1)
        if bool((self.stale >= patience).all()):
            self.fall, self.end = self.step, self.step + self.end - self.fall

    def tensors(self) -> dict[str, Tensor]:
        """Return what a checkpoint keeps of it."""
        where = torch.tensor([self.step, self.fall, self.end, ROUTES.index(self.route)])
        return {"course": where, "best": self.best, "stale": self.stale}


def _run(
    course: _Course,
    module: nn.Module,
    loss: Loss,
    saes: list[SparseAutoencoder],
    sources: list[Source],
    optimizer: torch.optim.Optimizer,
    finish_step: FinishStep,
    regularly: list[Callable[[], None]],
    progress: Callable[[int, Tensor], None] | None,
    *,
    batch: float,
    rate: float,
    seed: int,
    every: int,
) -> None:
    samples, device = sources[0].shape[-2], saes[0].dictionary.device
    while course.step < course.end:
        for group in optimizer.param_groups:
            group["lr"] = rate * course.rate()
        rows = minibatch(seed, course.step, samples, batch)
        values = loss(module, *(_rows(x, rows).to(device) for x in sources))
        optimizer.zero_grad()
        values.sum().backward()
        finish_step(saes, optimizer)
        course.step += 1
        if progress is not None:
            progress(course.step, values.detach())
        if course.step % every == 0 or course.step == course.end:
            if not bool(torch.isfinite(values).all()):
                raise DataError(
                    f"the loss diverged within {course.step} steps; lower {argument('learning_rate')}, now {rate}."
                )
            for act in regularly:
                act()


def _watch(course: _Course, module: nn.Module, loss: Loss, unseen: list[Source], batch: float, patience: int) -> None:
    """Evaluate the held-out loss, in pieces of a minibatch, until the rate falls."""
    if course.step >= course.fall:
        return
    samples = unseen[0].shape[-2]
    device = next(module.parameters()).device
    pieces = np.array_split(np.arange(samples), math.ceil(samples / batch) or 1)
    with torch.no_grad():
        parts = [len(rows) / samples * loss(module, *(_rows(x, rows).to(device) for x in unseen)) for rows in pieces]
    course.observe(torch.stack(parts).sum(0).cpu(), patience)


def _resume(tensors: dict[str, Tensor], course: _Course, module: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    if not tensors:
        return
    restore(module, optimizer, tensors)
    course.step, course.fall, course.end, number = tensors["course"].tolist()
    course.route = ROUTES[number]
    course.best, course.stale = tensors["best"], tensors["stale"]


def _settings(
    module: nn.Module, loss: Loss, sources: list[Source], unseen: list[Source], **numbers: Any
) -> dict[str, str]:
    """Return all that determines the result, as text, by the name under which a difference is reported."""
    saes = [m for m in module.modules() if isinstance(m, SparseAutoencoder)]
    return {
        "loss": _described(loss),
        **{name: str(value) for name, value in numbers.items()},
        **{name: f"{tuple(tensor.shape)} {tensor.dtype}" for name, tensor in module.state_dict().items()},
        **{f"sparsity {i}": repr(sae.sparsity) for i, sae in enumerate(saes)},
        **{f"data {i}": fingerprint(x) for i, x in enumerate(sources)},
        **{f"held_out {i}": fingerprint(x) for i, x in enumerate(unseen)},
    }


def _described(value: Any) -> str:
    """Return a loss, or a setting of one, as text that another process repeats: functions by name, not by address."""
    if isinstance(value, functools.partial):
        given = [*map(_described, value.args), *(f"{k}={_described(v)}" for k, v in sorted(value.keywords.items()))]
        return f"{_described(value.func)}({', '.join(given)})"
    return getattr(value, "__qualname__", None) or repr(value)


def _standardised(loss: Loss, saes: list[SparseAutoencoder], sources: list[Source]) -> tuple[Loss, FinishStep]:
    if not _is_on_activity(loss):
        return loss, _free
    _standardise(saes, sources)
    return loss, _unit_norm


def _as_published(loss: Loss, saes: list[SparseAutoencoder], sources: list[Source]) -> tuple[Loss, FinishStep]:
    if "auxiliary_weight" in inspect.signature(loss).parameters:
        loss = functools.partial(loss, auxiliary_weight=0.0)
    return loss, _without_decoder_bias


def _free(saes: list[SparseAutoencoder], optimizer: torch.optim.Optimizer) -> None:
    optimizer.step()


def _unit_norm(saes: list[SparseAutoencoder], optimizer: torch.optim.Optimizer) -> None:
    for sae in saes:
        sae.project_gradient_()
    optimizer.step()
    for sae in saes:
        sae.normalise_()


def _without_decoder_bias(saes: list[SparseAutoencoder], optimizer: torch.optim.Optimizer) -> None:
    for sae in saes:
        sae.decoder_bias.grad = None
    optimizer.step()


def _is_on_activity(loss: Any) -> bool:
    while isinstance(loss, functools.partial):
        loss = loss.func
    return getattr(loss, "on_activity", False)


def _count_rows(sae: SparseAutoencoder, args: tuple[Tensor, ...], codes: Codes) -> None:
    """Advance the training rows that each latent has been silent for; those that fired start again from zero."""
    if torch.is_grad_enabled():
        sae.steps_since_active.add_(args[0].shape[-2]).masked_fill_(codes.fired(), 0)


def _check_activity(saes: list[SparseAutoencoder], sources: list[Source]) -> None:
    if len(saes) != len(sources):
        raise DataError(f"{len(saes)} dictionaries and {len(sources)} systems; expected one dictionary per system.")
    for i, (sae, x) in enumerate(zip(saes, sources, strict=True)):
        if x.shape[-1] != sae.units:
            raise DataError(f"data {i} has {x.shape[-1]} units; its dictionary expects {sae.units}.")


def _standardise(saes: list[SparseAutoencoder], sources: list[Source]) -> None:
    for i, (sae, x) in enumerate(zip(saes, sources, strict=True)):
        centre, scale = _centre_and_scale(x)
        if not (scale > 0).all():
            raise DataError(f"all units of data {i} are constant; there is nothing to train on. Drop this system.")
        sae.centre.copy_(torch.from_numpy(centre))
        sae.scale.copy_(torch.from_numpy(scale))
        sae.normalise_()


def _centre_and_scale(x: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the mean of each unit and the root mean square about it over samples and units."""
    samples, units = x.shape[-2:]
    centre = unit_means(x)
    squares = sum(np.square(rows - centre[..., None, :]).sum((-2, -1)) for _, rows in chunks(x))
    return centre, np.asarray(np.sqrt(squares / (samples * units)))


def _sources(arrays: Sequence[ArrayLike | Tensor], name: str) -> list[Source]:
    check_rows({f"{name} {i}": x for i, x in enumerate(arrays)})
    sources = {f"{name} {i}": as_responses(x, f"{name} {i}") for i, x in enumerate(arrays)}
    for label, x in sources.items():
        check_moderate(x, label)
    if sources:
        check_paired(sources)
    return list(sources.values())


def _rows(x: Source, rows: NDArray[np.int64]) -> Tensor:
    return torch.from_numpy(np.asarray(x[..., rows, :], dtype=np.float32))


def _check_held_out(sources: list[Source], unseen: list[Source]) -> None:
    if not unseen:
        return
    shapes = [[(*x.shape[:-2], x.shape[-1]) for x in each] for each in (sources, unseen)]
    if shapes[0] != shapes[1]:
        raise DataError(
            f"held_out has shapes {[x.shape for x in unseen]} and the data {[x.shape for x in sources]}; expected a "
            "sequence of one array per system, which differs from the data in its samples alone."
        )


def _check_settings(
    saes: list[SparseAutoencoder],
    data: tuple[Any, ...],
    steps: int,
    patience: int,
    every: int,
    *,
    batch: float,
    learning_rate: float,
    warmup: float,
) -> None:
    if not saes:
        raise DataError("the module holds no SparseAutoencoder; pass one, or a torch.nn.ModuleList of them.")
    if not data:
        raise DataError("no data to train on; pass one array per system after the loss.")
    counts = {"steps": steps, "patience": patience, "every": every} | ({} if batch == math.inf else {"batch": batch})
    for name, value in counts.items():
        if not isinstance(value, int | np.integer) or isinstance(value, bool) or value < 1:
            raise DataError(f"{argument(name)} is {value!r}; expected a positive integer.")
    if not 0 < learning_rate < math.inf:
        raise DataError(f"{argument('learning_rate')} is {learning_rate!r}; expected a positive number.")
    if not 0 <= warmup <= 1:
        raise DataError(f"warmup is {warmup!r}; expected a share of the steps, from 0 to 1.")


Begin = Callable[[Loss, list[SparseAutoencoder], list[Source]], tuple[Loss, FinishStep]]
PRESETS: dict[str, tuple[Begin, dict[str, float]]] = {
    "default": (_standardised, {"batch": 512, "learning_rate": 5e-3, "warmup": 0.05, "cooldown": 1.0}),
    "paper": (_as_published, {"batch": math.inf, "learning_rate": 1e-3, "warmup": 0.0, "cooldown": 0.0}),
}
