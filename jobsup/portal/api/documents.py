"""What programs send and get: values read strictly by their schemas, and objects written with their version."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from jobsup.config.report import hint
from jobsup.errors import UsageError
from jobsup.portal.problems import MediaTypeError

SCHEMA = 1
SHOWN_CHARS_MAX = 60
"""As much of a wrong value is told."""

Schema = Mapping[str, Any]


def document(content: Mapping[str, Any], status: int = 200, **headers: str) -> Response:
    """Answer with a versioned object."""
    return JSONResponse({"schema": SCHEMA, **content}, status, headers)


def read_query(request: Request, keys: Mapping[str, Schema]) -> dict[str, Any]:
    """Return what stands after the `?`, with known names only, each once."""
    found: dict[str, Any] = {}
    for name, text in request.query_params.multi_items():
        if name in found:
            raise UsageError(f"{name} is given twice")
        found[name] = _of_text(_known(name, keys), text, name)
    return found


async def read_body(request: Request, keys: Mapping[str, Schema]) -> dict[str, Any]:
    """Return the JSON object that was sent (nothing sent: an empty one), with known keys of the right kind only."""
    text = await request.body()
    if not text.strip():
        return {}
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise MediaTypeError("send a JSON object, with Content-Type: application/json")
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"the body is no JSON: {error}") from None
    if not isinstance(found, dict):
        raise UsageError("the body must be a JSON object")
    return {name: checked(_known(name, keys), value, name) for name, value in found.items() if value is not None}


def checked(schema: Schema, value: Any, name: str) -> Any:
    """Return a value that meets its schema, an instant as one; UsageError says what it must be."""
    kind = schema["type"]
    if kind == "string":
        return _checked_text(schema, value, name)
    if kind == "integer":
        return _checked_number(schema, value, name)
    if kind == "array":
        return _checked_array(schema, value, name)
    if not isinstance(value, {"boolean": bool, "object": dict}[kind]):
        raise UsageError(f"{name} must be of type {kind}")
    if kind == "object":
        _check_words(value, name)
    return value


def check_text(value: str, name: str) -> str:
    """Return a text that every database takes; UsageError for one with a NUL, or that is no Unicode."""
    if "\0" in value or any("\ud800" <= each <= "\udfff" for each in value):
        raise UsageError(f"{name} holds what is no text: a NUL, or half of a character")
    return value


def _known(name: str, keys: Mapping[str, Schema]) -> Schema:
    if name not in keys:
        raise UsageError(f"unknown key {name[:SHOWN_CHARS_MAX]!r}{hint(name, keys)}")
    return keys[name]


def _of_text(schema: Schema, text: str, name: str) -> Any:
    """Read a value of an address, where everything is text."""
    match schema["type"]:
        case "integer":
            if not (text.isascii() and text.isdigit()) or len(text) > len(str(schema["maximum"])):
                raise UsageError(_bounds(schema, text, name))
            return checked(schema, int(text), name)
        case "boolean":
            if text not in ("true", "false"):
                raise UsageError(f"{name} must be true or false, not {text[:SHOWN_CHARS_MAX]!r}")
            return text == "true"
        case "array":
            return checked(schema, [part for part in text.split(",") if part], name)
    return checked(schema, text, name)


def _checked_text(schema: Schema, value: Any, name: str) -> Any:
    if not isinstance(value, str):
        raise UsageError(f"{name} must be of type string")
    check_text(value, name)
    if schema.get("format") == "date-time":
        return _instant(value, name)
    if "enum" in schema and value not in schema["enum"]:
        raise UsageError(f"{name} must be one of {', '.join(schema['enum'])}, not {value[:SHOWN_CHARS_MAX]!r}")
    if not schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", math.inf):
        raise UsageError(f"{name} must have {schema.get('minLength', 0)} to {schema['maxLength']} characters")
    return value


def _checked_number(schema: Schema, value: Any, name: str) -> int:
    whole = int(value) if isinstance(value, float) and value.is_integer() else value
    if isinstance(whole, bool) or not isinstance(whole, int) or not schema["minimum"] <= whole <= schema["maximum"]:
        raise UsageError(_bounds(schema, value, name))
    return whole


def _checked_array(schema: Schema, value: Any, name: str) -> list[Any]:
    if not isinstance(value, list):
        raise UsageError(f"{name} must be of type array")
    if not schema.get("minItems", 0) <= len(value) <= schema["maxItems"]:
        raise UsageError(f"{name} must have {schema.get('minItems', 0)} to {schema['maxItems']} items")
    return [checked(schema["items"], each, name) for each in value]


def _check_words(value: Any, name: str) -> None:
    """Look for texts that are none, however deep."""
    waiting = [value]
    while waiting:
        each = waiting.pop()
        if isinstance(each, dict):
            waiting += [*each, *each.values()]
        elif isinstance(each, list):
            waiting += each
        elif isinstance(each, str):
            check_text(each, name)


def _bounds(schema: Schema, value: Any, name: str) -> str:
    least, most = schema["minimum"], schema["maximum"]
    return f"{name} must be a whole number from {least} to {most}, not {str(value)[:40]!r}"


def _instant(text: str, name: str) -> datetime:
    try:
        found = datetime.fromisoformat(text.upper())
        has_zone, found = found.tzinfo is not None, found.astimezone(UTC)
    except (ValueError, OverflowError):
        has_zone = False
    if not has_zone:
        raise UsageError(f"{name} must be an instant like 2027-01-31T03:00:00Z, not {text[:SHOWN_CHARS_MAX]!r}")
    return found
