"""`jobsup status`: whether all is well, at a glance or for a program."""

from __future__ import annotations

import threading
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from jobsup.cli.here import Here
from jobsup.cli.text import clean, colour, pairs, plural, print_json, say, status, table
from jobsup.cli.times import Duration, away, brief, local
from jobsup.cli.verb import json_option, verb
from jobsup.clock import rfc3339
from jobsup.errors import DatabaseError, ExitCode, UnreachableError
from jobsup.model import Status

if TYPE_CHECKING:
    from datetime import timedelta

    from jobsup.actions.health import Health

ANSWER_SECONDS_MAX = 5.0
"""How long a supervisor may take to describe itself; a healthy one takes milliseconds."""


@verb(
    "status",
    ("jobsup status", "the processes, the schedule and the work"),
    ("jobsup status --json | jq -r .state", "one word for a script"),
)
@json_option
@click.option("-w", "--watch", is_flag=True, help="Show it again and again, until Ctrl-C.")
@click.option("--interval", type=Duration(), default="2s", show_default=True, help="How often, with --watch.")
@click.pass_context
def status_(ctx: click.Context, here: Here, *, as_json: bool, watch: bool, interval: timedelta) -> None:
    """Show the supervisor, its processes, the leader, the lag of the schedule, the workers and the counts of runs.

    Ends with 0 when all is well, 1 when something is not, 3 when nothing is running; what the database knows is
    shown all the same.
    """
    health = _look(here)
    _show(here, health, as_json=as_json)
    pause = threading.Event()
    while watch:
        pause.wait(interval.total_seconds())
        health = _look(here)
        if not as_json:
            click.clear()
        _show(here, health, as_json=as_json)
    ctx.exit(exit_code(health))


def exit_code(health: Health) -> int:
    from jobsup.actions.health import STOPPED

    if health.state == STOPPED:
        return ExitCode.UNREACHABLE
    return ExitCode.OK if health.is_healthy else ExitCode.FAILED


def _look(here: Here) -> Health:
    from jobsup.actions.health import judge

    supervisor = _ask(here)
    set_name = here.peek().set
    try:
        with here.database() as database:
            return judge(supervisor, database, set_name=set_name)
    except (DatabaseError, UnreachableError) as error:
        return judge(supervisor, None, set_name=set_name, trouble=str(error))


def _ask(here: Here) -> dict[str, Any]:
    """Return what the supervisor says of itself; nothing when none runs."""
    from jobsup.control import client

    socket = here.socket()
    if not socket.exists():
        return {}
    try:
        answer = client.call(socket, {"do": "status"}, timeout=ANSWER_SECONDS_MAX)
    except UnreachableError:
        return {}
    return dict(answer.get("status") or answer)


def _show(here: Here, health: Health, *, as_json: bool) -> None:
    if as_json:
        print_json(status_document(health, here.peek().path))
        return
    _print(health, here.peek().path)
    for problem in health.problems:
        say(f"{colour('problem', fg='red')}: {clean(problem)}")
    for warning in health.warnings:
        say(f"warning: {clean(warning)}")


def status_document(health: Health, config: str) -> dict[str, Any]:
    """Return the shape that `status --json` keeps."""
    from jobsup.actions.documents import unserved_document, worker_document
    from jobsup.actions.health import role

    work = health.work
    running = {run.worker_id: run for run in health.running}
    supervisor = {"pid": None, "started_at": None, "config": config, "generation": None}
    leader = work.leader if work is not None else None
    return {
        "state": health.state,
        "healthy": health.is_healthy,
        "supervisor": {**supervisor, **health.supervisor.get("supervisor", {})},
        "children": health.supervisor.get("children", []),
        "containment": health.supervisor.get("containment"),
        "scheduler": {
            "role": role(health),
            "lag_seconds": None if work is None else round(work.lag.total_seconds(), 3),
            "next_due": None if work is None else rfc3339(work.next_due),
            "leader": None if leader is None or not leader.holder else leader.node,
            "epoch": None if leader is None else leader.epoch,
            "dispatch_lock_until": None if leader is None else rfc3339(leader.until),
        },
        "workers": [
            {**worker_document(row), "run": _run(running.get(row.worker_id))} for row in (work.workers if work else ())
        ],
        "counts": {each: 0 if work is None else work.counts[each] for each in Status},
        "jobs": {"active": work.jobs_active if work else 0, "paused": work.jobs_paused if work else 0},
        "unserved": [unserved_document(each) for each in health.unserved],
        "problems": list(health.problems),
        "warnings": list(health.warnings),
    }


def _run(run: Any) -> dict[str, Any] | None:
    return None if run is None else {"id": run.id, "job": run.job, "started_at": rfc3339(run.started_at)}


def _print(health: Health, config: str) -> None:
    click.echo(pairs([*_supervisor_rows(health, config), *_work_rows(health)]))
    if rows := _process_rows(health):
        click.echo()
        click.echo(table(("PROCESS", "PID", "STATE", "RESTARTS", "LAST EXIT", "WORKER", "DOES"), rows))


def _supervisor_rows(health: Health, config: str) -> list[tuple[str, str]]:
    facts = health.supervisor.get("supervisor", {})
    running = f", pid {facts['pid']}, generation {facts['generation']}" if facts else ""
    rows = [("jobsup", f"{status(health.state)}{running}"), ("Config", clean(facts.get("config") or config))]
    if started := facts.get("started_at"):
        rows.append(("Started", local(datetime.fromisoformat(started))))
    if containment := health.supervisor.get("containment"):
        rows.append(("Held by", clean(containment)))
    return rows


def _work_rows(health: Health) -> list[tuple[str, str]]:
    from jobsup.actions.health import leads, role

    work = health.work
    if work is None:
        return []
    leader = f"{clean(work.leader.node)}, term {work.leader.epoch}" if work.leader and leads(work) else "none"
    paused = f", {work.jobs_paused} paused" if work.jobs_paused else ""
    due = f"{local(work.next_due)} ({away(work.next_due, work.at)})" if work.next_due else "-"
    late = f", {brief(work.lag)} late" if work.lag else ""
    counted = (f"{count} {name}" for name, count in work.counts.items() if count or not name.is_terminal)
    return [
        ("Scheduler", f"{role(health)}; leader: {leader}"),
        ("Jobs", f"{work.jobs_active} active{paused}"),
        ("Next due", f"{due}{late}"),
        ("Runs", f"{', '.join(counted)} (ended ones: of 24 h)"),
        ("Workers", plural(len(work.workers), "worker")),
    ]


def _process_rows(health: Health) -> list[tuple[str, ...]]:
    """Return a row for each process of this host, then one for each worker that is not one of them."""
    running = {run.worker_id: f"run {run.id} {clean(run.job)}" for run in health.running}
    known = {row.worker_id: row for row in (health.work.workers if health.work else ())}
    rows: list[tuple[str, ...]] = []
    for child in health.supervisor.get("children", ()):
        worker_id = str((child.get("facts") or {}).get("worker_id", ""))
        known.pop(worker_id, None)
        rows.append(
            (
                f"{child['kind']}-{child['slot']}",
                str(child["pid"] or "-"),
                status(str(child["state"])),
                str(child["restarts"]),
                clean(str(child["last_exit"] or "")),
                worker_id,
                running.get(worker_id, ""),
            )
        )
    for row in known.values():
        name = f"worker on {clean(row.node)}"
        does = running.get(row.worker_id, "")
        rows.append((name, str(row.process_id), status(row.status), "", "", row.worker_id, does))
    return rows
