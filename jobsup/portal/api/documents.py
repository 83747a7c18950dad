"""What programs send and get: JSON objects, read strictly and written with their version."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from jobsup.config.report import hint
from jobsup.errors import UsageError

SCHEMA = 1
LAST_DEFAULT = 50
LAST_MAX = 500

_KINDS: dict[str, type | tuple[type, ...]] = {"string": str, "boolean": bool, "object": dict, "array": list}


def document(content: Mapping[str, Any], status: int = 200, **headers: str) -> Response:
    """Answer with a versioned object."""
    return JSONResponse({"schema": SCHEMA, **content}, status, headers)


async def read_body(request: Request, keys: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return the JSON object that was sent (nothing sent: an empty one), with known keys of the right kind only."""
    text = await request.body()
    if not text.strip():
        return {}
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise UsageError("send a JSON object, with Content-Type: application/json")
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"the body is no JSON: {error}") from None
    if not isinstance(found, dict):
        raise UsageError("the body must be a JSON object")
    for key, value in found.items():
        if key not in keys:
            raise UsageError(f"unknown key {key!r}{hint(key, keys)}")
        if not isinstance(value, _KINDS[keys[key]["type"]]):
            raise UsageError(f"{key} must be of type {keys[key]['type']}")
    return found


def texts(params: Mapping[str, Any]) -> dict[str, str]:
    """Return a run's parameters as the text that the command line would be given."""
    found: dict[str, str] = {}
    for name, value in params.items():
        if isinstance(value, list | dict) or value is None:
            raise UsageError(f"parameter {name} must be a text, a number, true or false")
        found[name] = value if isinstance(value, str) else json.dumps(value)
    return found


def instant(text: str | None, name: str) -> datetime | None:
    """Read an RFC 3339 instant."""
    if not text:
        return None
    try:
        found = datetime.fromisoformat(text)
        has_zone, found = found.tzinfo is not None, found.astimezone(UTC)
    except (ValueError, OverflowError):
        has_zone = False
    if not has_zone:
        raise UsageError(f"{name} must be an instant like 2027-01-31T03:00:00Z, not {text[:60]!r}")
    return found


def whole(text: str | None, name: str, default: int, most: int, *, least: int = 1) -> int:
    """Read a whole number between two bounds, both allowed."""
    if text is None:
        return default
    if not (text.isascii() and text.isdigit()) or len(text) > 19 or not least <= int(text) <= most:
        raise UsageError(f"{name} must be a whole number from {least} to {most}, not {text[:40]!r}")
    return int(text)
