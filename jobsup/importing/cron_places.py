"""Where cron keeps its crontabs: a user's, and the system's."""

from __future__ import annotations

import os
import pwd
import re
import shutil
import stat
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path

from jobsup.errors import DeniedError, NotFoundError
from jobsup.importing import cron_jobs
from jobsup.importing.crontab import CRONTAB_BYTES_MAX, Entry, read
from jobsup.importing.draft import Basket, Draft, Fault, Harvest
from jobsup.importing.naming import Names

SPOOL = Path("var/spool/cron")
SPOOL_FOLDERS = (SPOOL / "crontabs", SPOOL, SPOOL / "tabs")
SYSTEM_FILE = Path("etc/crontab")
SYSTEM_FOLDER = Path("etc/cron.d")
ANACRON = Path("usr/sbin/anacron")
ANACRONTAB = Path("etc/anacrontab")
FOLDER_SCHEDULES = {
    "hourly": "17 * * * *",
    "daily": "25 6 * * *",
    "weekly": "47 6 * * 7",
    "monthly": "52 6 1 * *",
}
"""When Debian's own /etc/crontab starts the scripts of /etc/cron.hourly and its sisters."""
CRONTAB_SECONDS_MAX = 30

SCRIPT_NOTE = "run-parts starts the scripts of a folder one after the other: here each is a job of its own"
UNNAMED_NOTE = "no entry of cron starts it: the time is that of Debian's own /etc/crontab"
ANACRON_NOTE = (
    'anacron starts it some time after the machine is up, missed days too: catch_up = "latest" makes up for missed ones'
)

_FILE_NAME = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)
"""What cron and run-parts accept: a file with a dot in its name is passed over by both."""
_RUN_PARTS = re.compile(r"\brun-parts(?:[ \t]+-\S+)*[ \t]+(/[^\s;&|)}]+)")
_EXPANDED_FOLDER = re.compile(r"/etc/cron\.\w+/?")


def from_bytes(content: bytes, name: str, setting: cron_jobs.Setting, *, has_user: bool, names: Names) -> Harvest:
    """Return the jobs of one crontab."""
    entries, faults = read(content, name, has_user=has_user)
    made = cron_jobs.harvest(entries, faults, setting, names)
    return Harvest(made.drafts, tuple(sorted(made.faults, key=_line)))


def _line(fault: Fault) -> int:
    number = fault.place.rpartition(":")[2]
    return int(number) if number.isdecimal() else 0


def read_file(path: Path) -> bytes:
    """Return a crontab's content, at most a little more than is allowed. NotFoundError, DeniedError."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as opened:
            return opened.read(CRONTAB_BYTES_MAX + 1)
    except (FileNotFoundError, NotADirectoryError):
        raise NotFoundError(f"{path} does not exist: name a crontab, or - for standard input") from None
    except PermissionError:
        raise DeniedError(f"{path} may not be read: try it as root") from None
    except OSError as error:
        raise NotFoundError(f"{path} cannot be read: {error.strerror}") from None


def is_system_file(path: Path) -> bool:
    """Say whether a file has cron's user column, by its place."""
    absolute = path.resolve()
    return absolute == Path("/etc/crontab") or absolute.parent == Path("/etc/cron.d")


def of_user(user: str, *, is_own: bool, root: Path = Path("/")) -> tuple[bytes, str]:
    """Return a user's crontab and its name. NotFoundError when there is none, DeniedError when it is not ours."""
    for folder in SPOOL_FOLDERS:
        path = root / folder / user
        try:
            if path.is_file():
                return read_file(path), str(path)
        except (PermissionError, DeniedError):
            continue  # `crontab -l` may read what we may not
    if not shutil.which("crontab"):
        raise NotFoundError(f"user {user} has no crontab that can be read here: name the file")
    return _listed(user, is_own), f"crontab of {user}"


def own_name() -> str:
    """Return the name of who runs this."""
    return pwd.getpwuid(os.geteuid()).pw_name


def system(setting: cron_jobs.Setting, names: Names, root: Path = Path("/")) -> Harvest:
    """Return the jobs of /etc/crontab, /etc/cron.d and the folders that run-parts goes through."""
    basket = Basket()
    entries: list[Entry] = []
    for path in _system_files(root, basket):
        found, faults = read(read_file(path), str(path), has_user=True)
        entries += found
        basket.faults += faults
    plain, expanded = _expanded(entries, root, basket)
    basket.add(cron_jobs.harvest(plain, (), setting, names))
    basket.add(_of_scripts(expanded, setting, names, root))
    unnamed = _of_scripts(_unnamed_folders(entries, root, basket), setting, names, root)
    basket.faults += unnamed.faults
    basket.drafts += [_with_notes(draft, UNNAMED_NOTE) for draft in unnamed.drafts]
    return basket.harvest()


def _of_scripts(entries: list[Entry], setting: cron_jobs.Setting, names: Names, root: Path) -> Harvest:
    made = cron_jobs.harvest(entries, (), setting, names)
    return Harvest(tuple(_noted(draft, root) for draft in made.drafts), made.faults)


def _listed(user: str, is_own: bool) -> bytes:
    """Ask the crontab program, which may read what belongs to cron."""
    words = ["crontab", "-l"] if is_own else ["crontab", "-l", "-u", user]
    try:
        done = subprocess.run(
            words, stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=CRONTAB_SECONDS_MAX
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NotFoundError(f"`{' '.join(words)}` does not work here ({error}): name the file") from None
    if done.returncode != 0:
        said = done.stderr.decode("utf-8", "replace").strip() or f"exit code {done.returncode}"
        raise NotFoundError(f"`{' '.join(words)}`: {said}")
    return done.stdout


def _system_files(root: Path, basket: Basket) -> Iterator[Path]:
    """Yield the files that cron reads, and say which it passes over."""
    if (root / SYSTEM_FILE).is_file():
        yield root / SYSTEM_FILE
    for path in _listed_folder(root / SYSTEM_FOLDER):
        if not _FILE_NAME.fullmatch(path.name):
            if path.is_file() and not path.name.startswith("."):
                basket.fault(str(path), "cron passes over files with such a name, and so does this")
        elif path.is_file():
            yield path


def _listed_folder(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def _expanded(entries: Iterable[Entry], root: Path, basket: Basket) -> tuple[list[Entry], list[Entry]]:
    """Part the entries that run a folder of /etc with run-parts, and put one for each script in their place."""
    plain: list[Entry] = []
    expanded: list[Entry] = []
    for entry in entries:
        folder = _run_folder(entry)
        if folder is None:
            plain.append(entry)
        else:
            expanded += cron_jobs.scripts(entry, folder, _parts(root / folder.strip("/"), basket))
    return plain, expanded


def _run_folder(entry: Entry) -> str | None:
    """Return the folder of /etc whose scripts the entry starts, and nothing else."""
    match = _RUN_PARTS.search(entry.command)
    return match[1] if match and _EXPANDED_FOLDER.fullmatch(match[1]) else None


def _unnamed_folders(entries: Iterable[Entry], root: Path, basket: Basket) -> list[Entry]:
    """Return the scripts of the folders that no entry starts; anacron does, or nobody."""
    named = {(_run_folder(entry) or "").rstrip("/") for entry in entries}
    found: list[Entry] = []
    for word, schedule in FOLDER_SCHEDULES.items():
        folder = f"/etc/cron.{word}"
        if folder not in named:
            line = Entry(folder, schedule, "", "root")
            found += cron_jobs.scripts(line, folder, _parts(root / folder.strip("/"), basket))
    return found


def _parts(folder: Path, basket: Basket) -> list[Path]:
    """Return the scripts that run-parts would start, in its order; say which it would pass over."""
    found = []
    for path in _listed_folder(folder):
        if path.name.startswith(".") or not path.is_file():
            continue
        if not _FILE_NAME.fullmatch(path.name) or not path.stat().st_mode & stat.S_IXUSR:
            basket.fault(str(path), "run-parts passes over it (a dot in its name, or not executable), and so does this")
        else:
            found.append(path)
    return found


def _noted(draft: Draft, root: Path) -> Draft:
    noted = _with_notes(draft, SCRIPT_NOTE)
    if not (root / ANACRON).exists() and not (root / ANACRONTAB).exists():
        return noted
    table = {**noted.table, "catch_up": "latest"}
    return _with_notes(Draft(noted.place, table, noted.notes), ANACRON_NOTE)


def _with_notes(draft: Draft, *notes: str) -> Draft:
    return Draft(draft.place, draft.table, (*draft.notes, *notes))
