"""In a crowd one answer serves all who ask the same; alone, after a change, or on demand everybody gets a fresh one."""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, closing
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from starlette.responses import Response

from jobsup.config.settings import Config
from jobsup.model import Role, Status
from jobsup.portal.app import create
from jobsup.portal.call import csrf_of
from jobsup.portal.gate import COOKIE
from jobsup.portal.handles import CROWD, WAITING_MAX, Handles
from jobsup.portal.looks import SHARED_SECONDS
from jobsup.portal.repeats import BYTES_MAX, SECONDS, Repeats
from jobsup.portal.site import Site
from jobsup.store import tokens, users
from jobsup.store.engine import Database
from tests.support.clock import FakeClock
from tests.support.store import add_dispatch, add_job, add_log, connect, create_database

ORIGIN = "http://127.0.0.1"
THREADS = 8


class Crowded:
    """A portal, two people who are signed in, a token, and a way to keep so many of its threads busy."""

    def __init__(self, database: Database, folder: Path) -> None:
        self.database = database
        self.clock = FakeClock(database.now())
        self.handles = Handles(lambda: connect(database), count=THREADS)
        self.site = Site(Config(path=str(folder / "jobsup.toml")), self.handles, clock=self.clock)
        self.app = create(self.site)
        self.cookies = [self._cookie(name) for name in ("ann", "bob")]
        self.token = tokens.create(database, "program", ["read"], by="test")

    def _cookie(self, name: str) -> str:
        users.add(self.database, name, Role.OPERATOR, "hash")
        hour = timedelta(hours=1)
        return users.begin_session(self.database, name, "hash", lifetime=hour, address="", agent="")

    @asynccontextmanager
    async def crowd(self, count: int = CROWD) -> AsyncIterator[None]:
        """Have so many works under way."""
        done = threading.Event()
        works = [asyncio.create_task(self.handles.ask(lambda _: done.wait(60))) for _ in range(count)]
        await asyncio.sleep(0)
        try:
            yield
        finally:
            done.set()
            await asyncio.gather(*works)

    def story(self, told: Callable[[httpx.AsyncClient], Awaitable[None]]) -> None:
        async def play() -> None:
            transport = httpx.ASGITransport(app=self.app)
            async with httpx.AsyncClient(transport=transport, base_url=ORIGIN) as client:
                await told(client)

        asyncio.run(play())

    def signed_in(self, who: int = 0, **headers: str) -> dict[str, str]:
        return {"Cookie": f"{COOKIE}={self.cookies[who]}", **headers}


@pytest.fixture
def portal(tmp_path: Path) -> Iterator[Crowded]:
    with closing(create_database(tmp_path / "jobsup.db")) as database:
        add_job(database, "backup")
        opened = Crowded(database, tmp_path)
        yield opened
        opened.handles.close()


def test_alone_everybody_gets_what_is_so_now(portal: Crowded) -> None:
    async def story(client: httpx.AsyncClient) -> None:
        await client.get("/jobs", headers=portal.signed_in())
        add_job(portal.database, "fresh")
        assert "fresh" in (await client.get("/jobs", headers=portal.signed_in())).text

    portal.story(story)


def test_in_a_crowd_the_same_is_given_again_for_a_moment_without_a_look_at_the_database(portal: Crowded) -> None:
    async def story(client: httpx.AsyncClient) -> None:
        async with portal.crowd():
            first = await client.get("/jobs", headers=portal.signed_in())
            add_job(portal.database, "fresh")
            before = portal.handles.statements
            again = await client.get("/jobs", headers=portal.signed_in())
            known = await client.get("/jobs", headers=portal.signed_in(**{"If-None-Match": first.headers["etag"]}))
            assert portal.handles.statements == before
            assert (again.text, again.headers["etag"]) == (first.text, first.headers["etag"])
            assert (known.status_code, known.content, known.headers["etag"]) == (304, b"", first.headers["etag"])
            portal.clock.advance(SECONDS)
            assert "fresh" in (await client.get("/jobs", headers=portal.signed_in())).text

    portal.story(story)


def test_in_a_crowd_nobody_gets_what_another_was_shown(portal: Crowded) -> None:
    async def story(client: httpx.AsyncClient) -> None:
        async with portal.crowd():
            assert "ann" in (await client.get("/account", headers=portal.signed_in(0))).text
            assert "bob" in (await client.get("/account", headers=portal.signed_in(1))).text
            assert (await client.get("/account")).status_code == 303
            for _ in range(2):  # what was refused is refused again
                wrong = await client.get("/api/v1/jobs", headers={"Authorization": "Bearer jobsup_wrong"})
                assert wrong.status_code == 403

    portal.story(story)


def test_in_a_crowd_who_asks_is_known_by_all_cookies_also_when_they_come_in_several_headers(portal: Crowded) -> None:
    async def story(client: httpx.AsyncClient) -> None:
        async with portal.crowd():
            theme = ("Cookie", "jobsup_theme=dark")
            session = ("Cookie", f"{COOKIE}={portal.cookies[0]}")
            assert "ann" in (await client.get("/account", headers=[theme, session])).text
            assert (await client.get("/account", headers=[theme])).status_code == 303

    portal.story(story)


def test_in_a_crowd_a_change_is_seen_at_once_and_so_is_all_by_who_says_so(portal: Crowded) -> None:
    async def story(client: httpx.AsyncClient) -> None:
        async with portal.crowd():
            await client.get("/jobs/backup", headers=portal.signed_in())
            form = {"csrf": csrf_of(portal.cookies[0]), "reason": "disk full"}
            own = {"Origin": ORIGIN, "Sec-Fetch-Site": "same-origin"}
            paused = await client.post("/jobs/backup/pause", data=form, headers=portal.signed_in(**own))
            assert paused.status_code == 303
            assert "disk full" in (await client.get("/jobs/backup", headers=portal.signed_in())).text
            bearer = {"Authorization": f"Bearer {portal.token}", "Cache-Control": "no-cache"}
            await client.get("/api/v1/jobs", headers=bearer)
            add_job(portal.database, "fresh")
            assert "fresh" in (await client.get("/api/v1/jobs", headers=bearer)).text

    portal.story(story)


def test_what_two_see_alike_is_read_once_and_is_no_older_for_the_second(portal: Crowded) -> None:
    async def story(client: httpx.AsyncClient) -> None:
        async with portal.crowd():
            assert "ann" in (await client.get("/jobs", headers=portal.signed_in(0))).text
            add_job(portal.database, "fresh")
            portal.clock.advance(SHARED_SECONDS / 2)
            before = portal.handles.statements
            second = (await client.get("/jobs", headers=portal.signed_in(1))).text
            assert portal.handles.statements - before == 1  # who asks
            assert "bob" in second
            assert "ann" not in second
            assert "fresh" not in second
            portal.clock.advance(SECONDS - SHARED_SECONDS / 2)
            assert "fresh" in (await client.get("/jobs", headers=portal.signed_in(1))).text

    portal.story(story)


def test_what_a_crowd_asks_at_once_is_looked_up_once(portal: Crowded) -> None:
    async def story(client: httpx.AsyncClient) -> None:
        before = portal.handles.statements
        await client.get("/jobs", headers=portal.signed_in())
        one = portal.handles.statements - before
        portal.clock.advance(SECONDS)
        async with portal.crowd():
            answers = await asyncio.gather(*(client.get("/jobs", headers=portal.signed_in()) for _ in range(50)))
        assert [answer.status_code for answer in answers] == [200] * 50
        assert portal.handles.statements - before == 2 * one

    portal.story(story)


def test_a_token_is_counted_also_for_what_is_given_again(portal: Crowded) -> None:
    async def story(client: httpx.AsyncClient) -> None:
        bearer = {"Authorization": f"Bearer {portal.token}"}
        portal.site.buckets.take = lambda _address: 0.0  # type: ignore[method-assign]  # the address's own limit
        async with portal.crowd():
            codes = {(await client.get("/api/v1/jobs", headers=bearer)).status_code for _ in range(400)}
        assert codes == {200, 429}

    portal.story(story)


def test_an_overrun_portal_still_gives_what_it_has(portal: Crowded) -> None:
    async def story(client: httpx.AsyncClient) -> None:
        async with portal.crowd():
            await client.get("/jobs", headers=portal.signed_in())
            async with portal.crowd(THREADS + WAITING_MAX):
                assert (await client.get("/jobs", headers=portal.signed_in())).status_code == 200
                refused = await client.get("/runs", headers=portal.signed_in())
                assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")

    portal.story(story)


def test_a_hundred_who_follow_a_run_at_once_are_all_let_in(portal: Crowded) -> None:
    """As after a restart of the portal, when every browser comes back in one second."""
    run = add_dispatch(portal.database, add_job(portal.database), Status.COMPLETED)
    add_log(portal.database, run, b"hello\n")

    async def story(client: httpx.AsyncClient) -> None:
        bearer = {"Authorization": f"Bearer {portal.token}"}
        path = f"/api/v1/runs/{run}/stream"
        answers = await asyncio.gather(*(client.get(path, headers=bearer) for _ in range(100)))
        assert {answer.status_code for answer in answers} == {200}
        assert all("event: end" in answer.text for answer in answers)

    portal.story(story)


def test_what_is_remembered_is_bounded() -> None:
    async def story() -> list[bytes]:
        repeats, keys = Repeats(FakeClock()), [bytes([number]) for number in range(1, 13)]
        repeats.crowd()
        for key in keys:
            with repeats.making(key) as keep:
                keep(Response(b"x" * (1 << 20)), "", math.inf)
        return [key for key in keys if await repeats.find(key) is not None]

    assert len(asyncio.run(story())) == BYTES_MAX >> 20
