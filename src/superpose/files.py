"""Whole-file writes, digests, and the errors that the command line turns into an exit status."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

_GROWTH = 2**16
_HEAD = 2**10


# What marks, in a message, the name of an argument and words for one kind of caller: characters of private use.
_ARGUMENT, _PYTHON, _COMMAND = ("\ue000", "\ue001"), ("\ue002", "\ue003"), ("\ue004", "\ue005")


def argument(name: str) -> str:
    """Return the name of an argument for a `DataError`, which a command shows as its own option."""
    return name.join(_ARGUMENT) if name.isidentifier() else name


def in_python(words: str) -> str:
    """Return words of a `DataError` that hold for calls in Python alone."""
    return words.join(_PYTHON)


def on_command_line(words: str) -> str:
    """Return words of a `DataError` that hold for commands alone."""
    return words.join(_COMMAND)


def _spoken(message: str, kept: tuple[str, str], left_out: tuple[str, str], options: Mapping[str, str]) -> str:
    first, last = left_out
    message = re.sub(f"{first}[^{last}]*{last}", "", message)
    first, last = _ARGUMENT
    message = re.sub(f"{first}([^{last}]*){last}", lambda found: options.get(found[1], found[1]), message)
    return re.sub("|".join(kept), "", message)


class DataError(ValueError):
    """Invalid input: one line that says what was expected, what was given, and what to do.

    The command line prints it without a traceback and exits with status 2. A message may mark the names of arguments
    (`argument`) and words for one kind of caller (`in_python`, `on_command_line`): its text is that for Python, and
    `for_command` gives it in the terms of a command.

    Examples
    --------
    >>> from superpose.files import DataError, argument, in_python
    >>> error = DataError(f"{argument('folds')} is 1; expected at least 2{in_python(', or None')}.")
    >>> str(error), error.for_command({"folds": "--folds"})
    ('folds is 1; expected at least 2, or None.', '--folds is 1; expected at least 2.')
    """

    def __init__(self, message: str = "") -> None:
        super().__init__(_spoken(message, _PYTHON, _COMMAND, {}))
        self.message = message

    def __reduce__(self) -> tuple[type[DataError], tuple[str]]:
        return type(self), (self.message,)

    def for_command(self, options: Mapping[str, str]) -> str:
        """Return the message in the terms of a command, of which `options` spells the arguments."""
        return _spoken(self.message, _COMMAND, _PYTHON, options)


class StorageError(DataError):
    """Input that needs more room on a disk than there is. The command line exits with status 3."""


class PartError(RuntimeError):
    """Part of the work failed, named in one line; what succeeded is kept. The command line exits with status 1."""


@contextmanager
def whole(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it becomes `path`, on any error it is removed.

    The bytes are flushed to the disk before the rename and the directory after it, so that a reader, or a
    machine that loses power, sees the whole file or none of it.

    Parameters
    ----------
    path : path-like
        Where the finished file belongs. Its directory must exist.

    Yields
    ------
    pathlib.Path
        An empty temporary file in the same directory, to be written by the caller.

    Raises
    ------
    OSError
        Where the disk is full, with its number (ENOSPC, EDQUOT) and `path`, whatever words the writer had for it.

    Examples
    --------
    >>> import tempfile
    >>> from superpose.files import whole
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with whole(f"{folder}/note.txt") as temporary:
    ...         _ = temporary.write_text("done")
    ...     sorted(os.listdir(folder))
    ['note.txt']
    """
    final = Path(path)
    handle, name = tempfile.mkstemp(prefix=f".{final.name}.", suffix=f".partial{final.suffix}", dir=final.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with open(temporary, "rb") as written:
            os.fsync(written.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, final)
        _sync_directory(final.parent)
    except Exception as error:
        # Libraries say "4096 requested and 2016 written", or "(os error 28)", where the system has a number for it.
        if full := _full(error, temporary):
            raise OSError(full, os.strerror(full), os.fspath(final)) from error
        raise
    finally:
        temporary.unlink(missing_ok=True)


def check_utf8(path: str | os.PathLike[str]) -> None:
    """Raise a DataError if a file of text is in UTF-16 or UTF-32, as spreadsheets save "Unicode text"."""
    with open(path, "rb") as source:
        head = source.read(_HEAD)
    if head.startswith((b"\xff\xfe", b"\xfe\xff", b"\x00\x00\xfe\xff")) or b"\x00" in head:
        raise DataError(f"{path} is not text in UTF-8, but in UTF-16 or none; save it as UTF-8.")


def lines(path: str | os.PathLike[str]) -> list[str]:
    """Return the lines of a file of text, whatever system wrote it, without byte-order mark and line ends.

    A line ends with a line feed, a carriage return or both, and nowhere else: form feeds and Unicode's separators
    (U+0085, U+2028) stay inside.

    Raises
    ------
    DataError
        If it is not text in UTF-8.

    Examples
    --------
    >>> import tempfile
    >>> from superpose.files import lines
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = Path(f"{folder}/a.txt").write_bytes(b"\\xef\\xbb\\xbfone\\r\\ntwo\\n")
    ...     lines(f"{folder}/a.txt")
    ['one', 'two']
    """
    check_utf8(path)
    try:
        text = Path(path).read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not text in UTF-8 ({error}); save it as UTF-8.") from None
    found = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return found if found[-1] else found[:-1]


def sha256(path: str | os.PathLike[str]) -> str:
    """Return the SHA-256 digest of a file's bytes, in hexadecimal."""
    with open(path, "rb") as source:
        return hashlib.file_digest(source, "sha256").hexdigest()


def sha256_of_folder(folder: str | os.PathLike[str]) -> str:
    """Return the SHA-256 digest of what sha256sum says of every file of a folder, in the order of their names."""
    files = sorted((path.relative_to(folder).as_posix(), path) for path in Path(folder).rglob("*") if path.is_file())
    said = "".join(f"{sha256(path)}  {name}\n" for name, path in files)
    return hashlib.sha256(said.encode()).hexdigest()


def _full(error: Exception, file: Path) -> int:
    """Return the system's number for a full disk, or quota, if that is behind an error of writing; 0 otherwise."""
    said = re.search(r"\(os error (\d+)\)", str(error))
    number = int(said[1]) if said else _refusal(file)
    return number if number in (errno.ENOSPC, errno.EDQUOT) else 0


def _refusal(file: Path) -> int:
    """Return the system's number for why a file cannot grow, 0 if it can."""
    try:
        with open(file, "ab") as out:
            out.write(bytes(_GROWTH))
            out.flush()
            os.fsync(out.fileno())
    except OSError as error:
        return error.errno or 0
    return 0


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _sync_directory(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
