"""The test command: style, types, the floors of the house, then every test. `python -m tests [pytest arguments]`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TOOLS = Path(sys.executable).parent

STEPS: tuple[tuple[str, ...], ...] = (
    ("ruff", "check", "."),
    ("ruff", "format", "--check", "."),
    ("mypy",),
    ("lint-imports",),
    ("pytest", "-n", "4", "--dist", "loadscope"),
)


FAILED = 1
"""What pytest ends with when tests ran and some failed."""


def _alone(arguments: list[str]) -> int:
    """Run the few that failed beside others once more by themselves: their deadlines are real seconds."""
    again = ["pytest", "--last-failed", "-p", "no:xdist", "--maxfail", "1"]
    print("==> pytest: the failed ones once more, one at a time", flush=True)
    return subprocess.run([str(TOOLS / again[0]), *again[1:], *arguments], cwd=ROOT, check=False).returncode


def main(arguments: list[str]) -> int:
    """Run every step, the arguments going to the last; stop at the first that fails and return its exit code."""
    for step in STEPS:
        tool, *options = step
        command = [str(TOOLS / tool), *options, *(arguments if tool == "pytest" else ())]
        print("==>", tool, *command[1:], flush=True)
        code = subprocess.run(command, cwd=ROOT, check=False).returncode
        if tool == "pytest" and code == FAILED:
            code = _alone(arguments)
        if code != 0:
            print(f"==> {tool} failed with exit code {code}", flush=True)
            return code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
