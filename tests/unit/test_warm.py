"""What is started warm is as the installed command is: it says the same, ends alike, and outlives nobody."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.support import warm
from tests.support.command import jobsup
from tests.support.instance import Instance, instances
from tests.support.waiting import PATIENCE, until

__all__ = ["instances"]


@pytest.mark.parametrize("words", [("version",), ("start", "-c", "nowhere.toml"), ("worker", "--no-such-option")])
def test_it_says_and_returns_what_the_command_does(words: tuple[str, ...], tmp_path: Path) -> None:
    with (tmp_path / "said").open("w+b") as file:
        code = warm.start(words, tmp_path, {"PATH": "/bin", "HOME": str(tmp_path)}, file).wait(PATIENCE)
        file.seek(0)
        said = file.read().decode()
    done = jobsup(*words, cwd=tmp_path)
    assert (code, said) == (done.returncode, done.stdout + done.stderr)


def test_a_signal_that_ends_it_is_told_as_a_negative_code(instances: list[Instance]) -> None:
    instance = Instance("")
    instances.append(instance)
    instance.start().kill()
    assert instance.process is not None
    assert instance.process.returncode == -signal.SIGKILL


def test_it_ends_with_whoever_started_it(instances: list[Instance]) -> None:
    instance = Instance("")
    instances.append(instance)
    started = instance.start().process
    assert isinstance(started, warm.Started)
    started.abandon()
    until(lambda: instance.survivors() == [], PATIENCE, "all of it to go", lambda: instance.log)
