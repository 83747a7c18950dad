"""A server's clock as reckoned here: right within what its best answer allows, whatever slow answers say."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from jobsup.clock import ServerClock, SystemClock

START = datetime(2030, 1, 1, tzinfo=UTC)


class Machine(SystemClock):
    """A machine whose clocks the test sets; the server's is 100 s ahead of it."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def now(self) -> datetime:
        return START + timedelta(seconds=self.seconds - 1000)

    def boottime(self) -> float:
        return self.seconds

    def server(self, at: float) -> datetime:
        return START + timedelta(seconds=at - 1000 + 100)


@pytest.fixture
def machine() -> Machine:
    return Machine()


def wrong_by(clock: ServerClock, machine: Machine) -> float:
    return abs((clock.now() - machine.server(machine.seconds)).total_seconds())


def ask(clock: ServerClock, machine: Machine, took: float, *, answered_after: float) -> None:
    asked_at = machine.seconds
    machine.seconds += took
    clock.read(machine.server(asked_at + answered_after), asked_at, machine.seconds)


def test_a_slow_answer_does_not_spoil_what_a_quick_one_told(machine: Machine) -> None:
    clock = ServerClock(machine)
    ask(clock, machine, 0.002, answered_after=0.001)
    machine.seconds += 20
    ask(clock, machine, 2.0, answered_after=1.99)
    assert wrong_by(clock, machine) < 0.01
    assert clock.skew is not None
    assert abs(clock.skew.total_seconds() - 100) < 0.01
    assert clock.age == 0


def test_a_quick_answer_mends_what_a_slow_one_told_and_is_asked_for_soon(machine: Machine) -> None:
    clock = ServerClock(machine)
    ask(clock, machine, 2.0, answered_after=1.99)
    assert wrong_by(clock, machine) > 0.9
    machine.seconds += 1.5
    assert clock.age > 10, "not only when a good reading would be old"
    ask(clock, machine, 0.002, answered_after=0.001)
    assert wrong_by(clock, machine) < 0.01
    machine.seconds += 1.5
    assert clock.age < 10


def test_an_answer_that_contradicts_what_is_known_is_believed(machine: Machine) -> None:
    clock = ServerClock(machine)
    ask(clock, machine, 0.002, answered_after=0.001)
    asked_at = machine.seconds
    machine.seconds += 2.0
    clock.read(machine.server(asked_at + 1.0) + timedelta(hours=1), asked_at, machine.seconds)
    assert abs(wrong_by(clock, machine) - 3600) < 1.1, "the server's own clock was set, or it is another server"
