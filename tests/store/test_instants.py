"""Instants go into the tables as UTC and come back as the same ones, whatever zone they were said in."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from sqlalchemy import literal, select
from sqlalchemy.exc import StatementError

from jobsup.store.column_types import UtcDateTime
from jobsup.store.engine import Database

KATHMANDU = timezone(timedelta(hours=5, minutes=45))


@pytest.mark.parametrize(
    "instant",
    [
        datetime(2026, 3, 29, 1, 0, tzinfo=UTC),
        datetime(2026, 3, 29, 1, 0, 0, 1, tzinfo=UTC),
        datetime(2026, 1, 1, 3, 30, tzinfo=KATHMANDU),
    ],
)
def test_an_instant_comes_back_in_utc(db: Database, instant: datetime) -> None:
    with db.read() as connection:
        found = connection.execute(select(literal(instant, UtcDateTime()))).scalar_one()

    assert (found, found.tzinfo) == (instant, UTC)


def test_instants_keep_their_order_in_the_tables(db: Database) -> None:
    whole = datetime(2026, 3, 29, 1, 0, tzinfo=UTC)
    with db.read() as connection:
        is_before = literal(whole, UtcDateTime()) < literal(whole + timedelta(microseconds=1), UtcDateTime())
        assert connection.execute(select(is_before)).scalar_one()


def test_an_instant_without_a_zone_is_refused(db: Database) -> None:
    with db.read() as connection, pytest.raises((StatementError, ValueError), match="time zone"):
        connection.execute(select(literal(datetime(2026, 1, 1), UtcDateTime())))  # noqa: DTZ001  (that is the point)
