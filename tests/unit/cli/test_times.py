"""Times as a person types them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from jobsup.cli.times import FUTURE, PAST, away, brief, local, parse_instant

NOW = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)


@pytest.fixture(params=["UTC", "America/New_York"])
def zone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("TZ", request.param)
    time.tzset()
    yield request.param
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("text", "side", "expected"),
    [
        ("2026-03-01T00:00:00Z", PAST, "2026-03-01T00:00:00+00:00"),
        ("2026-03-01t00:00:00z", PAST, "2026-03-01T00:00:00+00:00"),
        ("2026-03-01 02:00+02:00", PAST, "2026-03-01T00:00:00+00:00"),
        ("2026-03-01T00:00:00.5Z", PAST, "2026-03-01T00:00:00.500000+00:00"),
        ("now", PAST, "2026-03-10T12:00:00+00:00"),
        ("now-2h", FUTURE, "2026-03-10T10:00:00+00:00"),
        ("now + 90s", PAST, "2026-03-10T12:01:30+00:00"),
        ("2h", PAST, "2026-03-10T10:00:00+00:00"),
        ("2h", FUTURE, "2026-03-10T14:00:00+00:00"),
        ("1d12h", PAST, "2026-03-09T00:00:00+00:00"),
    ],
)
def test_instants_are_read(zone: str, text: str, side: int, expected: str) -> None:
    assert parse_instant(text, NOW, side).isoformat() == expected


@pytest.mark.parametrize(
    ("text", "side", "expected"),
    [
        ("02:30", PAST, "2026-03-10T02:30:00+00:00"),
        ("13:00", PAST, "2026-03-09T13:00:00+00:00"),
        ("13:00", FUTURE, "2026-03-10T13:00:00+00:00"),
        ("2:30:15", FUTURE, "2026-03-11T02:30:15+00:00"),
        ("12:00", PAST, "2026-03-10T12:00:00+00:00"),
        ("2026-03-01", PAST, "2026-03-01T00:00:00+00:00"),
    ],
)
def test_a_time_of_day_is_the_nearest_on_its_side_of_now(text: str, side: int, expected: str) -> None:
    assert parse_instant(text, NOW, side).isoformat() == expected


def test_a_time_of_day_is_local(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    try:
        assert parse_instant("02:30", NOW, PAST).isoformat() == "2026-03-10T06:30:00+00:00"
        assert local(NOW) == "2026-03-10 08:00:00"
        assert local(NOW, "Asia/Tokyo") == "2026-03-10 21:00:00"
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize("text", ["", "soon", "25:00", "12:61", "2026-02-30", "2026-03-01T25:00Z", "-2h", "now-", "5"])
def test_what_is_no_time_is_refused_with_a_sentence(text: str) -> None:
    with pytest.raises(ValueError, match=r"no time|no unit|not a duration|no time of day"):
        parse_instant(text, NOW, PAST)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.25, "0.2 s"), (42, "42 s"), (300, "5 m"), (12_000, "3 h 20 m"), (7200, "2 h"), (900_000, "10 d")],
)
def test_durations_are_told_in_few_words(seconds: float, words: str) -> None:
    assert brief(timedelta(seconds=seconds)) == words


def test_distance_from_now_has_a_direction() -> None:
    assert away(NOW + timedelta(minutes=5), NOW) == "in 5 m"
    assert away(NOW - timedelta(seconds=30), NOW) == "30 s ago"
