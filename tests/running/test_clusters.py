"""Studies on Dask: chunks, deaths of workers and schedulers, SLURM's job script."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest
import studies
from pandas.testing import assert_frame_equal
from proof import proved

from superpose.files import DataError, PartError
from superpose.running import clusters
from superpose.running.engines import LostError, engine
from superpose.studies.study import Study, grid

ENVIRONMENT = {
    **os.environ,
    "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT": "5s",
}


class Supervised:
    """Processes that are started again whenever they end, as a machine's supervisor does."""

    def __init__(self, commands, log):
        self.commands, self.log = commands, log
        self.processes = [self.start(command) for command in commands]
        self.going = threading.Event()
        self.going.set()
        self.thread = threading.Thread(target=self.watch, daemon=True)
        self.thread.start()

    def start(self, command):
        return subprocess.Popen(
            [sys.executable, "-m", *command], env=ENVIRONMENT, stdout=self.log, stderr=self.log, start_new_session=True
        )

    def watch(self):
        while self.going.is_set():
            for place, process in enumerate(self.processes):
                if process.poll() is not None and self.going.is_set():
                    self.processes[place] = self.start(self.commands[place])
            time.sleep(0.05)

    def end(self):
        self.going.clear()
        self.thread.join()
        for process in self.processes:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@contextlib.contextmanager
def running(workers, folder, options=(), protocol="tcp"):
    """Yield the address of a scheduler with workers, and the processes, the scheduler first."""
    address = f"127.0.0.1:{free_port()}"
    host, port = address.split(":")
    here = ["--host", host, "--no-dashboard", *options]
    scheduler = ["distributed.cli.dask_scheduler", *here, "--port", port, "--protocol", protocol]
    common = [f"{protocol}://{address}", *here, "--no-nanny", "--nthreads", "1", "--local-directory", str(folder)]
    commands = [["distributed.cli.dask_worker", *common, "--name", f"w{number}"] for number in range(workers)]
    with open(folder / "dask.log", "ab") as log:
        supervised = Supervised([scheduler, *commands], log)
        try:
            yield address, supervised
        finally:
            supervised.end()


# Chunks


def test_chunks_come_to_half_a_second_of_work():
    chunks = clusters.Chunks(range(1000))
    assert chunks.take() == [0]
    chunks.learn(0.05, 1)
    assert chunks.take() == [1, 2, 3, 4]  # they grow step by step: the first cell may be an odd one
    chunks.learn(0.2, 4)
    assert len(chunks.take()) == 10
    chunks.learn(20, 10)
    assert len(chunks.take()) == 1
    chunks.again.append([7])
    assert chunks.take() == [7]


@pytest.mark.parametrize("seconds", [0.0, 1e-12, 1e9])
def test_chunks_of_extreme_cells(seconds):
    chunks = clusters.Chunks(range(10))
    for _ in range(30):
        chunks.learn(seconds, 1)
    assert 1 <= chunks.size <= 10_000


# On this machine


def test_dask_gives_the_table_of_serial_exactly_and_its_provenance(tmp_path):
    study = Study("kernel", studies.kernel, grid(size=[*range(2, 40)]), threads=1)
    serial = study.run(tmp_path / "serial")
    told = []
    found = study.run(tmp_path / "dask", engine="dask:2", progress=lambda _, *step: told.append(step))
    assert_frame_equal(found, serial, check_exact=True)
    assert told == [(done, 38) for done in range(1, 39)]
    runs = [run for path in studies.results.files(tmp_path / "dask") for run in studies.results.records(path).runs]
    assert 1 <= len(runs) <= 2


def test_threads_of_cells_are_those_of_the_study(tmp_path):
    table = Study("threads", studies.threads_after_import, grid(a=range(3)), threads=2).run(tmp_path, engine="dask:1")
    assert (table[["fewest", "most"]] == 2).all(axis=None)


def test_an_error_on_dask_reaches_the_caller():
    with pytest.raises(ZeroDivisionError):
        list(engine("dask:1", 1)(studies.inverse, [1, 0]))


def test_a_scheduler_that_cannot_start(monkeypatch):
    monkeypatch.setattr(clusters, "_START", "import sys; sys.exit(7)")
    with pytest.raises(PartError, match="the Dask scheduler ended with status 7; see what it said above"):
        list(engine("dask:1", 1)(abs, [1]))


# Schedulers that run already


def test_no_scheduler_answers(monkeypatch):
    monkeypatch.setattr(clusters, "FIRST", 0.5)
    words = r"no Dask scheduler answered at tcp://127\.0\.0\.1:\d+ in 0 s; what was finished is kept: see that it runs"
    with pytest.raises(PartError, match=words):
        list(engine(f"dask://127.0.0.1:{free_port()}", 1)(abs, [1]))


@pytest.mark.parametrize("missing", ["distributed", "dask_jobqueue"])
@pytest.mark.parametrize("name", ["dask:2", "dask://host:8786", "tls://host:8786", "slurm:site.toml"])
def test_without_its_packages(monkeypatch, missing, name):
    real = clusters.importlib.util.find_spec
    monkeypatch.setattr(clusters.importlib.util, "find_spec", lambda one: None if one == missing else real(one))
    with pytest.raises(DataError, match=f'this engine needs {missing}; install it: pip install "superpose.cluster.'):
        engine(name)


def check_worker_and_scheduler_deaths(tmp_path, monkeypatch, cells):
    """Kill each of three workers once, inside a cell, and the scheduler half-way; return the seconds it took."""
    study = Study("deaths", studies.kills_its_worker_once, grid(index=range(cells)))
    serial = study.run(tmp_path / "serial")
    (tmp_path / "killed").mkdir()
    monkeypatch.setitem(ENVIRONMENT, "KILLED", str(tmp_path / "killed"))
    schedulers = []
    started = time.monotonic()
    with running(3, tmp_path) as (address, supervised):

        def restart(name, done, total):
            if not schedulers and done >= total // 2:
                schedulers.append(supervised.processes[0].pid)
                supervised.processes[0].kill()

        table = study.run(tmp_path / "dask", engine=f"dask://{address}", progress=restart)
        assert supervised.processes[0].pid not in schedulers
    assert_frame_equal(table, serial, check_exact=True)
    assert sorted(path.name for path in (tmp_path / "killed").iterdir()) == ["w0", "w1", "w2"]
    assert len(schedulers) == 1
    return time.monotonic() - started


@pytest.mark.slow
def test_workers_and_the_scheduler_die_and_the_table_is_that_of_serial(tmp_path, monkeypatch):
    check_worker_and_scheduler_deaths(tmp_path, monkeypatch, cells=60)


@pytest.mark.prove
@pytest.mark.slow
def test_worker_loss_on_dask_in_full(tmp_path, monkeypatch):
    seconds = check_worker_and_scheduler_deaths(tmp_path, monkeypatch, cells=300)
    proved("P2", seconds, engine="dask://", cells=300, workers_killed=3, schedulers_restarted=1, differing_tables=0)


def test_a_scheduler_without_workers_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(clusters, "SILENCE", 0.2)
    late = ["distributed.cli.dask_worker", "--no-nanny", "--no-dashboard"]
    said = []
    with running(0, tmp_path) as (address, supervised):

        def then_one_comes(line, **options):
            said.append(line)
            if len(said) == 1:
                supervised.processes.append(supervised.start([*late, f"tcp://{address}"]))

        monkeypatch.setattr(clusters, "print", then_one_comes, raising=False)
        assert sorted(engine(f"dask://{address}", 1)(abs, [-1, -2])) == [1, 2]
    assert said[0] == "2 tasks wait for a worker of the Dask scheduler"


@pytest.mark.slow
def test_a_scheduler_that_stays_away(tmp_path, monkeypatch):
    monkeypatch.setattr(clusters, "PATIENCE", 1.0)
    study = Study("deaths", studies.kills_its_worker_once, grid(index=range(60)))
    with running(1, tmp_path) as (address, supervised):

        def end(name, done, total):
            supervised.going.clear()
            supervised.processes[0].kill()

        with pytest.raises(PartError, match=r"no Dask scheduler answered at .* in 1 s; what was finished is kept"):
            study.run(tmp_path / "kept", engine=f"dask://{address}", progress=end)
    assert 0 < study.kept(tmp_path / "kept") < 60


# SLURM


SITE = """
jobs = {minimum = 0, maximum = 20}

[cluster]
queue = "short"
account = "lab"
cores = 2
processes = 2
memory = "8GB"
walltime = "02:00:00"
job_extra_directives = ["--constraint=avx2"]
job_script_prologue = ["source venv/bin/activate"]
scheduler_options = {host = "127.0.0.1", dashboard_address = "127.0.0.1:0"}
"""


def test_the_job_script_of_a_site(tmp_path):
    (tmp_path / "site.toml").write_text(SITE)
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    cluster, jobs = clusters.from_site(tmp_path / "site.toml")
    try:
        script = cluster.job_script().splitlines()
    finally:
        cluster.close()
    assert jobs == {"minimum": 0, "maximum": 20}
    assert script[0] == "#!/usr/bin/env bash"
    directives = {line for line in script if line.startswith("#SBATCH")}
    assert {
        "#SBATCH -p short", "#SBATCH -A lab", "#SBATCH -n 1", "#SBATCH --cpus-per-task=2", "#SBATCH --mem=8G",
        "#SBATCH -t 02:00:00", "#SBATCH --constraint=avx2",
    } <= directives  # fmt: skip
    assert "source venv/bin/activate" in script
    (command,) = (line for line in script if "distributed.cli.dask_worker" in line)
    assert command.startswith(sys.executable)
    assert "--nthreads 1" in command
    assert "--nworkers 2" in command
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == handlers


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, r"site\.toml cannot be read as TOML .*; expected a site's settings of SLURM"),
        ("jobs = ", r"site\.toml cannot be read as TOML"),
        ("[cluster]", r"site\.toml has jobs = None; expected a number, or \{minimum = 0, maximum = 20\}"),
        ("jobs = -1\n[cluster]", "has jobs = -1; expected a number"),
        ("jobs = {maximum = 3}\n[cluster]", "has jobs = {'maximum': 3}; expected a number"),
        ("jobs = 3", r"has no table \[cluster\]; expected options of dask_jobqueue\.SLURMCluster in it"),
        ("jobs = 3\n[cluster]\ncors = 3\nmemory = '1GB'", r"SLURMCluster refuses the table \[cluster\] \(.*cors"),
        ("jobs = 3\n[cluster]\ncores = 3", r"SLURMCluster refuses the table \[cluster\] \(.*memory"),
    ],
)
def test_sites_that_are_refused(tmp_path, text, words):
    if text is not None:
        (tmp_path / "site.toml").write_text(text)
    with pytest.raises(DataError, match=words):
        list(engine(f"slurm:{tmp_path / 'site.toml'}", 1)(abs, [1]))


def test_a_loop_over_jobs_of_slurm(tmp_path, monkeypatch):
    """sbatch as a script that runs what it is given on this machine: workers come, work, and are cancelled."""
    bin = tmp_path / "bin"
    bin.mkdir()
    # As SLURM does, it keeps a copy of the script, which is deleted as soon as it was submitted.
    sbatch = (
        '#!/bin/sh\ncp "$1" "$JOBS/$$.sh"\nsetsid sh "$JOBS/$$.sh" >>"$JOBS/log" 2>&1 &\n'
        'echo $! >>"$JOBS/started"\necho "Submitted batch job $!"\n'
    )
    scancel = '#!/bin/sh\necho "$@" >>"$JOBS/cancelled"\nfor job in "$@"; do kill -9 -- "-$job"; done\n'
    for name, content in (("sbatch", sbatch), ("scancel", scancel)):
        (bin / name).write_text(content)
        (bin / name).chmod(0o755)
    monkeypatch.setenv("JOBS", str(tmp_path))
    monkeypatch.setenv("PATH", f"{bin}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", ENVIRONMENT["PYTHONPATH"])
    site = 'jobs = 2\n[cluster]\nmemory = "1GB"\n'
    site += 'scheduler_options = {host = "127.0.0.1", dashboard_address = "127.0.0.1:0"}'
    (tmp_path / "site.toml").write_text(site)
    found = list(engine(f"slurm:{tmp_path / 'site.toml'}", 1)(studies.process_of, range(30)))
    assert sorted(cell for cell, _ in found) == list(range(30))
    jobs = studies.lines(tmp_path / "started")
    assert len(jobs) >= 2
    studies.wait_for(lambda: not any(studies.alive(int(job)) for job in jobs), seconds=20)


@pytest.mark.parametrize(
    "name", ["dask:0", "dask:", "dask://host", "dask://", "tls://host", "slurm:", "slurm:site.json"]
)
def test_names_of_clusters_that_are_refused(name):
    with pytest.raises(DataError, match=r"engine is .*; expected 'serial', or 'local:N' .*'slurm:site\.toml'"):
        engine(name)


def test_lost_cells_are_named_once_each(tmp_path):
    with pytest.raises(LostError) as caught:
        list(engine("dask:1", 1)(studies.deadly, [(cell, str(tmp_path / "log")) for cell in (1, 2, 4)]))
    assert [cell for cell, _ in caught.value.cells] == [2]


def test_a_client_that_lost_its_scheduler_is_gone():
    """Between its loss and its end it answers, but of no workers."""

    class Client:
        def scheduler_info(self):
            return {}

    with pytest.raises(clusters.Gone):
        clusters._slots(Client())
