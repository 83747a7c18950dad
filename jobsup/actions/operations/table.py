"""All operations in one table."""

from __future__ import annotations

from jobsup.actions.operations import access, exporting, hosts, jobs, runs, schedules
from jobsup.actions.operations.base import Operation

OPERATIONS: tuple[Operation, ...] = (
    *jobs.OPERATIONS,
    *runs.OPERATIONS,
    *schedules.OPERATIONS,
    *hosts.OPERATIONS,
    *access.OPERATIONS,
    *exporting.OPERATIONS,
)
