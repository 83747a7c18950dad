"""One field of a cron expression: its text to the values it stands for.

The grammar is Debian cron's, without the junk that it lets pass, plus `L`, `LW`, `nW`, `nL`, `n#k` and `H`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import NoReturn

from jobsup.errors import ScheduleError

MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
WEEKDAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
HASHED_DAY_MAX = 28
"""`H` as a day of the month stays where every month has a day."""
_DIGITS = re.compile(r"[0-9]+")
_HASHED = re.compile(r"H(?:\(([^()]*)\))?(?:/(.*))?", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Kind:
    """What a field may hold: its bounds, its names, and whether it is a day field with its own letters."""

    name: str
    low: int
    high: int
    names: tuple[str, ...] = ()
    letters: str = ""

    @property
    def bounds(self) -> str:
        return f"{self.low}-{self.high}"


SECOND = Kind("second", 0, 59)
MINUTE = Kind("minute", 0, 59)
HOUR = Kind("hour", 0, 23)
DAY = Kind("day of month", 1, 31, letters="month")
MONTH = Kind("month", 1, 12, names=MONTHS)
WEEKDAY = Kind("day of week", 0, 7, names=WEEKDAYS, letters="week")


@dataclass(slots=True)
class Field:
    """The values of one field.

    `mask` has a bit per plain value (Sunday is 0); the others hold what depends on the month.
    """

    kind: Kind
    text: str
    mask: int = 0
    star: bool = False
    """It begins with `*`: Debian's star bit, for the clock-change rule and for the rule of the two day fields."""
    last_day: bool = False
    last_workday: bool = False
    near_workdays: set[int] = field(default_factory=set)
    last_weekdays: set[int] = field(default_factory=set)
    nth_weekdays: set[tuple[int, int]] = field(default_factory=set)
    warnings: list[str] = field(default_factory=list)

    @property
    def special(self) -> bool:
        return bool(self.last_day or self.last_workday or self.near_workdays or self.last_weekdays or self.nth_weekdays)

    def refuse(self, problem: str) -> NoReturn:
        raise ScheduleError(f"{self.kind.name} {shown(self.text)}: {problem}")


def parse_field(kind: Kind, text: str, seed: str) -> Field:
    """Read one field; `seed` is what `H` is spread by. ScheduleError names the field and the token."""
    parsed = Field(kind, text, star=text.startswith("*"))
    for item in text.upper().split(","):
        if not item:
            parsed.refuse("a list has an empty item; take the extra comma out")
        if not item.isascii():
            parsed.refuse(f"{shown(item)} has letters or digits that are not ASCII; write 0-9 and A-Z")
        if not _parse_letters(parsed, item, seed):
            _parse_range(parsed, item)
    if kind is WEEKDAY and parsed.mask >> 7 & 1:
        parsed.mask = parsed.mask & 0x7F | 1
    return parsed


def uses_hash(expression: str) -> bool:
    """Tell whether an expression has a value that is spread by the job's name."""
    return any(item.upper().startswith("H") for item in re.split(r"[\s,]+", expression) if item)


def shown(text: str) -> str:
    """Quote a piece of what a person wrote, of bounded length and without control characters."""
    return repr(text if len(text) <= 60 else text[:57] + "...")


def _parse_range(parsed: Field, item: str) -> None:
    """Read `*`, `a` or `a-b`, the first and last with an optional `/n`."""
    kind = parsed.kind
    body, slash, step_text = item.partition("/")
    start_text, dash, end_text = body.partition("-")
    if body == "*":
        start, end = kind.low, kind.high
    else:
        start = _value(parsed, start_text, item)
        end = _value(parsed, end_text, item) if dash else start
        if slash and not dash:
            parsed.refuse(f"{shown(item)} has a step but no range; write {start_text}-{kind.high}/{step_text}")
    if start > end:
        hint = f" (Sunday at the end of a range is 7: {start}-7)" if kind is WEEKDAY and end == 0 else ""
        parsed.refuse(f"{shown(item)} is a reversed range; write the smaller value first, or two ranges{hint}")
    step = _step(parsed, step_text, item) if slash else 1
    parsed.mask |= _stepped(start, end, step)
    if slash:
        _warn_of_step(parsed, item, start, end, step)


def _parse_letters(parsed: Field, item: str, seed: str) -> bool:
    """Read the forms with letters of their own; False when the item is a plain one."""
    if item[0] == "H" and (hashed := _HASHED.fullmatch(item)):
        _parse_hashed(parsed, item, hashed, seed)
        return True
    if parsed.kind.letters == "month":
        return _parse_month_letters(parsed, item)
    if parsed.kind.letters == "week":
        return _parse_week_letters(parsed, item)
    return False


def _parse_month_letters(parsed: Field, item: str) -> bool:
    if item == "L":
        parsed.last_day = True
    elif item in ("LW", "WL"):
        parsed.last_workday = True
    elif item.endswith("W"):
        parsed.near_workdays.add(_value(parsed, item[:-1], item))
    else:
        return False
    return True


def _parse_week_letters(parsed: Field, item: str) -> bool:
    day_text, mark, nth_text = item.partition("#")
    if mark:
        if not _DIGITS.fullmatch(nth_text) or not 1 <= _bounded_int(nth_text) <= 5:
            parsed.refuse(f"{shown(item)}: after # comes which one of the month, 1-5")
        parsed.nth_weekdays.add((_value(parsed, day_text, item) % 7, _bounded_int(nth_text)))
    elif len(item) > 1 and item.endswith("L"):
        parsed.last_weekdays.add(_value(parsed, item[:-1], item) % 7)
    else:
        return False
    return True


def _parse_hashed(parsed: Field, item: str, hashed: re.Match[str], seed: str) -> None:
    """Read `H`, `H(a-b)`, `H/n`, `H(a-b)/n`: values that differ from job to job and never change for one."""
    kind = parsed.kind
    start, end = kind.low, kind.high
    if kind is WEEKDAY:
        end = 6
    elif kind is DAY:
        end = HASHED_DAY_MAX
    if hashed[1] is not None:
        start_text, dash, end_text = hashed[1].partition("-")
        if not dash:
            parsed.refuse(f"{shown(item)}: in H(...) write a range, like H({kind.bounds})")
        start, end = _value(parsed, start_text, item), _value(parsed, end_text, item)
        if start > end:
            parsed.refuse(f"{shown(item)} is a reversed range; write the smaller value first")
    spread = _hash(seed, kind.name)
    if hashed[2] is None:
        parsed.mask |= 1 << (start + spread % (end - start + 1))
        return
    step = _step(parsed, hashed[2], item)
    parsed.mask |= _stepped(start + spread % min(step, end - start + 1), end, step)
    _warn_of_step(parsed, item, start, end, step)


def _value(parsed: Field, token: str, item: str) -> int:
    kind = parsed.kind
    if token in kind.names:
        return kind.names.index(token) + kind.low
    if not token:
        parsed.refuse(f"{shown(item)} lacks a value; write {kind.bounds}")
    if not _DIGITS.fullmatch(token):
        named = f" or {kind.names[0]}-{kind.names[-1]}" if kind.names else ""
        parsed.refuse(f"{shown(token)} is not a value of this field; write {kind.bounds}{named}")
    value = _bounded_int(token)
    if not kind.low <= value <= kind.high:
        parsed.refuse(f"{shown(token)} is out of range; it must be {kind.bounds}")
    return value


def _step(parsed: Field, token: str, item: str) -> int:
    if not _DIGITS.fullmatch(token):
        parsed.refuse(f"{shown(item)}: the step after / must be a whole number of 1 or more")
    step = _bounded_int(token)
    if step == 0:
        parsed.refuse(f"{shown(item)}: a step of 0 never moves on; write 1 or more")
    return step


def _bounded_int(digits: str) -> int:
    """Read digits; what has more than nine of them is as good as a billion here."""
    significant = digits.lstrip("0")
    return int(significant or "0") if len(significant) <= 9 else 10**9


def _stepped(start: int, end: int, step: int) -> int:
    mask = 0
    for value in range(start, end + 1, step):
        mask |= 1 << value
    return mask


def _warn_of_step(parsed: Field, item: str, start: int, end: int, step: int) -> None:
    kind, name = parsed.kind, parsed.kind.name
    if step > end - start and end > start:
        parsed.warnings.append(
            f"{name} {item}: the step is larger than the range, so it stands for the one value {_only(parsed)}"
        )
        return
    if item[0] not in "*H" or step == 1:
        return
    whole = end - start + 1
    if kind in (SECOND, MINUTE, HOUR, MONTH) and whole % step:
        above = {SECOND: "minute", MINUTE: "hour", HOUR: "day", MONTH: "year"}[kind]
        parsed.warnings.append(
            f"{name} {item} is not every {step} {name}s: it starts again with each {above}, "
            f"so the last step is {whole - (whole - 1) // step * step}"
        )
    elif kind is DAY:
        parsed.warnings.append(f"{name} {item} is not every {step} days: it starts again on the first of each month")


def _only(parsed: Field) -> int:
    return parsed.mask.bit_length() - 1


def _hash(seed: str, field_name: str) -> int:
    from hashlib import blake2b

    return int.from_bytes(blake2b(f"{seed}\0{field_name}".encode(errors="replace"), digest_size=8).digest())
