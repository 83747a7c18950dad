"""The environment a job gets: a few variables of ours, its own, and what names the run."""

from __future__ import annotations

import functools
import json
import os
from datetime import datetime, timedelta
from typing import Any

from jobsup.clock import SystemClock, rfc3339
from jobsup.model import Claim, JobSpec
from jobsup.runtime.procs import INSTANCE_VARIABLE
from jobsup.worker.account import SHELL, Account

PASSED_ON = ("PATH", "HOME", "LANG", "TZ", "USER", "LOGNAME", "SHELL", "TMPDIR")
"""Variables of the worker a job sees, besides those that begin with `PASSED_ON_PREFIX`."""
PASSED_ON_PREFIX = "LC_"
PATH_DEFAULT = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
RUN_VARIABLE = "JOBSUP_RUN_ID"
"""Marks every process of a run with it, together with the instance's own mark."""
MARKS = (INSTANCE_VARIABLE, RUN_VARIABLE)
DEADLINE_VARIABLE = "JOBSUP_DEADLINE"
LONG_TIMEOUT = timedelta(minutes=1)
"""The deadline of a run that has so much time is told to the second, for many runs have the same then."""


def job_environment(claim: Claim, instance: str, account: Account | None, secrets: dict[str, str]) -> dict[str, str]:
    """Build a run's whole environment; `secrets` are what its `env_file` and its secret files say.

    Later wins: what is passed on, the account's, `env`, the secrets, the JOBSUP_ variables.
    """
    return fixed_environment(claim.job, instance, account, secrets) | own_variables(claim)


def own_variables(claim: Claim) -> dict[str, str]:
    """Build what a run does not have in common with others of its job."""
    variables = run_variables(claim)
    if claim.job.timeout is not None:
        # By this machine's clock, whatever the database's says: it is what the job will compare it with.
        deadline = SystemClock().now() + claim.job.timeout
        is_long = claim.job.timeout >= LONG_TIMEOUT
        variables[DEADLINE_VARIABLE] = _written(deadline.replace(microsecond=0) if is_long else deadline)
    return variables


@functools.lru_cache(maxsize=100)
def _written(instant: datetime) -> str:
    return rfc3339(instant) or ""


def fixed_environment(job: JobSpec, instance: str, account: Account | None, secrets: dict[str, str]) -> dict[str, str]:
    """Build what all runs of a job have in common; as `job_environment`."""
    environment = base_environment(instance, account)
    environment |= job.env
    environment |= secrets
    return environment | {INSTANCE_VARIABLE: instance, "JOBSUP_JOB": job.name}


def run_variables(claim: Claim) -> dict[str, str]:
    """Return what names the run, and its parameters."""
    variables = {
        RUN_VARIABLE: str(claim.dispatch_id),
        "JOBSUP_ATTEMPT": str(claim.retry_count + 1),
        "JOBSUP_SCHEDULED_FOR": rfc3339(claim.scheduled_for) or "",
        "JOBSUP_PARENT_RUN_ID": "" if claim.parent_id is None else str(claim.parent_id),
    }
    params = job_params(claim)
    if params:
        variables["JOBSUP_PARAMS"] = json.dumps(params)
    for name, value in params.items():
        variables[f"JOBSUP_PARAM_{name.upper()}"] = _text(value)
    return variables


def base_environment(instance: str, account: Account | None) -> dict[str, str]:
    """Build what every job of an account starts from."""
    environment = {**_passed_on(), INSTANCE_VARIABLE: instance}
    if account is not None:
        environment |= {
            "HOME": account.home,
            "USER": account.name,
            "LOGNAME": account.name,
            "SHELL": SHELL,
        }
    return environment


@functools.cache
def _passed_on() -> dict[str, str]:
    """Return what of our own environment every job sees; it does not change while we live."""
    environment = {
        name: value for name, value in os.environ.items() if name in PASSED_ON or name.startswith(PASSED_ON_PREFIX)
    }
    environment.setdefault("PATH", PATH_DEFAULT)
    return environment


def job_params(claim: Claim) -> dict[str, Any]:
    """Return the run's parameters: as asked for, else their defaults; those with neither are left out."""
    if not claim.job.params and not claim.params:
        return {}
    given = {param.name: claim.params.get(param.name, param.default) for param in claim.job.params}
    return {name: value for name, value in {**given, **claim.params}.items() if value is not None}


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)
