"""The full loader: main file, included files and environment to one frozen Config, or all problems at once."""

from __future__ import annotations

import glob
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from jobsup.clock import Clock, SystemClock
from jobsup.config import jobs, places, sections, shared
from jobsup.config.local_zone import local_zone
from jobsup.config.report import Report, shown
from jobsup.config.sections import Given
from jobsup.config.settings import Config
from jobsup.config.source import Source, read_source
from jobsup.errors import ConfigError, Problem
from jobsup.model import JobSpec

INCLUDED_FILES_MAX = 10_000
FALLBACK_ZONE = "UTC"


def load(path: str | Path, environ: Mapping[str, str] | None = None, clock: Clock | None = None) -> Config:
    """Return what the file at `path`, the files it includes and the environment say together.

    Raises ConfigError with every problem found; warnings are in the Config. Messages call the file as
    `path` does.
    """
    environ = os.environ if environ is None else environ
    report = Report()
    main = read_source(Path(path), str(path))
    report.add(*main.warnings)
    given = sections.read_sections(main, environ, Path.cwd(), report)
    included = _included(main, report)
    config = _config(main, given, environ, report)
    defaults = _job_defaults(config, given, report)
    now = (clock or SystemClock()).now()
    common = shared.read_shared(main, defaults["timezone"], now, report)
    said = given.section("defaults")
    defaults |= jobs.check_defaults(main.place("[defaults]", "defaults"), said, common, report)
    read = jobs.read_jobs([main, *included], defaults, common, now, report)
    report.raise_errors()
    return _complete(replace(config, shared=common), read, defaults, [main, *included], report)


def _config(main: Source, given: Given, environ: Mapping[str, str], report: Report) -> Config:
    set_name = given.values.get("jobs.set", places.DEFAULT_SET)
    database = sections.database_settings(given, main.folder)
    supervisor = sections.supervisor_settings(given, set_name, environ)
    sections.check_together(given, database, supervisor, report)
    return Config(
        path=str(main.path),
        set=set_name,
        database=database,
        supervisor=supervisor,
        scheduler=sections.scheduler_settings(given),
        worker=sections.worker_settings(given),
        portal=sections.portal_settings(given),
        logging=sections.logging_settings(given),
        origins=sections.origins(given),
    )


def _job_defaults(config: Config, given: Given, report: Report) -> dict[str, Any]:
    """Return what a job that says nothing gets: `[defaults]` over what the settings say for all jobs."""
    said = given.section("defaults")
    if "timezone" not in said:
        said["timezone"] = _local_zone(report)
    settings = {"timeout": config.worker.job_timeout, "max_retries": config.scheduler.max_retry_attempts}
    return {**settings, **said}


def _local_zone(report: Report) -> str:
    """Return the IANA name of the machine's zone."""
    try:
        return local_zone()
    except ValueError as error:
        message = f"the machine's time zone has no known name ({error}): jobs without a timezone use {FALLBACK_ZONE}"
        report.add(Problem(message, table="[defaults]", key="timezone", warning=True))
        return FALLBACK_ZONE


def _included(main: Source, report: Report) -> list[Source]:
    """Return the files that `include` names, sorted, each once; what is wrong with them goes to `report`."""
    found: dict[Path, str] = {}
    for index, pattern in enumerate(_patterns(main, report)):
        matches = _matches(pattern, main.folder)
        if not matches:
            message = f"no file matches {shown(pattern)}"
            report.add(main.place().problem(message, "include", index, warning=True))
        for match in matches:
            found.setdefault(match, _shown_name(main, match))
    found.pop(main.path, None)
    if len(found) > INCLUDED_FILES_MAX:
        message = f"names {len(found)} files, more than the {INCLUDED_FILES_MAX} allowed"
        report.add(main.place().problem(message, "include"))
        return []
    return [source for path, file in found.items() if (source := _read_included(path, file, report))]


def _patterns(main: Source, report: Report) -> list[str]:
    written = main.data.get("include", [])
    if isinstance(written, list) and all(isinstance(each, str) and each for each in written):
        return written
    message = f'must be a list of patterns like ["jobs.d/*.toml"], not {shown(written)}'
    report.add(main.place().problem(message, "include"))
    return []


def _matches(pattern: str, folder: Path) -> list[Path]:
    opened = os.path.expanduser(pattern)  # noqa: PTH111  # never raises, unlike Path's
    names = glob.glob(opened, root_dir=folder)  # noqa: PTH207  # Path.glob refuses absolute patterns
    return [Path(places.absolute(name, folder)) for name in sorted(names)]


def _shown_name(main: Source, match: Path) -> str:
    """Call an included file as its path reads from where the main file's name starts."""
    if match.is_relative_to(main.folder):
        return str(Path(main.file).parent / match.relative_to(main.folder))
    return str(match)


def _read_included(path: Path, file: str, report: Report) -> Source | None:
    try:
        source = read_source(path, file)
    except ConfigError as error:
        report.add(*error.problems)
        return None
    report.add(*source.warnings)
    for key in source.data:
        if key != "job":
            report.add(source.place().problem("an included file holds [[job]] tables only", key))
    return source


def _complete(
    config: Config, read: tuple[JobSpec, ...], defaults: dict[str, Any], sources: list[Source], report: Report
) -> Config:
    return replace(
        config,
        jobs=read,
        defaults=jobs.template(defaults),
        files=tuple(str(source.path) for source in sources),
        warnings=report.warnings(),
    )
