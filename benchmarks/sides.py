"""Two sides of a benchmark, ours and the peers', each in a process that answers one request at a time."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import platform
import subprocess
import sys
import sysconfig
import tempfile
import venv
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any


class Worker:
    """A process of a script that does one side's work on request."""

    def __init__(self, python: str, script: Path, who: str) -> None:
        command = [python, "-W", "ignore", str(script), "--serve", who]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, name: str, **arguments: Any) -> Any:
        """Return what the process answers to a name and its arguments."""
        assert self.process.stdin
        assert self.process.stdout
        print(json.dumps([name, arguments]), file=self.process.stdin, flush=True)
        answer = self.process.stdout.readline()
        if not answer:
            raise SystemExit(f"a worker ended early while asked for {name} {arguments}")
        return json.loads(answer)

    def close(self) -> None:
        """Let the process end."""
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait()


def serve(side: Callable[[str], Callable[..., Any]], who: str) -> None:
    """Answer each line of standard input, a name and its arguments, by a line."""
    # What a package prints, while it is imported or later, must not be taken for an answer.
    answers, sys.stdout = sys.stdout, sys.stderr
    answer = side(who)
    for line in sys.stdin:
        name, arguments = json.loads(line)
        print(json.dumps(answer(name, **arguments)), file=answers, flush=True)


def peers_python(folder: str | None, requirements: Path) -> str:
    """Return the interpreter of the peers' virtual environment, made and filled if it is not there."""
    digest = hashlib.sha256(requirements.read_bytes()).hexdigest()[:12]
    home = Path(folder) if folder else Path(tempfile.gettempdir()) / f"superpose-{requirements.stem}-{digest}"
    python = home / "bin" / "python"
    if not folder and not (home / "complete").exists():
        print(f"installing the peers into {home}", flush=True)
        venv.create(home, with_pip=True, clear=True)
        # torch and what else is here already is shared: the same build for both sides, and no second copy.
        (home / "lib" / f"python{sysconfig.get_python_version()}" / "site-packages" / "shared.pth").write_text(
            sysconfig.get_path("purelib") + "\n"
        )
        install = [python, "-m", "pip", "install", "--quiet", "--no-deps", "--no-compile", "-r", requirements]
        subprocess.run(install, check=True)
        (home / "complete").touch()
    if not python.exists():
        raise SystemExit(f"{python} does not exist; expected a virtual environment with {requirements.name}")
    return str(python)


def versions(packages: Iterable[str]) -> dict[str, str]:
    """Return the versions of this interpreter and of those packages that are installed beside it."""
    known = {"python": platform.python_version()}
    for package in packages:
        try:
            known[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return known
