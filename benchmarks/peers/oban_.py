"""Oban for Python on PostgreSQL: two nodes with queues of twenty."""

from __future__ import annotations

import asyncio
import sys

import crowd
import psycopg
from oban import Oban, worker
from oban.schema import install

SIZE = 20
is_worker = sys.argv[1] == "work"
url, kind, runs = sys.argv[2:5] if is_worker else sys.argv[1:4]


@worker(queue="default")
class Call:
    async def process(self, _: object) -> None:
        return None


@worker(queue="default")
class Command:
    async def process(self, _: object) -> None:
        process = await asyncio.create_subprocess_exec(
            *crowd.COMMAND, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
        await process.communicate()


async def work() -> None:
    pool = await Oban.create_pool(dsn=url, min_size=2, max_size=10)
    crowd.ready()
    async with Oban(pool=pool, queues={"default": SIZE}):
        await asyncio.sleep(3600)


async def fill() -> None:
    pool = await Oban.create_pool(dsn=url, min_size=1, max_size=2)
    await install(pool)
    oban = Oban(pool=pool)
    made = Call if kind == "call" else Command
    for start in range(0, int(runs), 1000):
        await oban.enqueue_many(*(made.new({}) for _ in range(min(1000, int(runs) - start))))
    await pool.close()


def is_done() -> bool:
    left = "SELECT 1 FROM oban_jobs WHERE state IN ('available', 'scheduled', 'executing', 'retryable') LIMIT 1"
    return link.execute(left).fetchone() is None


if is_worker:
    asyncio.run(work())
else:
    asyncio.run(fill())
    link = psycopg.connect(url, autocommit=True)
    crowd.measure(int(runs), is_done=is_done, setting=f"2 nodes x {SIZE}")
