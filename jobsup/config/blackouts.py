"""`[[blackout]]` tables: a window from one instant until another, or one that a schedule opens for a duration."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from jobsup.config.report import Place, Report, shown
from jobsup.config.schema import BlackoutTable, Checked, check_table
from jobsup.config.source import Source
from jobsup.config.triggers import instant_in
from jobsup.errors import Problem, ScheduleError
from jobsup.model import BlackoutPolicy, BlackoutSpec, ScheduleSpec

BLACKOUTS_MAX = 1000

_OPENINGS = ("cron", "on_calendar")


def read_blackouts(source: Source, zone: str, now: datetime, report: Report) -> tuple[BlackoutSpec, ...]:
    """Return the blackouts of the main file, by name; what is wrong with them goes to `report`."""
    written = source.data.get("blackout", [])
    if not isinstance(written, list) or len(written) > BLACKOUTS_MAX:
        message = f"a blackout's table is written [[blackout]], with two brackets; at most {BLACKOUTS_MAX} of them"
        report.add(source.place("", "blackout").problem(message, "blackout"))
        return ()
    found: dict[str, BlackoutSpec] = {}
    for index, table in enumerate(written):
        place = source.place(f"[[blackout]] {index + 1}", "blackout", index)
        if not isinstance(table, dict):
            report.add(place.problem(f"must be a table, not {shown(table)}"))
            continue
        spec = _blackout(place, table, zone, now, report)
        if spec is not None and spec.name in found:
            report.add(place.problem(f"duplicate name: another blackout is called {shown(spec.name)}", "name"))
        elif spec is not None:
            found[spec.name] = spec
    return tuple(found[name] for name in sorted(found))


def _blackout(place: Place, table: dict[str, Any], zone: str, now: datetime, report: Report) -> BlackoutSpec | None:
    checked = check_table(BlackoutTable, table, place)
    faults = [*checked.problems, *_faults(place, checked)]
    if not faults:
        spec = _spec(checked.values, zone)
        faults = list(_time_faults(place, spec, checked.values, now))
    report.add(*faults)
    return None if any(not fault.warning for fault in faults) else spec


def _faults(place: Place, checked: Checked) -> Iterator[Problem]:
    """Say what is missing, and what does not go together."""
    given = set(checked.values) | checked.wrong
    if "name" not in given:
        yield place.problem('has no name: add name = "..."')
    openings = [key for key in _OPENINGS if key in given]
    if {"from", "until"} & given and openings:
        yield place.problem("goes with from and until, or with duration: a blackout is one of both", openings[0])
    elif openings and len(openings) == 1:
        if "duration" not in given:
            yield place.problem("says when the blackout begins, not how long it lasts: add duration", openings[0])
    elif openings:
        yield place.problem(f"a blackout has one schedule, and {openings[0]} is given too: drop one", openings[1])
    elif not {"from", "until"} <= given:
        yield place.problem("says no time: add from and until, or cron and duration")
    elif "duration" in given:
        yield place.problem("goes with cron or on_calendar only", "duration")


def _spec(values: dict[str, Any], default_zone: str) -> BlackoutSpec:
    zone = values.get("timezone", default_zone)
    schedule = None
    if any(key in values for key in _OPENINGS):
        schedule = ScheduleSpec(cron=values.get("cron"), on_calendar=values.get("on_calendar"), timezone=zone)
    jobs, tags, queues = (tuple(dict.fromkeys(values.get(key, ()))) for key in ("jobs", "tags", "queues"))
    return BlackoutSpec(
        name=values["name"],
        start=instant_in(values.get("from"), zone),
        end=instant_in(values.get("until"), zone),
        schedule=schedule,
        duration=values.get("duration"),
        jobs=jobs,
        tags=tags,
        queues=queues,
        policy=values.get("policy", BlackoutPolicy.HOLD),
    )


def _time_faults(place: Place, spec: BlackoutSpec, values: dict[str, Any], now: datetime) -> Iterator[Problem]:
    if spec.start is not None and spec.end is not None:
        if spec.end <= spec.start:
            yield place.problem("lies before from: the blackout ends before it begins", "until")
        elif spec.end <= now:
            yield place.problem("lies in the past: the blackout is over", "until", warning=True)
        return
    key = next(each for each in _OPENINGS if each in values)
    from jobsup.schedule import compile as compile_schedule
    from jobsup.schedule.blackouts import ends

    try:
        schedule = compile_schedule(spec.schedule, name=spec.name) if spec.schedule else None
    except ScheduleError as error:
        yield place.problem(str(error), key)
        return
    first = schedule.next_after(now) if schedule else None
    if first is None:
        yield place.problem("has no time left: the blackout does not come any more", key, warning=True)
    elif not ends(spec, first):
        yield place.problem("is longer than from one begin to the next: the blackout would never end", "duration")
