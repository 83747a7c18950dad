"""A reload replaces what changed and nothing else, and a bad one changes nothing at all."""

from __future__ import annotations

import os
import signal
from typing import Any

from jobsup.errors import ExitCode


def test_reload_that_changes_no_child_keeps_every_pid(make_toy: Any) -> None:
    toy = make_toy(scheduler={}, worker={"count": 2}).start()
    before = toy.pids("scheduler") + toy.pids("worker")
    toy.write({"scheduler": {}, "worker": {"count": 2}, "note": "a job changed"})
    lines: list[str] = []

    answer = toy.call({"do": "reload"}, lines.append)

    assert (answer["exit_code"], answer["generation"], answer["replaced"]) == (0, 2, [])
    assert lines == ["note: a job changed", "applied"]
    assert toy.pids("scheduler") + toy.pids("worker") == before
    assert toy.status()["supervisor"]["generation"] == 2


def test_reload_replaces_only_the_kind_that_changed_and_says_which_pids(make_toy: Any) -> None:
    toy = make_toy(scheduler={}, worker={"count": 2}).start()
    scheduler, workers = toy.pid_of("scheduler"), toy.pids("worker")
    toy.write({"scheduler": {}, "worker": {"count": 2, "version": "2"}})

    answer = toy.call({"do": "reload"})

    assert answer["exit_code"] == 0
    assert [entry["old_pid"] for entry in answer["replaced"]] == workers
    toy.until(lambda: len(toy.pids("worker")) == 2)
    assert toy.pids("worker") == [entry["new_pid"] for entry in answer["replaced"]]
    assert toy.pid_of("scheduler") == scheduler


def test_new_child_is_ready_before_the_old_one_is_asked_to_leave(make_toy: Any) -> None:
    toy = make_toy(worker={}).start()
    old = toy.pid_of("worker")
    toy.write({"worker": {"version": "2"}})

    toy.call({"do": "reload"})
    toy.until(lambda: f"pid {old}) ended" in toy.log)

    log = toy.log
    assert log.rindex("worker-1 is ready") < log.index(f"worker-1[{old}] worker-1: draining")


def test_broken_file_is_refused_with_every_problem_and_exit_code_7_and_changes_nothing(make_toy: Any) -> None:
    toy = make_toy(scheduler={}, worker={"count": 2}).start()
    before = toy.pids("scheduler") + toy.pids("worker")
    toy.write("{ this is no JSON")
    lines: list[str] = []

    answer = toy.call({"do": "reload"}, lines.append)

    assert answer["exit_code"] == ExitCode.CONFIG
    assert lines[:2] == ["first problem", "second problem"]
    assert "goes on unchanged" in answer["error"]
    status = toy.status()
    assert (status["state"], status["supervisor"]["generation"]) == ("running", 1)
    assert status["supervisor"]["last_reload"]["exit_code"] == ExitCode.CONFIG
    assert toy.pids("scheduler") + toy.pids("worker") == before


def test_first_new_child_that_fails_stops_the_roll_and_the_old_ones_stay(make_toy: Any) -> None:
    toy = make_toy(scheduler={}, worker={"count": 2}).start()
    before = toy.pids("worker")
    toy.write({"scheduler": {}, "worker": {"count": 2, "does": "crash"}})

    answer = toy.call({"do": "reload"})

    assert answer["exit_code"] == 1
    assert "the new worker-1 did not get ready: exit code 3; the old ones stay" in answer["error"]
    assert toy.pids("worker") == before
    assert toy.status()["supervisor"]["generation"] == 1
    assert len(toy.spawns("worker")) == 3
    os.kill(before[0], signal.SIGKILL)  # its replacement is of the old generation, which works
    toy.until(lambda: len(toy.pids("worker")) == 2)


def test_new_child_that_is_not_ready_in_time_stops_the_roll(make_toy: Any) -> None:
    toy = make_toy(worker={}).start()
    before = toy.pids("worker")
    toy.write({"worker": {"does": "never_ready", "boot_timeout": 0.3}})

    answer = toy.call({"do": "reload"})

    assert answer["exit_code"] == 1
    assert "not ready after 0.3 s" in answer["error"]
    assert toy.pids("worker") == before


def test_new_kinds_start_and_removed_kinds_leave(make_toy: Any) -> None:
    toy = make_toy(scheduler={}, worker={}).start()
    toy.write({"scheduler": {}, "portal": {}})

    answer = toy.call({"do": "reload"})

    assert answer["exit_code"] == 0
    toy.until(lambda: not toy.children("worker"))
    assert len(toy.pids("portal")) == 1
    toy.until(lambda: toy.state() == "running")


def test_count_in_the_file_scales_without_replacing_anybody(make_toy: Any) -> None:
    toy = make_toy(worker={"count": 2}).start()
    before = toy.pids("worker")

    toy.write({"worker": {"count": 4}})
    toy.call({"do": "reload"})
    toy.until(lambda: len(toy.pids("worker")) == 4)
    assert toy.pids("worker")[:2] == before

    toy.write({"worker": {"count": 1}})
    toy.call({"do": "reload"})
    toy.until(lambda: toy.pids("worker") == before[:1])


def test_dry_run_shows_the_lines_and_changes_nothing(make_toy: Any) -> None:
    toy = make_toy(worker={}).start()
    before = toy.pids("worker")
    toy.write({"worker": {"version": "2"}, "note": "only a look"})
    lines: list[str] = []

    answer = toy.call({"do": "reload", "dry_run": True}, lines.append)

    assert (answer["exit_code"], answer["generation"]) == (0, 1)
    assert lines == ["note: only a look"]
    assert toy.pids("worker") == before


def test_failing_apply_is_the_result_of_the_reload(make_toy: Any) -> None:
    toy = make_toy(worker={}).start()
    toy.write({"worker": {}, "note": "cannot be applied"})

    answer = toy.call({"do": "reload"})

    assert answer["exit_code"] == 1
    assert "the apply step failed" in answer["error"]
    assert toy.state() == "running"


def test_hang_up_signal_reloads(make_toy: Any) -> None:
    toy = make_toy(worker={}).start()
    old = toy.pid_of("worker")
    toy.write({"worker": {"version": "2"}})

    toy.signal(signal.SIGHUP)

    toy.until(lambda: toy.status()["supervisor"]["generation"] == 2)
    toy.until(lambda: toy.pids("worker") and toy.pid_of("worker") != old)


def test_stop_during_a_reload_ends_both(make_toy: Any) -> None:
    toy = make_toy(worker={}).start()
    toy.write({"worker": {"does": "never_ready", "boot_timeout": 30}})
    toy.signal(signal.SIGHUP)
    toy.until(lambda: toy.state() == "reloading" and len(toy.children("worker")) == 2)

    toy.signal(signal.SIGTERM)

    assert toy.wait(5) == 0
    assert toy.survivors() == []


def test_restart_keeps_the_pid_and_gets_new_children(make_toy: Any) -> None:
    toy = make_toy(worker={}).start()
    pid, old = toy.pid, toy.pid_of("worker")

    answer = toy.call({"do": "restart"})

    assert (answer["exit_code"], answer["restarting"]) == (0, True)
    toy.until(lambda: toy.state() == "running")
    assert toy.status()["supervisor"]["pid"] == pid
    assert toy.pid_of("worker") != old


def test_restart_with_a_broken_file_is_refused_and_everything_goes_on(make_toy: Any) -> None:
    toy = make_toy(worker={}).start()
    before = toy.pids("worker")
    toy.write("broken")

    answer = toy.call({"do": "restart"})

    assert answer["exit_code"] == ExitCode.CONFIG
    assert toy.pids("worker") == before
    assert toy.state() == "running"


def test_broken_file_at_the_first_start_ends_it_with_every_problem_and_exit_code_7(make_toy: Any) -> None:
    toy = make_toy()
    toy.write("broken")

    assert toy.launch().wait() == ExitCode.CONFIG

    assert "jobsup: first problem\njobsup: second problem\n" in toy.log
    assert "Traceback" not in toy.log
    assert toy.survivors() == []
    assert not toy.socket.exists()
