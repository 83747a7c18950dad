"""The parameters of a job: `size = 5`, or `size = { type = "integer", default = 5, choices = [1, 5] }`."""

from __future__ import annotations

import math
import re
from typing import Any

from jobsup.config.report import hint, shown
from jobsup.model import ParamSpec

PARAMS_MAX = 100

TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
}

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}", re.ASCII)
_KEYS = ("type", "default", "required", "choices", "description")

Fault = tuple[tuple[str | int, ...], str]
"""The keys that lead to what is wrong, from the table of parameters, and the sentence."""


def read_params(table: dict[str, Any]) -> tuple[tuple[ParamSpec, ...], list[Fault]]:
    """Return the parameters a table declares, without those that are wrong, and what is wrong."""
    if len(table) > PARAMS_MAX:
        return (), [((), f"holds {len(table)} parameters, more than the {PARAMS_MAX} allowed")]
    params: list[ParamSpec] = []
    faults: list[Fault] = []
    for name, written in table.items():
        found = _name_faults(name, [param.name for param in params])
        declared = written if isinstance(written, dict) else {"default": written}
        found += [((name, *keys), message) for keys, message in _faults(declared)]
        if found:
            faults += found
        else:
            params.append(_param(name, declared))
    return tuple(params), faults


def written(param: ParamSpec) -> dict[str, Any]:
    """Return the table that declares a parameter, in its long form."""
    table: dict[str, Any] = {"type": param.type}
    if param.default is not None:
        table["default"] = param.default
    if param.required:
        table["required"] = True
    if param.choices:
        table["choices"] = list(param.choices)
    if param.description:
        table["description"] = param.description
    return table


def _param(name: str, declared: dict[str, Any]) -> ParamSpec:
    return ParamSpec(
        name,
        _kind(declared),
        declared.get("default"),
        declared.get("required", False),
        tuple(declared.get("choices", ())),
        declared.get("description", ""),
    )


def _name_faults(name: str, others: list[str]) -> list[Fault]:
    if not _NAME.fullmatch(name):
        return [((name,), "a parameter's name has up to 64 letters, digits and _, and no digit first")]
    twins = [other for other in others if other.upper() == name.upper()]
    if twins:
        return [((name,), f'"{twins[0]}" and "{name}" would both be JOBSUP_PARAM_{name.upper()}: rename one')]
    return []


def _faults(declared: dict[str, Any]) -> list[Fault]:
    faults: list[Fault] = [((key,), f"unknown key{hint(key, _KEYS)}") for key in declared if key not in _KEYS]
    faults += _shape_faults(declared)
    if faults:
        return faults
    return _value_faults(declared)


def _shape_faults(declared: dict[str, Any]) -> list[Fault]:
    faults: list[Fault] = []
    kind = declared.get("type")
    if kind is not None and kind not in tuple(TYPES):
        faults.append((("type",), f"must be one of {', '.join(TYPES)}, not {shown(kind)}"))
    if not isinstance(declared.get("required", False), bool):
        faults.append((("required",), f"must be true or false, not {shown(declared['required'])}"))
    if not isinstance(declared.get("description", ""), str):
        faults.append((("description",), f"must be text in quotes, not {shown(declared['description'])}"))
    if not isinstance(declared.get("choices", []), list):
        faults.append((("choices",), f"must be a list, not {shown(declared['choices'])}"))
    if "default" in declared and _type_of(declared["default"]) is None:
        faults.append((("default",), f"must be text, a number, true or false, not {shown(declared['default'])}"))
    return faults


def _value_faults(declared: dict[str, Any]) -> list[Fault]:
    faults: list[Fault] = []
    choices = declared.get("choices", [])
    default = declared.get("default")
    kind = _kind(declared)
    for index, choice in enumerate(choices):
        if not fits(kind, choice):
            faults.append((("choices", index), f"must be of type {kind}, not {shown(choice)}"))
    if default is None:
        return faults
    if declared.get("required"):
        faults.append((("required",), "a required parameter has no default: drop one of the two"))
    if not fits(kind, default):
        faults.append((("default",), f"must be of type {kind}, not {shown(default)}"))
    elif choices and default not in choices:
        faults.append((("default",), f"must be one of the choices, not {shown(default)}"))
    return faults


def fits(kind: str, value: Any) -> bool:
    """Say whether a value is of a parameter's type; true and false are no numbers."""
    if isinstance(value, bool):
        return kind == "boolean"
    return isinstance(value, TYPES[kind]) and not (isinstance(value, float) and not math.isfinite(value))


def _kind(declared: dict[str, Any]) -> str:
    """Return the type that is written, or else the one of the default, or of the first choice."""
    if "type" in declared:
        return str(declared["type"])
    samples = [declared["default"]] if "default" in declared else declared.get("choices", [])
    return (_type_of(samples[0]) if samples else None) or "string"


def _type_of(value: Any) -> str | None:
    return next((kind for kind in TYPES if fits(kind, value)), None)
