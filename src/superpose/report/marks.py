"""Small pictures in lines of text: marks, intervals and null bands on a scale from 0 to 1."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import Any

from superpose.report.cells import missing


def scale(
    marks: Sequence[tuple[str, Any]],
    *,
    span: tuple[Any, Any] = (None, None),
    null: tuple[Any, Any] = (None, None),
    ceiling: Any = None,
) -> str:
    """Return a scale from 0 to 1 with marks of given kinds, an interval, the band of a null and a ceiling.

    What lies outside is drawn at the end that it is beyond; the numbers stand beside. Nothing but what style.css
    knows is used: `m` with the kind of mark, `span`, `null` and `ceiling`.
    """
    parts = [
        _between("null", *null),
        "" if missing(ceiling) else f'<i class="ceiling" style="left:{_place(ceiling)}"></i>',
        _between("span", *span),
        *(f'<i class="m {kind}" style="left:{_place(value)}"></i>' for kind, value in marks if not missing(value)),
    ]
    drawn = "".join(parts)
    return f'<span class="scale" aria-hidden="true">{drawn}</span>' if drawn else ""


def signed(kind: str, value: Any, span: tuple[Any, Any], *, reach: float) -> str:
    """Return a scale from −reach to reach, 0 in its middle, with one mark and its interval."""
    low, middle, high = (math.nan if missing(end) else (end / reach + 1) / 2 for end in (span[0], value, span[1]))
    return scale([(kind, middle)], span=(low, high)).replace('"scale"', '"scale signed"', 1)


def _between(kind: str, low: Any, high: Any) -> str:
    if missing(low) or missing(high):
        return ""
    left, right = (_clipped(end) for end in (low, high))
    return f'<i class="{kind}" style="left:{_percent(left)};width:{_percent(max(right - left, 0.004))}"></i>'


def _place(value: float) -> str:
    return _percent(_clipped(value))


def _clipped(value: float) -> float:
    return min(max(float(value), 0.0), 1.0)


def _percent(share: float) -> str:
    return f"{100 * share:.3g}%"


def scatter(points: Sequence[tuple[float, float, bool]], told: str) -> str:
    """Return a square picture of points between 0 and 1; dots are those that hold, squares those that do not."""
    filled, open_ = ("".join(_dot(x, y) for x, y, holds in points if holds == kind) for kind in (True, False))
    return (
        '<figure class="scatter"><svg viewBox="-2 -2 104 104" aria-hidden="true">'
        '<path class="frame" d="M0 0V100H100"/><path class="half" d="M0 100L100 50"/>'
        f'<path class="diagonal" d="M0 100L100 0"/><path class="dots open" d="{open_}"/>'
        f'<path class="dots" d="{filled}"/>'
        f"</svg><figcaption>{escape(told)}</figcaption></figure>"
    )


def _dot(x: float, y: float) -> str:
    # A line of no length with a round end is a dot, at a fifth of the bytes of a circle.
    return f"M{100 * _clipped(x):.0f} {100 - 100 * _clipped(y):.0f}h0"
