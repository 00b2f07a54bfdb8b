"""What a command says of its options: in its own words, with what was meant, and before any work is done."""

import pickle

import numpy as np
import pytest

import superpose as sp
from superpose import cli
from superpose.arrays import meant
from superpose.files import DataError, StorageError, argument, in_python, on_command_line


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    draw = np.random.default_rng(0)
    for name, rows in (("A", 60), ("B", 60), ("C", 60), ("short", 50), ("nine", 9)):
        np.save(f"{name}.npy", draw.normal(size=(rows, 4)))
    np.save("labels.npy", np.arange(59))
    return tmp_path


COMPARE, TRAIN = "compare A.npy B.npy --out results", "train A.npy --out results"
REPRODUCE = "reproduce {} --scale smoke --out results"
SAID = {
    f"{COMPARE} --fit pairwize": "--fit is 'pairwize'; expected one of .* Did you mean 'pairwise'?",
    f"{COMPARE} --mode detachd": "--mode is 'detachd'; expected one of .* Did you mean 'detached'?",
    f"{COMPARE} --controls shufled_fit": "--controls is 'shufled_fit'; expected one of .* Did you mean 'shuffled_fit'?",
    f"{COMPARE} --controls within_labels": "the control 'within_labels' needs one label per row; give --label",
    f"{COMPARE} --raw --cv 1": r"--cv is 1; expected an integer of at least 2\.$",
    f"{COMPARE} --raw --cv 1 --dry-run": "--cv is 1; expected an integer of at least 2",
    f"{COMPARE} --raw --cv 99": r"60 samples are too few for 99 folds; expected at least two a fold. Lower --cv\.$",
    f"{COMPARE} --test 2": r"--test is 2.0; expected a share between 0 and 1\.$",
    f"{COMPARE} --permutations -1": "--permutations is -1; expected an integer of at least 0",
    f"{COMPARE} --raw --permutations -1": "--permutations is -1; expected an integer of at least 0",
    f"{COMPARE} --seed -1": "--seed is -1; expected an integer of at least 0",
    f"{COMPARE} --interval-samples 1": r"--interval-samples is 1; expected an integer of at least 2, or all\.$",
    f"{COMPARE} --memory 3XB": "--memory is '3XB'; expected a number of bytes, or text such as 512MB",
    f"{COMPARE} --engine locall:2": "--engine is 'locall:2'; expected 'serial', or 'local:N'",
    f"{COMPARE} --latents 0": "--latents is 0; expected a positive integer",
    f"{COMPARE} --latents 8 --active 9": "--active is 9 of 8 latents; expected at most that many",
    f"{COMPARE} --steps 0": "--steps is 0; expected a positive integer",
    f"{COMPARE} --seeds 0": "--seeds is 0; expected a positive integer",
    f"{COMPARE} --groups labels.npy": r"--groups has shape \(59,\); expected one label per sample",
    f"{COMPARE} --labels labels.npy": r"--labels has shape \(59,\); expected one label per sample",
    f"{COMPARE} --fits all": "Unknown option: --fits. Did you mean --fit?",
    "compare A.npy short.npy --out results": "A has 60 samples and short has 50; .* Files that label their stimuli are",
    "comparee A.npy B.npy": 'Unknown command "comparee". Did you mean "compare"?',
    "contrast A.npy B.npy C.npy --target a": "--target is 'a'; expected .* there are A, B, C. Did you mean 'A'?",
    "contrast A.npy B.npy C.npy": r"--target is missing; expected the name of one of the files, without its ending\.$",
    "contrast A.npy B.npy C.npy --target A --interval-samples 1": "--interval-samples is 1; .* or all",
    "partition A.npy B.npy C.npy --target a": "--target is 'a'; expected .* there are A, B, C. Did you mean 'A'?",
    "partition A.npy B.npy C.npy --target A --metrics cka": "cka predicts nothing, .* expected regressions, such as",
    f"{TRAIN} --latents 0": "--latents is 0; expected a positive integer",
    f"{TRAIN} --latents 8 --active 9": "--active is 9 of 8 latents; expected at most that many",
    f"{TRAIN} --active 0": "expected a positive integer",
    f"{TRAIN} --batch 0": "--batch is 0; expected a positive integer",
    f"{TRAIN} --steps 0": "--steps is 0; expected a positive integer",
    f"{TRAIN} --learning-rate 0": "--learning-rate is 0.0; expected a positive number",
    f"{TRAIN} --seed -1": "--seed is -1; expected an integer of at least 0",
    f"{TRAIN} B.npy --joint detachd": "--joint is 'detachd'; expected one of .* Did you mean 'detached'?",
    "train A.npy short.npy --joint cross --out results": "A has 60 samples and short has 50; every system must",
    f"{REPRODUCE.format('figure2')} --distribution unform": "--distribution is 'unform'; .* Did you mean 'uniform'?",
    f"{REPRODUCE.format('figure2')} --active 100 --latents 10": "--active is 100 with 10 latents; expected active",
    f"{REPRODUCE.format('figure2')} --shard 5/4": "--shard is '5/4'; expected 'i/N' with i from 1 to N",
    f"{REPRODUCE.format('figure2')} --reading centerd": 'Invalid value "centerd" for --reading. .* Did you mean "cen',
    f"{REPRODUCE.format('figure5')} --mode detachd": "--mode is 'detachd'; .* Did you mean 'detached'?",
    f"{REPRODUCE.format('figure5')} --preset papr": "--preset is 'papr'; .* Did you mean 'paper'?",
    f"{REPRODUCE.format('figure5')} --inputs languag": "--inputs is 'languag'; .* Did you mean 'language'?",
    f"{REPRODUCE.format('samples')} --distribution gausian": "--distribution is 'gausian'; .* Did you mean 'gaussian'?",
    "reproduce figure22 --out results": 'Unknown command "figure22". Did you mean "figure2"?',
    "sweep statuss x": 'Unknown command "statuss". Did you mean "status"?',
} | {
    f"{REPRODUCE.format(figure)} --entries gausian": "--entries is 'gausian'; .* Did you mean 'gaussian'?"
    for figure in ("figure1", "figure2", "rdms", "width")
} | {
    f"{REPRODUCE.format(figure)} --distribution sined": "--distribution is 'sined'; .* Did you mean 'signed'?"
    for figure in ("figure1", "figure3", "recovery", "rdms", "width")
}


@pytest.mark.parametrize("command", SAID)
def test_options_are_named_as_the_command_spells_them(here, capsys, command):
    import re

    assert cli.main(command.split()) == 2
    said = capsys.readouterr().err
    assert re.search(SAID[command].replace("?", r"\?"), said), said
    assert said.startswith("superpose: ")
    assert said.count("\n") == 1
    assert not (here / "results").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"cv": 1}, "^cv is 1; expected an integer of at least 2, or None to score in-sample.$"),
        ({"interval_samples": 1}, "^interval_samples is 1; expected an integer of at least 2, or None for all.$"),
        ({"groups": np.zeros(3)}, r"^groups has shape \(3,\); expected one label per sample"),
    ],
)
def test_arguments_are_named_as_python_spells_them(options, words):
    x = np.random.default_rng(0).normal(size=(60, 4))
    with pytest.raises(DataError, match=words):
        sp.compare({"x": x, "y": x[:, :3]}, **options)


def test_latents_that_would_fit(here, capsys):
    assert cli.main([*COMPARE.split(), "--latents", "40", "--steps", "1", "--permutations", "0"]) == 0
    said = "needs ≥ 80 training samples for 40 latents; have 48, for which at most 24 latents would fit"
    assert said in capsys.readouterr().out
    assert cli.main([*COMPARE.split(), "--latents", "24", "--steps", "1", "--permutations", "0", "--overwrite"]) == 0
    assert "needs ≥" not in capsys.readouterr().out


@pytest.mark.parametrize("kind", [DataError, StorageError])
def test_errors_keep_their_words_between_processes(kind):
    error = kind(f"{argument('folds')} is 1{in_python(', or None')}{on_command_line(', or all')}.")
    for one in (error, pickle.loads(pickle.dumps(error))):
        assert type(one) is kind
        assert str(one) == "folds is 1, or None."
        assert one.for_command({"folds": "--folds"}) == "--folds is 1, or all."
        assert one.for_command({}) == "folds is 1, or all."


def test_what_is_no_argument_is_no_option():
    assert argument("a layer") == "a layer"


def test_what_was_meant():
    assert meant("Pairwize", ("pairwise", "all")) == " Did you mean 'pairwise'?"
    assert meant("nothing alike", ("pairwise", "all")) == ""


def test_a_study_checks_all_cells_before_the_first(tmp_path):
    from superpose.paper.figure2 import measure
    from superpose.paper.simulation import checked

    same = {"latents": 16, "samples": 50, "active": 2, "draw": 0, "units": 4, "entries": "gaussian"}
    cells = [{**same, "distribution": name} for name in ("signed", "sined")]
    with pytest.raises(DataError, match=r"distribution is 'sined'; expected one of .* Did you mean 'signed'"):
        sp.Study("check", measure, cells, check=checked)
