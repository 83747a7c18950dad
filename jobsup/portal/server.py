"""The portal's process: an HTTP server in a thread of its own, and a main thread that answers to the supervisor.

The main thread never serves. It shows that it lives only as long as the server's loop turns too, drains on TERM (takes
no new connection, ends the streams, finishes what it is answering) and leaves.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import uvicorn

from jobsup.config.settings import Config
from jobsup.errors import ConflictError, JobsupError
from jobsup.events import emit
from jobsup.portal.app import create
from jobsup.portal.handles import Handles
from jobsup.portal.opening import address, refuse_open_door
from jobsup.portal.patience import PatientProtocol, give_way, settle
from jobsup.portal.site import Site
from jobsup.runtime import procs
from jobsup.runtime.link import Link
from jobsup.runtime.service import Loop, serve
from jobsup.store import users
from jobsup.store.engine import Database

BACKLOG = 256
CONNECTIONS_MAX = 512
"""Beyond it a request is answered with 503."""
KEEP_ALIVE_SECONDS = 30
DRAIN_SECONDS = 5
"""How long requests that are being answered may go on after the wish to leave."""
LOOK_SECONDS = 1.0
PID_FILE = "portal.pid"
STALLED_SECONDS = 10.0
"""A server whose loop has not turned for so long serves nobody."""


class PortalStalledError(JobsupError):
    """The server's loop does not turn, or has ended by itself: the process is replaced."""


def run(config: Config, link: Link) -> int:
    """Be the portal until told to stop; returns the exit code of its process."""
    give_way()
    return serve(PortalService(config, link), link)


class PortalService:
    """Keeps the server; implements `runtime.service.Service`."""

    def __init__(self, config: Config, link: Link) -> None:
        self.finished = False
        self._config = config
        self._link = link
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None
        self._socket: socket.socket | None = None
        self._handles: Handles | None = None
        self._site: Site | None = None
        self._loop: Loop | None = None
        self._turned_at = 0.0
        self._failure: BaseException | None = None

    @property
    def statements(self) -> int:
        return self._handles.statements if self._handles is not None else 0

    def start(self, loop: Loop) -> dict[str, Any]:
        """Open the database and listen; the facts hold the address."""
        self._loop = loop
        self._handles = Handles(lambda: Database.of(self._config.database, kind="portal"))
        with self._handles.one() as database:
            has_users = users.count(database) > 0
        refuse_open_door(self._config, has_users=has_users)
        self._site = Site(self._config, self._handles)
        self._socket = _listen(self._config)
        self._server = uvicorn.Server(self._settings(self._site))
        settle()
        self._turned_at = loop.monotonic()
        self._thread = threading.Thread(target=self._serve, name="server", daemon=True)
        self._thread.start()
        emit("portal.started", f"Portal at {address(self._config.portal)}")
        return {"address": address(self._config.portal)}

    def poll(self) -> float:
        """Look whether the server's loop turns; raises PortalStalledError when it does not."""
        assert self._loop is not None  # noqa: S101  (started)
        assert self._thread is not None  # noqa: S101
        if not self._thread.is_alive():
            if self._server is None or not self._server.should_exit:
                raise PortalStalledError(f"the portal's server has ended: {self._failure!r}")
            self.finished = True
            return 0.0
        if self._loop.monotonic() - self._turned_at > STALLED_SECONDS:
            raise PortalStalledError(f"the portal's server has not moved for {STALLED_SECONDS:.0f} s")
        self._ask_for_a_turn()
        return LOOK_SECONDS

    def handle(self, message: dict[str, Any]) -> None:
        """Nothing that other children do concerns it."""

    def drain(self) -> None:
        """Take no new connections, end the streams, finish what is being answered."""
        if self._server is None or self._site is None:
            self.finished = True
            return
        site, server = self._site, self._server
        self._in_loop(site.draining.set)
        server.should_exit = True

    def cancel(self) -> None:
        """Leave at once."""
        if self._server is not None:
            self._server.should_exit = self._server.force_exit = True
        self.drain()

    def close(self) -> None:
        if self._server is not None:
            self._server.should_exit = True
        if self._thread is not None:
            self._thread.join(timeout=DRAIN_SECONDS)
        if self._socket is not None:
            self._socket.close()
        if self._handles is not None and (self._thread is None or not self._thread.is_alive()):
            self._handles.close()

    def _settings(self, site: Site) -> uvicorn.Config:
        portal = self._config.portal
        return uvicorn.Config(
            create(site),
            log_config=None,
            log_level=logging.WARNING,
            access_log=False,
            http=PatientProtocol,
            lifespan="off",
            ws="none",
            server_header=False,
            date_header=True,
            backlog=BACKLOG,
            limit_concurrency=CONNECTIONS_MAX,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=DRAIN_SECONDS,
            proxy_headers=portal.behind_proxy,
            forwarded_allow_ips="*" if portal.behind_proxy else None,
            ssl_certfile=portal.tls_cert or None,
            ssl_keyfile=portal.tls_key or None,
        )

    def _serve(self) -> None:
        """Be the server's thread: its loop lives and dies here."""
        assert self._server is not None  # noqa: S101  (started)
        assert self._loop is not None  # noqa: S101
        try:
            self._server.run(sockets=[self._socket] if self._socket else None)
        except BaseException as error:  # noqa: BLE001  # the edge of the thread: the main one tells it and ends
            self._failure = error
        finally:
            self._loop.wake()

    def _ask_for_a_turn(self) -> None:
        def turned() -> None:
            if self._loop is not None:
                self._turned_at = self._loop.monotonic()

        self._in_loop(turned)

    def _in_loop(self, work: Any) -> None:
        """Have something done in the server's loop; when there is none any more, nobody needs it."""
        servers = getattr(self._server, "servers", None) or ()
        loop = servers[0].get_loop() if servers else None
        if loop is None:
            return
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(work)


def _listen(config: Config) -> socket.socket:
    """Take the port; a predecessor of this very instance, which a reload replaces, may hold it for a moment more."""
    pid_file = Path(config.supervisor.runtime_dir) / PID_FILE
    host, port = config.portal.host.strip("[]"), config.portal.port
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        if not _is_predecessor(pid_file, port):
            with socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind((host, port))
        listener = _bound(family, host, port)
    except OSError as error:
        raise ConflictError(
            f"portal: cannot listen on {host}:{port}: {error.strerror or error}; "
            "set another [portal] port, or end what holds it"
        ) from error
    pid_file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    pid_file.write_text(f"{os.getpid()} {procs.start_time(os.getpid())} {port}\n", encoding="ascii")
    return listener


def _bound(family: int, host: str, port: int) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind((host, port))
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


def _is_predecessor(pid_file: Path, port: int) -> bool:
    """Say whether a living portal of this instance has the port."""
    try:
        pid, started, held = (int(word) for word in pid_file.read_text(encoding="ascii").split())
    except (OSError, ValueError):
        return False
    return held == port and pid != os.getpid() and procs.is_alive(pid, started)
