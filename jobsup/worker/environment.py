"""The environment a job gets: a few variables of ours, its own, and what names the run."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path
from typing import Any

from jobsup.clock import rfc3339
from jobsup.model import Claim
from jobsup.runtime.procs import INSTANCE_VARIABLE
from jobsup.worker.account import SHELL, Account
from jobsup.worker.failure import NotStartedError

PASSED_ON = ("PATH", "HOME", "LANG", "TZ", "USER", "LOGNAME", "SHELL", "TMPDIR")
"""Variables of the worker a job sees, besides those that begin with `PASSED_ON_PREFIX`."""
PASSED_ON_PREFIX = "LC_"
PATH_DEFAULT = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
ENV_FILE_BYTES_MAX = 1 << 20
RUN_VARIABLE = "JOBSUP_RUN_ID"
"""Marks every process of a run with it, together with the instance's own mark."""
MARKS = (INSTANCE_VARIABLE, RUN_VARIABLE)

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)


def job_environment(claim: Claim, instance: str, account: Account | None) -> dict[str, str]:
    """Build a run's whole environment. NotStartedError when its `env_file` cannot be read or trusted.

    Later wins: what is passed on, the account's, `env`, `env_file`, the JOBSUP_ variables.
    """
    job = claim.job
    environment = base_environment(instance, account)
    environment |= job.env
    if job.env_file is not None:
        environment |= read_env_file(Path(job.env_file), account)
    environment |= {
        INSTANCE_VARIABLE: instance,
        RUN_VARIABLE: str(claim.dispatch_id),
        "JOBSUP_JOB": job.name,
        "JOBSUP_ATTEMPT": str(claim.retry_count + 1),
        "JOBSUP_SCHEDULED_FOR": rfc3339(claim.scheduled_for) or "",
        "JOBSUP_PARENT_RUN_ID": "" if claim.parent_id is None else str(claim.parent_id),
    }
    for name, value in job_params(claim).items():
        environment[f"JOBSUP_PARAM_{name.upper()}"] = _text(value)
    return environment


def base_environment(instance: str, account: Account | None) -> dict[str, str]:
    """Build what every job of an account starts from."""
    environment = {
        name: value for name, value in os.environ.items() if name in PASSED_ON or name.startswith(PASSED_ON_PREFIX)
    }
    environment.setdefault("PATH", PATH_DEFAULT)
    environment[INSTANCE_VARIABLE] = instance
    if account is not None:
        environment |= {
            "HOME": account.home,
            "USER": account.name,
            "LOGNAME": account.name,
            "SHELL": SHELL,
        }
    return environment


def job_params(claim: Claim) -> dict[str, Any]:
    """Return the run's parameters: as asked for, else their defaults; those with neither are left out."""
    given = {param.name: claim.params.get(param.name, param.default) for param in claim.job.params}
    return {name: value for name, value in {**given, **claim.params}.items() if value is not None}


def read_env_file(path: Path, account: Account | None) -> dict[str, str]:
    """Read KEY=VALUE lines; NotStartedError when others may read or change the file, or a line is none."""
    variables: dict[str, str] = {}
    for number, line in enumerate(_read_private(path, account).splitlines(), start=1):
        text = line.strip().removeprefix("export ").lstrip()
        if not text or text.startswith("#"):
            continue
        name, equals, value = text.partition("=")
        if not equals or not _NAME.fullmatch(name):
            raise NotStartedError(f"env_file {path}:{number}: not KEY=VALUE")  # the line itself may be a secret
        variables[name] = _unquoted(value.strip())
    return variables


def _read_private(path: Path, account: Account | None) -> str:
    try:
        # Non-blocking: a FIFO in its place must not stop the worker.
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with os.fdopen(fd, "rb") as file:
            _check_private(path, os.fstat(fd), account)
            data = file.read(ENV_FILE_BYTES_MAX + 1)
    except OSError as error:
        raise NotStartedError(f"env_file {path}: {error.strerror}") from None
    if len(data) > ENV_FILE_BYTES_MAX:
        raise NotStartedError(f"env_file {path}: larger than {ENV_FILE_BYTES_MAX} bytes")
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise NotStartedError(f"env_file {path}: not UTF-8") from None


def _check_private(path: Path, facts: os.stat_result, account: Account | None) -> None:
    owners = {0, os.geteuid()} | ({account.uid} if account else set())
    if not stat.S_ISREG(facts.st_mode):
        raise NotStartedError(f"env_file {path}: not a file")
    if facts.st_uid not in owners:
        raise NotStartedError(f"env_file {path}: belongs to uid {facts.st_uid}, neither root nor who runs the job")
    if facts.st_mode & (stat.S_IWGRP | stat.S_IRWXO):
        raise NotStartedError(f"env_file {path}: others may read or change it: chmod 600 {path}")


def _unquoted(value: str) -> str:
    if len(value) >= 2 and value[0] == value[-1] and value[0] in "'\"":
        return value[1:-1]
    return value


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)
