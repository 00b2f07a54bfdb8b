"""English text and pictures that come with other software: no download, and the same wherever that is installed."""

from __future__ import annotations

import re
from pathlib import Path

from superpose.files import DataError, sha256

WORDNET = Path("/usr/share/wordnet")
CLIPART = Path("/usr/share/openclipart/png")
PARTS = ("noun", "verb", "adj", "adv")
CODE = re.compile(r"::=|>>>|[{}=|\\<>^~+#]{2}|\.\. ")


def python_help(most: int | None = None) -> list[str]:
    """Return the English sentences of `pydoc_data.topics`, Python's own help, without code and repetitions.

    The text changes with the Python version.

    Parameters
    ----------
    most : int, optional
        No further topic is read once there are so many sentences.

    Examples
    --------
    >>> from superpose.examples.corpora import python_help
    >>> len(python_help(50)) >= 50
    True
    """
    from pydoc_data.topics import topics

    found: dict[str, None] = {}
    for topic in sorted(topics):
        if most is not None and len(found) >= most:
            break
        for paragraph in re.split(r"\n\s*\n|\n\s*[*\-] ", topics[topic]):
            text = " ".join(paragraph.replace("*", "").split())
            found.update(dict.fromkeys(filter(_is_prose, re.split(r'(?<=[.!?:])\s+(?=[A-Z"(])', text))))
    return list(found)


def wordnet() -> list[str]:
    """Return WordNet's definitions of words, without its examples, each once.

    Raises
    ------
    DataError
        If WordNet's files are not where Debian's package wordnet-base puts them.

    References
    ----------
    Miller, G. A. (1995). WordNet: a lexical database for English. Communications of the ACM 38, 39-41.
    """
    found: dict[str, None] = {}
    for part in PARTS:
        file = WORDNET / f"data.{part}"
        if not file.is_file():
            raise DataError(f"{file} does not exist; install WordNet's files (Debian: apt-get install wordnet-base).")
        for line in file.read_text(encoding="latin-1").splitlines():
            entry, bar, gloss = line.partition(" | ")
            if bar and not entry.startswith(" "):
                found[gloss.split('; "')[0].strip()] = None
    return list(found)


def clipart() -> list[str]:
    """Return the paths in `CLIPART` of the drawings of the Open Clip Art Library, each once, in the order of SHA-256.

    The first folder of a path is what the drawing is about, such as animals. The order mixes them, and depends on the
    drawings alone.

    Raises
    ------
    DataError
        If the drawings are not where Debian's package openclipart-png puts them.
    """
    found = {sha256(file): file.relative_to(CLIPART).as_posix() for file in sorted(CLIPART.rglob("*.png"))}
    if not found:
        raise DataError(f"{CLIPART} holds no drawings; install them (Debian: apt-get install openclipart-png).")
    return [found[digest] for digest in sorted(found)]


def _is_prose(text: str) -> bool:
    plain = sum(letter.isalnum() or letter in " .,;:'\"()-’“”/" for letter in text)
    return bool(
        re.match(r'[A-Z"(].*[.:]$', text)
        and 4 <= len(text.split()) <= 90
        and plain >= 0.9 * len(text)
        and not CODE.search(text)
    )
