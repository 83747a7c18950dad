"""Finding the supervisor that was started with a configuration file, when the file no longer says where its socket is.

The kernel lists the sockets that are listened on, and each supervisor says which file it goes by. Nothing is written
down for this, so nothing can be out of date. Only sockets of this user, of root, and of who owns the file are asked.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jobsup.config.places import SOCKET_NAME
from jobsup.control import client
from jobsup.errors import JobsupError

ASK_SECONDS_MAX = 1.0
ASKED_MAX = 100
"""So many sockets are asked at most."""
_LISTENS = 0x10000
"""The kernel's flag of a socket that accepts connections."""
_UNIX_SOCKETS = Path("/proc/net/unix")


@dataclass(frozen=True, slots=True)
class Found:
    """A supervisor that runs: where it listens, and how it describes itself."""

    socket: Path
    status: dict[str, Any]


def find(config_path: Path) -> Found | None:
    """Return the supervisor that goes by this very file (an absolute path); None when none answers."""
    trusted = {0, os.geteuid()}
    with suppress(OSError):
        trusted.add(config_path.stat().st_uid)
    for _, socket in zip(range(ASKED_MAX), _listening(), strict=False):
        with suppress(OSError, JobsupError, KeyError, TypeError):  # it may be anything that listens there
            if socket.lstat().st_uid not in trusted:
                continue
            status = client.call(socket, {"do": "status"}, timeout=ASK_SECONDS_MAX)["status"]
            if status["supervisor"]["config"] == str(config_path):
                return Found(socket, status)
    return None


def _listening() -> Iterator[Path]:
    """List the control sockets of this machine, whoever's they are."""
    try:
        lines = _UNIX_SOCKETS.read_text(encoding="utf-8", errors="surrogateescape").splitlines()[1:]
    except OSError:
        return
    for line in lines:
        fields = line.split(maxsplit=7)  # address, users, protocol, flags, type, state, inode, path
        if len(fields) == 8 and int(fields[3], 16) & _LISTENS and fields[7].endswith(f"/{SOCKET_NAME}"):
            yield Path(fields[7])
