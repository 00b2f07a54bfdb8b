"""Mutated inputs: one line that names the file and the cause, or a sound reading; of what we write, nothing altered."""

import resource
import subprocess
import sys
import time
import warnings

import numpy as np
import pytest
from fuzz import KINDS, UNITS, damaged, equal, outcome
from proof import proved

from superpose.recordings import READERS

SECONDS = 120  # a guard against hanging: a refusal takes about two, whatever was done to the file
WHOLE = [name for name in KINDS if name not in ("checkpoint", "activation store", "results", "labels")]
every_kind = pytest.mark.parametrize("name", KINDS)


def numbers(read):
    return all(
        isinstance(x, str) or (np.asarray(x).dtype.kind in "fiubU" and np.asarray(x).size) for x in read.values()
    )


def processor():
    """Return the processor time of this process and those it started, since the machine may be at other work."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def fuzzed(name, folder, mutations):
    """Return how many of a kind's mutations were refused, read as what they were, and read as something else."""
    kind = KINDS[name]
    (folder / "sound").mkdir()
    intact = kind.read(kind.write(folder / "sound"))
    place = kind.write(folder / "sound").relative_to(folder / "sound")
    counts = {"refused": 0, "same": 0, "other": 0}
    for number in range(mutations // kind.share):
        file = damaged(folder / "m", folder / "sound", number)
        start = processor()
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            message, read = outcome(kind, folder / "m" / place)
        seconds = processor() - start
        assert seconds < SECONDS, f"{name}, mutation {number} of {file}: {seconds:.1f} s"
        if message is not None:
            counts["refused"] += 1
            assert "\n" not in message
            assert len(message) < 1000
            assert str(folder / "m") in message, f"{name}, mutation {number} of {file}: {message}"
        elif equal(read, intact):
            counts["same"] += 1
        else:
            assert numbers(read), f"{name}, mutation {number} of {file}"
            counts["other"] += 1
            assert not kind.checked, f"{name}, mutation {number} of {file} was read as something else, in silence"
    return counts


@every_kind
def test_mutated_inputs(name, tmp_path, capfd):
    counts = fuzzed(name, tmp_path, 64)
    assert counts["refused"] > 8 // KINDS[name].share
    assert capfd.readouterr() == ("", "")


@pytest.mark.slow
@pytest.mark.prove
def test_p3_fuzz(tmp_path):
    start, each = time.perf_counter(), 1000
    total = {"refused": 0, "same": 0, "other": 0}
    for name in KINDS:
        (tmp_path / name).mkdir()
        for outcome_of, count in fuzzed(name, tmp_path / name, each).items():
            total[outcome_of] += count
    ours = sum(kind.checked for kind in KINDS.values())
    proved(
        "P3",
        time.perf_counter() - start,
        formats=len(KINDS),
        ours=ours,
        mutations=sum(total.values()),
        refused=total["refused"],
        read_the_same=total["same"],
        foreign_read_otherwise=total["other"],
        silent_in_ours=0,
    )


def command(name, path, folder):
    """Return the arguments that read an input of this kind."""
    x = folder / "x.npy"
    np.save(x, np.random.default_rng(1).normal(size=(40, UNITS)))
    if path.suffix in READERS.keys() - {".safetensors"} or name == "safetensors":
        partner = KINDS[name].write(folder / "partner")
        raw = ("--raw", "--permutations", "9", "--cv", "2")
        return ["compare", path, partner.rename(partner.with_stem("other")), *raw, "--out", folder / "out"]
    return ["encode", path, x, "--out", folder / "codes.npy"]


def run(*arguments):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-m", "superpose", *map(str, arguments)], capture_output=True, text=True, timeout=120
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return done, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def whole_commands(folder, runs):
    """Return how many commands refused a mutated input, and how many took it; check what they said."""
    # What it takes to start and to refuse at all; in processor time, since the machine may be at other work.
    absent = (
        ["compare", "absent.npy", "b.npy", "--out", "o"],
        ["encode", "absent.safetensors", "x.npy", "--out", "o.npy"],
    )
    starting = max(run(*arguments)[1] for arguments in absent)
    statuses = []
    for number in range(runs):
        name = WHOLE[number % len(WHOLE)]
        here = folder / str(number)
        for part in ("sound", "partner"):
            (here / part).mkdir(parents=True)
        place = KINDS[name].write(here / "sound").relative_to(here / "sound")
        file = damaged(here / "m", here / "sound", number)
        done, seconds = run(*command(name, here / "m" / place, here))
        said = f"{name}, mutation {number} of {file}: {done.returncode}, {seconds:.1f} s\n{done.stderr}"
        assert done.returncode in (0, 2), said
        assert "Traceback" not in done.stderr, said
        if done.returncode == 2:
            assert done.stderr.count("\n") == 1, said
            assert done.stderr.startswith("superpose: "), said
            assert str(here / "m") in done.stderr or place.stem in done.stderr, said
            assert seconds < starting + SECONDS, said
            assert not (here / "out").exists(), said
            assert not (here / "codes.npy").exists(), said
        statuses.append(done.returncode)
    return statuses.count(2), statuses.count(0)


@pytest.mark.slow
def test_whole_commands(tmp_path):
    refused, taken = whole_commands(tmp_path, 4)
    assert refused + taken == 4


@pytest.mark.slow
@pytest.mark.prove
def test_p3_whole_commands(tmp_path):
    start = time.perf_counter()
    refused, taken = whole_commands(tmp_path, 100)
    proved("P3 commands", time.perf_counter() - start, commands=refused + taken, refused=refused, taken=taken)
    assert refused > 20
