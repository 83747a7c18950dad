"""What a schedule means and when it fires, for a question asked in JSON: a `[[job]]` table's keys, `after` and `n`."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from jobsup.actions.questions import question_from_json, schedule_from_json, unknown_keys
from jobsup.clock import rfc3339


def explain_one(document: dict[str, Any], now: datetime) -> dict[str, Any]:
    """Return the next instants and what there is to say; ScheduleError for what cannot be read."""
    from jobsup.schedule.explain import explain as explain_schedule

    after, n = question_from_json(document, now)
    spec = schedule_from_json(document, local_zone())
    name = document.get("name")
    told = explain_schedule(spec, after, n, name=name if isinstance(name, str) else "")
    odd = [f"unknown key {key!r:.60} is passed over" for key in unknown_keys(document)]
    if document.get("use_calendar") is not None:
        odd.append("use_calendar is passed over: calendars stand in a configuration, and none is read here")
    answer: dict[str, Any] = {
        "next": [rfc3339(tick) for tick in told.next],
        "words": told.words,
        "timezone": spec.timezone,
    }
    if any(told.notes):
        answer["notes"] = list(told.notes)
    if told.warnings or odd:
        answer["warnings"] = [*told.warnings, *odd]
    return answer


def local_zone() -> str:
    """Return the machine's zone, which a job without one has too."""
    global _zone  # noqa: PLW0603  (asked for once a process: finding it reads files)
    if _zone is None:
        import tzlocal

        try:
            _zone = tzlocal.get_localzone_name() or "UTC"
        except (ValueError, OSError, KeyError):  # KeyError: its ZoneInfoNotFoundError
            _zone = "UTC"
    return _zone


_zone: str | None = None
