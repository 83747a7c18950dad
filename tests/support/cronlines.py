"""Seeded cron expressions: common ones, and ones made up from every form of the grammar."""

from __future__ import annotations

import random

_BOUNDS = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))
_NAMES = (
    (),
    (),
    (),
    ("jan", "FEB", "Mar", "apr", "may", "JUN", "jul", "aug", "sep", "oct", "nov", "dec"),
    ("sun", "MON", "Tue", "wed", "thu", "FRI", "sat"),
)
COMMON = (
    "* * * * *",
    "*/5 * * * *",
    "*/15 * * * *",
    "0 * * * *",
    "@hourly",
    "30 * * * *",
    "0 */2 * * *",
    "30 */2 * * *",
    "*,5 2 * * *",
    "*/30 1-3 * * *",
    "0 0 * * *",
    "@daily",
    "@weekly",
    "@monthly",
    "@yearly",
    "1 0 * * *",
    "30 0 * * *",
    "0 1 * * *",
    "15,45 1 * * *",
    "30 1 * * *",
    "0 2 * * *",
    "30 2 * * *",
    "0,15,30,45 2 * * *",
    "0,30 0-4 * * *",
    "59 1 * * *",
    "0 3 * * *",
    "1 3 * * *",
    "30 23 * * *",
    "0 0-23 * * *",
    "0-59 2 * * *",
    "0 2 * * 0",
    "30 2 * * 7",
    "30 1 1-7 * sun",
    "0 0 */2 * 1",
    "0 0 1,15 * 5",
    "10 2 31 2 0",
)


def made_up(rng: random.Random, *, degenerate: bool = True) -> str:
    """Make an expression of any shape; it may be one that never fires, and have ranges of one value."""
    return " ".join(_field(rng, index, degenerate) for index in range(5))


def near_change(rng: random.Random) -> str:
    """Make an expression that fires daily at night, where clocks change."""
    hour = rng.choice(("0", "1", "2", "3", "23", "0-4", "1,2", "2-3", "*", "*/2", "*/3", "1-5/2", "22-23"))
    minute = rng.choice(("0", "1", "30", "59", "0,30", "*/20", "10-50/10", "*", "5,35", "0-59/7"))
    day = rng.choice(("*", "*", "*", "*", "*/2", "1-31", "1,15"))
    weekday = rng.choice(("*", "*", "*", "0", "6,7", "sat,sun", "*/2", "mon-fri"))
    return f"{minute} {hour} {day} * {weekday}"


def _field(rng: random.Random, index: int, degenerate: bool) -> str:
    roll = rng.random()
    if roll < 0.35:
        return "*"
    return ",".join(_item(rng, index, degenerate) for _ in range(rng.choice((1, 1, 1, 2, 3))))


def _item(rng: random.Random, index: int, degenerate: bool) -> str:
    low, high = _BOUNDS[index]
    form = rng.random()
    if form < 0.4:
        return _value(rng, index, rng.randint(low, high))
    if form < 0.6:
        return f"*/{rng.randint(1, high + 3)}"
    first = rng.randint(low, high - 1)
    last = rng.randint(first + (not degenerate), high)
    body = f"{_value(rng, index, first)}-{_value(rng, index, last)}"
    return body if form < 0.8 else f"{body}/{rng.randint(1, 9)}"


def _value(rng: random.Random, index: int, value: int) -> str:
    names = _NAMES[index]
    place = value - _BOUNDS[index][0]
    if place < len(names) and rng.random() < 0.3:
        return names[place]
    return f"{value:02}" if rng.random() < 0.2 else str(value)
