"""Workers and history in the hands of an admin: so many of the one, so much of the other."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from jobsup.config.places import socket_path
from jobsup.config.settings import SupervisorSettings
from jobsup.control.server import Request, Server
from jobsup.errors import ConflictError
from jobsup.model import BlackoutPolicy, BlackoutSpec, Role, ScheduleSpec, SetSpec, Status
from jobsup.portal.views.phases import phases
from jobsup.portal.views.timeline import timeline_of
from jobsup.runtime.service import Loop
from jobsup.store import audit, jobs, leases, overview
from jobsup.store.engine import Database
from tests.support.clock import FakeClock
from tests.support.pages import Browser, browser
from tests.support.store import add_dispatch, add_job, job_spec

CHILDREN = [
    {"kind": "scheduler", "slot": 1, "pid": 11, "restarts": 0, "last_exit": "", "facts": {"role": "standby"}},
    {"kind": "worker", "slot": 1, "pid": 12, "restarts": 3, "last_exit": "signal 9", "facts": {"worker_id": "w"}},
    {"kind": "portal", "slot": 1, "pid": None, "restarts": 0, "last_exit": "", "facts": {}},
]


@pytest.fixture
def admin(db: Database, short_folder: Path) -> Iterator[Browser]:
    with browser(db, short_folder, Role.ADMIN, supervisor=SupervisorSettings(runtime_dir=str(short_folder))) as visit:
        yield visit


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """A socket's path must be short."""
    import tempfile

    with tempfile.TemporaryDirectory(prefix="jobsup-") as folder:
        yield Path(folder)


@contextmanager
def supervisor(folder: Path) -> Iterator[list[dict[str, Any]]]:
    """Answer on the control socket as a supervisor would; yields what was asked to be changed."""
    asked: list[dict[str, Any]] = []

    def scale(request: Request) -> None:
        if request.body["count"] > 9:
            raise ConflictError("no scaling now")
        asked.append(request.body)
        request.done(before=1, after=request.body["count"])

    def status(request: Request) -> None:
        children = [{**child, "state": "ready"} for child in CHILDREN]
        request.done(status={"supervisor": {"pid": 10, "generation": 1}, "children": children})

    loop = Loop()
    server = Server(loop, socket_path(str(folder)), {"scale": scale, "status": status})
    is_over = threading.Event()

    def serve() -> None:
        while not is_over.is_set():
            loop.turn(min(0.05, server.poll()))
        server.close()
        loop.close()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield asked
    finally:
        is_over.set()
        thread.join(5)


def test_an_admin_changes_how_many_workers_a_host_has(db: Database, admin: Browser, short_folder: Path) -> None:
    with supervisor(short_folder) as asked:
        page = admin.text("/workers")
        assert "stands by" in page
        assert "signal 9" in page
        assert "jobsup scale workers=0" in page
        assert admin.post("/workers/scale", count="3").headers["location"] == "/workers"
        refused = admin.post("/workers/scale", count="10")
        assert (refused.status_code, "no scaling now" in refused.text) == (409, True)
    assert asked == [{"do": "scale", "kind": "worker", "count": 3}]
    newest, first = audit.entries(db, verb="workers.scale")
    assert first.detail == {"before": 1, "after": 3}
    assert newest.outcome == audit.REFUSED


@pytest.mark.parametrize("count", ["", "-1", "1.5", "many", "1025"])
def test_a_number_of_workers_that_is_none_is_refused(admin: Browser, count: str) -> None:
    assert admin.post("/workers/scale", count=count).status_code == 400


def test_without_a_supervisor_beside_it_the_page_says_so(admin: Browser) -> None:
    assert "No supervisor answers beside this portal" in admin.text("/workers")
    assert admin.post("/workers/scale", count="1").status_code == 503


def test_history_is_counted_and_then_deleted(db: Database, clock: FakeClock, admin: Browser) -> None:
    job = add_job(db, "backup")
    old = clock.now() - timedelta(days=10)
    for _ in range(3):
        add_dispatch(db, job, Status.COMPLETED, created_at=old, available_at=old, completed_at=old)
    kept = add_dispatch(db, job, Status.COMPLETED)
    page = admin.text("/admin/retention?days=7")
    assert "3 runs ended over 7 days ago" in page
    assert "jobsup db prune --older-than 7d" in page
    assert admin.post("/admin/retention", days="7").status_code == 303
    assert [run.id for run in overview.runs(db)] == [kept]
    assert audit.entries(db)[0].verb == "runs.prune"


def test_a_blackout_shades_the_lines_of_the_jobs_it_is_meant_for(db: Database, clock: FakeClock) -> None:
    begun = clock.now() - timedelta(minutes=5)
    blackout = BlackoutSpec("inventory", start=begun, end=begun + timedelta(hours=9), jobs=("backup",))
    nightly = BlackoutSpec(
        "nightly",
        schedule=ScheduleSpec(every=timedelta(minutes=10), anchor=begun),
        duration=timedelta(minutes=2),
        jobs=("report",),
        policy=BlackoutPolicy.SKIP,
    )
    every = ScheduleSpec(every=timedelta(minutes=5))
    specs = [job_spec("backup", schedule=every), job_spec("report", schedule=every)]
    shared = SetSpec(blackouts=(blackout, nightly))
    jobs.sync(db, "default", specs, content_hash="x", node="here", path="jobsup.toml", shared=shared)
    rows = {row.name: row for row in timeline_of(db, "1h").rows}
    (shade,) = rows["backup"].shades
    assert 'blackout "inventory"' in shade.title
    assert shade.width > 200
    assert [each.title.split('"')[1] for each in rows["report"].shades] == ["nightly"] * len(rows["report"].shades)
    assert len(rows["report"].shades) >= 2


def test_a_runs_life_is_told_in_stretches_that_fill_the_drawing(db: Database, clock: FakeClock) -> None:
    now = clock.now()
    run = add_dispatch(
        db,
        add_job(db, "backup"),
        Status.FAILED,
        created_at=now - timedelta(seconds=100),
        available_at=now - timedelta(seconds=70),
        claimed_at=now - timedelta(seconds=50),
        started_at=now - timedelta(seconds=49),
        completed_at=now,
    )
    found = phases(overview.runs(db, ids=[run])[0], now)
    assert [(each.kind, each.length.total_seconds()) for each in found] == [
        ("held", 30),
        ("queued", 20),
        ("starting", 1),
        ("bad", 49),
    ]
    assert abs(sum(each.width for each in found) - 1000) < 1


def test_a_failure_tells_what_was_otherwise_when_it_went_well(db: Database, clock: FakeClock, admin: Browser) -> None:
    job, other = add_job(db, "backup"), add_job(db, "report")
    good = add_dispatch(db, job, Status.COMPLETED, config_hash="aaaa")
    failed = add_dispatch(db, job, Status.FAILED, config_hash="bbbb")
    near = add_dispatch(db, other, Status.FAILED)
    page = admin.text(f"/runs/{failed}")
    beside = page.split('<div id="beside">')[1]
    assert f'href="/runs/{good}"' in beside
    assert "bbbb" in beside
    assert "aaaa" in beside
    assert f'href="/runs/{near}"' in beside
    assert "No run of this job before it has gone well" in admin.text(f"/runs/{near}")


def test_the_head_of_a_page_tells_who_leads_and_whether_ticks_wait(
    db: Database, clock: FakeClock, admin: Browser
) -> None:
    assert "no scheduler" in admin.text("/pulse")
    leases.acquire(db, "db1/boot/1/1", "db1", timedelta(hours=1))
    told = admin.get("/pulse")
    assert "db1 leads" in told.text
    assert admin.get("/pulse", headers={"If-None-Match": told.headers["etag"]}).status_code == 304
    add_job(db, "backup", next_run=clock.now() - timedelta(minutes=2))
    assert "late by 2 m" in admin.text("/pulse")
