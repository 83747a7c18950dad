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
    program = argv[0] if "/" in argv[0] else shutil.which(argv[0], path=environment.get("PATH", os.defpath))
    if keep or program is None:
        return _popen(argv, cwd, environment, streams, keep)
    stdin, stdout, stderr = streams
    pid = _posix_spawn(program, argv, cwd, environment, (_null() if stdin < 0 else stdin, stdout, stderr))
    # What was in the way, the folder or the program, only `subprocess` tells.
    return _popen(argv, cwd, environment, streams, keep) if pid is None else Child(pid)


def _posix_spawn(
    program: str, argv: Sequence[str], cwd: str, environment: dict[str, str], streams: tuple[int, int, int]
) -> int | None:
    """Call the C library's own, which Python's holds all threads up for, and which has no folder to start in there.

    Until the new program has begun our thread stands still; the database's goes on meanwhile.
    """
    libc, attributes = _library()
    words = _strings(argv)
    variables = _strings([f"{name}={value}" for name, value in environment.items()])
    folder, path = _string(cwd), _string(program)
    actions = ctypes.create_string_buffer(OPAQUE_BYTES)
    pid = ctypes.c_int()
    libc.posix_spawn_file_actions_init(actions)
    try:
        for target, fd in enumerate(streams):
            libc.posix_spawn_file_actions_adddup2(actions, fd, target)
        libc.posix_spawn_file_actions_addchdir_np(actions, folder)
        error = libc.posix_spawn(ctypes.byref(pid), path, actions, attributes, words, variables)
    finally:
        libc.posix_spawn_file_actions_destroy(actions)
    return None if error else pid.value


def _strings(texts: Sequence[str]) -> ctypes.Array[ctypes.c_char_p]:
    """Encode them all in one go, which takes a third of the time."""
    encoded = os.fsencode("\0".join(texts)).split(b"\0")
    if len(encoded) != len(texts):
        raise ValueError("embedded null byte")
    return (ctypes.c_char_p * (len(texts) + 1))(*encoded, None)


def _string(text: str) -> bytes:
    encoded = os.fsencode(text)
    if b"\0" in encoded:
        raise ValueError("embedded null byte")
    return encoded


@functools.cache
def _library() -> tuple[ctypes.CDLL, ctypes.Array[ctypes.c_char]]:
    """Return the C library, and what all our processes begin with: a session, no signal ignored or blocked.

    Called before the first spawn, it also makes sure that nothing we inherited is open in any job.
    """
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208  (numbers, not paths)
        if int(name) > 2:
            with suppress(OSError):  # the listing's own
                os.set_inheritable(int(name), False)
    libc = ctypes.CDLL(None)
    attributes = ctypes.create_string_buffer(OPAQUE_BYTES)
    libc.posix_spawnattr_init(attributes)
    none, defaults = ctypes.create_string_buffer(OPAQUE_BYTES), ctypes.create_string_buffer(OPAQUE_BYTES)
    libc.sigemptyset(none)
    libc.sigemptyset(defaults)
    for signum in DEFAULT_SIGNALS:
        libc.sigaddset(defaults, signum)
    libc.posix_spawnattr_setsigmask(attributes, none)
    libc.posix_spawnattr_setsigdefault(attributes, defaults)
    libc.posix_spawnattr_setflags(attributes, ctypes.c_short(_SETSIGDEF | _SETSIGMASK | _SETSID))
    return libc, attributes


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
