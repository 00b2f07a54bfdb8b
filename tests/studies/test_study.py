import contextlib
import hashlib
import importlib
import json
import os
import random
import runpy
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

import numpy as np
import pandas as pd
import pytest
import studies
from hypothesis import given, settings
from hypothesis import strategies as st
from pandas.testing import assert_frame_equal
from proof import proved
from threadpoolctl import threadpool_limits

from superpose.files import DataError
from superpose.store import build, digest
from superpose.studies import results
from superpose.studies.study import CellError, Study, grid


def fresh(study, **options):
    with tempfile.TemporaryDirectory() as folder:
        return study.run(folder, **options)


def seeds(cells, **options):
    return list(fresh(Study("seeds", studies.seeded, cells, **options))["drawn_from"])


def counted(tmp_path, indices, **options):
    return Study("counted", studies.counted, grid(log=[str(tmp_path / "log")], index=indices), **options)


def measured(tmp_path):
    """Return the indices that were measured since the last call, in order."""
    found = [int(line) for line in studies.lines(tmp_path / "log")]
    (tmp_path / "log").unlink(missing_ok=True)
    return found


# Grids and seeds


def test_grid_runs_the_last_axis_fastest():
    assert grid(a=[1, 2], b="xy") == [{"a": 1, "b": "x"}, {"a": 1, "b": "y"}, {"a": 2, "b": "x"}, {"a": 2, "b": "y"}]
    assert grid(a=[1], b=[]) == []
    assert grid() == [{}]


def test_a_seed_is_the_documented_digest():
    """An independent statement of the seed: another rule would change every stored figure."""
    content = '["studies:seeded",7,{"a":1,"b":[0.5,"x"]}]'
    expected = int(hashlib.sha256(content.encode()).hexdigest()[:15], 16)
    assert seeds([{"b": (0.5, "x"), "a": 1}], seed=7) == [expected]


scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text(max_size=5)
)
values = st.one_of(scalars, st.tuples(scalars, scalars), st.tuples(scalars, st.tuples(scalars)))
cell_sets = st.lists(
    st.dictionaries(st.sampled_from("abcd"), values, max_size=3), min_size=1, max_size=5, unique_by=json.dumps
)


@settings(max_examples=8)
@given(cell_sets, st.randoms(use_true_random=False))
def test_a_seed_depends_on_the_cells_own_settings_only(cells, order):
    unique = list({json.dumps(cell, sort_keys=True): cell for cell in cells}.values())
    together = seeds(unique)
    assert [seeds([cell])[0] for cell in unique] == together
    shuffled = order.sample(range(len(unique)), len(unique))
    turned = [dict(reversed(unique[i].items())) for i in shuffled]
    assert seeds(turned) == [together[i] for i in shuffled]
    assert len(set(together)) == len(unique)


def test_the_study_and_its_measure_and_seed_change_the_seeds():
    cells = grid(a=range(20))
    one, two = seeds(cells, seed=0), seeds(cells, seed=1)
    assert len({*one, *two}) == 40
    assert seeds(cells, version="2", threads=2) == one
    assert list(fresh(Study("other name", studies.seeded, cells))["drawn_from"]) == one
    with pytest.raises(DataError, match="expected a function that other processes can import"):
        Study("seeds", studies.wrapped(studies.seeded), cells)  # named like the function it wraps


def test_cells_that_agree_in_draw_share_the_seed():
    table = fresh(Study("drawn", studies.seeded, grid(size=[1, 2, 3], draw=range(4)), draw=("draw",)))
    assert (table.groupby("draw")["drawn_from"].nunique() == 1).all()
    assert table["drawn_from"].nunique() == 4
    assert list(table["drawn_from"][:4]) == seeds(grid(draw=range(4)))
    assert set(seeds(grid(size=[1, 2], draw=[0]), draw=())) == set(seeds([{}]))


def test_numpy_scalars_and_lists_equal_plain_values(tmp_path):
    plain = {"a": 1, "b": 0.5, "c": "x", "d": True, "e": (1, (2, "y")), "f": 0.10000000149011612}
    numpy = {
        "a": np.int32(1),
        "b": np.float64(0.5),
        "c": np.str_("x"),
        "d": np.bool_(True),
        "e": [np.int64(1), [np.array(2), "y"]],
        "f": np.float32(0.1),
    }
    study = Study("plain", studies.seeded, [plain])
    same = Study("numpy", studies.seeded, [numpy])
    assert_frame_equal(study.run(tmp_path), same.run(tmp_path), check_exact=True)
    assert_frame_equal(fresh(study), fresh(same), check_exact=True)
    with pytest.raises(DataError, match=r"the cell .* occurs twice in both; expected every cell once"):
        Study("both", studies.seeded, [plain, numpy]).run(tmp_path)


def test_values_that_only_compare_equal_are_different_settings():
    cells = [{"a": value} for value in (1, 1.0, True, "1", (1,), ((1,),), None, "", (), ((1, 2), 3), (1, (2, 3)))]
    assert len(set(seeds(cells))) == len(cells)


# What is kept, and what is computed


def test_a_second_run_measures_nothing(tmp_path):
    study = counted(tmp_path, range(4))
    first = study.run(tmp_path)
    assert measured(tmp_path) == [0, 1, 2, 3]
    assert_frame_equal(study.run(tmp_path), first, check_exact=True)
    assert_frame_equal(study.run(str(tmp_path), engine="local:2"), first, check_exact=True)
    assert measured(tmp_path) == []


def test_values_added_to_a_grid_use_what_is_finished(tmp_path):
    first = counted(tmp_path, range(4)).run(tmp_path)
    measured(tmp_path)
    table = counted(tmp_path, [5, *range(4), 4]).run(tmp_path)
    assert measured(tmp_path) == [5, 4]
    assert list(table["index"]) == [5, 0, 1, 2, 3, 4]
    assert_frame_equal(table[1:5].reset_index(drop=True), first, check_exact=True)
    assert len(counted(tmp_path, [2]).run(tmp_path)) == 1
    assert measured(tmp_path) == []


@pytest.mark.parametrize("options", [{"version": "2"}, {"seed": 1}])
def test_another_version_or_seed_measures_again(tmp_path, options):
    first = counted(tmp_path, range(3)).run(tmp_path)
    other = counted(tmp_path, range(3), **options).run(tmp_path)
    assert measured(tmp_path) == [0, 1, 2, 0, 1, 2]
    assert (first["score"] == other["score"]).all() == ("version" in options)
    assert_frame_equal(counted(tmp_path, range(3)).run(tmp_path), first, check_exact=True)
    assert measured(tmp_path) == []


def test_another_draw_measures_again(tmp_path):
    cells = grid(size=[1, 2], draw=[0, 1])
    Study("before", studies.seeded, cells).run(tmp_path)
    after = Study("after", studies.seeded, cells, draw=("draw",))
    assert_frame_equal(after.run(tmp_path), fresh(after), check_exact=True)


def test_studies_of_other_measures_share_a_folder(tmp_path):
    cells = grid(parts=[2, 3])
    several = Study("several", studies.several, cells)
    seeded = Study("seeded", studies.seeded, cells)
    assert_frame_equal(several.run(tmp_path), fresh(several), check_exact=True)
    assert_frame_equal(seeded.run(tmp_path), fresh(seeded), check_exact=True)


def test_an_interrupted_run_keeps_the_cells_that_counted_as_done(tmp_path):
    def interrupt(name, done, total):
        if done == 3:
            raise KeyboardInterrupt

    study = counted(tmp_path, range(6))
    with pytest.raises(KeyboardInterrupt):
        study.run(tmp_path, progress=interrupt)
    assert measured(tmp_path) == [0, 1, 2]
    assert_frame_equal(study.run(tmp_path), fresh(study), check_exact=True)
    assert measured(tmp_path)[:3] == [3, 4, 5]


@pytest.mark.parametrize("engine", ["serial", "local:2"])
def test_cells_that_fail_are_named_and_alone_tried_again(tmp_path, engine):
    flag = tmp_path / "flag"
    flag.touch()
    cells = grid(log=[str(tmp_path / "log")], index=range(4), flag=[str(flag)])
    study = Study("failing", studies.fails_while, cells)
    progress = []
    expected = r"1 of 4 cells of failing failed; the others are kept\. First: .*'index': 1.*: ZeroDivisionError: on pur"
    with pytest.raises(CellError, match=expected):
        study.run(tmp_path, engine=engine, progress=lambda *told: progress.append(told))
    assert progress[-1] == ("failing", 4, 4)
    assert sorted(measured(tmp_path)) == [0, 1, 2, 3]
    with pytest.raises(CellError, match="1 of 4"):
        study.run(tmp_path, engine=engine)
    assert measured(tmp_path) == [1]
    flag.unlink()
    assert list(study.run(tmp_path, engine=engine)["score"]) == [index / 3 for index in range(4)]
    assert measured(tmp_path) == [1]


def test_a_failure_in_a_group_of_one_seed_stops_none_of_the_group(tmp_path):
    flag = tmp_path / "flag"
    flag.touch()
    cells = grid(log=[str(tmp_path / "log")], index=range(4), flag=[str(flag)])
    study = Study("failing", studies.fails_while, cells, draw=())
    with pytest.raises(CellError, match="1 of 4"):
        study.run(tmp_path)
    flag.unlink()
    measured(tmp_path)
    study.run(tmp_path)
    assert measured(tmp_path) == [1]


def dying(tmp_path):
    return Study("dying", studies.dies_while, grid(index=range(6), flag=[str(tmp_path / "flag")]))


@pytest.mark.parametrize("draw", [None, ()])
def test_a_cell_that_ends_its_process_each_time_is_named_and_the_others_finish(tmp_path, draw):
    """Alone, and in a group that shares a draw."""
    (tmp_path / "flag").touch()
    study = Study("dying", studies.dies_while, grid(index=range(6), flag=[str(tmp_path / "flag")]), draw=draw)
    told = []
    words = (
        r"1 of 6 cells of dying failed; the others are kept\. First: .*'index': 3.*: the process that it ran in died"
    )
    with pytest.raises(CellError, match=words):
        study.run(tmp_path, engine="local:2", progress=lambda _, *step: told.append(step))
    assert told[-1] == (6, 6)
    assert study.kept(tmp_path) == 5
    (tmp_path / "flag").unlink()
    assert list(study.run(tmp_path, engine="local:2")["score"]) == list(range(6))


# Tables


def test_a_row_for_each_row_of_each_cell_in_the_order_of_the_cells():
    cells = [{"parts": 3}, {"parts": 1}, {"parts": 0}, {"parts": 2}]
    table = fresh(Study("several", studies.several, cells))
    assert list(table.columns) == ["parts", "part", "score"]
    assert list(table["parts"]) == [3, 3, 3, 1, 2, 2]
    assert list(table["part"]) == [0, 1, 2, 0, 0, 1]
    expected = [
        np.random.default_rng(seed).normal(size=cell["parts"])
        for seed, cell in zip(seeds_of(cells), cells, strict=True)
    ]
    assert np.array_equal(table["score"], np.concatenate(expected))


def seeds_of(cells):
    contents = [json.dumps(["studies:several", 0, cell], separators=(",", ":")) for cell in cells]
    return [int(hashlib.sha256(content.encode()).hexdigest()[:15], 16) for content in contents]


def test_cells_that_share_seeds_come_in_the_order_of_the_cells(tmp_path):
    cells = grid(log=[str(tmp_path / "log")], size=[1, 2], index=[0, 1])
    study = Study("grouped", studies.counted, cells, draw=("index",))
    assert list(study.run(tmp_path)["index"]) == [0, 1, 0, 1]
    assert measured(tmp_path) == [0, 0, 1, 1]  # one seed after the other


def test_local_gives_the_table_of_serial_exactly(tmp_path):
    study = Study("kernel", studies.kernel, grid(size=[5, 20, 60]))
    serial = study.run(tmp_path / "serial")
    assert_frame_equal(serial, study.run(tmp_path / "local", engine="local:2"), check_exact=True)
    drawn = Study("kernel", studies.kernel, grid(size=[60, 5, 20]), draw=())
    assert_frame_equal(fresh(drawn), fresh(drawn, engine="local:2"), check_exact=True)


def test_a_study_without_cells(tmp_path):
    called = []
    table = Study("empty", studies.seeded, []).run(tmp_path / "none", progress=lambda *told: called.append(told))
    assert isinstance(table, pd.DataFrame)
    assert len(table) == 0
    assert called == []
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("engine", ["serial", "local:2"])
def test_progress_rises_to_the_total(tmp_path, engine):
    told = []
    counted(tmp_path, range(2)).run(tmp_path)
    counted(tmp_path, range(6)).run(tmp_path, engine=engine, progress=lambda *step: told.append(step))
    assert told == [("counted", done, 6) for done in (3, 4, 5, 6)]


def test_a_cell_is_on_the_disk_before_it_counts_as_done(tmp_path):
    def check(name, done, total):
        assert len(counted(tmp_path, range(done)).run(tmp_path)) == done
        assert measured(tmp_path) == [done - 1]

    counted(tmp_path, range(4)).run(tmp_path, progress=check)


@given(st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=20))
def test_every_number_comes_back_to_the_last_bit(bits):
    study = Study("bits", studies.from_bits, [{"bits": tuple(bits)}])
    expected = np.array(bits, dtype=np.uint64).view(np.float64)
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(2):  # computed, then read
            found = study.run(folder)["score"].to_numpy()
            assert np.array_equal(np.isnan(found), np.isnan(expected))
            known = ~np.isnan(expected)
            assert found[known].tobytes() == expected[known].tobytes()


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_finite_setting_comes_back_to_the_last_bit(value):
    found = fresh(Study("settings", studies.seeded, [{"a": value}]))["a"].to_numpy()
    assert found.tobytes() == np.float64(value).tobytes()


@pytest.mark.parametrize("kind", ["float", "text", "none", "bool", "nan", "infinite", "float32", "zero dimensions"])
def test_values_that_are_kept(tmp_path, kind):
    study = Study("echo", studies.echoed, [{"kind": kind, "number": 1}])
    first, second = study.run(tmp_path), study.run(tmp_path)
    assert_frame_equal(first, second, check_exact=True)
    expected = studies.echoed(0, kind=kind, number=1)["value"]
    value = first["value"][0]
    assert value == expected or (kind == "nan" and np.isnan(value)) or (kind == "none" and value is None)


# What is refused


@pytest.mark.parametrize(
    ("kind", "cause"),
    [
        ("array", "value is of type ndarray; expected a number, text or None"),
        ("dict", "value is of type dict; expected a number, text or None"),
        ("complex", "value is of type complex; expected a number, text or None"),
        ("setting's name", "the result 'number' has the name of a setting; expected another name"),
        ("nothing", "TypeError"),
    ],
)
def test_results_that_are_refused(tmp_path, kind, cause):
    study = Study("echo", studies.echoed, grid(kind=[kind, "float"], number=[1]))
    with pytest.raises(CellError, match=f"1 of 2 .*'kind': .*{cause}"):
        study.run(tmp_path)
    assert len(Study("echo", studies.echoed, [{"kind": "float", "number": 1}]).run(tmp_path)) == 1


def nested():
    def measure(seed):
        return {}

    return measure


@pytest.mark.parametrize(
    "measure",
    [lambda seed: {}, nested(), studies.functools.partial(studies.seeded, a=1), "studies:seeded"],
    ids=["lambda", "nested", "partial", "text"],
)
def test_measures_that_other_processes_cannot_import(measure):
    with pytest.raises(DataError, match="expected a function that other processes can import: define it at the top"):
        Study("refused", measure, [])


@pytest.mark.parametrize(
    "measure", [studies.Scaled(2).measure, studies.wrapped(studies.several)], ids=["bound", "other"]
)
def test_measures_whose_name_names_something_else(measure):
    """Their results would be kept under the key of another measurement."""
    with pytest.raises(DataError, match="expected a function that other processes can import"):
        Study("refused", measure, [])


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -np.inf, np.float32("nan"), (1, (2, float("nan")))])
def test_settings_that_are_not_finite(tmp_path, value):
    with pytest.raises(DataError, match=r"the setting a is .*; expected a finite number"):
        Study("refused", studies.seeded, [{"a": value}]).run(tmp_path)


@pytest.mark.parametrize("value", [{"b": 1}, {1}, np.arange(3), 1j, b"x", object(), np.datetime64("2020-01-01")])
def test_settings_of_other_types(tmp_path, value):
    with pytest.raises(DataError, match=r"a is of type \w+; expected a number, text or None"):
        Study("refused", studies.seeded, [{"a": value}]).run(tmp_path)


def test_cells_that_occur_twice(tmp_path):
    with pytest.raises(DataError, match=r"the cell \{'b': 2, 'a': 1\} occurs twice in refused; expected every cell on"):
        Study("refused", studies.seeded, [{"a": 1, "b": 2}, {"b": 2, "a": 1}]).run(tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("threads", [0, -1, 1.5, None, "2", True])
def test_threads_are_positive_integers(threads):
    with pytest.raises(DataError, match=r"threads is .*; expected an integer of at least 1"):
        Study("refused", studies.seeded, [], threads=threads)


def test_an_unknown_engine_is_refused_before_anything_is_measured(tmp_path):
    with pytest.raises(DataError, match="engine is 'cloud'"):
        counted(tmp_path, range(2)).run(tmp_path, engine="cloud")
    assert measured(tmp_path) == []


def test_a_damaged_folder_is_refused_before_anything_is_measured(tmp_path):
    (tmp_path / "0.sqlite").write_bytes(b"no database" * 1000)
    with pytest.raises(DataError, match=r"0\.sqlite was damaged or altered"):
        counted(tmp_path, range(2)).run(tmp_path)
    assert measured(tmp_path) == []


def test_a_draw_that_no_cell_has():
    with pytest.raises(DataError, match="draw"):
        fresh(Study("refused", studies.seeded, grid(size=[1, 2]), draw=("sise",)))


# Threads


def test_cells_run_with_the_threads_of_the_study_and_the_caller_keeps_its_own(tmp_path):
    with threadpool_limits(2):
        outside = studies.blas_threads()
        for threads in (1, 3):
            during = []
            table = fresh(
                Study("threads", studies.threads_in_cell, grid(a=[0, 1]), threads=threads),
                progress=lambda *_: during.append(studies.blas_threads()),  # noqa: B023
            )
            assert (table[["fewest", "most"]] == threads).all(axis=None)
            assert during == [outside, outside]
            assert studies.blas_threads() == outside


@pytest.mark.skipif(os.cpu_count() < 2, reason="one core gives one thread anyway")
def test_libraries_that_a_cell_loads_have_the_threads_of_the_study(tmp_path):
    command = (
        "import studies, sys; from superpose.studies.study import Study, grid\n"
        "table = Study('late', studies.threads_after_import, grid(a=[0, 1])).run(sys.argv[1])\n"
        "print(list(table['most']))"
    )
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "2", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    environment.pop("OMP_NUM_THREADS")
    run = [sys.executable, "-c", command, str(tmp_path)]
    found = subprocess.run(run, env=environment, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[1, 1]"


# Kills


def kill(process):
    """Kill a process, unless it ended, and its workers."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.join()


def killed_until_finished(processes, folder, engine, cells, draw, kills):
    """Run the study, kill it at random moments at most that often; return the number of kills."""
    log, acknowledged = folder / "log", folder / "acknowledged"
    index_of = {job.key: job.cell["index"] for job in studies.long_study(log, cells).jobs()}
    done, killed = 0, 0
    while True:
        before = len(studies.lines(log))
        kept = {index_of[key] for key in results.read(folder / "results")}
        assert len(kept) >= done  # what was acknowledged is there
        arguments = (folder / "results", log, acknowledged, engine, cells)
        process = processes.Process(target=studies.run_to_be_killed, args=arguments)
        process.start()
        if killed < kills:
            while process.is_alive() and len(studies.lines(log)) == before:
                time.sleep(0.001)
            process.join(draw.uniform(0, 0.0025 * cells))
        else:
            process.join()
        finished = process.exitcode is not None
        killed += not finished
        kill(process)
        # Dask's workers are in a group of their own, which ends with the process that was killed.
        studies.wait_for(lambda: not studies.processes_of(folder / "results"), seconds=10)
        measured_now = [int(line) for line in studies.lines(log)[before:]]
        assert not kept.intersection(measured_now)  # and is never measured again
        assert len(set(measured_now)) == len(measured_now)
        done = max([done, *map(int, studies.lines(acknowledged))])
        if finished:
            assert process.exitcode == 0
            assert done == cells
            return killed


def check_kills(tmp_path, engine, cells, kills):
    """Kill runs of the study that many times; return how many studies it took."""
    tmp_path.mkdir(exist_ok=True)
    expected = fresh(studies.long_study(tmp_path / "other log", cells)).drop(columns="log")
    processes, draw, rounds, left = studies.quick_processes(), random.Random(engine), 0, kills
    while left:
        rounds += 1
        folder = tmp_path / str(rounds)
        folder.mkdir()
        left -= killed_until_finished(processes, folder, engine, cells, draw, left)
        measurements = studies.lines(folder / "log")
        table = studies.long_study(folder / "log", cells).run(folder / "results")
        assert studies.lines(folder / "log") == measurements
        assert_frame_equal(table.drop(columns="log"), expected, check_exact=True)
    return rounds


@pytest.mark.parametrize(("engine", "kills"), [("serial", 4), ("local:2", 2), ("dask:2", 1)])
def test_killed_runs_end_in_the_table_of_an_uninterrupted_one(tmp_path, engine, kills):
    check_kills(tmp_path, engine, cells=40, kills=kills)


@pytest.mark.prove
@pytest.mark.slow
@pytest.mark.parametrize(("engine", "kills"), [("serial", 80), ("local:2", 80), ("dask:2", 40)])
def test_two_hundred_kills(tmp_path, engine, kills):
    started = time.monotonic()
    rounds = check_kills(tmp_path, engine, cells=300, kills=kills)
    counts = {"kills": kills, "studies": rounds, "cells": 300, "differing_tables": 0}
    proved("P1", time.monotonic() - started, engine=engine, **counts, acknowledged_cells_measured_again=0)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"seed": -1}, "seed is -1; expected an integer of at least 0"),
        ({"seed": True}, "seed is True; expected an integer of at least 0"),
        ({"cells": (cell for cell in grid(a=[1]))}, "cells is a generator; expected a list of settings"),
        ({"cells": [{1: 2}]}, "a setting is named 1; expected text other than 'seed'"),
        ({"cells": grid(seed=[1])}, "a setting is named 'seed'; expected text other than"),
        ({"draw": "a"}, "draw is 'a'; expected names of settings, out of a"),
    ],
)
def test_studies_that_are_refused(settings, words):
    with pytest.raises(DataError, match=words):
        Study("refused", studies.seeded, **{"cells": grid(a=[1]), **settings})


def test_text_that_no_file_can_hold_fails_its_cell_alone(tmp_path):
    study = Study("echo", studies.echoed, [{"kind": "half a pair", "number": 1}, {"kind": "text", "number": 1}])
    with pytest.raises(CellError, match=r"1 of 2 .*UnicodeEncodeError"):
        study.run(tmp_path)


# Provenance


def kept_in(folder):
    """Return the results, origins and runs of all files of a folder."""
    merged = results.Records({}, {}, {})
    for path in results.files(folder):
        for table, found in zip(merged, results.records(path), strict=True):
            table.update(found)
    return merged


@pytest.mark.parametrize("engine", ["serial", "local:2"])
def test_every_result_has_its_provenance_beside_it(tmp_path, engine):
    study = Study("kernel", studies.kernel, grid(size=[5, 9, 20]), threads=1)
    table = study.run(tmp_path, engine=engine)
    assert list(table.columns) == ["size", "trace", "norm", "largest"]
    kept = kept_in(tmp_path)
    jobs = {job.key: job for job in study.jobs()}
    assert kept.origins.keys() == kept.results.keys() == jobs.keys()
    for key, text in kept.origins.items():
        origin = json.loads(text)
        assert origin["study"] == "kernel"
        assert (origin["cell"], origin["seed"]) == (jobs[key].cell, jobs[key].seed)
        assert 0 < origin["seconds"] < 60
        run = json.loads(kept.runs[origin["run"]])
        assert run["host"] == socket.gethostname()
        assert (run["process"] == os.getpid()) == (engine == "serial")
        assert run["versions"]["numpy"] == np.__version__
        blas = [library for name, library in run["threads"].items() if name.startswith("openblas")]
        assert blas
        assert all(library["threads"] == 1 and library["kernels"] for library in blas)


def test_a_process_is_described_once(tmp_path):
    counted(tmp_path, range(20)).run(tmp_path)
    assert len(kept_in(tmp_path).runs) == 1


def test_inputs_belong_to_the_key_and_to_the_provenance(tmp_path):
    """Other content, other cells; the same content elsewhere, the same ones."""
    file, copy = tmp_path / "v1.npy", tmp_path / "copy.npy"
    np.save(file, np.arange(6.0))
    shutil.copy(file, copy)
    cells = grid(size=[3, 4])
    bare, one, other = (Study("inputs", studies.kernel, cells, inputs=paths) for paths in ((), (file,), (copy,)))
    keys = [[job.key for job in study.jobs()] for study in (bare, one, other)]
    assert keys[0] != keys[1] == keys[2]
    one.run(tmp_path / "kept")
    kept = kept_in(tmp_path / "kept").origins
    expected = {str(file): hashlib.sha256(file.read_bytes()).hexdigest()}
    assert [json.loads(text)["inputs"] for text in kept.values()] == [expected] * 2
    assert other.kept(tmp_path / "kept") == 2
    np.save(file, np.arange(7.0))
    assert one.kept(tmp_path / "kept") == 0


def test_an_activation_store_as_input(tmp_path):
    build(tmp_path / "store", {}, 2, lambda index: {"layer": np.full((2, 3), index)})
    study = Study("inputs", studies.kernel, grid(size=[3]), inputs=[tmp_path / "store"])
    assert study.jobs()[0].inputs == {str(tmp_path / "store"): digest(tmp_path / "store")}


def test_inputs_that_are_not_there(tmp_path):
    study = Study("inputs", studies.kernel, grid(size=[3]), inputs=[tmp_path / "gone.npy"])
    with pytest.raises(DataError, match=r"inputs: .*gone.npy cannot be read: No such file or directory"):
        study.jobs()


def test_results_without_provenance_are_used(tmp_path):
    """Folders of earlier versions hold results alone."""
    study = counted(tmp_path, range(3))
    expected = study.run(tmp_path / "new")
    with results.writer(tmp_path / "old") as put:
        put(results.read(tmp_path / "new"))
    measured(tmp_path)
    assert_frame_equal(study.run(tmp_path / "old"), expected, check_exact=True)
    assert measured(tmp_path) == []


# Shares


def drawn_cells(sizes, draws):
    return Study("drawn", studies.seeded, grid(size=range(sizes), draw=range(draws)), draw=("draw",))


@pytest.mark.parametrize("shares", [1, 2, 3, 7, 30])
def test_shares_are_all_cells_once_and_about_equal(tmp_path, shares):
    study = drawn_cells(3, 20)
    found = [study.run(tmp_path / str(i), shard=f"{i}/{shares}") for i in range(1, shares + 1)]
    rows = [tuple(row) for table in found for row in table.itertuples(index=False)]
    whole = fresh(study)
    assert sorted(rows) == sorted(whole.itertuples(index=False, name=None))
    draws = [set(table["draw"]) if len(table) else set() for table in found]
    assert sum(map(len, draws)) == 20  # no draw is in two shares
    sizes = [len(table) for table in found]
    assert max(sizes) - min(sizes) <= 3


def test_a_share_does_not_depend_on_what_is_kept(tmp_path):
    study = drawn_cells(2, 9)
    first = study.run(tmp_path / "alone", shard="2/3")
    study.run(tmp_path / "both", shard="1/3")
    assert_frame_equal(study.run(tmp_path / "both", shard="2/3"), first, check_exact=True)
    assert study.kept(tmp_path / "both") == 12
    assert_frame_equal(study.run(tmp_path / "both"), fresh(study), check_exact=True)


@pytest.mark.parametrize("period", [2, 3, 4])
def test_costs_that_repeat_with_a_period_are_dealt_to_all(tmp_path, period):
    """Were all rounds dealt alike, one of two shares would have all the dear cells of a setting with two values."""
    study = Study("dear", studies.seeded, grid(block=range(12), cost=range(period)))
    for i in range(1, period + 1):
        table = study.run(tmp_path / str(i), shard=f"{i}/{period}")
        assert set(table["cost"].value_counts()) == {12 // period}


def test_shares_of_groups_of_unequal_size_stay_about_equal(tmp_path):
    cells = [{"draw": draw, "part": part} for draw in range(12) for part in range(1 + draw % 5)]
    study = Study("unequal", studies.seeded, cells, draw=("draw",))
    sizes = [len(study.run(tmp_path / str(i), shard=f"{i}/3")) for i in (1, 2, 3)]
    assert sum(sizes) == len(cells)
    assert max(sizes) - min(sizes) <= 5


@pytest.mark.parametrize("shard", ["0/2", "3/2", "1", "1/0", "a/b", "1/2/3", "01/2", "", "-1/2", 1])
def test_shares_that_there_are_not(tmp_path, shard):
    with pytest.raises(DataError, match=r"shard is .*; expected 'i/N' with i from 1 to N, as '1/4'"):
        counted(tmp_path, range(2)).run(tmp_path, shard=shard)
    assert measured(tmp_path) == []


def test_failures_of_a_share_are_counted_in_the_share(tmp_path):
    (tmp_path / "flag").touch()
    cells = grid(log=[str(tmp_path / "log")], index=range(4), flag=[str(tmp_path / "flag")])
    study = Study("failing", studies.fails_while, cells)
    with pytest.raises(CellError, match="1 of 2 cells of failing failed"):
        study.run(tmp_path, shard="2/2")
    assert len(study.run(tmp_path, shard="1/2")) == 2


# Workers that die


def check_worker_deaths(tmp_path, cells, workers):
    study = Study("mortal", studies.ends_each_process_once, grid(index=range(cells)))
    expected = fresh(study)
    (tmp_path / "killed").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KILLED", str(tmp_path / "killed"))
        patch.setenv("WORKERS", str(workers))
        found = study.run(tmp_path / "kept", engine=f"local:{workers}")
    assert_frame_equal(found, expected, check_exact=True)
    assert len(list((tmp_path / "killed").iterdir())) == workers


def test_every_worker_killed_once_and_the_study_ends_unattended(tmp_path):
    check_worker_deaths(tmp_path, cells=30, workers=3)


@pytest.mark.prove
def test_every_worker_killed_once_in_full(tmp_path):
    started = time.monotonic()
    for round in range(10):
        (tmp_path / str(round)).mkdir()
        check_worker_deaths(tmp_path / str(round), cells=300, workers=3)
    proved("P2", time.monotonic() - started, engine="local:3", cells=300, workers_killed=30, differing_tables=0)


@pytest.mark.parametrize("engine", ["local:2", "dask:2"])
def test_a_command_whose_cell_ends_its_process_each_time_has_status_one(tmp_path, monkeypatch, capsys, engine):
    from superpose import cli

    (tmp_path / "flag").touch()
    study = Study("dying", studies.dies_while, grid(index=range(6), flag=[str(tmp_path / "flag")]))
    monkeypatch.setattr(cli, "app", studies.command_of(lambda: study.run(tmp_path / "kept", engine=engine)))
    assert cli.main(["study"]) == 1
    assert "superpose: 1 of 6 cells of dying failed; the others are kept. First: {'index': 3" in capsys.readouterr().err
    assert study.kept(tmp_path / "kept") == 5


SCRIPT = """
import sys
from superpose.studies.study import Study, grid

def measure(seed, *, a):
    print("measured", a)
    return {"b": a + 1}

table = Study("script", measure, grid(a=[1, 2])).run(sys.argv[1], engine=sys.argv[2])
print(table.b.tolist())
"""


class TestFunctionsOfScripts:
    """A notebook or a script defines its measure itself: this process measures, and a changed text measures again."""

    def run(self, tmp_path, text=SCRIPT, engine="serial"):
        (tmp_path / "script.py").write_text(text)
        command = [sys.executable, "script.py", "kept", engine]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)

    def test_they_resume(self, tmp_path):
        assert self.run(tmp_path).stdout.split("\n")[:3] == ["measured 1", "measured 2", "[2, 3]"]
        assert self.run(tmp_path).stdout == "[2, 3]\n"

    def test_another_text_is_another_function(self, tmp_path):
        self.run(tmp_path)
        again = self.run(tmp_path, SCRIPT.replace("a + 1", "a + 2"))
        assert again.stdout.split("\n")[:3] == ["measured 1", "measured 2", "[3, 4]"]

    def test_other_processes_cannot_import_them(self, tmp_path):
        refused = self.run(tmp_path, engine="local:2")
        assert "defined in a notebook or script, which other processes cannot import; move it" in refused.stderr
        assert not (tmp_path / "kept").exists()

    def test_a_changed_module_is_said_and_not_measured_again(self, tmp_path):
        module, (_, _, run) = SCRIPT.partition("table =")[0], SCRIPT.partition("table =")
        runner = f"import sys\nfrom superpose.studies.study import Study, grid\nfrom mine import measure\ntable ={run}"
        (tmp_path / "mine.py").write_text(module)
        assert "Warning" not in self.run(tmp_path, runner).stderr
        assert "Warning" not in self.run(tmp_path, runner).stderr
        (tmp_path / "mine.py").write_text(module.replace("a + 1", "a + 20"))
        again = self.run(tmp_path, runner)
        assert again.stdout == "[2, 3]\n"
        assert "script: 2 of 2 kept results were measured before the text of mine:measure changed." in again.stderr
        raised = self.run(tmp_path, runner.replace("grid(a=[1, 2])", "grid(a=[1, 2]), version='2'"))
        assert raised.stdout.split("\n")[2] == "[21, 22]"
        assert "Warning" not in raised.stderr

    @pytest.mark.parametrize(
        ("run_script", "module"),
        [
            (lambda: runpy.run_path("alone.py", run_name="__main__"), "alone"),
            (lambda: runpy.run_path("inner/script.py", run_name="__main__"), "inner.script"),
            (lambda: runpy.run_module("inner.script", run_name="__main__", alter_sys=True), "inner.script"),
        ],
        ids=["file", "file of a package", "-m"],
    )
    def test_a_script_and_the_module_that_it_is_share_seeds_and_results(
        self, tmp_path, monkeypatch, capsys, run_script, module
    ):
        text = SCRIPT.replace('print("measured", a)', 'print("measured", a, seed)')
        (tmp_path / "inner").mkdir()
        (tmp_path / "inner" / "__init__.py").touch()
        files = [tmp_path / "alone.py", tmp_path / "inner" / "script.py"]
        monkeypatch.chdir(tmp_path)
        monkeypatch.syspath_prepend(tmp_path)

        def printed(run, kept="kept"):
            monkeypatch.setattr(sys, "argv", ["script.py", kept, "serial"])
            for name in (module, module.split(".")[0]):
                monkeypatch.delitem(sys.modules, name, raising=False)
            run()
            return capsys.readouterr().out.split("\n")

        def imported():
            importlib.import_module(module)

        for file in files:
            file.write_text(text)
        as_script, as_module = printed(run_script), printed(imported, kept="other")
        assert as_script == as_module
        assert [line.split()[:2] for line in as_script[:2]] == [["measured", "1"], ["measured", "2"]]
        assert printed(imported) == printed(run_script, kept="other") == ["[2, 3]", ""]
        for file in files:
            file.write_text(text.replace("a + 1", "a + 20"))
        assert printed(run_script)[2] == "[21, 22]"

    def test_a_function_whose_text_cannot_be_read(self):
        made = f"exec(compile({SCRIPT!r}, '<made>', 'exec'))"
        refused = subprocess.run([sys.executable, "-c", made, "kept", "serial"], capture_output=True, text=True)
        assert "expected a function that other processes can import" in refused.stderr


@pytest.mark.parametrize(
    ("cell", "words"),
    [
        ({"parts": 1, "draw": 0}, "a cell has the settings parts, draw, and measure is several.*unexpected keyword"),
        ({"draw": 0}, "missing a required argument: 'parts'"),
    ],
)
def test_cells_of_other_settings_than_measure_takes_are_refused_at_once(tmp_path, cell, words):
    with pytest.raises(DataError, match=words):
        Study("wrong", studies.several, [cell]).run(tmp_path / "none")
    assert not (tmp_path / "none").exists()
