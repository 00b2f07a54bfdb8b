"""Killed before and after every change to the disk: what is read is the old or the new; going on ends alike."""

import os
import platform
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from crash import traced
from proof import proved

from superpose import store
from superpose.dictionaries import checkpoints
from superpose.dictionaries.sae import SparseAutoencoder, load, save
from superpose.dictionaries.sparsity import TopK
from superpose.files import DataError, whole
from superpose.studies import results

pytestmark = pytest.mark.skipif(
    (sys.platform, platform.machine()) != ("linux", "x86_64"), reason="system calls are traced by their x86-64 numbers"
)


@dataclass(frozen=True)
class Work:
    """What a process does that may die: from a folder that `prepare` made, `do` writes, and `read` reads it."""

    prepare: Callable[[Path], object]
    do: Callable[[Path], object]
    read: Callable[[Path], Any]


def note(folder, text):
    with whole(folder / "note.txt") as temporary:
        temporary.write_text(text)


def put(folder, *names):
    with results.writer(folder) as keep:
        keep({name: f"content of {name}" * 500 for name in names})


def chunk(i):
    rng = np.random.default_rng(i)
    return {"layer": rng.normal(size=(3 + i, 4)).astype(np.float16), "labels": rng.integers(9, size=3 + i)}


def build(folder, chunks=chunk):
    store.build(folder / "store", {"seed": 3}, 2, chunks)


def built(folder):
    """Return what a store holds: nothing, some chunks of a sound manifest, or its arrays."""
    if not (folder / "store/manifest.json").exists():
        return None
    manifest = store._load(folder / "store")
    if not manifest["arrays"]:
        return sorted(manifest["shards"])
    return {name: array.tobytes() for name, array in store.read(folder / "store").items()}


def harm(folder):
    build(folder)
    file = folder / "store/layer.npy"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)


def mended(folder):
    """Return what a store holds, or that it says that it is damaged."""
    try:
        return built(folder)
    except DataError as error:
        return str(error).removeprefix(str(folder))


def sae(seed):
    return SparseAutoencoder(4, 6, TopK(2), generator=torch.Generator().manual_seed(seed))


def parameters(folder):
    return {name: tensor.numpy().tobytes() for name, tensor in load(folder / "sae.safetensors").state_dict().items()}


def checkpoint(folder, step):
    checkpoints.write(folder / "run.safetensors", {"step": torch.tensor(step), "m": torch.ones(50)}, {"seed": "0"})


def progress(folder):
    return {k: v.numpy().tobytes() for k, v in checkpoints.read(folder / "run.safetensors", {"seed": "0"}).items()}


WORKS = {
    "a whole file": Work(
        lambda f: note(f, "old"), lambda f: note(f, "new" * 9999), lambda f: (f / "note.txt").read_text()
    ),
    "first results": Work(lambda f: None, lambda f: put(f, "a", "b"), results.read),
    "more results": Work(lambda f: put(f, "a", "b"), lambda f: put(f, "c", "d"), results.read),
    "an activation store": Work(lambda f: None, build, built),
    "a store that is mended": Work(harm, build, mended),
    "a dictionary": Work(
        lambda f: save(sae(0), f / "sae.safetensors"), lambda f: save(sae(1), f / "sae.safetensors"), parameters
    ),
    "a checkpoint": Work(lambda f: checkpoint(f, 1), lambda f: checkpoint(f, 2), progress),
}


def contents(folder):
    """Return the bytes of every file of text or arrays; others lay equal content out in several ways."""
    files = sorted(path for path in folder.rglob("[!.]*") if path.suffix in (".txt", ".npy", ".json"))
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def allowed(name, before, after, read):
    if name == "an activation store":
        return read in (before, after, [], ["0"], ["0", "1"])
    return read in (before, after)


def crashes(name, folder, points):
    """Die at each of `points(changes)`, before and after; return how many deaths there were, and of what kinds."""
    work = WORKS[name]
    for part in ("start", "end"):
        (folder / part).mkdir()
        work.prepare(folder / part)
    before = work.read(folder / "start")
    changes = traced(lambda: work.do(folder / "end"), folder / "end")
    after, finished = work.read(folder / "end"), contents(folder / "end")
    assert before != after
    deaths, outcomes = 0, set()
    for at in points(len(changes)):
        for late in (False, True):
            here = folder / "here"
            shutil.rmtree(here, ignore_errors=True)
            shutil.copytree(folder / "start", here)
            seen = traced(lambda: work.do(here), here, at=at, after=late)  # noqa: B023
            assert seen == changes[: at + 1]
            read = work.read(here)
            assert allowed(name, before, after, read), f"{name}: died at {at} ({changes[at]}), read {read!r:.200}"
            outcomes.add(str(read))
            work.do(here)
            assert work.read(here) == after, f"{name}: died at {at} ({changes[at]})"
            assert contents(here) == finished
            deaths += 1
    assert str(before) in outcomes
    return deaths, set(changes), outcomes


def some(changes):
    return sorted({0, 1, changes // 3, changes // 2, changes - 2, changes - 1})


@pytest.mark.filterwarnings("ignore:.*is missing or is not what was written")
@pytest.mark.parametrize("name", WORKS)
def test_death_at_some_changes(name, tmp_path):
    deaths, kinds, outcomes = crashes(name, tmp_path, some)
    assert deaths >= 10
    assert kinds >= {"write" if "results" not in name else "pwrite64", "open"}
    assert len(outcomes) >= 2


@pytest.mark.slow
@pytest.mark.prove
@pytest.mark.filterwarnings("ignore:.*is missing or is not what was written")
def test_p1b_death_at_every_change(tmp_path):
    start, deaths, kinds = time.perf_counter(), 0, set()
    for name in WORKS:
        (tmp_path / name).mkdir()
        died, of, _ = crashes(name, tmp_path / name, range)
        deaths += died
        kinds |= of
    assert kinds >= {"write", "fsync", "rename", "open", "unlink"}
    proved(
        "P1b", time.perf_counter() - start, works=len(WORKS), crash_points=deaths, half_written=0, resumed_otherwise=0
    )


def test_what_is_traced_is_what_is_done(tmp_path):
    def work():
        os.mkdir(tmp_path / "a")
        (tmp_path / "a/b").write_text("x")
        os.rename(tmp_path / "a/b", tmp_path / "a/c")
        os.unlink(tmp_path / "a/c")

    assert traced(work, tmp_path) == ["mkdir", "open", "write", "rename", "unlink"]
    shutil.rmtree(tmp_path / "a")
    traced(work, tmp_path, at=2)
    assert (tmp_path / "a/b").read_text() == ""
    shutil.rmtree(tmp_path / "a")
    traced(work, tmp_path, at=2, after=True)
    assert (tmp_path / "a/b").read_text() == "x"
