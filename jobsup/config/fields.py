"""The types of single values in the schema: each reads what TOML holds or says in a sentence what is wrong.

Every reader raises ValueError; pydantic collects them all and keeps where each one stood.
"""

from __future__ import annotations

import math
import re
from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, PlainValidator

from jobsup.config import durations, names, places, sizes, urls
from jobsup.config.report import hint, shown
from jobsup.model import HOST_TAG_PREFIX

TEXT_CHARS_MAX = 4096
LIST_ITEMS_MAX = 1000
PERCENT_MAX = 100_000

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_PATTERN = re.compile(r"[A-Za-z0-9_.*?-]+", re.ASCII)
_ROOT_PATH = re.compile(r"(/[A-Za-z0-9._~-]+)+", re.ASCII)
_UMASK = re.compile(r"([0-7]{1,4})?", re.ASCII)
_PERCENTAGE = re.compile(r"([0-9]{1,6})%", re.ASCII)
_SCHEMA = re.compile(r"[a-z_][a-z0-9_]{0,49}", re.ASCII)
_CALLABLE = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")


class Refusal(ValueError):  # noqa: N818  # a sentence about one value, never seen as an exception
    """What is wrong with one value."""


def whole_number(least: int, most: int) -> PlainValidator:
    """Return the reader of a whole number between two bounds, both allowed."""

    def read(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise Refusal(f"must be a whole number, not {shown(value)}")
        if not least <= value <= most:
            raise Refusal(f"must be between {least} and {most}, not {shown(value)}")
        return value

    return PlainValidator(read)


def size_between(least: int, most: int) -> PlainValidator:
    """Return the reader of a number of bytes between two bounds, both allowed."""

    def read(value: Any) -> int:
        size = sizes.parse(value) if isinstance(value, str) else value
        if isinstance(size, bool) or not isinstance(size, int):
            raise Refusal(f'must be a size like "1MiB", not {shown(value)}')
        if not least <= size <= most:
            bounds = f"{sizes.format_size(least)} and {sizes.format_size(most)}"
            raise Refusal(f"must be between {bounds}, not {shown(value)}")
        return size

    return PlainValidator(read)


def duration_between(least: timedelta, most: timedelta = durations.DURATION_MAX) -> PlainValidator:
    """Return the reader of a duration between two bounds, both allowed."""

    def read(value: Any) -> timedelta:
        duration = _duration(value)
        if not least <= duration <= most:
            bounds = f"{durations.format_duration(least)} and {durations.format_duration(most)}"
            raise Refusal(f"must be between {bounds}, not {_written(value)}")
        return duration

    return PlainValidator(read)


def duration_or_none(least: timedelta) -> PlainValidator:
    """Return the reader of a duration of at least so much, or `"none"`."""

    def read(value: Any) -> timedelta | None:
        if isinstance(value, str) and durations.parse_or_none(value) is None:
            return None
        duration = _duration(value)
        if duration < least:
            raise Refusal(f'must be at least {durations.format_duration(least)}, or "none", not {_written(value)}')
        return duration

    return PlainValidator(read)


def or_none(reader: PlainValidator) -> PlainValidator:
    """Return the reader of what another one reads, or of `"none"`."""
    read_one: Any = reader.func

    def read(value: Any) -> Any:
        if isinstance(value, str) and value.strip().lower() == durations.NONE:
            return None
        try:
            return read_one(value)
        except ValueError as error:
            raise Refusal(f'{error}, or "none"') from None

    return PlainValidator(read)


def one_of(values: type[StrEnum] | tuple[str, ...]) -> PlainValidator:
    """Return the reader of one word out of a few."""
    words = tuple(str(value) for value in values)

    def read(value: Any) -> Any:
        if not isinstance(value, str) or value not in words:
            nearest = hint(value, words) if isinstance(value, str) else ""
            raise Refusal(f"must be one of {', '.join(words)}, not {shown(value)}{nearest}")
        return values(value) if isinstance(values, type) else value

    return PlainValidator(read)


def items(least: int = 0, most: int = LIST_ITEMS_MAX) -> AfterValidator:
    """Return the check of a list's length."""

    def check(value: list[Any]) -> list[Any]:
        if not least <= len(value) <= most:
            raise Refusal(f"must hold {least} to {most} items, not {len(value)}")
        return value

    return AfterValidator(check)


def _duration(value: Any) -> timedelta:
    if isinstance(value, timedelta):
        return value
    if isinstance(value, str):
        return durations.parse(value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        raise Refusal(f'{value} has no unit: write "{value}s" for seconds')
    raise Refusal(f'must be a duration like "30s", not {shown(value)}')


def _written(value: Any) -> str:
    return durations.format_duration(value) if isinstance(value, timedelta) else shown(value)


def read_text(value: Any) -> str:
    """Read a text of any length."""
    if not isinstance(value, str):
        raise Refusal(f"must be text in quotes, not {shown(value)}")
    if "\0" in value:
        raise Refusal("must not hold a NUL character")
    return value


def _short_text(value: Any) -> str:
    text = read_text(value)
    if len(text) > TEXT_CHARS_MAX:
        raise Refusal(f"has {len(text)} characters, more than the {TEXT_CHARS_MAX} allowed")
    return text


def read_filled_text(value: Any) -> str:
    """Read a text that says something."""
    text = _short_text(value)
    if not text.strip():
        raise Refusal("must not be empty")
    return text


def _name(value: Any) -> str:
    text = read_text(value)
    if message := names.fault(text):
        raise Refusal(message)
    return text


def _worker_tag(value: Any) -> str:
    """Read a tag that a job requires: a name, or `host:` and a machine's name."""
    text = read_text(value)
    _name(text.removeprefix(HOST_TAG_PREFIX))
    return text


def _schema(value: Any) -> str:
    if not isinstance(value, str) or not _SCHEMA.fullmatch(value) or value.startswith("pg_"):
        raise Refusal(f"must be 1 to 50 of a-z, 0-9 and _, without a digit or pg_ at the start, not {shown(value)}")
    return value


def _name_or_nothing(value: Any) -> str:
    return "" if value == "" else _name(value)


def _variable(value: Any) -> str:
    text = read_text(value)
    if not _VARIABLE.fullmatch(text):
        raise Refusal(f"{shown(text)} is not a variable's name: use letters, digits and _, no digit first")
    return text


def _argv_or_line(value: Any) -> str | list[str]:
    if isinstance(value, list):
        if not 1 <= len(value) <= LIST_ITEMS_MAX:
            raise Refusal(f"must hold 1 to {LIST_ITEMS_MAX} words, not {len(value)}")
        words = [read_text(word) for word in value]
        if not words[0].strip():
            raise Refusal("must begin with a program")
        return words
    if not isinstance(value, str):
        raise Refusal(f"must be a shell line in quotes, or a list of words, not {shown(value)}")
    line = read_text(value)
    if not line.strip():
        raise Refusal("must not be empty")
    return line


def _callable(value: Any) -> str:
    text = read_text(value)
    if not _CALLABLE.fullmatch(text):
        raise Refusal(f'{shown(text)} is not a callable: write it like "package.module:function"')
    return text


def _url(value: Any) -> str:
    url = read_filled_text(value)
    if message := urls.fault(url):
        raise Refusal(message)
    return url


def _pattern(value: Any) -> str:
    text = read_filled_text(value)
    if not _PATTERN.fullmatch(text):
        raise Refusal(f"{shown(text)} is not a job's name, nor a pattern of names: use letters, digits, _ . - * and ?")
    return text


def _json_table(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Refusal(f"must be a table, not {shown(value)}")
    _check_json(value)
    return value


def _check_json(value: Any) -> None:
    """Refuse what JSON cannot carry to the callable as it is."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            _check_json(item)
    elif not isinstance(value, str | int | float) or (isinstance(value, float) and not math.isfinite(value)):
        raise Refusal(
            f"holds {shown(value)}: only text, finite numbers, true, false, lists and tables can be handed on"
        )


def _upper(value: Any) -> Any:
    return value.upper() if isinstance(value, str) else value


def _yes_or_no(value: Any) -> bool:
    if not isinstance(value, bool):
        raise Refusal(f"must be true or false, not {shown(value)}")
    return value


def _cgroup(value: Any) -> str:
    text = read_filled_text(value)
    if message := places.cgroup_fault(text):
        raise Refusal(message)
    return text


def _secret(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict) or len(value) != 1 or not value.keys() & {"file", "command"}:
        raise Refusal(f'must be {{ file = "..." }} or {{ command = ["...", "..."] }}, not {shown(value)}')
    if "file" in value:
        return {"file": read_filled_text(value["file"])}
    words = _argv_or_line(value["command"])
    if isinstance(words, str):
        raise Refusal("its command must be a list of words in square brackets; no shell runs it")
    return {"command": words}


def _umask(value: Any) -> str:
    if isinstance(value, int) or not isinstance(value, str) or not _UMASK.fullmatch(value):
        raise Refusal(f'must be octal digits in quotes like "022", not {shown(value)}')
    return value


def _percentage(value: Any) -> str:
    match = _PERCENTAGE.fullmatch(value) if isinstance(value, str) else None
    if value != "" and (match is None or not 1 <= int(match[1]) <= PERCENT_MAX):
        raise Refusal(f'must be a share of one processor like "50%", or of several like "150%", not {shown(value)}')
    return str(value)


def _root_path(value: Any) -> str:
    text = _short_text(value)
    if text and not _ROOT_PATH.fullmatch(text):
        raise Refusal(f'must be a path like "/jobsup", without a slash at its end, not {shown(value)}')
    return text


Text = Annotated[str, PlainValidator(read_text)]
RootPath = Annotated[str, PlainValidator(_root_path)]
ShortText = Annotated[str, PlainValidator(_short_text)]
FilledText = Annotated[str, PlainValidator(read_filled_text)]
Name = Annotated[str, PlainValidator(_name)]
WorkerTag = Annotated[str, PlainValidator(_worker_tag)]
SchemaName = Annotated[str, PlainValidator(_schema)]
NameOrNothing = Annotated[str, PlainValidator(_name_or_nothing)]
Variable = Annotated[str, PlainValidator(_variable)]
Boolean = Annotated[bool, PlainValidator(_yes_or_no)]
Command = Annotated[str | list[str], PlainValidator(_argv_or_line)]
PythonCallable = Annotated[str, PlainValidator(_callable)]
DatabaseUrl = Annotated[str, PlainValidator(_url)]
NamePattern = Annotated[str, PlainValidator(_pattern)]
ControlGroup = Annotated[str, PlainValidator(_cgroup)]
Secret = Annotated[dict[str, Any], PlainValidator(_secret)]
Umask = Annotated[str, PlainValidator(_umask)]
Percentage = Annotated[str, PlainValidator(_percentage)]
JsonTable = Annotated[dict[str, Any], PlainValidator(_json_table)]
LogLevel = Annotated[str, one_of(("DEBUG", "INFO", "WARNING", "ERROR")), BeforeValidator(_upper)]
