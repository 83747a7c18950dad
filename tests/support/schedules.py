"""Asking schedules in tests: short ways to write a spec, an instant, and a list of ticks."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import available_timezones

from jobsup.errors import ScheduleError
from jobsup.model import ScheduleSpec
from jobsup.schedule import Schedule, compile  # noqa: A004 - schedules are compiled

SECOND = timedelta(seconds=1)
ODD_ZONES = (
    "Africa/Cairo",
    "Africa/Casablanca",
    "Africa/Juba",
    "America/Caracas",
    "America/New_York",
    "America/Santiago",
    "America/Sao_Paulo",
    "America/St_Johns",
    "Antarctica/Casey",
    "Antarctica/Troll",
    "Asia/Beirut",
    "Asia/Gaza",
    "Asia/Pyongyang",
    "Australia/Lord_Howe",
    "Europe/Berlin",
    "Europe/Dublin",
    "Pacific/Apia",
    "Pacific/Kwajalein",
)


def instant(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def refusal(spec: ScheduleSpec) -> str:
    """Return the text a spec is refused with, empty when it is taken."""
    try:
        compile(spec)
    except ScheduleError as error:
        return str(error)
    return ""


def schedule(**spec: object) -> Schedule:
    made = compile(ScheduleSpec(**spec))  # type: ignore[arg-type]
    assert made is not None
    return made


def all_zones() -> list[str]:
    """Return every real zone of the tz database."""
    left_out = ("localtime", "Factory", "posixrules")
    return sorted(
        name for name in available_timezones() if not name.startswith(("posix", "right/")) and name not in left_out
    )


def forward(made: Schedule, start: datetime, end: datetime, limit: int = 100_000) -> list[datetime]:
    """Return the ticks in [start, end) by asking for one after the other."""
    ticks: list[datetime] = []
    tick = made.next_after(start - timedelta(microseconds=1))
    while tick is not None and tick < end and len(ticks) < limit:
        ticks.append(tick)
        tick = made.next_after(tick)
    return ticks


def backward(made: Schedule, start: datetime, end: datetime) -> list[datetime]:
    """Return the ticks in [start, end) by asking for one before the other, in ascending order."""
    ticks: list[datetime] = []
    tick = made.last_before(end - timedelta(microseconds=1))
    while tick is not None and tick >= start:
        ticks.append(tick)
        tick = made.last_before(tick - timedelta(microseconds=1))
    return ticks[::-1]


def counted(made: Schedule, start: datetime, end: datetime) -> int:
    """Count the ticks in [start, end)."""
    return made.count_between(start - timedelta(microseconds=1), end - timedelta(microseconds=1))


def check_against(made: Schedule, wanted: list[datetime], start: datetime, end: datetime, story: str) -> None:
    """Compare the ticks in [start, end), found in both directions and counted, with what is wanted."""
    found = forward(made, start, end)
    extra, missing = sorted(set(found) - set(wanted)), sorted(set(wanted) - set(found))
    assert found == wanted, f"{story}: extra {extra[:3]}, missing {missing[:3]}"
    assert backward(made, start, end) == wanted, f"{story}: backwards"
    assert counted(made, start, end) == len(wanted), f"{story}: counted"
