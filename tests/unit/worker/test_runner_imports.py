"""A worker and its runners are light: what they import decides what each of them costs."""

from __future__ import annotations

import subprocess
import sys

HEAVY = ("alembic", "pydantic", "click", "apscheduler", "psutil")


def loaded_with(module: str) -> set[str]:
    code = f"import sys, {module}; print(' '.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=20, check=True)
    return set(done.stdout.split())


def test_a_runner_never_imports_what_it_does_not_need() -> None:
    loaded = loaded_with("jobsup.worker.runner_main")
    assert "jobsup.worker.runner_main" in loaded
    assert not loaded & {"sqlalchemy", *HEAVY}


def test_a_worker_imports_the_tables_and_nothing_else_that_is_heavy() -> None:
    loaded = loaded_with("jobsup.worker.service")
    assert "sqlalchemy" in loaded
    assert not loaded & set(HEAVY)
