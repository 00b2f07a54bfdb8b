"""Systems of more units than samples, in the kernel form."""

import numpy as np
import oracles
import pytest
from numpy.testing import assert_allclose
from sklearn.kernel_ridge import KernelRidge

import superpose as sp
from superpose.comparison import order, parts, responses, routes
from superpose.comparison.order import neighbour_correlation
from superpose.metrics import NAMES
from superpose.wide import compact, turned


@pytest.mark.parametrize("offset", [0.0, 1e4])
def test_compact_keeps_inner_products_between_samples(offset):
    x = np.random.default_rng(0).normal(size=(3, 20, 300)) + offset
    small = compact(x)
    assert small.shape == (3, 20, 21)
    gram, again = x @ np.swapaxes(x, -1, -2), small @ np.swapaxes(small, -1, -2)
    assert_allclose(again, gram, rtol=1e-12)
    deviations = [z - z.mean(-2, keepdims=True) for z in (x, small)]
    assert_allclose(*(d @ np.swapaxes(d, -1, -2) for d in deviations), atol=1e-8 if offset else 1e-11)


def deviations(x):
    about = x - x.mean(axis=0, dtype=np.float64)
    return about @ about.T


@pytest.mark.parametrize(("kind", "tolerance"), [(np.float16, 1e-6), (np.float32, 1e-6), (np.float64, 1e-13)])
@pytest.mark.parametrize("offset", [0.0, 30.0])
def test_turned_rows_have_the_inner_products_about_the_mean(kind, tolerance, offset):
    x = (np.random.default_rng(0).normal(size=(90, 5_000)) + offset).astype(kind)
    expected, rows = deviations(x.astype(np.float64)), turned(x)
    assert rows.shape == (90, 90)
    assert_allclose(deviations(rows.astype(np.float64)), expected, atol=tolerance * expected.diagonal().mean())


def test_equal_samples_are_equal_and_no_direction_is_empty():
    x = np.random.default_rng(0).normal(size=(30, 4)) @ np.random.default_rng(1).normal(size=(4, 200))
    x[7] = x[3]
    for rows in (turned(x), compact(x), turned(x.astype(np.float32))):
        assert (rows[7] == rows[3]).all()
        assert (np.ptp(rows, axis=0) > 1e-3).all()


def test_narrow_and_constant_systems():
    x = np.random.default_rng(0).normal(size=(20, 20))
    assert turned(x) is x
    assert compact(x) is x
    assert not turned(np.ones((5, 9))).any()


def test_a_wide_system_is_read_once():
    class Counted(np.ndarray):
        values = 0

        def __getitem__(self, index):
            found = super().__getitem__(index)
            Counted.values += np.size(found) if index != () else 0
            return found

    x = np.random.default_rng(0).normal(size=(50, 9_000)).view(Counted)
    turned(x)
    assert Counted.values <= x.size


def related(samples, wide, narrow, dtype=np.float64, seed=0):
    """Two systems that share eight latents, one of them wide, in noise."""
    rng = np.random.default_rng(seed)
    latents = rng.normal(size=(samples, 8)) * np.linspace(2, 0.5, 8)
    x = latents @ rng.normal(size=(8, wide)) + rng.normal(size=(samples, wide))
    y = latents @ rng.normal(size=(8, narrow)) + 2 * rng.normal(size=(samples, narrow))
    return x.astype(dtype), y.astype(dtype)


def rotated(x):
    """The same inner products about the mean in as many units as samples, by an independent decomposition."""
    left, values, _ = np.linalg.svd(x - x.mean(axis=0), full_matrices=False)
    rng = np.random.default_rng(5)
    return left * values @ np.linalg.qr(rng.normal(size=(len(values), len(values))))[0] + 0.1


NUMBERS = ["score", "low", "high", "error", "null", "null_low", "null_high"]
FREE = [m for m in NAMES.values() if "rotation" in m.invariances]
OF_UNITS = [m for m in NAMES.values() if m.name.endswith("_units")]


@pytest.fixture(scope="module")
def tables():
    x, y = related(60, 300, 7)
    how = {"metrics": [*FREE, *OF_UNITS], "permutations": 19}
    return [sp.compare({"x": part, "y": y}, **how).set_index(["metric", "system_a"]) for part in (x, rotated(x))]


@pytest.mark.parametrize("metric", FREE, ids=lambda m: m.name)
def test_every_score_that_sees_no_rotation_is_that_of_fewer_directions(metric, tables):
    wide, narrow = (table.loc[metric.name] for table in tables)
    assert (wide.units_a + wide.units_b == 307).all()
    assert_allclose(wide[NUMBERS].astype(float), narrow[NUMBERS].astype(float), atol=1e-7)
    assert (wide.why == narrow.why).all()


@pytest.mark.parametrize("metric", OF_UNITS, ids=lambda m: m.name)
def test_predictors_are_turned_where_targets_keep_their_units(metric, tables):
    wide, narrow = (table.loc[metric.name].loc["x"] for table in tables)
    assert_allclose(wide[NUMBERS].astype(float), narrow[NUMBERS].astype(float), atol=1e-7)
    assert wide.why == narrow.why


@pytest.mark.parametrize("name", ["matching_hard", "matching_soft"])
def test_units_are_matched_as_they_are(name):
    x, y = related(60, 100, 5)
    table = sp.compare({"x": x, "y": y}, metrics=[name], permutations=0)
    assert_allclose(table.score[0], NAMES[name](x, y), atol=1e-10)
    assert table.error[0] > 0


class TestParts:
    """Units of a wide target, part by part."""

    @pytest.mark.parametrize("metric", ["ridge_r_units", "ridge_r2_units", "ols_r_units", "ols_r2_units"])
    def test_parts_give_what_all_units_give_at_once(self, metric, monkeypatch):
        x, y = related(60, 300, 7)
        monkeypatch.setattr(parts, "PART_BYTES", 8 * 7 * 25 * 64)
        found = sp.compare({"y": y, "x": x}, metrics=[metric], permutations=19)
        monkeypatch.setattr(routes, "_turns", lambda metric, couple, responses: True)
        monkeypatch.setattr(responses, "turned", lambda x, precision: x)
        once = sp.compare({"y": y, "x": x}, metrics=[metric], permutations=19)
        assert_allclose(found[NUMBERS].astype(float), once[NUMBERS].astype(float), atol=1e-8)

    def test_against_the_function_of_two_arrays(self):
        x, y = related(60, 300, 7)
        table = sp.compare({"y": y, "x": x}, metrics=["ridge_r_units"], permutations=0).set_index("system_a")
        assert_allclose(table.score["y"], sp.metrics.ridge(y, x, average="units"), atol=1e-10)

    def test_wide_to_wide(self):
        x, y = related(60, 300, 130)
        table = sp.compare({"y": y, "x": x}, metrics=["ridge_r_units"], permutations=0).set_index("system_a")
        assert_allclose(table.score["y"], sp.metrics.ridge(y, x, average="units"), atol=1e-10)
        assert_allclose(table.score["x"], sp.metrics.ridge(x, y, average="units"), atol=1e-10)

    def test_units_that_stand_still_count_for_nothing(self):
        x, y = related(60, 300, 7)
        x[:, 50:90] = 1.5
        table = sp.compare({"y": y, "x": x}, metrics=["ridge_r_units"], permutations=0).set_index("system_a")
        kept = sp.compare({"y": y, "x": np.delete(x, np.s_[50:90], 1)}, metrics=["ridge_r_units"], permutations=0)
        kept = kept.set_index("system_a")
        assert_allclose(table.score, kept.score, atol=1e-10)
        assert_allclose(table.error, kept.error, atol=1e-10)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_against_samples_by_samples_and_scikit_learn(dtype):
    x, y = related(120, 2_000, 12, dtype)
    folds = np.arange(120) % 5
    table = sp.compare({"x": x, "y": y}, cv=folds, permutations=0, metrics=["cka", "cka_debiased", "rsa", "ridge_r"])
    score = table.set_index(["metric", "system_a"]).score
    a, b = x.astype(np.float64), y.astype(np.float64)
    assert_allclose(score["cka", "x"], oracles.biased_cka(a, b), atol=1e-6)
    assert_allclose(score["cka_debiased", "x"], oracles.debiased_cka(a, b), atol=1e-6)
    assert_allclose(score["rsa", "x"], oracles.pearson_rsa(a, b), atol=1e-6)
    expected = oracles.mean_score(kernel_ridge(a, b, folds))
    assert_allclose(score["ridge_r", "x"], expected, atol=1e-6)


def kernel_ridge(x, y, label):
    """Yield targets and predictions of each fold: scikit-learn's kernel ridge, its penalty from loops over the grid."""
    about = x - x.mean(axis=0)
    products = about @ about.T

    def predicted(train, test, fraction):
        mean = products[np.ix_(train, train)].mean(axis=0)
        own = products[np.ix_(train, train)] - mean - mean[:, None] + mean.mean()
        across = products[np.ix_(test, train)]
        across = across - across.mean(axis=1, keepdims=True) - mean + mean.mean()
        alpha = fraction * np.trace(own) / len(own)
        fit = KernelRidge(alpha=alpha, kernel="precomputed").fit(own, y[train] - y[train].mean(axis=0))
        return fit.predict(across) + y[train].mean(axis=0)

    for fold in np.unique(label):
        inner = [i for i in np.unique(label) if i != fold]
        errors = [
            sum(
                ((predicted(np.flatnonzero((label != fold) & (label != i)), np.flatnonzero(label == i), fraction)
                  - y[label == i]) ** 2).sum()
                for i in inner
            )
            for fraction in oracles.QUARTER_DECADES
        ]  # fmt: skip
        best = oracles.QUARTER_DECADES[int(np.argmin(errors))]
        yield y[label == fold], predicted(np.flatnonzero(label != fold), np.flatnonzero(label == fold), best), best


def test_orders_of_wide_systems_are_told_part_by_part(monkeypatch):
    walk = np.cumsum(np.random.default_rng(0).normal(size=(200, 500)), axis=0)
    labels = np.arange(200) // 10
    once = [neighbour_correlation(walk, None, of)[0] for of in (None, labels)]
    monkeypatch.setattr(order, "VALUES", 200 * 64)
    assert_allclose([neighbour_correlation(walk, None, of)[0] for of in (None, labels)], once, rtol=1e-12)
