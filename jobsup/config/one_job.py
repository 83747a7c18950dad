"""One `[[job]]` table that stands in no file: read as if it stood in the main one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from jobsup.config import jobs
from jobsup.config.report import Report
from jobsup.config.settings import Config
from jobsup.config.source import Source, parse
from jobsup.errors import ConfigError, Problem
from jobsup.model import JobSpec


@dataclass(frozen=True, slots=True)
class Reading:
    """What a text says, and what is wrong or odd about it."""

    spec: JobSpec | None
    """None where something is wrong."""
    problems: tuple[Problem, ...] = ()
    warnings: tuple[Problem, ...] = ()


def read_one(text: str, config: Config, now: datetime, others: Mapping[str, Sequence[str]]) -> Reading:
    """Read a TOML text of one job below the `[defaults]`, calendars and pools of `config`.

    Relative paths start from the folder of its main file. `others` are the jobs there are, each with those it waits
    for.
    """
    report = Report()
    try:
        source = Source("", Path(config.path), text, parse(text, ""))
    except ConfigError as error:
        return Reading(None, error.problems)
    tables = source.data.get("job")
    if set(source.data) - {"job"} or not isinstance(tables, list) or len(tables) != 1:
        return Reading(None, (Problem("write one [[job]] table, and nothing else"),))
    found = jobs.read_jobs([source], jobs.values_of(config.defaults), config.shared, now, report, others=others)
    errors = report.errors()
    return Reading(found[0] if found and not errors else None, errors, report.warnings())
