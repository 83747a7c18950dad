"""New rules of time zones: next ticks that rested on the old ones are computed anew, all others left alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zoneinfo
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from jobsup.model import CalendarSpec, ScheduleSpec
from jobsup.schedule.due import are_current, zone_rules
from jobsup.store import jobs
from jobsup.store.engine import Database
from jobsup.store.recompute import Moved, recompute
from tests.support.store import START, add_job, job_row, job_spec, opening

BERLIN = ScheduleSpec(cron="30 2 * * *", timezone="Europe/Berlin")
NOW = datetime(2026, 7, 1, 12, tzinfo=UTC)


def test_rules_name_each_zone_that_a_schedule_rests_on() -> None:
    both = ScheduleSpec(
        cron="0 3 * * *",
        timezone="Europe/Berlin",
        also=(ScheduleSpec(on_calendar="Mon 10:00 Asia/Tokyo"), ScheduleSpec(every=timedelta(hours=1))),
    )
    rules = zone_rules(both, NOW)
    assert rules is not None
    assert [part.partition("@")[0] for part in rules.split(",")] == ["Asia/Tokyo", "Europe/Berlin"]
    assert are_current(rules)


@pytest.mark.parametrize(
    "spec",
    [
        ScheduleSpec(),
        ScheduleSpec(cron="0 3 * * *"),
        ScheduleSpec(every=timedelta(hours=1), timezone="Europe/Berlin"),
        ScheduleSpec(calendar=CalendarSpec(days=1)),
        ScheduleSpec(cron="0 3 * * *", timezone="Nowhere/Atlantis"),
    ],
)
def test_a_schedule_of_no_known_zone_rests_on_no_rules(spec: ScheduleSpec) -> None:
    assert zone_rules(spec, NOW) is None


@pytest.mark.parametrize("rules", ["Europe/Berlin@2026=0000", "Nowhere/Atlantis@2026=00", "nonsense", "a@b=c"])
def test_rules_that_are_no_more_are_told(rules: str) -> None:
    assert not are_current(rules)


def test_a_synchronised_job_keeps_the_rules_with_the_tick_they_gave(db: Database) -> None:
    def sync(priority: int) -> None:
        specs = [job_spec("a", schedule=BERLIN, priority=priority)]
        jobs.sync(db, "default", specs, content_hash="", node="", path="")

    sync(0)
    rules = job_row(db, "a")["zone_fingerprint"]
    assert rules == zone_rules(BERLIN, START)
    mark(db, "a", "Europe/Berlin@2026=old")
    sync(1)
    assert job_row(db, "a")["zone_fingerprint"] == "Europe/Berlin@2026=old", "it is still the old tick"


def mark(db: Database, name: str, rules: str) -> None:
    with db.write() as connection:
        table = jobs.Job.__table__
        connection.execute(table.update().where(table.c.name == name).values(zone_fingerprint=rules))


def test_only_ticks_of_changed_rules_are_computed_anew(db: Database) -> None:
    wrong = START + timedelta(days=3)
    for name in ("changed", "same", "real"):
        add_job(db, name, schedule=BERLIN if name != "real" else ScheduleSpec(every=timedelta(1)), next_run=wrong)
    mark(db, "changed", "Europe/Berlin@2026=old")
    [moved] = recompute(db)
    row = job_row(db, "changed")
    assert moved == Moved("changed", wrong, row["next_run"])
    assert row["next_run"] - START < timedelta(days=1)
    assert are_current(row["zone_fingerprint"])
    assert job_row(db, "same")["next_run"] == job_row(db, "real")["next_run"] == wrong


def test_a_tick_that_is_overdue_is_left_to_be_decided_on(db: Database) -> None:
    add_job(db, "late", schedule=BERLIN, next_run=START - timedelta(hours=5))
    mark(db, "late", "Europe/Berlin@2026=old")
    assert recompute(db) == []
    assert job_row(db, "late")["next_run"] == START - timedelta(hours=5)
    assert are_current(job_row(db, "late")["zone_fingerprint"])


def test_nothing_is_written_when_no_rules_have_changed(db: Database) -> None:
    for number in range(20):
        add_job(db, f"job-{number}", schedule=BERLIN, next_run=START + timedelta(hours=1))
    before = db.statements
    assert recompute(db) == []
    assert db.statements - before == 1


def test_another_tz_database_moves_the_ticks_of_its_zone(db: Database, tmp_path: Path) -> None:
    """A real one: Berlin with the rules of Tokyo, as a host sees it whose tz data says so."""
    specs = [job_spec("a", schedule=BERLIN), job_spec("b", schedule=ScheduleSpec(cron="0 3 * * *"))]
    jobs.sync(db, "default", specs, content_hash="", node="", path="")
    before = job_row(db, "a")["next_run"]
    tokyo = next(
        (Path(folder) / "Asia/Tokyo" for folder in zoneinfo.TZPATH if (Path(folder) / "Asia/Tokyo").exists()), None
    )
    data = tokyo.read_bytes() if tokyo else _packaged("Asia", "Tokyo")
    (tmp_path / "tz/Europe").mkdir(parents=True)
    (tmp_path / "tz/Europe/Berlin").write_bytes(data)
    code = (
        "import json; from datetime import datetime; from jobsup.store.engine import Database\n"
        "from jobsup.store.recompute import recompute; from tests.support.clock import FakeClock\n"
        f"moved = recompute({opening(db)[:-1]}, clock=FakeClock()))\n"
        "print(json.dumps([[each.name, each.after.isoformat()] for each in moved]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONTZPATH": str(tmp_path / "tz")},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    [[name, after]] = json.loads(done.stdout)
    assert name == "a"
    local = datetime.fromisoformat(after).astimezone(zoneinfo.ZoneInfo("Asia/Tokyo"))
    assert (local.hour, local.minute) == (2, 30)
    assert job_row(db, "a")["next_run"] == datetime.fromisoformat(after) != before


def _packaged(region: str, name: str) -> bytes:
    import importlib.resources

    return (importlib.resources.files("tzdata.zoneinfo") / region / name).read_bytes()
