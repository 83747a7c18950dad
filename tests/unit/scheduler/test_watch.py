"""Since when nobody was away: what separates a late tick from a missed one."""

from __future__ import annotations

from datetime import timedelta

from jobsup.scheduler.watch import Watch
from tests.support.clock import START

ALLOWED = timedelta(seconds=5)


def after(seconds: float):
    return START + timedelta(seconds=seconds)


def test_the_first_term_watches_from_its_begin() -> None:
    watch = Watch()
    watch.begin(START, None, ALLOWED)
    assert watch.since == START


def test_a_quick_handover_goes_on_where_the_last_leader_was_seen() -> None:
    watch = Watch()
    watch.begin(START, after(-4), ALLOWED)
    assert watch.since == after(-4)


def test_a_slow_handover_is_down_time() -> None:
    watch = Watch()
    watch.begin(START, after(-6), ALLOWED)
    assert watch.since == START


def test_the_time_a_start_takes_is_watched() -> None:
    watch = Watch(after(-3))
    watch.begin(START, None, ALLOWED)
    assert watch.since == after(-3)


def test_a_start_long_ago_says_nothing_of_the_time_before_a_restart() -> None:
    watch = Watch(after(-3600))
    watch.begin(START, None, ALLOWED)
    assert watch.since == START


def test_a_lapse_begins_the_watch_anew() -> None:
    watch = Watch()
    watch.begin(START, None, ALLOWED)
    watch.look(after(9))
    assert watch.since == START
    watch.look(after(3600))
    assert watch.since == after(3600)


def test_a_clock_set_back_begins_the_watch_anew() -> None:
    watch = Watch()
    watch.begin(START, None, ALLOWED)
    watch.look(after(-3600))
    assert watch.since == after(-3600)


def test_a_standby_watches_nothing() -> None:
    watch = Watch()
    watch.begin(START, None, ALLOWED)
    watch.end()
    watch.look(after(60))
    assert watch.since is None
