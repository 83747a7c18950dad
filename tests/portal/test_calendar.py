"""Days: counted once for good when they lie behind us, drawn as a map and a sheet, each leading to its runs."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, timedelta
from pathlib import Path

import pytest

from jobsup.actions import prune
from jobsup.errors import UsageError
from jobsup.model import Reason, ScheduleSpec, Status
from jobsup.portal.views import calendar as views
from jobsup.portal.views.tallies import Tallies
from jobsup.store import job_days
from jobsup.store.engine import Database
from tests.support.clock import FakeClock
from tests.support.pages import Browser, browser
from tests.support.store import add_dispatch, add_job

DAY = timedelta(days=1)


@pytest.fixture
def visit(db: Database, tmp_path: Path) -> Iterator[Browser]:
    with browser(db, tmp_path) as visitor:
        yield visitor


def ended(db: Database, job: object, at: datetime, status: Status = Status.COMPLETED) -> int:
    reason = {"reason": Reason.OVERLAP, "scheduled_for": at} if status is Status.SKIPPED else {}
    return add_dispatch(db, job, status, created_at=at, available_at=at, completed_at=at, **reason)  # type: ignore[arg-type]


def tones(year: views.Year) -> dict[date, str]:
    return {day.date: day.tone for day in year.days if day.tone != "none"}


def test_a_day_is_as_bad_as_its_failures_and_as_full_as_its_successes(db: Database, clock: FakeClock) -> None:
    job, first = add_job(db, "backup"), clock.now() - 20 * DAY
    for number in range(8):
        ended(db, job, first + timedelta(minutes=number))
    ended(db, job, first + DAY)
    ended(db, job, first + 2 * DAY)
    ended(db, job, first + 2 * DAY, Status.FAILED)
    ended(db, job, first + 3 * DAY, Status.SKIPPED)
    for name in ("", "backup"):
        found = views.year_of(db, Tallies(), first.year, name)
        start = first.date()
        assert tones(found) == {
            start: "good-4",
            start + DAY: "good-1",
            start + 2 * DAY: "bad-3",
            start + 3 * DAY: "other",
        }
        assert (found.good, found.bad, found.other) == (10, 1, 1)
        assert len(found.days) in (365, 366)


def test_days_to_come_tell_the_ticks_of_one_job(db: Database, clock: FakeClock) -> None:
    add_job(db, "backup", schedule=ScheduleSpec(cron="0 3 * * *"))
    clock.advance(40 * 86400)
    today = clock.now().date()
    found = views.year_of(db, Tallies(), today.year, "backup")
    due = {day.date: day.due for day in found.days}
    assert due[today + DAY] == 1
    assert due[today - DAY] == 0
    assert sum(day.due for day in views.year_of(db, Tallies(), today.year, "").days) == 0


def test_what_lies_behind_us_is_counted_once(db: Database, clock: FakeClock) -> None:
    job, known = add_job(db, "backup"), Tallies()
    past = (clock.now() - 2 * DAY, clock.now() - DAY)
    today = (clock.now() - DAY, clock.now() + DAY)
    ended(db, job, past[0])
    assert [sum(tally.values()) for tally in known.ended(db, [past, today])] == [1, 0]
    before = db.statements
    ended(db, job, clock.now())
    asked = db.statements
    assert [sum(tally.values()) for tally in known.ended(db, [past, today])] == [1, 1]
    assert db.statements - asked < asked - before + 5  # only the day that goes on is counted anew
    clock.advance(13 * 3600)
    ended(db, job, past[0])
    assert sum(known.ended(db, [past])[0].values()) == 2  # half a day later what was deleted or came late is seen


def test_days_stay_when_their_runs_are_deleted(db: Database, clock: FakeClock) -> None:
    job, known = add_job(db, "backup"), Tallies()
    first = clock.now()
    for status in (Status.COMPLETED, Status.COMPLETED, Status.FAILED):
        ended(db, job, first, status)
    clock.advance(3 * 86400)
    ended(db, job, clock.now())
    before = [views.year_of(db, known, first.year, name).days for name in ("", "backup")]
    assert prune.prune(db, DAY) == prune.Pruned(3, 0)
    assert [views.year_of(db, Tallies(), first.year, name).days for name in ("", "backup")] == before
    day = before[0][(first.date() - date(first.year, 1, 1)).days]
    assert (day.good, day.bad) == (2, 1)


def test_a_day_that_is_counted_in_part_is_told_whole(db: Database, clock: FakeClock) -> None:
    job = add_job(db, "backup")
    ended(db, job, clock.now())
    clock.advance(600)
    assert job_days.count(db) == 1
    ended(db, job, clock.now(), Status.FAILED)
    for name in ("", "backup"):
        day = next(day for day in views.year_of(db, Tallies(), clock.now().year, name).days if day.total)
        assert (day.good, day.bad) == (1, 1)


def test_a_day_leads_to_the_runs_that_ended_on_it(db: Database, clock: FakeClock, visit: Browser) -> None:
    job, other = add_job(db, "backup"), add_job(db, "report")
    at = clock.now() - 2 * DAY
    there, elsewhere = ended(db, job, at, Status.FAILED), ended(db, other, at)
    later = ended(db, job, at + DAY)
    page = visit.text(f"/calendar?year={at.year}&job=backup")
    assert f'href="runs?job=backup&amp;day={at:%Y-%m-%d}"' in page
    listed = visit.text(f"/runs?job=backup&day={at:%Y-%m-%d}")
    assert f'href="/runs/{there}"' in listed
    assert f'href="/runs/{elsewhere}"' not in listed
    assert f'href="/runs/{later}"' not in listed
    everyone = visit.text(f"/runs?day={at:%Y-%m-%d}")
    assert f'href="/runs/{there}"' in everyone
    assert f'href="/runs/{elsewhere}"' in everyone
    assert "No run is like that" in visit.text("/runs?day=1999-01-01")


def test_a_month_has_whole_weeks_and_only_its_own_days(db: Database) -> None:
    month = views.month_of(db, Tallies(), date(2026, 2, 1), "")
    days = [day.date for week in month.weeks for day in week if day is not None]
    assert days == [date(2026, 2, 1) + n * DAY for n in range(28)]
    assert {len(week) for week in month.weeks} == {7}
    assert (month.before, month.after) == (date(2026, 1, 1), date(2026, 3, 1))


@pytest.mark.parametrize("text", ["26", "20260", "-100", "20x6", "0000", "9999"])
def test_a_year_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        views.read_year(text, date(2026, 1, 1))


@pytest.mark.parametrize("query", ["month=2026-13", "month=x", "year=x", "month=9999-12"])
def test_an_address_that_is_wrong_is_told(visit: Browser, query: str) -> None:
    assert visit.get(f"/calendar?{query}").status_code == 400


def test_a_job_that_is_not_there_is_told(visit: Browser) -> None:
    assert visit.get("/calendar?job=nobody").status_code == 404
