"""Secrets of a job: read when it runs, handed to its process alone, and never stored."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

from jobsup.model import JobSpec
from jobsup.worker.account import Account
from jobsup.worker.failure import NotStartedError

FILE_BYTES_MAX = 1 << 20

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)


def secret_variables(job: JobSpec, account: Account | None) -> dict[str, str]:
    """Read the `env_file` and the secrets that are files. NotStartedError when one cannot be read or trusted.

    Secrets that a command prints are fetched by the exec wrapper: nothing here may wait.
    """
    variables = {} if job.env_file is None else read_env_file(Path(job.env_file), account)
    for name, source in job.secrets.items():
        if "file" in source:
            what = f'secret "{name}": file {source["file"]}'
            variables[name] = _one_value(_read_private(Path(source["file"]), what, account), what)
    return variables


def secret_commands(job: JobSpec) -> list[tuple[str, list[str]]]:
    """Return the secrets that a command prints, with its words."""
    return [(name, list(source["command"])) for name, source in job.secrets.items() if "command" in source]


def read_env_file(path: Path, account: Account | None) -> dict[str, str]:
    """Read KEY=VALUE lines; NotStartedError when others may read or change the file, or a line is none."""
    variables: dict[str, str] = {}
    for number, line in enumerate(_read_private(path, f"env_file {path}", account).splitlines(), start=1):
        text = line.strip().removeprefix("export ").lstrip()
        if not text or text.startswith("#"):
            continue
        name, equals, value = text.partition("=")
        if not equals or not _NAME.fullmatch(name):
            raise NotStartedError(f"env_file {path}:{number}: not KEY=VALUE")  # the line itself may be a secret
        variables[name] = _unquoted(value.strip())
    return variables


def _one_value(text: str, what: str) -> str:
    value = text.rstrip("\n")
    if "\0" in value:
        raise NotStartedError(f"{what}: holds a NUL character, which no variable can")
    return value


def _read_private(path: Path, what: str, account: Account | None) -> str:
    try:
        # Non-blocking: a FIFO in its place must not stop the worker.
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with os.fdopen(fd, "rb") as file:
            _check_private(path, what, os.fstat(fd), account)
            data = file.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise NotStartedError(f"{what}: {error.strerror}") from None
    if len(data) > FILE_BYTES_MAX:
        raise NotStartedError(f"{what}: larger than {FILE_BYTES_MAX} bytes")
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise NotStartedError(f"{what}: not UTF-8") from None


def _check_private(path: Path, what: str, facts: os.stat_result, account: Account | None) -> None:
    owners = {0, os.geteuid()} | ({account.uid} if account else set())
    if not stat.S_ISREG(facts.st_mode):
        raise NotStartedError(f"{what}: not a file")
    if facts.st_uid not in owners:
        raise NotStartedError(f"{what}: belongs to uid {facts.st_uid}, neither root nor who runs the job")
    if facts.st_mode & (stat.S_IWGRP | stat.S_IRWXO):
        raise NotStartedError(f"{what}: others may read or change it: chmod 600 {path}")


def _unquoted(value: str) -> str:
    if len(value) >= 2 and value[0] == value[-1] and value[0] in "'\"":
        return value[1:-1]
    return value
