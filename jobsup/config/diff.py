"""What a reload would change: settings and jobs, old against new, in lines for people and without secrets."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any

from jobsup.config.keys import SETTING_KEYS
from jobsup.config.settings import Config
from jobsup.config.show import setting_value
from jobsup.config.urls import MASK
from jobsup.config.words import cut, instant_words, param_words, schedule_words, setting_words, value_words, words
from jobsup.model import JobSpec, ScheduleSpec, SetSpec

NOTHING = "(none)"


@dataclass(frozen=True, slots=True)
class Change:
    """One key's old and new value, as people read them; the secret ones are masked."""

    key: str
    old: str
    new: str

    def __str__(self) -> str:
        return f"{self.key} {cut(self.old)} -> {cut(self.new)}"


@dataclass(frozen=True, slots=True)
class JobChange:
    """A job that both configurations have, and what differs."""

    name: str
    changes: tuple[Change, ...]


@dataclass(frozen=True, slots=True)
class Diff:
    """What differs between two configurations; jobs by name, in the order of their files."""

    settings: tuple[Change, ...] = ()
    shared: tuple[str, ...] = ()
    """Lines on calendars, blackouts and pools."""
    added: tuple[str, ...] = ()
    changed: tuple[JobChange, ...] = ()
    removed: tuple[str, ...] = ()

    @property
    def is_empty(self) -> bool:
        return not (self.settings or self.shared or self.added or self.changed or self.removed)

    def lines(self) -> list[str]:
        """Return one line a change: `~ worker.count: 4 -> 6`, `+ job a`, `~ job b: ...`, `- job c`."""
        return [
            *(f"~ {change.key}: {cut(change.old)} -> {cut(change.new)}" for change in self.settings),
            *self.shared,
            *(f"+ job {name}" for name in self.added),
            *(f"~ job {job.name}: {'; '.join(map(str, job.changes))}" for job in self.changed),
            *(f"- job {name}" for name in self.removed),
        ]


def diff(old: Config, new: Config) -> Diff:
    """Compare what is in force with what would be."""
    before = {job.name: job for job in old.jobs}
    after = {job.name: job for job in new.jobs}
    both = [name for name in after if name in before and after[name] != before[name]]
    return Diff(
        settings=tuple(_setting_changes(old, new)),
        shared=tuple(_shared_changes(old.shared, new.shared)),
        added=tuple(name for name in after if name not in before),
        changed=tuple(JobChange(name, tuple(job_changes(before[name], after[name]))) for name in both),
        removed=tuple(name for name in before if name not in after),
    )


def job_changes(old: JobSpec, new: JobSpec) -> Iterator[Change]:
    """Yield what differs between two definitions of a job, by its keys in TOML."""
    yield from _schedule_changes(old.schedule, new.schedule)
    for spec in fields(JobSpec):
        before, after = getattr(old, spec.name), getattr(new, spec.name)
        if before == after or spec.name == "schedule":
            continue
        if spec.name == "env":
            yield from _table_changes("env", before, after, is_secret=True)
        elif spec.name in ("kwargs", "secrets"):
            yield from _table_changes(spec.name, before, after, is_secret=False)
        elif spec.name == "params":
            yield from _table_changes("params", _params(old), _params(new), is_secret=False)
        else:
            path = f"defaults.{spec.name}"
            yield Change(spec.name, setting_words(path, before), setting_words(path, after))


def _setting_changes(old: Config, new: Config) -> Iterator[Change]:
    for path in (key.path for key in SETTING_KEYS):
        before, after = setting_value(old, path), setting_value(new, path)
        if before == after:
            continue
        before_words, after_words = setting_words(path, before), setting_words(path, after)
        if before_words == after_words:
            after_words += " (password changed)"
        yield Change(path, before_words, after_words)


def _shared_changes(old: SetSpec, new: SetSpec) -> Iterator[str]:
    for kind, before, after in (
        ("calendar", old.calendars, new.calendars),
        ("blackout", old.blackouts, new.blackouts),
        ("pool", old.pools, new.pools),
    ):
        was: dict[str, Any] = {each.name: each for each in before}
        is_now: dict[str, Any] = {each.name: each for each in after}
        yield from (f"+ {kind} {name}" for name in is_now if name not in was)
        yield from (
            f"~ {kind} {name}: {'; '.join(map(str, _value_changes(was[name], is_now[name])))}"
            for name in is_now
            if name in was and was[name] != is_now[name]
        )
        yield from (f"- {kind} {name}" for name in was if name not in is_now)


def _value_changes(old: Any, new: Any) -> Iterator[Change]:
    for spec in fields(old):
        before, after = getattr(old, spec.name), getattr(new, spec.name)
        if before != after:
            yield Change(spec.name, value_words(before), value_words(after))


def _schedule_changes(old: ScheduleSpec, new: ScheduleSpec) -> Iterator[Change]:
    before, after = schedule_words(old), schedule_words(new)
    if before != after:
        kind, _, value = before.partition(" ")
        is_same_kind = after.startswith(f"{kind} ")
        yield Change(kind, value, after.removeprefix(f"{kind} ")) if is_same_kind else Change("schedule", before, after)
    if old.anchor != new.anchor:
        yield Change("anchor", instant_words(old.anchor), instant_words(new.anchor))
    for key in ("timezone", "dst", "calendar_rule"):
        if getattr(old, key) != getattr(new, key):
            yield Change(key, getattr(old, key), getattr(new, key))
    if old.use_calendar != new.use_calendar:
        yield Change("use_calendar", _calendar_name(old), _calendar_name(new, other_days_than=old))


def _calendar_name(schedule: ScheduleSpec, *, other_days_than: ScheduleSpec | None = None) -> str:
    calendar = schedule.use_calendar
    if calendar is None:
        return NOTHING
    before = other_days_than.use_calendar if other_days_than else None
    return f"{calendar.name} with other days" if before and before.name == calendar.name else calendar.name


def _params(job: JobSpec) -> dict[str, str]:
    return {param.name: param_words(param) for param in job.params}


def _table_changes(table: str, old: dict[str, Any], new: dict[str, Any], *, is_secret: bool) -> Iterator[Change]:
    for key in dict.fromkeys((*old, *new)):
        if key in old and key in new and old[key] == new[key]:
            continue
        yield Change(f"{table}.{key}", _shown(old, key, is_secret), _shown(new, key, is_secret))


def _shown(table: dict[str, Any], key: str, is_secret: bool) -> str:
    if key not in table:
        return NOTHING
    value = table[key]
    return MASK if is_secret else value if isinstance(value, str) else words(value)
