"""Slow, direct implementations that the library is compared with: samples × samples matrices, loops, peers."""

from itertools import permutations

import numpy as np
from scipy.spatial.distance import pdist, squareform


def centred(x):
    return x - x.mean(axis=0)


def gram(x, *, centre=True):
    x = centred(x) if centre else x
    return x @ x.T


def biased_cka(x, y, *, centre=True):
    k, l = gram(x, centre=centre), gram(y, centre=centre)
    return (k * l).sum() / np.sqrt((k * k).sum() * (l * l).sum())


def hsic_over_quadruples(x, y):
    """Song et al. 2012: the mean of h(i, j, q, r) = K_ij (L_ij + L_qr − 2 L_iq) over distinct i, j, q, r."""
    k, l = x @ x.T, y @ y.T
    terms = [k[i, j] * (l[i, j] + l[q, r] - 2 * l[i, q]) for i, j, q, r in permutations(range(len(x)), 4)]
    return np.mean(terms)


def hsic_by_matrices(x, y):
    """The same U-statistic from matrices with a zero diagonal (Song et al. 2012, Eq. (5))."""
    n = len(x)
    k, l = gram(x), gram(y)
    np.fill_diagonal(k, 0)
    np.fill_diagonal(l, 0)
    one = np.ones(n)
    return (np.trace(k @ l) + one @ k @ one * (one @ l @ one) / (n - 1) / (n - 2) - 2 / (n - 2) * one @ k @ l @ one) / (
        n * (n - 3)
    )


def debiased_cka(x, y, hsic=hsic_by_matrices):
    return hsic(x, y) / np.sqrt(hsic(x, x) * hsic(y, y))


def rdm(x, kind):
    """Return the entries i < j of one sample-by-sample matrix, from the whole matrix."""
    matrix = {
        "dot": lambda: gram(x),
        "dot, uncentred": lambda: gram(x, centre=False),
        "euclidean": lambda: ((x[:, None] - x[None]) ** 2).sum(-1),
        "correlation": lambda: 1 - np.corrcoef(x),
    }[kind]()
    return matrix[np.triu_indices(len(x), 1)]


def pearson_rsa(x, y):
    return np.corrcoef(rdm(x, "dot"), rdm(y, "dot"))[0, 1]


def contiguous(samples, folds):
    label = np.empty(samples, dtype=int)
    for fold, rows in enumerate(np.array_split(np.arange(samples), folds)):
        label[rows] = fold
    return label


def held_out_predictions(x, y, label, *, ridge=0.0, leak=False, folds=None):
    """Yield (targets, predictions) of each held-out fold by scikit-learn; `leak` fits on all rows."""
    from sklearn.linear_model import LinearRegression, Ridge

    for fold in np.unique(label) if folds is None else folds:
        test = label == fold
        train = np.ones(len(x), dtype=bool) if leak else ~test
        model = Ridge(alpha=ridge) if ridge else LinearRegression()
        yield y[test], model.fit(x[train], y[train]).predict(x[test])


def fold_score(target, prediction, score, average):
    from sklearn.metrics import r2_score

    t, p = target - target.mean(0), prediction - prediction.mean(0)
    if score == "r2":
        if average == "pooled":
            return 1 - ((target - prediction) ** 2).sum() / (t**2).sum()
        values = r2_score(target, prediction, multioutput="raw_values")
    elif average == "pooled":
        return (t * p).sum() / np.sqrt((t**2).sum() * (p**2).sum())
    else:
        values = (t * p).sum(0) / np.sqrt((t**2).sum(0) * (p**2).sum(0))
    return values.mean() if average == "units" else values


def regression(x, y, label, *, score="r", average="pooled", **options):
    scores = [fold_score(t, p, score, average) for t, p in held_out_predictions(x, y, label, **options)]
    return np.mean(scores, axis=0)


# Penalties as fractions of the predictors' mean variance.
QUARTER_DECADES = 10.0 ** (np.arange(-36, 13) / 4)


def chosen_by_loops(x, y, label, grid=QUARTER_DECADES, leak=False, held_out=None):
    """Yield (targets, predictions, fraction) of each held-out fold; `leak` chooses the penalty on the held-out fold."""
    from sklearn.linear_model import Ridge

    def fitted(rows, fraction):
        about = centred(x[rows])
        # Predictors that stand still are none.
        alpha = fraction * (about**2).sum() / min(len(about), (np.ptp(about, axis=0) > 1e-9).sum())
        return Ridge(alpha=alpha, solver="svd").fit(x[rows], y[rows])

    for fold in np.unique(label) if held_out is None else [held_out]:
        train = label != fold
        inner = [fold] if leak else np.unique(label[train])
        errors = [
            sum(((fitted(train & (label != i), f).predict(x[label == i]) - y[label == i]) ** 2).sum() for i in inner)
            for f in grid
        ]
        best = grid[int(np.argmin(errors))]
        yield y[~train], fitted(train, best).predict(x[~train]), best


def mean_score(parts, score="r", average="pooled"):
    return np.mean([fold_score(t, p, score, average) for t, p, *_ in parts], axis=0)


def canonical_correlations(x, y):
    """By orthonormal bases of the column spaces (Björck & Golub 1973)."""

    def basis(a):
        u, s, _ = np.linalg.svd(centred(a), full_matrices=False)
        return u[:, s > s[0] * max(a.shape) * np.finfo(a.dtype).eps]

    return np.clip(np.linalg.svd(basis(x).T @ basis(y), compute_uv=False), 0, 1)


def procrustes_angle(x, y):
    """By the rotation that scipy finds, after padding the narrower system with zeros."""
    from scipy.linalg import orthogonal_procrustes

    width = max(x.shape[1], y.shape[1])
    a, b = (np.pad(centred(z), ((0, 0), (0, width - z.shape[1]))) for z in (x, y))
    a, b = a / np.linalg.norm(a), b / np.linalg.norm(b)
    rotation, _ = orthogonal_procrustes(a, b)
    return np.arccos(np.clip(np.sum((a @ rotation) * b), -1, 1))


def near(x, k):
    """Return whether j is among the k nearest of i, by sorting all distances."""
    distances = squareform(pdist(x))
    np.fill_diagonal(distances, np.inf)
    mask = np.zeros(distances.shape, dtype=bool)
    np.put_along_axis(mask, np.argsort(distances, axis=1)[:, :k], True, axis=1)
    return mask
