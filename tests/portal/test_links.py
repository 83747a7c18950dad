"""Every link leads somewhere, every action shows its command; and nothing in static/ is foreign."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import pytest

from jobsup.config.settings import PortalSettings
from jobsup.model import Role
from jobsup.portal.render import STATIC, environment
from jobsup.store.engine import Database
from tests.portal.screenshots import fill
from tests.support.pages import browser
from tests.support.store import create_database

PAGES_MAX = 200
"""Pages walked; of those that differ only by a number or a name the first few are looked at."""
ALIKE_MAX = 3
HERE_ALONE = {"/logout", "/account/sessions/end", "/jobs/look"}
"""What only a browser has: its sessions, and a look at what is being typed, which changes nothing."""
OWN = {"app.css", "app.js", "editor.js", "icon.svg", "keys.js", "log.js", "pages.css"}


def kind_of(link: str) -> str:
    """Return what links that differ only by a number, a name or a place in a list have in common."""
    path, _, query = link.partition("?")
    keys = sorted({each.partition("=")[0] for each in query.split("&")} - {"before", "after"})
    return re.sub(r"/(?:\d+|[a-z]+-[a-z-]+)(?=/|$)", "/x", path) + str(keys)


def silent_forms(page: str, root: str) -> list[str]:
    """Return what forms of a page do without a word on the command that does the same."""
    forms = re.findall(r'<form method="post" action="([^"]*)"(.*?)</form>', page, re.DOTALL)
    acting = [
        (action, inside)
        for action, inside in forms
        if "<button" in inside and action.removeprefix(root) not in HERE_ALONE
    ]
    return [action for action, inside in acting if 'class="cli"' not in inside]


@pytest.fixture
def real(tmp_path: Path) -> Database:
    return create_database(tmp_path / "jobsup.db")


@pytest.mark.parametrize(("role", "root"), [(Role.ADMIN, ""), (Role.VIEWER, "/ops")])
def test_no_link_leads_nowhere(real: Database, tmp_path: Path, role: Role, root: str) -> None:
    """Behind a proxy the portal may lie below a path: no link leads out of it."""
    fill(real)
    seen: dict[str, str] = {f"{root}/": "the beginning"}
    counts: dict[str, int] = {}
    waiting = [f"{root}/"]
    with browser(real, tmp_path, role, PortalSettings(root_path=root)) as visit:
        while waiting and len(seen) < PAGES_MAX:
            page = waiting.pop(0)
            answer = visit.get(page)
            assert answer.status_code == 200, f"{page}, from {seen[page]}: {answer.status_code}"
            if "text/html" not in answer.headers["content-type"]:
                continue
            assert not silent_forms(answer.text, root), page
            assert f'data-root="{root}"' in answer.text
            assert all(urljoin(page, to).startswith(f"{root}/") for to in re.findall(r'action="([^"]*)"', answer.text))
            for found in re.findall(r'(?:href|src)="([^"]*)"', answer.text):
                link = urljoin(page, unescape(found)).partition("#")[0]
                assert not urlsplit(link).netloc, link
                assert link.startswith(f"{root}/"), f"{link} on {page}"
                counts[kind_of(link)] = counts.get(kind_of(link), 0) + (link not in seen)
                if link not in seen and counts[kind_of(link)] <= ALIKE_MAX:
                    seen[link] = page
                    waiting.append(link)
    real.close()
    assert not waiting
    assert {f"{root}/{name}" for name in ("calendar", "timeline", "workers", "jobs", "runs")} <= seen.keys()


def test_every_template_can_be_read() -> None:
    made = environment()
    for name in made.list_templates():
        made.get_template(name)


def test_whatever_the_browser_gets_is_our_own() -> None:
    assert {str(file.relative_to(STATIC)) for file in STATIC.rglob("*") if file.is_file()} == OWN
