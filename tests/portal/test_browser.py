"""The main stories in a real browser: at the desk and on a phone, in light and dark, without one complaint of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from jobsup.config.settings import PortalSettings
from jobsup.model import Role, Status
from jobsup.portal.gate import COOKIE
from jobsup.store import overview
from jobsup.store.engine import Database
from jobsup.store.jobs import get_job
from tests.portal.screenshots import fill, pages
from tests.support.axe import OF_COLOURS, OF_WIDTH, violations, violations_of
from tests.support.chromium import SIZES, Complaints, Window, window
from tests.support.pages import served
from tests.support.store import add_chunk, add_dispatch, add_job, add_log, create_database

if TYPE_CHECKING:
    from playwright.sync_api import Page

PAGE_BYTES_MAX = 150_000


@pytest.fixture(scope="module")
def chrome() -> Iterator[Window]:
    with window() as opened:
        yield opened


class Portal:
    """A portal that is served, its database, and the page of a browser that is signed in."""

    def __init__(self, database: Database, address: str, cookie: str, chrome: Window) -> None:
        self.database = database
        self.address = address
        self._cookie = {"name": COOKIE, "value": cookie, "url": address}
        self._chrome = chrome

    def page(self, size: str = "desktop", theme: str = "light", *, scripts: bool = True) -> Page:
        return self._chrome.page(size, theme, cookie=self._cookie, scripts=scripts)


@pytest.fixture
def portal(tmp_path: Path, chrome: Window) -> Iterator[Portal]:
    with (
        closing(create_database(tmp_path / "jobsup.db")) as database,
        served(database, tmp_path) as (address, cookie),
    ):
        yield Portal(database, address, cookie, chrome)
        chrome.leave()


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory, chrome: Window) -> Iterator[tuple[Portal, dict[str, str]]]:
    """A portal with a life-like database, seen by an admin, and its pages."""
    folder = tmp_path_factory.mktemp("filled")
    with closing(create_database(folder / "jobsup.db")) as database:
        wanted = fill(database)
        may_all = PortalSettings(allow_edit_commands=True)
        with served(database, folder, Role.ADMIN, may_all) as (address, cookie):
            yield Portal(database, address, cookie, chrome), pages(wanted)
            chrome.leave()


def test_every_page_fits_both_screens_and_neither_browser_nor_axe_complains_in_both_themes(
    filled: tuple[Portal, dict[str, str]],
) -> None:
    """Each page is loaded once and judged whole; then by what another theme or another width can break."""
    portal, paths = filled
    page = portal.page()
    complaints = Complaints(page)
    faults = []
    for name, path in paths.items():
        answer = page.goto(portal.address + path)
        assert answer is not None
        assert answer.status == 200, name
        assert len(answer.body()) < PAGE_BYTES_MAX, name
        assert page.locator("h1").count() == 1, name
        for size, (width, height) in SIZES.items():
            page.set_viewport_size({"width": width, "height": height})
            wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
            assert wide <= 0, f"{name} is {wide} pixels too wide on a {size}"
            judged = violations(page) if size == "desktop" else violations_of(page, OF_WIDTH)
            faults += [f"{name}, {size}, light: {fault}" for fault in judged]
            page.emulate_media(color_scheme="dark")
            assert page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches")
            faults += [f"{name}, {size}, dark: {fault}" for fault in violations_of(page, OF_COLOURS)]
            page.emulate_media(color_scheme="light")
    assert complaints.told == []
    assert faults == []


def test_of_what_is_drawn_alike_two_are_judged_and_all_that_differs_is(chrome: Window) -> None:
    pale = '<p class="pale" style="color: #ccc; background: #fff">'
    page = chrome.page()
    page.set_content(f"<main>{5 * (pale + 'so</p>')}{pale}or <b>so</b></p><p>well</p></main>")
    told = [each for each in violations(page) if each.startswith("serious: color-contrast")]
    assert len(told) == 4  # two of the five, and both texts of the one that is otherwise
    assert len(violations_of(page, OF_COLOURS)) == 4


def test_a_drawing_wider_than_a_phone_begins_where_now_is_with_its_names_in_sight(
    filled: tuple[Portal, dict[str, str]],
) -> None:
    portal, paths = filled
    page = portal.page("phone")
    page.goto(portal.address + paths["timeline"])
    width = SIZES["phone"][0]
    for seen in ("line.line-now", "text.row-name >> nth=0"):
        box = page.locator(seen).bounding_box()
        assert box is not None
        assert 0 <= box["x"] < width, seen


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
    page.locator("#pulse").get_by_text("no scheduler").wait_for()
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


def test_a_filter_stands_in_the_address_and_works_without_scripts(portal: Portal) -> None:
    add_job(portal.database, "backup")
    add_job(portal.database, "report")
    page = portal.page(scripts=False)
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


def test_a_long_output_comes_in_by_scrolling_each_line_once_and_its_hits_by_keys(portal: Portal) -> None:
    run = add_dispatch(portal.database, add_job(portal.database, "backup"), Status.COMPLETED)
    lines = [f"line {number:05}" + (" needle" if number in (40, 4000) else "") for number in range(4500)]
    add_log(portal.database, run, "".join(f"{line}\n" for line in lines).encode())
    page = portal.page()
    complaints = Complaints(page)
    page.goto(f"{portal.address}/runs/{run}")
    assert page.locator("#output li").count() < len(lines)
    page.evaluate("window.scrollTo(0, document.documentElement.scrollHeight)")
    page.wait_for_function(
        "() => { window.scrollTo(0, 1); return document.getElementById('p0') !== null; }", polling=100
    )
    assert page.locator("#output li").all_inner_texts() == lines
    page.keyboard.press("/")
    page.keyboard.type("needle\n")
    page.get_by_text("2 lines hold").wait_for()
    page.locator("main").focus()
    page.keyboard.press("n")
    page.wait_for_url(f"**#p{40 * 11}")
    page.locator("li:target").get_by_text("line 00040 needle").wait_for()
    page.keyboard.press("n")
    page.locator("li:target").get_by_text("line 04000 needle").wait_for()
    page.keyboard.press("N")
    page.locator("li:target").get_by_text("line 00040 needle").wait_for()
    page.goto(f"{portal.address}/runs/{run}#p{11}")  # a line that is not on the last page
    page.locator("li:target").get_by_text("line 00001").wait_for()
    page.keyboard.press("w")
    page.locator("#output.nowrap").wait_for()
    assert complaints.told == []


def test_a_list_is_walked_ticked_and_paused_by_keys(portal: Portal) -> None:
    for name in ("backup", "report", "stock"):
        add_job(portal.database, name)
    page = portal.page()
    page.goto(f"{portal.address}/jobs")
    page.keyboard.press("?")
    page.get_by_role("dialog").get_by_text("down and up a list").wait_for()
    page.keyboard.press("Escape")
    for key in "jjxjx":
        page.keyboard.press(key)
    page.keyboard.press("p")
    page.get_by_text("2 done: report, stock").wait_for()
    assert [bool(get_job(portal.database, name).paused_at) for name in ("backup", "report", "stock")] == [
        False,
        True,
        True,
    ]
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    page.wait_for_url("**/jobs/backup")


def test_times_are_ages_or_in_utc_or_on_the_browsers_clock(portal: Portal) -> None:
    run = add_dispatch(portal.database, add_job(portal.database, "backup"), Status.FAILED)
    page = portal.page()
    page.goto(f"{portal.address}/runs/{run}")
    made = page.locator("dl.cards time").first
    assert "ago" in made.inner_text() or made.inner_text() == "now"
    switch = page.locator("[data-clock-switch]")
    switch.click()
    utc = made.inner_text()
    switch.click()
    local = made.inner_text()
    page.reload()
    assert page.locator("[data-clock-switch]").inner_text() == "local"
    hours = (int(local.split()[2][:2]) - int(utc.split()[2][:2])) % 24
    assert hours == 9


def test_a_job_is_made_and_changed_without_scripts(filled: tuple[Portal, dict[str, str]]) -> None:
    portal, _ = filled
    page = portal.page(scripts=False)
    page.goto(f"{portal.address}/jobs/new")
    page.get_by_label("Name").fill("by-hand")
    page.get_by_label("Expression").fill("61 2 * * *")
    page.get_by_role("button", name="Check the form").click()
    page.get_by_text("1 problem").wait_for()
    page.locator("#e-toml").fill(page.locator("#e-toml").input_value().replace("61 2", "15 2"))
    page.get_by_role("button", name="Check the TOML").click()
    page.get_by_role("button", name="Save the job").click()
    page.get_by_text("by-hand is saved.").wait_for()
    page.get_by_role("link", name="Edit").click()
    page.get_by_label("Expression").fill("45 2 * * *")
    page.get_by_role("button", name="Check the form").click()
    page.locator(".patch .minus", has_text="15 2").wait_for()
    page.get_by_role("button", name="Save the change").click()
    page.get_by_text("by-hand is saved.").wait_for()
    assert get_job(portal.database, "by-hand").spec.schedule.cron == "45 2 * * *"
