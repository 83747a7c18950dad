"""Locks, messages to the service manager, failpoints, and JSON lines over sockets."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from jobsup.errors import ConflictError, ExitCode, UsageError
from jobsup.runtime import failpoints, locks
from jobsup.runtime.channel import Channel, ChannelError
from jobsup.runtime.sdnotify import Notifier


def test_lock_is_held_by_one_and_names_its_holder(tmp_path: Path) -> None:
    held = locks.acquire(tmp_path / "lock")

    with pytest.raises(ConflictError, match=rf"held by pid {os.getpid()} since 20\d\d-.*Z; stop that one first"):
        locks.acquire(tmp_path / "lock")

    held.release()
    locks.acquire(tmp_path / "lock").release()


def test_lock_outlives_a_child_that_closes_its_copy(tmp_path: Path) -> None:
    held = locks.acquire(tmp_path / "lock")
    pid = os.fork()
    if pid == 0:
        held.close_in_child()
        os._exit(0)
    os.waitpid(pid, 0)

    with pytest.raises(ConflictError):
        locks.acquire(tmp_path / "lock")
    held.release()


def test_lock_that_is_handed_over_stays_held_and_what_nobody_asks_for_is_let_go(tmp_path: Path) -> None:
    held, other = locks.acquire(tmp_path / "lock"), locks.acquire(tmp_path / "other")
    locks.hand_over([held, other])
    assert os.get_inheritable(held.fd)

    mine = locks.acquire(tmp_path / "lock")
    locks.drop_handed_over()

    assert mine.fd == held.fd
    assert not os.get_inheritable(mine.fd)
    assert locks.HANDED_OVER_VARIABLE not in os.environ
    locks.acquire(tmp_path / "other").release()
    mine.release()


def test_lock_with_unreadable_content_still_says_that_it_is_held(tmp_path: Path) -> None:
    held = locks.acquire(tmp_path / "lock")
    (tmp_path / "lock").write_text("rubbish")

    with pytest.raises(ConflictError, match="held by another process"):
        locks.acquire(tmp_path / "lock")
    held.release()


def test_lock_in_a_missing_folder_says_which_and_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(locks.LockFileError, match="its folder must exist") as caught:
        locks.acquire(tmp_path / "missing" / "lock")

    assert caught.value.exit_code == ExitCode.CONFIG


@pytest.mark.parametrize("is_abstract", [False, True])
def test_service_manager_hears_each_message_and_children_never_see_its_address(
    tmp_path: Path, is_abstract: bool
) -> None:
    name = f"jobsup-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(f"\0{name}" if is_abstract else str(tmp_path / "notify"))
        manager.settimeout(5)
        environ = {"NOTIFY_SOCKET": f"@{name}" if is_abstract else str(tmp_path / "notify"), "WATCHDOG_USEC": "3000000"}
        notifier = Notifier(environ)

        assert environ == {}
        assert notifier.watchdog_seconds == 3.0
        notifier.reloading()
        first, second = manager.recv(4096).decode().split("\n")
        assert first == "RELOADING=1"
        assert 0 <= time.monotonic() - int(second.removeprefix("MONOTONIC_USEC=")) / 1e6 < 5
        notifier.status("two\nlines")
        notifier.status("two\nlines")
        notifier.ready()
        notifier.watchdog()
        notifier.extend_timeout(2.5)
        notifier.stopping()
        heard = [manager.recv(4096).decode() for _ in range(5)]
        assert heard == ["STATUS=two lines", "READY=1", "WATCHDOG=1", "EXTEND_TIMEOUT_USEC=2500000", "STOPPING=1"]
        notifier.restore(environ)
        assert "NOTIFY_SOCKET" in environ
        notifier.close()


def test_watchdog_meant_for_another_process_is_not_ours() -> None:
    assert Notifier({"WATCHDOG_USEC": "1000000", "WATCHDOG_PID": "1"}).watchdog_seconds is None
    assert Notifier({"WATCHDOG_USEC": "rubbish"}).watchdog_seconds is None


def test_notifier_without_a_manager_or_with_a_dead_one_does_nothing(tmp_path: Path) -> None:
    Notifier({}).ready()
    Notifier({"NOTIFY_SOCKET": str(tmp_path / "gone")}).ready()
    assert Notifier({}).watchdog_seconds is None


@pytest.mark.parametrize(
    ("value", "code"),
    [("here", -9), ("here:3", -9), ("here:2:exit", 70), ("here:4", 0), ("elsewhere", 0), ("", 0)],
)
def test_failpoint_acts_at_its_place_and_time(value: str, code: int) -> None:
    program = "from jobsup.runtime.failpoints import reach\nfor _ in range(3): reach('here')"

    done = subprocess.run([sys.executable, "-c", program], env=os.environ | {failpoints.VARIABLE: value}, check=False)

    assert done.returncode == code


def test_places_are_armed_while_processes_run_and_end_only_the_first_that_comes(tmp_path: Path) -> None:
    program = (
        "import sys\nfrom jobsup.runtime.failpoints import reach\nfor _ in sys.stdin: reach('here'); print(flush=True)"
    )
    environ = os.environ | {failpoints.VARIABLE: str(tmp_path)}
    pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "env": environ, "text": True, "bufsize": 1}
    both = [subprocess.Popen([sys.executable, "-c", program], **pipes) for _ in range(2)]

    def turn(process: subprocess.Popen[str]) -> bool:
        """Let it come by once; False when it ended there."""
        assert process.stdin is not None
        assert process.stdout is not None
        print(file=process.stdin, flush=True)
        return bool(process.stdout.readline())

    assert all(map(turn, both))
    (tmp_path / "here").write_text("2")
    assert [turn(both[0]), turn(both[1]), turn(both[0]), turn(both[1])] == [True, True, False, True]
    assert both[0].wait(10) == -9
    assert not (tmp_path / "here").exists()
    both[1].communicate(timeout=10)
    assert both[1].returncode == 0


def test_failpoint_that_cannot_be_read_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(failpoints.VARIABLE, "here:often:explode")

    with pytest.raises(UsageError, match="write name"):
        failpoints.reach("here")


def test_messages_arrive_whole_and_in_order_however_they_are_cut() -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        channel = Channel(ours)
        theirs.sendall(b'{"a": 1}\n{"b"')
        assert channel.receive() == [{"a": 1}]
        theirs.sendall(b": 2}\n\n")
        assert channel.receive() == [{"b": 2}]
        assert channel.receive() == []
        channel.close()


def send_without_end(channel: Channel) -> None:
    for _ in range(100_000):
        channel.send({"text": "x" * 1000})


def test_peer_that_does_not_read_costs_a_bounded_amount_of_memory() -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        channel = Channel(ours, backlog_bytes_max=10_000)
        with pytest.raises(ChannelError, match="10000 are the limit"):
            send_without_end(channel)
        assert 0 < channel.backlog <= 10_000
        channel.close()


def test_peer_that_is_gone_closes_the_channel_without_an_error() -> None:
    ours, theirs = socket.socketpair()
    channel = Channel(ours)
    theirs.close()

    channel.send({"a": 1})

    assert channel.closed
    assert channel.receive() == []
    channel.close()


@pytest.mark.parametrize("data", [b"no\n", b"[]\n", b"1\n", b"x" * 200, b'{"a":"' + b"x" * 200 + b'"}\n'])
def test_what_is_no_message_or_too_long_breaks_the_protocol(data: bytes) -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        channel = Channel(ours, line_bytes_max=100)
        theirs.sendall(data)
        with pytest.raises(ChannelError):
            channel.receive()
        channel.close()
