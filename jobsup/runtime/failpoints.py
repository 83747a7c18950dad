"""Places where a test can end or stop the process.

`JOBSUP_FAILPOINT=<name>[:<n-th time>[:kill|stop|exit]]` names one: each process that reaches it for the n-th time ends
there. A path names a folder instead, in which places are armed while processes run: a file `<folder>/<name>` that
holds `n[:action]` is removed by the first process that reaches the place n times from then on, and only that one ends.
"""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path

from jobsup.errors import UsageError

VARIABLE = "JOBSUP_FAILPOINT"
EXIT_CODE = 70
_KEY = os.fsencode(VARIABLE)
ACTIONS = ("kill", "stop", "exit")

_reached: dict[tuple[str, int], int] = {}
"""Place, and which file armed it (0: the environment) -> how often it was reached."""


def reach(name: str) -> None:
    """Do what the environment asks for at this place; normally nothing."""
    # What lies below `os.environ`: to be told by its own methods that nothing is there costs each run microseconds.
    if _KEY not in os.environ._data:  # type: ignore[attr-defined]  # as it has been in every Python 3
        return
    wanted = os.environ[VARIABLE]
    if wanted.startswith("/"):
        _reach_armed(Path(wanted, name))
        return
    point, nth, action = _parse(wanted)
    if point == name and _count(name, 0) == nth:
        _act(action)


def _reach_armed(file: Path) -> None:
    try:
        armed = file.stat().st_ino
        _, nth, action = _parse(f"{file.name}:{file.read_text(encoding='ascii').strip()}")
    except FileNotFoundError:
        return
    if _count(file.name, armed) < nth:
        return
    with suppress(FileNotFoundError):  # another process was faster, and ends
        file.unlink()
        _act(action)


def _count(name: str, armed: int) -> int:
    _reached[name, armed] = _reached.get((name, armed), 0) + 1
    return _reached[name, armed]


def _parse(text: str) -> tuple[str, int, str]:
    name, _, rest = text.partition(":")
    nth, _, action = rest.partition(":")
    action = action or "kill"
    if not (nth or "1").isdecimal() or action not in ACTIONS:
        raise UsageError(f'{VARIABLE}="{text}": write name[:n[:{"|".join(ACTIONS)}]]')
    return name, int(nth or "1"), action


def _act(action: str) -> None:
    if action == "exit":
        os._exit(EXIT_CODE)
    os.kill(os.getpid(), signal.SIGSTOP if action == "stop" else signal.SIGKILL)
