"""The main stories in a real browser: at the desk and on a phone, in light and dark, without one complaint of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from jobsup.model import Status
from jobsup.portal.gate import COOKIE
from jobsup.store import overview
from jobsup.store.engine import Database
from jobsup.store.jobs import get_job
from tests.portal.screenshots import fill, pages
from tests.support.chromium import SIZES, THEMES, Complaints, chromium
from tests.support.pages import served
from tests.support.store import add_chunk, add_dispatch, add_job, create_database

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

WAIT_MILLISECONDS = 8000
PAGE_BYTES_MAX = 150_000


@pytest.fixture(scope="module")
def chrome() -> Iterator[Browser]:
    with chromium() as started:
        yield started


class Portal:
    """A portal that is served, its database, and pages of a browser that is signed in."""

    def __init__(self, database: Database, address: str, cookie: str, chrome: Browser) -> None:
        self.database = database
        self.address = address
        self._cookie = cookie
        self._chrome = chrome

    def page(self, size: str = "desktop", theme: str = "light") -> Page:
        width, height = SIZES[size]
        context = self._chrome.new_context(viewport={"width": width, "height": height}, color_scheme=theme)  # type: ignore[arg-type]
        context.add_cookies([{"name": COOKIE, "value": self._cookie, "url": self.address}])
        context.set_default_timeout(WAIT_MILLISECONDS)
        return context.new_page()


@pytest.fixture
def portal(tmp_path: Path, chrome: Browser) -> Iterator[Portal]:
    with (
        closing(create_database(tmp_path / "jobsup.db")) as database,
        served(database, tmp_path) as (address, cookie),
    ):
        yield Portal(database, address, cookie, chrome)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("theme", THEMES)
def test_every_page_fits_its_screen_and_the_browser_has_no_complaint(portal: Portal, size: str, theme: str) -> None:
    wanted = fill(portal.database)
    page = portal.page(size, theme)
    complaints = Complaints(page)
    for name, path in pages(wanted).items():
        answer = page.goto(portal.address + path)
        assert answer is not None
        assert answer.status == 200, name
        assert len(answer.body()) < PAGE_BYTES_MAX, name
        wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wide <= 0, f"{name} is {wide} pixels too wide"
        assert page.locator("h1").count() == 1, name
    assert complaints.told == []


def test_a_run_is_started_watched_live_and_seen_to_fail_and_retried(portal: Portal) -> None:
    add_job(portal.database, "backup")
    page = portal.page()
    complaints = Complaints(page)
    page.goto(f"{portal.address}/jobs/backup")
    page.get_by_role("button", name="Run now").click()
    page.wait_for_url("**/runs/*")
    (made,) = overview.runs(portal.database)
    _begin(portal.database, made.id)
    begun = b"first \x1b[31mline\x1b[0m\nhalf a "
    add_chunk(portal.database, made.id, 0, begun)
    page.get_by_text("first line").wait_for()
    assert page.locator("#output span.f1").inner_text() == "line"
    add_chunk(portal.database, made.id, len(begun) + 5, b"never here\n", 2)  # five bytes were dropped between them
    page.get_by_text("5 bytes are not kept").wait_for()
    page.locator("#output li.err-line").wait_for()
    _fail(portal.database, made.id)
    page.get_by_text("ended", exact=True).wait_for()
    page.reload()
    page.get_by_role("button", name="Retry").click()
    page.get_by_text(f"the new attempt at what run {made.id} was for").wait_for()
    assert overview.runs(portal.database)[0].retry_of == made.id
    assert complaints.told == []


def test_a_job_is_paused_with_a_reason_on_a_phone(portal: Portal) -> None:
    add_job(portal.database, "backup")
    page = portal.page("phone", "dark")
    page.goto(f"{portal.address}/jobs/backup")
    page.get_by_text("Pause…").click()
    page.get_by_label("Reason").fill("disk full")
    page.get_by_role("button", name="Pause", exact=True).click()
    page.get_by_text("backup is paused.").wait_for()
    assert get_job(portal.database, "backup").paused_reason == "disk full"
    page.get_by_role("button", name="Resume").click()
    page.get_by_text("backup runs again.").wait_for()


def test_a_list_keeps_up_with_what_happens(portal: Portal) -> None:
    job = add_job(portal.database, "backup")
    page = portal.page()
    page.goto(f"{portal.address}/runs")
    page.get_by_text("No run is like that.").wait_for()
    run = add_dispatch(portal.database, job, Status.FAILED)
    page.get_by_role("link", name=str(run), exact=True).wait_for()


def test_a_filter_stands_in_the_address_and_works_without_scripts(portal: Portal, chrome: Browser) -> None:
    add_job(portal.database, "backup")
    add_job(portal.database, "report")
    context = chrome.new_context(java_script_enabled=False)
    context.add_cookies(portal.page().context.cookies())
    page = context.new_page()
    page.goto(f"{portal.address}/jobs")
    page.locator("#q").fill("rep")
    page.get_by_role("button", name="Filter").click()
    assert "q=rep" in page.url
    assert page.locator("table.rows tbody tr").count() == 1


def test_what_a_job_prints_live_runs_no_script(portal: Portal) -> None:
    run = add_dispatch(portal.database, add_job(portal.database, "backup"), Status.IN_PROGRESS)
    page = portal.page()
    complaints = Complaints(page)
    page.goto(f"{portal.address}/runs/{run}")
    page.locator("#follow-state", has_text="live").wait_for()
    add_chunk(portal.database, run, 0, b'<img src=x onerror="document.title=1"><script>document.title=1</script>\n')
    page.get_by_text("<script>document.title=1</script>").wait_for()
    assert page.locator("#output img, #output script").count() == 0
    assert complaints.told == []


def _begin(database: Database, run_id: int) -> None:
    _set(database, run_id, status="IN_PROGRESS", claimed_at=database.now(), started_at=database.now(), worker_id="w")


def _fail(database: Database, run_id: int) -> None:
    _set(database, run_id, status="FAILED", reason="exit_code", completed_at=database.now())


def _set(database: Database, run_id: int, **values: object) -> None:
    from sqlalchemy import update

    from jobsup.store.models import JobDispatch

    with database.write() as connection:
        connection.execute(update(JobDispatch).where(JobDispatch.id == run_id).values(**values))
