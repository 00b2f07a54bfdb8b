"""What is released: the files of the wheel, and an installation that has the core packages and none of the extras."""

import json
import os
import subprocess
import sys
import tarfile
import venv
import zipfile
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "superpose"
EXTRAS = {"transformers", "tokenizers", "onnx", "onnxruntime", "distributed", "dask_jobqueue", "h5py", "zarr", "xarray"}
ENVIRONMENT = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "MYPYPATH")}
USER = """import superpose as sp

reveal_type(sp.analyse({}).sentences)
sp.analyse({}, permutations="many")
"""
LOAD = f"""
import importlib.util, json, pkgutil, superpose
for module in pkgutil.walk_packages(superpose.__path__, "superpose."):
    if module.name != "superpose.__main__":
        importlib.import_module(module.name)
for name in superpose.__all__:
    getattr(superpose, name)
absent = [name for name in {sorted(EXTRAS)} if importlib.util.find_spec(name) is None]
print(json.dumps([superpose.__version__, superpose.__file__, absent]))
"""

pytestmark = pytest.mark.slow


def run(*command, **options):
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, env=ENVIRONMENT, **options)


def build(kind, tree, folder):
    """Build offline, with the hatchling that is installed, and return the file."""
    built = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", folder],
        cwd=tree,
        capture_output=True,
        text=True,
    )
    assert built.returncode == 0, built.stderr
    (path,) = folder.iterdir()
    return path


def contents(wheel):
    with zipfile.ZipFile(wheel) as file:
        return {name: file.read(name) for name in file.namelist()}


def core_packages():
    """Return the names of the packages that superpose needs without extras, and of those that these need."""
    needed, names = ["superpose"], set()
    while needed:
        for line in metadata.requires(needed.pop()) or ():
            requirement = Requirement(line)
            name = requirement.name.lower().replace("_", "-")
            if name not in names and (requirement.marker is None or requirement.marker.evaluate({"extra": ""})):
                names.add(name)
                needed.append(name)
    return names


def link(name, site):
    """Link the files of an installed package into another environment."""
    for file in metadata.distribution(name).files:
        top = file.parts[0]
        if top not in ("..", "__pycache__") and not (site / top).exists():
            (site / top).symlink_to(
                file.locate().parents[len(file.parts) - 2] if len(file.parts) > 1 else file.locate()
            )


@pytest.fixture(scope="module")
def sdist(tmp_path_factory):
    return build("sdist", ROOT, tmp_path_factory.mktemp("sdist"))


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    return build("wheel", ROOT, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def core(wheel, tmp_path_factory):
    """The programs of an environment that holds the wheel and the core packages of this one, and nothing else."""
    folder = tmp_path_factory.mktemp("core")
    venv.create(folder, symlinks=True)
    (site,) = folder.glob("lib/python*/site-packages")
    for name in core_packages():
        link(name, site)
    python = folder / "bin" / "python"
    installed = run(sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index", wheel)
    assert installed.returncode == 0, installed.stderr
    return folder / "bin"


def test_the_wheel_holds_the_package_and_nothing_else(wheel):
    own = {path.relative_to(SOURCE.parent).as_posix() for path in SOURCE.rglob("*") if path.is_file()}
    own = {name for name in own if "__pycache__" not in name}
    assert {f"superpose/{name}" for name in ("py.typed", "__init__.pyi", "report/page.html", "report/page.js")} <= own
    held = set(contents(wheel))
    described = {name for name in held if name.split("/")[0].endswith(".dist-info")}
    assert held - described == own
    assert any(name.endswith("licenses/LICENSE") for name in described)


def test_the_source_archive_builds_the_same_wheel(sdist, wheel, tmp_path):
    with tarfile.open(sdist) as file:
        file.extractall(tmp_path, filter="data")
    (tree,) = tmp_path.iterdir()
    assert {"LICENSE", "README.md", "CITATION.cff", "tests", "docs"} <= {path.name for path in tree.iterdir()}
    assert not list(tree.rglob("*.pyc"))
    (tmp_path / "again").mkdir()
    assert contents(build("wheel", tree, tmp_path / "again")) == contents(wheel)


def test_every_module_loads_without_extras(core, tmp_path):
    done = run(core / "python", "-c", LOAD, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    version, file, absent = json.loads(done.stdout)
    assert version == metadata.version("superpose")
    assert Path(file).is_relative_to(core.parent)
    assert set(absent) == EXTRAS


def test_the_command_compares_two_files(core, tmp_path):
    assert metadata.version("superpose") in run(core / "superpose", "--version").stdout
    draw = np.random.default_rng(0)
    x = draw.normal(size=(60, 4))
    np.save(tmp_path / "a.npy", x)
    np.save(tmp_path / "b.npy", x @ np.linalg.qr(draw.normal(size=(4, 4)))[0])
    command = (core / "superpose", "compare", "a.npy", "b.npy", "--raw", "--json", "--out", "out")
    done = run(*command, "--metrics", "cka", "--permutations", "0", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["table"][0]["score"] == pytest.approx(1)
    assert (tmp_path / "out" / "report.html").stat().st_size > 0


def test_a_user_s_script_sees_the_types(core, tmp_path):
    (tmp_path / "script.py").write_text(USER)
    checked = run(
        *(sys.executable, "-m", "mypy", "--python-executable", core / "python", "--cache-dir", tmp_path / "cache"),
        *("--config-file", os.devnull, "script.py"),
        cwd=tmp_path,
    )
    assert 'script.py:3: note: Revealed type is "list[str]"' in checked.stdout
    assert 'script.py:4: error: Argument "permutations"' in checked.stdout
    assert "Found 1 error in 1 file" in checked.stdout


@pytest.mark.parametrize(
    ("extra", "arguments"),
    [
        ("recordings", "compare a.h5 a.npy --out out"),
        ("recordings", "compare a.zarr a.npy --out out"),
        ("models", "extract model a.npy --layers resid_post --out out"),
        ("models", "extract model.onnx a.npy --layers x --out out"),
        ("cluster", "reproduce figure1 --scale smoke --engine dask:1 --out out"),
    ],
)
def test_what_needs_an_extra_says_how_to_install_it(core, tmp_path, extra, arguments):
    np.save(tmp_path / "a.npy", np.zeros((9, 2)))
    (tmp_path / "a.h5").write_bytes(b"\x89HDF\r\n\x1a\n")
    (tmp_path / "a.zarr").mkdir()
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text('{"model_type": "bert"}')
    (tmp_path / "model.onnx").write_bytes(b"")
    refused = run(core / "superpose", *arguments.split(), cwd=tmp_path)
    assert refused.returncode == 2, refused.stderr
    assert f'pip install "superpose[{extra}]"' in refused.stderr
    assert refused.stderr.count("\n") == 1
