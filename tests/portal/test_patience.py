"""Who holds connections without saying or taking anything is hung up on, and keeps nobody else out."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
import uvicorn

from jobsup.config.settings import Config, PortalSettings
from jobsup.portal import patience
from jobsup.portal.app import create
from jobsup.portal.handles import Handles
from jobsup.portal.patience import PatientProtocol
from jobsup.portal.site import Site
from jobsup.store.engine import Database
from tests.support.store import connect

SECONDS = 1.0
WAIT_SECONDS = 20


@pytest.fixture
def port(db: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A portal whose patience is short; yields its port."""
    monkeypatch.setattr(patience, "HEAD_SECONDS", SECONDS)
    monkeypatch.setattr(patience, "BODY_SECONDS", SECONDS)
    monkeypatch.setattr(patience, "PER_ADDRESS_MAX", 40)
    handles = Handles(lambda: connect(db), count=2)
    site = Site(Config(path=str(tmp_path / "jobsup.toml"), portal=PortalSettings(enabled=True)), handles)
    listener = socket.create_server(("127.0.0.1", 0), backlog=256)
    settings = uvicorn.Config(create(site), http=PatientProtocol, log_config=None, lifespan="off")
    server = uvicorn.Server(settings)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    yield int(listener.getsockname()[1])
    server.should_exit = True
    thread.join(10)
    listener.close()
    handles.close()


def opened(port: int, data: bytes) -> socket.socket:
    client = socket.create_connection(("127.0.0.1", port), timeout=WAIT_SECONDS)
    client.sendall(data)
    return client


def is_hung_up_on(client: socket.socket) -> bool:
    """Wait until the other side has closed; it may have answered before."""
    try:
        while client.recv(4096):
            pass
    except ConnectionResetError:
        return True
    except TimeoutError:
        return False
    return True


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"GET / HT",
        b"GET /login HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: ",
        (
            b"POST /login HTTP/1.1\r\nHost: 127.0.0.1\r\nOrigin: http://127.0.0.1\r\nContent-Length: 100\r\n"
            b"Content-Type: application/x-www-form-urlencoded\r\n\r\nname="
        ),
    ],
    ids=["nothing", "half a line", "half a head", "half a body"],
)
def test_who_does_not_finish_is_hung_up_on(port: int, said: bytes) -> None:
    with opened(port, said) as client:
        assert is_hung_up_on(client)


def test_a_byte_now_and_then_buys_no_time(port: int) -> None:
    with opened(port, b"GET /login HTTP/1.1\r\n") as client:
        client.settimeout(0.1)
        for _ in range(int(WAIT_SECONDS / 0.1)):
            try:
                client.sendall(b"X")
                if client.recv(1024) == b"":
                    return
            except TimeoutError:
                continue
            except OSError:
                return
    pytest.fail("it still listens")


def test_one_address_cannot_take_all_places_and_others_are_served(port: int) -> None:
    with ExitStack() as stack:
        for _ in range(60):
            stack.enter_context(opened(port, b""))
        other = httpx.HTTPTransport(local_address="127.0.0.2")
        with httpx.Client(transport=other) as client:
            answer = client.get(f"http://127.0.0.1:{port}/login", timeout=WAIT_SECONDS)
        assert answer.status_code == 200


def test_a_connection_that_is_used_stays_open(port: int) -> None:
    with httpx.Client() as client:
        codes = [client.get(f"http://127.0.0.1:{port}/healthz", timeout=WAIT_SECONDS).status_code for _ in range(20)]
    assert codes == [200] * 20
