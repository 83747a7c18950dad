"""Docstrings of libraries, let go by processes that stay: a megabyte of SQLAlchemy's memory that nobody reads there."""

from __future__ import annotations

import gc
from contextlib import suppress
from types import FunctionType, ModuleType


def forget(package: str) -> None:
    """Drop the docstrings of all that a loaded package has defined; what it does, and its tracebacks, stay the same."""
    for one in gc.get_objects():
        if isinstance(one, FunctionType | ModuleType | type) and _is_of(package, one):
            _drop(one)


def _is_of(package: str, one: FunctionType | ModuleType | type) -> bool:
    name = vars(one).get("__name__") if isinstance(one, ModuleType) else one.__module__
    return isinstance(name, str) and name.partition(".")[0] == package


def _drop(one: FunctionType | ModuleType | type) -> None:
    if isinstance(one, FunctionType):
        consts = one.__code__.co_consts
        if one.__doc__ is not None and consts[:1] == (one.__doc__,):  # the place of a function's own
            one.__code__ = one.__code__.replace(co_consts=(None, *consts[1:]))
    with suppress(AttributeError, TypeError):  # a class may have none of its own, or be closed
        one.__doc__ = None
