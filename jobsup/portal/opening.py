"""Where the portal is found, and how its first user gets in; loads nothing of the web."""

from __future__ import annotations

import os
import secrets
from importlib.util import find_spec
from pathlib import Path

from jobsup.config.places import is_loopback
from jobsup.config.settings import Config, PortalSettings
from jobsup.errors import ConfigError, Problem

LIBRARIES = ("starlette", "jinja2", "uvicorn", "httptools", "python_multipart")
SETUP_FILE = "portal-setup"
SETUP_BYTES_MAX = 1024


def refuse_open_door(config: Config, *, has_users: bool) -> None:
    """Raise ConfigError for an address that a network reaches while nobody has a password."""
    if has_users or is_loopback(config.portal.host):
        return
    message = (
        f"{config.portal.host} is open to the network, and there is no user yet: "
        "`jobsup user add NAME --role admin` makes one"
    )
    raise ConfigError((Problem(message, config.path, table="[portal]", key="host"),))


def missing_libraries() -> tuple[str, ...]:
    """Return the libraries of the web that are not installed; an installation by hand may have left them out."""
    return tuple(name for name in LIBRARIES if find_spec(name) is None)


def address(portal: PortalSettings) -> str:
    """Return where a browser finds the portal."""
    if portal.behind_proxy and portal.allowed_hosts:
        return f"https://{portal.allowed_hosts[0]}{portal.root_path}/"
    host = f"[{portal.host.strip('[]')}]" if ":" in portal.host else portal.host
    if portal.allowed_hosts and not is_loopback(portal.host):
        host = portal.allowed_hosts[0]
    return f"{'https' if portal.tls_cert else 'http'}://{host}:{portal.port}{portal.root_path}/"


def setup_file(runtime_dir: str) -> Path:
    """Return where the one-time token of the set-up page is, while there is one."""
    return Path(runtime_dir) / SETUP_FILE


def write_setup_token(runtime_dir: str) -> str:
    """Put a fresh one-time token into a file that only this user reads, in place of any there; return it."""
    path, token = setup_file(runtime_dir), secrets.token_urlsafe(24)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    fresh = path.with_name(f".{SETUP_FILE}.{os.getpid()}")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(token + "\n")
    fresh.replace(path)
    return token


def read_setup_token(path: Path) -> str:
    """Return the one-time token; empty when the set-up page is closed."""
    try:
        with path.open(encoding="ascii") as file:
            return file.read(SETUP_BYTES_MAX).strip()
    except (OSError, UnicodeDecodeError):
        return ""


def greeting(config: Config) -> str:
    """Return the address to tell a person, that of the set-up page while there is no user; or why there is none."""
    missing = missing_libraries()
    if missing:
        return f"is left out: {', '.join(missing)} is not installed; `pip install {' '.join(missing)}` adds it"
    token = read_setup_token(setup_file(config.supervisor.runtime_dir))
    return f"{address(config.portal)}setup?token={token}" if token else address(config.portal)
