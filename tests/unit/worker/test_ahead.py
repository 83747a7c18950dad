"""How much work is taken ahead of a free slot."""

from __future__ import annotations

from jobsup.model import Claim, JobKind, JobSpec, Source
from jobsup.worker.ahead import (
    AHEAD_MAX,
    AHEAD_SECONDS_MAX,
    AHEAD_SECONDS_MIN,
    PACE_SECONDS,
    ROUND_SECONDS,
    ROUND_SECONDS_MAX,
    WAIT_SECONDS_MAX,
    Ahead,
)
from tests.support.clock import FakeClock


def claim(dispatch_id: int) -> Claim:
    return Claim(dispatch_id, 1, JobSpec("job", JobKind.COMMAND, command="true"), "hash", Source.MANUAL, 0, None, {})


def paced(ahead: Ahead, clock: FakeClock, per_second: float) -> None:
    """Let runs end at a pace for long enough to be known."""
    for _ in range(20):
        ahead.wanted()
        clock.advance(PACE_SECONDS)
        ahead.ended(round(per_second * PACE_SECONDS))


def test_nothing_is_taken_ahead_before_runs_have_ended_or_while_they_end_seldom(clock: FakeClock) -> None:
    ahead = Ahead(clock)
    assert ahead.wanted() == 0
    paced(ahead, clock, 10)
    assert ahead.wanted() == 0


def test_as_much_is_taken_ahead_as_ends_in_a_moment(clock: FakeClock) -> None:
    ahead = Ahead(clock)
    paced(ahead, clock, 1000)
    assert abs(ahead.wanted() - 1000 * AHEAD_SECONDS_MIN) <= 2
    for number in range(30):
        ahead.add(claim(number))
    assert abs(ahead.wanted() - (1000 * AHEAD_SECONDS_MIN - 30)) <= 2


def test_a_slow_database_is_asked_for_more_at_once_up_to_a_bound(clock: FakeClock) -> None:
    ahead = Ahead(clock)
    for _ in range(10):
        ahead.answered(3.0)
    paced(ahead, clock, 1000)
    assert abs(ahead.wanted() - 1000 * AHEAD_SECONDS_MAX) <= 5
    paced(ahead, clock, 1_000_000)
    assert ahead.wanted() == AHEAD_MAX


def test_when_runs_suddenly_last_all_that_waits_is_given_back_and_no_more_is_taken(clock: FakeClock) -> None:
    ahead = Ahead(clock)
    paced(ahead, clock, 1000)
    for number in range(3):
        ahead.add(claim(number))
    assert ahead.take().dispatch_id == 0
    clock.advance(WAIT_SECONDS_MAX / 2)
    assert ahead.overdue() == []
    clock.advance(WAIT_SECONDS_MAX / 2)
    assert [each.dispatch_id for each in ahead.overdue()] == [1, 2]
    assert (len(ahead), ahead.give_back_at, ahead.wanted()) == (0, None, 0)


def test_one_that_is_cancelled_is_taken_out(clock: FakeClock) -> None:
    ahead = Ahead(clock)
    for number in range(3):
        ahead.add(claim(number))
    withdrawn = ahead.withdraw(1)
    assert withdrawn is not None
    assert withdrawn.dispatch_id == 1
    assert ahead.withdraw(1) is None
    assert ahead.ids == [0, 2]


def test_calls_that_wait_behind_others_count_among_what_is_taken_ahead(clock: FakeClock) -> None:
    ahead = Ahead(clock)
    paced(ahead, clock, 1000)
    wanted = ahead.wanted()
    assert ahead.wanted(30) == wanted - 30
    assert ahead.wanted(1000) == 0


def test_what_has_lost_its_place_waits_before_all_others_and_no_longer_than_they(clock: FakeClock) -> None:
    ahead = Ahead(clock)
    ahead.add(claim(3))
    clock.advance(WAIT_SECONDS_MAX / 2)
    ahead.put_back(claim(2))
    ahead.put_back(claim(1))
    assert (ahead.first.dispatch_id, ahead.ids) == (1, [1, 2, 3])
    clock.advance(WAIT_SECONDS_MAX / 2)
    assert [each.dispatch_id for each in ahead.overdue()] == [1, 2, 3]


def test_rounds_that_take_long_are_made_seldom_up_to_a_bound(clock: FakeClock) -> None:
    ahead = Ahead(clock)
    assert ahead.round_every == ROUND_SECONDS
    for _ in range(20):
        ahead.answered(0.015)
    assert ROUND_SECONDS < ahead.round_every < ROUND_SECONDS_MAX
    for _ in range(20):
        ahead.answered(3.0)
    assert ahead.round_every == ROUND_SECONDS_MAX
