"""The schedule keys of a job: at most one kind, local times put into the job's zone, and tried out."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from jobsup.config.report import Place, Report
from jobsup.errors import ScheduleError
from jobsup.model import CalendarSpec, Dst, ScheduleSpec

KIND_KEYS = ("cron", "every", "calendar", "on_calendar", "at")


def given_keys(values: dict[str, Any]) -> list[str]:
    """Return which kinds of schedule the table gives: more than one is wrong, none means manual only."""
    return [key for key in KIND_KEYS if key in values]


def schedule_spec(values: dict[str, Any]) -> ScheduleSpec:
    """Return the schedule that checked values say, its instants in UTC."""
    zone = values.get("timezone", "UTC")
    calendar = values.get("calendar")
    return ScheduleSpec(
        cron=values.get("cron"),
        every=values.get("every"),
        anchor=_instant(values.get("anchor"), zone),
        calendar=None if calendar is None else CalendarSpec(**calendar.model_dump(exclude_unset=True)),
        on_calendar=values.get("on_calendar"),
        at=_instant(values.get("at"), zone),
        timezone=zone,
        dst=values.get("dst", Dst.CRON),
    )


def read_schedule(
    place: Place, values: dict[str, Any], wrong: frozenset[str], now: datetime, report: Report
) -> ScheduleSpec:
    """Return the schedule of a job; what is wrong or odd about it goes to `report`."""
    kinds = given_keys(values)
    for extra in kinds[1:]:
        report.add(place.problem(f"a job has one schedule, and {kinds[0]} is given too: drop one", extra))
    if "anchor" in values and "every" not in values and "every" not in wrong:
        report.add(place.problem("goes with every only", "anchor"))
    try:
        spec = schedule_spec(values)
    except OverflowError:
        report.add(place.problem("is outside the years 1 to 9999", kinds[0] if kinds else "anchor"))
        return ScheduleSpec()
    # A wrong key beside it is left out here, so that it hides nothing wrong in the schedule itself.
    if len(kinds) == 1 and _compiles(place, kinds[0], spec, values, report):
        _warn_about_instant(place, spec, values.get("at"), now, report)
    return spec


def _compiles(place: Place, key: str, spec: ScheduleSpec, values: dict[str, Any], report: Report) -> bool:
    """Compile the schedule as the scheduler will; its faults and oddities go to `report`."""
    from jobsup.schedule import compile as compile_schedule

    try:
        schedule = compile_schedule(spec, name=values.get("name", ""))
    except ScheduleError as error:
        report.add(place.problem(str(error), key))
        return False
    for warning in schedule.warnings if schedule else ():
        report.add(place.problem(warning, key, warning=True))
    return True


def _warn_about_instant(
    place: Place, spec: ScheduleSpec, written: datetime | None, now: datetime, report: Report
) -> None:
    if spec.at is None or written is None:
        return
    if spec.at <= now:
        report.add(place.problem("lies in the past: it does not run any more", "at", warning=True))
    if written.tzinfo is not None:
        return
    zone = ZoneInfo(spec.timezone)
    if spec.at.astimezone(zone).replace(tzinfo=None) != written:
        message = f"does not exist in {spec.timezone} (clocks go forward): it runs at {spec.at.astimezone(zone)}"
        report.add(place.problem(message, "at", warning=True))
    elif written.replace(tzinfo=zone).utcoffset() != written.replace(tzinfo=zone, fold=1).utcoffset():
        message = f"comes twice in {spec.timezone} (clocks go back): it runs the first time; write an offset"
        report.add(place.problem(message, "at", warning=True))


def _instant(value: datetime | None, zone: str) -> datetime | None:
    if value is None:
        return None
    local = value if value.tzinfo is not None else value.replace(tzinfo=ZoneInfo(zone))
    return local.astimezone(UTC)
