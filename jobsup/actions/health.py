"""The state of the whole: what the supervisor says of its processes and the database of the work, judged together."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from jobsup.actions import serving
from jobsup.actions.serving import Unserved
from jobsup.clock import rfc3339
from jobsup.errors import ExitCode
from jobsup.model import Status
from jobsup.store import jobs, overview, server_facts, upkeep
from jobsup.store.engine import Database
from jobsup.store.overview import Summary
from jobsup.store.run_rows import RunRow
from jobsup.store.server_facts import ServerFacts
from jobsup.store.workers import WorkerRow

STOPPED = "stopped"
DEGRADED = "degraded"
LAG_MAX = timedelta(seconds=30)
"""A tick that has waited longer than this was not merely between two passes."""
SKEW_MAX = timedelta(seconds=5)
"""A heartbeat that is further ahead than this comes from another clock."""
CLOCKS_APART_MAX = timedelta(seconds=1)
"""The difference between this host's clock and a database server's that is worth a word."""
RUNNING_MAX = 1000
"""Runs in progress that are shown."""


@dataclass(frozen=True, slots=True)
class Health:
    """All that `status` tells."""

    state: str
    """The supervisor's own state; `degraded` when it runs and the work does not; `stopped`."""
    supervisor: dict[str, Any]
    """Its answer; empty when none runs."""
    work: Summary | None
    """What the database says; None when it cannot be asked."""
    running: tuple[RunRow, ...]
    problems: tuple[str, ...]
    """What makes it unhealthy."""
    warnings: tuple[str, ...]
    """What an operator should know all the same."""
    unserved: tuple[Unserved, ...] = ()
    """What waits for a worker there is none of."""

    @property
    def is_healthy(self) -> bool:
        return self.state in {"running", "reloading"} and not self.problems


def judge(supervisor: dict[str, Any], database: Database | None, *, set_name: str, trouble: str = "") -> Health:
    """Put together what the supervisor answered (empty: none runs) and what the database holds.

    `trouble` says why there is no database to ask.
    """
    problems, warnings = [trouble] if trouble else [], []
    work: Summary | None = None
    running: tuple[RunRow, ...] = ()
    in_vain: list[Unserved] = []
    if database is not None:
        work = overview.summary(database)
        running = tuple(overview.runs(database, status=Status.IN_PROGRESS, last=RUNNING_MAX))
        facts = server_facts.read(database)
        warnings += [*_drift(supervisor, database, set_name), *_skew(work), *_server(facts)]
        problems += [*_disk(supervisor, database), *_read_only(facts, database)]
        in_vain = serving.unserved(database)
        for each in in_vain:  # a moment of it is usual: a worker that is being replaced
            is_long = work.at - each.runs.since > LAG_MAX
            (problems if supervisor and is_long else warnings).append(serving.unserved_words(each))
    if supervisor:
        problems += _children(supervisor)
        problems += _schedule(work) if work is not None else []
        warnings += _reload(supervisor.get("supervisor", {}).get("last_reload") or {})
    state = str(supervisor.get("state", STOPPED))
    if problems and state == "running":
        state = DEGRADED
    return Health(state, supervisor, work, running, tuple(problems), tuple(warnings), tuple(in_vain))


def role(health: Health) -> str:
    """Say what this host's scheduler is: `leader`, `standby`, or `none`."""
    pids = [child["pid"] for child in health.supervisor.get("children", ()) if child["kind"] == "scheduler"]
    if not any(pids):
        return "none"
    leader = health.work.leader if health.work is not None else None
    is_ours = leader is not None and health.work is not None and leader.until > health.work.at
    return "leader" if is_ours and leader is not None and holder_pid(leader.holder) in pids else "standby"


def holder_pid(holder: str) -> int | None:
    """Return the process id in a lease's holder, which is written `node/boot id/pid/start`."""
    fields = holder.rsplit("/", 3)
    return int(fields[2]) if len(fields) == 4 and fields[2].isdigit() else None


def leads(work: Summary) -> bool:
    """Say whether a scheduler leads, on whatever host."""
    return work.leader is not None and bool(work.leader.holder) and work.leader.until > work.at


def _children(supervisor: dict[str, Any]) -> list[str]:
    return [
        f"{child['kind']}-{child['slot']} is in state {child['state']}"
        + (f", last exit: {child['last_exit']}" if child.get("last_exit") else "")
        for child in supervisor.get("children", ())
        if child["state"] in {"backoff", DEGRADED, "config_fault", "hung", "failed"}
    ]


def _reload(last: dict[str, Any]) -> list[str]:
    """Tell that the last reload was refused, and the first line of why."""
    if not last.get("error"):
        return []
    lines = last.get("lines") or []
    more = f" and {len(lines) - 1} more" if len(lines) > 1 else ""
    why = f" ({lines[0]}{more})" if lines and last.get("exit_code") == ExitCode.CONFIG else ""
    return [f"the last reload failed: {last['error']}{why}"]


def _schedule(work: Summary) -> list[str]:
    if work.lag <= LAG_MAX:
        return []
    nobody = "" if leads(work) else ", and no scheduler leads"
    return [f"a tick has waited for {work.lag.total_seconds():.0f} s to be dispatched{nobody}"]


def _disk(supervisor: dict[str, Any], database: Database) -> list[str]:
    floor = supervisor.get("free_space_min")
    free = upkeep.free_space(database)
    if floor is None or free is None or free >= floor:
        return []
    return [f"{free} bytes are free beside the database, under the floor of {floor}: no job is started"]


def _skew(work: Summary) -> list[str]:
    """Name the hosts whose clocks are wrong: by what they say themselves, or by a heartbeat that is yet to come."""
    return [
        f"the clock of {row.node} is {(row.last_heartbeat - work.at).total_seconds():.0f} s ahead of this one"
        for row in _one_per_node(work)
        if row.last_heartbeat - work.at > SKEW_MAX
    ] + [
        f"the clock of {node} is {abs(offset):.1f} s {'ahead of' if offset > 0 else 'behind'} the database server's, "
        "which rules what is due: set it right"
        for node, offset in clock_offsets(work).items()
        if abs(offset) > CLOCKS_APART_MAX.total_seconds()
    ]


def clock_offsets(work: Summary) -> dict[str, float]:
    """Return by how many seconds each host was ahead of the server when it was last heard of, where it says so."""
    heard = sorted(work.workers, key=lambda row: row.last_heartbeat)
    return {row.node: row.clock_offset for row in heard if row.clock_offset is not None}


def _read_only(facts: ServerFacts | None, database: Database) -> list[str]:
    if facts is None or not facts.is_read_only:
        return []
    return [f"database {database.where} answers, but does not write: it is a standby, or set to read only"]


def _server(facts: ServerFacts | None) -> list[str]:
    """Tell what of a PostgreSQL server is not as it should be: clocks apart, too few connections, a proxy between."""
    if facts is None:
        return []
    found = []
    if abs(facts.skew) > CLOCKS_APART_MAX:
        way = "ahead of" if facts.skew > timedelta() else "behind"
        found.append(
            f"the database server's clock is {abs(facts.skew).total_seconds():.0f} s {way} this host's: "
            "it rules what is due, but set the clocks right"
        )
    if facts.lacks_connections:
        found.append(
            f"workers and schedulers need {facts.connections_needed} connections, and of the server's "
            f"max_connections = {facts.connections_max} only {facts.connections_left} are left for them: raise it"
        )
    if facts.is_pooled:
        found.append("a pooling proxy before the database lets no wake-up through: work waits for the next poll")
    return found


def _one_per_node(work: Summary) -> list[WorkerRow]:
    return list({row.node: row for row in work.workers}.values())


def _drift(supervisor: dict[str, Any], database: Database, set_name: str) -> list[str]:
    """Tell when another host has put other definitions into force since."""
    ours = supervisor.get("content_hash")
    drift = jobs.drift(database, set_name, ours) if ours else None
    if drift is None:
        return []
    text = (
        f'the jobs of set "{set_name}" in the database are those of {drift.path} on {drift.node} '
        f"(since {rfc3339(drift.synced_at)}), not those of this host: reload, or make the files equal"
    )
    return [text]
