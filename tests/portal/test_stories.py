"""A person's day with a whole running jobsup: from the first line of `start` through the browser, as each role."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from tests.processes.test_portal import free_port
from tests.support.axe import violations
from tests.support.chromium import FIRST_LINE_SEEN, Complaints, Window, window
from tests.support.instance import Instance
from tests.support.waiting import until

if TYPE_CHECKING:
    from playwright.sync_api import Page

PASSWORD = "seven horses in a row"
LIVE_MILLISECONDS_MAX = 300
PAIRS = (("desktop", "light"), ("phone", "dark"))
TRIES = 3
"""The fastest of so many first lines is judged: what else the machine does is not ours to promise."""
PORTAL = """
[portal]
enabled = true
port = {port}
allow_edit_commands = true
"""


@pytest.fixture(scope="module")
def chrome() -> Iterator[Window]:
    with window() as opened:
        yield opened


@pytest.fixture(scope="module")
def running(request: pytest.FixtureRequest, chrome: Window) -> Iterator[tuple[Instance, str]]:
    """An instance with a portal for all who look at it in one way, and the address that its start printed."""
    with closing(Instance("", workers=1)) as instance:
        instance.settings += PORTAL.format(port=free_port())
        instance.write("")
        instance.start()
        line = until(
            lambda: next((each for each in instance.log.splitlines() if each.startswith("jobsup: portal")), ""),
            10,
            "the portal's address",
            lambda: instance.log,
        )
        yield instance, str(line).split()[-1]
        chrome.leave()


def sign_up(page: Page, address: str) -> None:
    page.goto(address)
    assert violations(page) == []
    page.get_by_label("Name").fill("ann")
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_label("The same again").fill(PASSWORD)
    page.get_by_role("button", name="Make it and sign in").click()
    page.get_by_role("link", name="ann").wait_for()


def sign_in(page: Page, address: str, name: str) -> None:
    """Go to an address as nobody yet; who signs in is led there."""
    page.context.clear_cookies()
    page.goto(address)
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("link", name=name, exact=True).wait_for()
    assert page.url == address


@pytest.mark.parametrize("running", PAIRS, indirect=True, ids="-".join)
def test_from_the_first_address_to_a_job_that_failed_and_was_mended(
    running: tuple[Instance, str], chrome: Window, request: pytest.FixtureRequest
) -> None:
    instance, address = running
    page = chrome.page(*request.node.callspec.params["running"])
    complaints = Complaints(page)
    sign_up(page, address)
    page.get_by_text("There are no jobs yet").wait_for()
    root = address.partition("setup")[0]
    for path, told in (("workers", "Processes of here"), ("timeline", "Nothing ran"), ("calendar", "0 went well")):
        page.goto(root + path)
        page.get_by_text(told).first.wait_for()
    page.goto(f"{root}admin/config")
    page.get_by_role("button", name="Look for changes").click()
    page.get_by_text("no changes").wait_for()

    # A job is made in the form; what it means stands below before it is saved.
    page.goto(root + "jobs")
    page.keyboard.press("n")
    page.get_by_label("Name").fill("stock")
    page.get_by_label("What", exact=True).fill("sleep 1; echo $(date +%s%3N)\\;; test -e mended")
    page.get_by_label("When", exact=True).select_option("every")
    page.get_by_label("Expression").fill("12h")
    page.locator("#panel").get_by_text("every 12 hours").wait_for()
    assert 'every = "12h"' in page.locator("#e-toml").input_value()
    toml = page.locator("#e-toml").input_value() + f'max_retries = 0\ncwd = "{instance.folder}"\n'
    page.locator("#e-toml").fill(toml)
    page.locator("#panel .plus").filter(has_text="cwd").wait_for()
    assert page.get_by_label("Retries").input_value() == "0"
    page.get_by_role("button", name="Save the job").click()
    page.get_by_text("stock is saved.").wait_for()

    # It is run, its first line is seen as it is printed, it fails, what was wrong is mended, and it is retried.
    waits = []
    for _ in range(TRIES):
        page.goto(root + "jobs/stock")
        page.get_by_role("button", name="Run now").click()
        page.wait_for_url("**/runs/*")
        seen_at, line = page.evaluate(FIRST_LINE_SEEN)
        waits.append(seen_at - int(line.partition(";")[0]))
        page.locator("#run .badge").filter(has_text="failed").first.wait_for()
    assert min(waits) <= LIVE_MILLISECONDS_MAX, waits
    page.get_by_text("No run of this job before it has gone well").wait_for()
    (instance.folder / "mended").touch()
    page.keyboard.press("r")
    page.get_by_text("the new attempt at what").wait_for()
    page.locator("#run .badge").filter(has_text="completed").first.wait_for()

    # It is paused with a reason, found by a filter, resumed, and removed by its name.
    page.goto(root + "jobs/stock")
    page.keyboard.press("p")
    page.get_by_label("Reason").fill("stocktaking")
    page.get_by_role("button", name="Pause", exact=True).click()
    page.get_by_text("Paused by ann@portal: stocktaking").wait_for()
    page.goto(root + "jobs?state=paused")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Resume").click()
    page.get_by_text("stock runs again.").wait_for()
    page.get_by_text("Remove…").click()
    page.get_by_label("Its name, to be sure").fill("stock")
    page.get_by_role("button", name="Remove it").click()
    page.get_by_text("stock is removed.").wait_for()
    assert complaints.told == []
    assert [run["status"] for run in instance.runs("stock")] == [*["FAILED"] * TRIES, "COMPLETED"]


@pytest.mark.parametrize("running", PAIRS[-1:], indirect=True, ids="-".join)
def test_each_role_is_offered_what_it_may_do_on_a_phone_in_the_dark(
    running: tuple[Instance, str], chrome: Window
) -> None:
    instance, address = running
    root = address.partition("setup")[0]
    page = chrome.page("phone", "dark")
    complaints = Complaints(page)
    if instance.json("user", "list")["users"]:
        sign_in(page, root, "ann")
    else:
        sign_up(page, address)
    page.goto(f"{root}jobs/new")
    page.get_by_role("button", name="Save the job").click()
    page.get_by_text("new-job is saved.").wait_for()
    page.goto(f"{root}admin")
    for role in ("viewer", "operator", "author"):
        added = page.locator('form[action="/admin/users"]')
        added.get_by_label("Name").fill(f"the-{role}")
        added.get_by_label("Role").select_option(role)
        added.get_by_label("Password", exact=True).fill(PASSWORD)
        added.get_by_label("The same again").fill(PASSWORD)
        added.get_by_role("button", name="Add the user").click()
        page.get_by_text(f"User the-{role} is {role}.").wait_for()
    offered = {}
    for role in ("viewer", "operator", "author"):
        sign_in(page, f"{root}jobs/new-job", f"the-{role}")
        shown = {"run": page.get_by_role("button", name="Run now"), "edit": page.get_by_role("link", name="Edit")}
        shown["admin"] = page.get_by_role("link", name="Admin")
        offered[role] = [what for what, place in shown.items() if place.count()]
        page.get_by_role("button", name="Sign out").click()
        page.get_by_role("button", name="Sign in").wait_for()
    assert offered == {"viewer": [], "operator": ["run"], "author": ["run", "edit"]}
    assert complaints.told == []
