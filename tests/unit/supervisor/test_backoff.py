"""When an ended child starts again, reckoned without waiting for it."""

from __future__ import annotations

import random

import pytest

from jobsup.supervisor.backoff import (
    BASE_SECONDS,
    CAP_SECONDS,
    DEGRADED_FAILURES,
    HEALTHY_SECONDS,
    PROBE_SECONDS,
    Backoff,
    Bucket,
    Rest,
)
from jobsup.supervisor.child import LIFE, Event, State

PLENTY = 1000.0


def simulate(kinds: int, slots: int, seconds: float, seed: int) -> int:
    """Count the starts of slots that crash as soon as they start."""
    rng = random.Random(seed)
    starts = 0
    for _ in range(kinds):
        bucket = Bucket(0.0)
        backoffs = [Backoff(bucket, random.Random(rng.random())) for _ in range(slots)]
        due = dict.fromkeys(range(slots), 0.0)
        while (now := min(due.values())) < seconds:
            slot = min(due, key=due.__getitem__)
            starts += 1
            due[slot] = now + 0.001 + backoffs[slot].ended(now, None).delay
    return starts


@pytest.mark.parametrize("seed", range(50))
@pytest.mark.parametrize(("kinds", "slots"), [(1, 2), (2, 1)])
def test_two_crashing_slots_start_at_most_20_times_in_10_seconds(kinds: int, slots: int, seed: int) -> None:
    assert simulate(kinds, slots, 10.0, seed) <= 20


@pytest.mark.parametrize("seed", range(5))
def test_a_hundred_crashing_slots_start_little_more_than_twice_each_at_first(seed: int) -> None:
    assert simulate(1, 100, 10.0, seed) <= 2 * 100 + 10


def test_first_restart_is_at_once_and_later_ones_wait_ever_longer_up_to_a_cap() -> None:
    backoff = Backoff(Bucket(0.0, tokens=PLENTY), random.Random(1))

    delays = [backoff.ended(0.0, None).delay for _ in range(DEGRADED_FAILURES)]

    assert delays[0] == 0.0
    for failures, delay in enumerate(delays[1:], 2):
        assert 0.0 <= delay <= min(CAP_SECONDS, BASE_SECONDS * 2.0 ** (failures - 2))


def test_many_failures_in_a_row_are_degraded_and_probed_slowly() -> None:
    backoff = Backoff(Bucket(0.0, tokens=PLENTY))
    for _ in range(DEGRADED_FAILURES):
        assert backoff.ended(0.0, None).rest is Rest.WAITING

    verdict = backoff.ended(0.0, None)

    assert verdict.rest is Rest.DEGRADED
    assert PROBE_SECONDS / 2 <= verdict.delay <= PROBE_SECONDS


def test_health_counts_from_readiness_and_forgives_the_past() -> None:
    backoff = Backoff(Bucket(0.0, tokens=PLENTY))
    for _ in range(5):
        backoff.ended(0.0, None)

    backoff.ended(100.0, 100.0 - HEALTHY_SECONDS + 1)
    assert backoff.failures == 6
    assert backoff.ended(300.0, 300.0 - HEALTHY_SECONDS).delay == 0.0
    assert backoff.failures == 1


def test_configuration_fault_is_only_probed() -> None:
    verdict = Backoff(Bucket(0.0)).ended(0.0, None, is_config_fault=True)

    assert (verdict.rest, verdict.delay) == (Rest.CONFIG_FAULT, PROBE_SECONDS)


@pytest.mark.parametrize("state", [state for state in State if state is not State.GONE])
def test_every_living_child_can_be_killed_and_can_end(state: State) -> None:
    assert LIFE[(state, Event.ENDED)] is State.GONE
    assert state is State.KILLED or LIFE[(state, Event.KILL)] is State.KILLED


def test_nothing_happens_to_a_child_that_is_gone_and_every_state_is_reached() -> None:
    assert not [event for event in Event if (State.GONE, event) in LIFE]
    assert set(LIFE.values()) | {State.STARTING} == set(State)


@pytest.mark.parametrize("state", [State.DRAINING, State.CANCELLING, State.KILLED, State.HUNG])
def test_child_that_leaves_does_not_become_ready_again(state: State) -> None:
    assert (state, Event.SAID_READY) not in LIFE
