"""A worker's round is one transaction: all of it is written, or nothing, whoever writes at the same moment."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from jobsup.model import CapturedOutput, Heartbeat, Overlap, Reason, RunResult, Source, Status, WorkerStatus
from jobsup.store import claiming, rescue
from jobsup.store.engine import Database
from jobsup.store.rounds import Answer, Round, Worker, exchange
from jobsup.store.statements import FEW_ROWS
from tests.store.test_races import at_once
from tests.support.clock import FakeClock
from tests.support.store import (
    START,
    add_dispatch,
    add_job,
    add_worker,
    connect,
    dispatch_row,
    dispatches_of,
    log_row,
)

RUNS = 30
A, B = Worker("worker-aaaaa", "here"), Worker("worker-bbbbb", "here")


def ended(db: Database, ids: list[int], status: Status = Status.COMPLETED) -> list[RunResult]:
    reason = Reason.NONE if status is Status.COMPLETED else Reason.EXIT_CODE
    return [RunResult(each, status, reason, finished_at=db.now(), started_at=db.now(), exit_code=0) for each in ids]


def test_a_round_that_fails_at_its_claim_has_written_no_end(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    job = add_job(db, overlap=Overlap.ALLOW)
    add_worker(db)
    ids = [add_dispatch(db, job, Status.IN_PROGRESS) for _ in range(3)]
    results = [*ended(db, ids[:2]), *ended(db, ids[2:], Status.FAILED)]

    def fail(*_: Any, **__: Any) -> Any:
        raise RuntimeError("no claim")

    with monkeypatch.context() as patch:
        patch.setattr(claiming, "claim", fail)
        with pytest.raises(RuntimeError, match="no claim"):
            exchange(db, A, Round(results=results, claim=1))
    assert [dispatch_row(db, each)["status"] for each in ids] == [Status.IN_PROGRESS] * 3
    assert [log_row(db, each) for each in ids] == [None] * 3
    assert len(dispatches_of(db, job)) == 3
    exchange(db, A, Round(results=results, claim=1))
    assert [dispatch_row(db, each)["status"] for each in ids] == [Status.COMPLETED] * 2 + [Status.FAILED]
    assert [row["source"] for row in dispatches_of(db, job)][3:] == [Source.RETRY]


def test_rounds_of_two_workers_and_a_rescue_end_each_run_once(db: Database) -> None:
    job = add_job(db, overlap=Overlap.ALLOW)
    add_worker(db, A.worker_id)
    add_worker(db, B.worker_id)
    theirs = {
        worker: [add_dispatch(db, job, Status.IN_PROGRESS, worker_id=worker.worker_id) for _ in range(RUNS)]
        for worker in (A, B)
    }
    waiting = [add_dispatch(db, job) for _ in range(RUNS)]
    answers: dict[Worker, Answer] = {}

    def work(worker: Worker) -> None:
        own = connect(db)
        answers[worker] = exchange(own, worker, Round(results=ended(db, theirs[worker]), claim=RUNS))
        own.close()

    def give_up() -> None:
        own = connect(db)
        rescue.close_lost(own, [B.worker_id])
        own.close()

    with at_once(lambda: work(A), lambda: work(B), give_up):
        pass
    assert answers[A].refused == frozenset()
    assert {dispatch_row(db, each)["status"] for each in theirs[A]} == {Status.COMPLETED}
    for each in theirs[B]:
        row, log = dispatch_row(db, each), log_row(db, each)
        assert log is not None
        assert row["status"] == log["status"] == (Status.TIMEOUT if each in answers[B].refused else Status.COMPLETED)
    claimed = [claim.dispatch_id for answer in answers.values() for claim in answer.claims]
    assert len(claimed) == len(set(claimed))
    assert set(claimed) <= {*waiting, *(row["id"] for row in dispatches_of(db, job) if row["source"] == Source.RETRY)}


def test_many_ends_in_one_round_keep_each_its_own_output(db: Database) -> None:
    job = add_job(db, overlap=Overlap.ALLOW)
    add_worker(db)
    ids = [add_dispatch(db, job, Status.IN_PROGRESS) for _ in range(RUNS)]
    results = [
        RunResult(
            each,
            Status.COMPLETED,
            Reason.NONE,
            finished_at=db.now(),
            started_at=db.now(),
            exit_code=0,
            output=CapturedOutput(bytes([each % 256, 0, 255]), 3, 0, None, ((3, 1),)),
            result=None if each % 2 else f'{{"run": {each}, "said": "ö\\\\n\\""}}',
            cpu_user=0.25,
        )
        for each in ids
    ]
    exchange(db, A, Round(results=results))
    for each, result in zip(ids, results, strict=True):
        log = log_row(db, each)
        assert log is not None
        assert bytes(log["log_output"]) == bytes([each % 256, 0, 255])
        assert (log["stream_marks"], log["result"], log["cpu_user"]) == ([[3, 1]], result.result, 0.25)


@pytest.mark.parametrize("number", [1, FEW_ROWS, FEW_ROWS + 1])
def test_a_round_of_any_number_starts_ends_and_claims_each_run(db: Database, number: int) -> None:
    job = add_job(db, overlap=Overlap.ALLOW)
    add_worker(db)
    ours = [add_dispatch(db, job, Status.IN_PROGRESS) for _ in range(number)]
    others = [add_dispatch(db, job, Status.IN_PROGRESS, worker_id="worker-ccccc") for _ in range(number)]
    waiting = [add_dispatch(db, job) for _ in range(number)]
    exchange(db, A, Round(started=dict.fromkeys((*ours, *others), START - timedelta(minutes=1))))
    assert {dispatch_row(db, run)["started_at"] for run in ours} == {START - timedelta(minutes=1)}
    assert {dispatch_row(db, run)["started_at"] for run in others} == {START}
    answer = exchange(db, A, Round(results=ended(db, [*ours, *others]), claim=number))
    assert answer.refused == frozenset(others)
    assert [claim.dispatch_id for claim in answer.claims] == waiting
    for run in (*ours, *others):
        row, log = dispatch_row(db, run), log_row(db, run)
        is_ours = run in ours
        assert row["status"] == (Status.COMPLETED if is_ours else Status.IN_PROGRESS)
        assert (log is not None) is is_ours
    for run in waiting:
        row = dispatch_row(db, run)
        assert (row["status"], row["worker_id"], row["claimed_at"]) == (Status.IN_PROGRESS, A.worker_id, db.now())
        assert row["deadline_at"] == db.now() + timedelta(seconds=600)


def test_a_poll_finds_what_waits_and_when_more_comes_due_as_any_claim_does(db: Database, clock: FakeClock) -> None:
    worker = Worker(add_worker(db), "here")
    poll = Round(claim=2, is_poll=True, heartbeat=Heartbeat(WorkerStatus.IDLE, 0, None))
    nothing = exchange(db, worker, poll)
    assert (nothing.claims, nothing.next_available_at, nothing.is_registered) == ((), None, True)
    later = clock.now() + timedelta(seconds=9)
    add_dispatch(db, add_job(db), available_at=later)
    waiting = exchange(db, worker, poll)
    assert (waiting.claims, waiting.next_available_at) == ((), later)
    now_id = add_dispatch(db, add_job(db))
    [claim] = exchange(db, worker, poll).claims
    assert claim.dispatch_id == now_id


def test_a_poll_of_a_worker_that_was_given_up_is_told_so(db: Database) -> None:
    worker = Worker(add_worker(db, status=WorkerStatus.OFFLINE), "here")
    assert not exchange(db, worker, Round(claim=1, is_poll=True)).is_registered
