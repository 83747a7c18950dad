"""Schedules in words for a person."""

from __future__ import annotations

from datetime import timedelta
from functools import lru_cache
from itertools import pairwise

from jobsup.clock import rfc3339
from jobsup.model import CalendarRule, CalendarSpec, ScheduleSpec
from jobsup.schedule.cron import CronExpression, parse_cron
from jobsup.schedule.fields import Field

DESCRIBED_MAX = 4096
"""So many schedules' words are remembered: a page of jobs tells the same ones again and again."""
CLOCK_TIMES_MAX = 6
"""More times of day than these are told as minutes and hours."""
_WEEKDAY_NAMES = ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")
_MONTH_NAMES = (
    *("", "January", "February", "March", "April", "May", "June", "July"),
    *("August", "September", "October", "November", "December"),
)
_ORDINALS = ("", "first", "second", "third", "fourth", "fifth")


@lru_cache(maxsize=DESCRIBED_MAX)
def describe(spec: ScheduleSpec, *, name: str = "") -> str:
    """Say when a schedule fires; ScheduleError when it cannot be read."""
    parts = [_one(each, name) + _rule(each) for each in (spec, *spec.also)]
    return "; and ".join(parts)


def _one(spec: ScheduleSpec, name: str) -> str:
    if spec.cron is not None:
        expression = parse_cron(spec.cron, name=name)
        return "when jobsup starts" if expression is None else _cron(expression) + _zone(spec)
    if spec.every is not None:
        return f"every {_duration(spec.every)}" + (f" from {rfc3339(spec.anchor)}" if spec.anchor else "")
    if spec.calendar is not None:
        return _calendar(spec.calendar) + _zone(spec)
    if spec.on_calendar is not None:
        return f"on calendar {spec.on_calendar}" + _zone(spec)
    if spec.at is not None:
        return f"once, at {rfc3339(spec.at)}"
    return "only when asked"


def _rule(spec: ScheduleSpec) -> str:
    """Say what the named calendar does to it."""
    if spec.use_calendar is None or spec.is_manual:
        return ""
    words = {
        CalendarRule.SKIP: "not on the days of",
        CalendarRule.ONLY: "only on the days of",
        CalendarRule.NEXT_BUSINESS_DAY: "moved to the next business day of",
        CalendarRule.PREVIOUS_BUSINESS_DAY: "moved to the business day before, of",
    }
    return f", {words[spec.calendar_rule]} calendar {spec.use_calendar.name}"


def _zone(spec: ScheduleSpec) -> str:
    return "" if spec.timezone == "UTC" else f", {spec.timezone} time"


def _cron(expression: CronExpression) -> str:
    return " ".join(part for part in (_time(expression), _days(expression), _months(expression)) if part)


def _time(expression: CronExpression) -> str:
    seconds, minutes, hours = (_values(field) for field in (expression.second, expression.minute, expression.hour))
    count = len(seconds) * len(minutes) * len(hours)
    if count <= CLOCK_TIMES_MAX and len(hours) < 24:
        show = "{:02}:{:02}" if seconds == [0] else "{:02}:{:02}:{:02}"
        return "at " + _listed([show.format(h, m, s) for h in hours for m in minutes for s in seconds])
    all_day = len(hours) == 24 and minutes[0] == 0 and _even_step(minutes, 60) > 0
    parts = [
        *([] if seconds == [0] else [_unit("second", seconds, 60)]),
        *([] if seconds != [0] and len(minutes) == 60 else [_unit("minute", minutes, 60)]),
        *([] if all_day else [_unit("hour", hours, 24)]),
    ]
    return " of ".join(parts)


def _unit(unit: str, values: list[int], whole: int) -> str:
    if len(values) == whole:
        return f"every {unit}"
    step = _even_step(values, whole)
    if step:
        return f"every {step} {unit}s" + (f" from {unit} {values[0]}" if values[0] else "")
    if len(values) == 1:
        return f"{'at ' if unit != 'hour' else ''}{unit} {values[0]}"
    return f"{'at ' if unit != 'hour' else ''}{unit}s {_runs([str(value) for value in values], values)}"


def _even_step(values: list[int], whole: int) -> int:
    """Return the distance of values that are evenly spread over the whole, else 0."""
    if len(values) < 2 or whole % len(values):
        return 0
    step = whole // len(values)
    return step if all(b - a == step for a, b in pairwise(values)) else 0


def _days(expression: CronExpression) -> str:
    month_days, week_days = _month_days(expression.day), _week_days(expression.weekday)
    if month_days and week_days:
        joint = "if it is" if expression.days_must_agree else "or"
        return f"on {month_days} {joint} {week_days}" if joint == "or" else f"on {month_days} if it is {week_days}"
    return f"on {month_days or week_days}" if month_days or week_days else ""


def _month_days(field: Field) -> str:
    values = _values(field)
    if len(values) == 31:
        return ""
    parts = []
    if values:
        day = "day" if len(values) == 1 else "days"
        parts.append(f"{day} {_runs([str(value) for value in values], values)} of the month")
    parts += ["the last day of the month"] * field.last_day
    parts += ["the last workday of the month"] * field.last_workday
    parts += [f"the workday nearest to day {day} of the month" for day in sorted(field.near_workdays)]
    return _listed(parts)


def _week_days(field: Field) -> str:
    values = _values(field)
    if len(values) == 7:
        return ""
    ordered = [*(value for value in values if value), *(7 for value in values if not value)]
    parts = [_runs([_WEEKDAY_NAMES[value % 7] for value in ordered], ordered)] if ordered else []
    parts += [f"the last {_WEEKDAY_NAMES[day]} of the month" for day in sorted(field.last_weekdays)]
    parts += [f"the {_ORDINALS[nth]} {_WEEKDAY_NAMES[day]} of the month" for day, nth in sorted(field.nth_weekdays)]
    return _listed(parts)


def _months(expression: CronExpression) -> str:
    values = _values(expression.month)
    return "" if len(values) == 12 else "in " + _runs([_MONTH_NAMES[value] for value in values], values)


def _calendar(spec: CalendarSpec) -> str:
    units = {
        "day": spec.days,
        "week": spec.weeks,
        "month": spec.months,
        "year": spec.years,
        "business day": spec.business_days,
    }
    every = " and ".join(f"{step} {unit}s" if step != 1 else unit for unit, step in units.items() if step)
    return f"every {every} at {spec.at} from {spec.start_date}"


def _duration(duration: timedelta) -> str:
    if duration.microseconds:
        return f"{duration.total_seconds():g} seconds"
    seconds = duration.days * 86_400 + duration.seconds
    for unit, size in (("day", 86_400), ("hour", 3600), ("minute", 60)):
        if seconds % size == 0:
            return unit if seconds == size else f"{seconds // size} {unit}s"
    return "second" if seconds == 1 else f"{seconds} seconds"


def _values(field: Field) -> list[int]:
    return [bit for bit in range(field.mask.bit_length()) if field.mask >> bit & 1]


def _runs(names: list[str], values: list[int]) -> str:
    """List names, with three or more in a row told as `first to last`."""
    groups: list[list[int]] = []
    for index, value in enumerate(values):
        if groups and value == values[groups[-1][-1]] + 1:
            groups[-1].append(index)
        else:
            groups.append([index])
    parts = []
    for group in groups:
        if len(group) > 2:
            parts.append(f"{names[group[0]]} to {names[group[-1]]}")
        else:
            parts += [names[index] for index in group]
    return _listed(parts)


def _listed(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + f" and {parts[-1]}" if parts else ""
