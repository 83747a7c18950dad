"""A portal's application on a test's database, with somebody of every kind who may want in."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

from jobsup.actions import passwords
from jobsup.config.settings import Config, PortalSettings, SupervisorSettings
from jobsup.model import Origin, Role, ScheduleSpec, Status
from jobsup.portal.app import create
from jobsup.portal.call import csrf_of
from jobsup.portal.gate import COOKIE
from jobsup.portal.handles import Handles
from jobsup.portal.limits import Buckets, Tries
from jobsup.portal.routes import Entry
from jobsup.portal.site import Site
from jobsup.store import tokens, users
from jobsup.store.engine import Database
from tests.support.asgi import Client
from tests.support.fake_supervisor import FakeSupervisor
from tests.support.store import add_dispatch, add_job, connect

ORIGIN = "http://127.0.0.1"
OWN = {"Origin": ORIGIN, "Sec-Fetch-Site": "same-origin"}
ROLES = tuple(Role)
HOUR = timedelta(hours=1)
PASSWORD = "seven horses in a row"


@contextmanager
def quick_passwords() -> Iterator[None]:
    """Make new passwords quick to try: at their real cost they took half of the time of tests that are about others."""
    with patch.object(passwords, "N", 1 << 10):
        yield


with quick_passwords():
    PASSWORD_HASH = passwords.make_hash(PASSWORD)

FIELDS = {
    "old": PASSWORD,
    "name": "newcomer",
    "role": "viewer",
    "password": PASSWORD,
    "again": PASSWORD,
    "scope": "read",
    "jobs": "backup",
    "job": "backup",
    "do": "pause",
    "typed": "backup",
    "days": "30",
    "count": "1",
    "action": "pause",
}
"""What forms want, all together: with the right credentials they do something."""


BODY = {
    "name": "newcomer",
    "role": "viewer",
    "password": PASSWORD,
    "scopes": ["read"],
    "jobs": ["backup"],
    "from": "2026-01-01T00:00:00Z",
    "to": "2026-01-01T03:00:00Z",
    "workers": 3,
    "older_than_seconds": 86400,
    "cron": "0 3 * * *",
    "toml": '[[job]]\nname = "fresh"\ncommand = "true"\n',
}
"""The same for the API."""


class House:
    """A portal with a user of every role, a token of every scope, a job and runs of it."""

    def __init__(self, database: Database, folder: Path) -> None:
        self.database = database
        self.handles = Handles(lambda: connect(database), count=2)
        config = Config(
            path=str(folder / "jobsup.toml"),
            supervisor=SupervisorSettings(runtime_dir=str(folder / "run")),
            portal=PortalSettings(enabled=True, allow_edit_commands=True),
        )
        self.site = Site(config, self.handles, clock=database.clock)
        self.site.buckets = Buckets(database.clock, burst=1e9)
        self.app = create(self.site)
        self.supervisor = FakeSupervisor(self.site.socket)
        job = add_job(database, "backup", schedule=ScheduleSpec(cron="0 * * * *"))
        add_job(database, "kept", row={"origin": Origin.PORTAL})
        self.ended = add_dispatch(database, job, Status.FAILED)
        self.waiting = add_dispatch(database, job, Status.PENDING)
        self.secrets = {role: self._user(role) for role in ROLES}
        users.add(database, "victim", Role.VIEWER, "hash")
        self.tokens = {scope: tokens.create(database, scope, [scope], by="test") for scope in tokens.SCOPES}
        self.every = ""
        """For a token of all scopes, where a test makes one."""
        self.hook = tokens.create(database, "hook", [], by="test", job="backup")
        for secret in (*self.tokens.values(), self.hook):
            tokens.find(database, secret)  # from now on their use is not news
        self.kept = sqlite3.connect(":memory:", check_same_thread=False)
        self.keep()
        assert database.path is not None
        self._watch = sqlite3.connect(database.path)
        self._read: tuple[int, dict[str, list[Any]]] = (-1, {})
        self.client = Client(self.app, base_url=ORIGIN)

    def keep(self) -> None:
        """Take what is in the database now for the beginning."""
        self._copy(to_file=False)

    def rewind(self) -> None:
        """Put everything back as it was at the beginning."""
        self._copy(to_file=True)
        self.site.tries = Tries(self.database.clock)
        self.supervisor.asked.clear()
        self.client.cookies.clear()

    def _copy(self, *, to_file: bool) -> None:
        assert self.database.path is not None
        with closing(sqlite3.connect(self.database.path, timeout=10)) as file:
            source, target = (self.kept, file) if to_file else (file, self.kept)
            source.backup(target)

    def close(self) -> None:
        self.client.close()
        self._watch.close()
        self.handles.close()
        self.supervisor.close()

    def path(self, entry: Entry) -> str:
        number = self.waiting if entry.path.endswith("}/cancel") else self.ended
        name = "victim" if "/users/" in entry.path else "read" if "/tokens/" in entry.path else "backup"
        name = "kept" if entry.name == "removeJob" else name
        query = {"searchLog": "?q=x", "findRun": "?target=backup"}.get(entry.name, "")
        return self._filled(entry, number, name) + query

    def _filled(self, entry: Entry, number: int, name: str) -> str:
        return re.sub(
            r"\{(\w+)(?::\w+)?\}",
            lambda match: {"id": str(number), "name": name, "token": "jobsup_wrong"}.get(match[1], "x"),
            entry.path,
        )

    def body(self, entry: Entry) -> dict[str, Any]:
        """Return a JSON object that does something, of the keys an entry of the API takes."""
        here = {**BODY, "ids": [self.waiting if entry.name == "cancelRuns" else self.ended]}
        return {key: here[key] for key in entry.body if key in here}

    def send(self, entry: Entry, *, method: str = "", fields: dict[str, str] | None = None, **more: Any) -> Any:
        """Send what the entry wants, with just these headers and cookies."""
        method = method or entry.method
        if method == "POST" and entry.path.startswith("/api/"):
            more.setdefault("json", self.body(entry))
        elif method not in ("GET", "HEAD"):
            more.setdefault("data", {**FIELDS, **(fields or {})})
        return self.client.request(method, self.path(entry), follow_redirects=False, **more)

    def send_as(self, role: Role, entry: Entry, *, csrf: str | None = None, headers: Any = None, **more: Any) -> Any:
        """Send it as somebody who is signed in would, from a page of ours."""
        secret = self.secrets[role]
        token = csrf_of(secret) if csrf is None else csrf
        sent = {**OWN, **({"X-CSRF-Token": token} if token else {}), "Cookie": f"{COOKIE}={secret}", **(headers or {})}
        return self.send(entry, headers=sent, **more)

    def send_with(self, token: str, entry: Entry) -> Any:
        return self.send(entry, headers={"Authorization": f"Bearer {token}"})

    def state(self) -> dict[str, list[Any]]:
        """Return all rows of all tables but the audit, which may well say what was refused; and what the supervisor
        was asked to change."""
        version = self._watch.execute("PRAGMA data_version").fetchone()[0]
        if version != self._read[0]:  # nobody else has written since: all is as it was read
            self._read = (version, self._rows())
        return {"supervisor": list(self.supervisor.asked), **self._read[1]}

    def _rows(self) -> dict[str, list[Any]]:
        tables = self._watch.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        return {
            table: self._watch.execute(f'SELECT * FROM "{table}" ORDER BY 1').fetchall()
            for (table,) in tables
            if table not in ("audit", "alembic_version", "sqlite_sequence")
        }

    def _user(self, role: Role) -> str:
        users.add(self.database, role, role, PASSWORD_HASH)
        return users.begin_session(
            self.database, role, PASSWORD_HASH, lifetime=timedelta(hours=1), address="", agent=""
        )
