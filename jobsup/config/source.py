"""One configuration file: may it be trusted, can it be read, is it TOML."""

from __future__ import annotations

import os
import re
import stat
import tomllib
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from jobsup.config.locate import Lines
from jobsup.config.report import Place
from jobsup.errors import ConfigError, Problem

FILE_BYTES_MAX = 16 << 20

_TOML_PLACE = re.compile(r"\s*\(at (?:line (\d+), column (\d+)|end of document)\)$")


@dataclass(frozen=True)
class Source:
    """A file that was read: its name as people see it, its absolute path, and what it says."""

    file: str
    path: Path
    text: str
    data: dict[str, Any]
    warnings: tuple[Problem, ...] = field(default=())

    @cached_property
    def lines(self) -> Lines:
        return Lines(self.text)

    @property
    def folder(self) -> Path:
        return self.path.parent

    def place(self, table: str = "", *path: str | int) -> Place:
        """Return a place in this file; without a path, the file as a whole."""
        return Place(self.file, table, self.lines, path)


def read_source(path: Path, file: str) -> Source:
    """Read the file at `path`, called `file` in messages.

    Raises ConfigError: not there, not readable, not to be trusted, too large, not TOML.
    """
    absolute = Path(os.path.abspath(path))  # noqa: PTH100  # resolve() would lose the name people gave it
    text, mode = _read_text(absolute, file)
    problems = _distrust(absolute, file, mode)
    errors = tuple(problem for problem in problems if not problem.warning)
    if errors:
        raise ConfigError(errors)
    return Source(file, absolute, text, parse(text, file), tuple(problems))


def _read_text(path: Path, file: str) -> tuple[str, int]:
    """Return the text and the mode of the file it came from, by one descriptor: no race between the two."""
    try:
        # Without O_NONBLOCK a named pipe would be waited on for ever.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise _refused(file, f"cannot be read: {error.strerror}") from None
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        raise _refused(file, "is not a regular file")
    with os.fdopen(descriptor, "rb") as opened:
        content = opened.read(FILE_BYTES_MAX + 1)
    if len(content) > FILE_BYTES_MAX:
        raise _refused(file, f"is larger than {FILE_BYTES_MAX >> 20} MiB: split it with `include`")
    try:
        return content.decode("utf-8-sig"), mode
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError((Problem("is not UTF-8 text", file, line=line),)) from None


def _distrust(path: Path, file: str, mode: int) -> list[Problem]:
    """Who can write the file, or swap it in its folder, can run commands as us."""
    folders = dict.fromkeys((path.parent, path.resolve().parent))
    judged = [_judge(file, f"chmod o-w,g-w {file}", "is", mode)]
    for folder in folders:
        folder_mode = folder.stat().st_mode
        if not folder_mode & stat.S_ISVTX:
            judged.append(_judge(file, f"chmod o-w,g-w {folder}", f"lies in {folder}, which is", folder_mode))
    return [problem for problem in judged if problem is not None]


def _judge(file: str, remedy: str, subject: str, mode: int) -> Problem | None:
    danger = "others could make jobsup run their commands"
    if mode & stat.S_IWOTH:
        return Problem(f"{subject} writable by everybody, so {danger}: {remedy}", file)
    if mode & stat.S_IWGRP:
        return Problem(f"{subject} writable by its group, so {danger}: {remedy}", file, warning=os.geteuid() != 0)
    return None


def parse(text: str, file: str) -> dict[str, Any]:
    """Return what a TOML text says; ConfigError names the line of what cannot be read."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        place = _TOML_PLACE.search(str(error))
        message = _TOML_PLACE.sub("", str(error))
        line = int(place[1]) if place and place[1] else text.count("\n") + 1
        column = f", column {place[2]}" if place and place[2] else ""
        raise ConfigError((Problem(f"not valid TOML{column}: {message}", file, line=line),)) from None
    except RecursionError:
        raise _refused(file, "is nested too deeply") from None
    except ValueError as error:  # e.g. an integer of more digits than Python reads
        raise _refused(file, f"not valid TOML: {error}") from None


def _refused(file: str, message: str) -> ConfigError:
    return ConfigError((Problem(message, file),))
