"""The one seam through which the rooms say what happened; logs, tests and later metrics and alerts listen."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

Listener = Callable[[str, dict[str, Any]], None]

_listeners: list[Listener] = []
_log = logging.getLogger("jobsup")


def emit(name: str, text: str = "", *, level: int = logging.INFO, **fields: Any) -> None:
    """Tell every listener that `name` happened, e.g. `emit("dispatch.claimed", "Claimed job dispatch 7", ...)`.

    `text` is the line for the log (none: not logged); the fields go beside it. Never put a secret, an
    environment or a job's arguments in.
    """
    if text and _log.isEnabledFor(level):
        _log.log(level, text, extra={"event": name, "fields": fields})
    for listener in tuple(_listeners):
        listener(name, fields)


def is_heard(level: int = logging.INFO) -> bool:
    """Say whether anybody listens to events of this level: what happens to each run need not be told to nobody."""
    return bool(_listeners) or _log.isEnabledFor(level)


def is_logged(level: int = logging.INFO) -> bool:
    """Say whether the log wants lines of this level: a text that takes time need not be made for nothing."""
    return _log.isEnabledFor(level)


def subscribe(listener: Listener) -> Callable[[], None]:
    """Hand every later event to `listener`; returns the function that ends it."""
    _listeners.append(listener)
    return lambda: _listeners.remove(listener)
