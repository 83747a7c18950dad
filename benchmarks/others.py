"""The peers: installed by the benchmark, each into an environment of its own, and set to the same work."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import venv
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

SCRIPTS = Path(__file__).with_name("peers")
SECONDS_MAX = 120.0
INSTALL_SECONDS_MAX = 300.0
NEWER = ("python3.14", "python3.13", "python3.12")


@dataclass(frozen=True, slots=True)
class Peer:
    """A queue of others."""

    name: str
    packages: tuple[str, ...]
    on_server: bool
    calls: int
    commands: int
    needs_newer: bool = False
    """It asks for Python 3.12."""


PEERS = (
    Peer("huey", ("huey",), False, 3000, 1000),
    Peer("dj_queue", ("dj-queue",), False, 500, 500, needs_newer=True),
    Peer("pgqueuer", ("pgqueuer[psycopg]", "psycopg[binary]"), True, 10000, 1000),
    Peer("procrastinate", ("procrastinate", "psycopg[binary]"), True, 1000, 500),
    Peer("oban", ("oban", "psycopg[binary]"), True, 3000, 500, needs_newer=True),
)


class PeerError(Exception):
    """A peer could not be measured; its text says why."""


def install(peer: Peer, folder: Path, python: str | None) -> tuple[Path, str]:
    """Make its environment unless it is there; returns its Python and the version that was installed."""
    base = _python(peer, python)
    place = folder / peer.name
    program = place / "bin" / "python"
    if not program.exists():
        if base == sys.executable:
            venv.create(place, with_pip=True, symlinks=True)
        else:
            _run([base, "-m", "venv", str(place)], INSTALL_SECONDS_MAX)
        try:
            _run([str(program), "-m", "pip", "install", "-q", *peer.packages], INSTALL_SECONDS_MAX)
        except PeerError:
            shutil.rmtree(place, ignore_errors=True)
            raise
    name = peer.packages[0].split("[")[0]
    code = f"from importlib.metadata import version; print(version({name!r}))"
    return program, _run([str(program), "-c", code], 30).strip()


def measure(peer: Peer, program: Path, kind: str, *, make_database: Callable[[], str]) -> tuple[float, str]:
    """Return its rate at `call` or `command`, and the setting it had."""
    runs = peer.calls if kind == "call" else peer.commands
    with tempfile.TemporaryDirectory(prefix="jobsup-bench-") as folder:
        place = make_database() if peer.on_server else folder
        said = _run([str(program), str(SCRIPTS / f"{peer.name}_.py"), place, kind, str(runs)], SECONDS_MAX)
    answer = json.loads(said.splitlines()[-1])
    return float(answer["per_second"]), answer["setting"]


def _python(peer: Peer, given: str | None) -> str:
    if not peer.needs_newer or sys.version_info >= (3, 12):
        return sys.executable
    if given:
        return given
    for name in NEWER:
        found = shutil.which(name)
        if found and subprocess.run([found, "-c", ""], capture_output=True, check=False).returncode == 0:
            return found
    raise PeerError("needs Python 3.12, and there is none here: name one with --peer-python")


def _run(words: list[str], seconds: float) -> str:
    """Run to the end; a crowd that hangs is ended with all that it has started."""
    process = subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True, cwd=SCRIPTS
    )
    try:
        said, complaint = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        raise PeerError(f"did not end in {seconds:g} s") from None
    finally:
        subprocess.run(["pkill", "-KILL", "-s", str(process.pid)], check=False)
    if process.returncode:
        raise PeerError(" ".join(complaint.strip().splitlines()[-1:]) or f"exit code {process.returncode}")
    return said
