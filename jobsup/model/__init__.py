"""The values that travel between the rooms: what a job is, and what can become of a run of it.

Every room imports them from here; the modules below part them by noun.
"""

from __future__ import annotations

from jobsup.model.jobs import CalendarSpec, JobSpec, NamedCalendar, ParamSpec, ScheduleSpec
from jobsup.model.people import Role
from jobsup.model.policies import (
    BlackoutPolicy,
    CalendarRule,
    CatchUp,
    DependsMode,
    DependsWhen,
    Dst,
    IoClass,
    JobKind,
    On,
    Origin,
    Overlap,
)
from jobsup.model.runs import STDERR, STDOUT, CapturedOutput, Claim, OutputChunk, Progress, RunResult
from jobsup.model.sets import BlackoutSpec, PoolSpec, SetSpec
from jobsup.model.states import Reason, Source, Status
from jobsup.model.ticks import DueJob, Lease, Skip, TickPlan, TickRules
from jobsup.model.workers import HOST_TAG_PREFIX, Heartbeat, WorkerFacts, WorkerStatus, host_tag

__all__ = [
    "HOST_TAG_PREFIX",
    "STDERR",
    "STDOUT",
    "BlackoutPolicy",
    "BlackoutSpec",
    "CalendarRule",
    "CalendarSpec",
    "CapturedOutput",
    "CatchUp",
    "Claim",
    "DependsMode",
    "DependsWhen",
    "Dst",
    "DueJob",
    "Heartbeat",
    "IoClass",
    "JobKind",
    "JobSpec",
    "Lease",
    "NamedCalendar",
    "On",
    "Origin",
    "OutputChunk",
    "Overlap",
    "ParamSpec",
    "PoolSpec",
    "Progress",
    "Reason",
    "Role",
    "RunResult",
    "ScheduleSpec",
    "SetSpec",
    "Skip",
    "Source",
    "Status",
    "TickPlan",
    "TickRules",
    "WorkerFacts",
    "WorkerStatus",
    "host_tag",
]
