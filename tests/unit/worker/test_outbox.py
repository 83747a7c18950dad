"""When a worker says what it has to say: at once where somebody gains by it, else in company."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pytest

from jobsup.model import CapturedOutput, Reason, RunResult, Status
from jobsup.worker.ahead import ROUND_SECONDS, Ahead
from jobsup.worker.appetite import Appetite
from jobsup.worker.heartbeat import Pulse
from jobsup.worker.outbox import ROUND_BYTES_MAX, STARTED_FROM_SECONDS, STARTED_WITHIN_SECONDS, Outbox
from tests.support.clock import FakeClock
from tests.unit.worker.test_ahead import claim

SLOTS = 4


class FakeSlots:
    """As many runs as are said, and the ends of others."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.runs: list[Any] = []
        self.results: list[RunResult] = []

    processed = 0
    surplus = 0

    def get(self, dispatch_id: int) -> Any:
        return next((run for run in self.runs if run.dispatch_id == dispatch_id), None)

    def has_begun(self, run: Any) -> bool:
        return bool(run.has_begun)

    def __len__(self) -> int:
        return self.count

    def sweep(self) -> None:
        pass


@pytest.fixture
def slots() -> FakeSlots:
    return FakeSlots(SLOTS)


@pytest.fixture
def outbox(clock: FakeClock, slots: FakeSlots) -> Outbox:
    """An outbox of a worker whose slots are full, with more claimed ahead, that has just sent a round."""
    outbox = Outbox(
        slots,  # type: ignore[arg-type]  # all of it that matters here
        Pulse(3600, clock.monotonic()),
        Appetite(clock, poll_seconds=3600, poll_seconds_max=3600),
        clock,
        SLOTS,
        Ahead(clock),
    )
    outbox.ahead.add(claim(100))
    outbox.compose(clock.monotonic())
    clock.advance(ROUND_SECONDS / 4)
    return outbox


def ended(outbox: Outbox, slots: FakeSlots, clock: FakeClock, output: bytes = b"") -> float:
    """Let a run end; returns in how many seconds the next round goes."""
    captured = CapturedOutput(output, len(output))
    slots.results.append(RunResult(1, Status.COMPLETED, Reason.NONE, clock.now(), output=captured))
    outbox.collect()
    now = clock.monotonic()
    return max(0.0, outbox.next_at(now) - now)


def test_an_end_waits_for_others_while_claims_ahead_keep_the_slots_busy(
    outbox: Outbox, slots: FakeSlots, clock: FakeClock
) -> None:
    assert ended(outbox, slots, clock) == pytest.approx(ROUND_SECONDS * 3 / 4)
    clock.advance(ROUND_SECONDS * 3 / 4)
    assert outbox.next_at(clock.monotonic()) <= clock.monotonic()


def test_an_end_is_told_at_once_when_a_slot_is_free(outbox: Outbox, slots: FakeSlots, clock: FakeClock) -> None:
    slots.count -= 1
    assert ended(outbox, slots, clock) == 0


def test_an_end_is_told_at_once_when_nothing_is_left_to_start(
    outbox: Outbox, slots: FakeSlots, clock: FakeClock
) -> None:
    outbox.ahead.take()
    assert ended(outbox, slots, clock) == 0


def test_an_end_is_told_at_once_when_the_worker_leaves(outbox: Outbox, slots: FakeSlots, clock: FakeClock) -> None:
    outbox.is_draining = True
    assert ended(outbox, slots, clock) == 0


def test_much_output_waits_for_nobody(outbox: Outbox, slots: FakeSlots, clock: FakeClock) -> None:
    assert ended(outbox, slots, clock, b"x" * (ROUND_BYTES_MAX // 2)) > 0
    assert ended(outbox, slots, clock, b"x" * (ROUND_BYTES_MAX // 2)) == 0


def test_what_is_given_back_is_told_at_once(outbox: Outbox, clock: FakeClock) -> None:
    outbox.give_back(7)
    assert outbox.next_at(clock.monotonic()) <= clock.monotonic()


def test_a_heartbeat_that_is_due_takes_the_ends_along(outbox: Outbox, slots: FakeSlots, clock: FakeClock) -> None:
    outbox.pulse.due_at = clock.monotonic() + timedelta(milliseconds=1).total_seconds()
    assert ended(outbox, slots, clock) == pytest.approx(0.001)


@pytest.fixture
def idle(clock: FakeClock) -> Outbox:
    """An outbox of a worker that has nothing to do, polls every ten seconds and lives by the five."""
    slots: Any = FakeSlots(0)
    pulse, appetite = Pulse(5, clock.monotonic()), Appetite(clock, poll_seconds=10, poll_seconds_max=10)
    made = Outbox(slots, pulse, appetite, clock, SLOTS, Ahead(clock))
    made.compose(clock.monotonic())
    made.appetite.fed(0, SLOTS, None)
    return made


def test_a_poll_and_a_heartbeat_that_are_near_each_other_make_one_round(idle: Outbox, clock: FakeClock) -> None:
    clock.advance(5)
    together = idle.compose(clock.monotonic())
    assert together.heartbeat is not None
    assert (together.claim, together.is_poll) == (SLOTS, True)
    idle.appetite.fed(0, SLOTS, None)
    clock.advance(3)
    idle.appetite._poll_at = clock.monotonic()
    early = idle.compose(clock.monotonic())
    assert (early.claim, early.is_poll) == (SLOTS, True)
    assert early.heartbeat is not None
    clock.advance(4.9)
    assert idle.next_at(clock.monotonic()) == pytest.approx(clock.monotonic() + 0.1)


def test_a_poll_that_is_far_waits_for_its_time(idle: Outbox, clock: FakeClock) -> None:
    idle.appetite._poll_at = clock.monotonic() + 10.1
    clock.advance(5)
    assert idle.compose(clock.monotonic()).claim == 0


def test_who_was_told_of_work_claims_and_does_nothing_else(idle: Outbox, clock: FakeClock) -> None:
    clock.advance(4)
    idle.woken()
    round_ = idle.compose(clock.monotonic())
    assert (round_.claim, round_.is_poll, round_.heartbeat) == (SLOTS, False, None)


def test_who_knows_when_work_comes_due_does_not_take_it_for_a_poll(idle: Outbox, clock: FakeClock) -> None:
    idle.appetite.fed(0, SLOTS, clock.now() + timedelta(seconds=4))
    clock.advance(4)
    assert (round_ := idle.compose(clock.monotonic())).claim == SLOTS
    assert not round_.is_poll


@dataclass
class FakeRun:
    """A call, which may still wait behind others."""

    dispatch_id: int
    started_at: datetime
    has_begun: bool = False
    is_told: bool = False


def test_a_call_is_told_as_started_once_it_has_begun_and_lasts(
    outbox: Outbox, slots: FakeSlots, clock: FakeClock
) -> None:
    run = FakeRun(5, clock.now())
    slots.get = {5: run}.get  # type: ignore[method-assign, assignment]  # one that the round itself says nothing of
    outbox.started(5)
    for _ in range(3):  # it waits behind others, and may be given back
        clock.advance(STARTED_WITHIN_SECONDS)
        assert outbox.next_at(clock.monotonic()) > clock.monotonic()
        assert (outbox.compose(clock.monotonic()).started, run.is_told) == ({}, False)
    run.has_begun = True
    clock.advance(STARTED_WITHIN_SECONDS)
    assert outbox.next_at(clock.monotonic()) <= clock.monotonic()
    assert (outbox.compose(clock.monotonic()).started, run.is_told) == ({5: run.started_at}, True)


def test_a_run_that_is_younger_is_not_told_of(outbox: Outbox, slots: FakeSlots, clock: FakeClock) -> None:
    run = FakeRun(5, clock.now(), has_begun=True)
    slots.get = {5: run}.get  # type: ignore[method-assign, assignment]  # as above
    outbox.started(5)
    assert outbox.compose(clock.monotonic()).started == {}
    clock.advance(STARTED_FROM_SECONDS * 1.01)
    assert outbox.compose(clock.monotonic()).started == {5: run.started_at}
