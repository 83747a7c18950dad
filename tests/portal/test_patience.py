"""Who holds connections without saying or taking anything is hung up on, and keeps nobody else out."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, suppress
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
from jobsup.store import tokens
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


HOST = b"Host: 127.0.0.1\r\n"
WISH = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"
"""What the HTTP client of Java sends with its first request, whatever that is."""


def answers(port: int, *parts: bytes) -> bytes:
    """Return all that is answered to what is sent piece by piece, until the other side hangs up."""
    with opened(port, b"") as client:
        told = b""
        with suppress(ConnectionError):  # who hangs up reads no more of what was sent
            for part in parts:
                client.sendall(part)
            while data := client.recv(1 << 16):
                told += data
        return told


def codes(port: int, *parts: bytes) -> list[int]:
    return [int(code) for code in re.findall(rb"HTTP/1\.1 (\d+)", answers(port, *parts))]


@pytest.mark.parametrize(
    "request_",
    [
        b"GET /login HTTP/1.1\r\n" + HOST + b"Host: evil.example\r\n\r\n",
        b"GET http://evil.example/login HTTP/1.1\r\n" + HOST + b"\r\n",
        b"CONNECT evil.example:80 HTTP/1.1\r\n" + HOST + b"\r\n",
        b"GET /login HTTP/1.1\r\n" + HOST + b"X : 1\r\n\r\n",
        b"GET /login HTTP/1.1\r\n" + HOST + b"X: \0\r\n\r\n",
        b"POST /login HTTP/1.1\r\n" + HOST + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /login HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        b"POST /login HTTP/1.1\r\n" + HOST + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"GET /login HTTP/1.1\r\n" + HOST + b"X: " + b"x" * (1 << 17),
        b"GET /login HTTP/1.1\r\n" + HOST + b"X: 1\r\n" * (1 << 14),
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ],
    ids=[
        "two hosts",
        "another server's address",
        "a tunnel",
        "a blank in a name",
        "a NUL",
        "two lengths of a body",
        "an unknown form of a body",
        "lengths that differ",
        "a header without end",
        "headers without end",
        "TLS",
    ],
)
def test_what_breaks_the_form_of_requests_is_answered_with_400_at_most(port: int, request_: bytes) -> None:
    assert codes(port, request_) in ([400], [])  # whose bytes are left unread may be cut off before the answer is read
    assert codes(port, b"GET /login HTTP/1.1\r\nConnection: close\r\n" + HOST + b"\r\n") == [200]


def test_a_wish_for_another_protocol_is_passed_over_and_its_body_is_read(port: int) -> None:
    head = b"POST /api/v1/jobs/x/run HTTP/1.1\r\nContent-Type: application/json\r\n" + HOST + WISH
    told = answers(
        port, head + b"Content-Length: 2\r\n\r\n", b"{}", b"GET /healthz HTTP/1.1\r\n" + HOST + WISH + b"\r\n"
    )
    assert re.findall(rb"HTTP/1\.1 (\d+)", told) == [b"401", b"200"]


def test_what_follows_a_body_is_no_header(port: int, db: Database) -> None:
    token = tokens.create(db, "program", ["read"], by="test").encode()
    head = b"POST /api/v1/explain HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Type: application/json\r\n" + HOST
    head += b"Connection: close\r\n"
    body, bearer = b'e\r\n{"every":"5s"}\r\n0\r\n', b"Authorization: Bearer " + token + b"\r\n"
    assert codes(port, head + bearer + b"\r\n" + body + b"\r\n") == [200]
    assert codes(port, head + b"\r\n" + body + bearer + b"\r\n") == [401]


def test_requests_sent_ahead_are_answered_in_turn_as_long_as_they_are_few(port: int) -> None:
    one = b"GET /healthz HTTP/1.1\r\n" + HOST + b"\r\n"
    last = b"GET /healthz HTTP/1.1\r\nConnection: close\r\n" + HOST + b"\r\n"
    assert codes(port, one * (patience.AHEAD_MAX - 1) + last) == [200] * patience.AHEAD_MAX
    assert len(codes(port, one * (3 * patience.AHEAD_MAX))) <= 1


def test_a_body_that_is_mostly_wrapping_is_hung_up_on(port: int) -> None:
    piece, sent = b"x" * (1 << 20), 0
    head = b"POST /login HTTP/1.1\r\nTransfer-Encoding: chunked\r\n" + HOST + b"\r\n1;"
    with opened(port, head) as client, suppress(ConnectionError):
        while sent < 16 * patience.WRAPPED_BYTES_MAX:
            client.sendall(piece)
            sent += len(piece)
    assert sent < 16 * patience.WRAPPED_BYTES_MAX
