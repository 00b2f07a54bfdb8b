"""Scores of what dictionaries recover, and lines to hold them against, each a table made of one fit."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.linalg import block_diag

from superpose.analysis.recovery import Line, Recovered
from superpose.analysis.scores import described, noted, predicted, scored
from superpose.analysis.selection import shared_parts
from superpose.comparison import COLUMNS
from superpose.dictionaries.diagnostics import fvu, match_latents
from superpose.metrics import CKA, CKA_DEBIASED
from superpose.metrics.metric import is_constant
from superpose.theory import cka as gram_cosine


def reconstructions(recovered: Recovered) -> pd.DataFrame:
    """Return how alike the systems are in what their codes give back of their activity."""
    job = recovered.job
    return recovered.judged(described(scored(job, recovered.rebuilt), job, space="reconstruction"))


def latents(recovered: Recovered) -> pd.DataFrame:
    """Return how alike the systems are in their codes, without latents that no training row activates."""
    return recovered.judged(described(scored(recovered.job, recovered.used), recovered.job, space="latent"))


def packed_alike(recovered: Recovered) -> pd.DataFrame:
    """Return the closed form on the decoders (Theorem 3.2): what the packing alone would make of equal content."""
    rows = []
    for a, b in recovered.job.within(recovered.codes):
        index, correlation = match_latents(recovered.unseen[a], recovered.unseen[b])
        matched = np.flatnonzero(np.asarray(correlation) > 0)
        first = recovered.dictionaries[a].decoder.cpu().numpy()[:, matched]
        second = recovered.dictionaries[b].decoder.cpu().numpy()[:, np.asarray(index)[matched]]
        rows.append(
            {
                "system_a": a,
                "system_b": b,
                "metric": CKA_DEBIASED.name,
                "directed": False,
                "score": float(gram_cosine(first, second)) if len(matched) else np.nan,
                "split": "test",
                "samples": len(recovered.unseen[a]),
                "units_a": first.shape[0],
                "units_b": second.shape[0],
                "why": f"Gram cosine of the unit-norm decoders of {len(matched)} matched latents, taken as white",
            }
        )
    table = pd.DataFrame(rows, columns=COLUMNS)
    return recovered.judged(described(table, recovered.job, space="predicted"))


def closed_form(recovered: Recovered) -> pd.DataFrame:
    """Return the CKA of reconstructions by Theorem 3.2, from decoders and codes: there its premises hold.

    A reconstruction is a linear map of a code. With the codes of both systems as one vector of latents, each system is
    a projection that sees its own half; S is that vector's covariance over held-out rows.
    """
    rows = []
    for a, b in recovered.job.within(recovered.codes):
        decoders = [recovered.dictionaries[name].dictionary.detach().cpu().mT.double().numpy() for name in (a, b)]
        whole = block_diag(*decoders)
        first, second = whole[: len(decoders[0])], whole[len(decoders[0]) :]
        covariance = np.cov(np.hstack([recovered.unseen[name] for name in (a, b)]), rowvar=False)
        still = [name for name in (a, b) if is_constant(recovered.unseen[name])]
        rows.append(
            {
                "system_a": a,
                "system_b": b,
                "metric": CKA.name,
                "directed": False,
                "score": np.nan if still else float(gram_cosine(first, second, covariance)),
                "split": "test",
                "samples": len(recovered.unseen[a]),
                "units_a": len(first),
                "units_b": len(second),
                "why": f"{' and '.join(still)}: the same in all rows"
                if still
                else "closed form on the decoders with the codes' covariance",
            }
        )
    table = pd.DataFrame(rows, columns=COLUMNS)
    return recovered.judged(described(table, recovered.job, space="closed_form"))


def _unvarying(names: list[str]) -> str:
    return f"{' and '.join(names)}: the same in all rows"


def latent_to_raw(recovered: Recovered) -> pd.DataFrame:
    """Return how well each system's codes predict another's raw activity: the same targets as the raw scores have."""
    job, tables = recovered.job, []
    for source, z in recovered.used.items():
        targets = {name: job.arrays[name] for name in job.partners(source)}
        table = described(predicted(job, source, z, targets), job, space="latent_to_raw")
        tables.append(table.assign(predictors=z.shape[-1]))
    return recovered.judged(pd.concat(tables, ignore_index=True))


def linear_selection(recovered: Recovered) -> pd.DataFrame:
    """Return how alike the linear parts are that two systems share most, as much of each as its dictionary keeps.

    The part explains as much of the variance of the training rows as the dictionary does of rows that it has not
    seen: on those, both then leave about as much unexplained (`fvu_a`, `fvu_b`).
    """
    job, tables = recovered.job, []
    for a, b in job.within(recovered.codes):
        kept = (recovered.quality[a]["fvu"], recovered.quality[b]["fvu"])
        parts, ranks = shared_parts(job.arrays[a], job.arrays[b], kept, job.training)
        reduced = dict(zip((a, b), parts, strict=True))
        table = described(scored(job.only([a, b]), reduced), job, space="linear_selection")
        left = {name: float(fvu(job.arrays[name][job.training :], x[job.training :])) for name, x in reduced.items()}
        rank = dict(zip((a, b), ranks, strict=True))
        directed = table.directed.astype(bool)
        table = table.assign(
            fvu_a=table.system_a.map(left),
            fvu_b=table.system_b.map(left),
            predictors=table.system_a.map(rank).where(directed),
        )
        tables.append(noted(table, f"{ranks[0]} and {ranks[1]} canonical directions"))
    return pd.concat(tables, ignore_index=True)


RECOVERED: tuple[Line, ...] = (reconstructions, latents)
