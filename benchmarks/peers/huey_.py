"""Huey on SQLite, fsync on: two processes of eight threads."""

from __future__ import annotations

import sys
import threading
import time

import crowd
from huey import SqliteHuey

is_worker = sys.argv[1] == "work"
folder, kind, runs = sys.argv[2:5] if is_worker else sys.argv[1:4]
huey = SqliteHuey(filename=f"{folder}/huey.db", fsync=True, results=False)


@huey.task()
def call() -> None:
    return None


@huey.task()
def command() -> None:
    crowd.run_command()


def work() -> None:
    consumer = huey.create_consumer(workers=8, periodic=False, initial_delay=0.01, max_delay=0.05, backoff=1.1)
    crowd.ready()
    threading.Thread(target=consumer.run, daemon=True).start()
    time.sleep(3600)


if is_worker:
    import signal

    signal.signal = lambda *_: None  # type: ignore[assignment]  # its consumer asks for signals, which a thread cannot
    work()
else:
    task = call if kind == "call" else command
    for _ in range(int(runs)):
        task()
    crowd.measure(int(runs), is_done=lambda: huey.pending_count() == 0, setting="2 processes x 8 threads, fsync")
