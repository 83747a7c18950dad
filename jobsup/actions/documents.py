"""Jobs, runs and workers as JSON: the same on the command line and in the API."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Any

from jobsup.actions.accounts import account_document, progress_document, result_document
from jobsup.clock import rfc3339

if TYPE_CHECKING:
    from jobsup.actions.health import Health
    from jobsup.actions.serving import Unserved
    from jobsup.model import JobSpec
    from jobsup.store.audit import AuditRow
    from jobsup.store.jobs import JobFacts
    from jobsup.store.leases import LeaderFacts
    from jobsup.store.overview import Summary
    from jobsup.store.run_rows import RunRow
    from jobsup.store.tokens import Token
    from jobsup.store.users import User
    from jobsup.store.workers import WorkerRow


def job_document(facts: JobFacts, now: datetime) -> dict[str, Any]:
    """Return a job as JSON shows it in a list."""
    from jobsup.actions.jobs import depends_words, pause_words
    from jobsup.schedule import describe

    return {
        "name": facts.name,
        "state": job_state(facts, now),
        "kind": facts.spec.kind,
        "description": facts.spec.description,
        "schedule": describe(facts.spec.schedule),
        "timezone": facts.spec.schedule.timezone,
        "next_run": rfc3339(facts.next_run),
        "tags": list(facts.spec.tags),
        "queue": facts.spec.queue,
        "requires": list(facts.spec.requires),
        "set": facts.set_name,
        "origin": facts.origin,
        "depends": depends_words(facts.spec) if facts.spec.depends_on else None,
        "paused": pause_words(facts) if facts.is_paused(now) else None,
        "paused_at": rfc3339(facts.paused_at),
        "paused_until": rfc3339(facts.paused_until),
        "paused_by": facts.paused_by,
        "paused_reason": facts.paused_reason,
        "config_hash": facts.config_hash,
    }


def job_state(facts: JobFacts, now: datetime) -> str:
    """Say in one word whether a job's ticks run: active, paused, disabled, manual, ended or removed."""
    if facts.retired_at is not None:
        return "removed"
    if not facts.is_active:
        return "disabled"
    if facts.is_paused(now):
        return "paused"
    if facts.spec.schedule.is_manual:
        return "manual"
    return "active" if facts.next_run is not None else "ended"


def definition(facts: JobFacts) -> dict[str, Any]:
    """Return what the job's table says; the values of `env` are nobody's business."""
    return spec_document(facts.spec)


def spec_document(spec: JobSpec) -> dict[str, Any]:
    """Return a definition with JSON values only, without the values of `env`."""
    from jobsup.config.document import jobspec_to_dict
    from jobsup.config.urls import MASK

    document = jobspec_to_dict(spec)
    return {**document, "env": dict.fromkeys(document["env"], MASK)}


def run_document(run: RunRow, lack: str | None = None) -> dict[str, Any]:
    """Return a run as JSON shows it; `lack` says what is missing for one that waits in vain."""
    return {
        "id": run.id,
        "job": run.job,
        "status": run.status,
        "reason": run.reason,
        "source": run.source,
        "retry_count": run.retry_count,
        "retry_of": run.retry_of,
        "parent_id": run.parent_id,
        "scheduled_for": rfc3339(run.scheduled_for),
        "created_at": rfc3339(run.created_at),
        "available_at": rfc3339(run.available_at),
        "claimed_at": rfc3339(run.claimed_at),
        "started_at": rfc3339(run.started_at),
        "completed_at": rfc3339(run.completed_at),
        "exit_code": run.exit_code,
        "signal": run.signal,
        "worker_id": run.worker_id,
        "host": run.host,
        "error_message": run.error_message,
        "note": run.note,
        "pool": run.pool,
        "queue": run.queue,
        "requires": (run.requires or "").split(),
        "target": run.target,
        "lack": lack,
        "requested_by": run.requested_by,
        "params": run.params,
        "skipped_until": rfc3339(run.skipped_until),
        "skipped_count": run.skipped_count,
        "progress": progress_document(run),
        "result": result_document(run),
        "account": account_document(run),
    }


def worker_document(row: WorkerRow) -> dict[str, Any]:
    """Return a worker as JSON shows it."""
    return {
        "worker_id": row.worker_id,
        "node": row.node,
        "hostname": row.hostname,
        "platform": row.platform,
        "pid": row.process_id,
        "status": row.status,
        "started_at": rfc3339(row.started_at),
        "last_heartbeat": rfc3339(row.last_heartbeat),
        "jobs_processed": row.jobs_processed,
        "current_job_id": row.current_job_id,
        "concurrency": row.concurrency,
        "queues": list(row.queues),
        "tags": list(row.tags),
        "version": row.version,
        "clock_offset_seconds": None if row.clock_offset is None else round(row.clock_offset, 3),
    }


def status_document(health: Health, config: str) -> dict[str, Any]:
    """Return the shape that `status --json` and the API keep."""
    from jobsup.actions.health import leads, role
    from jobsup.model import Status

    work = health.work
    running = {run.worker_id: run for run in health.running}
    supervisor = {"pid": None, "started_at": None, "config": config, "generation": None}
    leader = work.leader if work is not None else None
    return {
        "at": None if work is None else rfc3339(work.at),
        "state": health.state,
        "healthy": health.is_healthy,
        "supervisor": {**supervisor, **health.supervisor.get("supervisor", {})},
        "children": health.supervisor.get("children", []),
        "containment": health.supervisor.get("containment"),
        "scheduler": {
            "role": role(health),
            "leads": work is not None and leads(work),
            "lag_seconds": None if work is None else round(work.lag.total_seconds(), 3),
            "next_due": None if work is None else rfc3339(work.next_due),
            "leader": None if leader is None or not leader.holder else leader.node,
            "epoch": None if leader is None else leader.epoch,
            "leader_since": None if leader is None or not leader.holder else rfc3339(leader.acquired_at),
            "dispatch_lock_until": None if leader is None else rfc3339(leader.until),
            "lease_left_seconds": None if work is None or leader is None else _seconds_left(leader.until, work.at),
            "lease_age_seconds": None if work is None or leader is None else _age(leader, work.at),
        },
        "hosts": [] if work is None else _hosts(work, health.running),
        "workers": [
            {**worker_document(row), "run": _brief(running.get(row.worker_id))}
            for row in (work.workers if work else ())
        ],
        "counts": {str(each): 0 if work is None else work.counts[each] for each in Status},
        "jobs": {"active": work.jobs_active if work else 0, "paused": work.jobs_paused if work else 0},
        "unserved": [unserved_document(each) for each in health.unserved],
        "problems": list(health.problems),
        "warnings": list(health.warnings),
    }


def _seconds_left(until: datetime, now: datetime) -> float:
    return round(max(0.0, (until - now).total_seconds()), 3)


def _age(leader: LeaderFacts, now: datetime) -> float | None:
    """Return for how long the lease has not been renewed."""
    if leader.renewed_at is None or not leader.holder:
        return None
    return round(max(0.0, (now - leader.renewed_at).total_seconds()), 3)


def _hosts(work: Summary, running: Iterable[RunRow]) -> list[dict[str, Any]]:
    """Return each host that has workers or a scheduler, with what can be said of it in a line."""
    from jobsup.actions.health import clock_offsets, leads

    offsets = clock_offsets(work)
    leader = work.leader.node if work.leader is not None and leads(work) else None
    busy = Counter(run.worker_id for run in running)
    nodes = sorted({row.node for row in work.workers} | ({leader} if leader else set()) | set(work.standbys))
    return [
        {
            "node": node,
            "leads": node == leader,
            "stands_by": node != leader and node in work.standbys,
            "workers": len(rows),
            "places": sum(row.concurrency for row in rows),
            "running": sum(busy[row.worker_id] for row in rows),
            "draining": sum(row.status == "DRAINING" for row in rows),
            "last_heartbeat": rfc3339(max((row.last_heartbeat for row in rows), default=None)),
            "clock_offset_seconds": None if (offset := offsets.get(node)) is None else round(offset, 3),
            "versions": sorted({row.version for row in rows}),
            "queues": sorted({queue for row in rows for queue in row.queues}),
            "tags": sorted({tag for row in rows for tag in row.tags}),
        }
        for node in nodes
        for rows in [[row for row in work.workers if row.node == node]]
    ]


def unserved_document(each: Unserved) -> dict[str, Any]:
    """Return runs that no worker can take, and why, as JSON shows them."""
    asked = each.runs.asked
    return {
        "queue": asked.queue,
        "requires": list(asked.requires),
        "target": asked.target,
        "count": each.runs.count,
        "first_run": each.runs.first_id,
        "since": rfc3339(each.runs.since),
        "lack": each.lack,
    }


def user_document(user: User) -> dict[str, Any]:
    """Return a user as JSON shows them."""
    return {
        "name": user.name,
        "role": user.role,
        "created_at": rfc3339(user.created_at),
        "last_login_at": rfc3339(user.last_login_at),
    }


def token_document(token: Token) -> dict[str, Any]:
    """Return a token as JSON shows it: never its secret."""
    return {
        "name": token.name,
        "scopes": list(token.scopes),
        "job": token.job,
        "created_at": rfc3339(token.created_at),
        "created_by": token.created_by,
        "expires_at": rfc3339(token.expires_at),
        "last_used_at": rfc3339(token.last_used_at),
    }


def audit_document(row: AuditRow) -> dict[str, Any]:
    """Return a line of the audit as JSON shows it."""
    return {
        "id": row.id,
        "at": rfc3339(row.at),
        "actor": row.actor,
        "origin": row.origin,
        "address": row.address,
        "verb": row.verb,
        "subject": row.subject,
        "outcome": row.outcome,
        "detail": row.detail,
    }


def _brief(run: RunRow | None) -> dict[str, Any] | None:
    if run is None:
        return None
    started = rfc3339(run.started_at)
    return {"id": run.id, "job": run.job, "started_at": started, "progress": progress_document(run)}
