"""Entries of crontabs as jobs that mean the same, with a note wherever they do not."""

from __future__ import annotations

import pwd
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jobsup.config.keys import JOB_VARIABLES, RESERVED_PREFIXES
from jobsup.importing import naming, proof
from jobsup.importing.crontab import Entry, split_percent
from jobsup.importing.draft import Basket, Draft, Fault, Harvest

AS_CRON: dict[str, Any] = {"overlap": "allow", "catch_up": "none", "max_retries": 0, "timeout": "none"}
"""What cron does: it starts a job beside itself, forgets what it missed, tries once, and never ends it."""

HEADER = (
    "overlap, catch_up, max_retries and timeout say in each job what cron does: it starts a job beside itself, forgets",
    "what it missed, tries once and never ends it. Take them out to have what [defaults] says.",
    "Output is kept instead of mailed (`jobsup logs NAME`); PATH is that of jobsup where a job does not set it.",
)

SHELL = "/bin/sh"
DESCRIPTION_CHARS_MAX = 400

_NOT_FOR_JOBS = ("MAILTO", "MAILFROM", "CRON_TZ", "CONTENT_TYPE", "CONTENT_TRANSFER_ENCODING", "RANDOM_DELAY")


@dataclass(frozen=True, slots=True)
class Setting:
    """Whose crontab it is, and when its wall clock says what."""

    user: str | None
    """Runs entries without a user column; None: whoever runs jobsup."""
    home: str | None
    """The folder cron starts those entries in."""
    timezone: str | None
    """cron's own zone; None when it has no name."""


def harvest(entries: Iterable[Entry], faults: Iterable[Fault], setting: Setting, names: naming.Names) -> Harvest:
    """Return a job for each entry; what the configuration would refuse becomes a fault."""
    basket = Basket(faults=list(faults))
    for entry in entries:
        found = proof.faults({"name": naming.FALLBACK, **_bare_table(entry, setting)})
        if found:
            basket.faults.append(Fault(entry.place, "; ".join(found)))
        else:
            basket.drafts.append(draft(entry, setting, names))
    return proof.proved(basket.harvest())


def draft(entry: Entry, setting: Setting, names: naming.Names) -> Draft:
    """Return the job of one entry."""
    command, _ = split_percent(entry.command)
    notes = _Notes()
    environment = _environment(entry, command, notes)
    user = entry.user or setting.user
    table: dict[str, Any] = {"name": names.give(naming.from_command(command))}
    if entry.comment:
        table["description"] = entry.comment[:DESCRIPTION_CHARS_MAX]
    table |= _bare_table(entry, setting)
    if environment:
        table["env"] = environment
    if home := _home(entry, setting, notes):
        table["cwd"] = home
    table |= AS_CRON
    _tell(entry, table["name"], notes)
    return proof.run_as(Draft(entry.place, table, tuple(notes.lines)), user)


class _Notes:
    """What a person should know of one entry."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def add(self, note: str) -> None:
        self.lines.append(note)


def _bare_table(entry: Entry, setting: Setting) -> dict[str, Any]:
    """Return what the entry alone decides: a command and when it runs."""
    table: dict[str, Any] = {"command": _command(entry), "cron": entry.schedule}
    if text := _input(entry):
        table["stdin"] = text
    zone = entry.variables.get("CRON_TZ") or setting.timezone
    if zone and entry.schedule.lower() != "@reboot":
        table["timezone"] = zone
    return table


def _command(entry: Entry) -> str | list[str]:
    line, _ = split_percent(entry.command)
    shell = entry.variables.get("SHELL", SHELL)
    return line if shell in (SHELL, "") else [shell, "-c", line]


def _input(entry: Entry) -> str:
    """Return what cron writes to its standard input: what follows %, whole lines; "" for nothing."""
    _, text = split_percent(entry.command)
    return text.removesuffix("\n") + "\n" if text else ""


def _environment(entry: Entry, command: str, notes: _Notes) -> dict[str, str]:
    """Return the variables the job gets: those of the crontab that are meant for jobs, and may be set."""
    kept: dict[str, str] = {}
    for name, value in entry.variables.items():
        if name in _NOT_FOR_JOBS and f"${name}" not in command and f"${{{name}}}" not in command:
            continue
        if name in ("LOGNAME", "USER"):
            notes.add(f"{name} is left out: cron sets it to the user, whatever the crontab says")
        elif name in JOB_VARIABLES or name.startswith(RESERVED_PREFIXES) or not _is_variable(name):
            notes.add(f"the variable {name} is left out: jobsup cannot hand on one of that name")
        else:
            kept[name] = value
    return kept


def _is_variable(name: str) -> bool:
    return name.isascii() and name.replace("_", "a").isalnum() and not name[0].isdigit()


def _home(entry: Entry, setting: Setting, notes: _Notes) -> str | None:
    """Return the folder cron would start in, if it is here."""
    home = entry.variables.get("HOME") or (_home_of(entry.user) if entry.user else setting.home)
    if home is None or Path(home).is_dir():
        return home
    notes.add(f"cron starts it in {home}, which does not exist here: it starts where jobsup does")
    return None


def _home_of(user: str) -> str | None:
    try:
        return pwd.getpwnam(user).pw_dir
    except KeyError:
        return None


def _tell(entry: Entry, name: str, notes: _Notes) -> None:
    """Say what of the entry means something else here."""
    variables = entry.variables
    if _input(entry):
        notes.add("what follows % is its standard input: the key stdin")
    elif entry.command.replace("\\%", "").count("%"):
        notes.add("it ends with %, which gives it an empty standard input: every job has that")
    if entry.schedule.lower() == "@reboot":
        notes.add("@reboot means each start of jobsup here, not of the machine")
    if receiver := variables.get("MAILTO", "").strip():
        notes.add(f"cron mails its output to {receiver}: here it is kept, see `jobsup logs {name}`")
    if "CRON_TZ" in variables:
        notes.add(f"runs by CRON_TZ={variables['CRON_TZ']}, as cronie does; Debian's cron passes over CRON_TZ")
    if "RANDOM_DELAY" in variables:
        notes.add(f"RANDOM_DELAY={variables['RANDOM_DELAY']} is not kept: it starts at the instant itself")
    if entry.user is None and (user := _looks_like_a_user(entry.command)):
        notes.add(f"{user} is a user and no command: a crontab with a column for users is read with --user-column")
    if entry.is_quiet:
        notes.add("the leading - keeps cron from logging it: every run is recorded here")


def _looks_like_a_user(command: str) -> str | None:
    """Return the first word of a command when it names a user of this machine, and no program."""
    word, _, rest = command.partition(" ")
    return word if rest and _home_of(word) is not None and shutil.which(word) is None else None


def scripts(line: Entry, folder: str, files: Sequence[Path]) -> list[Entry]:
    """Return an entry for each script of a folder that an entry's `run-parts` starts, in the order it would."""
    return [
        Entry(str(file), line.schedule, f"{folder.rstrip('/')}/{file.name}", line.user, line.variables)
        for file in files
    ]
