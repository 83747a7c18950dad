"""Processes that are none of ours are watched without asking for each of them."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobsup.runtime import procs
from jobsup.runtime.vigil import Process, Vigil


@pytest.fixture
def vigil() -> Iterator[Vigil]:
    made = Vigil()
    yield made
    made.close()


@pytest.fixture
def sleepers() -> Iterator[list[subprocess.Popen[bytes]]]:
    made = [subprocess.Popen(["sleep", "60"]) for _ in range(3)]
    yield made
    for process in made:
        process.kill()
        process.wait()


def that(process: subprocess.Popen[bytes]) -> Process:
    started = procs.start_time(process.pid)
    assert started is not None
    return process.pid, started


def test_the_end_of_any_is_seen_before_it_is_waited_for(vigil: Vigil, sleepers: list[subprocess.Popen[bytes]]) -> None:
    vigil.watch(map(that, sleepers))
    assert not vigil.has_ended
    sleepers[1].kill()
    os.waitid(os.P_PID, sleepers[1].pid, os.WEXITED | os.WNOWAIT)  # it lies there as a zombie
    assert vigil.has_ended
    vigil.watch([that(sleepers[0]), that(sleepers[2])])
    assert not vigil.has_ended


def test_one_that_is_not_watched_any_more_may_end(vigil: Vigil, sleepers: list[subprocess.Popen[bytes]]) -> None:
    vigil.watch(map(that, sleepers))
    vigil.watch([that(sleepers[0])])
    sleepers[1].kill()
    sleepers[1].wait()
    assert not vigil.has_ended


def test_one_that_had_gone_or_whose_pid_is_anothers_counts_as_ended(
    vigil: Vigil, sleepers: list[subprocess.Popen[bytes]]
) -> None:
    pid, started = that(sleepers[0])
    vigil.watch([(pid, started - 1)])
    assert vigil.has_ended
    vigil.watch([(pid, started)])
    assert not vigil.has_ended


def test_no_descriptor_is_left(sleepers: list[subprocess.Popen[bytes]]) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    vigil = Vigil()
    for some in (sleepers, sleepers[:1], sleepers):
        vigil.watch(map(that, some))
    vigil.close()
    vigil.close()
    assert len(list(Path("/proc/self/fd").iterdir())) == before
