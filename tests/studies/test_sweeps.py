"""Shares of a study on several hosts, what their folders say of themselves, and how they are brought together."""

import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import studies
from pandas.testing import assert_frame_equal
from proof import proved

from superpose import cli
from superpose.files import DataError
from superpose.studies import plans, results, sweeps
from superpose.studies.study import Study, grid

ENVIRONMENT = {
    **os.environ,
    "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
}


def small(cells=6):
    return Study("small", studies.kernel, grid(size=range(2, 2 + cells)))


def damage(path):
    content = path.read_bytes()
    place = content.index(b'"trace"')
    path.write_bytes(content[:place] + b"X" + content[place + 1 :])


# What folders say of themselves


def test_status_counts_by_study_host_and_file(tmp_path):
    small(6).run(tmp_path, shard="1/2")
    Study("other", studies.seeded, grid(a=[1, 2])).run(tmp_path)
    host = socket.gethostname()
    assert sweeps.status(tmp_path) == [
        {"what": "study", "name": "other", "results": 2, "cells": 2},
        {"what": "study", "name": "small", "results": 3, "cells": 6},
        {"what": "host", "name": host, "results": 5, "cells": None},
        {"what": "file", "name": f"{host}-0.sqlite", "results": 5, "cells": None},
    ]


def test_status_of_results_without_provenance(tmp_path):
    with results.writer(tmp_path) as put:
        put({"a": "1"})
    assert sweeps.status(tmp_path)[0] == {"what": "host", "name": "unknown", "results": 1, "cells": None}


def test_a_study_that_grew_is_seen_at_both_sizes(tmp_path):
    small(2).run(tmp_path)
    small(4).run(tmp_path, shard="4/4")
    found = [(row["results"], row["cells"]) for row in sweeps.status(tmp_path) if row["what"] == "study"]
    assert found == [(3, 4), (2, 2)]


@pytest.mark.parametrize("function", [sweeps.status, sweeps.verify, lambda folder: sweeps.collect(folder, [folder])])
def test_a_folder_that_there_is_not(tmp_path, function):
    with pytest.raises(DataError, match=r"missing is no folder; expected one that a study was run in"):
        function(tmp_path / "missing")


def test_a_plan_that_was_altered(tmp_path):
    small().run(tmp_path)
    (path,) = plans.files(tmp_path)
    path.write_text(path.read_text().replace("small", "large"))
    with pytest.raises(DataError, match=r"plan\.json was damaged or altered; delete it: the next run of its study"):
        sweeps.status(tmp_path)
    assert [row["file"] for row in sweeps.verify(tmp_path) if row["why"]] == [path.name]


# Several brought together


def in_parts(tmp_path, study, shares=3):
    for share in range(1, shares + 1):
        study.run(tmp_path / str(share), shard=f"{share}/{shares}")
    return [tmp_path / str(share) for share in range(1, shares + 1)]


def test_collected_shares_are_the_table_of_serial(tmp_path):
    study = small(9)
    folders = in_parts(tmp_path, study)
    assert sweeps.collect(tmp_path / "all", folders) == 9
    assert study.kept(tmp_path / "all") == 9
    assert sweeps.collect(tmp_path / "all", folders) == 0
    assert_frame_equal(study.run(tmp_path / "all"), study.run(tmp_path / "serial"), check_exact=True)
    (path,) = results.files(tmp_path / "all")
    found = results.records(path)
    assert found.origins.keys() == found.results.keys()
    assert {json.loads(origin)["run"] for origin in found.origins.values()} == found.runs.keys()
    assert [plan.study for plan in plans.read(tmp_path / "all")] == ["small"]


def test_results_that_differ_are_named_and_nothing_is_written(tmp_path):
    study = small(4)
    study.run(tmp_path / "a")
    key = study.jobs()[1].key
    with results.writer(tmp_path / "b") as put:
        put({key: '[{"trace": 0}]'})
    words = r"a/.*sqlite and .*b/.*sqlite differ in the result of .*; expected one result of a cell: delete one"
    with pytest.raises(DataError, match=words):
        sweeps.collect(tmp_path / "all", [tmp_path / "a", tmp_path / "b"])
    with pytest.raises(DataError, match=r"differ in the result of \{'size': 3\}"):
        sweeps.collect(tmp_path / "all", [tmp_path / "b", tmp_path / "a"])
    assert not (tmp_path / "all").exists()


def test_one_folder_that_holds_a_cell_with_two_results(tmp_path):
    study = small(3)
    study.run(tmp_path)
    with results.writer(tmp_path), results.writer(tmp_path) as second:
        second({study.jobs()[0].key: "[]"})
    whys = [row["why"] for row in sweeps.verify(tmp_path)]
    assert whys == ["", f"1 of its results differ from those in {socket.gethostname()}-0.sqlite", ""]


def test_nothing_to_collect_from(tmp_path):
    with pytest.raises(DataError, match="no folder is given to collect from; expected OUT and one or more folders"):
        sweeps.collect(tmp_path, [])


# The command line


def test_commands_print_tab_separated_rows(tmp_path, capsys):
    folders = in_parts(tmp_path, small(4), shares=2)
    assert cli.main(["sweep", "collect", str(tmp_path / "all"), *map(str, folders)]) == 0
    assert capsys.readouterr().err == f"4 results are new in {tmp_path / 'all'}\n"
    assert cli.main(["sweep", "status", str(tmp_path / "all")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["what\tname\tresults\tcells", "study\tsmall\t4\t4"]
    assert cli.main(["sweep", "status", str(tmp_path / "all"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0] == {"what": "study", "name": "small", "results": 4, "cells": 4}
    assert cli.main(["sweep", "verify", str(tmp_path / "all")]) == 0
    assert capsys.readouterr().out.splitlines()[0] == "file\tresults\twhy"


def test_damage_is_named_and_the_status_is_one(tmp_path, capsys):
    small().run(tmp_path)
    (path,) = results.files(tmp_path)
    damage(path)
    assert cli.main(["sweep", "verify", str(tmp_path)]) == 1
    said = capsys.readouterr()
    assert f"{path} was damaged or altered" in said.out
    assert said.err == f"superpose: 1 of 2 files in {tmp_path} are not as they should be: {path.name}.\n"
    for command in (["status", str(tmp_path)], ["collect", str(tmp_path / "all"), str(tmp_path)]):
        assert cli.main(["sweep", *command]) == 2
        assert f"{path} was damaged or altered" in capsys.readouterr().err


def test_conflicts_have_status_two(tmp_path, capsys):
    study = small(2)
    study.run(tmp_path / "a")
    with results.writer(tmp_path / "b") as put:
        put({study.jobs()[0].key: "[]"})
    assert cli.main(["sweep", "collect", *(str(tmp_path / name) for name in ("all", "a", "b"))]) == 2
    assert "differ in the result of" in capsys.readouterr().err


def test_a_figure_in_shares(tmp_path, capsys):
    figure = ["reproduce", "figure2", "--scale", "smoke", "--engine", "serial", "--out"]
    assert cli.main([*figure, str(tmp_path / "a"), "--shard", "1/2"]) == 0
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith(f"Share 1/2 of figure2 is done; 15 of 30 cells are kept in {tmp_path / 'a' / 'cells'}.")
    assert "`superpose sweep collect`" in said.err
    assert not list((tmp_path / "a").glob("figure2*"))
    assert cli.main([*figure, str(tmp_path / "a"), "--shard", "2/2"]) == 0  # the last share finishes the figure
    assert len(list((tmp_path / "a").glob("figure2*"))) == 6
    assert cli.main([*figure, str(tmp_path / "whole")]) == 0
    for suffix in (".csv", ".parquet", "-claims.csv"):
        one, other = (tmp_path / place / f"figure2{suffix}" for place in ("a", "whole"))
        assert one.read_bytes() == other.read_bytes()
    assert cli.main([*figure, str(tmp_path / "a"), "--shard", "3/2"]) == 2


# Hosts


def unshared():
    """Return the words that start a command as a host of its own, with a name and a network of its own."""
    command = ["unshare", "--user", "--map-root-user", "--uts", "--net"]
    if not shutil.which("unshare") or subprocess.run([*command, "true"], capture_output=True).returncode:
        return None
    return command


def on_host(name, *arguments):
    apart = unshared()
    command = f'{"hostname " + name + " && " if apart else ""}exec {sys.executable} -m superpose "$@"'
    return subprocess.Popen(
        [*(apart or []), "sh", "-c", command, "sh", *map(str, arguments)],
        env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


@pytest.mark.slow
def test_two_hosts_one_folder(tmp_path):
    """Two processes with names and networks of their own, where this machine lets them, each with its own share."""
    figure = ["reproduce", "figure2", "--scale", "smoke", "--engine", "serial"]
    hosts = [on_host(f"node{i}", *figure, "--shard", f"{i}/2", "--out", tmp_path / "shared") for i in (1, 2)]
    for host in hosts:
        _, err = host.communicate(timeout=300)
        assert host.returncode == 0, err
    assert cli.main([*figure, "--out", str(tmp_path / "serial")]) == 0
    assert cli.main([*figure, "--out", str(tmp_path / "shared")]) == 0
    read = [pd.read_parquet(tmp_path / place / "figure2.parquet") for place in ("shared", "serial")]
    assert_frame_equal(*read, check_exact=True)
    rows = [row for row in sweeps.status(tmp_path / "shared" / "cells") if row["what"] == "host"]
    if unshared():
        assert rows == [{"what": "host", "name": f"node{i}", "results": 15, "cells": None} for i in (1, 2)]


# Four processes, one store


def check_four_processes(tmp_path, cells):
    """Run four shares at once in one folder, and four whole studies in another; compare both with serial."""
    study = studies.tiny_study(cells)
    expected = study.run(tmp_path / "serial")
    processes = studies.quick_processes()
    torn = 0
    for folder, shares in (("shares", [f"{i}/4" for i in (1, 2, 3, 4)]), ("whole", [None] * 4)):
        arguments = [(cells, tmp_path / folder, shard) for shard in shares]
        running = [processes.Process(target=studies.run_tiny, args=given) for given in arguments]
        for process in running:
            process.start()
        while any(process.is_alive() for process in running):
            try:
                results.read(tmp_path / folder)
            except DataError:
                torn += 1
            time.sleep(0.01)
        assert [process.exitcode for process in running] == [0] * 4
        assert_frame_equal(study.run(tmp_path / folder), expected, check_exact=True)
        assert not [row for row in sweeps.verify(tmp_path / folder) if row["why"]]
    assert torn == 0
    return torn


def test_four_processes_one_store(tmp_path):
    check_four_processes(tmp_path, cells=40)


@pytest.mark.prove
def test_four_processes_one_store_in_full(tmp_path):
    started = time.monotonic()
    torn = sum(check_four_processes(tmp_path / str(i), cells=300) for i in range(10))
    proved("P9", time.monotonic() - started, rounds=20, processes=4, cells=300, torn=torn, differing_tables=0)


# Interruptions


def interrupted(tmp_path, engine, number, group):
    """Interrupt a study inside long cells; return the seconds it took to end and the processes it left."""
    session = tmp_path.name
    environment = {**ENVIRONMENT, "SESSION": session}
    command = [sys.executable, "-m", "studies", str(tmp_path / "kept"), str(tmp_path / "log"), engine]
    process = subprocess.Popen(
        command, env=environment, start_new_session=True, stderr=subprocess.PIPE, text=True, cwd=Path(__file__).parent
    )
    study = studies.interruptible(tmp_path / "log")
    try:
        studies.wait_for(lambda: "long" in studies.lines(tmp_path / "log") and study.kept(tmp_path / "kept") == 4, 240)
        started = time.monotonic()
        (os.killpg if group else os.kill)(process.pid, number)
        _, err = process.communicate(timeout=60)
    finally:
        process.kill()
    seconds = time.monotonic() - started
    assert process.returncode == 130, err
    assert err.splitlines()[-1].startswith("superpose: interrupted"), err
    left = studies.processes_of(session)
    assert study.kept(tmp_path / "kept") == 4
    return seconds, left


INTERRUPTIONS = [(signal.SIGINT, True), (signal.SIGINT, False), (signal.SIGTERM, False)]


@pytest.mark.parametrize("engine", ["serial", "local:2", "dask:2"])
def test_an_interruption_ends_soon_and_leaves_no_process(tmp_path, engine):
    seconds, left = interrupted(tmp_path, engine, signal.SIGTERM, False)
    assert seconds < 5
    assert left == []


@pytest.mark.prove
@pytest.mark.slow
def test_interruptions_in_full(tmp_path):
    started, found = time.monotonic(), []
    for engine in ("serial", "local:2", "dask:2"):
        for number, group in INTERRUPTIONS:
            for turn in range(4):
                folder = tmp_path / f"{engine.partition(':')[0]}-{number}-{group}-{turn}"
                folder.mkdir()
                found.append(interrupted(folder, engine, number, group))
    slowest, left = max(seconds for seconds, _ in found), sum(len(processes) for _, processes in found)
    proved("P10", time.monotonic() - started, interruptions=len(found), slowest_exit_s=round(slowest, 2), orphans=left)
    assert slowest < 5
    assert left == 0


def test_a_file_of_results_is_what_sqlite_reads(tmp_path):
    """The form is fixed: folders outlive versions of this package."""
    small(1).run(tmp_path)
    (path,) = results.files(tmp_path)
    connection = sqlite3.connect(path)
    tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY 1")]
    assert tables == ["origins", "results", "runs"]
    connection.close()
