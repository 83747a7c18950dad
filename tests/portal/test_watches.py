"""However many follow a run it is looked at once for all, and what waits for the database is counted."""

from __future__ import annotations

import asyncio
import threading
from contextlib import closing
from datetime import timedelta

import pytest

from jobsup.model import Status
from jobsup.portal import watches
from jobsup.portal.handles import WAITING_MAX, Handles
from jobsup.portal.watches import Watches
from jobsup.store import log_ranges
from jobsup.store.engine import Database
from tests.support.store import add_chunk, add_dispatch, add_job, connect

FOLLOWERS = 50
DEADLINE = timedelta(seconds=20).total_seconds()


def test_what_a_run_prints_is_read_once_for_all_who_follow_its_end(db: Database) -> None:
    run = add_dispatch(db, add_job(db), Status.IN_PROGRESS)
    add_chunk(db, run, 0, b"hello ")

    async def story(handles: Handles) -> None:
        every = Watches(handles, asyncio.Event())
        with every.watching(run) as change:
            await asyncio.wait_for(change.wait(), DEADLINE)  # the first look
            before = handles.statements
            found = await asyncio.gather(*(every.read(run, 0) for _ in range(FOLLOWERS)))
            assert handles.statements - before < FOLLOWERS  # looks of the watch included
            assert [piece.data for piece in found[0][1]] == [b"hello "]
            assert all(each is found[0] for each in found)
        with every.watching(run) as change:
            add_chunk(db, run, 6, b"world")
            await asyncio.wait_for(change.wait(), DEADLINE)
            assert [piece.data for piece in (await every.read(run, 6))[1]] == [b"world"]
            assert [piece.data for piece in (await every.read(run, 0))[1]] == [b"hello ", b"world"]

    with closing(Handles(lambda: connect(db), count=2)) as handles:
        asyncio.run(story(handles))


def test_a_run_that_nobody_watches_any_more_is_read_all_the_same(db: Database) -> None:
    run = add_dispatch(db, add_job(db), Status.IN_PROGRESS)
    add_chunk(db, run, 0, b"hello")
    with closing(Handles(lambda: connect(db), count=1)) as handles:

        async def story() -> list[log_ranges.Piece]:
            return (await Watches(handles, asyncio.Event()).read(run, 0))[1]

        assert [piece.data for piece in asyncio.run(story())] == [b"hello"]


def test_fifty_who_follow_a_run_cost_as_many_looks_as_one(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watches, "LOOK_SECONDS", 0.01)
    run = add_dispatch(db, add_job(db), Status.IN_PROGRESS)

    async def story(handles: Handles) -> tuple[int, int]:
        every, woken = Watches(handles, asyncio.Event()), 0

        async def follow() -> None:
            nonlocal woken
            for _ in range(2):  # the first look, and what is printed
                with every.watching(run) as change:
                    await asyncio.wait_for(change.wait(), DEADLINE)
            woken += 1

        before = handles.statements
        tasks = [asyncio.create_task(follow()) for _ in range(FOLLOWERS)]
        await asyncio.sleep(0)
        while handles.statements == before:
            await asyncio.sleep(0.01)
        add_chunk(db, run, 0, b"hello")
        await asyncio.gather(*tasks)
        looks = handles.statements - before
        task = every._of_run[run].task if run in every._of_run else None
        if task is not None:
            await asyncio.wait_for(task, DEADLINE)
        assert not every._of_run
        return woken, looks

    with closing(Handles(lambda: connect(db), count=2)) as handles:
        woken, looks = asyncio.run(story(handles))
    assert woken == FOLLOWERS
    assert looks < FOLLOWERS * 2


def test_a_run_that_cannot_be_looked_at_wakes_who_follows(db: Database) -> None:
    async def story(handles: Handles) -> None:
        with Watches(handles, asyncio.Event()).watching(4711) as change:
            await asyncio.wait_for(change.wait(), DEADLINE)

    with closing(Handles(lambda: connect(db), count=1)) as handles:
        asyncio.run(story(handles))


def test_what_waits_beyond_the_bound_is_noticed_until_it_is_done(db: Database) -> None:
    gate = threading.Event()

    async def story(handles: Handles) -> None:
        tasks = [asyncio.create_task(handles.ask(lambda _: gate.wait(DEADLINE))) for _ in range(WAITING_MAX + 1)]
        await asyncio.sleep(0)
        assert not handles.are_overrun
        tasks.append(asyncio.create_task(handles.ask(lambda _: gate.wait(DEADLINE))))
        await asyncio.sleep(0)
        assert handles.are_overrun
        gate.set()
        await asyncio.gather(*tasks)
        assert not handles.are_overrun

    with closing(Handles(lambda: connect(db), count=1)) as handles:
        asyncio.run(story(handles))
