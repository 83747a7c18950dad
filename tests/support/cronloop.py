"""An oracle for cron: the daemon's loop, played minute by minute over real time.

It shares nothing with the engine: its own reading of expressions, its own days, its own clock. It is slow and
plain on purpose. Minutes are counted on the wall, and a virtual clock follows them as the daemon's does.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

MINUTE = timedelta(minutes=1)
SMALL, LARGE = 5, 180
_RANGES = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))
_NAMES = (
    {},
    {},
    {},
    {
        name: n
        for n, name in enumerate(
            ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"], 1
        )
    },
    {name: n for n, name in enumerate(["sun", "mon", "tue", "wed", "thu", "fri", "sat"])},
)
_SHORTHANDS = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}


class CronLine:
    """One line of a crontab, as sets."""

    def __init__(self, text: str) -> None:
        fields = _SHORTHANDS.get(text.strip(), text).split()
        self.minutes, self.hours, self.days, self.months, weekdays = (
            _values(field, *bounds, names) for field, bounds, names in zip(fields, _RANGES, _NAMES, strict=True)
        )
        self.weekdays = {day % 7 for day in weekdays}
        self.wild = fields[0][0] == "*" or fields[1][0] == "*"
        self.day_star = fields[2][0] == "*" or fields[4][0] == "*"

    def matches(self, wall: datetime) -> bool:
        if wall.minute not in self.minutes or wall.hour not in self.hours or wall.month not in self.months:
            return False
        of_month, of_week = wall.day in self.days, wall.isoweekday() % 7 in self.weekdays
        return (of_month and of_week) if self.day_star else (of_month or of_week)


def daemon(text: str, zone: str, start: datetime, end: datetime) -> Iterator[datetime]:
    """Yield the instants in [start, end) at which the daemon, running since `start`, begins the job."""
    line, info = CronLine(text), ZoneInfo(zone)
    now = start
    virtual = _wall(now, info) - MINUTE
    while now < end:
        wall = _wall(now, info)
        late = (wall - virtual) // MINUTE
        if late > LARGE or late <= -LARGE:
            virtual, due = wall, line.matches(wall)
        elif late > SMALL:
            due = line.matches(wall) if line.wild else _any(line, virtual, wall)
            virtual = wall
        elif late > 0:
            due, virtual = _any(line, virtual, wall), wall
        else:
            due = line.wild and line.matches(wall)
        if due:
            yield now
        now += MINUTE


def _any(line: CronLine, virtual: datetime, wall: datetime) -> bool:
    while virtual < wall:
        virtual += MINUTE
        if line.matches(virtual):
            return True
    return False


def _wall(now: datetime, info: ZoneInfo) -> datetime:
    return now.astimezone(info).replace(tzinfo=None, fold=0)


def _values(field: str, low: int, high: int, names: dict[str, int]) -> set[int]:
    found: set[int] = set()
    for item in field.lower().split(","):
        body, _, step = item.partition("/")
        if body == "*":
            first, last = low, high
        else:
            ends = [names.get(end) for end in body.split("-")]
            ends = [int(text) if end is None else end for end, text in zip(ends, body.split("-"), strict=True)]
            first, last = ends[0], ends[-1]
        found.update(range(first, last + 1, int(step or 1)))
    return found


def changes(zone: str, year: int) -> list[datetime]:
    """Return the instants at which a zone's offset changes in a year, to the minute, by looking at every half day."""
    info = ZoneInfo(zone)
    found = []
    now = datetime(year, 1, 1, tzinfo=UTC)
    offset = now.astimezone(info).utcoffset()
    while now.year == year:
        ahead = now + timedelta(hours=12)
        if (changed := ahead.astimezone(info).utcoffset()) != offset:
            while now.astimezone(info).utcoffset() == offset:
                now += MINUTE
            found.append(now)
        now, offset = ahead, changed
    return found
