"""Folders of results seen as a whole: what is finished and by whom, whether it is intact, several brought together."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import superpose.studies.plans as plans
import superpose.studies.results as results
from superpose.files import DataError

Row = dict[str, Any]


def status(folder: str | os.PathLike[str]) -> list[Row]:
    """Return how many results a folder holds: of each study that was run there, from each host, in each file.

    Parameters
    ----------
    folder : path-like

    Returns
    -------
    list of dict
        Rows of `what` ("study", "host" or "file"), `name`, `results`, and of a study `cells`, how many it is to have.

    Raises
    ------
    DataError
        If there is no such folder, or a file in it was damaged.

    Examples
    --------
    >>> import tempfile
    >>> from superpose.studies import results, sweeps
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with results.writer(folder) as put:
    ...         put({"a": "1"}, origins={"a": '{"run": "r"}'}, runs={"r": '{"host": "node1"}'})
    ...     sweeps.status(folder)[0]
    {'what': 'host', 'name': 'node1', 'results': 1, 'cells': None}
    """
    found = {path: results.records(path) for path in results.files(_folder(folder))}
    kept = {key for one in found.values() for key in one.results}
    rows = [
        {"what": "study", "name": plan.study, "results": len(kept.intersection(plan.keys)), "cells": len(plan.keys)}
        for plan in plans.read(folder)
    ]
    hosts: Counter[str] = Counter()
    for one in found.values():
        hosts.update(_host(one, key) for key in one.results)
    rows += [{"what": "host", "name": name, "results": count, "cells": None} for name, count in sorted(hosts.items())]
    return rows + [
        {"what": "file", "name": path.name, "results": len(one.results), "cells": None} for path, one in found.items()
    ]


def verify(folder: str | os.PathLike[str]) -> list[Row]:
    """Read every file of a folder, check every checksum, and compare results that several files hold.

    Parameters
    ----------
    folder : path-like

    Returns
    -------
    list of dict
        A row for each file: `file`, `results` and `why`, empty where nothing is wrong.

    Raises
    ------
    DataError
        If there is no such folder.

    Examples
    --------
    >>> import tempfile
    >>> from superpose.studies import results, sweeps
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with results.writer(folder) as put:
    ...         put({"a": "1"})
    ...     [row["why"] for row in sweeps.verify(folder)]
    ['']
    """
    rows: list[Row] = []
    first: dict[str, tuple[str, str]] = {}  # content and file of each result
    for path in results.files(_folder(folder)):
        try:
            found = results.records(path)
        except DataError as error:
            rows.append({"file": path.name, "results": 0, "why": str(error)})
            continue
        odd = [key for key, text in found.results.items() if first.setdefault(key, (text, path.name))[0] != text]
        why = f"{len(odd)} of its results differ from those in {first[odd[0]][1]}" if odd else ""
        rows.append({"file": path.name, "results": len(found.results), "why": why})
    for path in plans.files(folder):
        try:
            plans.load(path)
            rows.append({"file": path.name, "results": 0, "why": ""})
        except DataError as error:
            rows.append({"file": path.name, "results": 0, "why": str(error)})
    return rows


def collect(out: str | os.PathLike[str], folders: Sequence[str | os.PathLike[str]]) -> int:
    """Bring the results of several folders into one, with their provenance and plans; return how many were new there.

    Parameters
    ----------
    out : path-like
        Made if missing; results that it holds stay.
    folders : sequence of path-like

    Raises
    ------
    DataError
        If no folder is given or one is missing, a file was damaged, or two folders differ in a result. Nothing is
        written then.

    Examples
    --------
    >>> import tempfile
    >>> from superpose.studies import results, sweeps
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for name in "ab":
    ...         with results.writer(f"{folder}/{name}") as put:
    ...             put({name: "1"})
    ...     sweeps.collect(f"{folder}/all", [f"{folder}/a", f"{folder}/b"])
    ...     results.read(f"{folder}/all")
    2
    {'a': '1', 'b': '1'}
    """
    if not folders:
        raise DataError("no folder is given to collect from; expected OUT and one or more folders of results.")
    merged = results.Records({}, {}, {})
    places: dict[str, Path] = {}
    there = {path: results.records(path) for path in results.files(out)}
    given = {path: results.records(path) for folder in folders for path in results.files(_folder(folder))}
    all_plans = [plan for folder in folders for plan in plans.read(folder)]
    for path, found in (there | given).items():
        for key, content in found.results.items():
            if merged.results.setdefault(key, content) != content:
                cell = json.loads(found.origins.get(key, "{}")).get("cell", key)
                raise DataError(
                    f"{places[key]} and {path} differ in the result of {cell}; expected one result of a cell: delete "
                    "one of the files, or run with equal versions, kernels and threads. Nothing was written."
                )
            places.setdefault(key, path)
        for key, origin in found.origins.items():
            merged.origins.setdefault(key, origin)
        merged.runs.update(found.runs)
    new = merged.results.keys() - {key for found in there.values() for key in found.results}
    with results.writer(out) as put:
        for plan in all_plans:
            plans.keep(out, plan)
        origins = {key: merged.origins[key] for key in new & merged.origins.keys()}
        runs = {json.loads(origin).get("run", "") for origin in origins.values()} & merged.runs.keys()
        chosen = {key: content for key, content in merged.results.items() if key in new}
        put(chosen, origins, {run: merged.runs[run] for run in sorted(runs)})
    return len(new)


def _folder(folder: str | os.PathLike[str]) -> Path:
    path = Path(folder)
    if not path.is_dir():
        raise DataError(f"{path} is no folder; expected one that a study was run in (of a figure: OUT/cells).")
    return path


def _host(found: results.Records, key: str) -> str:
    run = json.loads(found.origins.get(key, "{}")).get("run", "")
    return str(json.loads(found.runs.get(run, "{}")).get("host", "unknown"))
