"""Results of figures that were stored before are still found: cells keep their keys and their seeds.

`golden/figures.json` holds the first cell's key and seed of every study with a digest of all of them, and the results
of a small study.
"""

import hashlib
import json
from pathlib import Path

import pytest

from superpose.paper import FIGURES
from superpose.paper.reproduction import figure
from superpose.studies import results

KEPT = json.loads((Path(__file__).parents[1] / "golden" / "figures.json").read_text())
SMALL = {"latents": 16, "samples": 100, "active": (2,), "units": (4, 8), "draws": 2}


@pytest.mark.parametrize("scale", ["smoke", "laptop", "paper"])
@pytest.mark.parametrize("name", FIGURES)
def test_every_cell_has_the_key_and_the_seed_that_it_had(name, scale):
    jobs = figure(name).at(scale).jobs()
    every = hashlib.sha256("\n".join(f"{job.key} {job.seed}" for job in jobs).encode()).hexdigest()
    found = {"cells": len(jobs), "first": jobs[0].key, "seed": jobs[0].seed, "every": every}
    assert found == KEPT["keys"][name][scale]


def test_a_folder_that_was_stored_before_is_resumed_without_a_measurement(tmp_path):
    stored = KEPT["stored"]
    with results.writer(tmp_path) as put:
        put({key: cell["content"] for key, cell in stored.items()})
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    study = figure("figure2").at("paper", **SMALL)
    reported = []
    table = study.run(tmp_path, progress=lambda *step: reported.append(step))
    assert reported == []
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    assert {job.key: job.seed for job in study.jobs()} == {key: cell["seed"] for key, cell in stored.items()}
    rows = [row for job in study.jobs() for row in json.loads(stored[job.key]["content"])]
    assert table[list(rows[0])].to_dict("records") == rows
