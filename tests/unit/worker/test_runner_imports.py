"""A runner is light: what it imports decides what each Python job costs."""

from __future__ import annotations

import subprocess
import sys

HEAVY = ("sqlalchemy", "alembic", "pydantic", "click", "apscheduler", "psutil", "logging.handlers")


def test_a_runner_never_imports_what_it_does_not_need() -> None:
    code = "import sys, jobsup.worker.runner_main; print(' '.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=20, check=True)
    loaded = set(done.stdout.split())
    assert "jobsup.worker.runner_main" in loaded
    assert not loaded & set(HEAVY)
