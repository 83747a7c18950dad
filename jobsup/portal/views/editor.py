"""A definition in an editor: the same table as TOML and as the fields of a form, each made from the other."""

from __future__ import annotations

import difflib
import json
import tomllib
from collections.abc import Iterable, Mapping
from typing import Any

from jobsup.config.urls import MASK
from jobsup.importing import tables, toml_text
from jobsup.model import JobSpec

TEXT_CHARS_MAX = 200_000
WORK = ("command", "script", "python")
SCHEDULES = ("cron", "every", "on_calendar", "at")
IN_TOML = "toml"
"""What a choice says when only the TOML can say it: several schedules, or a calendar's table."""
NEVER = "none"
PLAIN = ("name", "description", "timezone", "queue", "timeout", "overlap", "catch_up")
NUMBERS = ("max_retries", "priority")
STARTER = '[[job]]\nname = "new-job"\ndescription = ""\ncommand = "echo hello"\ncron = "30 2 * * *"\n'

Table = dict[str, Any]


def parse(text: str) -> Table | None:
    """Return the one table of a text; None where there is no such thing, which the check says."""
    try:
        found = tomllib.loads(text).get("job")
    except (ValueError, RecursionError):
        return None
    return found[0] if isinstance(found, list) and len(found) == 1 and isinstance(found[0], dict) else None


def written(table: Table) -> str:
    """Return a table as TOML."""
    return f"{toml_text.HEADING}\n{toml_text.table(table).partition(toml_text.HEADING)[2].lstrip()}"


def text_of(spec: JobSpec, defaults: JobSpec) -> str:
    """Return a definition as TOML, the values of its `env` masked."""
    table = tables.table_of(spec, (defaults,))
    if "env" in table:
        table["env"] = dict.fromkeys(table["env"], MASK)
    return written(table)


def unmasked(text: str, before: JobSpec | None) -> str:
    """Put the values of `env` back that the editor did not show."""
    table = parse(text) if MASK in text and before is not None else None
    env = table.get("env") if table is not None else None
    if table is None or before is None or not isinstance(env, dict):
        return text
    known = {key: before.env.get(key, value) if value == MASK else value for key, value in env.items()}
    return written({**table, "env": known}) if known != env else text


def hidden_env(text: str) -> list[str]:
    """Return the variables whose values nobody has written: they still stand as they are hidden."""
    table = parse(text) if MASK in text else None
    env = table.get("env") if table is not None else None
    return [key for key, value in env.items() if value == MASK] if isinstance(env, dict) else []


def fields_of(table: Table) -> dict[str, str]:
    """Return what the form's fields show of a table."""
    work = next((key for key in WORK if key in table), "command")
    schedule = next((key for key in SCHEDULES if key in table), NEVER)
    if "calendar" in table or "schedules" in table:
        schedule = IN_TOML
    shown = {key: _shown(table.get(key, "")) for key in (*PLAIN, *NUMBERS)}
    tags = table.get("tags", [])
    return {
        **shown,
        "work": work,
        "work_text": _shown(table.get(work, "")),
        "schedule": schedule,
        "schedule_text": _shown(table.get(schedule, "")),
        "tags": ", ".join(map(str, tags)) if isinstance(tags, list) else _shown(tags),
        "enabled": "no" if table.get("enabled") is False else "yes",
    }


def with_fields(table: Table, given: Mapping[str, str]) -> Table:
    """Return a table in which the form's fields have been filled; what has no field stays."""
    new = {**table}
    for key in PLAIN:
        _put(new, key, given.get(key, "").strip() or None)
    for key in NUMBERS:
        _put(new, key, _number(given.get(key, "").strip()))
    work, schedule = given.get("work", ""), given.get("schedule", "")
    if work in WORK:
        _only(new, WORK, work, _words(given.get("work_text", "").strip()))
    if schedule in (*SCHEDULES, NEVER):
        _only(new, (*SCHEDULES, "calendar", "schedules"), schedule, given.get("schedule_text", "").strip() or None)
    _put(new, "tags", [tag for each in given.get("tags", "").split(",") if (tag := each.strip())] or None)
    _put(new, "enabled", False if given.get("enabled") == "no" else None)
    return new


def patch(before: str, after: str) -> tuple[tuple[str, str], ...]:
    """Return the lines that differ, with some around them: (`+`, `-`, `@` or blank, text)."""
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), lineterm="", n=2)
    return tuple(_marked(line) for line in list(lines)[2:])


def changed_keys(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterable[str]:
    """Return the keys in which two documents differ."""
    return [key for key in {**before, **after} if before.get(key) != after.get(key)]


def _marked(line: str) -> tuple[str, str]:
    return ("@", "…") if line.startswith("@@") else (line[:1], line[1:])


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return json.dumps(value, ensure_ascii=False)
    return str(value)


def _words(text: str) -> str | list[str] | None:
    """Read `["a", "b"]` as a program with its arguments; anything else is a line."""
    if text.startswith("["):
        try:
            found = json.loads(text)
        except ValueError:
            return text
        if isinstance(found, list) and all(isinstance(each, str) for each in found):
            return found
    return text or None


def _number(text: str) -> int | str | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else text or None


def _put(table: Table, key: str, value: Any) -> None:
    """Set a key where it stands, or drop it; what says the same stays as it is written."""
    if value is None:
        table.pop(key, None)
    elif _shown(table.get(key, "")) != _shown(value):
        table[key] = value


def _only(table: Table, keys: Iterable[str], chosen: str, value: Any) -> None:
    for key in keys:
        if key != chosen:
            table.pop(key, None)
    if chosen != NEVER:
        _put(table, chosen, value)
