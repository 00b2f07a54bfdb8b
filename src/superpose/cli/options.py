"""The options of a command by the names that Python gives them, in which messages name them."""

from __future__ import annotations

import inspect
from collections.abc import Sequence

from cyclopts import App

# Options whose argument in Python has another name.
OTHERWISE = {"mode": "joint"}


def options_of(app: App, arguments: Sequence[str] | None) -> dict[str, str]:
    """Return {argument: option} of the command that arguments call; arguments that are no option have no entry."""
    _, chain, _ = app.parse_commands(None if arguments is None else list(arguments))
    called = chain[-1].default_command
    if called is None:
        return {}
    own = [p.name for p in inspect.signature(called).parameters.values() if p.kind is inspect.Parameter.KEYWORD_ONLY]
    found = {name: f"--{name.replace('_', '-')}" for name in own}
    return found | {name: found[option] for name, option in OTHERWISE.items() if name not in found and option in found}
