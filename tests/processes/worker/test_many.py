"""Many short runs, and what is left of them in the worker: nothing."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from sqlalchemy import insert, select

from jobsup.model import Overlap
from jobsup.store import notifier
from jobsup.store.models import JobDispatch
from tests.support.store import add_job
from tests.support.waiting import PATIENCE, until
from tests.support.worker import Bench, working


def in_use(bench: Bench) -> tuple[int, int]:
    """Return the descriptors and threads of the worker."""
    folder = Path(f"/proc/{bench.pid}")
    return len([*(folder / "fd").iterdir()]), len([*(folder / "task").iterdir()])


def memory_of(bench: Bench) -> int:
    """Return the bytes of the worker's own memory: pages of libraries come and go with what a machine does besides."""
    lines = Path(f"/proc/{bench.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("RssAnon:"))


def ask_for(bench: Bench, job_id: int, count: int) -> list[int]:
    now = bench.database.now()
    row = {
        "job_id": job_id,
        "source": "manual",
        "status": "PENDING",
        "queue": "default",
        "available_at": now,
        "created_at": now,
    }
    with bench.database.write() as connection:
        ids = list(connection.execute(insert(JobDispatch).returning(JobDispatch.id), [row] * count).scalars())
    notifier.wake(bench.database, "worker")
    return ids


def statuses(bench: Bench, ids: list[int]) -> Counter[str]:
    with bench.database.read() as connection:
        return Counter(connection.execute(select(JobDispatch.status).where(JobDispatch.id.in_(ids))).scalars())


def test_a_thousand_runs_leave_descriptors_threads_and_memory_as_they_were(tmp_path: Path) -> None:
    with working(tmp_path, concurrency=8) as bench:
        job = add_job(bench.database, command=("/bin/true",), overlap=Overlap.ALLOW)
        first = ask_for(bench, job.job_id, 100)
        until(lambda: statuses(bench, first) == {"COMPLETED": 100}, PATIENCE, "the first runs", bench.told)
        before, memory = in_use(bench), memory_of(bench)
        assert before[1] == 2
        ids = ask_for(bench, job.job_id, 1_000)
        until(lambda: statuses(bench, ids) == {"COMPLETED": 1_000}, 60, "a thousand runs", lambda: bench.told()[-3000:])
        until(lambda: in_use(bench) == before, 2, f"descriptors and threads to be {before} again")
        assert memory_of(bench) - memory < 8 << 20


def test_work_that_waits_starts_as_soon_as_a_slot_is_free(tmp_path: Path) -> None:
    with working(tmp_path, concurrency=2) as bench:
        job = add_job(bench.database, command="sleep 0.2", overlap=Overlap.ALLOW)
        ids = ask_for(bench, job.job_id, 6)
        until(lambda: statuses(bench, ids) == {"COMPLETED": 6}, 3, "six runs in two slots", bench.told)
        rows = [bench.row(one) for one in ids]
        moments = sorted([(row["started_at"], 1) for row in rows] + [(row["completed_at"], -1) for row in rows])
        running = peak = 0
        for _, step in moments:
            running += step
            peak = max(peak, running)
        assert peak == 2
