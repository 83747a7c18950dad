"""The portal's application on a test's database, asked without a network, by somebody who is signed in."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import uvicorn

from jobsup.config.settings import Config, PortalSettings
from jobsup.model import Role
from jobsup.portal.app import create
from jobsup.portal.call import csrf_of
from jobsup.portal.gate import COOKIE
from jobsup.portal.handles import Handles
from jobsup.portal.site import Site
from jobsup.store import users
from jobsup.store.engine import Database
from tests.support.asgi import Client
from tests.support.store import connect

ORIGIN = "http://127.0.0.1"
PORTAL = PortalSettings()


class Browser:
    """A person's browser; `role` is theirs."""

    def __init__(self, client: Client, secret: str) -> None:
        self.client = client
        self.secret = secret

    def get(self, path: str, **more: Any) -> Any:
        return self.client.get(path, follow_redirects=False, **more)

    def text(self, path: str) -> str:
        """Return a page that must be there."""
        answer = self.get(path)
        assert answer.status_code == 200, f"{path}: {answer.status_code}\n{answer.text}"
        return str(answer.text)

    def post(self, path: str, **fields: Any) -> Any:
        """Send a form as a page of ours would."""
        return self.client.post(
            path,
            data={"csrf": csrf_of(self.secret), **fields},
            headers={"Origin": ORIGIN, "Sec-Fetch-Site": "same-origin"},
            follow_redirects=False,
        )


@contextmanager
def browser(
    database: Database, folder: Path, role: Role = Role.OPERATOR, portal: PortalSettings = PORTAL, **more: Any
) -> Iterator[Browser]:
    """Run the application on this database and sign a new user in; `more` are further sections of the configuration."""
    name = f"{role}-user"
    users.add(database, name, role, "hash")
    secret = users.begin_session(database, name, "hash", lifetime=timedelta(hours=1), address="", agent="")
    handles = Handles(lambda: connect(database), count=2)
    site = Site(Config(path=str(folder / "jobsup.toml"), portal=portal, **more), handles, clock=database.clock)
    client = Client(create(site), base_url=ORIGIN, cookies={COOKIE: secret})
    try:
        yield Browser(client, secret)
    finally:
        client.close()
        handles.close()


@contextmanager
def served(
    database: Database, folder: Path, role: Role = Role.OPERATOR, portal: PortalSettings = PORTAL
) -> Iterator[tuple[str, str]]:
    """Run the application on a port of its own; yields its address and the cookie of a user who is signed in."""
    name = f"{role}-user"
    users.add(database, name, role, "hash")
    secret = users.begin_session(database, name, "hash", lifetime=timedelta(hours=1), address="", agent="")
    handles = Handles(lambda: connect(database), count=4)
    site = Site(Config(path=str(folder / "jobsup.toml"), portal=portal), handles)
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(create(site), log_config=None, lifespan="off", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", secret
    finally:
        server.servers[0].get_loop().call_soon_threadsafe(site.draining.set)
        server.should_exit = True
        thread.join(10)
        listener.close()
        handles.close()
