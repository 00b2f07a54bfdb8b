"""What tables of layers mean, in plain sentences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from superpose.messages.wording import p_value, percent
from superpose.metrics import NAMES
from superpose.report.plots import metric_name

LEVEL = 0.05
# So many layers or steps are named, the others counted.
NAMED = 6


def sentences(table: pd.DataFrame, best: pd.DataFrame, differences: pd.DataFrame) -> list[str]:
    """Return the best layer of each metric, what is not told from it, its units, and where scores change with depth."""
    found = []
    for metric in dict.fromkeys(table.metric):
        rows, of_metric, steps = (part[part.metric == metric] for part in (best, table, differences))
        if rows.empty:
            found.append(f"No layer has a score of {metric_name(str(metric))} ({of_metric.why.iloc[0]}).")
        elif "time" in best:
            found += _over_times(str(metric), rows)
        else:
            (row,) = rows.itertuples()
            best_p = float(of_metric.best_p[of_metric.layer == row.layer].iloc[0])
            found += [*_of_choice(row, best_p), *_of_median(row, of_metric), *_of_steps(row, steps)]
    return found


def _of_choice(row: Any, best_p: float) -> list[str]:
    name = metric_name(row.metric)
    ceiling = f", {_percent(row.ratio)} of its ceiling of {row.ceiling:.3f}" if np.isfinite(row.ratio) else ""
    score = f"{name} {row.score:.3f}{_interval(row)}{ceiling}"
    if not np.isfinite(row.p):
        opening, sure = f"{row.layer} is the best of {row.layers} layers for {row.target}", "no p-value was computed"
    else:
        by_chance = f"for {row.target} than chance makes the best of {row.layers}"
        opening = (
            f"{row.layer} is the best of {row.layers} layers for {row.target}"
            if row.p <= LEVEL
            else f"No layer is better {by_chance}; {row.layer} comes nearest"
        )
        sure = f"{p_value(row.p)} by the permutation of the maximum, calibrated {row.calibrated:.3f}"
    return [f"{opening}: {score}; {sure}.", _of_rivals(row, best_p)]


def _of_rivals(row: Any, best_p: float) -> str:
    if row.layers == 1:
        return f"No other layer has a score of {metric_name(row.metric)}."
    if np.isnan(best_p):
        return f"No interval of {metric_name(row.metric)} says which other layers may be the best."
    if not row.rivals:
        return f"With 95 % confidence no other layer is better than {row.layer}."
    rivals = row.rivals.split(", ")
    are = "is" if len(rivals) == 1 else "are"
    return f"{_listed(rivals)} {are} not told from {row.layer}: with 95 % confidence the best layer is among these."


def _of_median(row: Any, table: pd.DataFrame) -> list[str]:
    (own,) = table[table.layer == row.layer].itertuples()
    if np.isfinite(own.median_ratio):
        value, low, high, of = own.median_ratio, own.median_ratio_low, own.median_ratio_high, "score over ceiling"
    else:
        value, low, high, of = own.median, own.median_low, own.median_high, "score"
    if not np.isfinite(value):
        return []
    between = f" ({low:.3f} to {high:.3f}, order statistics over units)" if np.isfinite(low) else ""
    return [f"Median {of} of {row.target}'s units from {row.layer}: {value:.3f}{between}."]


def _of_steps(row: Any, differences: pd.DataFrame) -> list[str]:
    known = differences[differences.p_adjusted <= LEVEL]
    if differences.p_adjusted.isna().all():
        return []
    if known.empty:
        return [f"No two neighbouring layers differ in {metric_name(row.metric)} (Holm)."]
    steps = [
        f"{step.layer_a} to {step.layer_b} ({step.difference:+.3f}, {p_value(step.p_adjusted)})"
        for step in map(_any, known.itertuples())
    ]
    return [f"Neighbouring layers that differ in {metric_name(row.metric)}: {_listed(steps)}."]


def _over_times(metric: str, best: pd.DataFrame) -> list[str]:
    name, target = metric_name(metric), best.target.iloc[0]
    closer = getattr(NAMES.get(metric), "higher_is_closer", True)
    place = int(np.argmax((1 if closer else -1) * best.score.to_numpy(dtype=float)))
    top: Any = best.iloc[place]
    ceiling = f", {_percent(top.ratio)} of its ceiling" if np.isfinite(top.ratio) else ""
    found = [
        f"{target} is predicted best at {top.time}, from {top.layer}: {name} {top.score:.3f}{_interval(top)}{ceiling}."
    ]
    if best.p_adjusted.notna().any():
        sure = best[best.p_adjusted <= LEVEL]
        chance = f"closer to {target} than chance takes the best of {top.layers} layers and {len(best)} times"
        if len(sure):
            found.append(f"The best layer is {chance} at {_runs(best.time.tolist(), set(sure.time))}.")
        else:
            found.append(f"At no time is the best layer {chance}.")
        path = [
            f"{layer} ({_runs(best.time.tolist(), set(rows.time))})"
            for layer, rows in sure.groupby("layer", sort=False)
        ]
        if len(path) > 1:
            found.append(f"There, the best layer changes with time: {_listed(path)}.")
    return found


def _runs(times: Sequence[Any], kept: set[Any]) -> str:
    """Return the kept ones of some times in words, such as 50 to 120 and 200."""
    runs: list[list[Any]] = []
    for place, time in enumerate(times):
        if time not in kept:
            continue
        if place and times[place - 1] in kept:
            runs[-1].append(time)
        else:
            runs.append([time])
    return _listed([str(run[0]) if len(run) == 1 else f"{run[0]} to {run[-1]}" for run in runs])


def _any(row: Any) -> Any:
    return row


def _percent(share: float) -> str:
    return percent(share)


def _interval(row: Any) -> str:
    return f" ({row.low:.3f} to {row.high:.3f})" if np.isfinite(row.low) else ""


def _listed(words: Sequence[str]) -> str:
    if len(words) > NAMED:
        return f"{', '.join(words[:NAMED])} and {len(words) - NAMED} more"
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
