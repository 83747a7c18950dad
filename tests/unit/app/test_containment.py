"""How runs are held is decided once, and said."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import pytest

from jobsup.app import containment, places
from jobsup.runtime import procs
from jobsup.runtime.cgroups import Groups
from tests.support.cgroups import place, why_not


def test_no_groups_are_looked_for_where_the_configuration_says_none() -> None:
    assert containment.settle("none", "tag") is None


def test_a_place_that_cannot_be_had_is_an_error_in_the_log_and_not_the_end(caplog: pytest.LogCaptureFixture) -> None:
    assert containment.settle("/proc/no/such", "tag") is None
    assert "Runs have no control groups of their own: /proc/no/such" in caplog.text


def test_the_limits_that_hold_are_named() -> None:
    assert containment.words(None) == "sessions and the process table"
    assert containment.words(Groups("/x")) == "control groups (no limits: no controllers)"
    assert containment.words(Groups("/x", frozenset(("cpu", "memory")))) == "control groups (memory, cpu)"


@pytest.mark.skipif(bool(why_not()), reason=why_not())
def test_what_dead_roles_left_in_their_groups_is_ended_and_what_lives_is_not() -> None:
    with place() as groups:
        base = Path(groups.path).parent
        namespace = procs.pid_namespace()
        dead = Groups(str(base / containment.group_name(f"alone/worker/{namespace}/{2**22 - 1}/1")))
        living = Groups(str(base / containment.group_name(places.alone_tag("worker"))))
        supervised = Groups(str(base / containment.group_name("0123456789abcdef")))
        left = subprocess.Popen(["sleep", "300"])
        dead.make_folder()
        dead.make("1.0").add(left.pid)
        for each in (living, supervised):
            each.make_folder()
        assert containment.sweep_alone(groups) == 1
        assert left.wait(5) == -signal.SIGKILL
        assert not Path(dead.path).exists()
        for each in (living, supervised):
            assert Path(each.path).is_dir()
            each.remove()
    assert containment.sweep_alone(None) == 0
