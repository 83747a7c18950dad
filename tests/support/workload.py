"""What the hosts of a fleet have to do: jobs that write down when they begin and end."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.support.checker import JobLaw, ledger_job


@dataclass(frozen=True)
class LedgerJob:
    """A job that testifies: how often it is due, how long it takes, and what else its table says."""

    law: JobLaw
    seconds: float = 0.1
    exit: int = 0
    more: str = ""

    def table(self, ledger: Path) -> str:
        script = ledger_job.__file__
        told = ("--seconds", f"{self.seconds:g}", "--lines", str(self.law.lines), "--exit", str(self.exit))
        command = json.dumps([sys.executable, "-I", "-S", script, str(ledger), *told])
        every = "" if self.law.every is None else f'every = "{self.law.every:g}s"\n'
        policies = f'overlap = "{self.law.overlap}"\nmax_retries = {self.law.attempts_max - 1}\n'
        return f'[[job]]\nname = "{self.law.name}"\ncommand = {command}\n{every}{policies}{self.more}\n'


JOBS = (
    LedgerJob(JobLaw("tick", 1.0, overlap="allow")),
    LedgerJob(JobLaw("steady", 2.0, lines=3), 0.7),
    LedgerJob(JobLaw("long", 5.0), 3.0),
    *(LedgerJob(JobLaw(f"vigil-{number}", 30.0, lines=2), 24.0) for number in range(1, 4)),
    LedgerJob(JobLaw("failing", 10.0, attempts_max=2), exit=3, more='retry_backoff = "1s"'),
    LedgerJob(JobLaw("by-hand", overlap="allow")),
)
