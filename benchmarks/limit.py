"""What the machine itself can do: a small C program that starts processes and waits for them, and nothing else."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

SOURCE = Path(__file__).with_name("spawn_limit.c")
PROCESSES = 10
SECONDS = 2.0


class Limit:
    """The compiled program; `why_not` says why there is none."""

    def __init__(self, folder: Path) -> None:
        self.why_not = ""
        self._program = folder / "spawn_limit"
        compiler = shutil.which("gcc") or shutil.which("cc")
        if compiler is None:
            self.why_not = "no C compiler (gcc or cc): the limit of this machine is not known, nor any share of it"
            return
        done = subprocess.run(
            [compiler, "-O2", "-o", self._program, SOURCE], capture_output=True, text=True, check=False
        )
        if done.returncode:
            self.why_not = f"{compiler}: {done.stderr.strip()}"

    def measure(self, seconds: float = SECONDS) -> float | None:
        """Return how many processes a second can be started, with two pipes each, and waited for; None: not known."""
        if self.why_not:
            return None
        words = [str(self._program), str(PROCESSES), str(seconds)]
        return float(subprocess.run(words, capture_output=True, text=True, check=True).stdout)
