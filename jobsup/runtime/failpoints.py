"""Places where a test can end or stop the process: `JOBSUP_FAILPOINT=<name>[:<n-th time>[:kill|stop|exit]]`."""

from __future__ import annotations

import os
import signal

from jobsup.errors import UsageError

VARIABLE = "JOBSUP_FAILPOINT"
EXIT_CODE = 70
ACTIONS = ("kill", "stop", "exit")

_reached: dict[str, int] = {}


def reach(name: str) -> None:
    """Do what the environment asks for at this place; normally nothing."""
    wanted = os.environ.get(VARIABLE)
    if wanted is None:
        return
    point, nth, action = _parse(wanted)
    if point != name:
        return
    _reached[name] = _reached.get(name, 0) + 1
    if _reached[name] == nth:
        _act(action)


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
