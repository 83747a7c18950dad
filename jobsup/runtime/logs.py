"""Our own log: exactly one line per record, with the instant, the child and its pid in each."""

from __future__ import annotations

import functools
import json
import logging
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from jobsup.config.settings import LoggingSettings
from jobsup.errors import JobsupError

LINE_CHARACTERS_MAX = 32 << 10
"""A longer line is cut, and says so."""

_ESCAPES = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160))}
_ESCAPES |= {ord("\n"): "\\n", ord("\r"): "\\r", ord("\t"): "\t", 0x2028: "\\u2028", 0x2029: "\\u2029"}


class LogFileError(JobsupError):
    """The log file cannot be opened."""


class LineHandler(logging.Handler):
    """Writes whole lines with one `write` each, so that several processes can share the file.

    A full disk or a reader that has gone loses lines and never disturbs the work; the next line that gets
    through says how many are missing.
    """

    def __init__(self, path: str, child: str) -> None:
        super().__init__()
        self.child = child
        self.dropped = 0
        self._path = path
        self._file = _open(path)

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = self._format(record)
            if self.dropped:
                line = f"{line} ({self.dropped} lines before this could not be written)"
            self._write(f"{line}\n".encode("utf-8", "backslashreplace"))
            self.dropped = 0
        except OSError:
            self.dropped += 1

    def reopen(self) -> None:
        """Open the file anew after it was moved away; keeps the old one when that fails."""
        if not self._path:
            return
        before = self._file
        self._file = _open(self._path)
        before.close()  # standard error is never reopened, so this is a file of our own

    def stream(self) -> IO[bytes]:
        return self._file

    def close(self) -> None:
        if self._path:
            self._file.close()
        super().close()

    def _format(self, record: logging.LogRecord) -> str:
        try:
            return self.format(record)
        except Exception as error:  # noqa: BLE001  # a broken record ends neither the process nor the rule of one line
            record.msg, record.args = f"log record {record.msg!r} is broken: {error}", None
            record.exc_info = record.stack_info = None
            return self.format(record)

    def _write(self, data: bytes) -> None:
        fd = self._file.fileno()
        while data:
            data = data[os.write(fd, data) :]


class TextFormatter(logging.Formatter):
    """`2026-11-23T19:05:47.123Z INFO worker-2[4711] Claimed job dispatch 7`."""

    def __init__(self, handler: LineHandler) -> None:
        super().__init__()
        self._handler = handler

    def format(self, record: logging.LogRecord) -> str:
        text = f"{_instant(record)} {record.levelname} {self._handler.child}[{os.getpid()}] {_message(record)}"
        return _cut(text.translate(_ESCAPES))


class JsonFormatter(logging.Formatter):
    """One object a line: `at`, `level`, `child`, `pid`, `event`, `message`, and the event's own fields."""

    def __init__(self, handler: LineHandler) -> None:
        super().__init__()
        self._handler = handler

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = dict(getattr(record, "fields", {}))
        line |= {
            "at": _instant(record),
            "level": record.levelname,
            "child": self._handler.child,
            "pid": os.getpid(),
            "event": getattr(record, "event", record.name),
            "message": _cut(_message(record)),
        }
        return json.dumps(line, default=str, ensure_ascii=True)


_current: LineHandler | None = None


def configure(settings: LoggingSettings, child: str) -> None:
    """Send all records at and above the level to standard error or the file; LogFileError when it cannot be opened."""
    global _current  # noqa: PLW0603  # a process has one log, as `logging` has one root
    handler = LineHandler(settings.file, child)
    handler.setFormatter(JsonFormatter(handler) if settings.format == "json" else TextFormatter(handler))
    root = logging.getLogger()
    if _current is not None:
        root.removeHandler(_current)
        _current.close()
    root.addHandler(handler)
    root.setLevel(settings.level.upper())
    _current = handler


def set_child(child: str) -> None:
    """Name this process in its log lines from now on; a forked child does so first thing."""
    if _current is not None:
        _current.child = child


def reopen() -> None:
    """Open the log file anew; when that fails the old one stays, and it says so."""
    if _current is None:
        return
    try:
        _current.reopen()
    except LogFileError as error:
        logging.getLogger("jobsup").warning("The log was not reopened: %s", error)


def stream() -> IO[bytes]:
    """Return the file the log goes to, for stack dumps; it must stay open while they may come."""
    return _standard_error() if _current is None else _current.stream()


def _open(path: str) -> IO[bytes]:
    if not path:
        return _standard_error()
    try:
        return Path(path).open("ab", buffering=0)
    except OSError as error:
        raise LogFileError(f"log file {path}: {error.strerror}; make its folder, or change [logging] file") from error


@functools.cache
def _standard_error() -> IO[bytes]:
    return open(2, "wb", buffering=0, closefd=False)  # descriptor 2 is nobody's to close


def _instant(record: logging.LogRecord) -> str:
    at = datetime.fromtimestamp(record.created, UTC)
    return at.strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03d}Z"


def _message(record: logging.LogRecord) -> str:
    text = record.getMessage()
    if record.exc_info:
        text = f"{text}\n{logging.Formatter().formatException(record.exc_info)}"
    if record.stack_info:
        text = f"{text}\n{record.stack_info}"
    return text


def _cut(text: str) -> str:
    if len(text) <= LINE_CHARACTERS_MAX:
        return text
    return f"{text[:LINE_CHARACTERS_MAX]}... ({len(text) - LINE_CHARACTERS_MAX} characters cut)"
