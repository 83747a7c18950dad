"""Settings from environment variables: they override the file, key by key.

Of a key's variables `JOBSUP_<SECTION>_<KEY>` is the strongest; a variable that is set to nothing counts
as not set, as in shells.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from jobsup.config import durations, sizes
from jobsup.config.keys import KEYS, Key, Kind, is_reserved
from jobsup.config.report import environment_problem, hint, shown
from jobsup.errors import Problem

PREFIX = "JOBSUP_"

_BOOLEANS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}


@dataclass(frozen=True, slots=True)
class Override:
    """A variable that is set, and its text."""

    variable: str
    text: str


def find_override(key: Key, environ: Mapping[str, str]) -> Override | None:
    """Return the strongest variable that sets `key`, if one does."""
    for variable in key.variables:
        if environ.get(variable):
            return Override(variable, environ[variable])
    return None


def overrides(environ: Mapping[str, str], keys: Iterable[Key] = KEYS.values()) -> dict[str, Override]:
    """Return `worker.count` -> the variable that sets it, for each key that has one."""
    found = ((key.path, find_override(key, environ)) for key in keys)
    return {path: override for path, override in found if override is not None}


def read_value(kind: Kind, text: str) -> Any:
    """Turn a variable's text into the value a TOML file would hold (a timedelta for a duration).

    Raises ValueError with one sentence that holds the text.
    """
    reader = _READERS.get(kind, str)
    return reader(text)


def warnings(environ: Mapping[str, str]) -> list[Problem]:
    """Return what is odd about the environment: unknown JOBSUP_ variables, and two that disagree."""
    return [*_unknown(environ), *_conflicts(environ)]


def _unknown(environ: Mapping[str, str]) -> list[Problem]:
    known = {variable for key in KEYS.values() for variable in key.variables}
    return [
        environment_problem(variable, f"unknown variable, passed over{hint(variable, known)}", warning=True)
        for variable in sorted(environ)
        if variable.startswith(PREFIX) and variable not in known and not is_reserved(variable)
    ]


def _conflicts(environ: Mapping[str, str]) -> list[Problem]:
    problems = []
    for key in KEYS.values():
        given = [variable for variable in key.variables if environ.get(variable)]
        problems += [
            environment_problem(weaker, f"disagrees with {given[0]}, which wins", warning=True)
            for weaker in given[1:]
            if environ[weaker] != environ[given[0]]
        ]
    return problems


def _duration(text: str) -> Any:
    return durations.NONE if text.strip().lower() == durations.NONE else durations.parse_environment(text)


def _integer(text: str) -> int:
    try:
        return int(text.strip())
    except ValueError:
        raise ValueError(f"must be a whole number, not {shown(text)}") from None


def _boolean(text: str) -> bool:
    try:
        return _BOOLEANS[text.strip().lower()]
    except KeyError:
        raise ValueError(f"must be true or false, not {shown(text)}") from None


def _items(text: str) -> list[str]:
    return [item.strip() for item in text.split(",") if item.strip()]


def _integers(text: str) -> list[int]:
    return [_integer(item) for item in _items(text)]


_READERS: dict[Kind, Callable[[str], Any]] = {
    Kind.INTEGER: _integer,
    Kind.BOOLEAN: _boolean,
    Kind.DURATION: _duration,
    Kind.SIZE: sizes.parse,
    Kind.TEXTS: _items,
    Kind.PATHS: _items,
    Kind.INTEGERS: _integers,
}
