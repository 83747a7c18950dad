"""The commands that stay: started plainly, they do without the library of the command line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import sys
from jobsup.cli import services
code = services.run(sys.argv[1:])
print("click" in sys.modules)
sys.exit(code)
"""
SERVED = """
import jobsup.app
for name in ("start", "run_worker"):
    setattr(jobsup.app, name, lambda path: print(path) or 5)
"""


def run(*words: str, program: str = SERVED + PROGRAM, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the words with services that only say which configuration they were given."""
    command = [sys.executable, "-c", program, *words]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.parametrize("words", [("start",), ("start", "-c", "jobsup.toml"), ("worker", "--config", "jobsup.toml")])
def test_a_service_is_started_without_the_command_lines_library(tmp_path: Path, words: tuple[str, ...]) -> None:
    (tmp_path / "jobsup.toml").write_text("")
    done = run(*words, folder=tmp_path)
    assert done.returncode == 5, done.stderr
    assert done.stdout.splitlines()[0].endswith("jobsup.toml")
    assert done.stdout.splitlines()[1] == "False"


def test_a_service_with_other_words_is_one_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "jobsup.toml").write_text("")
    done = run("start", "--config=jobsup.toml", folder=tmp_path)
    assert (done.returncode, done.stdout.splitlines()[1]) == (5, "True"), done.stderr


def test_what_a_service_lacks_is_said_in_a_line(tmp_path: Path) -> None:
    done = run("start", "-c", "missing.toml", folder=tmp_path, program=PROGRAM)
    assert done.returncode == 7
    assert done.stderr.startswith("jobsup: missing.toml does not exist")
    assert "Traceback" not in done.stderr
