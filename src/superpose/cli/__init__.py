"""The command line: `superpose extract`, `compare`, `layers`, `contrast`, `train`, `encode` and the rest."""

from __future__ import annotations

import errno
import signal
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from typing import NoReturn

from cyclopts import App, CycloptsError

from superpose.cli.compare import compare
from superpose.cli.contrast import contrast, partition
from superpose.cli.demo import demo
from superpose.cli.doctor import doctor
from superpose.cli.encode import encode
from superpose.cli.extract import extract
from superpose.cli.features import features
from superpose.cli.layers import layers
from superpose.cli.options import options_of
from superpose.cli.train import train
from superpose.files import DataError, PartError, StorageError

PART_FAILED, BAD_INPUT, STORAGE_FULL, INTERRUPTED = 1, 2, 3, 130

app = App(
    name="superpose",
    help="Two neural systems look different: do they represent different things, or pack the same things differently?",
    help_format="markdown",
    help_epilogue="Example: superpose compare V1.npy layer3.npy --out results\n\n"
    "Exit status: 0 done; 1 part of the work failed; 2 bad input or usage; 3 storage full; 130 interrupted.",
    result_action="return_none",
    suppress_keyboard_interrupt=False,
)
app.command(
    compare,
    help_epilogue="Example: superpose compare V1.npy layer3.npy --groups photographs.npy --out results",
)
app.command(
    contrast,
    help_epilogue="Example: superpose contrast layer5.npy layer7.npy V4.npy --target V4 --out results",
)
app.command(
    partition,
    help_epilogue="Example: superpose partition shape.npy colour.npy V4.npy --target V4 --out results",
)
app.command(
    layers,
    help_epilogue="Example: superpose layers CLIP V4.nc --target V4 --out results",
)
app.command(features, help_epilogue="Example: superpose features V1.npy --out V1-features")
app.command(
    extract,
    help_epilogue="Example: superpose extract clip-vit-base pictures --layers resid_post --tokens cls --out CLIP",
)
app.command(train, help_epilogue="Example: superpose train V1.npy --latents 512 --active 16 --out dictionaries")
app.command(encode, help_epilogue="Example: superpose encode dictionaries/V1.safetensors V1.npy --out V1-latents.npy")
app.command(
    "superpose.cli.reproduce:app",
    name="reproduce",
    help="Reproduce a figure of the paper, or one beyond it: its table, its picture, and which claims hold.",
)
app.command(
    "superpose.cli.sweep:app",
    name="sweep",
    help="Inspect, verify and merge result folders.",
)
app.command(doctor, help_epilogue="Example: superpose doctor")
app.command(demo, help_epilogue="Example: superpose demo --out demo-results")
app.register_install_completion_command(help="Complete commands in bash, zsh or fish (adds a line to its file).")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line and return its exit status: bad input is one line on standard error, never a traceback."""
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        check_command(sys.argv[1:] if arguments is None else arguments)
        app(None if arguments is None else list(arguments), exit_on_error=False, print_error=False)
    except CycloptsError as error:
        return _fail(" ".join(str(error).split()), BAD_INPUT)
    except StorageError as error:
        return _fail(error.for_command(options_of(app, arguments)), STORAGE_FULL)
    except DataError as error:
        return _fail(error.for_command(options_of(app, arguments)), BAD_INPUT)
    except PartError as error:
        return _fail(str(error), PART_FAILED)
    except MemoryError as error:
        why = f" ({error})" if str(error) else ""
        return _fail(
            f"out of memory{why}; give it fewer samples or units, or ask for fewer scores at once", PART_FAILED
        )
    except KeyboardInterrupt:
        return _fail("interrupted; no file is half-written, and there is no run.json", INTERRUPTED)
    except BrokenPipeError:
        sys.stderr.close()
        return 0
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return _fail(
                f"no space left on the device ({error.filename or 'output'}); nothing was half-written", STORAGE_FULL
            )
        return _fail(f"{error.filename or 'output'}: {error.strerror or error}", BAD_INPUT)
    finally:
        signal.signal(signal.SIGTERM, before)
    return 0


def check_command(arguments: Sequence[str]) -> None:
    """Refuse a command that there is not, before those that are imported on demand are looked at.

    Raises
    ------
    DataError
        With the command that it comes nearest to.
    """
    commands = [name for name in app if not name.startswith("-")]
    if arguments and not arguments[0].startswith("-") and arguments[0] not in commands:
        near = get_close_matches(arguments[0].casefold(), commands, 1)
        meant = f' Did you mean "{near[0]}"?' if near else ""
        raise DataError(f'Unknown command "{arguments[0]}".{meant} Available commands: {", ".join(commands)}.')


def _interrupt(number: int, frame: object) -> NoReturn:
    raise KeyboardInterrupt


def _fail(message: str, status: int) -> int:
    print(f"superpose: {message}", file=sys.stderr)
    return status
