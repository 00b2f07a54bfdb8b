"""Predicted costs: operations, readings and memory against what a comparison does, seconds against what it takes."""

import sys
import time
from collections import Counter

import numpy as np
import pytest
from child import told
from numpy.testing import assert_allclose

import superpose as sp
from superpose.arrays import responses
from superpose.comparison.kernel_tiles import bytes_held
from superpose.costs import Size, predict, race
from superpose.files import DataError
from superpose.metrics import CKA, CKA_DEBIASED, CKA_RBF, DEFAULT, OLS_R, PLS_R, RIDGE_R, RSA
from superpose.moments import accumulation, rows
from superpose.running.timing import timed

SQUARE = 8 * 5 * 12**2


@pytest.fixture
def systems():
    draw = np.random.default_rng(0)
    z = draw.normal(size=(300, 6))
    return {name: (z @ draw.normal(size=(6, 12)) + draw.normal(size=(300, 12))) for name in "abcdefg"}


@pytest.fixture
def done(monkeypatch):
    """What a comparison multiplies, and which rows it reads: {"flops": …, id of a system: rows}."""
    found = Counter()
    product, shifted, chunks = accumulation.product, rows.shifted_rows, responses.chunks

    def multiplied(x, y):
        found["flops"] += 2 * x.count * x.matrix.shape[-1] * y.matrix.shape[-1]
        return product(x, y)

    def read(x, shift, index, space=None):
        rows = shifted(x, shift, index, space)
        found[x.__array_interface__["data"][0]] += len(rows)
        return rows

    def chunked(x, rows=None):
        for start, part in chunks(x, rows):
            found[x.__array_interface__["data"][0]] += len(part)
            yield start, part

    monkeypatch.setattr(accumulation, "product", multiplied)
    for module in (accumulation, rows):
        monkeypatch.setattr(module, "shifted_rows", read)
    for module in (rows, responses):
        monkeypatch.setattr(module, "chunks", chunked)
    return found


class TestCounts:
    @pytest.mark.parametrize(
        "options",
        [
            {},
            {"memory": (7 + 12 + 4) * SQUARE * 8 // 7 + 8},
            {"memory": "1B", "interval_samples": 60},
            {"metrics": [CKA], "cv": None},
            {"permutations": 3, "metrics": [RSA, OLS_R]},
            {"pairs": [("a", "b"), ("c", "a")]},
        ],
        ids=["whole", "groups", "pairs alone", "kernels", "nulls", "chosen pairs"],
    )
    def test_operations_and_readings_are_those_of_the_comparison(self, systems, options, done):
        options = {"permutations": 0, **options}
        costs = predict(systems, **options)
        # The steps that were timed multiply and read too.
        done.clear()
        sp.compare(systems, **options)
        products = costs.table.set_index("work").flops["products"]
        assert products == done.pop("flops")
        times = {name: done[x.__array_interface__["data"][0]] / 300 for name, x in systems.items()}
        assert {name: value for name, value in times.items() if value > 1} == pytest.approx(costs.reads)

    def test_solutions_and_intervals_by_hand(self):
        sizes = {"x": Size(1000, 30), "y": Size(1000, 20)}
        work = predict(sizes, metrics=[OLS_R], permutations=0).table.set_index("work").flops
        assert_allclose(work["solutions"], 5 * 4 * (30**2 * 20 + 20**2 * 30))
        assert_allclose(work["factors"], 5 * (30**3 + 20**3) / 3)
        # Of each row a product and half of one; of each round three products and a solution of two halves.
        rows = 2 * 1000 * (2 * 30 * 20 + 30**2 / 2 + 20**2 / 2)
        assert_allclose(work["intervals"], rows + 5 * 4 * 2 * (30**2 * 20 + 20**2 * 30))
        few = predict(sizes, metrics=[OLS_R], interval_samples=100, permutations=0).table.set_index("work").flops
        assert few["intervals"] == work["intervals"]
        kernels = predict(sizes, metrics=[CKA, CKA_DEBIASED, RSA], permutations=0).table.set_index("work").flops
        assert kernels["intervals"] == 2 * 1000 * (30 * 20 + 30**2 + 20**2)

    def test_penalties_by_hand(self):
        sizes = {"x": Size(1000, 30), "y": Size(1000, 20)}
        cubes, products = 30**3 + 20**3, 30**2 * 20 + 20**2 * 30
        for options, rounds, fits, tried in (({}, 5, 10, 20), ({"test": 0.2}, 1, 5, 5)):
            work = predict(sizes, metrics=[RIDGE_R], permutations=0, **options).table.set_index("work").flops
            # Factors, eigenvectors, and left-out folds in their directions; then weights and squares of inner fits.
            assert_allclose(work["factors"], (rounds / 3 + 9 * fits + 4 * tried) * cubes)
            assert_allclose(work["solutions"], (4 * rounds + 4 * fits + 2 * tried) * products)

    def test_components_are_not_counted(self):
        with pytest.warns(UserWarning, match="pls_r: counted as least squares; components, in float64, take"):
            predict({"x": Size(1000, 30), "y": Size(1000, 20)}, metrics=[PLS_R])

    def test_a_predictor_is_factored_once_where_there_is_room(self):
        sizes = {name: Size(1000, 30) for name in "xyz"}
        for memory, times in (("1GB", 1), (8 * 3 * 5 * 4 * 30**2 - 1, 2)):
            work = predict(sizes, metrics=[OLS_R], memory=memory, permutations=0).table.set_index("work").flops
            assert_allclose(work["factors"], times * 3 * 5 * 30**3 / 3)

    def test_a_fixed_split_is_one_round_over_what_it_scores(self):
        sizes = {"x": Size(1000, 30), "y": Size(1000, 20)}
        whole, split = (
            predict(sizes, permutations=0, **options).table.set_index("work").flops for options in ({}, {"test": 0.2})
        )
        # Of the kernels, and of r and R² in both directions: of a fifth of the rows, which train in no round.
        kernels, regressions = 30 * 20 + 30**2 + 20**2, 2 * (2 * 30 * 20 + 30**2 / 2 + 20**2 / 2)
        forms = 2 * 2 * (30**2 * 20 + 20**2 * 30)
        assert_allclose(whole["intervals"], 2 * 1000 * (kernels + regressions) + 5 * 4 * forms)
        assert_allclose(split["intervals"], 2 * 200 * (kernels + regressions) + forms)
        # Five inner fits choose a penalty, not ten.
        assert split["solutions"] < whole["solutions"] / 2
        assert split["products"] == whole["products"]

    def test_what_is_in_memory_is_not_read_from_the_disk(self, systems):
        assert predict(systems, permutations=0).bytes == 0
        sizes = {name: Size(300, 12, "float64") for name in systems}
        costs = predict(sizes, permutations=0)
        assert costs.bytes == sum(costs.reads[name] * 300 * 12 * 8 for name in sizes)

    def test_the_sums_of_groups_are_within_the_memory(self):
        sizes = {str(i): Size(10**9, 8192, "float16") for i in range(20)}
        costs = predict(sizes, metrics=[CKA], cv=None, memory="64GB", interval_samples=1000, permutations=0)
        assert costs.sums < 64e9
        # All own sums, and the crossed ones of a group of blocks.
        assert costs.groups > 1
        assert costs.sums > 20 * 8 * 8192**2

    def test_no_value_is_read(self, tmp_path):
        np.save(tmp_path / "x.npy", np.full((100, 4), np.nan, np.float32))
        x = np.load(tmp_path / "x.npy", mmap_mode="r")
        costs = predict({"x": x, "y": x}, permutations=0)
        assert costs.bytes > 0
        assert costs.table.seconds.sum() == costs.seconds


class TestRefusals:
    @pytest.mark.parametrize(
        ("options", "words"),
        [
            ({"metrics": [CKA_RBF]}, "cka_rbf.* cannot be computed from moments, so its cost is unknown"),
            ({"cv": 1}, "cv is 1; expected an integer of at least 2, or None"),
            ({"cv": np.arange(5)}, "cv is .*; expected an integer"),
            ({"permutations": -1}, "permutations is -1; expected an integer of at least 0"),
            ({"test": 1.5}, "test is 1.5; expected the share of samples that is scored"),
            ({"interval_samples": 1}, "interval_samples is 1; expected an integer of at least 2"),
            ({"pairs": [("a", "z")]}, "is no pair of two systems"),
        ],
    )
    def test_options(self, systems, options, words):
        with pytest.raises(DataError, match=words):
            predict(systems, **options)

    def test_sizes(self):
        with pytest.raises(DataError, match="a size of 0 samples × 5 units; expected integers of at least 1"):
            Size(0, 5)
        with pytest.raises(DataError, match="dtype is 'int8'; expected float16, float32 or float64"):
            Size(5, 5, "int8")
        with pytest.raises(DataError, match=r"expected at least two systems, as \{name: array or Size\}"):
            predict({"x": Size(5, 5)})
        with pytest.raises(DataError, match="x has 5 samples and y has 6"):
            predict({"x": Size(5, 5), "y": Size(6, 5)})
        with pytest.raises(DataError, match=r"x has shape \(2, 5, 3\); costs are those of \(samples, units\)"):
            predict({"x": np.ones((2, 5, 3)), "y": np.ones((2, 5, 3))})


class TestSteps:
    def test_each_takes_some_time_and_is_measured_once(self):
        steps = race(40, "float32", DEFAULT, 5)
        assert steps is race(40, "float32", DEFAULT, 5)
        assert min(steps.product, steps.check, steps.read, steps.gather, steps.pair, steps.read_speed) > 0
        # Two families of sums: kernels and least squares.
        assert len(steps.solved) == len(steps.shared) == 2
        assert len(steps.own) == 1

    def test_time_is_that_of_the_fastest_round(self):
        pauses = iter((0.0, 0.05, 0.01))

        def work():
            end = time.process_time() + next(pauses)
            while time.process_time() < end:
                pass

        assert 0.01 <= timed(work, rounds=2) < 0.05


CHILD = """
import json, sys, time
import numpy as np
import superpose as sp
from machine import memory_watched

samples, layers, units, memory, drawn = (int(text) for text in sys.argv[1:])
systems = {}
draw = np.random.default_rng(0)
for layer in range(layers):
    systems[str(layer)] = draw.standard_normal((samples, units), dtype=np.float32)
few = {name: np.array(x[:1500]) for name, x in list(systems.items())[:2]}
sp.compare(few, interval_samples=100, metrics=["cka", "ols_r"], permutations=0)

known = (sp.metrics.CKA, sp.metrics.CKA_DEBIASED, sp.metrics.RSA, sp.metrics.OLS_R, sp.metrics.OLS_R2)
options = {"memory": memory, "interval_samples": drawn or None, "metrics": known, "permutations": 0}
with memory_watched() as held:
    cpu = time.thread_time()  # less that of who watches
    sp.compare(systems, **options)
    cpu = time.thread_time() - cpu
costs = sp.costs.predict(systems, **options)
found = {"cpu": cpu, "peak": held.peak, "seconds": costs.seconds, "memory": costs.memory}
print(json.dumps(found | {"parts": costs.table.seconds.tolist()}))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="RssAnon is read from /proc")
@pytest.mark.parametrize(
    ("samples", "layers", "units", "memory", "drawn"),
    [
        (12_000, 4, 640, 10**9, 0),
        (20_000, 6, 320, 10**9, 2_000),
        (60_000, 5, 128, 10**9, 0),
        (8_000, 8, 384, 10**8, 500),
    ],
)
def test_seconds_and_memory_of_a_process(samples, layers, units, memory, drawn):
    found = told(CHILD, samples, layers, units, memory, drawn)
    assert 0.75 < found["memory"] / found["peak"] < 1.25, found
    # Of an idle core within 25 %; tests may share theirs.
    assert 0.5 < found["seconds"] / found["cpu"] < 2, found


class TestTiles:
    def test_many_systems_of_few_samples_by_hand(self):
        sizes = {str(i): Size(2000, 500, "float32") for i in range(20)}
        costs = predict(sizes, metrics=[CKA, CKA_DEBIASED, RSA], interval_samples=1000, permutations=0)
        work = costs.table.set_index("work").flops
        assert work["products"] == 2000**2 * (20 * 500 + 20**2)
        assert work["intervals"] == 2 * 2000 * 1000 * 20**2
        # Checked, averaged, and four blocks of rows each with itself and with those behind it.
        assert set(costs.reads.values()) == {1 + 1 + 1 + 1 + 5 / 2}
        assert costs.memory > costs.sums == bytes_held([500] * 20, 2000, 1000)

    def test_other_metrics_go_by_products_of_units(self):
        sizes = {str(i): Size(2000, 500, "float32") for i in range(20)}
        assert (
            predict(sizes, metrics=[CKA, OLS_R], permutations=0).flops
            > predict(sizes, metrics=[CKA], permutations=0).flops * 3
        )


class TestWideSystems:
    """Systems of more units than samples: as many directions as samples, and one product of samples for those."""

    def test_a_product_of_samples_and_no_square_of_units(self):
        narrow, size = Size(400, 90), Size(400, 50_000, "float16")
        costs = predict({"a": size, "b": narrow}, metrics=[CKA], permutations=0)
        flops = costs.table.set_index("work").flops
        assert flops["turning"] == 400**2 * 50_000 + 400**3 / 3
        assert costs.memory < 100e6
        assert 2 <= costs.reads["a"] <= 3
        # Its own product is the turning.
        assert flops["products"] == 400**2 * (90 + 2**2)
