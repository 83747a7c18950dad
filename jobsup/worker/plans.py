"""How the runs of a plain command are started, worked out once in a while and not for each.

Plain is a command that needs no account, limits, secrets or input of its own: one spawn, with an environment that
differs from the last run's by the run's name. What a plan says of the machine, where a program is found and which
folder is there, holds for seconds; a plan that does not lead to a process is dropped, and the long way says why.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

from jobsup.clock import Clock
from jobsup.model import Claim, JobKind, JobSpec
from jobsup.worker import command, process
from jobsup.worker.command import Spawned, Start
from jobsup.worker.confinement import PLAIN, confinement_of
from jobsup.worker.environment import fixed_environment, own_variables
from jobsup.worker.grouping import Grouping
from jobsup.worker.process import Program

PLAN_SECONDS = 5.0
"""A program that was put in the place of another, or before it on the path, is found after this long."""
PLANS_MAX = 1000


@dataclass(frozen=True, slots=True)
class Plan:
    """What the runs of one definition have in common."""

    job: JobSpec
    start: Start
    program: Program
    expires_at: float
    """On the monotonic clock."""


@dataclass(slots=True)
class Plans:
    """The plans of a worker, the latest made last."""

    clock: Clock
    instance: str
    grouping: Grouping
    _known: OrderedDict[int, Plan] = field(default_factory=OrderedDict)
    """By the identity of the definition."""

    def spawn(self, claim: Claim, streams: tuple[int, int]) -> Spawned | None:
        """Start a plain command, with these descriptors for its output; None: it needs the long way."""
        plan = self._of(claim.job)
        if plan is None:
            return None
        variables = own_variables(claim)
        if not plan.start.environment.keys().isdisjoint(variables):
            return None
        try:
            child = plan.program.spawn(variables, (-1, *streams))
        except ValueError:  # a NUL in a parameter
            return None
        if child is None:
            del self._known[id(claim.job)]
            return None
        return Spawned(child, plan.start)

    def _of(self, job: JobSpec) -> Plan | None:
        plan = self._known.get(id(job))
        if plan is not None and plan.job is job and self.clock.monotonic() < plan.expires_at:
            return plan
        self._known.pop(id(job), None)
        plan = self._made(job) if _is_plain(job) else None
        if plan is not None:
            self._known[id(job)] = plan
            if len(self._known) > PLANS_MAX:
                self._known.popitem(last=False)
        return plan

    def _made(self, job: JobSpec) -> Plan | None:
        start = Start(
            argv=command.argv(job),
            cwd=command.working_folder(job, None),
            environment=fixed_environment(job, self.instance, None, {}),
            grouping=self.grouping,
        )
        program = process.find_program(start.argv[0], start.environment)
        if program is None:
            return None
        try:
            written = Program(program, start.argv, start.cwd, start.environment)
        except ValueError:  # a NUL somewhere
            return None
        return Plan(job, start, written, self.clock.monotonic() + PLAN_SECONDS)


def _is_plain(job: JobSpec) -> bool:
    is_alone = job.env_file is None and not job.secrets and not job.stdin
    return job.kind is JobKind.COMMAND and is_alone and confinement_of(job) is PLAIN
