"""One row of a Job Trigger Portal's jobs as a `[[job]]` table: its script, its schedule, its words."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from jobsup.config import durations
from jobsup.config.scripts import script_argv
from jobsup.importing import naming
from jobsup.importing.draft import Draft
from jobsup.store import portal_import

INTERPRETER = "python3"
"""The old system gives every script to its own Python."""
WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
"""Its `schedule_day` of a week counts from Monday, 0."""
_CLOCK = re.compile(r"(\d{1,2}):(\d{1,2})(?::\d{1,2})?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Plan:
    """How to read the old rows."""

    label: str
    """Tells several old systems apart: it begins their tags and marks."""
    timezone: str
    """The zone of its times; the portal itself keeps UTC."""
    folder: Path | None
    """Where its relative paths start, and its jobs ran."""

    def tag(self, old_id: int) -> str:
        return naming.valid(f"{self.label}-{old_id}")


def draft_of(row: dict[str, Any], plan: Plan) -> Draft:
    """Return one old job. ValueError says what of it cannot be understood."""
    notes: list[str] = []
    name = str(row["name"] or "")
    table: dict[str, Any] = {"name": naming.valid(name.strip().replace(" ", "-"))}
    if table["name"] != name:
        table["description"] = " ".join(name.split())
    table |= _command(row, plan, notes)
    table |= _schedule(row, plan, notes)
    if plan.folder is not None and plan.folder.is_dir():
        table["cwd"] = str(plan.folder)
    if not row["is_active"]:
        table["enabled"] = False
    table["tags"] = [plan.tag(row["id"])]
    return Draft(place_of(row), table, tuple(notes))


def _command(row: dict[str, Any], plan: Plan, notes: list[str]) -> dict[str, Any]:
    written = str(row["script_path"] or "").strip()
    if not written:
        raise ValueError("it has no script_path")
    script = Path(written) if plan.folder is None else plan.folder / written
    try:
        args = shlex.split(str(row["script_args"] or ""))
    except ValueError as error:
        raise ValueError(f"its script_args cannot be read ({error})") from None
    try:
        is_found = script_argv(str(script)) is not None
    except (OSError, ValueError):
        is_found = False
    if is_found:
        return {"script": str(script), **({"args": args} if args else {})}
    notes.append(f"its script {script} is not here: it fails until it is")
    return {"command": [INTERPRETER, str(script), *args]}


def _schedule(row: dict[str, Any], plan: Plan, notes: list[str]) -> dict[str, Any]:
    """Return the schedule keys, none for a manual job."""
    kind = str(row["schedule_type"] or "interval").strip().lower()
    if kind == "manual":
        return {}
    if kind == "interval":
        return _interval(row, plan)
    hour, minute = _clock(row["schedule_time"])
    day = row["schedule_day"]
    zone = {"timezone": plan.timezone}
    match kind:
        case "hourly":
            return {"cron": f"{minute} * * * *", **zone}
        case "daily":
            return {"cron": f"{minute} {hour} * * *", **zone}
        case "weekly":
            return {"cron": f"{minute} {hour} * * {_weekday(day)}", **zone}
        case "monthly":
            return {"cron": f"{minute} {hour} {_month_day(day, notes)} * *", **zone}
    raise ValueError(f'its schedule_type "{kind}" is none of interval, hourly, daily, weekly, monthly, manual')


def _interval(row: dict[str, Any], plan: Plan) -> dict[str, Any]:
    try:
        every = durations.parse(f"{int(row['interval_seconds'])}s")
    except (TypeError, ValueError):
        raise ValueError(f"its interval_seconds {row['interval_seconds']!r} is no interval") from None
    if not every:
        raise ValueError("its interval_seconds is 0")
    table: dict[str, Any] = {"every": durations.format_duration(every)}
    if row["next_run"]:
        table["anchor"] = instant(row["next_run"], plan.timezone).replace(microsecond=0).isoformat()
    return table


def _clock(value: Any) -> tuple[int, int]:
    """Read `HH:MM`; nothing said is midnight, as there."""
    text = str(value or "00:00").strip()
    match = _CLOCK.fullmatch(text)
    hour, minute = (int(match[1]), int(match[2])) if match else (99, 99)
    if hour > 23 or minute > 59:
        raise ValueError(f'its schedule_time "{text}" is no time of day')
    return hour, minute


def _weekday(day: Any) -> str:
    number = _number(day, 0)
    if not 0 <= number <= 6:
        raise ValueError(f"its schedule_day {day} is no day of the week: 0 (Monday) to 6")
    return WEEKDAYS[number]


def _month_day(day: Any, notes: list[str]) -> str:
    """Return cron's word for a day of the month; the old system takes a short month's last day for one it lacks."""
    number = _number(day, 1)
    if not 1 <= number <= 31:
        raise ValueError(f"its schedule_day {day} is no day of the month: 1 to 31")
    if number == 31:
        return "L"
    if number > 28:
        notes.append(f"the old system runs it on the last day of February, which has no day {number}: this does not")
    return str(number)


def _number(value: Any, default: int) -> int:
    if value is None or value == "":
        return default
    word = str(value).strip().lower()[:3]
    if word in WEEKDAYS:
        return WEEKDAYS.index(word)
    try:
        return int(value)
    except (TypeError, ValueError):
        raise ValueError(f"its schedule_day {value!r} is no number") from None


def instant(value: Any, timezone: str) -> datetime:
    """Read an instant of the old system; without an offset it is of the zone given."""
    try:
        at = value if isinstance(value, datetime) else datetime.fromisoformat(str(value).strip())
        return (at if at.tzinfo else at.replace(tzinfo=ZoneInfo(timezone))).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError(f"{value!r} is no instant") from None


def place_of(row: dict[str, Any]) -> str:
    return f"{portal_import.JOBS_TABLE} {row['id']}"
