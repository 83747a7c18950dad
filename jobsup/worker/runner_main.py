"""The runner process: imports callables once and calls them one after another.

A worker starts it with the pipes of the output as its stdout and stderr, a socket, and the memory that both share
(`board`). A message holds what some calls have in common (`frames`) and the calls; each call is answered at once on
the board (`answers`), with how much was ever written to the pipes when it ended: there its output ends. The worker is
woken when it has asked for that.
It never imports SQLAlchemy, pydantic or click.
"""

from __future__ import annotations

import array
import importlib
import inspect
import json
import logging
import marshal
import mmap
import os
import select
import signal
import socket
import sys
import time
import traceback
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

from jobsup import current
from jobsup.clock import rfc3339
from jobsup.runtime import procs
from jobsup.worker import answers, driving
from jobsup.worker.board import ANSWER_BYTES_MAX, STDERR, STDOUT, Board
from jobsup.worker.costs import Meter
from jobsup.worker.driving import ProgressError

MESSAGE_BYTES_MAX = 128 << 10
LINGER_SECONDS = 0.002
"""The next call often comes so soon: until then the environment of the last one stays, which it likely shares."""
RESULT_BYTES_MAX = 32 << 10
"""A longer result is cut and noted; the answer must fit into one message."""
ERROR_CHARS_MAX = 4_000
REPR_CHARS_MAX = 1_000
LOG_FORMAT = "%(levelname)s %(name)s: %(message)s"

_OURS = (str(Path(__file__).parent), str(Path(current.__file__)), str(Path(os.__file__).parent / "asyncio"))
"""Where the frames of a traceback lie that tell nobody anything of his own code."""


class NotCallableError(Exception):
    """The module cannot be imported, or holds no such function."""


@dataclass(slots=True)
class Frame:
    """What calls have in common."""

    python: str
    kwargs: dict[str, Any]
    environment: dict[str, str]
    path: list[str]
    """What is looked through for modules before all else."""
    timeout: float | None
    is_merged: bool
    """Its stderr goes where its stdout goes."""


def main(arguments: list[str]) -> int:
    """Serve calls until the worker closes the socket; arguments: socket, board, the worker's pid, what to import."""
    fd, board, worker = map(int, arguments[:3])
    procs.set_pdeathsig(signal.SIGKILL)
    if os.getppid() != worker:
        return 1
    for each in (fd, board):
        os.set_inheritable(each, False)
    procs.set_subreaper()  # what a call leaves behind by a double fork comes to us, and is seen
    runner = _Runner(socket.socket(fileno=fd), Board(board))
    _preload(**json.loads(arguments[3]))
    runner.serve()
    return 0


class _Runner:
    def __init__(self, sock: socket.socket, board: Board) -> None:
        self._socket = sock
        self._board = board
        self._pipes = {STDOUT: os.dup(1), STDERR: os.dup(2)}
        self._null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        self._base_environment = dict(os.environ)
        self._base_path = list(sys.path)
        self._base_folder = os.open(".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        self._environment = self._base_environment
        self._environment_as_left = _environment_now()
        self._entered: tuple[Frame, dict[str, str]] | None = None
        """Of which frame the environment is, and what in it names the call."""
        self._functions: dict[str, Callable[..., Any]] = {}
        self._frames: dict[str, Frame] = {}
        self._output, self._errors = _line_writer(1), _line_writer(2)
        self._meter = Meter()
        self._deadline_known = ((0, 0.0), "")
        self._is_spent = False
        """A call has left processes behind: the worker ends us with them, and no other call must meet them."""
        _configure_logging()

    def serve(self) -> None:
        self._socket.send(answers.READY)
        while message := self._receive():
            frames, calls = message
            for name, frame in frames.items():
                self._frames[name] = Frame(**{**frame, "path": [*frame["path"], *self._base_path]})
            for number, frame, own, params in calls:
                if self._board.begin(number) and not self._is_spent:
                    answer = self._answer(number, self._frames[frame], own, params)
                else:
                    answer = answers.void(number)
                self._tell(number, answer)

    def _tell(self, number: int, answer: bytes) -> None:
        if len(answer) > ANSWER_BYTES_MAX:  # the worker finds it once it has seen that its place is empty
            self._socket.send(answer)
            answer = b""
        if self._board.lay_down(number, answer):
            self._socket.send(answers.WAKE)

    def _receive(self) -> tuple[dict[str, Any], list[Any]] | None:
        """Take the next message; before a wait for one, nothing is left open that belongs to a call."""
        size = socket.CMSG_SPACE(array.array("i", [0]).itemsize)
        try:
            data, attached, _, _ = self._socket.recvmsg(MESSAGE_BYTES_MAX, size, socket.MSG_DONTWAIT)
        except BlockingIOError:
            self._hush()
            if not select.select([self._socket], [], [], LINGER_SECONDS)[0]:
                self._rest()
            data, attached, _, _ = self._socket.recvmsg(MESSAGE_BYTES_MAX, size, socket.MSG_CMSG_CLOEXEC)
        for _, _, fds in attached:
            data = _read_memory(array.array("i", fds)[0])
        return marshal.loads(data) if data else None  # noqa: S302  (no job ever holds the worker's end)

    def _answer(self, number: int, frame: Frame, own: dict[str, str], params: dict[str, Any]) -> bytes:
        self._enter(frame, own)
        began = time.monotonic()
        with warnings.catch_warnings():  # on the way in and out it forgets which were shown already
            ending = self._call(frame, params)
        ended = time.monotonic()
        self._flush()
        out = self._board.amount_written(STDOUT, self._pipes[STDOUT])
        err = self._board.amount_written(STDERR, self._pipes[STDERR])
        costs = self._meter.end(began, ended)
        self._is_spent = _has_children()
        return answers.write(ending, number, self._is_spent, began, ended, out, err, *costs)

    def _call(self, frame: Frame, params: dict[str, Any]) -> dict[str, Any]:
        try:
            function = self._find(frame.python)
            value = function(**_keywords(function, frame.kwargs, params))
            return {"exit_code": 0, "result": _as_json(driving.drive(value))}
        except NotCallableError as error:
            _say(str(error))
            return _fault("not_runnable", str(error))
        except ProgressError as error:
            _say(f"{frame.python}: {error}")
            return _fault("exception", f"{frame.python}: {error}")
        except SystemExit as error:
            return {"exit_code": _exit_code(error)}
        except BaseException as error:  # noqa: BLE001  (whatever a callable raises ends the call, not the runner)
            _say(_story(error))
            return _fault("exception", _line(error))

    def _find(self, name: str) -> Callable[..., Any]:
        if name not in self._functions:
            self._functions[name] = _import(name)
        return self._functions[name]

    def _enter(self, frame: Frame, own: dict[str, str]) -> None:
        """Make the process the call's: its output, environment, import path and folder, and nothing of the last one."""
        os.dup2(self._pipes[STDOUT], 1)
        os.dup2(self._pipes[STDOUT if frame.is_merged else STDERR], 2)
        self._be_heard()
        if frame.timeout is not None:
            own["JOBSUP_DEADLINE"] = self._deadline(frame.timeout)
        if not self._rename(frame, own):
            self._set_environment({**frame.environment, **own})
            self._entered = frame, own
        if sys.path != frame.path:
            sys.path[:] = frame.path
        with suppress(OSError):
            os.fchdir(self._base_folder)
        current.begin_call()

    def _deadline(self, seconds: float) -> str:
        """Return when so many seconds are over, to the second: to write it down takes longer than many a call."""
        key = (int(time.time() + seconds), seconds)
        if self._deadline_known[0] != key:
            self._deadline_known = (key, rfc3339(datetime.fromtimestamp(key[0], UTC)) or "")
        return self._deadline_known[1]

    def _be_heard(self) -> None:
        if self._output.closed:
            self._output = _line_writer(1)
        if self._errors.closed:
            self._errors = _line_writer(2)
        sys.stdout, sys.stderr = self._output, self._errors

    def _rename(self, frame: Frame, own: dict[str, str]) -> bool:
        """Name this call where the last one of its frame was named; False: more than that differs."""
        entered, before = self._entered or (None, {})
        if entered is not frame or before.keys() != own.keys() or _has_changed(self._environment_as_left):
            return False
        left = self._environment_as_left
        for name, value in own.items():
            if before[name] != value:
                os.environ[name] = self._environment[name] = value
                left[name.encode()] = value.encode(errors="surrogateescape")
        self._entered = frame, own
        return True

    def _set_environment(self, wanted: dict[str, str]) -> None:
        if _has_changed(self._environment_as_left):
            os.environ.clear()  # the last call has changed it
            os.environ.update(wanted)
        else:
            for name in self._environment.keys() - wanted.keys():
                del os.environ[name]
            for name, value in wanted.items():
                if self._environment.get(name) != value:
                    os.environ[name] = value
        self._environment = wanted
        self._environment_as_left = _environment_now()

    def _flush(self) -> None:
        _flush(self._output)
        _flush(self._errors)
        if sys.stdout is not self._output:
            _flush(sys.stdout)
        if sys.stderr is not self._errors:
            _flush(sys.stderr)

    def _hush(self) -> None:
        """While no call runs, what is printed goes nowhere."""
        os.dup2(self._null, 1)
        os.dup2(self._null, 2)

    def _rest(self) -> None:
        """Leave nothing of the last call's behind."""
        self._set_environment(self._base_environment)
        self._entered = None


def _flush(stream: Any) -> None:
    try:  # noqa: SIM105  (to suppress it otherwise takes longer than to flush)
        stream.flush()
    except Exception:  # noqa: BLE001, S110  (whatever a callable has put there)
        pass


def _environment_now() -> dict[bytes, bytes]:
    # What lies below `os.environ`: to go through it by its own methods would cost more than many a call.
    return dict(os.environ._data)  # type: ignore[attr-defined]  # as it has been in every Python 3


def _has_changed(environment: dict[bytes, bytes]) -> bool:
    changed: bool = os.environ._data != environment  # type: ignore[attr-defined]  # as above
    return changed


def _preload(path: list[str], modules: list[str]) -> None:
    """Import modules before a call asks for them; one that cannot be is told by the call that wants it."""
    base = list(sys.path)
    sys.path[:0] = path
    for module in modules:
        with suppress(Exception, SystemExit):
            importlib.import_module(module)
    sys.path[:] = base


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
        _say(_story(error))
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
    if not params:
        return kwargs
    try:
        accepted = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return {**kwargs, **params}  # written in C, without a signature
    if any(one.kind is one.VAR_KEYWORD for one in accepted):
        return {**kwargs, **params}
    names = {one.name for one in accepted if one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY)}
    return {**kwargs, **{name: value for name, value in params.items() if name in names}}


_RESULTS = json.JSONEncoder(allow_nan=False)


def _as_json(value: Any) -> str | None:
    if value is None:
        return None
    try:
        text = _RESULTS.encode(value)
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


def _story(error: BaseException) -> str:
    """Return the traceback from the caller's own code on."""
    lines = traceback.format_exception(type(error), error, _from_theirs(error.__traceback__))
    return "".join(lines).rstrip("\n")


def _from_theirs(trace: TracebackType | None) -> TracebackType | None:
    while trace is not None and trace.tb_frame.f_code.co_filename.startswith((*_OURS, "<frozen ")):
        trace = trace.tb_next
    return trace


def _say(text: str) -> None:
    with suppress(Exception):  # the callable may have closed its streams
        print(text, file=sys.stderr, flush=True)  # noqa: T201  (the run's own stderr)


def _line_writer(fd: int) -> TextIO:
    # Not the owner of the descriptor: a callable that closes sys.stdout must not close ours for the next one.
    return open(fd, "w", buffering=1, encoding="utf-8", errors="surrogateescape", closefd=False)


def _configure_logging() -> None:
    """Show what callables log from INFO on, on the stderr of the call, as long as they set up nothing themselves."""
    logging.getLogger().setLevel(logging.INFO)
    if logging.lastResort is not None:
        logging.lastResort.setLevel(logging.NOTSET)
        logging.lastResort.setFormatter(logging.Formatter(LOG_FORMAT))


def _read_memory(fd: int) -> bytes:
    try:
        with mmap.mmap(fd, 0, prot=mmap.PROT_READ) as memory:
            return memory[:]
    finally:
        os.close(fd)


def _has_children() -> bool:
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
