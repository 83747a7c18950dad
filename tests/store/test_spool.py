"""Results that were kept on disk: they come back whole, are written once, and never over what was decided meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from jobsup.errors import DatabaseUnavailableError
from jobsup.model import STDERR, STDOUT, CapturedOutput, Progress, Reason, RunResult, Status
from jobsup.store import overview, rescue, rounds, spool
from jobsup.store.engine import Database
from jobsup.store.run_rows import RunRow
from jobsup.store.spool import Owner, Spool
from tests.support.clock import FakeClock
from tests.support.store import (
    WORKER_ID,
    add_dispatch,
    add_job,
    add_worker,
    dispatch_row,
    log_row,
)

OWNER = Owner(WORKER_ID, "here", "boot-1", "pid:[1]", 4000, 1)
DATA = b"out\nerr\x00\xff\n"


def nobody(_pid: int, _started: int) -> bool:
    return False


def result_of(db: Database, run: int, status: Status = Status.COMPLETED) -> RunResult:
    now = db.now()
    return RunResult(
        run,
        status,
        Reason.NONE if status is Status.COMPLETED else Reason.EXIT_CODE,
        now,
        started_at=now - timedelta(seconds=3),
        exit_code=0 if status is Status.COMPLETED else 3,
        pid=77,
        output=CapturedOutput(DATA, 20, 10, 4, ((4, STDOUT), (6, STDERR))),
        cpu_user=0.5,
        progress=Progress(0.5, "half"),
    )


def write_left(db: Database, folder: Path, is_alive: Callable[[int, int], bool] = nobody, boot: str = "boot-1") -> int:
    return spool.write_left(db, folder, here=(boot, "pid:[1]"), is_alive=is_alive)


def files(folder: Path) -> list[str]:
    return sorted(path.suffix for path in spool.folder_in(folder).iterdir())


def attempts_of(db: Database) -> list[RunRow]:
    return overview.runs(db, job="a")[::-1]


def running(db: Database, **spec: object) -> int:
    """Write a worker that runs something; `spec` of its job, whose name is "a"."""
    add_worker(db)
    return add_dispatch(db, add_job(db, "a", **spec), Status.IN_PROGRESS)


def test_what_a_dead_worker_kept_is_written_whole_and_once(db: Database, tmp_path: Path) -> None:
    run = running(db)
    result = result_of(db, run)
    Spool(tmp_path, OWNER).keep([result])
    kept = next(spool.folder_in(tmp_path).iterdir())
    assert (kept.stat().st_mode & 0o777, kept.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert write_left(db, tmp_path) == 1
    row, log = dispatch_row(db, run), log_row(db, run)
    assert (row["status"], row["completed_at"]) == (Status.COMPLETED, result.finished_at)
    assert (row["progress"], row["progress_text"]) == (0.5, "half")
    assert (bytes(log["log_output"]), log["output_dropped"], log["output_gap_at"]) == (DATA, 10, 4)
    assert (log["stream_marks"], log["exit_code"], log["cpu_user"]) == ([[4, STDOUT], [6, STDERR]], 0, 0.5)
    assert (write_left(db, tmp_path), files(tmp_path)) == (0, [])


def test_a_failure_that_was_kept_has_its_retry(db: Database, tmp_path: Path) -> None:
    run = running(db, max_retries=1)
    Spool(tmp_path, OWNER).keep([result_of(db, run, Status.FAILED)])
    assert write_left(db, tmp_path) == 1
    assert [row.status for row in attempts_of(db)] == [Status.FAILED, Status.PENDING]


def test_a_result_that_comes_after_its_run_was_given_up_changes_nothing(
    db: Database, clock: FakeClock, tmp_path: Path
) -> None:
    run = running(db)
    Spool(tmp_path, OWNER).keep([result_of(db, run)])
    clock.advance(1)
    rescue.close_lost(db, [WORKER_ID])
    before = attempts_of(db)
    assert [row.status for row in before] == [Status.TIMEOUT, Status.PENDING]
    assert write_left(db, tmp_path) == 0
    assert attempts_of(db) == before
    assert files(tmp_path) == [], "it is told, and over"


def test_a_result_whose_commit_nobody_heard_of_is_not_called_late(db: Database, tmp_path: Path) -> None:
    run = running(db)
    result = result_of(db, run)
    Spool(tmp_path, OWNER).keep([result])
    rounds.exchange(db, rounds.Worker(WORKER_ID, "here"), rounds.Round(results=[result]))
    before = attempts_of(db)
    assert write_left(db, tmp_path) == 1
    assert (attempts_of(db), files(tmp_path)) == (before, [])


def test_a_worker_that_lives_here_writes_its_own_and_forgets_it_then(db: Database, tmp_path: Path) -> None:
    run = running(db)
    mine = Spool(tmp_path, OWNER)
    mine.keep([result_of(db, run)])
    assert write_left(db, tmp_path, lambda pid, started: (pid, started) == (4000, 1)) == 0
    assert dispatch_row(db, run)["status"] == Status.IN_PROGRESS
    mine.forget([run])
    assert files(tmp_path) == []


def test_after_a_reboot_no_process_of_the_old_boot_is_asked_about(db: Database, tmp_path: Path) -> None:
    run = running(db)
    Spool(tmp_path, OWNER).keep([result_of(db, run)])
    assert write_left(db, tmp_path, lambda _pid, _started: True, boot="boot-2") == 1
    assert dispatch_row(db, run)["status"] == Status.COMPLETED


def test_results_of_another_database_are_left_alone(db: Database, tmp_path: Path) -> None:
    Spool(tmp_path, OWNER).keep([result_of(db, 1)])
    assert (write_left(db, tmp_path), files(tmp_path)) == (0, [".result"])


def test_a_torn_file_and_one_the_database_does_not_take_stop_no_other(
    db: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = [running(db), add_dispatch(db, add_job(db), Status.IN_PROGRESS), 0]
    Spool(tmp_path, OWNER).keep([result_of(db, run) for run in runs])
    torn = spool.folder_in(tmp_path) / f"{WORKER_ID}-0.result"
    torn.write_bytes(torn.read_bytes()[:-3])
    finish = rounds.finish

    def refuse_first(database: Database, worker: rounds.Worker, results: list[RunResult]) -> set[int]:
        if results[0].dispatch_id == runs[0]:
            raise ValueError("not this one")
        return finish(database, worker, results)

    monkeypatch.setattr(rounds, "finish", refuse_first)
    assert write_left(db, tmp_path) == 1
    assert dispatch_row(db, runs[1])["status"] == Status.COMPLETED
    assert files(tmp_path) == [".unusable", ".unusable"]


def test_a_database_that_is_away_again_forgets_nothing(
    db: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = running(db)
    Spool(tmp_path, OWNER).keep([result_of(db, run)])

    def away(*_: object) -> set[int]:
        raise DatabaseUnavailableError("no answer")

    with monkeypatch.context() as patch:
        patch.setattr(rounds, "finish", away)
        with pytest.raises(DatabaseUnavailableError):
            write_left(db, tmp_path)
    assert write_left(db, tmp_path) == 1


def test_a_disk_that_cannot_keep_them_is_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, db: Database
) -> None:
    (tmp_path / "results").write_text("in the way")
    mine = Spool(tmp_path, OWNER)
    results = [result_of(db, 1), result_of(db, 2)]
    for _ in range(2):
        mine.keep(results)
    assert not mine.has_all(results)
    assert sum("cannot be kept" in record.message for record in caplog.records) == 1
