"""What the scripts share: workers that say they are ready, wait for the word, and end when nothing is left."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress

WORKERS = 2
COMMAND = ["/bin/true"]
LOOK_SECONDS = 0.02


def ready() -> None:
    """Say in a worker that it could begin, and wait for the word."""
    print("ready", flush=True)
    sys.stdin.readline()


def run_command() -> None:
    """Run the command as jobs do: its output read, its end waited for."""
    subprocess.run(COMMAND, capture_output=True, check=True)


def measure(runs: int, *, is_done: Callable[[], bool] | None = None, workers: int = WORKERS, **told: str) -> None:
    """Start workers of this very script, let them loose, and print the rate when all have ended, or all is done."""
    words = [sys.executable, sys.argv[0], "work", *sys.argv[1:]]
    crowd = [
        subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, process_group=0)
        for _ in range(workers)
    ]
    for each in crowd:
        assert each.stdout is not None
        each.stdout.readline()
    began = time.monotonic()
    for each in crowd:
        assert each.stdin is not None
        each.stdin.write("go\n")
        each.stdin.flush()
    while not (is_done() if is_done else all(each.poll() is not None for each in crowd)):
        time.sleep(LOOK_SECONDS)
    took = time.monotonic() - began
    for each in crowd:
        with suppress(ProcessLookupError):
            os.killpg(each.pid, signal.SIGKILL)  # with whatever it has forked, which would hold our output open
        each.wait()
    print(json.dumps({"per_second": runs / took, **told}))
