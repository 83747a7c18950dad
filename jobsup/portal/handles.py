"""The portal's few connections to the database, each used by one thread at a time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from queue import LifoQueue
from typing import TypeVar

from jobsup.store.engine import Database

T = TypeVar("T")

COUNT = 8
"""So many requests read or write at once; the others wait their turn."""
CROWD = 4
"""So many works at once are a crowd: one who reloads a page makes two."""
READERS_MAX = 3
"""So many who only want to see something are worked for at once: more threads would only take the interpreter from each
other, and from the loop, which serves all who need none of them."""
WAITING_MAX = 160
"""Beyond so many that wait their turn, whoever only wants to see something is asked to come again. A hundred streams
that come back at once, as after a restart, are fewer."""


class Handles:
    """Does work on the database in threads, so that the loop never waits for it."""

    def __init__(self, open_one: Callable[[], Database], count: int = COUNT) -> None:
        self._all = [open_one() for _ in range(count)]
        self._free: LifoQueue[Database] = LifoQueue()  # the one used last is used next: few open a connection
        for database in self._all:
            self._free.put(database)
        self._threads = ThreadPoolExecutor(count, thread_name_prefix="database")
        self._asked = 0
        """Works that are done or wait; the loop's thread alone counts them."""
        self._readers = asyncio.Semaphore(READERS_MAX)
        self._waiting = 0
        """Readers that wait for their turn."""

    async def ask(self, work: Callable[[Database], T]) -> T:
        """Return what `work` returns, done in a thread with a connection of its own for as long."""
        self._asked += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, self._do, work)
        finally:
            self._asked -= 1

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[None]:
        """Wait for the turn of one who only wants to see something."""
        self._waiting += 1
        try:
            await self._readers.acquire()
        finally:
            self._waiting -= 1
        try:
            yield
        finally:
            self._readers.release()

    @property
    def are_crowded(self) -> bool:
        """Whether many ask at once."""
        return self._asked + self._waiting >= CROWD

    @property
    def are_overrun(self) -> bool:
        """Whether so much waits that one more would wait too long."""
        return self._asked + self._waiting > len(self._all) + WAITING_MAX

    @contextmanager
    def one(self) -> Iterator[Database]:
        """Lend a connection to this thread."""
        database = self._free.get()
        try:
            yield database
        finally:
            self._free.put(database)

    @property
    def statements(self) -> int:
        """How many statements all of them have sent."""
        return sum(database.statements for database in self._all)

    def close(self) -> None:
        """Let what is being worked on end, then hang up."""
        self._threads.shutdown(wait=True, cancel_futures=True)
        for database in self._all:
            database.close()

    def _do(self, work: Callable[[Database], T]) -> T:
        with self.one() as database:
            return work(database)
