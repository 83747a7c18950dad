"""PgQueuer on PostgreSQL, its best setting: two processes, a hundred jobs at a time."""

from __future__ import annotations

import asyncio
import sys

import crowd
import psycopg
from pgqueuer import PgQueuer
from pgqueuer.db import PsycopgDriver
from pgqueuer.models import Job
from pgqueuer.queries import Queries
from pgqueuer.types import QueueExecutionMode

BATCH = 100
is_worker = sys.argv[1] == "work"
url, kind, runs = sys.argv[2:5] if is_worker else sys.argv[1:4]


async def connect() -> PsycopgDriver:
    return PsycopgDriver(await psycopg.AsyncConnection.connect(url, autocommit=True))


async def work() -> None:
    pgq = PgQueuer(await connect())

    @pgq.entrypoint("call")
    async def call(_: Job) -> None:
        return None

    @pgq.entrypoint("command")
    async def command(_: Job) -> None:
        process = await asyncio.create_subprocess_exec(
            *crowd.COMMAND, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
        await process.communicate()

    crowd.ready()
    if kind == "call":
        await pgq.qm.run(batch_size=BATCH, mode=QueueExecutionMode.drain)
    else:
        await pgq.qm.run(batch_size=8, max_concurrent_tasks=16, mode=QueueExecutionMode.drain)


async def fill() -> None:
    queries = Queries(await connect())
    await queries.install()
    count = int(runs)
    await queries.enqueue([kind] * count, [None] * count, [0] * count)


if is_worker:
    asyncio.run(work())
else:
    asyncio.run(fill())
    crowd.measure(int(runs), setting=f"2 processes, batches of {BATCH if kind == 'call' else 8}")
