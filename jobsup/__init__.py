"""jobsup, the scheduled-job supervisor: what a job's own code asks and tells, and the tables for programs that query.

The names below are loaded when they are first used, so that `import jobsup` costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jobsup.current import CurrentRun, NoRunError, current_run, progress
    from jobsup.store.models import (
        Job,
        JobDay,
        JobDispatch,
        JobExecutionLog,
        JobOutputChunk,
        SchedulerLock,
        WorkerRegistration,
    )
    from jobsup.store.urls import get_db_url, get_engine

    __version__: str

__all__ = [
    "CurrentRun",
    "Job",
    "JobDay",
    "JobDispatch",
    "JobExecutionLog",
    "JobOutputChunk",
    "NoRunError",
    "SchedulerLock",
    "WorkerRegistration",
    "__version__",
    "current_run",
    "get_db_url",
    "get_engine",
    "progress",
]

_HOMES = {
    "CurrentRun": "jobsup.current",
    "NoRunError": "jobsup.current",
    "current_run": "jobsup.current",
    "progress": "jobsup.current",
    "get_db_url": "jobsup.store.urls",
    "get_engine": "jobsup.store.urls",
    "Job": "jobsup.store.models",
    "JobDay": "jobsup.store.models",
    "JobDispatch": "jobsup.store.models",
    "JobExecutionLog": "jobsup.store.models",
    "JobOutputChunk": "jobsup.store.models",
    "SchedulerLock": "jobsup.store.models",
    "WorkerRegistration": "jobsup.store.models",
}


def __getattr__(name: str) -> object:
    if name == "__version__":
        value: object = importlib.import_module("jobsup.version").VERSION
    elif name in _HOMES:
        value = getattr(importlib.import_module(_HOMES[name]), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
