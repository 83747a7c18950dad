"""How a run's end is judged from what its process, its group and we ourselves did."""

from __future__ import annotations

import signal
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from jobsup.model import Claim, JobKind, JobSpec, Reason, Source, Status
from jobsup.runtime.cgroups import Group
from jobsup.worker.command import Spawned, Start
from jobsup.worker.confinement import Confinement
from jobsup.worker.output import Capture
from jobsup.worker.run import Cause, Exit, Run, is_killed, result_of
from jobsup.worker.shortage import Shortage

NOW = datetime(2026, 5, 1, tzinfo=UTC)


def ended(ending: Exit, cause: Cause | None = None, **spec: Any) -> Run:
    claim = Claim(1, 1, JobSpec("j", JobKind.COMMAND, command="true", **spec), "h", Source.MANUAL, 0, None, {})
    return Run(claim, Capture(1, 1024), 10, None, NOW, 0.0, None, exit=ending, cause=cause)


def test_a_run_the_kernel_ended_for_want_of_memory_says_so_instead_of_its_signal() -> None:
    result = result_of(ended(Exit(NOW, signal=signal.SIGKILL, out_of_memory="ran out of memory")))
    assert (result.status, result.reason, result.error_message) == (Status.FAILED, Reason.OOM, "ran out of memory")
    assert result.signal == signal.SIGKILL


def test_a_run_that_coped_with_the_loss_of_a_process_has_completed() -> None:
    result = result_of(ended(Exit(NOW, code=0, out_of_memory="ran out of memory")))
    assert (result.status, result.reason) == (Status.COMPLETED, Reason.NONE)


def test_what_we_did_ourselves_comes_before_what_the_kernel_did() -> None:
    cause = Cause(Status.TIMEOUT, Reason.DEADLINE, "ran too long")
    result = result_of(ended(Exit(NOW, signal=signal.SIGKILL, out_of_memory="ran out of memory"), cause))
    assert (result.status, result.reason) == (Status.TIMEOUT, Reason.DEADLINE)


class Ended:
    """A process that has ended."""

    def __init__(self, returncode: int) -> None:
        self.returncode = returncode


def test_the_groups_count_and_peak_tell_of_memory_and_its_limit(tmp_path: Path) -> None:
    (tmp_path / "memory.events").write_text("max 3\noom 1\noom_kill 1\n")
    (tmp_path / "memory.peak").write_text(f"{64 << 20}\n")
    start = Start(("true",), "/", {}, confinement=Confinement(memory_max=64 << 20))
    spawned = Spawned(Ended(-9), start, Group(str(tmp_path), frozenset(("memory",))))  # type: ignore[arg-type]
    assert spawned.ran_out_of_memory() == "ran out of memory: its memory_max is 64MiB, at its peak it had 64 MiB"
    assert spawned.ran_out_of_memory() == ""


@pytest.mark.parametrize(("returncode", "is_blamed"), [(-9, True), (137, True), (1, False), (-15, False)])
def test_a_plain_run_is_blamed_only_when_it_was_killed(tmp_path: Path, returncode: int, is_blamed: bool) -> None:
    (tmp_path / "memory.events").write_text("oom_kill 1\n")
    start = Start(("true",), "/", {})
    start.grouping._own = Group(str(tmp_path), frozenset(("memory",)))
    assert bool(Spawned(Ended(returncode), start).ran_out_of_memory()) is is_blamed  # type: ignore[arg-type]


def test_a_shortage_of_the_machine_is_remembered_by_when_its_count_grew(tmp_path: Path) -> None:
    vmstat = tmp_path / "vmstat"
    vmstat.write_text("nr_free_pages 5\noom_kill 3\n")
    shortage = Shortage(str(vmstat))
    assert not shortage.was_since(10.0, now=20.0)
    vmstat.write_text("oom_kill 4\n")
    shortage.look(30.0)
    assert shortage.was_since(25.0, now=40.0)
    assert not shortage.was_since(31.0, now=40.0)
    vmstat.unlink()
    assert not shortage.was_since(41.0, now=50.0)


@pytest.mark.parametrize(
    ("ending", "is_so"),
    [
        (Exit(NOW, signal=signal.SIGKILL), True),
        (Exit(NOW, code=137), True),
        (Exit(NOW, signal=signal.SIGTERM), False),
        (Exit(NOW, signal=signal.SIGKILL, out_of_memory="ran out of memory"), False),
    ],
)
def test_only_a_kill_that_nobody_explains_is_put_down_to_the_machine(ending: Exit, is_so: bool) -> None:
    assert is_killed(ending) is is_so
