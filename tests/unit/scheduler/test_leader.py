"""The lease: one leader at a time, trusted for less than its length, given up on doubt."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta

import pytest

from jobsup.errors import DatabaseUnavailableError
from jobsup.runtime import procs
from jobsup.scheduler import identity
from jobsup.scheduler.leader import Leader
from jobsup.store import leases
from jobsup.store.engine import Database
from tests.support.store import START, FakeClock, connect

LEASE = timedelta(seconds=8)
Make = Callable[..., Leader]


@pytest.fixture
def leader_on(db: Database, clock: FakeClock) -> Iterator[Make]:
    """Make schedulers' parts in the election, each on its own connection to one database."""
    opened: list[Database] = []

    def make(holder: str, *, dead: Sequence[str] = ()) -> Leader:
        database = connect(db)
        opened.append(database)
        return Leader(database, clock, holder=holder, node="here", duration=LEASE, is_dead=lambda other: other in dead)

    yield make
    for database in opened:
        database.close()


def test_the_first_leads_and_the_second_stands_by_until_the_lease_passes(leader_on: Make, clock: FakeClock) -> None:
    first, second = leader_on("first"), leader_on("second")
    first.attend()
    second.attend()
    assert first.lease is not None
    assert first.lease.epoch == 1
    assert second.lease is None
    assert 8 <= second.seconds_left < 8.1

    clock.advance(second.seconds_left)
    second.attend()
    assert second.lease is not None
    assert second.lease.epoch == 2


def test_a_leader_renews_at_a_third_of_its_lease_and_stays(leader_on: Make, clock: FakeClock) -> None:
    first, second = leader_on("first"), leader_on("second")
    for _ in range(12):
        first.attend()
        second.attend()
        assert first.lease is not None
        assert first.seconds_left == pytest.approx(8 / 3)
        assert second.lease is None
        clock.advance(8 / 3)


def test_a_lease_is_trusted_for_less_than_its_length(leader_on: Make, clock: FakeClock) -> None:
    first = leader_on("first")
    first.attend()
    clock.advance(5.9)
    assert first.lease is not None
    clock.advance(0.2)
    assert first.lease is None


def test_a_frozen_leader_finds_its_term_over(leader_on: Make, clock: FakeClock) -> None:
    first, second = leader_on("first"), leader_on("second")
    first.attend()
    clock.advance(9)
    second.attend()
    assert second.lease is not None
    first.attend()
    assert first.lease is None


def test_a_leader_that_lost_its_lease_unseen_steps_down_at_its_renewal(
    leader_on: Make, db: Database, clock: FakeClock
) -> None:
    first = leader_on("first")
    first.attend()
    assert leases.acquire(db, "second", "here", LEASE, is_dead=lambda _: True)
    clock.advance(first.seconds_left)
    first.attend()
    assert first.lease is None


def test_a_leader_whose_database_does_not_answer_stops_leading_in_time(
    leader_on: Make, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = leader_on("first")
    first.attend()

    def fail(*_: object) -> None:
        raise DatabaseUnavailableError("no answer")

    monkeypatch.setattr(leases, "renew", fail)
    clock.advance(first.seconds_left)
    with pytest.raises(DatabaseUnavailableError):
        first.attend()
    assert first.lease is not None
    clock.advance(3.5)
    assert first.lease is None
    monkeypatch.undo()
    first.attend()
    assert first.lease is not None
    assert first.lease.epoch == 2


def test_a_resignation_is_followed_at_the_next_look(leader_on: Make, clock: FakeClock) -> None:
    first, second = leader_on("first"), leader_on("second")
    first.attend()
    second.attend()
    clock.advance(0.5)
    first.resign()
    assert first.lease is None
    second.look_now()
    second.attend()
    assert second.lease is not None
    assert second.predecessor_seen == START + timedelta(seconds=0.5)


def test_a_lease_that_could_not_be_renewed_is_not_given_back_either(
    leader_on: Make, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = leader_on("first")
    first.attend()
    clock.advance(7)

    def fail(*_: object) -> None:
        raise AssertionError("a database that does not answer would hold up the stop")

    monkeypatch.setattr(leases, "resign", fail)
    first.resign()
    assert first.lease is None


def test_a_resigned_leader_does_not_stand_again(leader_on: Make, clock: FakeClock) -> None:
    first = leader_on("first")
    first.attend()
    first.resign()
    clock.advance(60)
    first.attend()
    assert first.lease is None


def test_a_dead_predecessor_of_this_host_is_followed_at_once(leader_on: Make, clock: FakeClock) -> None:
    leader_on("first").attend()
    clock.advance(0.2)
    second = leader_on("second", dead=("first",))
    second.attend()
    assert second.lease is not None
    assert second.predecessor_seen == START


def test_a_standby_on_the_same_host_does_not_wait_for_a_dead_leaders_lease(leader_on: Make, clock: FakeClock) -> None:
    leader_on("first").attend()
    dead: list[str] = []
    second = leader_on("second", dead=dead)
    second.attend()
    clock.advance(1)
    second.attend()
    assert second.lease is None
    dead.append("first")
    clock.advance(1)
    second.attend()
    assert second.lease is not None


def test_a_clock_set_back_does_not_keep_a_dead_leaders_lease_alive(leader_on: Make, clock: FakeClock) -> None:
    first, second = leader_on("first"), leader_on("second")
    first.attend()
    clock.set(START - timedelta(hours=1))
    second.attend()
    assert second.lease is None
    assert second.seconds_left <= 8.1
    clock.advance(second.seconds_left)
    second.attend()
    assert second.lease is not None


def test_of_many_that_race_for_a_free_lease_one_wins(leader_on: Make) -> None:
    racers = [leader_on(f"racer-{n}") for n in range(8)]
    barrier = threading.Barrier(len(racers))

    def race(racer: Leader) -> None:
        barrier.wait()
        racer.attend()

    threads = [threading.Thread(target=race, args=(racer,)) for racer in racers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(racer.lease is not None for racer in racers) == 1


HERE = procs.HostIdentity("rack/7", "boot-1", "pid:[1]")


def test_a_holder_is_read_back_as_written_even_from_a_node_with_slashes() -> None:
    holder = identity.Holder(HERE, 4711, 99)
    assert identity.parse(str(holder)) == holder


def test_a_living_holder_is_not_dead_and_a_reused_pid_is() -> None:
    own = identity.own(HERE)
    assert own.pid == os.getpid()
    assert not identity.is_dead(str(own), HERE)
    assert identity.is_dead(str(identity.Holder(HERE, own.pid, own.started + 1)), HERE)


@pytest.mark.parametrize(
    "text", ["", "else", str(identity.Holder(procs.HostIdentity("rack/7", "boot-1", "pid:[2]"), 4711, 99))]
)
def test_of_a_holder_of_another_host_nothing_is_known(text: str) -> None:
    assert not identity.is_dead(text, HERE)
