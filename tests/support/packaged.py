"""Which packaged encoders are installed, and their debiased CKA from Gram matrices."""

from importlib import metadata

import numpy as np
import pytest


def installed(*names):
    return all(any(metadata.distributions(name=name)) for name in names)


def needs(*names):
    missing = pytest.mark.skipif(not installed(*names), reason=f"{', '.join(names)} are not installed")
    return [pytest.mark.packages, missing]


def debiased_cka(x, y):
    """Return the ratio of unbiased HSICs from the N × N Gram matrices (Song et al. 2012, Eq. 5)."""
    n = len(x)
    grams = [a @ a.T for a in (x - x.mean(0), y - y.mean(0))]
    for gram in grams:
        np.fill_diagonal(gram, 0)

    def hsic(k, l):
        return (k * l).sum() + k.sum() * l.sum() / ((n - 1) * (n - 2)) - 2 * (k.sum(0) * l.sum(0)).sum() / (n - 2)

    return hsic(*grams) / np.sqrt(hsic(grams[0], grams[0]) * hsic(grams[1], grams[1]))
