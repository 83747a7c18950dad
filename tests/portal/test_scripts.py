"""Nothing that a job, a user or a stranger wrote runs in a browser, wherever it is shown."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest
from sqlalchemy import update

from jobsup.config.settings import PortalSettings
from jobsup.model import ParamSpec, Role, ScheduleSpec, Status
from jobsup.portal.gate import COOKIE
from jobsup.store import audit, tokens, users
from jobsup.store.engine import Database
from jobsup.store.models import PortalSession, PortalToken, PortalUser
from tests.support.chromium import Complaints, chromium
from tests.support.pages import served
from tests.support.store import add_chunk, add_dispatch, add_job, add_log, add_worker, create_database

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CORPUS = (
    "<script>xss(1)</script>",
    '"><img src=x onerror=xss(2)>',
    "'><svg/onload=xss(3)>",
    "</title></textarea></style></script><script>xss(4)</script>",
    '" onfocus=xss(5) autofocus x="',
    "javascript:xss(6)",
    "<iframe srcdoc='<script>parent.xss(7)</script>'></iframe>",
    "<a href=javascript:xss(8)>x</a>",
    "&lt;script&gt;xss(9)&lt;/script&gt;",
    "{{ xss(10) }}{% set x %}${xss(10)}",
    "<base href=//evil.example/><link rel=stylesheet href=//evil.example/x.css>",
    "<meta http-equiv=refresh content='0;url=javascript:xss(11)'>",
    "<form action=//evil.example><input name=csrf autofocus>",
    "\u2028xss(12)//\u2029<!--",
)
ALL = " ".join(CORPUS)
PREPARE = """
window.told = [];
window.xss = number => window.told.push(`script ${number} ran`);
document.addEventListener('securitypolicyviolation', event => window.told.push(`CSP: ${event.violatedDirective}`));
"""
LOOK = """() => [
  ...window.told,
  ...[...document.querySelectorAll('*')].flatMap(element => [...element.attributes]
    .filter(each => each.name.startsWith('on')
      || /^\\s*javascript:/i.test(each.value) && /href|src|action/.test(each.name))
    .map(each => `${element.tagName} has ${each.name}=${each.value}`)),
  ...[...document.querySelectorAll('script:not([src]), iframe, base, object, embed')]
    .filter(each => each.type !== 'application/json')
    .map(each => `there is a ${each.tagName}: ${each.outerHTML.slice(0, 80)}`),
  ...(document.location.host === HOST ? [] : [`we are at ${document.location}`]),
]"""


class Stained:
    """A database in which every text that somebody chose is the corpus."""

    def __init__(self, database: Database) -> None:
        self.database = database
        params = (ParamSpec("day", "string", default=ALL), ParamSpec("kind", "enum", choices=(ALL, "b")))
        stains = {"description": ALL, "tags": (ALL[:200],), "queue": ALL[:60], "command": ALL, "params": params}
        self.names = [f"{number}{text}" for number, text in enumerate(CORPUS)]
        for name in self.names:
            add_job(database, name, schedule=ScheduleSpec(cron="0 * * * *"), **stains)
        add_worker(database, "worker-xxxxx", node=ALL[:200], hostname=ALL[:200], version=ALL[:20])
        job = add_job(database, "stained", env={"A": ALL}, **stains)
        said = {"error_message": ALL, "requested_by": ALL[:255], "note": ALL[:200], "params": {"day": ALL, ALL: ALL}}
        self.failed = add_dispatch(database, job, Status.FAILED, **said)
        add_log(database, self.failed, f"{ALL}\n\x1b[31m{ALL}\x1b[0m\n".encode())
        self.live = add_dispatch(database, job, Status.IN_PROGRESS, **{**said, "error_message": None})
        add_chunk(database, self.live, 0, b"begin\n")
        detail = {"before": ALL, ALL: ALL}
        audit.record(database, actor=ALL, origin="api", verb="job.run", subject=ALL, address=ALL[:64], detail=detail)
        tokens.create(database, "token", ["read"], by=ALL[:255])
        users.add(database, "user", Role.VIEWER, "hash")

    def stain_accounts(self) -> None:
        """Put the corpus where names are checked on their way in: nobody knows what an older version let through."""
        with self.database.write() as connection:
            connection.execute(update(PortalToken).values(name=ALL[:64]))
            connection.execute(update(PortalUser).where(PortalUser.name == "user").values(name=ALL[:64]))
            connection.execute(update(PortalSession).values(agent=ALL[:255], address=ALL[:64]))

    @property
    def paths(self) -> list[str]:
        runs = [
            f"/runs/{self.failed}",
            f"/runs/{self.failed}?q={quote(ALL[:150])}",
            f"/runs?job=stained&q={quote(ALL)}",
        ]
        parts = ("", "/slots", "/runs", "/config", "/audit", "/run", "/edit")
        jobs = [f"/jobs/stained{part}" for part in parts] + [f"/jobs/{quote(name, safe='')}" for name in self.names[:4]]
        lists = ["/", "/jobs", f"/jobs?q={quote(ALL)}&tag={quote(ALL)}", "/jobs/new", "/workers", "/timeline"]
        lists += [f"/timeline?q={quote(CORPUS[1])}", f"/calendar?job={quote(ALL)}", f"/runs/7?at={quote(ALL)}"]
        admin = ["/admin", "/admin/tokens", f"/admin/audit?actor={quote(ALL)}", "/admin/audit", "/admin/config"]
        return [*lists, *jobs, *runs, *admin, "/account", f"/{quote(ALL)}", f"/jobs/{quote(ALL, safe='')}"]


@pytest.fixture(scope="module")
def stained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Stained, Page, str]]:
    """The portal of such a database, and a page of an admin's browser."""
    folder = tmp_path_factory.mktemp("stained")
    may_all = PortalSettings(allow_edit_commands=True)
    with chromium() as chrome, closing(create_database(folder / "jobsup.db")) as database:
        made = Stained(database)
        with served(database, folder, Role.ADMIN, may_all) as (address, cookie):
            made.stain_accounts()
            yield made, _page(chrome, address, cookie), address


def _page(chrome: Browser, address: str, cookie: str) -> Page:
    context = chrome.new_context()
    context.add_cookies([{"name": COOKIE, "value": cookie, "url": address}])
    context.add_init_script(PREPARE)
    return context.new_page()


def look(page: Page, address: str) -> list[str]:
    """Return what in the page is not ours, or has run."""
    return list(page.evaluate(LOOK.replace("HOST", f"'{address.partition('//')[2]}'")))


def test_no_page_runs_what_it_shows(stained: tuple[Stained, Page, str]) -> None:
    made, page, address = stained
    complaints = Complaints(page)
    page.on("dialog", lambda dialog: complaints.told.append(dialog.message))
    faults, shown = [], 0
    for path in made.paths:
        answer = page.goto(address + path)
        assert answer is not None
        faults += [f"{path[:80]}: {fault}" for fault in look(page, address)]
        assert answer.status in (200, 400, 404), path
        shown += "xss(1)" in page.content() or "xss(2)" in page.content()
    told = [each for each in complaints.told if "status of 40" not in each]
    assert (faults, told) == ([], [])
    assert shown > len(made.paths) / 2, "the corpus is hardly shown: the test shows nothing"


def test_live_output_is_shown_and_not_run(stained: tuple[Stained, Page, str]) -> None:
    made, page, address = stained
    complaints = Complaints(page)
    page.goto(f"{address}/runs/{made.live}")
    add_chunk(made.database, made.live, 6, f"{ALL}\n{ALL}\nthe last\n".encode())
    page.get_by_text("the last").wait_for(timeout=8000)
    assert page.get_by_text(CORPUS[0]).count() >= 1
    assert (look(page, address), complaints.told) == ([], [])
