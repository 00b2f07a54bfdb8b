"""Tables of layers: each layer's score, the best of all, neighbours, and the target's units."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from superpose.ceilings import Trials, lone, of_pairs, unit_ceilings
from superpose.ceilings.pairs import NOISELESS
from superpose.comparison import Design, calibrated
from superpose.comparison.scores import closer_sign
from superpose.depth.scoring import Scored, errors_between
from superpose.metrics import Metric, PredictiveMetric
from superpose.statistics import best_p, familywise, holm, median_interval, of_maximum, two_sided_p

Array = NDArray[Any]

LEVEL = 0.05
# So many roundings may part two scores that are equal.
ROUNDING = 64 * float(np.finfo(np.float32).eps)
CEILING = ("ceiling", "ceiling_low", "ceiling_high", "ceiling_kind")
MEDIANS = ("median", "median_low", "median_high", "median_ratio", "median_ratio_low", "median_ratio_high")
TABLE = (
    *("target", "time", "metric", "layer", "depth", "directed", "score", "low", "high", "error"),
    *(*CEILING, "ratio", "null", "null_low", "null_high", "p", "p_adjusted", "calibrated", "best_p", *MEDIANS),
    *("split", "null_kind", "samples", "units", "target_units", "why"),
)
BEST = (
    *("target", "time", "metric", "layer", "depth", "score", "low", "high", "ceiling", "ratio", "null", "critical"),
    *("p", "p_adjusted", "calibrated", "gated", "layers", "rivals"),
)
DIFFERENCES = (
    *("target", "time", "metric", "layer_a", "layer_b", "score_a", "score_b", "difference", "low", "high", "error"),
    *("p", "p_adjusted", "why"),
)
UNITS = (
    *("target", "time", "metric", "layer", "depth", "unit", "score"),
    *("ceiling", "ceiling_low", "ceiling_high", "ratio", "signal_p", "reliable", "why"),
)
# Columns of `superpose.compare` under the names that they have here.
OF_COMPARE = (
    *("metric", "directed", "score", "low", "high", "error", "null", "null_low", "null_high", "p", "calibrated"),
    *("split", "null_kind", "samples", "why"),
)
ABOVE, UNRELIABLE, STILL = "above its ceiling", "no reliable signal", "does not vary in a held-out fold"


def layer_rows(
    scores: Mapping[str, Scored], metric: Metric, ceilings: Mapping[str, Mapping[str, Any]], design: Design
) -> pd.DataFrame:
    """Return a metric's rows of one target, a layer each in the order of depth, without what units say."""
    rows = []
    for depth, (layer, one) in enumerate(scores.items()):
        row = dict.fromkeys(TABLE, np.nan) | {name: one.row[name] for name in OF_COMPARE}
        row |= {"layer": layer, "depth": depth, "units": one.row["units_a"], "target_units": one.row["units_b"]}
        ceiling = ceilings.get(layer)
        if ceiling is not None:
            row |= {name: ceiling[name] for name in CEILING}
            notes = [row["why"], f"ceiling: {ceiling['ceiling_why']}" if ceiling["ceiling_why"] else ""]
            row["ratio"] = row["score"] / row["ceiling"] if row["ceiling"] > 0 else np.nan
            notes.append("score " + ABOVE if row["ratio"] > 1 else "")
            row["why"] = "; ".join(filter(None, notes))
        rows.append(row)
    table = pd.DataFrame(rows, columns=list(TABLE))
    sign = closer_sign(metric)
    outcomes = [one.outcome for one in scores.values()]
    groups = design.drawn.count if design.drawn.groups is not None else len(design.drawn.index)
    table["best_p"] = best_p(sign * table.score.to_numpy(), errors_between(outcomes, design), groups, seed=design.seed)
    return table


def ceiling_rows(
    arrays: Mapping[str, Array],
    layers: Sequence[str],
    target: Trials,
    metrics: Sequence[Metric],
    **how: Any,
) -> dict[str, dict[str, Any]]:
    """Return the ceiling of each metric and layer: that of the target's trials; layers are taken as free of noise."""
    # Of a system without repeats nothing else is asked than how many samples it has.
    known = {name: lone(arrays[name][:, :1], name) for name in layers}
    table = of_pairs(
        {**known, target.name: target}, pairs=[(name, target.name) for name in layers], metrics=metrics, **how
    )
    found: dict[str, dict[str, Any]] = {metric.name: {} for metric in metrics}
    for row in table[table.system_b == target.name].to_dict("records"):
        noiseless = f"{row['system_a']}{NOISELESS}"
        notes = [note for note in row["ceiling_why"].split("; ") if note != noiseless]
        found[row["metric"]][row["system_a"]] = row | {"ceiling_why": "; ".join(notes)}
    return found


def with_adjusted(tables: Sequence[pd.DataFrame], found: Sequence[Mapping[str, Scored]], metric: Metric) -> None:
    """Fill in p-values that hold for all layers and times of a metric at once."""
    known = [
        (table, place, one.null)
        for table, scores in zip(tables, found, strict=True)
        for place, one in enumerate(scores.values())
        if one.null is not None and np.isfinite(one.null.score)
    ]
    if not known:
        return
    sign = closer_sign(metric)
    scores = sign * np.array([null.score for *_, null in known])
    adjusted = familywise(scores, sign * np.stack([null.permuted for *_, null in known]))
    for (table, place, _), p in zip(known, adjusted, strict=True):
        table.loc[place, "p_adjusted"] = p


def best_rows(tables: Sequence[pd.DataFrame], found: Sequence[Mapping[str, Scored]], metric: Metric) -> pd.DataFrame:
    """Return the best layer of each target under a metric, and how far it exceeds the best of permuted samples."""
    sign, best_score = closer_sign(metric), 1.0 if closer_sign(metric) > 0 else 0.0
    rows, statistics, maxima = [], [], []
    for table, scores in zip(tables, found, strict=True):
        if not table.score.notna().any():
            continue
        place = int(np.nanargmax(sign * table.score.to_numpy(dtype=float)))
        chosen = table.iloc[place]
        rivals = table.layer[(table.best_p > LEVEL) & (table.layer != chosen.layer)]
        row = dict.fromkeys(BEST, np.nan) | {name: chosen[name] for name in BEST if name in chosen}
        row |= dict.fromkeys(("null", "p", "p_adjusted", "calibrated"), np.nan)
        row |= {"layers": int(table.score.notna().sum()), "rivals": ", ".join(rivals)}
        nulls = [one.null for one in scores.values() if one.null is not None and np.isfinite(one.null.score)]
        if nulls:
            top = max(sign * null.score for null in nulls)
            largest = np.nanmax(sign * np.stack([null.permuted for null in nulls]), axis=0)
            row |= _of_choice(sign * top, sign * largest, sign, best_score)
            statistics.append(top)
            maxima.append(largest)
        rows.append(row)
    table = pd.DataFrame(rows, columns=list(BEST))
    if len(statistics) == len(rows) and rows:
        table["p_adjusted"] = familywise(np.array(statistics), np.stack(maxima))
    return table


def _of_choice(score: float, largest: Array, sign: float, best: float) -> dict[str, float]:
    """Return what the best scores over permutations, (B,), say of a score that was the best of as many layers.

    `gated` is the calibrated score of Gröger, Wen & Brbić (arXiv 2602.14486) for the best of several: what exceeds the
    95 % quantile of the best over permutations, the score itself counted among them, over what a perfect score would.
    """
    null = float(largest.mean())
    critical = sign * float(np.quantile(sign * np.append(largest, score), 1 - LEVEL))
    gated = max(0.0, float((score - critical) / (best - critical))) if best != critical else np.nan
    return {
        "null": null,
        "critical": critical,
        "p": of_maximum(sign * score, sign * largest),
        "calibrated": float(calibrated(score, null, best)),
        "gated": gated,
    }


def difference_rows(scores: Mapping[str, Scored], metric: Any, design: Design) -> pd.DataFrame:
    """Return the differences of neighbouring layers under a metric: the deeper less the other, on the same samples."""
    rows = []
    for (a, one), (b, other) in pairwise(scores.items()):
        first, second = one.outcome, other.outcome
        row = dict.fromkeys(DIFFERENCES, np.nan) | {
            "metric": metric.name, "layer_a": a, "layer_b": b, "score_a": first.score, "score_b": second.score,
            "why": "; ".join(f"{name}: {part.why}" for name, part in ((a, first), (b, second)) if part.why),
        }  # fmt: skip
        change = second.score - first.score
        row["difference"] = 0.0 if abs(change) <= ROUNDING * max(abs(first.score), abs(second.score), 1.0) else change
        if first.influence is not None and second.influence is not None:
            sure = design.drawn.uncertainty(row["difference"], second.influence - first.influence, (-np.inf, np.inf))
            row |= sure.columns | {"p": two_sided_p(row["difference"], sure.error, sure.groups)}
        rows.append(row)
    table = pd.DataFrame(rows, columns=list(DIFFERENCES))
    table["p_adjusted"] = holm(table.p.to_numpy(dtype=float))
    return table


def unit_rows(
    scores: Mapping[str, Scored], metric: PredictiveMetric, trials: Trials | None, design: Design
) -> pd.DataFrame:
    """Return each unit's score under a regression from every layer, beside its ceiling where the target has trials."""
    ceilings = None if trials is None or not trials.repeated else unit_ceilings(trials, metric.kind[0], design)
    tables = []
    for depth, (layer, one) in enumerate(scores.items()):
        assert one.units is not None
        table = pd.DataFrame({"unit": np.arange(len(one.units)), "score": one.units}).assign(layer=layer, depth=depth)
        tables.append(table)
    table = pd.concat(tables, ignore_index=True).assign(metric=metric.name)
    if ceilings is not None:
        table = table.merge(ceilings, on="unit", how="left", sort=False)
        sound = (table.ceiling > 0) & table.reliable
        table["ratio"] = table.score.where(sound) / table.ceiling.where(sound)
        said = [(table.score.isna(), STILL), (~table.reliable, UNRELIABLE), (table.score > table.ceiling, ABOVE)]
    else:
        said = [(table.score.isna(), STILL)]
    notes = [np.where(where, words, "") for where, words in said]
    table["why"] = ["; ".join(filter(None, of_row)) for of_row in zip(*notes, strict=True)]
    return table.reindex(columns=list(UNITS))


def with_medians(table: pd.DataFrame, units: pd.DataFrame) -> pd.DataFrame:
    """Return rows of layers with the median over units of their score and of score over ceiling."""
    for layer, rows in units.groupby("layer", sort=False):
        values = (*median_interval(rows.score), *median_interval(rows.ratio.astype(float)))
        table.loc[table.layer == layer, list(MEDIANS)] = values
    return table
