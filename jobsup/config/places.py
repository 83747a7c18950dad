"""Where an instance keeps its socket and lock on this machine, and what it calls the machine."""

from __future__ import annotations

import ipaddress
import os
import socket
from collections.abc import Mapping
from pathlib import Path

SOCKET_NAME = "control.sock"
SOCKET_PATH_BYTES_MAX = 107
"""What the kernel takes: 108 bytes with the closing zero."""

DEFAULT_SET = "default"


def runtime_dir(set_name: str, configured: str = "", environ: Mapping[str, str] = os.environ) -> Path:
    """Return the absolute folder of the control socket and the lock.

    `configured` wins; root has /run/jobsup/<set>; others have the XDG runtime folder, or the state folder
    under their home, with a folder below it for a set that is not the default one.
    """
    if configured:
        return Path(configured)
    return _usual("/run/jobsup", environ.get("XDG_RUNTIME_DIR", ""), set_name)


def state_dir(set_name: str, configured: str, runtime: str, environ: Mapping[str, str] = os.environ) -> Path:
    """Return the absolute folder of what must outlive a stop and a reboot.

    `configured` wins, then the one that systemd names, whose runtime folders do not outlive a stop; then a runtime
    folder that was configured (`runtime`); root has /var/lib/jobsup/<set>; others have the XDG state folder, with a
    folder below it for a set that is not the default one.
    """
    if configured:
        return Path(configured)
    if Path(folder := environ.get("STATE_DIRECTORY", "").partition(":")[0]).is_absolute():
        return Path(folder) / set_name
    if runtime:
        return Path(runtime)
    return _usual("/var/lib/jobsup", environ.get("XDG_STATE_HOME", ""), set_name)


def _usual(for_root: str, xdg: str, set_name: str) -> Path:
    """Return the folder where none was chosen: the system's for root, XDG's or the state folder at home for others."""
    if os.geteuid() == 0:
        return Path(for_root) / set_name
    folder = xdg if Path(xdg).is_absolute() else os.path.expanduser("~/.local/state")  # noqa: PTH111  (never raises)
    own = Path(folder) / "jobsup"
    return own if set_name == DEFAULT_SET else own / set_name


def socket_path(folder: str | Path) -> Path:
    """Return the control socket in a runtime folder."""
    return Path(folder) / SOCKET_NAME


def socket_fault(folder: str | Path) -> str | None:
    """Return the sentence that says why no socket can be made in a folder of that name, or None."""
    path = os.fsencode(socket_path(folder))
    if len(path) <= SOCKET_PATH_BYTES_MAX:
        return None
    return (
        f"the control socket {os.fsdecode(path)} would have {len(path)} bytes, and the kernel takes "
        f"{SOCKET_PATH_BYTES_MAX}: set [supervisor] runtime_dir to a shorter folder"
    )


def node_name(configured: str = "") -> str:
    """Return the configured name of this machine, or its host name."""
    return configured or socket.gethostname()


def absolute(path: str, base: Path) -> str:
    """Return a path made absolute from the folder `base`, with a leading `~` opened."""
    return os.path.normpath(base / os.path.expanduser(path))  # noqa: PTH111  # never raises, unlike Path's


def is_loopback(host: str) -> bool:
    """Say whether only this machine reaches an address; of names only `localhost` is known to be one."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def cgroup_fault(value: str) -> str | None:
    """Say what is wrong with where control groups should be."""
    if value in ("auto", "none") or value.startswith("/"):
        return None
    return f'must be "auto", "none" or a folder below /sys/fs/cgroup, not "{value}"'
