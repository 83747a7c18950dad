"""Jobs that ask for a user, limits or ranks: what their process has when it begins, and what becomes of it."""

from __future__ import annotations

import grp
import os
import pwd
import re
import resource
import stat
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from jobsup.model import IoClass
from jobsup.runtime import procs
from tests.support.waiting import until
from tests.support.worker import Bench, working

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can run jobs as another user")


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with working(tmp_path_factory.mktemp("worker"), concurrency=4) as bench:
        yield bench
        assert bench.survivors() == [], bench.told()


def said(bench: Bench, run: int) -> dict[str, list[str]]:
    """Return the words of a run's lines by the first of each."""
    row = bench.until_ended(run)
    assert row["status"] == "COMPLETED", (row["error_message"], bench.output(run))
    lines = [line.split() for line in bench.output(run).decode().splitlines()]
    return {words[0].rstrip(":"): words[1:] for words in lines}


def is_sleeping(pid: int) -> bool:
    """Say whether a process has become the program `sleep`."""
    return Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"sleep")


STATUS = "grep -E '^(Uid|Gid|Groups|NoNewPrivs|Umask|SigIgn|SigBlk):' /proc/self/status; "


@pytest.mark.root
@needs_root
def test_a_job_of_another_user_has_that_users_rights_and_no_way_back(bench: Bench) -> None:
    nobody = pwd.getpwnam("nobody")
    files = "for fd in /proc/$$/fd/*; do [ -e $fd ] && echo fd-${fd##*/} $(readlink $fd); done; "
    found = said(bench, bench.run(command=STATUS + files + "echo home $HOME; echo shell $SHELL; id", user="nobody"))
    assert found["Uid"] == [str(nobody.pw_uid)] * 4
    assert found["Gid"] == [str(nobody.pw_gid)] * 4
    assert found["Groups"] == [str(group) for group in os.getgrouplist("nobody", nobody.pw_gid)]
    assert found["NoNewPrivs"] == ["1"]
    assert found["Umask"] == ["0077"]
    assert (found["home"], found["shell"]) == ([nobody.pw_dir], ["/bin/sh"])
    assert [int(found[name][0], 16) for name in ("SigIgn", "SigBlk")] == [0, 0]
    assert {name for name in found if name.startswith("fd-")} == {"fd-0", "fd-1", "fd-2"}
    assert found["fd-0"] == ["/dev/null"]
    assert f"uid={nobody.pw_uid}(nobody)" in found
    after = said(bench, bench.run(command="grep NoNewPrivs /proc/self/status"))
    assert after["NoNewPrivs"] == ["0"]  # the worker itself gave nothing up


def test_a_job_that_names_who_we_are_anyway_has_that_accounts_environment_and_no_wrapper(bench: Bench) -> None:
    ours = pwd.getpwuid(os.geteuid())
    command = (
        "echo home $HOME; echo user $USER; echo shell $SHELL; echo umask $(umask); grep NoNewPrivs /proc/$$/status"
    )
    found = said(bench, bench.run(command=command, user=ours.pw_name))
    assert (found["home"], found["user"], found["shell"]) == ([ours.pw_dir], [ours.pw_name], ["/bin/sh"])
    assert found["NoNewPrivs"] == ["0"]
    assert found["umask"] == said(bench, bench.run(command="echo umask $(umask)"))["umask"]


@pytest.mark.root
@needs_root
def test_a_group_stands_in_for_the_users_own_or_alone(bench: Bench) -> None:
    daemon, nobody = grp.getgrnam("daemon").gr_gid, pwd.getpwnam("nobody")
    both = said(bench, bench.run(command=STATUS, user="nobody", group="daemon", umask="027"))
    assert (both["Uid"], both["Gid"]) == ([str(nobody.pw_uid)] * 4, [str(daemon)] * 4)
    assert both["Umask"] == ["0027"]
    alone = said(bench, bench.run(command=STATUS, group="daemon"))
    assert (alone["Uid"], alone["Gid"], alone["Groups"]) == (["0"] * 4, [str(daemon)] * 4, [])


@pytest.mark.root
@needs_root
def test_no_library_of_the_job_is_loaded_while_it_still_has_the_workers_rights(bench: Bench) -> None:
    # The loader says which file it could not preload, and in which process: never in the wrapper.
    missing = str(bench.folder / "library.so")
    run = bench.run(command=("/bin/true",), user="nobody", env={"LD_PRELOAD": missing, "PYTHONPATH": missing})
    assert bench.until_ended(run)["status"] == "COMPLETED"
    assert bench.output(run).count(b"library.so") == 1


@pytest.mark.root
@needs_root
def test_a_job_of_another_user_dies_with_its_worker(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("worker")
    with working(folder) as bench:
        run = bench.run(command="exec sleep 300", user="nobody")
        bench.until_started(run)
        child = until(lambda: [pid for pid in procs.children(bench.pid) if is_sleeping(pid)], 5, "the job")[0]
        bench.process.kill()
        bench.process.join()
        until(lambda: not procs.is_alive(child, None), 1, "the job to die with its worker")


@pytest.mark.root
@needs_root
def test_a_folder_its_user_cannot_enter_is_told(bench: Bench) -> None:
    closed = bench.folder / "closed"
    closed.mkdir(mode=0o700)
    row = bench.until_ended(bench.run(command="true", user="nobody", cwd=str(closed)))
    assert (row["status"], row["reason"]) == ("FAILED", "not_runnable")
    assert row["error_message"] == f"its folder {closed} cannot be entered: Permission denied"


def test_limits_and_ranks_are_set_before_the_job_begins(bench: Bench) -> None:
    command = (
        "echo nofile $(ulimit -n) $(ulimit -Hn); echo cpu $(ulimit -t); echo fsize $(ulimit -f);"
        "echo core $(ulimit -c);"
        "echo data $(ulimit -d); echo nice $(nice); echo oom $(cat /proc/self/oom_score_adj); echo io $(ionice)"
    )
    found = said(
        bench,
        bench.run(
            command=command,
            limit_nofile=64,
            limit_cpu=timedelta(seconds=90),
            limit_fsize=1 << 20,
            limit_core=0,
            memory_max=256 << 20,
            nice=5,
            oom_score_adjust=300,
            io_scheduling_class=IoClass.BEST_EFFORT,
            io_scheduling_priority=6,
        ),
    )
    assert found["nofile"] == ["64", "64"]
    assert (found["cpu"], found["fsize"], found["core"]) == (["90"], ["2048"], ["0"])  # sh counts blocks of 512 bytes
    assert found["data"] == [str(256 << 10)]
    assert (found["nice"], found["oom"]) == (["5"], ["300"])
    assert found["io"] == ["best-effort:", "prio", "6"]


def test_a_job_that_asks_for_nothing_has_the_workers_limits_and_no_wrapper(bench: Bench) -> None:
    found = said(bench, bench.run(command="echo nofile $(ulimit -n); echo parent $PPID; echo umask $(umask)"))
    assert found["nofile"] == [str(resource.getrlimit(resource.RLIMIT_NOFILE)[0])]
    assert found["parent"] == [str(bench.pid)]


def test_what_a_wrapped_job_cannot_be_started_with_is_said_in_the_same_words(bench: Bench) -> None:
    not_executable, bad_first_line = bench.folder / "three", bench.folder / "four"
    not_executable.write_text("data")
    not_executable.chmod(0o600)
    bad_first_line.write_text("#!/no/such/interpreter\n")
    bad_first_line.chmod(stat.S_IRWXU)
    cases = {
        "cannot start /no/such/program: No such file or directory": {"command": ("/no/such/program",)},
        f"cannot start {not_executable}: Permission denied": {"command": (str(not_executable),)},
        f"cannot start {bad_first_line}: the interpreter its first line names does not exist": {
            "command": (str(bad_first_line),)
        },
        "its folder /no/such/folder does not exist": {"command": "true", "cwd": "/no/such/folder"},
        "cannot start /bin/true: its arguments and environment are too long for the kernel": {
            "command": ("/bin/true", "x" * (200 << 10))
        },
    }
    runs = {text: bench.run(**spec, nice=1, max_retries=3) for text, spec in cases.items()}
    for text, run in runs.items():
        row = bench.until_ended(run)
        assert (row["status"], row["reason"], row["error_message"]) == ("FAILED", "not_runnable", text)
        assert bench.execution(run) is None


def test_what_only_root_may_give_is_refused_with_its_name(bench: Bench) -> None:
    if os.geteuid() == 0:
        row = bench.until_ended(bench.run(command="true", group="no-such-group"))
        assert row["error_message"] == 'group "no-such-group" does not exist on this machine'
    else:
        row = bench.until_ended(bench.run(command="true", nice=-5))
        assert row["error_message"] == "cannot set nice: Permission denied"
    assert (row["status"], row["reason"]) == ("FAILED", "not_runnable")


def test_a_command_reads_the_text_it_is_given(bench: Bench) -> None:
    text = "first\nsecond é\n" + "x" * 200_000
    plain, wrapped = bench.run(command="cat", stdin=text), bench.run(command="cat", stdin=text, nice=1)
    for run in (plain, wrapped):
        assert bench.until_ended(run)["status"] == "COMPLETED"
        assert bench.output(run).decode() == text


def test_a_job_that_hogs_memory_fails_alone(bench: Bench) -> None:
    code = (
        "blocks = []\n"
        "try:\n"
        "    while True: blocks.append(bytearray(b'x') * (8 << 20))\n"
        "except MemoryError:\n"
        "    print('held', 8 * len(blocks)); raise"
    )
    run = bench.run(command=("/usr/bin/python3", "-c", code), memory_max=128 << 20)
    other = bench.run(command="sleep 0.5; echo fine")
    row = bench.until_ended(run)
    assert (row["status"], row["reason"]) == ("FAILED", "exit_code")
    held = re.search(rb"held (\d+)", bench.output(run))
    assert held is not None
    assert 0 < int(held[1]) <= 128
    assert b"MemoryError" in bench.output(run)
    assert bench.until_ended(other)["status"] == "COMPLETED"


@pytest.mark.root
@needs_root
def test_a_fork_bomb_stays_within_its_limit_and_dies_with_its_run(bench: Bench) -> None:
    # Of its own user, whom no other process on this machine has: the limit counts all that a user has.
    bomb = "bomb() { bomb | bomb & }; bomb; echo > /dev/null; sleep 60"
    run = bench.run(command=bomb, user="65123", tasks_max=40, timeout=timedelta(seconds=1), kill_grace=timedelta(0))
    row = bench.until_ended(run)
    assert "does not exist" in row["error_message"]  # an account it must be, so that it has a home and groups
    run = bench.run(command=bomb, user="games", tasks_max=40, timeout=timedelta(seconds=1), kill_grace=timedelta(0))
    bench.until_started(run)
    most = 0
    end = time.monotonic() + 0.7
    while time.monotonic() < end:
        most = max(most, len(bench.survivors()))
    other = bench.run(command="echo fine")
    assert bench.until_ended(other)["status"] == "COMPLETED"
    row = bench.until_ended(run)
    assert (row["status"], row["reason"]) == ("TIMEOUT", "deadline")
    assert most <= 40 + 2  # and the wrappers of the other runs
    until(lambda: bench.survivors() == [], 2, "the last of them to go")


V1_MEMORY = Path("/sys/fs/cgroup/memory")


@pytest.mark.root
@pytest.mark.skipif(
    not os.access(V1_MEMORY / "cgroup.procs", os.W_OK), reason="needs root and the memory controller of version 1"
)
def test_a_kill_by_the_kernel_for_want_of_memory_is_told_from_others(bench: Bench) -> None:
    group = V1_MEMORY / f"jobsup-tests-{os.getpid()}"
    group.mkdir()
    try:
        (group / "memory.limit_in_bytes").write_text(str(48 << 20))
        hog = "blocks = []\nwhile True: blocks.append(bytearray(b'x' * (4 << 20)))"
        command = f'echo $$ > {group}/cgroup.procs; exec /usr/bin/python3 -c "{hog}"'
        row = bench.until_ended(bench.run(command=command))
        assert (row["status"], row["reason"]) == ("FAILED", "signal")
        assert row["error_message"] == (
            "ended by signal 9 (SIGKILL); meanwhile the kernel ended processes of this machine for want of memory"
        )
    finally:
        until(lambda: not (group / "cgroup.procs").read_text(), 5, "the group to empty")
        group.rmdir()
    row = bench.until_ended(bench.run(command="kill -KILL $$"))
    assert row["error_message"] == "ended by signal 9 (SIGKILL)"
