"""The long form of the tests of single runs: gigabytes of output, and ten thousand runs in a row.

    python -m tests.long.runs [STORY ...]

Each story runs a real worker on a database of its own, prints what it measured, and must find the worker as it was:
its memory, its descriptors, its threads. It ends with 1 if one did not. All of it takes a few minutes on an idle
machine; root is not needed.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from sqlalchemy import insert, select

from jobsup.model import Overlap
from jobsup.store import log_ranges, notifier
from jobsup.store.models import JobDispatch
from tests.support.store import add_job
from tests.support.waiting import until
from tests.support.worker import Bench, working

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
GROWTH_BYTES_MAX = 32 * MIB
SECONDS_MAX = 600.0
RUNS = 10_000
BATCH = 500


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.long.runs")
    parser.add_argument("story", nargs="*", choices=[*STORIES, []], help="one of these; all when none is named")
    failed = 0
    for name in parser.parse_args(arguments).story or STORIES:
        with tempfile.TemporaryDirectory(prefix="jobsup-long-") as folder:
            begun = time.monotonic()
            try:
                said = STORIES[name](Path(folder))
            except AssertionError as error:
                failed += 1
                said = f"FAILED: {error}"
            print(f"{name}: {said} ({time.monotonic() - begun:.1f} s)", flush=True)
    return 1 if failed else 0


def five_gibibytes(folder: Path) -> str:
    """A run prints 5 GiB of lines: head, tail and the exact number between them are kept, and nothing grows."""
    return printing(folder, 5 * GIB, "yes 'a line of the very same thing, over and over again' | head -c {size}")


def one_line(folder: Path) -> str:
    """A run prints one line of 1 GiB."""
    return printing(folder, GIB, "head -c {size} /dev/zero | tr '\\0' x")


def many_runs(folder: Path) -> str:
    """Ten thousand runs in a row leave the worker's descriptors, threads and memory as they were."""
    with working(folder, concurrency=8) as bench:
        job = add_job(bench.database, command=("/bin/true",), overlap=Overlap.ALLOW)
        run_batch(bench, job.job_id)
        before, memory = in_use(bench), anonymous(bench)
        begun = time.monotonic()
        for _ in range(RUNS // BATCH):
            run_batch(bench, job.job_id)
        seconds = time.monotonic() - begun
        until(lambda: in_use(bench) == before, 5, f"descriptors and threads to be {before} again")
        growth = anonymous(bench) - memory
        assert growth < 8 * MIB, f"the worker's memory grew by {growth / MIB:.1f} MiB"
        assert bench.survivors() == [], "processes were left"
        left = f"{before[0]} descriptors, {before[1]} threads, {growth / KIB:+.0f} KiB"
        return f"{RUNS} runs, {RUNS / seconds:.0f}/s; {left}"


STORIES: dict[str, Callable[[Path], str]] = {
    "five-gibibytes": five_gibibytes,
    "one-line": one_line,
    "many-runs": many_runs,
}


def printing(folder: Path, size: int, command: str) -> str:
    with working(folder) as bench:
        bench.until_ended(bench.run(command="head -c 4000000 /dev/zero"))
        before = peak(bench)
        run = bench.run(command=command.format(size=size), timeout=None)
        begun = time.monotonic()
        row = bench.until_ended(run, SECONDS_MAX)
        seconds = time.monotonic() - begun
        assert row["status"] == "COMPLETED", row["error_message"]
        log = bench.execution(run)
        assert log is not None
        assert (log["output_bytes"], log["output_dropped"]) == (size, size - MIB)
        growth = peak(bench) - before
        assert growth < GROWTH_BYTES_MAX, f"the worker's memory grew by {growth / MIB:.1f} MiB"
        begun = time.monotonic()
        _, pieces = log_ranges.read(bench.database, run, size - 100, 100)
        page = time.monotonic() - begun
        assert sum(len(piece.data) for piece in pieces) == 100
        rate = size / seconds / MIB
        return f"{rate:.0f} MiB/s, memory {growth / MIB:+.1f} MiB, its last page in {page * 1000:.0f} ms"


def run_batch(bench: Bench, job_id: int) -> None:
    now = bench.database.now()
    row = {"job_id": job_id, "source": "manual", "status": "PENDING", "queue": "default"}
    row |= {"available_at": now, "created_at": now}
    with bench.database.write() as connection:
        ids = list(connection.execute(insert(JobDispatch).returning(JobDispatch.id), [row] * BATCH).scalars())
    notifier.wake(bench.database, "worker")
    until(lambda: statuses(bench, ids) == {"COMPLETED": BATCH}, SECONDS_MAX, f"{BATCH} runs", bench.told, every=0.05)


def statuses(bench: Bench, ids: list[int]) -> Counter[str]:
    with bench.database.read() as connection:
        return Counter(connection.execute(select(JobDispatch.status).where(JobDispatch.id.in_(ids))).scalars())


def in_use(bench: Bench) -> tuple[int, int]:
    folder = Path(f"/proc/{bench.pid}")
    return len([*(folder / "fd").iterdir()]), len([*(folder / "task").iterdir()])


def anonymous(bench: Bench) -> int:
    return status_bytes(bench, "RssAnon")


def peak(bench: Bench) -> int:
    return status_bytes(bench, "VmHWM")


def status_bytes(bench: Bench, name: str) -> int:
    lines = Path(f"/proc/{bench.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith(f"{name}:"))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
