"""Content of systems: which features each holds, which of them others hold too, and how much of a score is packing."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from superpose.arrays import check_paired, group_labels
from superpose.ceilings import Trials, trials_in
from superpose.comparison import Systems, checked_pairs, checked_systems, design_of, table_of
from superpose.dictionaries.sae import SparseAutoencoder
from superpose.files import DataError
from superpose.messages.notebook import counted, html, text
from superpose.metrics import CKA_DEBIASED
from superpose.metrics.splits import marked
from superpose.recordings.systems import named, paired_with_stimuli, stimuli_of
from superpose.running.progress import shown as shown_progress
from superpose.sharing.decoding import Decoded, Side, decode
from superpose.sharing.features import Features, features, strongest
from superpose.sharing.halves import halves_of, repeated_by_both
from superpose.sharing.packing import packing_of
from superpose.sharing.sentences import sentences
from superpose.sharing.shares import Share, geometric, held_share
from superpose.sharing.sides import Sides
from superpose.sharing.together import together
from superpose.sharing.units import Population, populations
from superpose.sharing.verdict import AMBIGUOUS, Evidence, Verdict, verdict_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from superpose.report import Passage

Array = NDArray[Any]
Progress = Callable[[str, int, int], None]

# Columns that a notebook shows.
SHOWN = ("system_a", "system_b", "verdict", "packing", "content", "packed", "raw", "held_by_b", "held_by_a")
# A feature that is not held is predicted weakly where it is significant at this rate of false discoveries, and has more
# than this ratio.
DISCOVERY, WEAKLY = 0.05, 0.15
# Pairs that a warning names.
NAMED = 3


@dataclass(frozen=True, eq=False)
class Content:
    """Result of `superpose.content`.

    Attributes
    ----------
    table : pandas.DataFrame
        One row per pair, as `superpose.content` describes it.
    features : pandas.DataFrame
        One row per feature and other system.
    found : dict of str to Features
        The features of each system, which also encode new samples.
    warnings : tuple of str
        Cautions for the reader.
    settings : dict
        Settings that determine the results.
    """

    table: pd.DataFrame
    features: pd.DataFrame
    found: dict[str, Features]
    warnings: tuple[str, ...]
    settings: dict[str, Any]

    def __repr__(self) -> str:
        """Return what was found, in words."""
        return text(self._head, self.sentences, ".table .features .found .sentences .warnings .plot() .report(path)")

    def _repr_html_(self) -> str:
        """Return what a notebook shows: what was found, and one row per pair."""
        return html(self._head, self.sentences, self.table[list(SHOWN)], self.warnings)

    @property
    def _head(self) -> str:
        return f"Content of {counted(len(self.table), 'pair')} of {counted(len(self.found), 'system')}"

    @property
    def sentences(self) -> list[str]:
        """What the table means: the verdict on each pair, and what it rests on."""
        return sentences(self.table, self._given)

    @property
    def _given(self) -> list[str]:
        return [name for name, of in self.found.items() if of.settings["source"] == "given"]

    def plot(self) -> Figure:
        """Draw each pair: raw score, what packing makes of it, content, and the shares of features that are held."""
        from superpose.sharing.picture import picture

        return picture(self.table)

    @property
    def reported(self) -> dict[str, Any]:
        """What a report shows of it: the parts that `superpose.report.page` takes."""
        texts = [sentences(self.table.iloc[[place]], self._given) for place in range(len(self.table))]
        return {
            "content": self.table.assign(told=pd.Series(texts, index=self.table.index, dtype=object)),
            "features": self.features,
            "settings": {"features": self.settings},
        }

    def report(
        self,
        path: str | os.PathLike[str],
        title: str = "Content",
        *,
        stimuli: Mapping[str, Path | Passage] | None = None,
    ) -> Path:
        """Write one self-contained HTML page: verdicts and pictures, the features, methods and settings.

        `stimuli` says what samples are, by their names: paths of pictures, of which thumbnails go to a folder beside
        the page, or a `superpose.report.Passage` of a text.
        """
        from superpose.report import write

        return write(path, title=title, stimuli=stimuli or {}, sentences=(), warnings=self.warnings, **self.reported)


def content(
    systems: Systems | Sequence[Any] | ArrayLike,
    *others: Any,
    pairs: Sequence[tuple[str, str]] | None = None,
    groups: ArrayLike | None = None,
    labels: ArrayLike | None = None,
    dictionaries: Mapping[str, SparseAutoencoder | ArrayLike] | None = None,
    repeats: Mapping[str, ArrayLike | Trials] | None = None,
    stimuli: Sequence[Any] | None = None,
    test: float | ArrayLike = 0.2,
    permutations: int | None = None,
    seed: int = 0,
    memory: int | str | None = None,
    device: str = "cpu",
    progress: Progress | None = None,
) -> Content:
    """Find the features of each system, which of them others also hold, and how much of a raw score is packing.

    The features of each system are found without using another (`superpose.features`). A generic nonlinear regression
    then predicts the code of each feature from another system's activity and, as its ceiling, from its own; a feature
    is held where the first correlation exceeds half of the second. Features are not matched in pairs, so one dictionary
    per system is enough, whatever the quality of the other's.

    Parameters
    ----------
    systems : mapping of str to array or tensor, (samples, units), data frame, xarray array or Recording
        At least two systems that saw the same samples, paired as in `superpose.compare`.
    pairs : sequence of (name, name), optional
        The pairs to compare; None takes all.
    groups : array-like, (samples,), optional
        Which samples belong together (sentence, trial, photograph): groups are never split by halves, hold-out or
        permutations.
    labels : array-like, (samples,), optional
        What each sample shows (a word, a category, a place): `within_label` is what remains within it.
    dictionaries : mapping of str to SparseAutoencoder or array-like (units, features), optional
        Existing dictionaries, by system; the features of the others are found.
    repeats : mapping of str to array-like (samples, units) or (repeats, samples, units), or Trials, optional
        A second repeat of the same stimuli, by system; or all trials of systems that are means over these. None takes
        the trials of recordings that have them. Of two systems with repeats, codes are of one half of the trials (or
        of the first repeat) and predicted from the other, so that private noise is not taken for private content.
        That is at the stimuli with two trials or more in both. Features are those of the system itself, over all trials
        of all stimuli.
    stimuli : sequence, (samples,), optional
        Names of the samples, to name those in which each feature is strongest; None takes the stimuli of labelled
        systems, or numbers.
    test : float, or boolean array, (samples,)
        The hold-out: a share of samples, drawn at random in whole groups, or the samples themselves.
    permutations : int, optional
        Number of permutations for the significance of each feature, as in `superpose.sharing.decode`.
    seed : int
        Random seed. The same seed and number of threads give identical results.
    memory : int or str, optional
        For the raw scores, as in `superpose.compare`.
    device : str
        Torch device on which dictionaries are learned.
    progress : callable, optional
        Called with (what, done, total); None is as in `superpose.compare`.

    Returns
    -------
    Content
        `.table`, one row per pair: `features_a`, `features_b`, how many were found, and `explained_a`, `explained_b`,
        the share of held-out variance that they explain; `held_by_b`, `held_by_a`, the share of a's features that b
        holds and of b's that a does; `shared` with its 90 % interval, their geometric mean n_s / √(n_a n_b); `content`
        with its interval, the CKA of the features themselves, correlations between them included; `raw`, debiased CKA
        of the activity; `cka_units` with its interval, the CKA of the populations that units are drawn from, however
        many were recorded (`superpose.sharing.cka_units`; NaN where it does not apply, with the reason in `warnings`,
        and above 1,024 units); `packed`, the CKA predicted from these features and their packing (Theorem 3.2);
        `unexplained`, raw less packed; `residual_a`, `residual_b`, how well the other system predicts what a system's
        features leave of it, over how well the system itself does; `verdict` ("same", "a among b" by name, "in part",
        "different", "cannot tell"), `packing` ("alike", "differently", "cannot tell", "" where nothing is shared), and
        `why`, the reason for a verdict of "cannot tell".

        `.features`, one row per feature and other system: the columns of `Features.table` and
        `superpose.sharing.decode`, and `samples`, those in which the feature is strongest.

    Raises
    ------
    DataError
        For systems that cannot be paired, or in which features cannot be searched (`superpose.features`).

    Examples
    --------
    >>> import torch, superpose as sp
    >>> draw = torch.Generator().manual_seed(0)
    >>> z = sp.systems.sparse_latents(4_000, 32, 2, generator=draw)
    >>> a, b = sp.systems.gaussian_projection(16, 32, repeats=(2,), generator=draw)
    >>> found = sp.content({"a": z @ a.T, "b": z @ b.T})
    >>> found.table.verdict[0], found.table.packing[0]
    ('same', 'differently')
    """
    everything = named(systems, others)
    paired_rows, known, groups, labels, test = paired_with_stimuli(everything, groups, labels=labels, test=test)
    arrays = checked_systems(known)
    for name, x in arrays.items():
        if x.ndim != 2:
            raise DataError(
                f"{name} has shape {x.shape}; expected (samples, units): average trials, and "
                "pass them as repeats={name: trials}; analyse seeds one at a time."
            )
    couples = checked_pairs(arrays, pairs)
    samples = check_paired(arrays)
    heard = progress or shown_progress()
    belonging = None if groups is None else group_labels(groups, samples)
    shown = None if labels is None else group_labels(labels, samples, "labels")
    held_out = marked(samples, test, belonging, seed)
    given = _of_systems(dictionaries, arrays, "dictionaries")
    trials = (trials_in(everything, paired_rows, arrays) or {}) if repeats is None else repeats
    split, unsplit = halves_of(trials, arrays, seed=seed)
    labelled = stimuli_of(everything, samples) if stimuli is None else stimuli
    names: Any = np.arange(samples) if labelled is None else labelled
    if len(names) != samples:
        raise DataError(f"stimuli names {len(names)} samples; expected {samples}.")
    design = design_of(samples, cv=None, groups=belonging, seed=seed, memory=memory, permutations=0, progress=heard)
    raw = table_of(arrays, couples, [CKA_DEBIASED], design).set_index(["system_a", "system_b"]).score
    # Where only one of a pair has repeats, its noise would count in its own predictions and not in the other's.
    compared = {couple: repeated_by_both(split, couple, held_out) for couple in couples}
    rows_of = {couple: rows for couple, (rows, _) in compared.items()}
    names_of = dict.fromkeys(name for couple in couples for name in couple)
    features_of = {
        name: features(
            arrays[name],
            groups=belonging,
            dictionary=given.get(name),
            test=held_out,
            seed=seed,
            device=device,
            progress=partial(_of_one, heard, f"features of {name} ({place} of {len(names_of)})"),
        )
        for place, name in enumerate(names_of, start=1)
    }
    sides = Sides(arrays, features_of, split, belonging, shown, seed)
    judged, tables = [], []
    units = populations(arrays, couples, groups=belonging, seed=seed)
    for place, (a, b) in enumerate(couples):
        heard("pairs", place, len(couples))
        rows = rows_of[a, b]
        one, other = sides.at(a, rows), sides.at(b, rows)
        there, back = (decode(*pair, permutations=permutations, seed=seed) for pair in ((one, other), (other, one)))
        residual = sides.residual(a, b, rows), sides.residual(b, a, rows)
        shown_names = names if rows is None else [names[row] for row in rows]
        tables += [_described(one, there, shown_names), _described(other, back, shown_names)]
        judged.append(_row(one, other, there, back, float(raw[a, b]), units[a, b], residual, seed))
    heard("pairs", len(couples), len(couples))
    table = pd.DataFrame(judged)
    settings = {
        "pairs": [list(couple) for couple in couples],
        "groups": None if belonging is None else int(belonging.max()) + 1,
        "labels": None if shown is None else int(shown.max()) + 1,
        "samples": samples,
        "test_samples": int(held_out.sum()),
        "permutations": permutations,
        "seed": seed,
        "device": device,
        "repeats": [
            name for name in names_of if any(rows_of[couple] is not None for couple in couples if name in couple)
        ],
        "systems": {name: of.settings for name, of in features_of.items()},
    }
    warnings = (*_warnings(features_of), *unsplit, *(note for _, note in compared.values() if note), *_refusals(units))
    return Content(table, pd.concat(tables, ignore_index=True), features_of, warnings, settings)


def _of_one(heard: Progress, title: str, what: str, done: int, total: int) -> None:
    """Report the search for one system's features under its own title."""
    heard(title, done, total)


def _of_systems(given: Mapping[str, Any] | None, arrays: Mapping[str, Array], what: str) -> dict[str, Any]:
    for name in given or {}:
        if name not in arrays:
            raise DataError(f"{what} names {name!r}; expected some of {', '.join(map(repr, arrays))}.")
    return dict(given or {})


def _row(
    a: Side,
    b: Side,
    there: Decoded,
    back: Decoded,
    raw: float,
    units: Population,
    residual: tuple[float, float],
    seed: int,
) -> dict[str, Any]:
    shares = [_share(one, of.table) for one, of in ((a, there), (b, back))]
    weighted = [_weighted(one, of.table) for one, of in ((a, there), (b, back))]
    shared, alike = geometric(*shares), geometric(*weighted).times(together(a, b, there, back))
    packing = packing_of(a, b, there, back, seed=seed)
    both = pd.concat([of.table[of.table.assessable] for of in (there, back)])
    middling = both.ratio.between(*AMBIGUOUS)
    weak = ~both.held & (both.q < DISCOVERY) & (both.ratio > WEAKLY)
    verdict = verdict_of(
        Evidence(
            names=(a.name, b.name),
            found=(len(a.features), len(b.features)),
            assessable=(int(there.table.assessable.sum()), int(back.table.assessable.sum())),
            held=(shares[0], shares[1]),
            shared=shared,
            median_ratio=float(both.ratio[both.held].median()),
            middling=float(middling.mean()) if len(both) else 0.0,
            weak=float(weak.mean()) if len(both) else 0.0,
            able=(_able(a), _able(b)),
            repeated=a.repeated,
            explained=(a.features.settings["explained"], b.features.settings["explained"]),
            residual=residual,
            packing=packing,
        )
    )
    return {
        "system_a": a.name,
        "system_b": b.name,
        "features_a": len(a.features),
        "features_b": len(b.features),
        "explained_a": a.features.settings["explained"],
        "explained_b": b.features.settings["explained"],
        "held_by_b": shares[0].value,
        "held_by_a": shares[1].value,
        **_columns("shared", shared),
        **_columns("content", alike),
        "raw": raw,
        "cka_units": units.value,
        "cka_units_low": units.low,
        "cka_units_high": units.high,
        "packed": packing.packed,
        "unexplained": raw - packing.packed,
        "gram_cosine": packing.alike,
        "residual_a": residual[0],
        "residual_b": residual[1],
        "ratio": float(both.ratio[both.held].median()),
        **_verdict_columns(verdict),
    }


def _verdict_columns(verdict: Verdict) -> dict[str, str]:
    return {"verdict": verdict.content, "packing": verdict.packing, "why": verdict.why}


def _share(of: Side, table: pd.DataFrame) -> Share:
    """Return the share of features that are held; as much is missing of them as they leave of the variance."""
    return held_share(_ratios(table), missing=1 - of.features.settings["explained"])


def _weighted(of: Side, table: pd.DataFrame) -> Share:
    """Return the same, of features that count by the squares of their variances."""
    able = table.assessable.to_numpy()
    return held_share(_ratios(table), of.codes.std(axis=0, dtype=np.float64)[able] ** 4)


def _ratios(table: pd.DataFrame) -> Array:
    return table.ratio.to_numpy()[table.assessable.to_numpy()]


def _columns(name: str, share: Share) -> dict[str, float]:
    return {name: share.value, f"{name}_low": share.low, f"{name}_high": share.high}


def _able(of: Side) -> float:
    """Return how well a system predicts its own features: of halves of the trials, stepped up to all of them."""
    own = _median(of.own)
    return 2 * own / (1 + own) if of.repeated and own > 0 else own


def _median(values: Array) -> float:
    return float(np.nanmedian(values)) if np.isfinite(values).any() else 0.0


def _described(of: Side, decoded: Decoded, names: Any) -> pd.DataFrame:
    table = decoded.table.merge(of.features.table, on="feature")
    front = ["system", "other", "feature"]
    ordered = table[[*front, *(name for name in table if name not in front)]]
    return ordered.assign(samples=pd.Series(strongest(of.codes, names), index=table.index, dtype=object))


def _warnings(features_of: Mapping[str, Features]) -> list[str]:
    """Return what was done to each system that a reader must know."""
    return [
        f"{name}: reduced to {of.settings['components']} principal components that both halves show, since "
        f"{of.settings['reduced']}."
        for name, of in features_of.items()
        if of.settings["reduced"]
    ]


def _refusals(units: Mapping[tuple[str, str], Population]) -> list[str]:
    """Return why cka_units is not given, and of which pairs."""
    refused: dict[str, list[str]] = {}
    for (a, b), one in units.items():
        if one.why:
            refused.setdefault(one.why.split(": ")[-1], []).append(f"{a} – {b}")
    return [
        f"cka_units is not given for {counted(len(pairs), 'pair')} ({', '.join(pairs[:NAMED])}"
        f"{', …' if len(pairs) > NAMED else ''}): {why}."
        for why, pairs in refused.items()
    ]
