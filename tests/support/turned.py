"""A scheduler whose loop a test turns by hand, on a clock that it moves, and what is heard of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

import pytest

from jobsup import events
from jobsup.config.settings import Config, DatabaseSettings, SchedulerSettings, SupervisorSettings
from jobsup.model import ScheduleSpec
from jobsup.runtime.link import AloneLink
from jobsup.runtime.service import Loop
from jobsup.scheduler.service import SchedulerService
from jobsup.store import jobs, leases
from jobsup.store.engine import Database
from tests.support.store import (
    START,
    FakeClock,
    dispatches_of,
)

EVERY_MINUTE = ScheduleSpec(every=timedelta(minutes=1))
HOUR = timedelta(hours=1)


def every_minute(past_seconds: int) -> ScheduleSpec:
    return ScheduleSpec(every=timedelta(minutes=1), anchor=START + timedelta(seconds=past_seconds))


class Turned:
    """A scheduler whose loop the test turns."""

    def __init__(self, db: Database, clock: FakeClock, **settings: Any) -> None:
        self.clock = clock
        self.loop = Loop()
        self.said: list[dict[str, Any]] = []
        link = AloneLink("scheduler")
        link.say = lambda **message: self.said.append(message)  # type: ignore[method-assign]
        config = Config(
            path="jobsup.toml",
            database=DatabaseSettings(url=str(db.url), synchronous="off"),
            supervisor=SupervisorSettings(node="here"),
            scheduler=SchedulerSettings(**{"poll_interval": HOUR, **settings}),
        )
        self.service = SchedulerService(config, link, instance="test", clock=clock)
        self.facts = self.service.start(self.loop)

    def turn(self, seconds: float = 0.0) -> float:
        """Let time pass, hear what is watched, poll once; returns how long it wants to sleep."""
        self.clock.advance(seconds)
        self.loop.turn(0)
        return self.service.poll()

    def run_to(self, instant: datetime) -> None:
        """Turn the loop as the real one would, sleeping exactly as long as it asks for."""
        while (left := (instant - self.clock.now()).total_seconds()) > 0:
            self.turn(min(left, max(self.service.poll(), 0.001)))
        self.service.poll()

    def close(self) -> None:
        self.service.close()
        with suppress(OSError):
            self.loop.close()


@pytest.fixture
def scheduler(db: Database, clock: FakeClock) -> Iterator[Callable[..., Turned]]:
    started: list[Turned] = []

    def make(**settings: Any) -> Turned:
        started.append(Turned(db, clock, **settings))
        return started[-1]

    yield make
    for one in started:
        one.close()


@pytest.fixture
def told() -> Iterator[list[tuple[str, dict[str, Any]]]]:
    """All events, as they happen."""
    found: list[tuple[str, dict[str, Any]]] = []
    end = events.subscribe(lambda name, fields: found.append((name, fields)))
    yield found
    end()


def statuses(db: Database, job: jobs.JobFacts) -> list[tuple[str, str]]:
    return [(row["status"], row["reason"]) for row in dispatches_of(db, job)]


def other_leader(db: Database, until: timedelta = timedelta(seconds=8)) -> None:
    """Have a scheduler of another host hold the lease."""
    assert leases.acquire(db, "there/boot/pid:[9]/7/7", "there", until)
