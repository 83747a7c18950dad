"""The heat map: as fine as the terminal allows, on the wall clock, in colour only where that is wanted."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from jobsup.cli.heat import CELLS_PER_DAY, LABEL_COLUMNS, heat_map

MONDAY = datetime(2026, 6, 1, tzinfo=UTC)
DAY = 1440


@pytest.mark.parametrize(("columns", "cells"), [(200, 96), (108, 96), (107, 48), (80, 48), (50, 24), (24, 12), (5, 12)])
def test_a_day_is_drawn_as_fine_as_the_width_allows(columns: int, cells: int) -> None:
    assert cells in CELLS_PER_DAY
    lines = heat_map([1.0] * DAY, MONDAY, zone="UTC", columns=columns)
    assert lines[1] == "Mon 06-01".ljust(LABEL_COLUMNS) + "█" * cells


def test_a_cell_shows_the_highest_of_its_minutes() -> None:
    values = [0.0] * DAY
    values[61], values[62], values[600] = 1.0, 4.0, 8.0
    [_, day] = heat_map(values, MONDAY, zone="UTC", columns=40)
    drawn = day[LABEL_COLUMNS:]
    assert (drawn[1], drawn[10]) == ("▄", "█")
    assert set(drawn[2:10]) == {"·"}


def test_days_are_those_of_the_zone_and_a_day_that_begins_late_is_blank_before() -> None:
    lines = heat_map([1.0] * DAY, MONDAY, zone="America/New_York", columns=40)
    assert [line[:9] for line in lines[1:]] == ["Sun 05-31", "Mon 06-01"]
    assert lines[1][LABEL_COLUMNS:] == " " * 20 + "█" * 4
    assert lines[2][LABEL_COLUMNS:] == "█" * 20


def test_the_hours_of_a_clock_change_have_their_place() -> None:
    spring = datetime(2027, 3, 27, 23, tzinfo=UTC)
    [_, day] = heat_map([1.0] * (23 * 60), spring, zone="Europe/Berlin", columns=40)
    assert day[LABEL_COLUMNS:] == "██ " + "█" * 21


def test_whatever_is_more_than_nothing_shows() -> None:
    [_, day] = heat_map([0.001, 1000.0] + [0.0] * 118, MONDAY, zone="UTC", columns=40)
    assert day[LABEL_COLUMNS:].startswith("█·")
    [_, day] = heat_map([0.0] * 60 + [0.001] * 60 + [9.0] * 60, MONDAY, zone="UTC", columns=40)
    assert day[LABEL_COLUMNS:] == "·▁█"


def test_colour_is_there_only_where_it_is_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert "\x1b[31m█" in heat_map([1.0] * 60, MONDAY, zone="UTC", columns=40)[1]
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in "".join(heat_map([1.0] * 60, MONDAY, zone="UTC", columns=40))
