"""The instance stays the only one, and reachable: over a restart, a removed folder, and too many descriptors."""

from __future__ import annotations

import fcntl
import os
import resource
import shutil
import signal
import threading
from pathlib import Path
from typing import Any

import pytest

from jobsup.errors import ConflictError, UnreachableError
from jobsup.runtime import locks


def test_nobody_else_gets_the_lock_during_a_restart(make_toy: Any) -> None:
    toy = make_toy(worker={}).start()
    taken = threading.Event()

    def wait_for_the_lock() -> None:
        with (toy.folder / "lock").open() as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # blocks: the kernel wakes it whenever the lock is free for a moment
            taken.set()

    waiting = threading.Thread(target=wait_for_the_lock)
    waiting.start()
    before = toy.pid_of("worker")
    assert toy.call({"do": "restart"})["exit_code"] == 0
    toy.until(lambda: toy.state() == "running" and toy.pid_of("worker") != before)

    assert not taken.is_set()
    with pytest.raises(ConflictError, match=str(toy.pid)):
        locks.acquire(toy.folder / "lock")
    toy.signal(signal.SIGTERM)
    assert toy.wait() == 0
    waiting.join(5)
    assert taken.is_set()


def test_a_removed_runtime_folder_is_made_again_and_people_are_heard_again(make_toy: Any) -> None:
    toy = make_toy(worker={}).start()
    worker = toy.pid_of("worker")
    shutil.rmtree(toy.folder / "run")
    with pytest.raises(UnreachableError):
        toy.status()

    toy.until(lambda: toy.state() == "running")

    assert toy.pid_of("worker") == worker
    assert (toy.folder / "run").stat().st_mode & 0o777 == 0o700
    assert toy.socket.stat().st_mode & 0o777 == 0o600
    assert "is made again: it was removed" in toy.log


def test_a_removed_lock_file_is_locked_anew(make_toy: Any) -> None:
    toy = make_toy(worker={}).start()
    (toy.folder / "lock").unlink()
    toy.socket.unlink()
    toy.until(lambda: toy.state() == "running")

    with pytest.raises(ConflictError, match=str(toy.pid)):
        locks.acquire(toy.folder / "lock")


def test_a_supervisor_without_a_free_descriptor_rests_and_lets_people_in_later(make_toy: Any) -> None:
    toy = make_toy(worker={}).start()
    _soft, hard = resource.prlimit(toy.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(toy.pid, resource.RLIMIT_NOFILE, (3, hard))
    answers: list[dict[str, Any]] = []
    asking = threading.Thread(target=lambda: answers.append(toy.call({"do": "ping"})))
    asking.start()
    toy.until(lambda: toy.log.count("Nobody can be let in now: Too many open files") >= 2)
    ticks = _cpu_ticks(toy.pid)
    refused = toy.log.count("Nobody can be let in now")
    toy.until(lambda: toy.log.count("Nobody can be let in now") >= refused + 1)
    assert _cpu_ticks(toy.pid) - ticks < os.sysconf("SC_CLK_TCK") // 4

    resource.prlimit(toy.pid, resource.RLIMIT_NOFILE, (hard, hard))
    asking.join(5)
    assert answers[0]["pid"] == toy.pid


def _cpu_ticks(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return int(fields[11]) + int(fields[12])
