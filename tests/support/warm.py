"""Long-lived verbs without the start of an interpreter: a process that has all of jobsup loaded forks itself for each.

What it forks has the words, environment, folder, output and session that the installed command would have, and nothing
else open; it is jobsup's own code from there on, and its exit code is told. What is not as it would be: the command
line and the environment that `/proc` shows, the parent, what is loaded and how much memory that takes. Tests of those,
of start-up, of control groups and of other networks use the command itself, as each verb does at least once.
"""

from __future__ import annotations

import atexit
import importlib
import json
import os
import random
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, NoReturn

from tests.support.command import JOBSUP

MESSAGE_BYTES_MAX = 128 << 10
_BACKLOG = 64

_running: Starter | None = None


class Started:
    """A process that was started warm, with what tests use of `subprocess.Popen`."""

    def __init__(self, link: socket.socket) -> None:
        self._link = link
        self.pid = int(link.recv(MESSAGE_BYTES_MAX))
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Return the exit code, as `subprocess` writes it; None while it runs."""
        return self._look(0)

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end; raises subprocess.TimeoutExpired."""
        code = self._look(timeout)
        if code is None:
            assert timeout is not None
            raise subprocess.TimeoutExpired(str(JOBSUP), timeout)
        return code

    def _look(self, seconds: float | None) -> int | None:
        if self.returncode is None and select.select([self._link], [], [], seconds)[0]:
            said = self._link.recv(MESSAGE_BYTES_MAX)
            self._link.close()
            self.returncode = int(said) if said else -signal.SIGKILL  # the starter is gone, and it with it
        return self.returncode

    def send_signal(self, signum: int) -> None:
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, signum)

    def abandon(self) -> None:
        """Do to it what the end of this process would."""
        self._link.close()
        self.returncode = -signal.SIGKILL

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class Starter:
    """The process that forks itself; it ends with the one that made it."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="jobsup-warm-")
        self.address = str(Path(self._folder.name, "socket"))
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        listening.bind(self.address)
        listening.listen(_BACKLOG)
        ours, theirs = socket.socketpair()
        self._life = ours
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.warm", str(listening.fileno()), str(theirs.fileno())],
            cwd=Path(__file__).parent.parent.parent,
            stdin=subprocess.DEVNULL,
            pass_fds=(listening.fileno(), theirs.fileno()),
            start_new_session=True,
        )
        listening.close()
        theirs.close()

    def close(self) -> None:
        self._life.close()
        self._process.wait()
        self._folder.cleanup()


def launch() -> None:
    """Start the one that all processes forked from this one will ask; else the first that asks does."""
    global _running  # noqa: PLW0603  (one for the whole run)
    _running = _running or Starter()
    atexit.register(_running.close)


def start(
    words: tuple[str, ...],
    folder: Path,
    environment: dict[str, str],
    output: IO[bytes],
    *,
    program: str = "jobsup.cli.services:run",
) -> Started:
    """Run a verb in a session of its own, in that folder, its output going to that file.

    `program`: the module and the function that is given the words, and returns the exit code.
    """
    if _running is None:
        launch()
    assert _running is not None
    link = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    link.connect(_running.address)
    asked = {"program": program, "words": words, "folder": str(folder), "environment": environment}
    request = json.dumps(asked).encode()
    socket.send_fds(link, [request], [output.fileno()])
    return Started(link)


class _Server:
    """What runs in the starter."""

    def __init__(self, listening: socket.socket, life: socket.socket) -> None:
        self._listening = listening
        self._life = life
        self._ends: dict[int, tuple[int, socket.socket]] = {}
        """The descriptor that tells of a child's end -> its process id, and who waits for it."""

    def serve(self) -> None:
        """Fork for whoever asks, until the one that made this process is gone."""
        while True:
            links = [link for _, link in self._ends.values()]
            heard: list[Any] = [self._listening, self._life, *self._ends, *links]
            ready = select.select(heard, [], [])[0]
            if self._life in ready:
                self._end_all()
                return
            for end, (pid, link) in list(self._ends.items()):
                if end in ready:
                    self._tell(end)
                elif link in ready:  # nobody waits for it any more
                    os.kill(pid, signal.SIGKILL)
            if self._listening in ready:
                self._start(self._listening.accept()[0])

    def _start(self, link: socket.socket) -> None:
        request, fds, _, _ = socket.recv_fds(link, MESSAGE_BYTES_MAX, 1)
        if not request:
            link.close()
            return
        pid = os.fork()
        if pid == 0:
            _become(**json.loads(request), output=fds[0])
        os.close(fds[0])
        link.send(str(pid).encode())
        self._ends[os.pidfd_open(pid)] = (pid, link)

    def _tell(self, end: int) -> None:
        pid, link = self._ends.pop(end)
        os.close(end)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        with suppress(OSError):
            link.send(str(code).encode())
        link.close()

    def _end_all(self) -> None:
        for pid, _ in self._ends.values():
            os.kill(pid, signal.SIGKILL)


def _become(program: str, words: list[str], folder: str, environment: dict[str, str], output: int) -> NoReturn:
    """Be the program with these words, as if it had just been executed."""
    code = 1
    try:
        os.setsid()
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.closerange(3, os.sysconf("SC_OPEN_MAX"))
        os.environ.clear()
        os.environ.update(environment)
        time.tzset()
        os.chdir(folder)
        random.seed()
        sys.argv = [str(JOBSUP), *words]
        module, function = program.split(":")
        code = getattr(importlib.import_module(module), function)(words)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _load() -> None:
    """Load what a supervisor loads, in its order, and what its short-lived children and its portal do."""
    from jobsup.runtime import lazy

    lazy.spare()
    from jobsup.app import prepare
    from jobsup.store import preload

    prepare.load_store()
    preload.rehearse("sqlite:///")
    lazy.let_openssl_in()
    for name in ("jobsup.app.supervised", "jobsup.app.alone", "jobsup.config.load", "jobsup.portal.server"):
        importlib.import_module(name)
    importlib.import_module("tests.support.toy")


def main(listening: str, life: str) -> None:
    _load()
    kinds = socket.AF_UNIX, socket.SOCK_SEQPACKET
    _Server(socket.socket(*kinds, fileno=int(listening)), socket.socket(fileno=int(life))).serve()


if __name__ == "__main__":
    main(*sys.argv[1:])
