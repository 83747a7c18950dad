"""Who acts: the name that is written beside what was asked for."""

from __future__ import annotations

import os
import pwd
import socket
from collections.abc import Mapping

NAME_CHARS_MAX = 255
"""What the columns for people hold."""


def requester(reason: str | None = None, environ: Mapping[str, str] = os.environ) -> str:
    """Return `user@host`, and the reason given in brackets; behind sudo it is the one who typed it."""
    user = environ.get("SUDO_USER") if os.geteuid() == 0 else None
    name = f"{user or _login()}@{socket.gethostname()}"
    return (f"{name} ({reason})" if reason else name)[:NAME_CHARS_MAX]


def _login() -> str:
    uid = os.getuid()
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"
