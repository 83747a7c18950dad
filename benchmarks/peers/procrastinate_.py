"""Procrastinate on PostgreSQL: two workers of eight jobs at once."""

from __future__ import annotations

import asyncio
import sys

import crowd
from procrastinate import App, PsycopgConnector

is_worker = sys.argv[1] == "work"
url, kind, runs = sys.argv[2:5] if is_worker else sys.argv[1:4]
app = App(connector=PsycopgConnector(conninfo=url))


@app.task(name="call")
async def call() -> None:
    return None


@app.task(name="command")
async def command() -> None:
    process = await asyncio.create_subprocess_exec(
        *crowd.COMMAND, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    await process.communicate()


async def work() -> None:
    async with app.open_async():
        crowd.ready()
        await app.run_worker_async(concurrency=8, wait=False, install_signal_handlers=False)


async def fill() -> None:
    async with app.open_async():
        await app.schema_manager.apply_schema_async()
        task = call if kind == "call" else command
        await task.batch_defer_async(*({} for _ in range(int(runs))))


if is_worker:
    asyncio.run(work())
else:
    asyncio.run(fill())
    crowd.measure(int(runs), setting="2 workers x 8")
