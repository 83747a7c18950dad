"""The test command: style, types, the floors of the house, and every test. `python -m tests [pytest arguments]`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TOOLS = Path(sys.executable).parent

ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
"""What is compiled is kept: else every process of the tests compiled all that it imports."""

CHECKS: tuple[tuple[str, ...], ...] = (
    ("ruff", "check", "."),
    ("ruff", "format", "--check", "."),
    ("lint-imports",),
)
"""They run side by side, and no test begins before they have passed."""
TYPES = ("mypy",)
"""Beside the tests: half a minute of one core."""
TESTS = ("pytest", "--processes", "6")
"""More at a time than a small machine has cores: most of what a test of processes does is wait.

A file is tested by one process, whose servers and instances its tests share, and the files in `conftest`'s order.
"""
ALONE = ("pytest", "--last-failed", "--maxfail", "1")
"""The few that failed beside others, once more by themselves: promised times are real seconds. Both runs are shown."""
SOME_FAILED = 1
"""What pytest ends with when tests ran and some failed."""


def main(arguments: list[str]) -> int:
    """Run every check, and the tests with the arguments; returns the exit code of what failed, 0 if nothing did."""
    types = _start(*TYPES, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    failed = _check() or _test(arguments)
    return _end(TYPES, types) or failed


def _check() -> int:
    started = [(check, _start(*check, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)) for check in CHECKS]
    codes = [_end(check, process) for check, process in started]
    return next(filter(None, codes), 0)


def _test(arguments: list[str]) -> int:
    tests = (*TESTS, *arguments)
    print("==>", *tests, flush=True)
    code = _end(tests, _start(*tests))
    if code != SOME_FAILED:
        return code
    print("==>", *ALONE, flush=True)
    return _end(ALONE, _start(*ALONE, *arguments))


def _start(tool: str, *options: str, **streams: int) -> subprocess.Popen[str]:
    return subprocess.Popen([str(TOOLS / tool), *options], cwd=ROOT, env=ENVIRONMENT, text=True, **streams)


def _end(step: tuple[str, ...], process: subprocess.Popen[str]) -> int:
    """Wait for a step, print what it said, and return its exit code."""
    said, _ = process.communicate()
    if said is not None:
        print("==>", *step, flush=True)
        print(said, end="", flush=True)
    if process.returncode:
        print(f"==> {step[0]} failed with exit code {process.returncode}", flush=True)
    return process.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
