"""`jobsup import`: jobs of cron, of systemd's timers and of a Job Trigger Portal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from jobsup.cli.here import Here
from jobsup.cli.saving import Saving, complain_of, write_options
from jobsup.cli.text import clean, plural, say
from jobsup.cli.times import Zone
from jobsup.cli.verb import noun, verb
from jobsup.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from jobsup.importing.draft import Harvest
    from jobsup.importing.naming import Names
    from jobsup.importing.portal import Brought
    from jobsup.importing.portal_rows import Plan
    from jobsup.store.engine import Database
    from jobsup.store.portal_import import Known, OldPortal

LABEL_CHARS_MAX = 32
"""A label and a number must fit into a tag."""


@noun(
    "import",
    ("jobsup import crontab", "print your crontab as jobs, in TOML"),
    ("jobsup import portal --from sqlite:///reflex.db", "bring over a Job Trigger Portal"),
)
def import_(here: Here) -> None:
    """Bring over jobs of cron, of systemd's timers, or of a Job Trigger Portal."""


@verb(
    "crontab",
    ("jobsup import crontab", "print your own crontab as jobs"),
    ("jobsup import crontab --system --write", "save the system's in jobs.d/"),
    group=import_,
)
@click.argument("file", required=False, metavar="[FILE|-]")
@click.option("--user", metavar="USER", help="This user's crontab.")
@click.option("--system", is_flag=True, help="/etc/crontab, /etc/cron.d and the scripts of /etc/cron.daily etc.")
@click.option("--user-column", is_flag=True, help="FILE has a column for the user, as those of the system do.")
@click.option("--root", metavar="DIR", default="/", help="Look for cron's files below DIR instead of /.")
@write_options
@click.pass_context
def crontab(
    ctx: click.Context,
    here: Here,
    *,
    file: str | None,
    user: str | None,
    system: bool,
    user_column: bool,
    root: str,
    write: str | None,
    force: bool,
) -> None:
    """Print a crontab as jobs in TOML; without FILE your own.

    Whatever does not mean the same is noted above its job and on standard error. A line that cannot be read is named
    there too and left out; the exit code is then 1.
    """
    if sum((file is not None, user is not None, system)) > 1:
        raise UsageError("say one of FILE, --user and --system")
    saving = Saving(here, write, force)
    source, harvest = _from_cron(file, user, saving.source_names, system=system, has_user=user_column, root=Path(root))
    from jobsup.importing.cron_jobs import HEADER

    saving.save(source, harvest, (f"From {source}, by `jobsup import crontab`.", *HEADER))
    saving.finish(ctx, harvest)


@verb(
    "systemd-timers",
    ("jobsup import systemd-timers", "print the timers of /etc/systemd/system as jobs"),
    ("jobsup import systemd-timers ./units --write", "save those of a folder in jobs.d/"),
    group=import_,
)
@click.argument("unit_dirs", nargs=-1, metavar="[UNIT_DIR]...")
@write_options
@click.pass_context
def systemd_timers(
    ctx: click.Context, here: Here, *, unit_dirs: tuple[str, ...], write: str | None, force: bool
) -> None:
    """Print timers, with the services they start, as jobs in TOML.

    Without UNIT_DIR the timers of /etc/systemd/system and of your own ~/.config/systemd/user. Whatever does not mean
    the same is noted above its job and on standard error. What cannot be read is named there too and left out; the
    exit code is then 1.
    """
    from jobsup.errors import NotFoundError
    from jobsup.importing import timers

    missing = [folder for folder in unit_dirs if not Path(folder).is_dir()]
    if missing:
        raise NotFoundError(f"{missing[0]} is not a folder: name one that holds .timer files")
    saving = Saving(here, write, force)
    folders = [Path(folder).absolute() for folder in unit_dirs] or timers.standard_folders()
    harvest = timers.harvest(folders, saving.source_names("systemd-timers"), _zone())
    saving.save("systemd-timers", harvest, ("By `jobsup import systemd-timers`.", *timers.HEADER))
    saving.finish(ctx, harvest)


@verb(
    "portal",
    ("jobsup import portal --from sqlite:///reflex.db", "bring over jobs, schedules and history"),
    ("jobsup import portal --from sqlite:///reflex.db --write", "jobs as TOML, history into the database"),
    group=import_,
)
@click.option("--from", "url", required=True, metavar="URL", help="The old portal's database; it is only read.")
@click.option("--tz", "zone", type=Zone(), default="UTC", show_default=True, help="The zone of its times.")
@click.option("--base", metavar="DIR", help="Where its relative paths start; else the folder of its SQLite file.")
@click.option("--label", default="portal", show_default=True, help="Tells several old portals apart.")
@click.option("--paused", is_flag=True, help="Let the new jobs begin paused, while the old system still runs them.")
@write_options
@click.pass_context
def portal(
    ctx: click.Context,
    here: Here,
    *,
    url: str,
    zone: str,
    base: str | None,
    label: str,
    paused: bool,
    write: str | None,
    force: bool,
) -> None:
    """Bring over jobs, schedules and history of a Job Trigger Portal.

    Jobs become jobs of the command line; with --write they are saved as TOML instead. Its runs become ended manual
    runs. It may be done again at any time: jobs are known by their tag, runs by their old number, and only what is
    new is added. The portal keeps its times in UTC; --tz says otherwise.
    """
    from jobsup.config.names import fault
    from jobsup.errors import NotFoundError
    from jobsup.importing.portal_rows import Plan
    from jobsup.store.portal_import import OldPortal

    if (wrong := fault(label)) or len(label) > LABEL_CHARS_MAX:
        raise UsageError(f"--label: {wrong or f'has more than {LABEL_CHARS_MAX} characters'}")
    if base is not None and not Path(base).is_dir():
        raise NotFoundError(f"--base {base} is not a folder")
    old = OldPortal(url)
    try:
        plan = Plan(label, zone, Path(base).absolute() if base else old.folder)
        if write is None:
            _bring_all(ctx, here, old, plan, paused=paused)
        else:
            _save_portal(ctx, Saving(here, write, force), here, old, plan)
    finally:
        old.close()


def _bring_all(ctx: click.Context, here: Here, old: OldPortal, plan: Plan, *, paused: bool) -> None:
    from jobsup.actions.people import requester
    from jobsup.importing import portal as old_portal
    from jobsup.store import notifier

    config = here.config()
    with _own_database(here) as database:
        target = old_portal.target_of(config, requester() if paused else None)
        brought = old_portal.bring(database, old, plan, target)
        notifier.wake(database, "scheduler")
    for note in brought.notes:
        say(clean(note))
    complain_of(tuple(brought.faults))
    jobs = f"{plural(len(brought.added), 'job')} added, {len(brought.changed)} changed"
    say(f"{jobs}, {plural(brought.runs, 'run')} added")
    _tell_history(brought, config.scheduler.cleanup_retention_days)
    if brought.added and not paused:
        say("they run here from now on: stop the old system, or `jobsup pause` them until you do")
    for name in brought.added:
        click.echo(name)
    ctx.exit(ExitCode.FAILED if brought.faults else ExitCode.OK)


def _save_portal(ctx: click.Context, saving: Saving, here: Here, old: OldPortal, plan: Plan) -> None:
    """Save the jobs as TOML, and bring the history of those that the database has already.

    Jobs that an earlier import made in the database are handed over to the file, once it is read.
    """
    from jobsup.errors import UnreachableError
    from jobsup.importing import portal as old_portal

    source = plan.label
    known: dict[int, Known] = {}
    waiting = 0
    try:
        with here.database() as database:
            brought = old_portal.bring_history(database, old, plan)
            known = old_portal.known_jobs(database, old, plan)
        say(f"{plural(brought.runs, 'run')} added")
        waiting = brought.waiting
    except UnreachableError:
        waiting = len(old.jobs())
    if waiting:
        say(f"the history of {plural(waiting, 'job')} comes when this is done again after the jobs were loaded")
    harvest = old_portal.drafts(old, plan, saving.source_names(source), known)
    is_read = saving.save(source, harvest, (f"From a Job Trigger Portal, {old.where}.", *old_portal.HEADER))
    if is_read and known:
        with here.database() as database:
            names = old_portal.hand_over(database, known.values(), harvest, here.peek().set)
        if names:
            say(f"handed over to the file: {', '.join(names)}")
    saving.finish(ctx, harvest)


def _tell_history(brought: Brought, retention_days: int) -> None:
    from datetime import timedelta

    from jobsup.clock import SystemClock

    if brought.not_ended:
        say(f"{plural(brought.not_ended, 'run')} had not ended: import again to bring them")
    if brought.waiting:
        say(f"{plural(brought.waiting, 'job')} left out")
    if brought.oldest and brought.oldest < SystemClock().now() - timedelta(days=retention_days):
        say(f"runs that ended over {retention_days} days ago will be deleted: see [scheduler] cleanup_retention_days")


@contextmanager
def _own_database(here: Here) -> Iterator[Database]:
    """Open the database, and make its tables where there are none."""
    from jobsup.store import schema
    from jobsup.store.engine import Database

    database = Database.of(here.peek().database, kind="command")
    try:
        schema.ensure(database, migrate=True)
        yield database
    finally:
        database.close()


def _from_cron(
    file: str | None, user: str | None, names: Callable[[str], Names], *, system: bool, has_user: bool, root: Path
) -> tuple[str, Harvest]:
    """Return what the source is called, and its jobs."""
    from jobsup.importing import cron_places

    if system:
        return "system-crontabs", cron_places.system(_setting(None), names("system-crontabs"), root)
    if file is None:
        own = cron_places.own_name()
        content, title = cron_places.of_user(user or own, is_own=user in (None, own), root=root)
        setting = _setting(None if user in (None, own) else user)
        source = f"crontab-{user or own}"
    elif file == "-":
        content, title, source, setting = sys.stdin.buffer.read(), "standard input", "crontab", _setting(None)
    else:
        path = Path(file)
        content, title, source, setting = cron_places.read_file(path), file, path.stem, _setting(None)
        has_user = has_user or cron_places.is_system_file(path)
    return source, cron_places.from_bytes(content, title, setting, has_user=has_user, names=names(source))


def _setting(user: str | None) -> Any:
    """Return whose crontab is read, where its jobs start, and the machine's zone."""
    import os
    import pwd

    from jobsup.importing.cron_jobs import Setting

    try:
        home = (pwd.getpwnam(user) if user else pwd.getpwuid(os.geteuid())).pw_dir
    except KeyError:
        home = None
    return Setting(user, home, _zone())


def _zone() -> str | None:
    from jobsup.config.local_zone import local_zone

    try:
        return local_zone()
    except ValueError as error:
        say(f"the machine's time zone has no known name ({error}): the jobs run by the timezone of [defaults]")
        return None
