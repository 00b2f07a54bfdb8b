"""The scripts that the page on studies gives to users of clusters."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from pandas.testing import assert_frame_equal
from test_clusters import ENVIRONMENT, running

from superpose import cli
from superpose.running import clusters
from superpose.running.engines import engine
from superpose.studies import sweeps

PAGE = Path(__file__).parents[2] / "docs" / "studies.rst"
SCRIPTS = PAGE.parent / "slurm"


def test_every_script_is_on_the_page():
    pages = "".join(page.read_text() for page in PAGE.parent.glob("*.rst"))
    shown = re.findall(r"literalinclude:: slurm/(\S+)", pages)
    assert sorted(shown) == sorted(path.name for path in SCRIPTS.iterdir())


def test_the_array_asks_slurm_for_what_it_needs():
    script = SCRIPTS / "array.sbatch"
    subprocess.run(["bash", "-n", script], check=True)
    asked = dict(re.findall(r"^#SBATCH --([a-z-]+)(?:=(\S+))?$", script.read_text(), re.M))
    assert len(asked) == script.read_text().count("#SBATCH")
    assert asked.keys() >= {"array", "ntasks", "cpus-per-task", "mem", "time", "output"}
    assert re.fullmatch(r"1-\d+", asked["array"])  # shares are counted from 1


@pytest.mark.slow
def test_the_array_task_by_task(tmp_path, monkeypatch):
    """What SLURM would do: each task once, with its number in the environment."""
    bin = tmp_path / "bin"
    bin.mkdir()
    (bin / "superpose").write_text(f'#!/bin/sh\nexec {sys.executable} -m superpose "$@"\n')
    (bin / "superpose").chmod(0o755)
    environment = {**ENVIRONMENT, "PATH": f"{bin}{os.pathsep}{os.environ['PATH']}", "SLURM_ARRAY_TASK_COUNT": "2"}
    environment |= {"SCALE": "smoke", "OUT": str(tmp_path / "figures")}
    for task in ("1", "2"):
        assert not (tmp_path / "figures" / "figure2.csv").exists()
        given = {**environment, "SLURM_ARRAY_TASK_ID": task}
        subprocess.run(["bash", SCRIPTS / "array.sbatch"], env=given, check=True, capture_output=True)
    whole = ["reproduce", "figure2", "--scale", "smoke", "--engine", "serial", "--out", str(tmp_path / "whole")]
    assert cli.main(whole) == 0
    tables = [pd.read_parquet(tmp_path / place / "figure2.parquet") for place in ("figures", "whole")]
    assert_frame_equal(*tables, check_exact=True)
    assert sweeps.status(tmp_path / "figures" / "cells")[0]["results"] == 30


def test_the_site_is_what_slurm_is_asked_for():
    cluster, jobs = clusters.from_site(SCRIPTS / "site.toml")
    with cluster:
        script = cluster.job_script()
    assert jobs == {"minimum": 0, "maximum": 20}
    for line in ("-p short", "-A my-lab", "--cpus-per-task=1", "--mem=4G", "-t 01:00:00"):
        assert f"#SBATCH {line}\n" in script
    assert "source venv/bin/activate\n" in script
    assert "--nthreads 1" in script
    assert "--lifetime 55m --lifetime-stagger 4m" in script


@pytest.mark.skipif(not shutil.which("openssl"), reason="needs openssl, which makes the certificates")
def test_a_scheduler_with_the_settings_of_the_page(tmp_path, monkeypatch):
    import dask.config
    import distributed  # noqa: F401 - so that its defaults are there to be merged with

    settings = (SCRIPTS / "tls.yaml").read_text()
    for name in ("ca.pem", "cluster.pem", "cluster-key.pem"):
        settings = settings.replace(f" {name}", f" {tmp_path / name}")
    (tmp_path / "dask").mkdir()
    (tmp_path / "dask" / "tls.yaml").write_text(settings)
    new = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=superpose"]
    made = [*new, "-keyout", tmp_path / "cluster-key.pem", "-out", tmp_path / "cluster.pem"]
    subprocess.run(made, check=True, capture_output=True)
    shutil.copy(tmp_path / "cluster.pem", tmp_path / "ca.pem")
    monkeypatch.setitem(ENVIRONMENT, "DASK_CONFIG", str(tmp_path / "dask"))
    with (
        dask.config.set(dask.config.merge(dask.config.config, *dask.config.collect_yaml([str(tmp_path / "dask")]))),
        running(1, tmp_path, protocol="tls") as (address, _),
    ):
        assert sorted(engine(f"tls://{address}", 1)(abs, [-1, -2, 3])) == [1, 2, 3]
