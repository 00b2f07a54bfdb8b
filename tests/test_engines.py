import itertools
import os

import joblib
import numpy as np
import pytest
import studies
from threadpoolctl import threadpool_limits

from superpose.engines import engine
from superpose.files import DataError

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


def test_a_cell_that_takes_long_does_not_hold_back_what_others_finished():
    assert next(engine("local:2", 1)(studies.late_first, range(12))) != 0


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


def test_local_leaves_the_callers_joblib_as_it_is():
    with joblib.parallel_config("threading"):
        found = engine("local:2", 1)(abs, range(4))
        next(found)
        backend, _ = joblib.parallel.get_active_backend()
        found.close()
    assert isinstance(backend, joblib._parallel_backends.ThreadingBackend)
