"""Pictures of the pages with a life-like database.

`python -m tests.portal.screenshots` renews those of the README, with a folder it takes all pages at each width in each
theme.
"""

from __future__ import annotations

import sys
import tempfile
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from jobsup.config.settings import PortalSettings
from jobsup.model import ParamSpec, Role, ScheduleSpec, Status, WorkerStatus
from jobsup.portal.gate import COOKIE
from jobsup.store import leases
from jobsup.store.engine import Database
from tests.support.chromium import SIZES, THEMES, chromium
from tests.support.pages import served
from tests.support.store import add_chunk, add_dispatch, add_job, add_log, add_worker, create_database

if TYPE_CHECKING:
    from playwright.sync_api import Browser

JOBS = (
    ("backup-database", "0 2 * * *", ("nightly", "data"), 95),
    ("backup-files", "30 2 * * *", ("nightly",), 340),
    ("invoice-mails", "0 7 * * MON-FRI", ("billing",), 48),
    ("rotate-keys", "0 4 1 * *", ("security",), 6),
    ("sync-stock", "*/10 * * * *", ("shop",), 21),
    ("thumbnail-sweep", "*/30 * * * *", ("shop",), 130),
    ("vacuum", "15 3 * * SUN", ("data",), 610),
    ("warm-caches", "*/15 * * * *", ("shop",), 9),
)
FAILING = ("invoice-mails", "vacuum")
RUNS_EACH = 30
PICTURES_FOLDER = Path(__file__).parents[2] / "docs" / "portal"
PICTURES = (
    ("overview", "desktop", "light"),
    ("run-failed", "desktop", "dark"),
    ("new-job", "desktop", "light"),
    ("timeline", "desktop", "dark"),
    ("jobs", "phone", "dark"),
    ("run-live", "phone", "light"),
)
"""What the README shows: page, width, theme."""
PICTURE_BYTES_MAX = 150_000
OUTPUT = b"""\
\x1b[1mdump of shop\x1b[0m
reading 214 tables
  orders       \x1b[32mok\x1b[0m  1,204,113 rows
  order_lines  \x1b[32mok\x1b[0m  6,890,020 rows
  customers    \x1b[33mslow\x1b[0m  88,412 rows
"""


def fill(database: Database) -> dict[str, int]:
    """Write jobs with a history; returns the runs that are worth a look, by what they are."""
    now = database.now()
    wanted: dict[str, int] = {}
    for position, (name, cron, tags, seconds) in enumerate(JOBS):
        job = add_job(
            database,
            name,
            tags=tags,
            schedule=ScheduleSpec(cron=cron),
            next_run=now + timedelta(minutes=4 + 7 * position),
            description=f"{name.replace('-', ' ')} of the shop",
            params=(ParamSpec("day", "string", description="YYYY-MM-DD"), ParamSpec("full", "boolean", default=False))
            if name == "backup-database"
            else (),
        )
        for number in range(RUNS_EACH):
            ended = now - timedelta(minutes=(RUNS_EACH - number) * (9 + 3 * position))
            is_bad = (name in FAILING and number > RUNS_EACH - 4) or (number * 7 + position) % 23 == 0
            _run(database, job, Status.FAILED if is_bad else Status.COMPLETED, ended, seconds * (0.8 + number % 5 / 10))
        if name == "rotate-keys":
            _pause(database, name)
        if name == "sync-stock":
            wanted["live"] = add_dispatch(database, job, Status.IN_PROGRESS, worker_id="worker-k3v9q")
            add_chunk(database, wanted["live"], 0, OUTPUT)
            add_chunk(database, wanted["live"], len(OUTPUT), b"warning: table carts has no primary key\n", 2)
        if name == "vacuum":
            wanted["failed"] = _run(database, job, Status.FAILED, now - timedelta(minutes=3), 512.0)
            add_dispatch(
                database,
                job,
                Status.SKIPPED,
                scheduled_for=now - timedelta(minutes=2),
                skipped_until=now - timedelta(minutes=1),
                skipped_count=2,
            )
    for worker_id, node in (("worker-k3v9q", "db1"), ("worker-p77xa", "db1"), ("worker-zz01m", "db2")):
        status = WorkerStatus.BUSY if worker_id == "worker-k3v9q" else WorkerStatus.IDLE
        add_worker(
            database,
            worker_id,
            node=node,
            status=status,
            jobs_processed=1204,
            version="0.1.0",
            heartbeat_interval=600.0,
        )
    leases.acquire(database, "db1/boot/1/1", "db1", timedelta(hours=1))
    return wanted


def _run(database: Database, job: object, status: Status, ended: datetime, seconds: float) -> int:
    began = ended - timedelta(seconds=seconds)
    is_bad = status is Status.FAILED
    run = add_dispatch(
        database,
        job,  # type: ignore[arg-type]
        status,
        scheduled_for=began,
        available_at=began,
        created_at=began,
        started_at=began,
        claimed_at=began,
        completed_at=ended,
        error_message="disk quota exceeded on /srv/mail" if is_bad else None,
    )
    tail = b"error: disk quota exceeded on /srv/mail\n" if is_bad else b"done\n"
    marks = [[len(OUTPUT), 1], [len(tail), 2 if is_bad else 1]]
    add_log(database, run, OUTPUT + tail, stream_marks=marks, exit_code=2 if is_bad else 0, cpu_user=seconds / 3)
    return run


def _pause(database: Database, name: str) -> None:
    from jobsup.store import jobs

    jobs.pause(database, [name], by="ann@portal", reason="new vault in March")


def pages(wanted: dict[str, int]) -> dict[str, str]:
    """Return the pages worth a picture: name -> path."""
    return {
        "overview": "/",
        "jobs": "/jobs",
        "job": "/jobs/backup-database",
        "slots": "/jobs/vacuum/slots",
        "job-config": "/jobs/vacuum/config",
        "edit": "/jobs/vacuum/edit",
        "run-now": "/jobs/backup-database/run",
        "runs": "/runs",
        "run-live": f"/runs/{wanted['live']}",
        "run-failed": f"/runs/{wanted['failed']}",
        "workers": "/workers",
        "timeline": "/timeline?span=6h",
        "calendar": "/calendar",
        "new-job": "/jobs/new",
        "retention": "/admin/retention",
        "search": f"/runs/{wanted['failed']}?q=rows",
        "users": "/admin",
        "tokens": "/admin/tokens",
        "audit": "/admin/audit",
        "configuration": "/admin/config",
        "account": "/account",
    }


def take(browser: Browser, address: str, cookie: str, wanted: dict[str, int], folder: Path) -> list[Path]:
    """Take a picture of each page at each width in each theme; returns the files."""
    taken = []
    for size, (width, height) in SIZES.items():
        for theme in THEMES:
            context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=theme)  # type: ignore[arg-type]
            context.add_cookies([{"name": COOKIE, "value": cookie, "url": address}])
            page = context.new_page()
            for name, path in pages(wanted).items():
                page.goto(address + path, wait_until="load")
                file = folder / f"{name}-{size}-{theme}.png"
                page.screenshot(path=str(file), full_page=True)
                taken.append(file)
            context.close()
    return taken


def take_for_readme(browser: Browser, address: str, cookie: str, wanted: dict[str, int]) -> list[Path]:
    """Take the pictures that the README shows, as large as one looks at a page; returns the files."""
    PICTURES_FOLDER.mkdir(parents=True, exist_ok=True)
    taken = []
    for name, size, theme in PICTURES:
        width, height = SIZES[size]
        context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=theme)  # type: ignore[arg-type]
        context.add_cookies([{"name": COOKIE, "value": cookie, "url": address}])
        page = context.new_page()
        page.goto(address + pages(wanted)[name], wait_until="load")
        file = PICTURES_FOLDER / picture(name, size)
        page.screenshot(path=str(file))
        taken.append(file)
        context.close()
    return taken


def picture(name: str, size: str) -> str:
    """Return the file of a picture: `overview-desktop.png`."""
    return f"{name}-{size}.png"


def main(folder: Path | None) -> None:
    """Take all pictures into a folder, or those of the README into theirs."""
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as place:
        database = create_database(Path(place) / "jobsup.db")
        try:
            wanted = fill(database)
            may_all = PortalSettings(allow_edit_commands=True)
            with served(database, Path(place), Role.ADMIN, may_all) as (address, cookie), chromium() as browser:
                if folder is not None:
                    take(browser, address, cookie, wanted, folder)
                else:
                    take_for_readme(browser, address, cookie, wanted)
        finally:
            database.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else None)
