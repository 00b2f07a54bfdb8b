"""Systems of more units than samples, in the kernel form."""

import numpy as np
import oracles
import pytest
from child import told
from numpy.testing import assert_allclose
from sklearn.kernel_ridge import KernelRidge

import superpose as sp
from superpose import cli
from superpose.comparison import design_of, order, parts, planned_for, responses, routes
from superpose.comparison.order import neighbour_correlation
from superpose.comparison.room import least_bytes
from superpose.files import DataError
from superpose.metrics import NAMES, resolved
from superpose.moments.wide import compact, turned


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


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-9), (np.float32, 1e-6)])
@pytest.mark.parametrize("name", ["ridge_r", "ridge_r2", "ridge_r_units", "ols_r", "cka_debiased"])
@pytest.mark.parametrize("wide", [300, 70], ids=["wide", "as many units as samples"])
def test_permutations_score_as_permuted_samples_do(name, wide, dtype, tolerance):
    x, y = related(80, wide, 9, dtype)
    folds = np.arange(80) % 5
    table = sp.compare({"x": x, "y": y}, cv=folds, metrics=[name], permutations=5, seed=3).set_index("system_a")
    drawn = list(design_of(80, cv=folds, permutations=5).exchange.draw(5, 3))
    for a, null in table.null.items():
        again = [
            sp.compare({"x": x, "y": y[index]}, cv=folds, metrics=[name], permutations=0).set_index("system_a").score[a]
            for index in drawn
        ]
        assert_allclose(null, np.mean(again), atol=tolerance)


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


def test_orders_of_wide_systems_are_told_from_some_units(monkeypatch):
    walk = np.cumsum(np.random.default_rng(0).normal(size=(200, 500)), axis=0)
    labels = np.arange(200) // 10
    once = [neighbour_correlation(walk, None, of)[0] for of in (None, labels)]
    monkeypatch.setattr(order, "VALUES", 200 * 64)
    assert_allclose([neighbour_correlation(walk, None, of)[0] for of in (None, labels)], once, atol=0.05)


class TestMemory:
    """What memory is too little for is refused before the start, and what is refused by the system ends in one line."""

    def test_too_little_names_what_fits(self):
        x, y = related(1_000, 1_200, 7, np.float32)
        with pytest.raises(
            DataError, match=r"memory of 60 MB is too little: .* take up to \d+ MB. Alone would fit cka;"
        ):
            sp.compare({"x": x, "y": y}, metrics=["cka", "ridge_r"], memory="60MB", permutations=0)
        with pytest.raises(DataError, match="Raise it, or take fewer samples"):
            sp.compare({"x": x, "y": y}, metrics=["ridge_r"], memory="60MB", permutations=0)
        assert np.isfinite(sp.compare({"x": x, "y": y}, metrics=["cka"], memory="60MB", permutations=0).score[0])

    def test_units_by_units_are_refused(self):
        x, y = related(60, 6_000, 7, np.float32)
        with pytest.raises(DataError, match="the sums of one pair take up to"):
            sp.compare({"x": x, "y": y}, metrics=["pwcca"], memory="500MB", permutations=0)

    def test_the_command_line_ends_in_one_line(self, monkeypatch, capsys):
        def refused(*arguments, **options):
            raise MemoryError("Unable to allocate 3.61 GiB")

        monkeypatch.setattr(cli, "check_command", refused)
        assert cli.main(["compare"]) == 1
        assert "out of memory (Unable to allocate 3.61 GiB);" in capsys.readouterr().err

    @pytest.mark.parametrize("metrics", [["cka"], ["ridge_r"], ["cka", "ridge_r", "ridge_r2", "ridge_r_units"]])
    def test_what_is_taken_is_what_is_said(self, tmp_path, metrics):
        """Peaks of anonymous memory over that of a small comparison, beside what was known before."""
        files = []
        for number, units in enumerate((700, 40)):
            files.append(tmp_path / f"{number}.npy")
            np.save(files[-1], np.random.default_rng(number).standard_normal((600, units), dtype=np.float32))
        planned = planned_for(resolved(metrics), design_of(600))
        said = least_bytes(600, {"a": 700, "b": 40}, [("a", "b")], planned, design_of(600, permutations=0))
        # Memory is sampled, and on a busy machine a short peak falls between two samples: the highest of some runs.
        taken = 0
        for _ in range(5):
            taken = max(taken, told(CHILD, ",".join(metrics), *files)["taken"])
            if taken > 0.4 * said:
                break
        assert 0.4 * said < taken < said + 16 * 2**20


CHILD = """
import json, sys
import numpy as np
from machine import memory_watched
import superpose as sp

metrics = sys.argv[1].split(",")
small = np.random.default_rng(0).normal(size=(60, 5))
sp.compare({"a": small, "b": small[:, ::-1] ** 3}, metrics=metrics, permutations=0)
systems = {path: np.load(path, mmap_mode="r") for path in sys.argv[2:]}
with memory_watched() as held:
    sp.compare(systems, metrics=metrics, permutations=0)
print(json.dumps({"taken": held.peak}))
"""


def written(path, samples, units, block=20_000):
    """Write float16 responses of random units by blocks: shared latents in noise."""
    out = np.lib.format.open_memmap(path, mode="w+", dtype=np.float16, shape=(samples, units))
    latents = np.random.default_rng(99).standard_normal((samples, 16), dtype=np.float32)
    for start in range(0, units, block):
        rng = np.random.default_rng([samples, start])
        some = min(block, units - start)
        mixed = latents @ rng.standard_normal((16, some), dtype=np.float32)
        out[:, start : start + some] = mixed + rng.standard_normal((samples, some), dtype=np.float32)
    out.flush()
    return path


@pytest.mark.slow
@pytest.mark.parametrize(
    ("samples", "units", "limit"), [(1_200, 75_000, 400e6), (2_000, 150_000, 1e9)], ids=["maps", "voxels"]
)
def test_files_far_larger_than_what_is_held(tmp_path, samples, units, limit):
    files = [written(tmp_path / "wide.npy", samples, units), written(tmp_path / "narrow.npy", samples, 90)]
    whole = TOTAL + CHILD.replace("held.peak", "held.before + held.peak")
    assert told(whole, "cka,cka_debiased,rsa,ridge_r", *files)["taken"] < limit


TOTAL = """
import resource
resource.setrlimit(resource.RLIMIT_DATA, (2**31, 2**31))
"""
