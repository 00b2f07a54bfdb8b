"""Modules under their names of one version ago."""

import sys
from importlib import import_module

import pytest

from superpose.messages.moves import MOVED


@pytest.fixture
def forgotten():
    """Old names as a new process finds them."""
    before = {name: sys.modules.pop(name) for name in list(sys.modules) if name.split(".")[1:2] and _old(name)}
    yield
    for name in [name for name in sys.modules if _old(name)]:
        del sys.modules[name]
    sys.modules.update(before)


def _old(name):
    return name.startswith("superpose.") and name.split(".")[1] in MOVED


@pytest.mark.parametrize(("old", "new"), MOVED.items())
def test_an_old_name_is_the_module_in_its_new_place_and_warns(forgotten, old, new):
    with pytest.warns(FutureWarning, match=f"superpose.{old} is now superpose.{new}"):
        module = import_module(f"superpose.{old}")
    assert module is import_module(f"superpose.{new}")
    assert module.__name__ == module.__spec__.name == f"superpose.{new}"


def test_what_lies_inside_a_moved_package_is_found(forgotten):
    with pytest.warns(FutureWarning, match="superpose.losses.terms is now superpose.dictionaries.losses.terms"):
        from superpose.losses.terms import own_terms
    assert own_terms is import_module("superpose.dictionaries.losses.terms").own_terms


def test_a_name_that_never_was_is_not_found():
    with pytest.raises(ModuleNotFoundError, match=r"superpose\.nothing"):
        import_module("superpose.nothing")
