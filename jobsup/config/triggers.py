"""The schedule keys of a job and of its `[[job.schedules]]`: one kind in each, put into its zone, and tried out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from jobsup.clock import rfc3339
from jobsup.config.report import Place, Report
from jobsup.errors import Problem, ScheduleError
from jobsup.model import CalendarRule, CalendarSpec, Dst, ScheduleSpec

KIND_KEYS = ("cron", "every", "calendar", "on_calendar", "at")
_SHARED_KEYS = ("name", "timezone", "dst", "use_calendar", "calendar_rule")


def given_keys(values: dict[str, Any]) -> list[str]:
    """Return which kinds of schedule the table gives: more than one is wrong, none means manual only."""
    return [key for key in KIND_KEYS if key in values]


def has_schedule(values: dict[str, Any]) -> bool:
    """Tell whether a job's table gives a schedule, or several."""
    return bool(given_keys(values) or values.get("schedules"))


def schedule_spec(values: dict[str, Any]) -> ScheduleSpec:
    """Return the schedule that checked values say, its instants in UTC."""
    zone = values.get("timezone", "UTC")
    calendar = values.get("calendar")
    return ScheduleSpec(
        cron=values.get("cron"),
        every=values.get("every"),
        anchor=instant_in(values.get("anchor"), zone),
        calendar=None if calendar is None else CalendarSpec(**calendar.model_dump(exclude_unset=True)),
        on_calendar=values.get("on_calendar"),
        at=instant_in(values.get("at"), zone),
        timezone=zone,
        dst=values.get("dst", Dst.CRON),
        use_calendar=values.get("use_calendar"),
        calendar_rule=values.get("calendar_rule", CalendarRule.SKIP),
    )


def read_schedule(
    place: Place, values: dict[str, Any], wrong: frozenset[str], now: datetime, report: Report
) -> ScheduleSpec:
    """Return the schedule of a job; what is wrong or odd about it goes to `report`.

    `values` hold the calendar itself as `use_calendar`. Of several schedules the first holds the others.
    """
    tables = [_Table(place, (), values, wrong), *_further(place, values, wrong, report)]
    specs = [(table, _read(table, now, report)) for table in tables]
    right = [spec for _, spec in specs if spec is not None and not spec.is_manual]
    if len(right) > 1:
        return replace(right[0], also=tuple(right[1:]))
    return right[0] if right else specs[0][1] or ScheduleSpec()


def instant_in(value: datetime | None, zone: str) -> datetime | None:
    """Return an instant in UTC; one without an offset is a time on the zone's wall clock."""
    if value is None:
        return None
    local = value if value.tzinfo is not None else value.replace(tzinfo=ZoneInfo(zone))
    return local.astimezone(UTC)


@dataclass(frozen=True)
class _Table:
    """A table with schedule keys: the job's own, or one of its `[[job.schedules]]`."""

    place: Place
    path: tuple[str | int, ...]
    values: dict[str, Any]
    wrong: frozenset[str]

    def problem(self, message: str, *keys: str, warning: bool = False) -> Problem:
        return self.place.problem(message, *self.path, *keys, warning=warning)


def _further(place: Place, values: dict[str, Any], wrong: frozenset[str], report: Report) -> Iterator[_Table]:
    """Yield the tables of `[[job.schedules]]`; what one does not say it has from the job."""
    shared = {key: values[key] for key in _SHARED_KEYS if key in values}
    for index, written in enumerate(values.get("schedules", ())):
        own = {key: getattr(written, key) for key in written.model_fields_set}
        table = _Table(place, ("schedules", index), {**shared, **own}, wrong)
        if given_keys(own):
            yield table
        else:
            report.add(table.problem(f"says no time: add one of {', '.join(KIND_KEYS)}"))


def _read(table: _Table, now: datetime, report: Report) -> ScheduleSpec | None:
    """Return one schedule, None when it is none."""
    values, kinds = table.values, given_keys(table.values)
    for extra in kinds[1:]:
        message = f"a job has one schedule, and {kinds[0]} is given too: drop one, or write [[job.schedules]] tables"
        report.add(table.problem(message, extra))
    if "anchor" in values and "every" not in values and "every" not in table.wrong:
        report.add(table.problem("goes with every only", "anchor"))
        values = {key: value for key, value in values.items() if key != "anchor"}
    try:
        spec = schedule_spec(values)
    except OverflowError:
        report.add(table.problem("is outside the years 1 to 9999", kinds[0] if kinds else "anchor"))
        return None
    # A wrong key beside it is left out here, so that it hides nothing wrong in the schedule itself.
    if len(kinds) == 1 and _compiles(table, kinds[0], spec, now, report):
        _warn_about_instant(table, spec, values.get("at"), now, report)
    return spec


def _compiles(table: _Table, key: str, spec: ScheduleSpec, now: datetime, report: Report) -> bool:
    """Compile the schedule as the scheduler will; its faults and oddities go to `report`."""
    from jobsup.schedule import compile as compile_schedule

    try:
        schedule = compile_schedule(spec, name=table.values.get("name", ""))
    except ScheduleError as error:
        report.add(table.problem(str(error), key))
        return False
    if schedule is None:
        return True
    for warning in schedule.warnings:
        report.add(table.problem(warning, key, warning=True))
    if spec.at is None and not schedule.is_reboot and schedule.next_after(now) is None:
        last = schedule.last_before(now)
        told = f"its last run was due at {rfc3339(last)}" if last else "no date is left"
        report.add(table.problem(f"it does not run any more: {told}", key, warning=True))
    return True


def _warn_about_instant(
    table: _Table, spec: ScheduleSpec, written: datetime | None, now: datetime, report: Report
) -> None:
    if spec.at is None or written is None:
        return
    if spec.at <= now:
        report.add(table.problem("lies in the past: it does not run any more", "at", warning=True))
    if written.tzinfo is not None:
        return
    zone = ZoneInfo(spec.timezone)
    if spec.at.astimezone(zone).replace(tzinfo=None) != written:
        message = f"does not exist in {spec.timezone} (clocks go forward): it runs at {spec.at.astimezone(zone)}"
        report.add(table.problem(message, "at", warning=True))
    elif written.replace(tzinfo=zone).utcoffset() != written.replace(tzinfo=zone, fold=1).utcoffset():
        message = f"comes twice in {spec.timezone} (clocks go back): it runs the first time; write an offset"
        report.add(table.problem(message, "at", warning=True))
