"""The shapes of the API's answers, as JSON Schema: for its document, and for the tests that hold answers to them."""

from __future__ import annotations

from typing import Any

from jobsup.model import Reason, Role, Source, Status

Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
NUMBER: Schema = {"type": "number"}
WHOLE: Schema = {"type": "integer"}
FLAG: Schema = {"type": "boolean"}
ANYTHING: Schema = {"type": "object"}
INSTANT: Schema = {"type": "string", "format": "date-time"}


def maybe(schema: Schema) -> Schema:
    """Describe what may be null too."""
    return {**schema, "type": [schema["type"], "null"]}


def several(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def shape(**properties: Schema) -> Schema:
    """Describe an object with just these keys, all of them there."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def one_of(*words: str) -> Schema:
    return {"type": "string", "enum": list(words)}


JOB = {
    "name": TEXT,
    "state": one_of("active", "paused", "disabled", "manual", "ended", "removed"),
    "kind": TEXT,
    "description": TEXT,
    "schedule": TEXT,
    "timezone": TEXT,
    "next_run": maybe(INSTANT),
    "tags": several(TEXT),
    "queue": TEXT,
    "requires": several(TEXT),
    "set": TEXT,
    "origin": TEXT,
    "depends": maybe(TEXT),
    "paused": maybe(TEXT),
    "paused_at": maybe(INSTANT),
    "paused_until": maybe(INSTANT),
    "paused_by": maybe(TEXT),
    "paused_reason": maybe(TEXT),
    "config_hash": TEXT,
}
WORKER = {
    "worker_id": TEXT,
    "node": TEXT,
    "hostname": TEXT,
    "platform": TEXT,
    "pid": WHOLE,
    "status": one_of("IDLE", "BUSY", "DRAINING", "OFFLINE"),
    "started_at": INSTANT,
    "last_heartbeat": INSTANT,
    "jobs_processed": WHOLE,
    "current_job_id": maybe(WHOLE),
    "concurrency": WHOLE,
    "queues": several(TEXT),
    "tags": several(TEXT),
    "version": TEXT,
    "clock_offset_seconds": maybe(NUMBER),
}

PROGRESS = {"oneOf": [{"type": "null"}, shape(fraction=maybe(NUMBER), text=TEXT)]}
ACCOUNT = shape(
    wall_seconds=maybe(NUMBER),
    queue_seconds=maybe(NUMBER),
    lateness_seconds=maybe(NUMBER),
    cpu_user_seconds=maybe(NUMBER),
    cpu_system_seconds=maybe(NUMBER),
    max_rss_bytes=maybe(WHOLE),
    io_read_bytes=maybe(WHOLE),
    io_write_bytes=maybe(WHOLE),
)

DAY = shape(
    day={"type": "string", "format": "date"},
    completed=WHOLE,
    failed=WHOLE,
    timed_out=WHOLE,
    cancelled=WHOLE,
    skipped=WHOLE,
    p50_seconds=maybe(NUMBER),
    p95_seconds=maybe(NUMBER),
    cpu_seconds=NUMBER,
    max_rss_bytes=maybe(WHOLE),
    io_read_bytes=maybe(WHOLE),
    io_write_bytes=maybe(WHOLE),
)

COMPONENTS: dict[str, Schema] = {
    "Job": shape(**JOB),
    "JobDetail": shape(**JOB, starts=several(TEXT), definition=ANYTHING),
    "Run": shape(
        id=WHOLE,
        job=TEXT,
        status=one_of(*Status),
        reason=one_of(*Reason),
        source=one_of(*Source),
        retry_count=WHOLE,
        retry_of=maybe(WHOLE),
        parent_id=maybe(WHOLE),
        scheduled_for=maybe(INSTANT),
        created_at=INSTANT,
        available_at=INSTANT,
        claimed_at=maybe(INSTANT),
        started_at=maybe(INSTANT),
        completed_at=maybe(INSTANT),
        exit_code=maybe(WHOLE),
        signal=maybe(WHOLE),
        worker_id=maybe(TEXT),
        host=maybe(TEXT),
        error_message=maybe(TEXT),
        note=maybe(TEXT),
        pool=maybe(TEXT),
        queue=TEXT,
        requires=several(TEXT),
        target=TEXT,
        lack=maybe(TEXT),
        requested_by=maybe(TEXT),
        params=maybe(ANYTHING),
        progress=PROGRESS,
        result={},
        account=ACCOUNT,
        skipped_until=maybe(INSTANT),
        skipped_count=maybe(WHOLE),
    ),
    "Worker": shape(**WORKER),
    "Host": shape(
        node=TEXT,
        leads=FLAG,
        stands_by=FLAG,
        workers=WHOLE,
        places=WHOLE,
        running=WHOLE,
        draining=WHOLE,
        last_heartbeat=maybe(INSTANT),
        clock_offset_seconds=maybe(NUMBER),
        versions=several(TEXT),
        queues=several(TEXT),
        tags=several(TEXT),
    ),
    "User": shape(name=TEXT, role=one_of(*Role), created_at=INSTANT, last_login_at=maybe(INSTANT)),
    "Token": shape(
        name=TEXT,
        scopes=several(TEXT),
        job=maybe(TEXT),
        created_at=INSTANT,
        created_by=TEXT,
        expires_at=maybe(INSTANT),
        last_used_at=maybe(INSTANT),
    ),
    "AuditEntry": shape(
        id=WHOLE,
        at=INSTANT,
        actor=TEXT,
        origin=TEXT,
        address=TEXT,
        verb=TEXT,
        subject=TEXT,
        outcome=one_of("done", "refused"),
        detail=ANYTHING,
    ),
    "Piece": shape(
        offset=WHOLE, stream=WHOLE, is_stderr=FLAG, data={"type": "string", "contentEncoding": "base64"}, text=TEXT
    ),
}

_STORY: dict[str, Schema] = {
    "job": TEXT,
    "at": maybe(INSTANT),
    "outcome": TEXT,
    "why": several(TEXT),
    "runs": several(ref("Run")),
    "next_run": maybe(INSTANT),
}
_ONE_RUN: dict[str, Schema] = {"run": ref("Run"), "attempts": several(WHOLE)}
_SOME_RUNS: dict[str, Schema] = {
    "runs": several(ref("Run")),
    "refused": several(shape(id=WHOLE, detail=TEXT, exit_code=WHOLE)),
}

ANSWERS: dict[str, dict[str, Schema]] = {
    "listJobs": {"jobs": several(ref("Job"))},
    "showJob": {"job": ref("JobDetail"), "runs": several(ref("Run")), "days": several(DAY)},
    "runJob": {"run": ref("Run"), "others": several(ref("Run")), "created": FLAG},
    "saveJob": {"job": TEXT, "changes": several(TEXT), "warnings": several(TEXT), "saved": FLAG},
    "removeJob": {"job": TEXT, "removed": FLAG},
    "pauseJob": {"job": ref("Job")},
    "pauseJobs": {"jobs": several(ref("Job"))},
    "resumeJob": {"job": ref("Job")},
    "resumeJobs": {"jobs": several(ref("Job"))},
    "backfillJob": {
        "job": TEXT,
        "already_run": WHOLE,
        "left": WHOLE,
        "ticks": several(INSTANT),
        "runs": several(WHOLE),
    },
    "cancelBackfill": {"job": TEXT, "cancelled": WHOLE},
    "listRuns": {"runs": several(ref("Run")), "before": maybe(WHOLE)},
    "findRun": _ONE_RUN,
    "showRun": _ONE_RUN,
    "cancelRun": {"run": ref("Run")},
    "retryRun": {"run": ref("Run")},
    "cancelRuns": _SOME_RUNS,
    "retryRuns": _SOME_RUNS,
    "pruneRuns": {"deleted": WHOLE, "left": WHOLE},
    "nextTicks": {
        "at": INSTANT,
        "next": several(
            shape(job=TEXT, at=INSTANT, starts=maybe(INSTANT), note=maybe(TEXT), hosts=maybe(several(TEXT)))
        ),
        "waits": several(TEXT),
    },
    "whyJob": _STORY,
    "whyRun": _STORY,
    "forecast": {
        "start": INSTANT,
        "days": WHOLE,
        "jobs": WHOLE,
        "peak": NUMBER,
        "running": several(NUMBER),
        "starts": several(NUMBER),
        "collisions": several(shape(at=INSTANT, starts=WHOLE)),
        "pools": several(shape(pool=TEXT, places=WHOLE)),
        "overloads": several(shape(pool=TEXT, places=WHOLE, start=INSTANT, end=INSTANT, peak=NUMBER)),
        "notes": several(shape(at=INSTANT, job=TEXT, note=TEXT)),
        "blackouts": several(shape(name=TEXT, policy=TEXT, start=INSTANT, end=INSTANT)),
        "unknown_durations": several(TEXT),
    },
    "listWorkers": {"at": INSTANT, "workers": several(ref("Worker"))},
    "status": {
        "at": maybe(INSTANT),
        "state": TEXT,
        "healthy": FLAG,
        "supervisor": ANYTHING,
        "children": several(ANYTHING),
        "containment": maybe(TEXT),
        "scheduler": shape(
            role=one_of("leader", "standby", "none"),
            leads=FLAG,
            lag_seconds=maybe(NUMBER),
            next_due=maybe(INSTANT),
            leader=maybe(TEXT),
            epoch=maybe(WHOLE),
            leader_since=maybe(INSTANT),
            dispatch_lock_until=maybe(INSTANT),
            lease_left_seconds=maybe(NUMBER),
            lease_age_seconds=maybe(NUMBER),
        ),
        "hosts": several(ref("Host")),
        "workers": several(
            shape(
                **WORKER,
                run={
                    "oneOf": [{"type": "null"}, shape(id=WHOLE, job=TEXT, started_at=maybe(INSTANT), progress=PROGRESS)]
                },
            )
        ),
        "counts": shape(**dict.fromkeys(Status, WHOLE)),
        "jobs": shape(active=WHOLE, paused=WHOLE),
        "unserved": several(
            shape(
                queue=TEXT,
                requires=several(TEXT),
                target=TEXT,
                count=WHOLE,
                first_run=WHOLE,
                since=INSTANT,
                lack=TEXT,
            )
        ),
        "problems": several(TEXT),
        "warnings": several(TEXT),
    },
    "listUsers": {"users": several(ref("User"))},
    "addUser": {"user": ref("User")},
    "setPassword": {"user": ref("User")},
    "setRole": {"user": ref("User")},
    "removeUser": {"user": ref("User")},
    "listTokens": {"tokens": several(ref("Token"))},
    "createToken": {"name": TEXT, "token": TEXT},
    "revokeToken": {"name": TEXT},
    "listAudit": {"audit": several(ref("AuditEntry"))},
    "hook": {"run": ref("Run"), "created": FLAG},
    "readLog": {
        "id": WHOLE,
        "status": one_of(*Status),
        "final": FLAG,
        "total": WHOLE,
        "gap": {"oneOf": [{"type": "null"}, {**shape(**{"from": WHOLE, "to": WHOLE})}]},
        "pieces": several(ref("Piece")),
    },
    "searchLog": {
        "id": WHOLE,
        "needle": TEXT,
        "hits": several(shape(place=WHOLE, text=TEXT)),
        "is_all": FLAG,
        "searched_from": WHOLE,
    },
    "overview": {"overview": ANYTHING},
    "listSlots": {"slots": several(ANYTHING), "older": maybe(WHOLE), "newer": maybe(WHOLE)},
    "showSettings": {
        "job": TEXT,
        "config_hash": TEXT,
        "settings": several(shape(key=TEXT, value=TEXT, origin=one_of("the job", "[defaults]", "default"))),
    },
    "retention": {
        "keep_days": WHOLE,
        "runs": WHOLE,
        "oldest": maybe(INSTANT),
        "file_bytes": maybe(WHOLE),
        "wanted_days": maybe(WHOLE),
        "past": WHOLE,
    },
    "timeline": {"from": INSTANT, "to": INSTANT, "runs": several(ANYTHING), "is_cut": FLAG},
    "calendar": {
        "year": WHOLE,
        "job": TEXT,
        "days": several(
            shape(date={"type": "string", "format": "date"}, good=WHOLE, bad=WHOLE, other=WHOLE, due=WHOLE)
        ),
    },
    "exportJobs": {"text": TEXT, "jobs": WHOLE, "left_out": several(TEXT), "warning": maybe(TEXT)},
    "showConfig": {"path": TEXT, "settings": several(shape(key=TEXT, value=TEXT, origin=TEXT))},
}
"""What each operation answers with, beside `schema`; those that are missing answer with what any program may."""

LOOSE: dict[str, Schema] = {
    "explain": ANYTHING,
    "scale": ANYTHING,
    "reload": ANYTHING,
    "openapi": ANYTHING,
    "healthz": shape(healthy=FLAG),
    "readyz": shape(ready=FLAG, database=FLAG, leader=FLAG, lag_seconds=maybe(NUMBER)),
}
"""Answers without a version of their own, or with what the supervisor says."""


def answer(name: str) -> Schema:
    """Return the shape of an operation's answer; KeyError for one that has none, which is a fault of ours."""
    if name in LOOSE:
        return LOOSE[name]
    return shape(schema={"type": "integer", "const": 1}, **ANSWERS[name])
