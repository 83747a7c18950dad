"""A supervisor with toy children, as a program and as a handle on it.

`python -m tests.support.toy FOLDER` supervises what FOLDER/plan.json says, by kind:
    {"worker": {"count": 2, "does": "work", "version": "1", "watchdog": 5, ...}, ...}
`does` is one of `BEHAVIOURS`; a file FOLDER/<kind>.does overrides it for every later start of that kind.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jobsup.config.settings import LoggingSettings
from jobsup.control.client import call
from jobsup.errors import ConfigError, JobsupError, Problem
from jobsup.runtime import logs, procs, trees
from jobsup.runtime.link import SupervisedLink
from jobsup.runtime.service import Loop, serve
from jobsup.supervisor import ChildSpec, Plan, Supervisor
from tests.support import warm
from tests.support.waiting import PATIENCE

ROOT = Path(__file__).parents[2]
DEADLINE_SECONDS = PATIENCE
BEHAVIOURS = ("work", "crash", "config_fault", "never_ready", "stubborn", "slow", "family", "deaf")


class ToyService:
    """A service that does next to nothing, in one of several ways."""

    def __init__(self, folder: Path, link: SupervisedLink, does: str) -> None:
        self.finished = False
        self._folder = folder
        self._link = link
        self._does = does
        self._end_at: float | None = None

    @property
    def statements(self) -> int:
        return 0

    def start(self, loop: Loop) -> dict[str, Any]:
        self._loop = loop
        if self._does == "crash":
            os._exit(3)
        if self._does == "config_fault":
            raise ConfigError((Problem("nothing is right"),))
        if self._does == "never_ready":
            signal.pause()
        if self._does == "family":
            start_family(self._folder)
        return {"worker_id": f"{self._link.name}@{os.getpid()}"}

    def poll(self) -> float:
        if self._end_at is not None and self._loop.monotonic() >= self._end_at:
            self.finished = True
        return 0.05 if self._end_at is not None else 60.0

    def handle(self, message: dict[str, Any]) -> None:
        with (self._folder / "messages").open("a") as file:
            file.write(json.dumps(message | {"heard_by": self._link.name}) + "\n")

    def drain(self) -> None:
        if self._does == "slow":
            self._end_at = self._loop.monotonic() + 1.0
        elif self._does != "stubborn":
            self.finished = True

    def cancel(self) -> None:
        self.finished = True

    def close(self) -> None:
        with (self._folder / "closed").open("a") as file:
            file.write(f"{self._link.name}\n")


def start_family(folder: Path) -> None:
    """Start a job with a grandchild that left its session, twice forked; all of them tagged."""
    script = "(setsid sh -c 'sleep 987 & sleep 986' &) ; sleep 985"
    subprocess.Popen(["sh", "-c", script], start_new_session=True, env=os.environ | tag(folder))


def tag(folder: Path) -> dict[str, str]:
    return {procs.INSTANCE_VARIABLE: instance(folder)}


def instance(folder: Path) -> str:
    return f"toy-{folder}"


def be(words: list[str]) -> int:
    """Be the supervisor of the folder that is the one word."""
    return main(Path(words[0]))


def main(folder: Path) -> int:
    """Be the supervisor."""
    file = str(folder / "jobsup.log") if "TOY_LOG_FILE" in os.environ else ""
    logs.configure(LoggingSettings(level="DEBUG", file=file), "supervisor")

    def prepare(_old: object) -> dict[str, Any]:
        text = (folder / "plan.json").read_text()
        try:
            return dict(json.loads(text))
        except ValueError:
            raise ConfigError((Problem("first problem"), Problem("second problem"))) from None

    def compose(prepared: dict[str, Any]) -> Plan:
        if prepared.get("note") == "cannot be understood":
            raise RuntimeError("nobody thought of this")
        specs = tuple(_spec(folder, kind, values) for kind, values in prepared.items() if kind != "note")
        return Plan(specs, config=str(folder / "plan.json"), lines=(f"note: {prepared.get('note', 'none')}",))

    def apply(prepared: dict[str, Any]) -> list[str]:
        if prepared.get("note") == "cannot be applied":
            raise JobsupError("the apply step failed")
        return ["applied"]

    return Supervisor(
        prepare=prepare,
        compose=compose,
        apply=apply,
        runtime_dir=folder / "run",
        lock_paths=(folder / "lock",),
        instance=instance(folder),
        reexec_argv=[sys.executable, "-m", "tests.support.toy", str(folder)],
    ).run()


def _spec(folder: Path, kind: str, values: dict[str, Any]) -> ChildSpec:
    def run(link: SupervisedLink) -> int:
        override = folder / f"{kind}.does"
        does = override.read_text() if override.exists() else values.get("does", "work")
        with (folder / "spawns").open("a") as file:
            file.write(f"{kind} {time.monotonic()}\n")
        if does == "deaf":
            signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM, signal.SIGQUIT))
            link.ready({})
            while True:
                link.beat()
                signal.sigtimedwait((signal.SIGUSR1,), 0.1)
        return serve(ToyService(folder, link, does), link)

    return ChildSpec(
        kind=kind,
        count=values.get("count", 1),
        run=run,
        fingerprint=json.dumps({key: value for key, value in values.items() if key != "count"}),
        boot_timeout=values.get("boot_timeout", 20.0),
        watchdog=values.get("watchdog", 10.0),
        drain_timeout=values.get("drain_timeout", 5.0),
        is_degrading=values.get("is_degrading", True),
        is_scalable=kind == "worker",
    )


class Toy:
    """A running toy supervisor, and the questions tests ask it."""

    def __init__(self, folder: Path, plan: dict[str, Any]) -> None:
        self.folder = folder
        self.write(plan)
        self.process: warm.Started | None = None

    @property
    def socket(self) -> Path:
        return self.folder / "run" / "control.sock"

    @property
    def log(self) -> str:
        path = self.folder / "log"
        return path.read_text(errors="replace") if path.exists() else ""

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def write(self, plan: dict[str, Any] | str) -> None:
        text = plan if isinstance(plan, str) else json.dumps(plan)
        (self.folder / "plan.json").write_text(text)

    def launch(self, **environ: str) -> Toy:
        """Start it and return at once."""
        with (self.folder / "log").open("ab") as log:
            # Where it finds the tests when it starts itself anew.
            environment = os.environ | {"PYTHONPATH": str(ROOT)} | environ
            self.process = warm.start((str(self.folder),), self.folder, environment, log, program=f"{__name__}:be")
        return self

    def start(self, **environ: str) -> Toy:
        """Start it and wait until it runs."""
        self.launch(**environ)
        self.until(lambda: self.state() == "running")
        return self

    def call(self, request: dict[str, Any], on_line: Callable[[str], None] | None = None) -> dict[str, Any]:
        return call(self.socket, request, on_line, timeout=DEADLINE_SECONDS * 2)

    def status(self) -> dict[str, Any]:
        return dict(self.call({"do": "status"})["status"])

    def state(self) -> str:
        try:
            return str(self.status()["state"])
        except JobsupError:
            return "absent"

    def children(self, kind: str) -> list[dict[str, Any]]:
        return [child for child in self.status()["children"] if child["kind"] == kind]

    def pids(self, kind: str) -> list[int]:
        """The pids of the ready children of a kind, by slot."""
        return [child["pid"] for child in self.children(kind) if child["state"] == "ready"]

    def pid_of(self, kind: str) -> int:
        (pid,) = self.pids(kind)
        return pid

    def spawns(self, kind: str) -> list[float]:
        """When children of a kind were started, on the monotonic clock."""
        path = self.folder / "spawns"
        lines = path.read_text().split("\n")[:-1] if path.exists() else []
        return [float(line.split()[1]) for line in lines if line.split()[0] == kind]

    def messages(self) -> list[dict[str, Any]]:
        path = self.folder / "messages"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def signal(self, signum: int) -> None:
        os.kill(self.pid, signum)

    def wait(self, seconds: float = DEADLINE_SECONDS) -> int:
        """Wait for its end; returns its exit code."""
        assert self.process is not None
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it did not end within {seconds} s; its log:\n{self.log}") from None

    def until(self, condition: Callable[[], Any], seconds: float = DEADLINE_SECONDS) -> Any:
        """Ask until the answer is yes, and return it; the log is shown when the time is up."""
        end = time.monotonic() + seconds
        while not (answer := condition()):
            assert time.monotonic() < end, f"it did not come about within {seconds} s; the log:\n{self.log}"
            assert self.process is None or self.process.poll() is None or condition(), f"it ended:\n{self.log}"
            time.sleep(0.01)
        return answer

    def survivors(self) -> list[int]:
        """Everything that belongs to it and is alive: its process group, its descendants, tagged processes."""
        found = set(procs.tagged(instance(self.folder)))
        for pid in procs.pids():
            command = _command(pid)
            if f"tests.support.toy\0{self.folder}\0" in command or _folder(pid) == self.folder:
                found.add(pid)
        return sorted(pid for pid in found if procs.is_alive(pid, None))

    def clean_up(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        trees.kill_tree(self.survivors(), tag=instance(self.folder))


def _folder(pid: int) -> Path | None:
    try:
        return Path(f"/proc/{pid}/cwd").readlink()
    except OSError:
        return None


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text(errors="replace")
    except OSError:
        return ""


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
