"""The processes that run the tests: nothing of a file is lost, whatever becomes of the process that tests it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
CONFTEST = """
import os, pathlib, warnings
import pytest
from tests.support.parallel import pytest_addoption, pytest_runtestloop

@pytest.fixture(scope="session")
def server():
    pathlib.Path(f"begun-{os.getpid()}").touch()
    yield os.getpid()
    pathlib.Path(f"ended-{os.getpid()}").touch()
"""
FILES = {
    "a": """
def test_writes(server):
    print("to be captured")
def test_is_wrong(server):
    print("what it said")
    assert server == 0
""",
    "b": """
import os, pathlib, signal
def test_before():
    pass
def test_dies():
    pathlib.Path(f"ended-{os.getpid()}").touch()  # what it had set up dies with it
    os.kill(os.getpid(), signal.SIGKILL)
def test_after(server):
    pass
""",
    "c": """
import warnings
def test_warns(server):
    warnings.warn("mind the gap")
""",
}


def test_each_test_is_told_once_and_a_process_that_dies_costs_one(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text(CONFTEST)
    for name, code in FILES.items():
        (tmp_path / f"test_{name}.py").write_text(code)
    plugins = (
        word for name in ("cacheprovider", "hypothesispytest", "schemathesis", "anyio") for word in ("-p", f"no:{name}")
    )
    arguments = (*plugins, "-rA", "--processes", "2")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--rootdir", tmp_path, "-c", "/dev/null", *arguments],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    told = sorted(line.split(" - ")[0] for line in done.stdout.splitlines() if line.startswith(("PASSED", "FAILED")))
    assert told == [
        "FAILED test_a.py::test_is_wrong",
        "FAILED test_b.py::test_dies",
        "PASSED test_a.py::test_writes",
        "PASSED test_b.py::test_after",
        "PASSED test_b.py::test_before",
        "PASSED test_c.py::test_warns",
    ]
    assert "the process of this test was ended by SIGKILL in the midst of it" in done.stdout
    assert "what it said" in done.stdout
    assert done.stdout.count("UserWarning: mind the gap") == 1
    assert "2 failed, 4 passed" in done.stdout
    begun, ended = ({path.name[6:] for path in tmp_path.glob(f"{what}-*")} for what in ("begun", "ended"))
    assert begun <= ended, "a process did not tear its fixtures down"
