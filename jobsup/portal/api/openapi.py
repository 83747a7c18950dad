"""The API's own description, made from the entries themselves, so that it cannot say otherwise."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from typing import Any

from starlette.responses import JSONResponse, Response

from jobsup.model import Role
from jobsup.portal.api import health, hook, logs, operations, schemas, twins
from jobsup.portal.call import Call
from jobsup.portal.problems import STATUS, TITLES
from jobsup.portal.routes import Entry
from jobsup.store import requests
from jobsup.version import VERSION

_PART = re.compile(r"\{(\w+)(?::(\w+))?\}")
JSON = "application/json"


async def openapi(_call: Call) -> Response:
    """Answer with the OpenAPI document."""
    return JSONResponse(describe())


@cache
def describe() -> dict[str, Any]:
    """Return the OpenAPI 3.1 document of the API."""
    paths: dict[str, dict[str, Any]] = {}
    for module in (operations, twins, logs, hook, health):
        for entry in module.ENTRIES:
            paths.setdefault(_PART.sub(r"{\1}", entry.path), {})[entry.method.lower()] = _operation(entry)
    for entry in ENTRIES:
        paths.setdefault(entry.path, {})[entry.method.lower()] = _operation(entry)
    return {
        "openapi": "3.1.0",
        "info": {"title": "jobsup", "version": VERSION, "description": "See, run and mend jobs."},
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "schemas": {"Problem": _PROBLEM, **schemas.COMPONENTS},
            "responses": {"Problem": _PROBLEM_RESPONSE},
        },
    }


def _operation(entry: Entry) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": entry.name,
        "summary": entry.summary,
        "parameters": [*_path_parameters(entry.path), *_query_parameters(entry), *_headers(entry)],
        "responses": _responses(entry),
    }
    if entry.scope and entry.role is not None:
        described["description"] = f"A token needs the scope `{entry.scope}`, a person the role {entry.role}."
    if entry.role is None:
        described["security"] = []
    if entry.body:
        schema = {"type": "object", "properties": dict(entry.body), "additionalProperties": False}
        described["requestBody"] = {"required": False, "content": {JSON: {"schema": schema}}}
    return described


def _responses(entry: Entry) -> dict[str, Any]:
    content = {JSON: {"schema": schemas.answer(entry.name)}} if entry.media == JSON else {entry.media: {}}
    done = {"description": "Done.", "content": content}
    found: dict[str, Any] = {str(entry.status): done}
    if entry.has_key:
        found["200"] = {"description": "This key has made it before.", "content": content}
    if entry.name == "readyz":
        found["503"] = {"description": "Not ready.", "content": content}
    return {**found, "default": {"$ref": "#/components/responses/Problem"}}


def _path_parameters(path: str) -> Iterable[dict[str, Any]]:
    for name, kind in _PART.findall(path):
        schema = {"type": "integer", "minimum": 1} if kind == "int" else {"type": "string", "minLength": 1}
        yield {"name": name, "in": "path", "required": True, "schema": schema}


def _query_parameters(entry: Entry) -> Iterable[dict[str, Any]]:
    for name, schema in entry.query.items():
        told: dict[str, Any] = {"name": name, "in": "query", "schema": dict(schema)}
        yield {**told, "style": "form", "explode": False} if schema["type"] == "array" else told


def _headers(entry: Entry) -> Iterable[dict[str, Any]]:
    if entry.has_key:
        says = "The same key with the same body makes one run."
        schema = {"type": "string", "maxLength": requests.KEY_CHARS_MAX}
        yield {"name": "Idempotency-Key", "in": "header", "description": says, "schema": schema}


_PROBLEM = {
    "type": "object",
    "required": ["type", "title", "status", "detail", "exit_code"],
    "properties": {
        "type": {
            "type": "string",
            "enum": [f"urn:jobsup:problem:{code.name.lower().replace('_', '-')}" for code in STATUS],
        },
        "title": {"type": "string", "enum": sorted(set(TITLES.values()))},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "What, which, and what to do."},
        "exit_code": {"type": "integer", "description": "What a command would end with."},
    },
}
_PROBLEM_RESPONSE = {
    "description": "It was not done.",
    "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
}

ENTRIES = (Entry("GET", "/api/v1/openapi.json", openapi, Role.VIEWER, "This document.", "read", "openapi"),)
