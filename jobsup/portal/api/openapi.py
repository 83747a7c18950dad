"""The API's own description, made from the entries themselves, so that it cannot say otherwise."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from importlib.metadata import version
from typing import Any

from starlette.responses import JSONResponse, Response

from jobsup.model import Role
from jobsup.portal.api import changes, reads
from jobsup.portal.call import Call
from jobsup.portal.problems import STATUS, TITLES
from jobsup.portal.routes import Entry

_PART = re.compile(r"\{(\w+)(?::(\w+))?\}")


async def openapi(_call: Call) -> Response:
    """Answer with the OpenAPI document."""
    return JSONResponse(describe())


@cache
def describe() -> dict[str, Any]:
    """Return the OpenAPI 3.1 document of the API."""
    paths: dict[str, dict[str, Any]] = {}
    for entry in (*reads.ENTRIES, *changes.ENTRIES, *ENTRIES):
        paths.setdefault(_PART.sub(r"{\1}", entry.path), {})[entry.method.lower()] = _operation(entry)
    return {
        "openapi": "3.1.0",
        "info": {"title": "jobsup", "version": version("jobsup"), "description": "See, run and mend jobs."},
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "schemas": {"Problem": _PROBLEM},
            "responses": {"Problem": _PROBLEM_RESPONSE},
        },
    }


def _operation(entry: Entry) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": entry.handler.__name__,
        "summary": entry.summary,
        "parameters": [*_path_parameters(entry.path), *_query_parameters(entry), *_headers(entry)],
        "responses": {
            str(entry.status): {"description": "Done.", "content": _content(entry)},
            "default": {"$ref": "#/components/responses/Problem"},
        },
    }
    if entry.scope and entry.role is not None:
        described["description"] = f"A token needs the scope `{entry.scope}`, a person the role {entry.role}."
    if entry.role is None:
        described["security"] = []
    if entry.body:
        schema = {"type": "object", "properties": dict(entry.body), "additionalProperties": False}
        described["requestBody"] = {"required": False, "content": {"application/json": {"schema": schema}}}
    return described


def _path_parameters(path: str) -> Iterable[dict[str, Any]]:
    for name, kind in _PART.findall(path):
        schema = {"type": "integer", "minimum": 1} if kind == "int" else {"type": "string"}
        yield {"name": name, "in": "path", "required": True, "schema": schema}


def _query_parameters(entry: Entry) -> Iterable[dict[str, Any]]:
    for name, says in entry.query.items():
        yield {"name": name, "in": "query", "description": says, "schema": {"type": "string"}}


def _headers(entry: Entry) -> Iterable[dict[str, Any]]:
    if entry.handler in (changes.run_job, changes.hook):
        says = "The same key with the same body makes one run."
        yield {"name": "Idempotency-Key", "in": "header", "description": says, "schema": {"type": "string"}}


def _content(entry: Entry) -> dict[str, Any]:
    if entry.handler is reads.run_output:
        return {"application/octet-stream": {}}
    return {"application/json": {"schema": {"type": "object"}}}


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

ENTRIES = (Entry("GET", "/api/v1/openapi.json", openapi, Role.VIEWER, "This document.", "read"),)
