"""A child process, started the cheapest way there is: by the kernel's vfork, in a session of its own.

`posix_spawn` costs half of what `subprocess` does and makes the same call below. What it cannot do is left to
`subprocess`: descriptors that are to be kept, and saying why a program was not found.
"""

from __future__ import annotations

import ctypes
import functools
import os
import shutil
import signal
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from select import poll
from typing import Protocol

OPAQUE_BYTES = 1024
"""Room for any of the C library's own records, the largest of which has 336."""
DEFAULT_SIGNALS = (signal.SIGPIPE, signal.SIGXFSZ)
"""What Python ignores and no job should."""


_SETSIGDEF, _SETSIGMASK, _SETSID = 0x04, 0x08, 0x80


class Process(Protocol):
    """A child of ours, as `subprocess` shows it too."""

    @property
    def pid(self) -> int: ...

    returncode: int | None

    def kill(self) -> None: ...

    def wait(self, timeout: float | None = None) -> int: ...


class Child:
    """A process that was started by `spawn`; whoever reaps it sets `returncode`."""

    __slots__ = ("pid", "returncode")

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None

    def kill(self) -> None:
        if self.returncode is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end and reap it; TimeoutExpired as `subprocess` says it."""
        if self.returncode is not None:
            return self.returncode
        if timeout is not None:
            self._wait(timeout)
        _, status = os.waitpid(self.pid, 0)
        self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def _wait(self, timeout: float) -> None:
        fd = os.pidfd_open(self.pid)
        try:
            waiting = poll()
            waiting.register(fd)
            if not waiting.poll(timeout * 1000):
                raise subprocess.TimeoutExpired(str(self.pid), timeout)
        finally:
            os.close(fd)


class Program:
    """A program with its words, its folder and what all its runs find in their environment, as the kernel takes it."""

    def __init__(self, path: str, argv: Sequence[str], cwd: str, environment: dict[str, str]) -> None:
        """Write it down. ValueError for a NUL."""
        self._path, self._folder = _string(path), _string(cwd)
        words = _strings(argv)
        self._words = (ctypes.c_char_p * (len(words) + 1))(*words, None)
        self._variables = _strings([f"{name}={value}" for name, value in environment.items()])
        self._environment = (ctypes.c_char_p * 0)()
        """The last run's whole: most have the same variables, and few other values."""
        self._added: dict[str, str] | None = None

    def spawn(self, variables: dict[str, str], streams: tuple[int, int, int]) -> Child | None:
        """Start it, with these variables besides; None when it could not be: why, only `subprocess` tells.

        ValueError for a NUL among them.

        It calls the C library's own, which Python's holds all threads up for, and which has no folder to start in
        there. Until the new program has begun our thread stands still; the database's goes on meanwhile.
        """
        library = _library()
        environment = self._with(variables)
        actions, pid = library.actions, library.pid
        library.init(actions)
        try:
            for target, fd in enumerate(streams):
                library.dup2(actions, _null() if fd < 0 else fd, target)
            library.chdir(actions, self._folder)
            error = library.spawn(library.pid_at, self._path, actions, library.attributes, self._words, environment)
        finally:
            library.destroy(actions)
        return None if error else Child(pid.value)

    def _with(self, variables: dict[str, str]) -> ctypes.Array[ctypes.c_char_p]:
        added, count = self._added, len(self._variables)
        if added is None or added.keys() != variables.keys():
            encoded = _strings([f"{name}={value}" for name, value in variables.items()])
            self._environment = (ctypes.c_char_p * (count + len(encoded) + 1))(*self._variables, *encoded, None)
            self._added = variables
            return self._environment
        for place, (name, before) in enumerate(added.items(), start=count):
            if (value := variables[name]) != before:
                self._environment[place] = _string(f"{name}={value}")
                added[name] = value
        return self._environment


def find_program(name: str, environment: dict[str, str]) -> str | None:
    """Return where a program lies, by the path its environment names; None: nowhere."""
    return name if "/" in name else shutil.which(name, path=environment.get("PATH", os.defpath))


def spawn(
    argv: Sequence[str],
    cwd: str,
    environment: dict[str, str],
    streams: tuple[int, int, int],
    keep: tuple[int, ...] = (),
) -> Process:
    """Start a process with these streams, of which the first may be -1 for nothing to read, and what is to be kept.

    No other descriptor of ours is open in it. Raises OSError as `subprocess` does, and ValueError for a NUL.
    """
    path = find_program(argv[0], environment)
    child = None if keep or path is None else Program(path, argv, cwd, environment).spawn({}, streams)
    # What was in the way, the folder or the program, only `subprocess` tells.
    return child or _popen(argv, cwd, environment, streams, keep)


def _strings(texts: Sequence[str]) -> list[bytes]:
    """Encode them all in one go, which takes a third of the time."""
    if not texts:
        return []
    encoded = os.fsencode("\0".join(texts)).split(b"\0")
    if len(encoded) != len(texts):
        raise ValueError("embedded null byte")
    return encoded


def _string(text: str) -> bytes:
    encoded = os.fsencode(text)
    if b"\0" in encoded:
        raise ValueError("embedded null byte")
    return encoded


class _Library:
    """The C library's functions, and what all our processes begin with: a session, no signal ignored or blocked.

    Only to spawn lets other threads go on meanwhile: to take turns with them for each small step would take longer.
    One thread alone spawns, so that what is written down for it need not be made anew each time.
    """

    def __init__(self) -> None:
        libc, waiting = ctypes.PyDLL(None), ctypes.CDLL(None)
        self.init = libc.posix_spawn_file_actions_init
        self.dup2 = libc.posix_spawn_file_actions_adddup2
        self.chdir = libc.posix_spawn_file_actions_addchdir_np
        self.destroy = libc.posix_spawn_file_actions_destroy
        self.spawn = waiting.posix_spawn
        self.actions = ctypes.create_string_buffer(OPAQUE_BYTES)
        self.pid = ctypes.c_int()
        self.pid_at = ctypes.byref(self.pid)
        self.attributes = attributes = ctypes.create_string_buffer(OPAQUE_BYTES)
        libc.posix_spawnattr_init(attributes)
        none, defaults = ctypes.create_string_buffer(OPAQUE_BYTES), ctypes.create_string_buffer(OPAQUE_BYTES)
        libc.sigemptyset(none)
        libc.sigemptyset(defaults)
        for signum in DEFAULT_SIGNALS:
            libc.sigaddset(defaults, signum)
        libc.posix_spawnattr_setsigmask(attributes, none)
        libc.posix_spawnattr_setsigdefault(attributes, defaults)
        libc.posix_spawnattr_setflags(attributes, ctypes.c_short(_SETSIGDEF | _SETSIGMASK | _SETSID))


@functools.cache
def _library() -> _Library:
    """Return the C library; made before the first spawn, and then nothing we inherited is open in any job."""
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208  (numbers, not paths)
        if int(name) > 2:
            with suppress(OSError):  # the listing's own
                os.set_inheritable(int(name), False)
    return _Library()


def _popen(
    argv: Sequence[str], cwd: str, environment: dict[str, str], streams: tuple[int, int, int], keep: tuple[int, ...]
) -> subprocess.Popen[bytes]:
    stdin, stdout, stderr = streams
    # No preexec_fn, no user or group: each would turn the cheap vfork into a fork of the whole worker.
    return subprocess.Popen(
        argv,
        cwd=cwd,
        env=environment,
        stdin=subprocess.DEVNULL if stdin < 0 else stdin,
        stdout=stdout,
        stderr=stderr,
        start_new_session=True,
        close_fds=True,
        pass_fds=keep,
    )


@functools.cache
def _null() -> int:
    return os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
