"""Every verb once, as the installed command, against one running instance: it exists, it works, it says so."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import pytest

from jobsup.cli.main import VERBS
from tests.support.command import forked
from tests.support.instance import Instance

JOBS = """
[[job]]
name = "tidy"
command = "echo tidied"
cron = "0 3 * * *"

[[job]]
name = "broken"
command = "exit 3"
max_retries = 0
overlap = "allow"
"""


class Call(NamedTuple):
    """What is asked, what it ends with, and a word that its output must hold."""

    words: str
    code: int
    says: str
    is_again: bool = False
    """The verb is called a second time, which the start of another interpreter proves nothing for."""


CALLS = (
    Call("version", 0, "jobsup"),
    Call("check", 0, "tidy"),
    Call("config show", 0, "worker.count"),
    Call("db current", 0, ""),
    Call("db check", 0, "", is_again=True),
    Call("systemd", 0, "Type=notify"),
    Call("completion bash", 0, "_JOBSUP_COMPLETE"),
    Call("status", 0, "running"),
    Call("workers", 0, "worker-"),
    Call("list", 0, "tidy"),
    Call("show tidy", 0, "0 3 * * *"),
    Call("next tidy", 0, "tidy"),
    Call("why tidy", 0, "next tick"),
    Call("pause tidy --reason moving", 0, "tidy"),
    Call("run tidy", 6, "moving", is_again=True),
    Call("resume tidy", 0, "tidy"),
    Call("run tidy --wait", 0, "COMPLETED"),
    Call("logs tidy --raw", 0, "tidied"),
    Call("run broken --wait", 3, "FAILED"),
    Call("runs broken --last 1", 0, "exit_code"),
    Call("retry 2", 0, "3"),
    Call("cancel 2", 6, "has ended already"),
    Call("explain @daily", 0, "NEXT"),
    Call("forecast", 0, ""),
    Call("backfill tidy --from now-3d --dry-run", 0, "to run"),
    Call("user list", 0, ""),
    Call("token list", 0, ""),
    Call("audit", 0, ""),
    Call("export tidy", 0, "0 3 * * *"),
    Call("import crontab -", 0, ""),
    Call("scale workers=3", 0, "3"),
    Call("reload", 0, ""),
    Call("restart", 0, ""),
    Call("status", 0, "running", is_again=True),
    Call("stop", 0, ""),
    Call("stop", 3, "nothing is running", is_again=True),
)
STORIES = {
    "start": "tests/cli/test_installed.py: the instance itself",
    "init": "below, in an empty folder",
    "save": "below",
    "remove": "below",
    "scheduler": "tests/processes: standalone roles",
    "worker": "tests/processes: standalone roles",
    "portal": "tests/processes: the portal alone",
}
"""Verbs with a test of their own, and where."""


@pytest.fixture(scope="module")
def instance() -> Iterator[Instance]:
    running = Instance(JOBS, is_warm=False)
    try:
        yield running.start()
    finally:
        running.close()


def test_every_verb_of_the_command_is_called_here() -> None:
    assert {call.words.split()[0] for call in CALLS} | set(STORIES) >= set(VERBS)


def test_the_verbs_tell_one_story_from_start_to_stop(instance: Instance) -> None:
    for call in CALLS:
        if call.words.split()[0] not in VERBS:
            continue
        run = instance.cli if call.is_again else instance.installed
        done = run(*call.words.split())
        said = done.stdout + done.stderr
        assert done.returncode == call.code, f"{call.words}: {done.returncode}\n{said}"
        assert call.says in said, f"{call.words}:\n{said}"
        assert "Traceback" not in said


def test_a_job_that_stands_in_no_file_is_saved_and_removed(instance: Instance) -> None:
    kept = instance.folder / "kept.toml"
    kept.write_text('[[job]]\nname = "kept"\ncommand = "echo kept"\n')
    assert instance.installed("save", str(kept)).returncode == 0
    assert "echo kept" in instance.cli("show", "kept").stdout
    assert instance.installed("remove", "kept").returncode == 0
    assert instance.cli("run", "kept").returncode == 4


def test_init_writes_a_file_that_check_accepts(instance: Instance) -> None:
    made = instance.folder / "new.toml"
    assert instance.run_command("init", str(made)).returncode == 0
    assert forked("check", "-c", str(made)).returncode == 0
    assert forked("init", str(made)).returncode == 6
