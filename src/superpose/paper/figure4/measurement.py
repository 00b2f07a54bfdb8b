"""What one cell of Figure 4 measures: pairs of systems, their dictionaries, and how well codes align."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from superpose.dictionaries.coding import matched_filter, omp, refit
from superpose.dictionaries.diagnostics import absorbed_latents, dead_share, fvu, match_latents, mcc, split_latents
from superpose.dictionaries.losses import reconstruction, supervised
from superpose.dictionaries.sae import SparseAutoencoder
from superpose.dictionaries.sparsity import TopK
from superpose.dictionaries.training import fit
from superpose.metrics.regression import regression
from superpose.paper.simulation import stream
from superpose.systems import projection, respond, sparse_latents
from superpose.theory import expected_regression, latent_covariance
from superpose.theory import regression as limit

Array = NDArray[Any]

WARMUP = 0.02


def measure(
    seed: int,
    *,
    latents: int,
    active: int,
    samples: int,
    held_out: int,
    distribution: str,
    steps: int,
    batch: int,
    learning_rate: float,
    gradient: str,
    first: int,
    count: int,
    units: int,
) -> list[dict[str, Any]]:
    """Return how alike two systems are, in activity and in latents, for `count` pairs that are trained at once.

    Rows of `kind`, `draw`, `metric` and `score`: means of both systems, or of both directions of prediction, on samples
    that no dictionary was trained on (but for `r_train`). Kinds are

    - activity: `raw` of Gaussian projections, `raw_learned` of supervised dictionaries. With `theory`, Theorem 3.3 for
      these projections and the latents' covariance, and `expected`, Section 3.1.
    - codes: `supervised`, `unsupervised` from Gaussian activity, and `unsupervised_learned` from learned activity.
    - `recoded`, matching pursuit with the dictionary of `unsupervised`, and `refitted`, its codes with their values
      estimated anew.
    - `omp` and `matched_filter`: codes by the true Gaussian projection.
    """
    z, unseen = _drawn(seed, samples, held_out, latents, active, distribution, count)
    train = partial(
        _trained, units, latents, TopK(active, gradient), count, seed,
        steps=steps, batch=batch, learning_rate=learning_rate, warmup=WARMUP,
    )  # fmt: skip
    a = projection(units, latents, repeats=(count, 2), generator=stream(seed, "projections", units)).numpy()
    x, y = respond(z, a), respond(unseen, a)
    known = train("supervised", supervised, z)
    d, x_learned, y_learned = known.dictionary.detach().mT.numpy(), known.decode(z), known.decode(unseen)
    found = train("unsupervised", reconstruction, x)
    found_learned = train("unsupervised_learned", reconstruction, x_learned)
    target = _explicable(found, y)
    # A sample has no more columns than units once they explain it.
    most = min(active, units)
    covariance = latent_covariance(latents, active, distribution)
    expected = float(expected_regression(units, units, latents))
    theory = {"raw": _both(limit, a, covariance), "raw_learned": _both(limit, d, covariance)}
    scores = {
        "raw": {"r": _both(regression, y)},
        "raw_learned": {"r": _both(regression, y_learned)},
        "supervised": _supervised(known, x_learned[..., :held_out, :], y_learned, unseen),
        "unsupervised": _unsupervised(found, x[..., :held_out, :], y, unseen, a),
        "unsupervised_learned": _unsupervised(found_learned, x_learned[..., :held_out, :], y_learned, unseen, d),
        "recoded": _quality(omp(target, found.decoder.numpy(), most), unseen),
        "refitted": _quality(refit(target, found.decoder.numpy(), found.encode(y)), unseen),
        "omp": _quality(omp(y, a, most), unseen),
        "matched_filter": _quality(matched_filter(y, a, active), unseen),
    }
    return _rows(scores, theory, expected, first, count)


def _rows(
    scores: Mapping[str, Mapping[str, Array]], theory: Mapping[str, Array], expected: float, first: int, count: int
) -> list[dict[str, Any]]:
    """Return a row a kind, metric and draw: the mean over systems, or over directions, of the draw."""
    return [
        {
            "kind": kind,
            "draw": first + number,
            "metric": metric,
            "score": float(score),
            "theory": float(theory[kind][number]) if kind in theory else None,
            "expected": expected if kind == "raw" else None,
        }
        for kind, metrics in scores.items()
        for metric, values in metrics.items()
        for number, score in enumerate(values.reshape(count, -1).mean(axis=1))
    ]


def _drawn(
    seed: int, samples: int, held_out: int, latents: int, active: int, distribution: str, count: int
) -> tuple[Array, Array]:
    """Return latents to train on and latents to score on, (count, 1, samples, latents); the systems share them."""
    z = sparse_latents(
        samples + held_out, latents, active,
        distribution=distribution, repeats=(count, 1), generator=stream(seed, "latents"),
    ).numpy()  # fmt: skip
    z.flags.writeable = False
    return z[..., :samples, :], z[..., samples:, :]


def _trained(
    units: int,
    latents: int,
    sparsity: TopK,
    count: int,
    seed: int,
    kind: str,
    loss: Callable[..., Tensor],
    data: Array,
    **options: Any,
) -> SparseAutoencoder:
    """Return trained dictionaries of both systems and all pairs."""
    # With repeats in front, no product is raced (`numerics.products`): processes agree to the last bit.
    sae = SparseAutoencoder(units, latents, sparsity, repeats=(count, 2), generator=stream(seed, kind, units))
    return fit(sae, loss, data, seed=seed, **options)


def _both(score: Callable[..., Any], systems: Array, *more: Any) -> Array:
    """Return the mean of both directions, (count,)."""
    a, b = systems[:, 0], systems[:, 1]
    return np.asarray((score(a, b, *more) + score(b, a, *more)) / 2)


def _quality(codes: Array, truth: Array) -> dict[str, Array]:
    """Return how well codes align, and how well each system's find the true latents; `support` is the recall."""
    partner, _ = match_latents(np.broadcast_to(truth, codes.shape), codes)
    matched = np.take_along_axis(codes, partner[..., None, :], axis=-1)
    hits = np.count_nonzero((matched != 0) & (truth != 0), axis=(-2, -1))
    return {
        "r": _both(regression, codes),
        "mcc": mcc(codes, truth),
        "support": hits / np.count_nonzero(truth, axis=(-2, -1)),
        "dead": dead_share(codes),
    }


def _supervised(sae: SparseAutoencoder, seen: Array, y: Array, truth: Array) -> dict[str, Array]:
    codes = sae.encode(y)
    return {
        **_quality(codes, truth),
        "r_train": _both(regression, sae.encode(seen)),
        "fvu": fvu(np.broadcast_to(truth, codes.shape), codes),
    }


def _unsupervised(sae: SparseAutoencoder, seen: Array, y: Array, truth: Array, columns: Array) -> dict[str, Array]:
    codes = sae.encode(y)
    return {
        **_quality(codes, truth),
        "r_train": _both(regression, sae.encode(seen)),
        "fvu": fvu(y, sae.decode(codes)),
        "split": split_latents(codes, truth),
        "absorbed": absorbed_latents(codes, truth),
        # Beside their negatives, columns have no mean, and their correlations are cosines.
        "mcc_dictionary": mcc(_mirrored(sae.decoder.numpy()), _mirrored(columns)),
    }


def _mirrored(columns: Array) -> Array:
    return np.concatenate([columns, -columns], axis=-2)


def _explicable(sae: SparseAutoencoder, y: Array) -> Array:
    """Return what the codes of a dictionary are to sum to: activity without what stands for codes of zero."""
    return y - sae.decode(np.zeros((*sae.repeats, 1, sae.latents), np.float32))
