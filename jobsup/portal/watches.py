"""Runs whose output is followed: each is looked at once for all who follow it, as often as the load allows."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial

from jobsup.errors import JobsupError
from jobsup.portal.handles import Handles
from jobsup.store import log_ranges

LOOK_SECONDS = 0.05
"""Between two looks for new output while a run is newly followed, or output comes, and few are followed."""
FEW_RUNS = 10
"""With more runs that are followed each is looked at less often, so that all together cost no more."""
IDLE_LOOK_SECONDS = 0.5
STRETCH_BYTES = 64 * 1024
"""What is read of a run at once."""
READS_MAX = 8
"""Stretches of a run that are kept for others until it has changed: whoever follows its end reads the same one."""
BUSY_SECONDS = 20.0
"""Without output for so long, a run is looked at less often."""


Found = tuple[log_ranges.Extent, list[log_ranges.Piece]]


class Watches:
    """All runs that are followed in one portal; used by its loop alone."""

    def __init__(self, handles: Handles, draining: asyncio.Event) -> None:
        self._handles = handles
        self._draining = draining
        self._of_run: dict[int, _Watch] = {}
        self.followers = 0
        """Streams that are open."""

    @contextmanager
    def following(self) -> Iterator[None]:
        """Count one stream in."""
        self.followers += 1
        try:
            yield
        finally:
            self.followers -= 1

    @contextmanager
    def watching(self, run_id: int) -> Iterator[asyncio.Event]:
        """Have a run looked at; yields what is set when it has printed more, has ended, or cannot be looked at."""
        watch = self._of_run.get(run_id) or self._begin(run_id)
        watch.followers += 1
        try:
            yield watch.change
        finally:
            watch.followers -= 1

    async def read(self, run_id: int, place: int) -> Found:
        """Read on from a place, once for all who are there while the run is watched."""
        work = partial(log_ranges.forward, dispatch_id=run_id, start=place, length=STRETCH_BYTES)
        watch = self._of_run.get(run_id)
        if watch is None:  # it could not be looked at: who reads it is told why
            return await self._handles.ask(work)
        found = watch.reads.get(place)
        if found is None or _has_failed(found):
            found = watch.reads[place] = asyncio.ensure_future(self._handles.ask(work))
            if len(watch.reads) > READS_MAX:
                del watch.reads[next(iter(watch.reads))]
        return await asyncio.shield(found)

    def _begin(self, run_id: int) -> _Watch:
        watch = self._of_run[run_id] = _Watch()
        watch.task = asyncio.create_task(self._look_on(run_id, watch))
        return watch

    async def _look_on(self, run_id: int, watch: _Watch) -> None:
        loop = asyncio.get_running_loop()
        known, changed_at = None, loop.time()
        try:
            # What goes wrong each stream meets again in a look of its own, and its reader is told.
            with suppress(JobsupError):
                while watch.followers and not self._draining.is_set():
                    found = await self._handles.ask(partial(log_ranges.extent, dispatch_id=run_id))
                    if found != known:
                        known, changed_at = found, loop.time()
                        watch.tell()
                    await self._pause(is_busy=loop.time() - changed_at < BUSY_SECONDS)
        finally:
            del self._of_run[run_id]
            watch.tell()

    async def _pause(self, *, is_busy: bool) -> None:
        seconds = (LOOK_SECONDS if is_busy else IDLE_LOOK_SECONDS) * max(1.0, len(self._of_run) / FEW_RUNS)
        with suppress(TimeoutError):
            await asyncio.wait_for(self._draining.wait(), min(1.0, seconds))


def _has_failed(found: asyncio.Future[Found]) -> bool:
    return found.done() and (found.cancelled() or found.exception() is not None)


class _Watch:
    """One run that is followed."""

    def __init__(self) -> None:
        self.change = asyncio.Event()
        """Of the next change: it is taken before looking, or what happens meanwhile is missed."""
        self.followers = 0
        self.reads: dict[int, asyncio.Future[Found]] = {}
        """What lies behind some places, as of the last change."""
        self.task: asyncio.Task[None] | None = None

    def tell(self) -> None:
        self.reads.clear()
        self.change.set()
        self.change = asyncio.Event()
