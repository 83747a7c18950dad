"""Schedules to instants: the words of a job's trigger become a pure function from an instant to the next one.

A `ScheduleSpec` is compiled to a `Schedule`, which answers four questions without a clock, a loop over ticks or a
state: what comes next, what came last, how many in between, and what a clock change did to one of them.

How it is built, from the bottom: `zones` cuts a time zone into stretches of constant offset; `almanac` (cron and
systemd expressions) and `intervals` (every N days or months) are endless sets of wall times; `wall` lays such a set
on a zone by the clock-change rule. `every` and `once` need no wall clock. `fields` and `cron` read cron's grammar,
`on_calendar` systemd's. `days` are the days of a named calendar, `day_rules` and `calendars` what they do to a
schedule, `union` makes several schedules one. Whatever cannot be read, or can never fire, is a ScheduleError when it
is compiled: a compiled schedule has no failures left, and every search in it is bounded.

Beside them: `blackouts` (when a job does not start), `jitter` (by how much a start is delayed), `forecast` (what all
jobs together will ask for), `suspicions` (what a careful operator would ask about a schedule).
"""

from __future__ import annotations

from jobsup.schedule.base import Schedule
from jobsup.schedule.compiler import compile, upcoming, uses_name  # noqa: A004 - schedules are compiled
from jobsup.schedule.explain import Explanation, explain
from jobsup.schedule.words import describe
from jobsup.schedule.zones import fingerprint

__all__ = ["Explanation", "Schedule", "compile", "describe", "explain", "fingerprint", "upcoming", "uses_name"]
