"""Problems with their places: where something stands, and what is wrong with it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass, replace

from jobsup.config.locate import Lines, Path
from jobsup.errors import ConfigError, Problem

ENVIRONMENT = "environment"
VALUE_CHARS_MAX = 60


@dataclass(frozen=True, slots=True)
class Place:
    """A table in a file, as a person finds it (`table`) and as the locator does (`path`)."""

    file: str
    table: str
    lines: Lines
    path: Path = ()

    def problem(self, message: str, *keys: str | int, warning: bool = False) -> Problem:
        """Return what is wrong with the key that `keys` lead to from here, or with the table itself."""
        return Problem(message, self.file, self.table, dotted(keys), self.lines.line((*self.path, *keys)), warning)

    def line(self, *keys: str | int) -> int | None:
        return self.lines.line((*self.path, *keys))

    def has(self, *keys: str | int) -> bool:
        """Tell whether the file itself says something at `keys`."""
        return self.lines.has((*self.path, *keys))

    def named(self, table: str) -> Place:
        return replace(self, table=table)


class Report:
    """Every problem of one load, in the order a reader of the files meets them."""

    def __init__(self) -> None:
        self._problems: list[Problem] = []

    def add(self, *problems: Problem) -> None:
        self._problems.extend(problems)

    def errors(self) -> tuple[Problem, ...]:
        return tuple(problem for problem in self._ordered() if not problem.warning)

    def warnings(self) -> tuple[Problem, ...]:
        return tuple(problem for problem in self._ordered() if problem.warning)

    def raise_errors(self) -> None:
        """Raise ConfigError with all errors at once, if there is one."""
        if errors := self.errors():
            raise ConfigError(errors)

    def _ordered(self) -> list[Problem]:
        files = {file: rank for rank, file in enumerate(dict.fromkeys(each.file for each in self._problems))}
        unique = dict.fromkeys(self._problems)
        return sorted(unique, key=lambda each: (files[each.file], each.line or 0))


def environment_problem(variable: str, message: str, *, warning: bool = False) -> Problem:
    """Return what is wrong with an environment variable."""
    return Problem(message, ENVIRONMENT, key=variable, warning=warning)


def told_together(problems: Iterable[Problem]) -> list[str]:
    """Write each problem on a line; a warning that many jobs get is written once, with how many others there are."""
    groups: dict[tuple[object, ...], list[Problem]] = {}
    for problem in problems:
        alike = (problem.message, problem.key) if problem.warning else (problem,)
        groups.setdefault(alike, []).append(problem)
    return [_line(*group) for group in groups.values()]


def _line(first: Problem, *others: Problem) -> str:
    prefix = "warning: " if first.warning else ""
    rest = f" (and {len(others)} more like it, the next at {others[0].place})" if others else ""
    return f"{prefix}{first}{rest}"


def dotted(keys: Iterable[str | int]) -> str:
    """Write a path as a person does: `params.size.choices[2]`."""
    text = ""
    for key in keys:
        text += f"[{key}]" if isinstance(key, int) else f".{key}" if text else key
    return text


def hint(word: str, known: Iterable[str]) -> str:
    """Return `; did you mean "x"?` for the nearest of the known words, or nothing."""
    nearest = difflib.get_close_matches(word, tuple(known), n=1)
    return f'; did you mean "{nearest[0]}"?' if nearest else ""


def shown(value: object) -> str:
    """Write a value as TOML would, cut to a length that fits in a sentence."""
    match value:
        case bool():
            text = str(value).lower()
        case str():
            text = f'"{value}"'
        case dict():
            text = "a table"
        case list():
            text = f"[{', '.join(shown(item) for item in value)}]"
        case _:
            text = str(value)
    text = text.encode("unicode_escape").decode("ascii") if not text.isprintable() else text
    return text if len(text) <= VALUE_CHARS_MAX else f"{text[: VALUE_CHARS_MAX - 3]}..."
