"""The main job: which features systems share, how alike they are raw, and in what dictionaries recover."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import pandas as pd
from numpy.typing import ArrayLike

from superpose.analysis.found import Analysis
from superpose.analysis.given import features_of
from superpose.analysis.latent import planned_latent
from superpose.analysis.raw import planned_raw
from superpose.analysis.repeats import with_ceilings
from superpose.analysis.scores import METRICS
from superpose.analysis.toward import toward
from superpose.arrays.tensors import checked_device
from superpose.ceilings import Trials, trials_in
from superpose.comparison import INTERVALS, Progress, Systems
from superpose.dictionaries.sae import SparseAutoencoder
from superpose.messages.deprecation import gathered, renamed
from superpose.metrics import Metric, resolved
from superpose.recordings.systems import paired_with_stimuli, stimuli_of
from superpose.sharing import Content, TooFew, content


@gathered("training", "steps", "preset", "batch", "learning_rate")
@renamed({"folds": lambda folds: 1 / folds}, folds="test")
def analyse(
    systems: Systems,
    *,
    pairs: Sequence[tuple[str, str]] | None = None,
    targets: Sequence[str] | None = None,
    metrics: Sequence[Metric | str] = METRICS,
    cv: int | ArrayLike | None = 5,
    test: float | ArrayLike = 0.2,
    groups: ArrayLike | None = None,
    labels: ArrayLike | None = None,
    stimuli: Sequence[Any] | None = None,
    permutations: int = 999,
    interval_samples: int | None = INTERVALS,
    fit: str | None = None,
    latents: int | None = None,
    active: int | None = None,
    mode: str = "detached",
    training: Mapping[str, Any] | None = None,
    seeds: int = 1,
    controls: str | Sequence[str] = "shuffled_fit",
    dictionaries: Mapping[str, SparseAutoencoder] | None = None,
    seed: int = 0,
    memory: int | str | None = None,
    device: str = "cpu",
    engine: str = "serial",
    keep: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
    trials: Mapping[str, ArrayLike | Trials] | None = None,
) -> Analysis:
    """Say which features systems share and how much of their raw scores is packing; then score them, raw and latent.

    The features of each system are found, and looked for in the others (`superpose.content`). Raw scores are those of
    `superpose.compare`, over all samples (`split` "cv=5"). With `fit`, dictionaries are trained on the training samples
    of one fixed split; their latents and reconstructions are scored on its test samples, and so are raw scores beside
    them (`split` "test"). A latent score above the raw one is not by itself evidence of superposition: `controls` names
    the controls to compare it with.

    Parameters
    ----------
    systems : mapping of str to array or tensor, (samples, units), data frame, xarray array or Recording
        At least two systems that saw the same samples, paired as in `superpose.compare`.
    pairs : sequence of (name, name), optional
        The pairs to compare; None is all of them.
    targets : sequence of str, optional
        Compare every other system with each of these alone, in place of `pairs`; raw regressions predict the target
        only.
    metrics : sequence of Metric
        What every space is scored by, as in `superpose.compare`.
    cv : int, integer array (samples,) or None
        How raw scores are cross-validated, as in `superpose.compare`.
    test : float, or boolean array, (samples,)
        The share of samples, drawn at random by `seed` in whole groups, that is held out; or those that are.
    groups : array-like, (samples,), optional
        Which samples belong together (sentence, trial, photograph): the split, intervals, permutations and the
        shuffled control never split groups.
    labels : array-like, (samples,), optional
        What a sample shows (a word, a class), for the control "within_labels"; the folds of the training samples, on
        which penalties are chosen, get an equal share of each.
    stimuli : sequence, (samples,), optional
        Names of the samples, for those that each feature is strongest in; None takes the stimuli of systems that label
        them, or numbers.
    permutations : int
        Permutations behind the null of each raw score, as in `superpose.compare`, which says what they cost.
    interval_samples : int, optional
        Number of test samples used for interval widths, as in `superpose.compare`; None takes all.
    fit : {"pairwise", "all", "independent"}, optional
        One joint dictionary a pair, one for all systems, or one a system on its own. None fits none, unless another
        option of dictionaries is set (latents, active, mode, training, seeds, controls, dictionaries), which implies
        "pairwise".
    latents : int, optional
        Latents of each dictionary. None is four times the widest system, less where training rows are scarce
        (a sixteenth of them), but never fewer than the widest system's units.
    active : int, optional
        Active latents k. None is 32, at most a sixteenth of the latents.
    mode : {"detached", "cross", "separate", "agreement"}
        The cross terms of joint dictionaries, as in `superpose.losses.joint`.
    training : mapping, optional
        How dictionaries are trained: `steps`, `preset`, `batch` and `learning_rate`, as `superpose.fit` takes them; by
        default 1,000 steps. The preset "paper" is Appendix G: all rows in every step, AdamW at a constant rate, the
        straight-through gradient, encoders and dictionaries drawn from N(0, 1). It names two million steps.
    seeds : int
        How many times the dictionaries are fitted from other seeds, each in rows of its own; `Analysis.over_seeds`
        brings them together. Intervals of single rows take their dictionaries as given.
    controls : "all", or sequence of str
        Controls for the latent scores, each in rows of its own (`space` and `control` say which):

        - "shuffled_fit": samples permuted and the dictionaries refitted. Where systems share nothing, joint training
          alone must not make them alike.
        - "nonlinear": raw activity predicted from raw activity by kernel ridge regression.
        - "linear_selection": what remains of two systems when each is reduced to its canonical variates with the
          other until as much variance is unexplained as by its dictionary.
        - "latent_to_raw": raw activity predicted from the other system's latents, the same targets as raw scores have.
        - "closed_form": the CKA of reconstructions as Theorem 3.2 gives it from decoders and codes.
        - "untrained": latents of dictionaries drawn at random.
        - "within_labels": samples permuted within labels, and the dictionaries refitted.
        - "independent": two dictionaries per system, each fitted on its own; their scores against each other (space
          "two_seeds"), and those of different systems with that noise divided out ("corrected"); the same of untrained
          ones.
        - "pca_code": the largest principal components of each sample, as many as latents are active.
        - "rotated": each system against a rotation of itself.
        - "planted": two Gaussian packings of each system's own codes, and what the closed form says of them.
    dictionaries : mapping of str to SparseAutoencoder, optional
        Existing dictionaries (`superpose.load`, `superpose.formats.read`), by system, of any sizes and sparsities.
        Pairs of which both have one get rows with `fit` "given", beside those of the dictionaries fitted here. Whether
        they were trained on the test samples is not known here. Up to 2,048 latents are the features of `content`.
    seed : int
        Random seed.
    memory : int or str, optional
        How many bytes the sums behind scores may take, as in `superpose.compare`.
    device : str
        Where dictionaries are trained and applied, in torch's words ("cuda"). Scores are computed on the CPU.
    engine : str
        Where dictionaries are fitted and scored: "serial", or "local:N" for N processes that share the cores.
        Sums depend on the number of threads in their last digits.
    keep : path-like, optional
        Folder that keeps each finished dictionary: an interrupted analysis of the same samples and settings resumes
        from these.
    progress : callable, optional
        Called with (what, done, total); None is as in `superpose.compare`.
    trials : mapping of str to array-like (repeats, samples, units), or Trials, optional
        Trials that the systems are means over, with NaN where one is missing. None takes those of recordings that have
        repeats. Each raw score then stands beside its noise ceiling (`superpose.ceilings`), and the ceiling of a
        feature is how well one half of the trials predicts it in the other (`superpose.content`).

    Returns
    -------
    Analysis
        `.table`, `.content`, `.warnings`, `.sentences`, `.methods`, `.settings` and `.report(path)`.

    Raises
    ------
    DataError
        For systems that cannot be compared, settings out of range, or a device that is not there.

    Examples
    --------
    >>> import superpose as sp, torch
    >>> draw = torch.Generator().manual_seed(0)
    >>> z = sp.systems.sparse_latents(4000, 32, 2, generator=draw)
    >>> a, b = sp.systems.gaussian_projection(16, 32, repeats=(2,), generator=draw)
    >>> found = sp.analyse({"a": z @ a.T, "b": z @ b.T}, latents=32, active=2, training={"steps": 50}, permutations=99)
    >>> sorted(found.table.space.unique())
    ['latent', 'predicted', 'raw', 'reconstruction']
    >>> found.content.table.verdict[0]
    'same'
    """
    given = systems
    rows, systems, groups, labels, test, cv = paired_with_stimuli(systems, groups, labels=labels, test=test, cv=cv)
    known: Any = trials_in(given, rows, systems) if trials is None else trials
    if targets is not None:
        pairs = toward(systems, targets)
    shared: dict[str, Any] = {
        "pairs": pairs,
        "metrics": metrics,
        "groups": groups,
        "labels": labels,
        "interval_samples": interval_samples,
        "seed": seed,
        "memory": memory,
        "engine": engine,
        "progress": progress,
    }
    told = (latents, active, training, dictionaries)
    usual = (mode, seeds, controls) == ("detached", 1, "shuffled_fit")
    if fit is None and not (usual and all(one is None for one in told)):
        fit = "pairwise"
    recovered = (
        None
        if fit is None
        else planned_latent(
            systems,
            test=test,
            fit=fit,
            latents=latents,
            active=active,
            mode=mode,
            training=training,
            seeds=seeds,
            controls=controls,
            dictionaries=dictionaries,
            device=device,
            keep=keep,
            **shared,
        )
    )
    plain = planned_raw(systems, cv=cv, permutations=permutations, targets=targets, **shared)
    checked_device(device)
    stimuli = stimuli_of(given, len(next(iter(systems.values())))) if stimuli is None else stimuli
    design: dict[str, Any] = {"pairs": pairs, "groups": groups, "labels": labels, "test": test, "seed": seed}
    design |= {"stimuli": stimuli, "device": device, "progress": progress}
    shares, why = _content(systems, known, dictionaries, **design)
    parts = [plain(), *([recovered()] if recovered else [])]
    found = [part.warnings for part in reversed(parts)]
    settings: dict[str, Any] = {}
    for part in parts:
        settings |= part.settings
    analysis = Analysis(
        pd.concat([part.table for part in parts], ignore_index=True),
        tuple(dict.fromkeys([*why, *(shares.warnings if shares else ()), *chain.from_iterable(found)])),
        settings | {"split": parts[0].settings["split"], "device": device},
        shares,
    )
    if not known:
        return analysis
    how: dict[str, Any] = {"groups": groups, "labels": labels, "metrics": resolved(metrics), "seed": seed}
    return with_ceilings(analysis, known, cv=cv, test=test, **how)


def _content(
    systems: Systems,
    trials: Mapping[str, ArrayLike | Trials] | None,
    dictionaries: Mapping[str, SparseAutoencoder] | None,
    **asked: Any,
) -> tuple[Content | None, list[str]]:
    """Return the content of the systems, and why it is not that of the given dictionaries, or was not looked for."""
    given, wide = features_of(dictionaries)
    try:
        return content(systems, repeats=trials or {}, dictionaries=given, **asked), wide
    except TooFew as error:
        return None, [f"Features were not looked for: {error}"]
