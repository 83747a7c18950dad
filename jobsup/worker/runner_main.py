"""The runner process: imports callables once and calls them one at a time, with fresh output pipes for each call.

It is started by a worker over a socket pair. One message is one call: a memory file with the call as JSON, and the
pipes for its stdout and stderr; the answer is one JSON message. It never imports SQLAlchemy, pydantic or click.
"""

from __future__ import annotations

import importlib
import inspect
import json
import mmap
import os
import resource
import signal
import socket
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TextIO

from jobsup.runtime import procs

RESULT_BYTES_MAX = 32 << 10
"""A longer result is cut and noted; the answer must fit into one message."""
ERROR_CHARS_MAX = 4_000
REPR_CHARS_MAX = 1_000
CALL_FDS = 3
"""The call itself, stdout, stderr."""


class NotCallableError(Exception):
    """The module cannot be imported, or holds no such function."""


def main(arguments: list[str]) -> int:
    """Serve calls on the inherited socket until the worker closes it; arguments: descriptor, worker's pid."""
    fd, worker = int(arguments[0]), int(arguments[1])
    procs.set_pdeathsig(signal.SIGKILL)
    if os.getppid() != worker:
        return 1
    os.set_inheritable(fd, False)
    _Runner(socket.socket(fileno=fd)).serve()
    return 0


class _Runner:
    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._base_environment = dict(os.environ)
        self._base_path = list(sys.path)
        self._base_folder = os.open(".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        self._null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        self._functions: dict[str, Callable[..., Any]] = {}
        self._output = _line_writer(1)
        self._errors = _line_writer(2)

    def serve(self) -> None:
        self._detach()
        while True:
            message, fds, _, _ = socket.recv_fds(self._socket, 1, CALL_FDS)
            if not message:
                return
            self._socket.send(json.dumps(self._handle(fds)).encode())

    def _handle(self, fds: list[int]) -> dict[str, Any]:
        call_fd, stdout, stderr = fds
        with mmap.mmap(call_fd, 0, prot=mmap.PROT_READ) as memory:
            call = json.loads(memory[:])
        os.dup2(stdout, 1)
        os.dup2(stderr, 2)
        for fd in fds:
            os.close(fd)
        before = _costs()
        try:
            return {**self._call(call), **_costs_since(before)}
        finally:
            self._detach()

    def _call(self, call: dict[str, Any]) -> dict[str, Any]:
        sys.stdout, sys.stderr = self._streams()
        os.environ.clear()
        os.environ.update(call["environment"])
        sys.path[:] = [*call["path"], *self._base_path]
        try:
            function = self._find(call["python"])
            value = function(**_keywords(function, call["kwargs"], call["params"]))
            if inspect.iscoroutine(value):
                value.close()
                return _fault("exception", f"{call['python']} is async: give it a plain function to call")
            return {"exit_code": 0, "result": _as_json(value)}
        except NotCallableError as error:
            _say(str(error))
            return _fault("not_runnable", str(error))
        except SystemExit as error:
            return {"exit_code": _exit_code(error)}
        except BaseException as error:  # noqa: BLE001  (whatever a callable raises ends the call, not the runner)
            below_ours = error.__traceback__.tb_next if error.__traceback__ else None
            _say("".join(traceback.format_exception(type(error), error, below_ours)).rstrip("\n"))
            return _fault("exception", _line(error))

    def _find(self, name: str) -> Callable[..., Any]:
        if name not in self._functions:
            self._functions[name] = _import(name)
        return self._functions[name]

    def _streams(self) -> tuple[TextIO, TextIO]:
        if self._output.closed:
            self._output = _line_writer(1)
        if self._errors.closed:
            self._errors = _line_writer(2)
        return self._output, self._errors

    def _detach(self) -> None:
        """Between calls nothing is open that belongs to one; what is printed then goes nowhere."""
        for stream in (sys.stdout, sys.stderr, self._output, self._errors):
            with suppress(Exception):
                stream.flush()
        os.dup2(self._null, 1)
        os.dup2(self._null, 2)
        os.environ.clear()
        os.environ.update(self._base_environment)
        sys.path[:] = self._base_path
        with suppress(OSError):
            os.fchdir(self._base_folder)


def _import(name: str) -> Callable[..., Any]:
    module_name, _, path = name.partition(":")
    importlib.invalidate_caches()  # it may have been written since the last look
    try:
        found: Any = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is not None and f"{module_name}.".startswith(f"{error.name}."):
            raise NotCallableError(f"no module {error.name!r} for {name!r}: set [worker] python_path or cwd") from None
        raise NotCallableError(f"module {module_name!r} cannot be imported: {error}") from error
    except Exception as error:
        traceback.print_exc()
        raise NotCallableError(f"module {module_name!r} cannot be imported: {_line(error)}") from error
    for part in path.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            raise NotCallableError(f"module {module_name!r} has no {path!r}") from None
    if not callable(found):
        raise NotCallableError(f"{name!r} is not callable")
    return found  # type: ignore[no-any-return]  # what a module holds is known only now


def _keywords(function: Callable[..., Any], kwargs: dict[str, Any], params: dict[str, Any]) -> dict[str, Any]:
    """Pass all kwargs, and of the parameters those the function takes."""
    try:
        accepted = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return {**kwargs, **params}  # written in C, without a signature
    if any(one.kind is one.VAR_KEYWORD for one in accepted):
        return {**kwargs, **params}
    names = {one.name for one in accepted if one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY)}
    return {**kwargs, **{name: value for name, value in params.items() if name in names}}


def _as_json(value: Any) -> str | None:
    if value is None:
        return None
    try:
        text = json.dumps(value, allow_nan=False)
    except Exception:  # noqa: BLE001  (whatever its own methods raise)
        return json.dumps({"repr": _repr(value)})
    return text if len(text) <= RESULT_BYTES_MAX else json.dumps({"repr": _repr(value), "length": len(text)})


def _repr(value: Any) -> str:
    try:
        return repr(value)[:REPR_CHARS_MAX]
    except Exception:  # noqa: BLE001  (a __repr__ may raise anything)
        return f"<{type(value).__name__}>"


def _exit_code(error: SystemExit) -> int:
    if error.code is None:
        return 0
    if isinstance(error.code, int):
        return error.code & 0xFF
    _say(str(error.code))
    return 1


def _fault(reason: str, text: str) -> dict[str, Any]:
    return {"reason": reason, "error": text[:ERROR_CHARS_MAX]}


def _line(error: BaseException) -> str:
    return traceback.format_exception_only(error)[-1].strip()


def _say(text: str) -> None:
    with suppress(Exception):  # the callable may have closed its streams
        print(text, file=sys.stderr, flush=True)  # noqa: T201  (the run's own stderr)


def _line_writer(fd: int) -> TextIO:
    # Not the owner of the descriptor: a callable that closes sys.stdout must not close ours for the next one.
    return open(fd, "w", buffering=1, encoding="utf-8", errors="surrogateescape", closefd=False)


def _costs() -> tuple[float, float]:
    own, below = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_utime + below.ru_utime, own.ru_stime + below.ru_stime


def _costs_since(before: tuple[float, float]) -> dict[str, Any]:
    user, system = _costs()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"cpu_user": user - before[0], "cpu_system": system - before[1], "max_rss": peak * 1024}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
