"""A run's parameters from text: typed and checked against what the job declares, all problems at once."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from jobsup.config.report import hint
from jobsup.errors import UsageError
from jobsup.model import JobSpec, ParamSpec

_BOOLEANS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}


def read_params(job: JobSpec, given: Mapping[str, str]) -> dict[str, Any]:
    """Return the parameters that were given, typed; a default is put in when the run starts, not here.

    UsageError holds one line a problem.
    """
    known = {param.name: param for param in job.params}
    problems: list[str] = []
    values: dict[str, Any] = {}
    for name, text in given.items():
        if name not in known:
            has = f"it has {', '.join(known)}" if known else "it has none"
            problems.append(f'job "{job.name}" has no parameter "{name}": {has}{hint(name, known)}')
            continue
        try:
            values[name] = _value(known[name], text)
        except ValueError as error:
            problems.append(f'job "{job.name}": parameter {name} {error}')
    problems += [
        f'job "{job.name}": parameter {param.name} is required: add --param {param.name}=...'
        for param in job.params
        if param.required and param.name not in given
    ]
    if problems:
        raise UsageError("\n".join(problems))
    return values


def _value(param: ParamSpec, text: str) -> Any:
    value = _typed(param.type, text)
    if param.choices and value not in param.choices:
        raise ValueError(f"must be one of {', '.join(map(str, param.choices))}, not {text!r}")
    return value


def _typed(kind: str, text: str) -> Any:
    try:
        match kind:
            case "integer":
                return int(text)
            case "number":
                return _number(text)
            case "boolean":
                return _BOOLEANS[text.strip().lower()]
    except (ValueError, KeyError):
        wanted = {"integer": "a whole number", "number": "a number", "boolean": "true or false"}[kind]
        raise ValueError(f"must be {wanted}, not {text!r}") from None
    if "\0" in text:
        raise ValueError("must not hold a NUL character")
    return text


def _number(text: str) -> int | float:
    try:
        return int(text)
    except ValueError:
        number = float(text)
    if not math.isfinite(number):
        raise ValueError(text)
    return number
