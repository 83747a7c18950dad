"""The wheel as somebody installs it: everything that is no module is in it, and what is installed serves a page."""

from __future__ import annotations

import os
import shutil
import site
import socket
import subprocess
import sys
import venv
import zipfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.waiting import PATIENCE, until

ROOT = Path(__file__).parents[2]
BUILD = "import setuptools.build_meta as backend; print(backend.build_wheel('dist'))"
SOURCES = ("pyproject.toml", "README.md", "LICENSE")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build it from a copy of the sources, without a network and without what earlier builds have left."""
    folder = tmp_path_factory.mktemp("sources")
    for name in SOURCES:
        shutil.copy(ROOT / name, folder)
    shutil.copytree(ROOT / "jobsup", folder / "jobsup", ignore=shutil.ignore_patterns("__pycache__"))
    done = subprocess.run([sys.executable, "-c", BUILD], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder / "dist" / done.stdout.split()[-1]


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install it into an environment of its own, which borrows the libraries of this one; returns that one's bin."""
    folder = tmp_path_factory.mktemp("env")
    venv.create(folder)
    packages = next(folder.glob("lib/python*/site-packages"))
    # Our own pip: to give the environment one takes seconds.
    pip = (sys.executable, "-m", "pip", "--python", folder / "bin" / "python")
    command = [*pip, "install", "--quiet", "--no-deps", "--no-index", wheel]
    subprocess.run(command, check=True, env=environment())
    packages.joinpath("borrowed.pth").write_text("\n".join(site.getsitepackages()))
    return folder / "bin"


def environment() -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("JOBSUP_", "PYTHON", "PIP_"))}
    return {**kept, "TZ": "UTC"}


def test_every_file_of_the_sources_is_in_the_wheel(wheel: Path) -> None:
    wanted = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "jobsup").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if not name.partition("/")[0].endswith(".dist-info")}
    assert packed == wanted
    assert {"jobsup/py.typed", "jobsup/portal/static/app.css", "jobsup/portal/templates/login.html"} <= packed
    assert any(name.startswith("jobsup/store/migrations/versions/r0001") for name in packed)


@pytest.fixture
def portal(installed: Path, tmp_path: Path) -> Iterator[int]:
    """Run the installed portal alone; yields its port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    portal = f"[portal]\nenabled = true\nport = {port}\n"
    (tmp_path / "jobsup.toml").write_text(f'[supervisor]\nruntime_dir = "run"\n{portal}')
    subprocess.run([installed / "jobsup", "db", "upgrade"], cwd=tmp_path, check=True, env=environment())
    log = (tmp_path / "log").open("wb")
    process = subprocess.Popen(
        [installed / "jobsup", "portal"], cwd=tmp_path, env=environment(), stdout=log, stderr=log
    )
    try:
        yield port
    finally:
        process.terminate()
        process.wait(timeout=30)
        log.close()


def test_what_is_installed_is_what_runs_and_serves_a_page(installed: Path, portal: int, tmp_path: Path) -> None:
    where = "import jobsup, importlib.metadata as m; print(jobsup.__file__, m.version('jobsup'))"
    told = subprocess.run(
        [installed / "python", "-c", where], cwd=tmp_path, env=environment(), capture_output=True, text=True, check=True
    )
    assert told.stdout.startswith(str(installed.parent))

    def page() -> httpx.Response | None:
        try:
            return httpx.get(f"http://127.0.0.1:{portal}/login", timeout=5)
        except httpx.TransportError:
            return None

    answer = until(page, PATIENCE, "the portal to answer", (tmp_path / "log").read_text)
    assert answer is not None
    assert (answer.status_code, "<form" in answer.text) == (200, True)
    style = next(word for word in answer.text.split('"') if word.startswith("/static/") and ".css" in word)
    assert httpx.get(f"http://127.0.0.1:{portal}{style}", timeout=5).headers["content-type"].startswith("text/css")
