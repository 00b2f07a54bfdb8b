"""What a latent score is held against: each name of a control, and the cells of work that it stands for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import pandas as pd

from superpose.analysis.ceiling import apart_twice
from superpose.analysis.copies import planted, rotated
from superpose.analysis.job import Job
from superpose.analysis.lines import RECOVERED, closed_form, latent_to_raw, linear_selection, packed_alike
from superpose.analysis.nonlinear import nonlinear
from superpose.analysis.permuting import shuffled, within_labels
from superpose.analysis.principal import principal_codes
from superpose.analysis.recovery import Line, recover
from superpose.analysis.scores import described, noted, scored
from superpose.analysis.spaces import FITS, Recipe, apart, untrained
from superpose.arrays import choose
from superpose.files import DataError, argument
from superpose.messages.wording import percent

Cell = Callable[[Job], pd.DataFrame]
Control = Callable[[Job, Recipe, int], Iterator[Cell]]


def chosen(controls: str | Sequence[str]) -> tuple[str, ...]:
    """Return the names of controls, each once, in the order of their work.

    Raises
    ------
    DataError
        For an unknown name.
    """
    names = (controls,) if isinstance(controls, str) else tuple(controls)
    known = {**LINES, **CONTROLS}
    if names == ("all",):
        return tuple(known)
    for name in names:
        choose(known, "controls", name)
    return tuple(name for name in known if name in names)


def cells_of(job: Job, recipe: Recipe, number: int, asked: Sequence[str], able: bool) -> list[Cell]:
    """Return the work of one seed: the dictionaries, the lines drawn from them, and the controls.

    Where training rows are too few for dictionaries, what needs none is left.
    """
    further = [LINES[name] for name in asked if name in LINES]
    started = list(_as_they_are(job, recipe, number, further)) if able else []
    needed = [name for name in asked if name in CONTROLS and (able or name in WITHOUT_DICTIONARIES)]
    return [*started, *(cell for name in needed for cell in CONTROLS[name](job, recipe, number))]


def _as_they_are(job: Job, recipe: Recipe, number: int, further: Sequence[Line]) -> Iterator[Cell]:
    """Fit and score the dictionaries of each group of systems, with the lines asked for."""
    drawn = (*RECOVERED, packed_alike, *further)
    for names in _groups(job):
        yield partial(recover, names=names, recipe=recipe, number=number, lines=drawn)


def _shuffled_fit(job: Job, recipe: Recipe, number: int) -> Iterator[Cell]:
    """Refit on shuffled pairs: joint training alone must not make systems alike."""
    if job.permutable:
        common = partial(recover, lines=RECOVERED, control="shuffled_fit", permuting=shuffled)
        for names in _groups(job):
            yield partial(common, names=names, recipe=recipe, number=number)


def _within_labels(job: Job, recipe: Recipe, number: int) -> Iterator[Cell]:
    """Permute rows of the same label, and refit: what is left is owed to the label."""
    if job.design.labels is None:
        raise DataError(
            f"the control 'within_labels' needs one label per row; give {argument('labels')}, or leave it out."
        )
    common = partial(recover, lines=RECOVERED, control="within_labels", permuting=within_labels)
    for names in _groups(job):
        if number == 0:
            yield partial(_raw_within_labels, names=names)
        yield partial(common, names=names, recipe=recipe, number=number)


def _raw_within_labels(job: Job, *, names: tuple[str, ...]) -> pd.DataFrame:
    altered = within_labels(job.only(names))
    table = described(scored(altered, altered.arrays), altered, space="raw", control="within_labels", fit="")
    left_out = 1 - len(altered.held_out) / len(job.held_out)
    return noted(table, f"{percent(left_out, 1)} of the rows left out")


def _untrained(job: Job, recipe: Recipe, number: int) -> Iterator[Cell]:
    """Encode with dictionaries drawn at random: what any sparse re-coding gives."""
    common = partial(recover, lines=RECOVERED, control="untrained", trainer=untrained)
    for names in _groups(job):
        yield partial(common, names=names, recipe=recipe, number=number)


def _nonlinear(job: Job, recipe: Recipe, number: int) -> Iterator[Cell]:
    """Predict raw activity from nonlinear functions of raw activity: what a nonlinear encoder may gain."""
    if number == 0:
        for name in job.arrays:
            if job.partners(name):
                yield partial(nonlinear, source=name)


def _independent(job: Job, recipe: Recipe, number: int) -> Iterator[Cell]:
    """Fit dictionaries apart, twice each, and divide their noise out; never without the same of untrained ones."""
    for control, trainer in (("none", apart), ("untrained", untrained)):
        yield partial(apart_twice, recipe=recipe, number=number, control=control, trainer=trainer)


def _pca_code(job: Job, recipe: Recipe, number: int) -> Iterator[Cell]:
    """Keep as many principal components per sample as a dictionary keeps latents."""
    if number == 0:
        yield partial(principal_codes, active=recipe.active)


def _rotated(job: Job, recipe: Recipe, number: int) -> Iterator[Cell]:
    """Compare each system with a rotation of itself."""
    for name in job.arrays:
        if job.partners(name):
            yield partial(rotated, name=name, recipe=recipe, number=number)


def _planted(job: Job, recipe: Recipe, number: int) -> Iterator[Cell]:
    """Compare two packings of each system's own codes."""
    for name in job.arrays:
        if job.partners(name):
            yield partial(planted, name=name, recipe=recipe, number=number)


def _groups(job: Job) -> list[tuple[str, ...]]:
    grouping, _ = FITS[job.fit]
    return grouping(list(job.arrays), job.pairs)


# Lines drawn from the dictionaries that are fitted anyway, and controls that need work of their own.
LINES: dict[str, Line] = {
    "linear_selection": linear_selection,
    "latent_to_raw": latent_to_raw,
    "closed_form": closed_form,
}
CONTROLS: dict[str, Control] = {
    "shuffled_fit": _shuffled_fit,
    "nonlinear": _nonlinear,
    "untrained": _untrained,
    "within_labels": _within_labels,
    "independent": _independent,
    "pca_code": _pca_code,
    "rotated": _rotated,
    "planted": _planted,
}
WITHOUT_DICTIONARIES = ("nonlinear", "pca_code")
