"""The control socket: for its owner alone, and nobody who misuses it can hold the supervisor up."""

from __future__ import annotations

import json
import os
import pwd
import signal
import socket
import stat
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from jobsup.control.client import call
from jobsup.control.protocol import CLIENTS_MAX, IDLE_SECONDS_MAX, MESSAGE_BYTES_MAX
from jobsup.errors import DeniedError, ExitCode, UnreachableError, UsageError

PATIENCE_SECONDS = IDLE_SECONDS_MAX + 3


def connect(toy: Any) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.settimeout(PATIENCE_SECONDS)
    sock.connect(str(toy.socket))
    return sock


def read_all(sock: socket.socket) -> dict[str, Any]:
    """Read until the other side hangs up; returns its last message."""
    data = b""
    while chunk := sock.recv(65536):
        data += chunk
    return dict(json.loads(data.splitlines()[-1]))


def as_nobody(toy: Any, action: Any) -> int:
    """Run `action` in a forked child as the user nobody; returns its exit code."""
    pid = os.fork()
    if pid == 0:
        code = 99
        try:
            os.setgroups([])
            user = pwd.getpwnam("nobody")
            os.setresgid(user.pw_gid, user.pw_gid, user.pw_gid)
            os.setresuid(user.pw_uid, user.pw_uid, user.pw_uid)
            code = action()
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_folder_and_socket_belong_to_their_owner_alone(make_toy: Any) -> None:
    toy = make_toy().start()

    assert stat.S_IMODE(toy.socket.stat().st_mode) == 0o600
    assert stat.S_IMODE(toy.socket.parent.stat().st_mode) == 0o700


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="becoming another user needs root")
def test_another_user_is_kept_out_by_the_file_mode_and_by_the_server(make_toy: Any) -> None:
    toy = make_toy().start()
    toy.folder.chmod(0o755)

    def denied_by_mode() -> int:
        try:
            call(toy.socket, {"do": "ping"}, timeout=5)
        except DeniedError as error:
            return int(error.exit_code)
        return 0

    assert as_nobody(toy, denied_by_mode) == ExitCode.DENIED

    toy.socket.parent.chmod(0o755)
    toy.socket.chmod(0o666)

    assert as_nobody(toy, lambda: int(call(toy.socket, {"do": "stop"}, timeout=5)["exit_code"])) == ExitCode.DENIED
    assert toy.state() == "running"


@pytest.mark.parametrize(
    "data",
    [
        b"this is no JSON\n",
        b"[1, 2]\n",
        b'"stop"\n',
        b"\xff\xfe\n",
        b"[" * 20000 + b"\n",
        b'{"do": "ping", "x": "' + b"y" * MESSAGE_BYTES_MAX + b'"}\n',
        b"z" * (2 * MESSAGE_BYTES_MAX),
    ],
    ids=["text", "list", "string", "bytes", "deep", "oversized", "endless"],
)
def test_malformed_frames_are_refused(make_toy: Any, data: bytes) -> None:
    toy = make_toy(worker={}).start()

    with connect(toy) as sock:
        with suppress(OSError):  # it may hang up before all is sent
            sock.sendall(data)
        try:
            answer = read_all(sock)
        except (ConnectionResetError, IndexError):
            answer = {"exit_code": ExitCode.USAGE}  # hung up on before it could read why

    assert answer["exit_code"] == ExitCode.USAGE
    assert toy.state() == "running"


@pytest.mark.parametrize("do", ["explode", "__init__", "", None, ["stop"], "stop; ping"])
def test_only_words_of_the_table_are_understood(make_toy: Any, do: Any) -> None:
    toy = make_toy(worker={}).start()

    answer = toy.call({"do": do})

    assert answer["exit_code"] != 0
    assert "known are: ping, reload, restart, scale, status, stop" in answer["error"]
    assert toy.state() == "running"


def test_half_open_and_silent_clients_hold_nobody_up_and_are_sent_off(make_toy: Any) -> None:
    toy = make_toy(worker={}).start()
    silent = [connect(toy) for _ in range(CLIENTS_MAX - 2)]
    silent[0].sendall(b'{"do": ')

    begun_at = time.monotonic()
    assert toy.call({"do": "ping"})["exit_code"] == 0
    assert time.monotonic() - begun_at < 1

    answer = read_all(silent[0])
    assert "no request within" in answer["error"]
    assert IDLE_SECONDS_MAX - 1 <= time.monotonic() - begun_at <= PATIENCE_SECONDS
    for sock in silent:
        sock.close()


def test_one_client_too_many_is_told_so(make_toy: Any) -> None:
    toy = make_toy(worker={}).start()
    crowd = [connect(toy) for _ in range(CLIENTS_MAX)]

    with connect(toy) as late:
        answer = read_all(late)

    assert "clients at once" in answer["error"]
    for sock in crowd:
        sock.close()
    toy.until(lambda: toy.call({"do": "status"}).get("status", {}).get("state") == "running")


def test_client_that_leaves_in_the_middle_of_a_reload_does_not_stop_it(make_toy: Any) -> None:
    toy = make_toy(worker={}).start()
    toy.write({"worker": {"version": "2"}})

    with connect(toy) as sock:
        sock.sendall(b'{"do": "reload"}\n')

    toy.until(lambda: toy.status()["supervisor"]["generation"] == 2)


def test_second_reload_at_the_same_time_is_a_conflict(make_toy: Any) -> None:
    toy = make_toy(worker={}).start()
    toy.write({"worker": {"does": "never_ready", "boot_timeout": 2}})
    toy.signal(signal.SIGHUP)
    toy.until(lambda: toy.state() == "reloading")

    answer = toy.call({"do": "reload"})

    assert answer["exit_code"] == ExitCode.CONFLICT
    assert "the instance is reloading" in answer["error"]


def test_nothing_running_is_said_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(UnreachableError, match="jobsup start"):
        call(tmp_path / "none.sock", {"do": "ping"})


def test_stale_socket_of_a_dead_supervisor_is_unreachable_and_then_replaced(make_toy: Any) -> None:
    toy = make_toy(worker={}).start()
    toy.signal(signal.SIGKILL)
    toy.wait()
    assert toy.socket.exists()

    # A child that had just been forked may hold the socket for a moment more.
    toy.until(lambda: "nothing is running" in _refusal(toy))

    toy.start()
    assert toy.call({"do": "ping"})["pid"] == toy.pid


def _refusal(toy: Any) -> str:
    with pytest.raises(UnreachableError) as refused:
        toy.call({"do": "ping"})
    return str(refused.value)


def test_frozen_supervisor_is_unreachable_after_the_time_given(make_toy: Any) -> None:
    toy = make_toy(worker={}).start()
    toy.signal(signal.SIGSTOP)
    try:
        with pytest.raises(UnreachableError, match="did not answer in time"):
            call(toy.socket, {"do": "ping"}, timeout=0.3)
    finally:
        toy.signal(signal.SIGCONT)


def test_too_long_a_path_and_too_long_a_request_are_refused_before_anything_is_sent(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="at most 107 bytes"):
        call(tmp_path / ("x" * 120), {"do": "ping"})
    with pytest.raises(UsageError, match="over the limit"):
        call(tmp_path / "sock", {"do": "ping", "x": "y" * MESSAGE_BYTES_MAX})


def test_status_tells_the_memory_of_each_process_when_asked(make_toy: Any) -> None:
    toy = make_toy().start()

    status = toy.call({"do": "status", "memory": True})["status"]

    assert status["supervisor"]["pss_bytes"] > 1 << 20
    assert all(child["pss_bytes"] > 0 for child in status["children"])


def test_runtime_folder_that_others_can_write_to_is_refused(make_toy: Any) -> None:
    toy = make_toy()
    toy.socket.parent.mkdir(mode=0o700)
    toy.socket.parent.chmod(0o777)

    assert toy.launch().wait() == ExitCode.CONFIG

    assert "others could write to it" in toy.log
