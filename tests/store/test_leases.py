"""The leader's lease: one holder, growing terms, and nothing but the exact term renewed or resigned."""

from __future__ import annotations

import threading
from datetime import timedelta

from jobsup.model import Lease
from jobsup.store import leases
from jobsup.store.engine import Database
from tests.support.clock import FakeClock
from tests.support.store import connect

TERM = timedelta(seconds=8)


def take(db: Database, holder: str) -> Lease | None:
    return leases.acquire(db, holder, "here", TERM)


def test_the_first_to_ask_leads_and_the_second_does_not(db: Database) -> None:
    first = take(db, "a")
    assert first is not None
    assert first.epoch == 1
    assert take(db, "b") is None


def test_an_expired_lease_is_taken_with_a_new_term(db: Database, clock: FakeClock) -> None:
    take(db, "a")
    clock.advance(8)
    second = take(db, "b")
    assert second is not None
    assert second.epoch == 2


def test_renewal_prolongs_only_the_own_term(db: Database, clock: FakeClock) -> None:
    old = take(db, "a")
    assert old is not None
    clock.advance(5)
    renewed = leases.renew(db, old, TERM)
    assert renewed is not None
    assert renewed.until == clock.now() + TERM
    clock.advance(9)
    assert take(db, "b") is not None
    assert leases.renew(db, renewed, TERM) is None


def test_a_resigned_lease_is_free_at_once_and_a_late_resignation_harms_nobody(db: Database) -> None:
    old = take(db, "a")
    assert old is not None
    leases.resign(db, old)
    new = take(db, "b")
    assert new is not None
    leases.resign(db, old)
    assert leases.renew(db, new, TERM) is not None


def test_a_dead_holder_is_replaced_before_its_lease_ends(db: Database) -> None:
    take(db, "a")
    assert leases.acquire(db, "b", "here", TERM, is_dead=lambda holder: holder == "c") is None
    assert leases.acquire(db, "b", "here", TERM, is_dead=lambda holder: holder == "a") is not None


def test_of_many_that_want_a_free_lease_at_once_one_gets_it(db: Database) -> None:
    start, got = threading.Barrier(6), []

    def ask(number: int) -> None:
        own = connect(db)
        start.wait()
        got.append(take(own, f"holder-{number}"))
        own.close()

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert len(got) == 6
    assert sum(lease is not None for lease in got) == 1


def test_a_standby_is_known_as_long_as_it_is_heard_of_and_never_leads_by_that(db: Database, clock: FakeClock) -> None:
    leases.stand_by(db, "one", TERM)
    leases.stand_by(db, "n" * 255, TERM)
    clock.advance(7)
    leases.stand_by(db, "one", TERM)
    assert leases.standing_by(db) == ["n" * 255, "one"]
    clock.advance(7)
    assert leases.standing_by(db) == ["one"]
    assert leases.current(db) is None
    assert take(db, "a") is not None
