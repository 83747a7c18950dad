"""The test command: style, types, the floors of the house, and every test. `python -m tests [pytest arguments]`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TOOLS = Path(sys.executable).parent

CHECKS: tuple[tuple[str, ...], ...] = (
    ("ruff", "check", "."),
    ("ruff", "format", "--check", "."),
    ("mypy",),
    ("lint-imports",),
)
TESTS = ("pytest", "-n", "5", "--dist", "worksteal")
"""More at a time than a small machine has cores: most of what a test of processes does is wait."""


def main(arguments: list[str]) -> int:
    """Run every check, then the tests with the arguments; stop at the first that fails and return its exit code."""
    for step in (*CHECKS, (*TESTS, *arguments)):
        if code := _run(*step):
            return code
    return 0


def _run(tool: str, *options: str) -> int:
    print("==>", tool, *options, flush=True)
    code = subprocess.run([str(TOOLS / tool), *options], cwd=ROOT, check=False).returncode
    if code != 0:
        print(f"==> {tool} failed with exit code {code}", flush=True)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
