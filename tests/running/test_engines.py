import itertools
import os
import subprocess
import sys
import threading
from functools import partial

import numpy as np
import pytest
import studies
from threadpoolctl import threadpool_limits

from superpose.files import DataError, PartError
from superpose.running.engines import LostError, engine

ENGINES = [("serial", None), ("serial", 1), ("local:1", 1), ("local:2", 1)]


@pytest.mark.parametrize(
    "name",
    ["", "Serial", "serial ", "local", "local:", "local:0", "local:-1", "local:1.5", "local:01", "local:2\n", "slurm"],
)
def test_other_names_are_refused(name):
    with pytest.raises(DataError, match=r"engine is .*; expected 'serial', or 'local:N' for N processes"):
        engine(name)


@pytest.mark.parametrize(("name", "threads"), ENGINES)
def test_every_cell_has_one_result(name, threads):
    assert sorted(engine(name, threads)(studies.late_first, range(12))) == list(range(12))


@pytest.mark.parametrize("threads", [None, 1])
def test_serial_takes_cells_in_their_order(threads):
    assert list(engine("serial", threads)(studies.late_first, range(12))) == list(range(12))


def test_a_cell_that_takes_long_does_not_hold_back_what_others_finished(tmp_path):
    cells = [(number, tmp_path) for number in range(3)]
    assert next(engine("local:2", 1)(studies.first_after_third, cells)) == 1


@pytest.mark.parametrize(("name", "threads"), ENGINES)
def test_no_cells_no_results(name, threads):
    assert list(engine(name, threads)(abs, [])) == []


@pytest.mark.parametrize(("name", "threads"), ENGINES)
def test_an_error_reaches_the_caller(name, threads):
    found = engine(name, threads)(studies.inverse, [1, 2, 0, 4])
    results = []
    with pytest.raises(ZeroDivisionError):
        results.extend(found)
    assert set(results) <= {1.0, 0.5, 0.25}  # an error of another process may overtake results


@pytest.mark.parametrize("threads", [None, 1])
def test_serial_computes_a_cell_when_it_is_asked_for(threads):
    seen = []
    found = engine("serial", threads)(seen.append, itertools.count())
    assert seen == []
    next(found)
    assert seen == [0]
    next(found)
    assert seen == [0, 1]


def test_serial_runs_here_and_local_in_that_many_other_processes():
    assert {process for _, process in engine("serial")(studies.process_of, range(3))} == {os.getpid()}
    found = list(engine("local:2", 1)(studies.process_of, range(20)))
    processes = {process for _, process in found}
    assert sorted(cell for cell, _ in found) == list(range(20))
    assert os.getpid() not in processes
    assert len(processes) == 2


def test_local_gives_the_numbers_of_serial_to_the_last_digit():
    draws = [np.random.default_rng(seed).normal(size=(40, 30)) for seed in range(6)]
    serial = list(engine("serial", 1)(np.linalg.svdvals, draws))
    local = list(engine("local:2", 1)(np.linalg.svdvals, draws))
    assert sorted(found.tobytes() for found in serial) == sorted(found.tobytes() for found in local)


@pytest.mark.parametrize("threads", [1, 3])
def test_serial_limits_the_threads_of_cells_and_of_nothing_else(threads):
    # A library that is loaded later takes the threads that the environment names.
    import scipy.linalg  # noqa: F401
    import torch  # noqa: F401

    with threadpool_limits(2):
        if set(studies.blas_threads()) != {2}:
            pytest.skip("this BLAS library does not take two threads")
        for inside in engine("serial", threads)(studies.blas_threads, range(3)):
            assert set(inside) == {threads}
            assert set(studies.blas_threads()) == {2}
        assert set(studies.blas_threads()) == {2}


def test_serial_without_a_number_leaves_the_threads_as_they_are():
    with threadpool_limits(2):
        outside = studies.blas_threads()
        assert list(engine("serial")(studies.blas_threads, [0])) == [outside]


def test_serial_gives_the_threads_back_after_an_error():
    with threadpool_limits(2):
        outside = studies.blas_threads()
        with pytest.raises(ZeroDivisionError):
            list(engine("serial", 1)(studies.inverse, [0]))
        assert studies.blas_threads() == outside


def test_local_limits_the_threads_of_its_processes():
    for threads in (1, 2):
        for inside in engine("local:2", threads)(studies.blas_threads, range(4)):
            assert set(inside) == {min(threads, os.cpu_count())}


# Processes that die


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_every_process_killed_once(tmp_path, workers):
    """Each of the first processes is killed inside a cell; each cell has its result all the same."""
    cells = [(number, str(tmp_path), workers) for number in range(8)]
    assert sorted(engine(f"local:{workers}", 1)(studies.killed_at_first, cells)) == list(range(8))
    assert len(list(tmp_path.iterdir())) == workers


def test_a_cell_that_always_ends_its_process_is_named_and_the_others_are_done(tmp_path):
    results = []
    with pytest.raises(LostError, match=r"a worker process died, most likely .*, at each of 3 tries of 2 of the cells"):
        results.extend(engine("local:2", 1)(studies.deadly, [(cell, str(tmp_path / "log")) for cell in range(6)]))
    assert sorted(results) == [0, 1, 4, 5]
    assert sorted(studies.lines(tmp_path / "log")) == ["2"] * 3 + ["3"] * 3


def test_processes_that_never_start(monkeypatch):
    monkeypatch.setattr("superpose.running.workers._START", "import os; os._exit(7)")
    with pytest.raises(PartError, match="3 worker processes ended before their first cell, the last with status 7"):
        list(engine("local:2", 1)(abs, [1, 2]))


@pytest.mark.parametrize("moment", [0.0, 0.02])
def test_a_process_killed_while_it_starts_is_replaced(monkeypatch, moment):
    started = []
    real = subprocess.Popen

    def popen(*given, **options):
        process = real(*given, **options)
        if not started:
            threading.Timer(moment, process.kill).start()
        started.append(process)
        return process

    monkeypatch.setattr("superpose.running.workers.subprocess.Popen", popen)
    assert sorted(engine("local:1", 1)(abs, [-1, -2, -3])) == [1, 2, 3]
    assert len(started) == 2


def test_processes_end_when_the_one_that_started_them_is_killed(tmp_path):
    """Nobody is left who could end them: they notice inside a cell that takes long."""
    command = (
        "import studies, sys; from superpose.running.engines import engine\n"
        "list(engine('local:2', 1)(studies.long_sleep, [sys.argv[1]] * 4))"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    process = subprocess.Popen([sys.executable, "-c", command, str(tmp_path / "log")], env=environment)
    workers = studies.wait_for(lambda: len(found := studies.lines(tmp_path / "log")) == 2 and found)
    process.kill()
    process.wait()
    studies.wait_for(lambda: not any(studies.alive(int(worker)) for worker in workers), seconds=5)


def test_a_loop_that_is_left_ends_the_processes():
    found = engine("local:2", 1)(studies.process_of, itertools.count())
    workers = {next(found)[1] for _ in range(20)}
    found.close()
    assert not any(studies.alive(worker) for worker in workers)


def test_what_cannot_be_sent_back_is_an_error():
    with pytest.raises(TypeError, match="generator cannot be sent to another process"):
        list(engine("local:1", 1)(studies.endless, [1]))


def test_large_arrays_are_mapped_and_written_to_by_nobody_else():
    held = np.ones(1 << 18)
    found = list(engine("local:2", 1)(partial(studies.raised_sum, held), [1.0, 2.0, 3.0]))
    assert len(found) == 3
    assert held.sum() == held.size


def test_functions_of_a_caller_that_no_module_has():
    assert sorted(engine("local:2", 1)(lambda cell: cell + 1, [1, 2])) == [2, 3]


def test_an_error_of_another_process_has_its_traceback():
    with pytest.raises(ZeroDivisionError) as caught:
        list(engine("local:1", 1)(studies.inverse, [0]))
    assert "in inverse" in "".join(caught.value.__notes__)
