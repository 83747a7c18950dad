"""`jobsup status`: whether all is well, at a glance or for a program."""

from __future__ import annotations

import threading
from datetime import datetime, timedelta
from typing import Any

import click

from jobsup.actions.accounts import progress_words
from jobsup.cli.here import Here
from jobsup.cli.text import clean, colour, pairs, plural, print_json, say, status, table
from jobsup.cli.times import Duration, away, brief, local, read
from jobsup.cli.verb import json_option, verb
from jobsup.errors import ExitCode
from jobsup.model import Status


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
    here.on_fault = lambda _fault: None  # told with what else is not as it should be
    found = _look(here)
    _show(found, as_json=as_json)
    pause = threading.Event()
    while watch:
        pause.wait(interval.total_seconds())
        found = _look(here)
        if not as_json:
            click.clear()
        _show(found, as_json=as_json)
    ctx.exit(exit_code(found))


def exit_code(found: dict[str, Any]) -> int:
    from jobsup.actions.health import STOPPED

    if found["state"] == STOPPED:
        return ExitCode.UNREACHABLE
    return ExitCode.OK if found["healthy"] else ExitCode.FAILED


def _look(here: Here) -> dict[str, Any]:
    from jobsup.actions.operations.hosts import STATUS

    with here.gateway() as gate:
        found = gate.ask(STATUS)
    if here.fault is not None:
        wrong = "; ".join(str(here.fault).splitlines())
        found["warnings"].append(f"a restart would fail, the configuration on disk is broken: {wrong}")
    return found


def _show(found: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(found)
        return
    click.echo(pairs([*_supervisor_rows(found), *_work_rows(found)]))
    if rows := _process_rows(found):
        click.echo()
        click.echo(table(("PROCESS", "PID", "STATE", "RESTARTS", "LAST EXIT", "WORKER", "DOES"), rows))
    if len(found["hosts"]) > 1:
        click.echo()
        click.echo(table(("HOST", "SCHEDULER", "WORKERS", "RUNS", "HEARD OF", "CLOCK", "VERSION"), _host_rows(found)))
    for problem in found["problems"]:
        say(f"{colour('problem', fg='red')}: {clean(problem)}")
    for warning in found["warnings"]:
        say(f"warning: {clean(warning)}")


def _supervisor_rows(found: dict[str, Any]) -> list[tuple[str, str]]:
    facts = found["supervisor"]
    running = f", pid {facts['pid']}, generation {facts['generation']}" if facts["pid"] is not None else ""
    rows = [("jobsup", f"{status(found['state'])}{running}"), ("Config", clean(facts["config"]))]
    if started := facts["started_at"]:
        rows.append(("Started", local(datetime.fromisoformat(started))))
    if containment := found["containment"]:
        rows.append(("Held by", clean(containment)))
    return rows


def _work_rows(found: dict[str, Any]) -> list[tuple[str, str]]:
    at, held, jobs = read(found["at"]), found["scheduler"], found["jobs"]
    if at is None:
        return []
    leader = _leader(held, at) if held["leads"] else "none"
    paused = f", {jobs['paused']} paused" if jobs["paused"] else ""
    next_due = read(held["next_due"])
    due = f"{local(next_due)} ({away(next_due, at)})" if next_due else "-"
    late = f", {brief(timedelta(seconds=held['lag_seconds']))} late" if held["lag_seconds"] else ""
    counted = (f"{count} {name}" for name, count in found["counts"].items() if count or not Status(name).is_terminal)
    return [
        ("Scheduler", f"{held['role']}; leader: {leader}"),
        ("Jobs", f"{jobs['active']} active{paused}"),
        ("Next due", f"{due}{late}"),
        ("Runs", f"{', '.join(counted)} (ended ones: of 24 h)"),
        ("Workers", plural(len(found["workers"]), "worker")),
    ]


def _leader(held: dict[str, Any], at: datetime) -> str:
    since = read(held["leader_since"])
    lead = f" for {brief(at - since)}" if since is not None else ""
    age, left = held["lease_age_seconds"], brief(timedelta(seconds=held["lease_left_seconds"]))
    renewed = "" if age is None else f" renewed {brief(timedelta(seconds=age))} ago,"
    return f"{clean(held['leader'])}{lead}, term {held['epoch']}, lease{renewed} for {left} more"


def _host_rows(found: dict[str, Any]) -> list[tuple[str, ...]]:
    at = read(found["at"])
    return [
        (
            clean(host["node"]),
            "leader" if host["leads"] else "standby" if host["stands_by"] else "",
            str(host["workers"]) + (f" ({host['draining']} draining)" if host["draining"] else ""),
            f"{host['running']} of {host['places']}",
            away(heard, at) if (heard := read(host["last_heartbeat"])) is not None and at is not None else "",
            "" if host["clock_offset_seconds"] is None else f"{host['clock_offset_seconds']:+.1f} s",
            ", ".join(host["versions"]),
        )
        for host in found["hosts"]
    ]


def _does(run: dict[str, Any]) -> str:
    far = progress_words(run["progress"])
    return f"run {run['id']} {clean(run['job'])}" + (f" ({clean(far)})" if far else "")


def _process_rows(found: dict[str, Any]) -> list[tuple[str, ...]]:
    """Return a row for each process of this host, then one for each worker that is not one of them."""
    known = {row["worker_id"]: row for row in found["workers"]}
    running = {name: _does(row["run"]) for name, row in known.items() if row["run"]}
    rows: list[tuple[str, ...]] = []
    for child in found["children"]:
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
    for worker_id, row in known.items():
        name = f"worker on {clean(row['node'])}"
        rows.append((name, str(row["pid"]), status(row["status"]), "", "", worker_id, running.get(worker_id, "")))
    return rows
