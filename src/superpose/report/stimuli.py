"""What samples are, as a page shows them: a small picture in a file beside it, or a text with one word marked."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Mapping
from html import escape
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from superpose.files import DataError, whole
from superpose.report.cells import Row

# Pixels of the longer edge, quality of the compression, and thumbnails of a page at most.
EDGE, QUALITY, MOST = 96, 70, 2_000
# Letters of a text that are shown before and behind what is marked.
AROUND = 28


class Passage(NamedTuple):
    """A text, and from which letter to which, counted from 0, it is marked; `start` = `end` marks nothing."""

    text: str
    start: int = 0
    end: int = 0


class Thumbnail(NamedTuple):
    """A small picture: its name, its file relative to the page, and its size in pixels."""

    name: str
    file: str
    width: int
    height: int


class Kept(NamedTuple):
    """The number of what stands elsewhere on the page, where the script takes it from."""

    number: int


Shown = Callable[[str], Passage | Thumbnail | None]


def thumbnails(stimuli: Mapping[str, Path | Passage], page: Path) -> Shown:
    """Return what shows a sample by its name, writing the thumbnails that are asked for to a folder beside a page.

    A picture that cannot be read, and all beyond the first `MOST`, are shown by name. Thumbnails that an earlier page
    left in the folder are removed.

    Parameters
    ----------
    stimuli : mapping of str to pathlib.Path or Passage
        The picture file or the text of each sample.
    page : pathlib.Path
        The page that will show them.
    """
    folder = page.with_name(f"{page.stem}-files")
    for file in folder.glob("*.webp") if folder.is_dir() else ():
        if re.fullmatch(r"\d{4}\.webp", file.name):
            file.unlink()
    made: dict[str, Thumbnail | None] = {}

    def shown(name: str) -> Passage | Thumbnail | None:
        stimulus = stimuli.get(name)
        if not isinstance(stimulus, Path):
            return stimulus
        if name not in made and len(made) < MOST:
            made[name] = _thumbnail(name, stimulus, folder / f"{len(made):04d}.webp")
        return made.get(name)

    return shown


def _thumbnail(name: str, picture: Path, file: Path) -> Thumbnail | None:
    from superpose.models.pictures import upright

    try:
        # What is odd about a picture was said when it was read for good.
        with warnings.catch_warnings(action="ignore"):
            small = upright(picture)
    except DataError:
        return None
    small.thumbnail((EDGE, EDGE))
    file.parent.mkdir(exist_ok=True)
    with whole(file) as temporary:
        small.save(temporary, format="WEBP", quality=QUALITY)
    return Thumbnail(name, f"{file.parent.name}/{file.name}", *small.size)


def illustrated(rows: list[Row], shown: Shown) -> list[Row]:
    """Return rows of features whose samples are what shows them, or their names where that is not known."""
    return [row | {"samples": [shown(name) or name for name in map(str, row.get("samples", ()))]} for row in rows]


def samples(row: Row) -> str:
    """Return the strongest samples of a feature as HTML: pictures in a line, texts one below the other."""
    found = row.get("samples", ())
    if isinstance(found, Kept):
        return f'<span data-kept="{found.number}"></span>'
    if all(isinstance(one, str) for one in found):
        return escape(", ".join(found))
    items = "".join(f"<li>{_html(one)}</li>" for one in found)
    return f'<ol class="stimuli">{items}</ol>'


def _html(stimulus: str | Passage | Thumbnail) -> str:
    if isinstance(stimulus, Passage):
        return _passage(stimulus)
    if isinstance(stimulus, Thumbnail):
        name, file, width, height = stimulus
        where = f'src="{quote(file)}" alt="{escape(name)}" title="{escape(name)}"'
        return f'<img {where} width="{width}" height="{height}" loading="lazy">'
    return escape(stimulus)


def _passage(passage: Passage) -> str:
    text, start, end = passage
    # Tokens often take the space before a word with them.
    start += len(text[start:end]) - len(text[start:end].lstrip())
    before, marked, behind = text[:start], text[start:end].rstrip(), text[max(start, end) :]
    if not marked:
        return escape(text if len(text) <= 2 * AROUND else f"{text[: 2 * AROUND]}…")
    if len(before) > AROUND:
        before = f"…{before[-AROUND:]}"
    if len(behind) > AROUND:
        behind = f"{behind[:AROUND]}…"
    return f"{escape(before)}<mark>{escape(marked)}</mark>{escape(behind)}"
