"""Which file to read when nobody said: the places that are looked at, in order."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from jobsup.errors import ConfigError, Problem

FILE_NAME = "jobsup.toml"
SYSTEM_FILE = Path("/etc/jobsup") / FILE_NAME
VARIABLE = "JOBSUP_CONFIG"


def find(path_option: str | Path | None = None, environ: Mapping[str, str] = os.environ) -> Path:
    """Return the file to read: `-c`, JOBSUP_CONFIG, ./jobsup.toml, the XDG place, /etc/jobsup/.

    Raises ConfigError when the named file, or any at all, is missing.
    """
    if path_option is not None:
        return _named(Path(path_option), f"{path_option} does not exist: check -c, or write one with `jobsup init`")
    if environ.get(VARIABLE):
        path = Path(environ[VARIABLE])
        return _named(path, f"{path} does not exist: check the variable {VARIABLE}")
    places = default_places(environ)
    for place in places:
        if _exists(place):
            return place
    tried = ", ".join(str(place) for place in places)
    raise ConfigError((Problem(f"no configuration found (looked at {tried}): write one with `jobsup init`"),))


def wanted(path_option: str | Path | None = None, environ: Mapping[str, str] = os.environ) -> Path:
    """Return the file that `find` is about, be it there or not."""
    named = path_option or environ.get(VARIABLE)
    return Path(named) if named else next(filter(_exists, default_places(environ)), Path(FILE_NAME))


def default_places(environ: Mapping[str, str] = os.environ) -> tuple[Path, ...]:
    """Return the files that are looked for when none is named, the nearest first."""
    return (Path(FILE_NAME), _user_folder(environ) / "jobsup" / FILE_NAME, SYSTEM_FILE)


def _user_folder(environ: Mapping[str, str]) -> Path:
    folder = environ.get("XDG_CONFIG_HOME", "")
    # The XDG rules say that a relative path there is to be passed over.
    return Path(folder) if Path(folder).is_absolute() else Path("~/.config").expanduser()


def _named(path: Path, missing: str) -> Path:
    if not _exists(path):
        raise ConfigError((Problem(missing),))
    return path


def _exists(path: Path) -> bool:
    """Say whether there is a file; one we may not look at counts, so that reading it can say why it fails."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return True
