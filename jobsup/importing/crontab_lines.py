"""Stored definitions as lines of a crontab, with comments for what a crontab cannot say."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from jobsup.config.durations import format_duration
from jobsup.config.scripts import script_argv
from jobsup.errors import ScheduleError
from jobsup.importing.toml_text import plain
from jobsup.model import CatchUp, JobKind, JobSpec, On, Overlap, ScheduleSpec

LINE_CHARS_MAX = 998
"""What cron takes of a line."""

_MINUTE, _HOUR, _DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
_OF_JOBSUP_ONLY = frozenset("LWH#")
_NAMES = re.compile(r"JAN|FEB|MAR|APR|MAY|JUN|JUL|AUG|SEP|OCT|NOV|DEC|SUN|MON|TUE|WED|THU|FRI|SAT")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LIMITS = (
    *("group", "umask", "nice", "io_scheduling_class", "io_scheduling_priority", "oom_score_adjust", "memory_max"),
    *("tasks_max", "cpu_quota", "limit_nofile", "limit_cpu", "limit_fsize", "limit_core"),
)
UTC_NAME = "UTC"
_UTC_NAMES = ("UTC", "Etc/UTC", "Etc/UCT", "UCT", "Zulu", "Universal", "Etc/Universal", "Etc/Zulu")


def crontab(jobs: Sequence[JobSpec], local_zone: str | None) -> str:
    """Return a whole crontab: first the jobs of the machine's own zone, then those of others below CRON_TZ lines."""
    blocks = [
        "# By `jobsup export --crontab`. cron starts a job beside itself, forgets what it missed, tries once and has",
        "# no time limits; what a job here says beyond that stands above it.",
    ]
    zone = local_zone
    for job in sorted(jobs, key=lambda job: (_is_elsewhere(job, local_zone), job.schedule.timezone, job.name)):
        if _is_elsewhere(job, zone) and _schedule(job.schedule):
            zone = job.schedule.timezone
            blocks += ["", "# Debian's cron passes over CRON_TZ; cronie knows it.", f"CRON_TZ={zone}"]
        blocks += ["", *lines(job)]
    return "\n".join(blocks) + "\n"


def lines(job: JobSpec) -> list[str]:
    """Return the comments and the line of one job; the line is a comment itself where cron could not run it."""
    schedule, command = _schedule(job.schedule), _command(job)
    comments = [f"# {plain(text)}" for text in (f"{job.name}: {job.description}".rstrip(": "), *_unsaid(job))]
    if schedule is None:
        return [*comments, f"# no line: its schedule ({_words(job.schedule)}) is none that a crontab can say"]
    line = f"{schedule} {command}"
    if "\n" in line or "\r" in line:
        return [*comments, "# no line: its command has several lines; put it into a script"]
    if len(line) > LINE_CHARS_MAX:
        return [*comments, f"# no line: it would have {len(line)} characters; put its command into a script"]
    return [*comments, line if job.enabled else f"#{line}"]


def _is_elsewhere(job: JobSpec, zone: str | None) -> bool:
    """Say whether the job's wall clock is not that of the lines so far; `@reboot` and manual jobs have none."""
    return zone is not None and _zone(job.schedule.timezone) != _zone(zone) and not job.schedule.is_manual


def _schedule(spec: ScheduleSpec) -> str | None:
    """Return the five fields, or the `@name`; None when a crontab cannot say it."""
    if spec.every is not None:
        return _every(spec, spec.every)
    if spec.cron is None:
        return None
    text = spec.cron.strip()
    if text.startswith("@"):
        return text
    fields = text.split()
    try:
        from jobsup.schedule.cron import parse_cron

        is_plain = parse_cron(text) is not None and not _OF_JOBSUP_ONLY.intersection(_without_names(text))
    except ScheduleError:
        return None
    if len(fields) == 6 and fields[0] in ("0", "00"):
        fields = fields[1:]
    return " ".join(fields) if is_plain and len(fields) == 5 else None


def _without_names(text: str) -> str:
    """Take the names of months and days out, whose letters mean nothing by themselves."""
    return _NAMES.sub("", text.upper())


def _every(spec: ScheduleSpec, every: timedelta) -> str | None:
    """Return what keeps an interval exactly: a divisor of an hour in any zone, of a day in UTC; else None."""
    if spec.anchor is not None and (spec.anchor - _EPOCH) % every:
        return None
    if every <= _HOUR and not every % _MINUTE and not _HOUR % every:
        minutes = every // _MINUTE
        return "0 * * * *" if minutes == 60 else f"*/{minutes} * * * *" if minutes > 1 else "* * * * *"
    if every <= _DAY and not every % _HOUR and not _DAY % every and _zone(spec.timezone) == UTC_NAME:
        return "0 0 * * *" if every == _DAY else f"0 */{every // _HOUR} * * *"
    return None


def _zone(name: str) -> str:
    """Return a zone's name, one for all that UTC has."""
    return UTC_NAME if name in _UTC_NAMES else name


def _command(job: JobSpec) -> str:
    """Return the shell line, with its folder and variables, as a crontab holds it."""
    match job.kind:
        case JobKind.SCRIPT:
            line = shlex.join((*_script(job.script or ""), *job.args))
        case JobKind.PYTHON:
            module, _, function = (job.python or "").partition(":")
            call = f"import {module}; {module}.{function}(**{job.kwargs!r})"
            line = shlex.join(("python3", "-c", call))
        case _:
            line = job.command if isinstance(job.command, str) else shlex.join(job.command or ())
    if job.cwd:
        line = f"cd {shlex.quote(job.cwd)} || exit; {line}"
    if job.env:
        line = f"export {' '.join(f'{name}={shlex.quote(value)}' for name, value in job.env.items())}; {line}"
    return "%".join([line.replace("%", "\\%"), *_input(job.stdin)])


def _input(text: str) -> list[str]:
    """Return the lines of a standard input as a crontab holds them, each behind a bare `%`; cron ends the last one."""
    return [line.replace("%", "\\%") for line in text.removesuffix("\n").split("\n")] if text else []


def _script(path: str) -> tuple[str, ...]:
    """Return the words that start a script here; itself when nothing tells."""
    try:
        return script_argv(path) or (path,)
    except (OSError, ValueError):
        return (path,)


def _unsaid(job: JobSpec) -> list[str]:
    """Say what of the job cron will not do."""
    told = [
        (job.user is not None, f"it runs as {job.user}: put it into that user's crontab"),
        (job.timeout is not None, f"timeout: {format_duration(job.timeout)}"),
        (job.max_retries > 0, f"max_retries: {job.max_retries}, retry_backoff: {format_duration(job.retry_backoff)}"),
        (job.overlap is not Overlap.ALLOW, f"overlap: {job.overlap}"),
        (job.catch_up is not CatchUp.NONE, f"catch_up: {job.catch_up}"),
        (job.env_file is not None, f"env_file: {job.env_file}, whose variables it does not get"),
        (job.success_exit_codes != (0,), f"success_exit_codes: {', '.join(map(str, job.success_exit_codes))}"),
        (bool(job.secrets), f"secrets: {', '.join(job.secrets)}, which it does not get"),
        (bool(limits := _limits(job)), f"{', '.join(limits)}: cron holds it to none of these"),
        (job.on is not On.ONE, "it runs on each host: put it into the crontab of each"),
        (bool(job.requires), f"requires: {', '.join(job.requires)}"),
        (bool(job.params), f"params: {', '.join(param.name for param in job.params)}, which it does not get"),
        (bool(job.schedule.also), f"{len(job.schedule.also)} more schedules, which it does not have"),
        (job.schedule.use_calendar is not None, "a calendar rules its days, which cron does not know"),
        (bool(job.depends_on), f"depends_on: {', '.join(job.depends_on)}"),
        (bool(job.jitter), f"jitter: {format_duration(job.jitter)}"),
        (job.pool is not None, f"pool: {job.pool}"),
        (not job.enabled, "it is switched off"),
    ]
    return [f"{job.name}: {text}" for is_so, text in told if is_so]


def _limits(job: JobSpec) -> list[str]:
    """Return the keys that hold its processes to something."""
    return [name for name in _LIMITS if getattr(job, name) is not None]


def _words(spec: ScheduleSpec) -> str:
    from jobsup.config.words import schedule_words

    return schedule_words(spec)
