"""Docstrings that are let go: of one package, and nothing else of it."""

import importlib
import traceback
from pathlib import Path

import pytest

from jobsup.runtime import docs

SOURCE = '''
"""A module."""


class Shape:
    """A class."""

    def area(self, side=3):
        """A method."""
        return side * side if side != "no" else 1 / 0


def name():
    """A function."""
    return "a name"
'''


def test_docstrings_of_a_package_go_and_what_it_does_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    for package in ("forgetful", "forgetful_not"):
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").write_text(SOURCE)
    forgetful, other = importlib.import_module("forgetful"), importlib.import_module("forgetful_not")
    docs.forget("forgetful")
    for module, wanted in ((forgetful, None), (other, "A ")):
        for one in (module, module.Shape, module.Shape.area, module.name):
            assert one.__doc__ is None if wanted is None else one.__doc__.startswith(wanted)
    assert (forgetful.Shape().area(), forgetful.name()) == (9, "a name")
    assert "A function." not in forgetful.name.__code__.co_consts
    with pytest.raises(ZeroDivisionError) as told:
        forgetful.Shape().area("no")
    assert "line 10, in area" in "".join(traceback.format_exception(told.value))
