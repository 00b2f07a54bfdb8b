"""Influence by the steps of `compare`, and by leaving out each sample."""

import numpy as np

from superpose.comparison import over_rows
from superpose.moments import of_pair, reader, row_blocks


def influence(metric, x, y, folds=None, held_out=(0,)):
    """The library's influence values on the scale of all samples, by the steps that `compare` takes."""
    x, y = x - x.mean(0), y - y.mean(0)
    moments = of_pair(x, y, folds)
    sums = metric.family.sums(moments)
    labels = np.zeros(len(x), dtype=np.int64) if folds is None else folds
    read = tuple(reader(a, np.zeros(a.shape[1]), len(a)) for a in (x, y))
    blocks = [(fold, index) for fold, index in row_blocks(len(x), len(x), labels) if fold in held_out]
    (rows,) = over_rows([metric.influence.rows(moments, sums)], read, blocks)
    if metric.influence.own is not None:
        own_x, own_y = (metric.influence.own(own) for own in (moments.x, moments.y))
        rows = (rows, *over_rows([lambda x, y, _: own_x(x), lambda x, y, _: own_y(y)], read, blocks))
    values = metric.influence.values(sums, rows)
    found = np.zeros(len(x))
    found[np.concatenate([np.arange(len(x))[index] for _, index in blocks])] = values * len(x) / len(values)
    return found


def jackknife(score, x, y):
    """The pseudo-values of leaving out one sample, less their mean."""
    n = len(x)
    left_out = np.array([score(np.delete(x, i, 0), np.delete(y, i, 0)) for i in range(n)])
    return (n - 1) * (left_out.mean() - left_out)
