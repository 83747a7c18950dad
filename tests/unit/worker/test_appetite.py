"""When a worker asks for work, and when it doubts itself."""

from __future__ import annotations

from datetime import timedelta

from jobsup.model import WorkerStatus
from jobsup.worker.appetite import JITTER, SLOWDOWN, Appetite
from jobsup.worker.heartbeat import Pulse, beat
from tests.support.clock import FakeClock


def test_idle_polls_slow_down_to_the_longest_interval(clock: FakeClock) -> None:
    appetite = Appetite(clock, poll_seconds=4, poll_seconds_max=10)
    assert appetite.seconds() <= 0
    waits = []
    for _ in range(5):
        appetite.asked()
        waits.append(appetite.seconds())
        appetite.fed(0, 1, None)
    for wait, longest in zip(waits, [4, 4 * SLOWDOWN, 4 * SLOWDOWN**2, 10, 10], strict=True):
        assert min(longest, 10) * (1 - JITTER) <= wait <= min(longest, 10)


def test_work_or_a_wake_up_brings_the_short_interval_back(clock: FakeClock) -> None:
    appetite = Appetite(clock, poll_seconds=4, poll_seconds_max=100)
    for _ in range(6):
        appetite.asked()
        appetite.fed(0, 1, None)
    appetite.whet()
    assert appetite.seconds() <= 0
    appetite.asked()
    assert appetite.seconds() <= 4


def test_waiting_work_is_asked_for_when_it_comes_due(clock: FakeClock) -> None:
    appetite = Appetite(clock, poll_seconds=3600, poll_seconds_max=3600)
    appetite.asked()
    appetite.fed(0, 1, clock.now() + timedelta(seconds=2))
    assert appetite.seconds() == 2
    clock.advance(2)
    assert appetite.seconds() <= 0


def test_a_worker_doubts_its_registration_before_others_may_close_its_runs() -> None:
    pulse = Pulse(5.0, now=100.0)
    pulse.sent(beat(runs=1, is_draining=False, processed=0, current_job_id=3), now=105.0)
    pulse.renewed(sent_at=105.0)
    assert pulse.due_at == 110.0
    assert 105.0 + 3 * 5 < pulse.fence_at < 105.0 + 4 * 5


def test_only_a_change_that_others_see_is_news() -> None:
    pulse = Pulse(5.0, now=0.0)
    assert not pulse.is_news(beat(runs=0, is_draining=False, processed=3, current_job_id=None))
    busy = beat(runs=1, is_draining=False, processed=3, current_job_id=8)
    assert pulse.is_news(busy)
    pulse.sent(busy, now=1.0)
    assert not pulse.is_news(busy)
    assert beat(runs=1, is_draining=True, processed=3, current_job_id=8).status is WorkerStatus.DRAINING
