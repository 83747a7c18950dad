"""The form of an operation, the desk it works at, and how one is performed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobsup.control import client
from jobsup.errors import DatabaseError, DatabaseUnavailableError, JobsupError, UnreachableError
from jobsup.model import Role

if TYPE_CHECKING:
    from jobsup.config.settings import Config
    from jobsup.store.engine import Database

BY_CHARS_MAX = 255
CLI = "cli"

Schema = Mapping[str, Any]
"""A JSON Schema of one value, with its description."""
Given = Mapping[str, Any]
"""Values by name; what was not given is None. Instants are aware datetimes."""


class Desk:
    """What an operation works with, and for whom."""

    def __init__(
        self,
        open_database: Callable[[], Database],
        *,
        actor: str,
        by: str,
        origin: str,
        set_name: str,
        config_path: str,
        socket: Path,
        config: Callable[[], Config],
        address: str = "",
        on_line: Callable[[str], None] | None = None,
    ) -> None:
        self._open_database = open_database
        self.actor = actor
        """Who is written into the audit."""
        self.by = by
        """The name that is written beside what is asked for: `ann@portal`."""
        self.origin = origin
        self.address = address
        self.set_name = set_name
        self.config_path = config_path
        self.socket = socket
        self.config = config
        """Returns the whole configuration, when it is wanted."""
        self.on_line = on_line or (lambda _line: None)
        """Told what the supervisor says while it works."""
        self.subjects: list[str] = []
        """What it was done to, as the audit tells it: one line each."""
        self.detail: dict[str, Any] = {}
        """What was before and after, for the audit; never a secret."""
        self.details: dict[str, dict[str, Any]] = {}
        """The same of each subject by itself, where there are several."""

    @property
    def database(self) -> Database:
        return self._open_database()

    def because(self, reason: str | None) -> str:
        """Return the name with a reason behind it."""
        return (f"{self.by} ({reason})" if reason else self.by)[:BY_CHARS_MAX]

    def supervisor(self, request: dict[str, Any], timeout: float | None = None) -> dict[str, Any]:
        """Ask the supervisor of this host; raises UnreachableError when none answers."""
        return client.call(self.socket, request, timeout=timeout, on_line=self.on_line)


@dataclass(frozen=True, slots=True)
class Operation:
    """One entry of the table."""

    name: str
    """Its `operationId`: `showJob`."""
    method: str
    path: str
    """Below the root of the API; a part in braces is a value: `/jobs/{name}`, `/runs/{id:int}`."""
    work: Callable[[Desk, Given], dict[str, Any]]
    summary: str
    role: Role
    """The least role of a person who may."""
    scope: str
    """What a token must be allowed."""
    query: Mapping[str, Schema] = field(default_factory=dict)
    body: Mapping[str, Schema] = field(default_factory=dict)
    verb: str = ""
    """What the audit calls it; empty: it changes nothing."""
    subject: str = ""
    """The value that names what it is done to."""
    status: int = 200
    has_key: bool = False
    """Whether it takes an idempotency key, as the value `key`."""
    asks_database: bool = True
    """False: it is the supervisor's business, and the command line does it without a database."""

    @property
    def takes(self) -> Mapping[str, Schema]:
        return {**self.query, **self.body}


def perform(desk: Desk, operation: Operation, given: Given) -> dict[str, Any]:
    """Do it, and write into the audit that it was done, or that it was refused and why."""
    values = {**dict.fromkeys((*operation.takes, "key")), **given}
    if operation.subject and values.get(operation.subject) is not None:
        desk.subjects = [str(values[operation.subject])]
    try:
        answer = operation.work(desk, values)
    except JobsupError as error:
        if type(error) is not DatabaseUnavailableError:  # the audit would wait for the same as long, and in vain
            desk.detail["error"] = str(error)
            _record(desk, operation, "refused")
        raise
    _record(desk, operation, "done")
    return answer


def _record(desk: Desk, operation: Operation, outcome: str) -> None:
    if not operation.verb:
        return
    from jobsup.store import audit

    # Of a database that cannot be asked the error itself tells; and whom the supervisor has obeyed needs none.
    lacking = (DatabaseError, UnreachableError) if operation.asks_database else (JobsupError,)
    with suppress(*lacking):
        audit.record_each(
            desk.database,
            {subject: {**desk.detail, **desk.details.get(subject, {})} for subject in desk.subjects or [""]},
            actor=desk.actor,
            origin=desk.origin,
            address=desk.address,
            verb=operation.verb,
            outcome=outcome,
        )


def text(description: str, *, most: int = 255, least: int = 0, **more: Any) -> Schema:
    """Describe a text."""
    return {"type": "string", "minLength": least, "maxLength": most, "description": description, **more}


def instant(description: str) -> Schema:
    """Describe an instant, RFC 3339 with its offset."""
    return {"type": "string", "format": "date-time", "description": description}


def whole(description: str, least: int, most: int, **more: Any) -> Schema:
    """Describe a whole number between two bounds, both allowed."""
    return {"type": "integer", "minimum": least, "maximum": most, "description": description, **more}


def flag(description: str) -> Schema:
    return {"type": "boolean", "description": description}


def several(description: str, *, most: int = 500, words: Sequence[str] = (), **more: Any) -> Schema:
    """Describe a list of texts; in an address they stand with commas between them."""
    items: dict[str, Any] = {"type": "string", "minLength": 1, "maxLength": 255}
    if words:
        items = {"type": "string", "enum": list(words)}
    return {"type": "array", "items": items, "maxItems": most, "description": description, **more}


def numbers(description: str, *, most: int, largest: int) -> Schema:
    """Describe a list of whole numbers."""
    items = {"type": "integer", "minimum": 1, "maximum": largest}
    return {"type": "array", "items": items, "minItems": 1, "maxItems": most, "description": description}
