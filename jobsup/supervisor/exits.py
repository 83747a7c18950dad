"""How a child ended, in words and as far as it can be known."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from multiprocessing.context import ForkProcess
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Exit:
    """The end of one process: an exit code, or the number of a signal."""

    code: int | None = None
    signum: int | None = None

    def __str__(self) -> str:
        if self.signum is not None:
            return f"signal {self.signum}"
        return f"exit code {self.code}"

    def describe(self, cause: str = "", oom_before: int = 0) -> str:
        """Say it with the cause we know (`hung`), or with the one the kernel hints at."""
        if cause:
            return f"{self}, killed: {cause}"
        if self.signum != signal.SIGKILL:
            return str(self)
        if oom_kills() > oom_before:
            return f"{self}, not by us: the kernel's out-of-memory killer was at work meanwhile"
        return f"{self}, not by us"


def look(process: ForkProcess) -> Exit | None:
    """Look whether a child ended, and how; None while it runs.

    Asked of the process object, not of the kernel: starting another process reaps those that have ended, and only
    the object knows their status then.
    """
    code = process.exitcode
    if code is None:
        return None
    return Exit(signum=-code) if code < 0 else Exit(code=code)


def oom_kills() -> int:
    """Count the processes the out-of-memory killer has ended on this machine since it booted; 0 when unknown."""
    try:
        for line in Path("/proc/vmstat").read_text(encoding="utf-8").splitlines():
            if line.startswith("oom_kill "):
                return int(line.split()[1])
    except (OSError, ValueError):
        pass
    return 0
