"""What a run cost and how far it is: as JSON, and in words."""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from jobsup.config.sizes import format_size
from jobsup.model import Source

if TYPE_CHECKING:
    from jobsup.store.job_days import Day
    from jobsup.store.run_rows import RunRow

MEBIBYTE = 1 << 20


def account_document(run: RunRow) -> dict[str, Any]:
    """Return the account of a run; what is not known is null. Times in seconds, amounts in bytes."""
    return {
        "wall_seconds": _seconds(wall(run)),
        "queue_seconds": _seconds(queued(run)),
        "lateness_seconds": _seconds(lateness(run)),
        "cpu_user_seconds": run.cpu_user,
        "cpu_system_seconds": run.cpu_system,
        "max_rss_bytes": run.max_rss,
        "io_read_bytes": run.io_read,
        "io_write_bytes": run.io_write,
    }


def progress_document(run: RunRow) -> dict[str, Any] | None:
    """Return how far a run last said it is; None: it never did."""
    if run.progress is None and run.progress_text is None:
        return None
    return {"fraction": run.progress, "text": run.progress_text or ""}


def result_document(run: RunRow) -> Any:
    """Return what a callable returned; None: nothing, or it is no callable."""
    with suppress(ValueError):
        return None if run.result is None else json.loads(run.result)
    return run.result


def day_document(day: Day) -> dict[str, Any]:
    """Return what became of a job on one day."""
    return {
        "day": day.day.isoformat(),
        "completed": day.completed,
        "failed": day.failed,
        "timed_out": day.timed_out,
        "cancelled": day.cancelled,
        "skipped": day.skipped,
        "p50_seconds": _seconds(day.quantile(0.5)),
        "p95_seconds": _seconds(day.quantile(0.95)),
        "cpu_seconds": round(day.cpu_seconds, 6),
        "max_rss_bytes": day.max_rss,
        "io_read_bytes": day.io_read,
        "io_write_bytes": day.io_write,
    }


def wall(run: RunRow) -> timedelta | None:
    """Return how long a run took from its start to its end."""
    return None if run.started_at is None or run.completed_at is None else run.completed_at - run.started_at


def queued(run: RunRow) -> timedelta | None:
    """Return how long it waited for a worker from when it might have started."""
    return None if run.started_at is None else max(timedelta(), run.started_at - max(run.available_at, run.created_at))


def lateness(run: RunRow) -> timedelta | None:
    """Return how long after its tick it started; None for a run that was asked for, retried or filled in."""
    if run.started_at is None or run.scheduled_for is None or run.source is not Source.SCHEDULE:
        return None
    return run.started_at - run.scheduled_for


def progress_words(progress: dict[str, Any] | None) -> str:
    """Say how far a run is, from its document, as "40 %, copying"; empty: it never said."""
    if progress is None:
        return ""
    share = "" if progress["fraction"] is None else f"{progress['fraction'] * 100:.0f} %"
    return ", ".join(part for part in (share, progress["text"]) if part)


def account_words(account: dict[str, Any]) -> str:
    """Say what a run cost, from its account, as "1.2 s of processor time, 40 MiB at most"; empty: it is not known."""
    parts = []
    spent = [account[name] for name in ("cpu_user_seconds", "cpu_system_seconds") if account[name] is not None]
    if spent:
        parts.append(f"{_spent(sum(spent))} of processor time")
    if account["max_rss_bytes"]:
        parts.append(f"{about(account['max_rss_bytes'])} of memory at most")
    if account["io_read_bytes"]:
        parts.append(f"{about(account['io_read_bytes'])} read from storage")
    if account["io_write_bytes"]:
        parts.append(f"{about(account['io_write_bytes'])} written to storage")
    return ", ".join(parts)


def about(size: int) -> str:
    """Round to the unit a person would use."""
    unit = 1024 if size < 10 * MEBIBYTE else MEBIBYTE
    return format_size(max(unit, round(size / unit) * unit))


def _spent(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds >= 1 else f"{seconds * 1000:.1f} ms"


def _seconds(length: timedelta | None) -> float | None:
    return None if length is None else round(length.total_seconds(), 6)
