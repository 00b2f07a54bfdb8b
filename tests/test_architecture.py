"""The shape of the package: imports run one way, `import superpose` is light, and every public name is there."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import superpose

SOURCE = Path(superpose.__file__).parent
ROOT = Path(__file__).parent.parent
STUB = ast.parse((SOURCE / "__init__.pyi").read_text())
PUBLIC = [name.asname or name.name for node in STUB.body if isinstance(node, ast.ImportFrom) for name in node.names]
HEAVY = ("torch", "pandas", "matplotlib", "altair", "scipy", "sklearn", "transformers", "onnxruntime", "pyarrow")


def python(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()


@pytest.mark.slow
def test_imports_run_one_way():
    linter = Path(sys.executable).with_name("lint-imports")
    result = subprocess.run([linter, "--no-cache"], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "1 kept, 0 broken" in result.stdout


def test_nothing_inside_imports_the_package_itself():
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{path.name}:{node.lineno} imports relatively"
                assert node.module != "superpose", f"{path.name}:{node.lineno} imports from superpose itself"
            if isinstance(node, ast.Import):
                assert "superpose" not in [name.name for name in node.names], f"{path.name}:{node.lineno}"


def test_what_a_result_depends_on_is_passed():
    """Context variables say who hears of progress, where large arrays lie, and which of two equal products is taken."""
    holders = {
        path.relative_to(SOURCE).as_posix() for path in SOURCE.rglob("*.py") if "ContextVar(" in path.read_text()
    }
    assert holders == {"recordings/unpacking.py", "numerics/products.py"}


def test_importing_superpose_is_light():
    loaded = python(f"import sys, superpose; print(*[m for m in {HEAVY} if m in sys.modules])")
    assert loaded == []


def test_metrics_and_comparison_do_not_need_torch_or_drawing():
    loaded = python(
        "import sys, superpose; superpose.cka, superpose.regression, superpose.compare; "
        "print(*[m for m in ('torch', 'matplotlib', 'altair', 'sklearn') if m in sys.modules])"
    )
    assert loaded == []


def test_the_command_line_imports_late():
    loaded = python("import sys, superpose.cli; print(*[m for m in ('torch', 'matplotlib') if m in sys.modules])")
    assert loaded == []


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_name_resolves(name):
    assert getattr(superpose, name) is not None
    assert name in dir(superpose)
    assert name in superpose.__all__


def test_what_is_no_code_lies_beside_it():
    """Types are announced, and the report's page, style and script are files of the package."""
    assert (SOURCE / "py.typed").is_file()
    assert {path.suffix for path in (SOURCE / "report").iterdir()} >= {".html", ".css", ".js"}


def test_public_names_are_the_stub_s():
    assert set(superpose.__all__) == set(PUBLIC)
    assert superpose.__version__.count(".") == 2
    with pytest.raises(AttributeError, match="No superpose attribute nothing"):
        _ = superpose.nothing


def test_every_raised_message_is_matched_by_a_test():
    """Of the modules tested beside this one: the words of each `raise` occur in a test's `match`."""
    modules = [f"metrics/{m}" for m in MEASURES]
    for room in ("arrays", "moments", "statistics", "comparison"):
        modules += [f"{room}/{path.stem}" for path in (SOURCE / room).glob("*.py")]
    tests = " ".join(path.read_text() for path in Path(__file__).parent.rglob("test_*.py")).replace("\\", "")
    for module in modules:
        for node in ast.walk(ast.parse((SOURCE / f"{module}.py").read_text())):
            if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
                words = constant_words(node.exc.args[0])
                assert any(w in tests for w in words), f"{module}:{node.lineno}: no test matches {words}"


MEASURES = ("cka", "kernels", "metric", "prediction", "regression", "rsa", "shape", "splits")


def constant_words(message):
    """Every run of three words of the fixed parts of a message."""
    parts = [n.value for n in ast.walk(message) if isinstance(n, ast.Constant) and isinstance(n.value, str)]
    words = [part.split() for part in parts]
    return [" ".join(run[i : i + 3]) for run in words for i in range(len(run) - 2)]
