"""A heat map for the terminal: days down, hours across, a block for how much goes on."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from zoneinfo import ZoneInfo

from jobsup.cli.text import colour

BLOCKS = " ▁▂▃▄▅▆▇█"
LABEL_COLUMNS = 12
CELLS_PER_DAY = (96, 48, 24, 12)
"""How fine a day can be drawn, the finest first that fits."""
_DAY_MINUTES = 1440
_COOL, _WARM = 0.5, 0.8
"""From which share of the peak on a cell is warm, and hot."""


def heat_map(values: Sequence[float], start: datetime, *, zone: str | None, columns: int) -> list[str]:
    """Draw one value a minute from `start` on: each cell is the highest of its minutes, on the zone's wall clock.

    `columns` is the width to keep to; where even the coarsest map does not fit, that is drawn.
    """
    cells_per_day = next((each for each in CELLS_PER_DAY if LABEL_COLUMNS + each <= columns), CELLS_PER_DAY[-1])
    days = _days(values, start, zone, _DAY_MINUTES // cells_per_day)
    peak = max(values, default=0.0)
    lines = [colour(" " * LABEL_COLUMNS + _scale(cells_per_day).rstrip(), bold=True)]
    for label, cells in days.items():
        drawn = "".join(_cell(cells.get(cell), peak) for cell in range(cells_per_day))
        lines.append(f"{label:<{LABEL_COLUMNS}}{drawn}".rstrip())
    return lines


def _days(values: Sequence[float], start: datetime, zone: str | None, minutes: int) -> dict[str, dict[int, float]]:
    """Gather the highest value of each cell, by day; an hour that the wall clock shows twice is one."""
    info = ZoneInfo(zone) if zone else None
    days: dict[str, dict[int, float]] = {}
    second = start.timestamp()
    for minute, value in enumerate(values):
        local = datetime.fromtimestamp(second + minute * 60, info)
        cells = days.setdefault(f"{local:%a %m-%d}", {})
        cell = (local.hour * 60 + local.minute) // minutes
        if value > cells.get(cell, -1.0):
            cells[cell] = value
    return days


def _scale(cells_per_day: int) -> str:
    """Write the hours above the cells, as many as there is room for."""
    step = 6 if cells_per_day <= 12 else 3 if cells_per_day < 96 else 1
    each = cells_per_day * step // 24
    return "".join(f"{hour:02d}".ljust(each)[:each] if each > 1 else " " for hour in range(0, 24, step))


def _cell(value: float | None, peak: float) -> str:
    """Draw a cell; nothing is blank, and whatever is more than nothing shows."""
    if value is None or value <= 0 or peak <= 0:
        return " " if value is None else "·"
    share = value / peak
    block = BLOCKS[max(1, min(8, round(share * 8)))]
    return colour(block, fg="red" if share >= _WARM else "yellow" if share >= _COOL else "green")
