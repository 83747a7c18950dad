"""Cron expressions: five fields, or six with leading seconds, or an `@name`, to an almanac of wall times."""

from __future__ import annotations

import re
from dataclasses import dataclass

from jobsup.errors import ScheduleError
from jobsup.schedule.almanac import Almanac
from jobsup.schedule.fields import DAY, HOUR, MINUTE, MONTH, SECOND, WEEKDAY, Field, parse_field, shown

EXPRESSION_CHARS_MAX = 1000
"""Longer than any list of every value written out."""
REBOOT = "@reboot"
ALIASES = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_BLANKS = re.compile(r"[ \t]+")
_LAYOUT = "minute hour day-of-month month day-of-week"


@dataclass(frozen=True, slots=True)
class CronExpression:
    """The six fields of an expression."""

    text: str
    second: Field
    minute: Field
    hour: Field
    day: Field
    month: Field
    weekday: Field

    @property
    def is_wildcard(self) -> bool:
        """True when the schedule follows real time through a clock change."""
        return self.minute.star or self.hour.star

    @property
    def days_must_agree(self) -> bool:
        """True when a date must match both day fields: one of them begins with `*`."""
        return self.day.star or self.weekday.star

    @property
    def warnings(self) -> tuple[str, ...]:
        fields = (self.second, self.minute, self.hour, self.day, self.month, self.weekday)
        texts = [text for field in fields for text in field.warnings]
        if self.day.text != "*" and self.weekday.text != "*":
            texts.append(self._day_warning())
        return tuple(texts)

    def almanac(self) -> Almanac:
        return Almanac(
            seconds=self.second.mask,
            minutes=self.minute.mask,
            hours=self.hour.mask,
            months=self.month.mask,
            days=self.days,
        )

    def days(self, length: int, weekday: int) -> int:
        """Return the days of a month that has `length` days and starts on `weekday` (Monday = 0)."""
        of_month = _month_days(self.day, length, weekday)
        of_week = _week_days(self.weekday, length, weekday)
        return of_month & of_week if self.days_must_agree else of_month | of_week

    def _day_warning(self) -> str:
        given = f"day of month {self.day.text} and day of week {self.weekday.text} are both given: "
        if self.days_must_agree:
            return given + "one begins with *, so it runs only on days that match both"
        return given + "it runs on days that match either, not only on those that match both"


def parse_cron(text: str, *, name: str = "") -> CronExpression | None:
    """Read an expression; None for `@reboot`. `name` is what `H` is spread by.

    ScheduleError names the field and the token, and refuses what no date ever matches.
    """
    try:
        expression = _parse(text, name)
    except ScheduleError as error:
        raise ScheduleError(f"cron {shown(text)}: {error}") from None
    if expression is not None and not expression.almanac().ever():
        raise ScheduleError(
            f"cron {shown(text)}: never fires: no date has day of month {expression.day.text}"
            f" in month {expression.month.text}"
            + ("" if expression.weekday.text == "*" else f" with day of week {expression.weekday.text}")
            + "; change one of them"
        )
    return expression


def _parse(text: str, name: str) -> CronExpression | None:
    stripped = text.strip(" \t\r\n")
    if len(text) > EXPRESSION_CHARS_MAX:
        raise ScheduleError(f"it has {len(text)} characters; at most {EXPRESSION_CHARS_MAX} are read")
    if not stripped:
        raise ScheduleError(f"it is empty; write five fields: {_LAYOUT}")
    if stripped.startswith("@"):
        alias = stripped.lower()
        if alias == REBOOT:
            return None
        if alias not in ALIASES:
            known = ", ".join((*ALIASES, REBOOT))
            raise ScheduleError(f"{shown(stripped)} is not known; write one of {known}, or five fields: {_LAYOUT}")
        stripped = ALIASES[alias]
    texts = _BLANKS.split(stripped)
    if len(texts) not in (5, 6):
        raise ScheduleError(f"it has {len(texts)} fields; write five: {_LAYOUT} (or six, with seconds in front)")
    if len(texts) == 5:
        texts = ["0", *texts]
    kinds = (SECOND, MINUTE, HOUR, DAY, MONTH, WEEKDAY)
    second, minute, hour, day, month, weekday = (
        parse_field(kind, field_text, name) for kind, field_text in zip(kinds, texts, strict=True)
    )
    return CronExpression(stripped, second, minute, hour, day, month, weekday)


def _month_days(field: Field, length: int, weekday: int) -> int:
    mask = field.mask & _whole(length)
    if field.last_day:
        mask |= 1 << length
    if field.last_workday:
        mask |= 1 << (length - max(0, _weekday(length, weekday) - 4))
    for day in field.near_workdays:
        if day <= length:
            mask |= 1 << _nearest_workday(day, length, weekday)
    return mask


def _week_days(field: Field, length: int, weekday: int) -> int:
    mask = 0
    for value in range(7):
        days = [day for day in range(1, length + 1) if (_weekday(day, weekday) + 1) % 7 == value]
        if field.mask >> value & 1:
            mask |= sum(1 << day for day in days)
        if value in field.last_weekdays:
            mask |= 1 << days[-1]
        for nth_value, nth in field.nth_weekdays:
            if nth_value == value and nth <= len(days):
                mask |= 1 << days[nth - 1]
    return mask


def _nearest_workday(day: int, length: int, weekday: int) -> int:
    """Return the workday next to a day, in the same month: Friday for Saturday, Monday for Sunday."""
    found = _weekday(day, weekday)
    if found == 5:
        return day - 1 if day > 1 else day + 2
    if found == 6:
        return day + 1 if day < length else day - 2
    return day


def _weekday(day: int, first: int) -> int:
    return (first + day - 1) % 7


def _whole(length: int) -> int:
    return (1 << (length + 1)) - 2
