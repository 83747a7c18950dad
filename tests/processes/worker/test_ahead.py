"""Work that a busy worker takes ahead: none of it waits long, it is shared, and it goes back without a trace."""

from __future__ import annotations

import signal
from collections import Counter
from pathlib import Path
from typing import Any

from sqlalchemy import insert, select

from jobsup.model import Overlap
from jobsup.store import dispatches, notifier
from jobsup.store.models import JobDispatch
from tests.support.store import add_job
from tests.support.waiting import PATIENCE, until
from tests.support.worker import Bench, working

SHORT = 400
GIVEN_BACK_SECONDS = 2
SLOTS = 2


def job_id(bench: Bench, command: str | tuple[str, ...]) -> int:
    return add_job(bench.database, command=command, overlap=Overlap.ALLOW, max_retries=0).job_id


def ask_for(bench: Bench, *wanted: tuple[int, int]) -> list[int]:
    """Ask for so many runs of each job, in this order, in one transaction; return their ids."""
    now = bench.database.now()
    row = {"source": "manual", "status": "PENDING", "queue": "default", "available_at": now, "created_at": now}
    rows = [{**row, "job_id": job} for job, count in wanted for _ in range(count)]
    with bench.database.write() as connection:
        ids = list(connection.execute(insert(JobDispatch).returning(JobDispatch.id), rows).scalars())
        notifier.wake(bench.database, "worker")
    return ids


def rows_of(bench: Bench, ids: list[int]) -> list[dict[str, Any]]:
    with bench.database.read() as connection:
        statement = select(JobDispatch.__table__).where(JobDispatch.id.in_(ids)).order_by(JobDispatch.id)
        return [dict(row) for row in connection.execute(statement).mappings()]


def count(bench: Bench, ids: list[int], column: str) -> Counter[Any]:
    return Counter(row[column] for row in rows_of(bench, ids))


def test_what_waits_behind_runs_that_suddenly_last_goes_back_without_a_trace(tmp_path: Path) -> None:
    with working(tmp_path, concurrency=SLOTS) as bench:
        short, long = job_id(bench, ("/bin/true",)), job_id(bench, "exec sleep 60")
        ids = ask_for(bench, (short, SHORT), (long, 40))
        until(lambda: count(bench, ids[:SHORT], "status") == {"COMPLETED": SHORT}, PATIENCE, "short runs", bench.told)
        # Far more of the long ones were claimed than there are slots for.
        assert bench.told().count("Claimed job dispatch") > SHORT + SLOTS
        waiting = {"IN_PROGRESS": SLOTS, "PENDING": 40 - SLOTS}
        until(lambda: count(bench, ids[SHORT:], "status") == waiting, GIVEN_BACK_SECONDS, "the rest to go back")
        back = [row for row in rows_of(bench, ids[SHORT:]) if row["status"] == "PENDING"]
        assert {(row["worker_id"], row["claimed_at"], row["deadline_at"], row["retry_count"]) for row in back} == {
            (None, None, None, 0)
        }
        with working(tmp_path, concurrency=SLOTS):
            waiting = {"IN_PROGRESS": 2 * SLOTS, "PENDING": 40 - 2 * SLOTS}
            until(lambda: count(bench, ids[SHORT:], "status") == waiting, PATIENCE, "a second worker's share")
            assert len(count(bench, ids[SHORT:], "worker_id")) == 3  # two workers, and nobody
            bench.signal(signal.SIGQUIT)
            bench.join()


def test_a_worker_that_is_stopped_gives_back_all_it_has_taken_ahead(tmp_path: Path) -> None:
    with working(tmp_path, concurrency=SLOTS) as bench:
        ids = ask_for(bench, (job_id(bench, ("/bin/true",)), 5 * SHORT))
        until(lambda: count(bench, ids, "status")["COMPLETED"] > SHORT, PATIENCE, "some runs", bench.told)
        bench.signal(signal.SIGTERM)
        assert bench.join() == 0
        found = count(bench, ids, "status")
        assert found.keys() == {"COMPLETED", "PENDING"}
        assert count(bench, ids, "worker_id")[None] == found["PENDING"]
        assert count(bench, ids, "retry_count") == {0: 5 * SHORT}


def test_two_busy_workers_share_the_work_evenly(tmp_path: Path) -> None:
    with working(tmp_path, concurrency=SLOTS) as bench, working(tmp_path, concurrency=SLOTS):
        ids = ask_for(bench, (job_id(bench, ("/bin/true",)), 2 * SHORT))
        until(lambda: count(bench, ids, "status") == {"COMPLETED": 2 * SHORT}, PATIENCE, "all runs", bench.told)
        shares = sorted(count(bench, ids, "worker_id").values())
        assert len(shares) == 2
        assert shares[0] > 2 * SHORT * 0.25


def test_a_run_that_waits_for_a_slot_is_cancelled_before_it_starts(tmp_path: Path) -> None:
    with working(tmp_path, concurrency=1) as bench:
        short, long = job_id(bench, ("/bin/true",)), job_id(bench, "exec sleep 60")
        ids = ask_for(bench, (short, SHORT), (long, 10))
        until(lambda: count(bench, ids[SHORT:], "status")["IN_PROGRESS"] > 1, PATIENCE, "work taken ahead", bench.told)
        for dispatch_id in reversed(ids[SHORT:]):  # the one that runs is the last to be asked
            dispatches.cancel(bench.database, dispatch_id, "ann")
        until(lambda: count(bench, ids[SHORT:], "status") == {"CANCELLED": 10}, PATIENCE, "the end of all", bench.told)
        assert sum(row["started_at"] is not None for row in rows_of(bench, ids[SHORT:])) <= 1


CALLS = """
import os, time

def _note(run):
    with open("begun", "a") as file:
        file.write(run + "\\n")
def quick(): _note(os.environ["JOBSUP_RUN_ID"])
def lasts(): _note(os.environ["JOBSUP_RUN_ID"]); time.sleep(60)
def dies():
    _note(os.environ["JOBSUP_RUN_ID"])
    if int(os.environ["JOBSUP_RUN_ID"]) % 100 == 50: os._exit(3)
"""


def call_id(bench: Bench, folder: Path, function: str) -> int:
    (folder / "quickly.py").write_text(CALLS)
    job = add_job(bench.database, python=f"quickly:{function}", cwd=str(folder), overlap=Overlap.ALLOW, max_retries=0)
    return job.job_id


def begun(folder: Path) -> list[int]:
    return [int(line) for line in (folder / "begun").read_text().splitlines()]


def test_a_worker_of_one_slot_runs_quick_calls_one_after_another_and_each_once(tmp_path: Path) -> None:
    with working(tmp_path, concurrency=1) as bench:
        ids = ask_for(bench, (call_id(bench, tmp_path, "quick"), 5 * SHORT))
        until(lambda: count(bench, ids, "status") == {"COMPLETED": 5 * SHORT}, PATIENCE, "all calls", bench.told)
        assert begun(tmp_path) == ids  # in their order
        assert len({(bench.execution(each) or {})["pid"] for each in ids[::50]}) == 1


def test_calls_that_wait_behind_one_that_suddenly_lasts_go_back_without_a_trace(tmp_path: Path) -> None:
    with working(tmp_path, concurrency=1) as bench:
        quick, lasts = call_id(bench, tmp_path, "quick"), call_id(bench, tmp_path, "lasts")
        ids = ask_for(bench, (quick, SHORT), (lasts, 1), (quick, 40))
        after = ids[SHORT + 1 :]
        until(lambda: bench.row(ids[SHORT])["started_at"], PATIENCE, "the long one to be reported", bench.told)
        until(lambda: count(bench, after, "status") == {"PENDING": 40}, GIVEN_BACK_SECONDS, "the rest to go back")
        back = rows_of(bench, after)
        assert {(row["worker_id"], row["started_at"], row["retry_count"]) for row in back} == {(None, None, 0)}
        assert begun(tmp_path) == ids[: SHORT + 1]
        with working(tmp_path, concurrency=1):
            until(lambda: count(bench, after, "status") == {"COMPLETED": 40}, PATIENCE, "another worker to do them")
        assert sorted(begun(tmp_path)) == ids
        bench.signal(signal.SIGQUIT)
        bench.join()


def test_calls_that_wait_in_a_runner_that_dies_are_made_by_another_and_none_twice(tmp_path: Path) -> None:
    with working(tmp_path, concurrency=1) as bench:
        ids = ask_for(bench, (call_id(bench, tmp_path, "dies"), SHORT))
        until(lambda: count(bench, ids, "completed_at")[None] == 0, PATIENCE, "the end of all", bench.told)
        dead = [each for each in ids if each % 100 == 50]
        assert count(bench, ids, "status") == {"COMPLETED": SHORT - len(dead), "FAILED": len(dead)}
        assert begun(tmp_path) == ids
