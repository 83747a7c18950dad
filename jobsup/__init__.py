"""jobsup, the scheduled-job supervisor: its tables and its database, for Python programs that query them.

The names below are loaded when they are first used, so that `import jobsup` costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jobsup.store.models import (
        Job,
        JobDispatch,
        JobExecutionLog,
        JobOutputChunk,
        SchedulerLock,
        WorkerRegistration,
    )
    from jobsup.store.urls import get_db_url, get_engine

    __version__: str

__all__ = [
    "Job",
    "JobDispatch",
    "JobExecutionLog",
    "JobOutputChunk",
    "SchedulerLock",
    "WorkerRegistration",
    "__version__",
    "get_db_url",
    "get_engine",
]

_HOMES = {
    "get_db_url": "jobsup.store.urls",
    "get_engine": "jobsup.store.urls",
    "Job": "jobsup.store.models",
    "JobDispatch": "jobsup.store.models",
    "JobExecutionLog": "jobsup.store.models",
    "JobOutputChunk": "jobsup.store.models",
    "SchedulerLock": "jobsup.store.models",
    "WorkerRegistration": "jobsup.store.models",
}


def __getattr__(name: str) -> object:
    if name == "__version__":
        value: object = importlib.import_module("importlib.metadata").version("jobsup")
    elif name in _HOMES:
        value = getattr(importlib.import_module(_HOMES[name]), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
